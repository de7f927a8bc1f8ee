/* One libcurl handle, and its connection, per server. */
#include "remote/http.h"

#include "base/clock.h"
#include "base/signals.h"

#include <curl/curl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct wa_http {
    CURL *curl;
    const char *url; /* borrowed */
    char *bearer;    /* the whole header, or NULL; arena */
    const char *key; /* in it */
    wa_http_patience patience;
    wa_arena *arena;
    uint8_t *body; /* [room], arena */
    size_t size, room, most;
    bool too_long;
    char content_type[128];
    char why[CURL_ERROR_SIZE];
};

enum { TOO_MANY_REQUESTS = 429, UNAVAILABLE = 503 };
static const double FIRST_PAUSE = 0.1, LONGEST_PAUSE = 5.0, SLICE = 0.05;

const char *wa_http_check_url(const char *url)
{
    const char *wrong = NULL;
    char *part = NULL;
    CURLU *parts = curl_url();
    if (parts == NULL || curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_SCHEME, &part, 0) != CURLUE_OK ||
        (strcmp(part, "http") != 0 && strcmp(part, "https") != 0))
        wrong = "is no URL with http:// or https://";
    curl_free(part);
    part = NULL;
    if (wrong == NULL && (curl_url_get(parts, CURLUPART_USER, &part, 0) == CURLUE_OK ||
                          curl_url_get(parts, CURLUPART_PASSWORD, &part, 0) == CURLUE_OK))
        wrong = "holds a user or password, which would be stored; a key belongs into "
                "WALKAUDIT_SERVED_KEY";
    curl_free(part);
    part = NULL;
    if (wrong == NULL && (curl_url_get(parts, CURLUPART_QUERY, &part, 0) == CURLUE_OK ||
                          curl_url_get(parts, CURLUPART_FRAGMENT, &part, 0) == CURLUE_OK))
        wrong = "holds '?' or '#'";
    curl_free(part);
    curl_url_cleanup(parts);
    return wrong;
}

static size_t take_body(char *data, size_t size, size_t count, void *context)
{
    wa_http *h = context;
    size_t bytes = size * count; /* libcurl: size is 1 */
    if (bytes > h->most - h->size) {
        h->too_long = true;
        return 0;
    }
    memcpy(h->body + h->size, data, bytes);
    h->size += bytes;
    return bytes;
}

/* Called at least every second. */
static int heed_signals(void *context, curl_off_t down, curl_off_t now, curl_off_t up,
                        curl_off_t done)
{
    (void)context, (void)down, (void)now, (void)up, (void)done;
    return wa_signal_is_urgent(wa_signals_heard());
}

static bool is_loopback(const char *url)
{
    char *host = NULL;
    CURLU *parts = curl_url();
    bool found = parts != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
                 curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                 (strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
                  strcmp(host, "[::1]") == 0);
    curl_free(host);
    curl_url_cleanup(parts);
    return found;
}

static void set_up(wa_http *h)
{
    CURL *curl = h->curl;
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(h->patience.seconds * 1000.0));
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, h->why);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, h);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, heed_signals);
    if (is_loopback(h->url))
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
}

wa_status wa_http_open(const char *url, const char *key, wa_http_patience patience, size_t room,
                       wa_arena *arena, wa_http **out, wa_error *err)
{
    wa_http *h;
    WA_TRY(wa_arena_take(arena, 1, sizeof *h, &h, err));
    *h = (wa_http){.url = url, .patience = patience, .room = room, .arena = arena};
    WA_TRY(wa_arena_take_raw(arena, room, 1, &h->body, err));
    if (key != NULL) {
        WA_TRY(wa_arena_print(arena, &h->bearer, err, "Authorization: Bearer %s", key));
        h->key = h->bearer + strlen(h->bearer) - strlen(key);
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return wa_fail(err, WA_E_MEMORY, "libcurl cannot be started");
    h->curl = curl_easy_init();
    if (h->curl == NULL) {
        curl_global_cleanup();
        return wa_fail(err, WA_E_MEMORY, "libcurl gives no handle");
    }
    set_up(h);
    *out = h;
    return WA_OK;
}

void wa_http_close(wa_http *http)
{
    if (http == NULL)
        return;
    curl_easy_cleanup(http->curl);
    curl_global_cleanup();
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value)
{
    char line[256];
    snprintf(line, sizeof line, "%s: %s", name, value);
    return curl_slist_append(list, line);
}

static CURLcode attempt(wa_http *h, const wa_http_request *r, long *status)
{
    /* no waiting for "100 Continue" */
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    if (r->content_type != NULL)
        headers = add_header(headers, "Content-Type", r->content_type);
    if (r->accept != NULL)
        headers = add_header(headers, "Accept", r->accept);
    if (h->bearer != NULL)
        headers = curl_slist_append(headers, h->bearer);
    h->size = 0;
    h->most = r->most < h->room ? r->most : h->room;
    h->too_long = false;
    h->why[0] = h->content_type[0] = '\0';
    curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, headers);
    if (r->content_type == NULL) {
        curl_easy_setopt(h->curl, CURLOPT_HTTPGET, 1L);
    } else {
        curl_easy_setopt(h->curl, CURLOPT_POST, 1L);
        curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->size);
        curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, (const char *)r->body);
    }
    CURLcode code = curl_easy_perform(h->curl);
    const char *type = NULL;
    curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, status);
    if (curl_easy_getinfo(h->curl, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK && type != NULL)
        snprintf(h->content_type, sizeof h->content_type, "%s", type);
    curl_slist_free_all(headers);
    return code;
}

static void hide(char *text, size_t size, const char *key, size_t length)
{
    for (size_t at = 0; at + length <= size; at++)
        if (memcmp(text + at, key, length) == 0)
            memset(text + at, '*', length);
}

/* A server that repeats the key in a text must not bring it into a log or a result. Numbers are left
 * alone, and so are texts when a key is no more than a word. */
static void hide_key(wa_http *h, const wa_http_request *r, long status)
{
    enum { OK = 200, SHORTEST_KEY = 6 };
    size_t length = h->key == NULL ? 0 : strlen(h->key);
    if (length < SHORTEST_KEY)
        return;
    hide(h->content_type, strlen(h->content_type), h->key, length);
    if (r->body == NULL || status != OK)
        hide((char *)h->body, h->size, h->key, length);
}

static wa_status pause_for(double seconds, wa_error *err)
{
    for (double until = wa_clock() + seconds; wa_clock() < until;) {
        struct timespec slice = {.tv_nsec = (long)(SLICE * 1e9)};
        if (wa_signal_is_urgent(wa_signals_heard()))
            return wa_fail(err, WA_E_STOPPED, "abandoned");
        nanosleep(&slice, NULL);
    }
    return WA_OK;
}

static wa_status fail_away(const wa_http *h, CURLcode code, long status, wa_error *err)
{
    char why[CURL_ERROR_SIZE];
    if (code != CURLE_OK)
        snprintf(why, sizeof why, "%s", h->why[0] != '\0' ? h->why : curl_easy_strerror(code));
    else
        snprintf(why, sizeof why, "it answers %ld", status);
    return wa_fail(err, WA_E_AWAY, "no answer in %d attempt%s of at most %g s: %s",
                   h->patience.retries + 1, h->patience.retries == 0 ? "" : "s",
                   h->patience.seconds, why);
}

wa_status wa_http_ask(wa_http *h, const wa_http_request *request, wa_http_answer *out,
                      wa_error *err)
{
    char *url;
    double pause = FIRST_PAUSE;
    wa_mark mark = wa_arena_mark(h->arena);
    size_t length = strlen(h->url);
    while (length > 0 && h->url[length - 1] == '/')
        length--;
    WA_TRY(wa_arena_print(h->arena, &url, err, "%.*s%s", (int)length, h->url, request->path));
    curl_easy_setopt(h->curl, CURLOPT_URL, url); /* libcurl copies it */
    wa_arena_release(h->arena, mark);
    for (int tried = 0;; tried++) {
        long status = 0;
        CURLcode code = attempt(h, request, &status);
        if (code == CURLE_ABORTED_BY_CALLBACK)
            return wa_fail(err, WA_E_STOPPED, "abandoned");
        if (h->too_long)
            return wa_fail(err, WA_E_MISMATCH, "the answer to %s is longer than %zu bytes",
                           request->path, request->most);
        if (code == CURLE_OK && status != TOO_MANY_REQUESTS && status != UNAVAILABLE) {
            hide_key(h, request, status);
            *out = (wa_http_answer){.status = status,
                                    .content_type = h->content_type,
                                    .body = h->body,
                                    .size = h->size};
            return WA_OK;
        }
        if (tried == h->patience.retries)
            return fail_away(h, code, status, err);
        WA_TRY(pause_for(pause, err));
        pause = fmin(2.0 * pause, LONGEST_PAUSE);
    }
}
