/* HTTP/1.1 to one server: one connection, time limits, retries. By libcurl. */
#ifndef WALKAUDIT_REMOTE_HTTP_H
#define WALKAUDIT_REMOTE_HTTP_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct wa_http wa_http;

/** Patience with a server. */
typedef struct wa_http_patience {
    double seconds; /* limit of one attempt */
    /* further attempts after a time-out, a broken connection or answer, 429 or 503 */
    int retries;
} wa_http_patience;

/** A request; all borrowed for the call. */
typedef struct wa_http_request {
    const char *path;         /* "/v1/stats" */
    const char *content_type; /* NULL = GET without a body */
    const char *accept;       /* NULL = anything */
    const void *body;         /* [size] */
    size_t size;
    size_t most; /* bytes of the answer's body at most; no more than there is room for */
} wa_http_request;

/** An answer. Its body is borrowed until the next exchange. */
typedef struct wa_http_answer {
    long status;
    const char *content_type; /* "" = none */
    const uint8_t *body;      /* [size] */
    size_t size;
} wa_http_answer;

/** An URL that may be asked: http or https, a host, no user or password in it, no query. NULL = it
 * may, else what is wrong; static. */
const char *wa_http_check_url(const char *url);

/**
 * No connection is made yet. Proxies are not used for loopback; redirects are not followed; TLS is
 * checked as libcurl does by default. Local. Errors: WA_E_MEMORY.
 *
 * url  http://HOST:PORT, kept
 * key  sent as a bearer token, never shown; NULL = none. A server that repeats it in a text has
 *      stars there
 * room for the body of the longest answer
 */
WA_CHECKED wa_status wa_http_open(const char *url, const char *key, wa_http_patience patience,
                                  size_t room, wa_arena *arena, wa_http **out, wa_error *err);
/**
 * Ask and wait. Between attempts it waits 0.1 s, 0.2 s and so on, at most 5 s. An answer with
 * another status than 429 and 503 is an answer. Errors: WA_E_AWAY (no whole answer in any attempt:
 * why the last had none), WA_E_MISMATCH (a longer answer than `most`), WA_E_STOPPED (a signal asks
 * for this process's end).
 */
WA_CHECKED wa_status wa_http_ask(wa_http *http, const wa_http_request *request, wa_http_answer *out,
                                 wa_error *err);
void wa_http_close(wa_http *http);

#endif
