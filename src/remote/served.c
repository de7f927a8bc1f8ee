/* Path served: the FFN of a running LARQL server, asked over HTTP as its clients ask. */
#include "remote/served.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/show.h"
#include "measure/diff.h"
#include "path/evaluate.h"
#include "path/external.h"
#include "remote/remote.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All servers of a case, and space for one prompt. */
typedef struct served {
    wa_server *servers; /* [count] */
    size_t count;
    wa_wire wire, answer; /* answer: NONE until the first one is there */
    size_t layers, hidden, prompts, longest;
    const char *what; /* "path 'served' of case 'f32:served'", arena */
    uint8_t *body;    /* a request */
    /* [longest, hidden]: positions in another order, answers to another request */
    float *x, *y;
    wa_arena *arena;
} served;

enum { SHARE = 8 }; /* of prompts and layers: one pair in so many is asked in other ways as well */

static wa_status note(wa_error *err, const served *s, const wa_server *server)
{
    if (err->status == WA_E_STOPPED)
        return err->status;
    return wa_note(err, "server %s of %s", server->url, s->what);
}

/* --- Answers --- */

static wa_status ask(served *s, wa_server *server, size_t layer, const float *x, size_t rows,
                     float *y, wa_error *err)
{
    size_t most = wa_ffn_most_rows(s->wire, s->hidden);
    for (size_t first = 0; first < rows; first += most) {
        wa_ffn_request request = {.wire = s->wire,
                                  .layer = layer,
                                  .rows = wa_size_min(most, rows - first),
                                  .hidden = s->hidden,
                                  .x = x + first * s->hidden,
                                  .body = s->body,
                                  .expected = s->answer};
        wa_wire answer;
        if (wa_server_ask(server, &request, s->arena, &answer, y + first * s->hidden, NULL, err) !=
            WA_OK) {
            if (err->status != WA_E_STOPPED)
                wa_note(err, "at layer %zu", layer);
            return note(err, s, server);
        }
    }
    return WA_OK;
}

static double farthest(const served *s, const float *a, const float *b, size_t rows)
{
    double most = 0.0;
    for (size_t r = 0; r < rows; r++)
        most = fmax(most, wa_answer_distance(a + r * s->hidden, b + r * s->hidden, s->hidden));
    return most;
}

static void turn_round(const served *s, const float *from, size_t rows, float *to)
{
    for (size_t r = 0; r < rows; r++)
        memcpy(to + r * s->hidden, from + (rows - 1 - r) * s->hidden, s->hidden * sizeof *to);
}

/* The server of a (prompt, layer), from those that have the layer; another one with `next`. */
static wa_server *server_of(const served *s, size_t prompt, size_t layer, size_t next)
{
    size_t owners = 0;
    for (size_t i = 0; i < s->count; i++)
        owners += s->servers[i].owns[layer] ? 1 : 0;
    if (next >= owners)
        return NULL;
    size_t at = (prompt + layer + next) % owners;
    for (size_t i = 0; i < s->count; i++)
        if (s->servers[i].owns[layer] && at-- == 0)
            return &s->servers[i];
    return NULL;
}

/* The same x in the other ways; of Q8_K requests, which hold one position, only again and
 * elsewhere. */
static wa_status ask_ways(served *s, const wa_external_rows *r, wa_error *err)
{
    wa_server *server = server_of(s, r->prompt, r->layer, 0), *other;
    wa_ways *ways = r->ways;
    WA_TRY(ask(s, server, r->layer, r->x, r->rows, s->y, err));
    ways->repeat = farthest(s, r->y, s->y, r->rows);
    for (size_t next = 1; (other = server_of(s, r->prompt, r->layer, next)) != NULL; next++) {
        WA_TRY(ask(s, other, r->layer, r->x, r->rows, s->y, err));
        double apart = farthest(s, r->y, s->y, r->rows);
        ways->alike = next == 1 ? apart : fmax(ways->alike, apart);
    }
    if (s->wire == WA_WIRE_Q8K || r->rows < 2)
        return WA_OK;
    turn_round(s, r->x, r->rows, s->x);
    WA_TRY(ask(s, server, r->layer, s->x, r->rows, s->y, err));
    turn_round(s, r->y, r->rows, s->x);
    ways->order = farthest(s, s->x, s->y, r->rows);
    size_t at = (r->prompt + r->layer) % r->rows * s->hidden;
    WA_TRY(ask(s, server, r->layer, r->x + at, 1, s->y, err));
    ways->alone = farthest(s, r->y + at, s->y, 1);
    return WA_OK;
}

static wa_status run_served(const wa_external *external, const wa_external_rows *r, wa_error *err)
{
    served *s = external->context;
    size_t share = s->prompts < SHARE ? s->prompts : SHARE;
    if (r->rows > s->longest)
        return wa_fail(err, WA_E_INTERNAL, "%zu positions, space for %zu; %s", r->rows, s->longest,
                       s->what);
    WA_TRY(ask(s, server_of(s, r->prompt, r->layer, 0), r->layer, r->x, r->rows, r->y, err));
    if (r->ways != NULL && r->layer % share == r->prompt % share)
        return ask_ways(s, r, err);
    return WA_OK;
}

static wa_status check_served(const wa_external *external, wa_error *err)
{
    served *s = external->context;
    for (size_t i = 0; i < s->count; i++) {
        wa_server *server = &s->servers[i];
        char *patches;
        if (wa_server_read_patches(server, s->arena, &patches, err) != WA_OK)
            return note(err, s, server);
        if (strcmp(patches, server->patches) != 0) {
            wa_fail(err, WA_E_MISMATCH,
                    "its patches changed while this run asked it; start again with --fresh");
            return note(err, s, server);
        }
    }
    return WA_OK;
}

static void close_served(wa_external *external)
{
    served *s = external->context;
    for (size_t i = 0; i < s->count; i++) {
        wa_http_close(s->servers[i].http);
        wa_json_close(s->servers[i].stats);
    }
}

/* --- Opening --- */

/* A zero vector to every layer: who has it, and how does an answer travel? */
static wa_status probe(served *s, wa_server *server, wa_error *err)
{
    memset(s->x, 0, s->hidden * sizeof *s->x);
    WA_TRY(wa_arena_take(s->arena, s->layers, sizeof *server->owns, &server->owns, err));
    for (size_t layer = 0; layer < s->layers; layer++) {
        wa_ffn_request request = {.wire = s->wire,
                                  .layer = layer,
                                  .rows = 1,
                                  .hidden = s->hidden,
                                  .x = s->x,
                                  .body = s->body,
                                  .expected = s->answer};
        wa_wire answer;
        bool owned;
        if (wa_server_ask(server, &request, s->arena, &answer, s->y, &owned, err) != WA_OK)
            return err->status == WA_E_STOPPED ? err->status : wa_note(err, "at layer %zu", layer);
        server->owns[layer] = owned;
        if (owned)
            s->answer = answer;
    }
    return WA_OK;
}

/* *out: NULL = there is none. */
static wa_status read_key(const char **out, wa_error *err)
{
    const char *key = getenv("WALKAUDIT_SERVED_KEY");
    *out = NULL;
    if (key == NULL || key[0] == '\0')
        return WA_OK;
    for (const char *c = key; *c != '\0'; c++)
        if (*c < ' ' || *c > '~')
            return wa_fail(err, WA_E_JOB,
                           "WALKAUDIT_SERVED_KEY holds a character that is not printable ASCII");
    *out = key;
    return WA_OK;
}

static wa_status open_server(served *s, wa_server *server, const wa_model *model,
                             wa_http_patience patience, wa_error *err)
{
    const char *key;
    size_t longest = 0;
    WA_TRY(read_key(&key, err));
    if (!wa_size_mul(s->longest * sizeof(float), s->hidden, &longest) ||
        !wa_size_add(longest, WA_SERVED_TEXT, &longest))
        return wa_fail(err, WA_E_MEMORY, "%zu positions of %zu values overflow", s->longest,
                       s->hidden);
    WA_TRY(wa_http_open(server->url, key, patience, longest, s->arena, &server->http, err));
    WA_TRY(wa_server_read_stats(server, model, s->arena, err));
    WA_TRY(wa_server_read_patches(server, s->arena, &server->patches, err));
    return probe(s, server, err);
}

static wa_status split_urls(served *s, const wa_case *which, wa_error *err)
{
    char *words, *rest = NULL;
    size_t room = strlen(which->url) / 2 + 1;
    WA_TRY(wa_arena_take(s->arena, room, sizeof *s->servers, &s->servers, err));
    WA_TRY(wa_arena_copy(s->arena, which->url, strlen(which->url), &words, err));
    for (char *word = strtok_r(words, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        const char *wrong = wa_http_check_url(word);
        if (wrong != NULL)
            return wa_fail(err, WA_E_JOB, "url %zu of %s %s", s->count + 1, s->what, wrong);
        for (size_t i = 0; i < s->count; i++)
            if (strcmp(word, s->servers[i].url) == 0) /* it would be compared with itself */
                return wa_fail(err, WA_E_JOB, "url %zu of %s is url %zu again", s->count + 1,
                               s->what, i + 1);
        s->servers[s->count++].url = word;
    }
    return WA_OK;
}

/* Which layers some server has; or that none has any. */
static wa_status join_layers(const served *s, wa_external *made, const char **lacks, wa_error *err)
{
    uint8_t *serves;
    size_t count = 0;
    char *why;
    WA_TRY(wa_arena_take(s->arena, s->layers, 1, &serves, err));
    for (size_t layer = 0; layer < s->layers; layer++) {
        serves[layer] = server_of(s, 0, layer, 0) != NULL;
        count += serves[layer];
    }
    made->serves = count == s->layers ? NULL : serves;
    if (count > 0)
        return WA_OK;
    WA_TRY(wa_arena_print(s->arena, &why, err, "no server has any of the model's %zu layers",
                          s->layers));
    *lacks = why;
    return WA_OK;
}

/* --- What the result says --- */

/* Of /v1/stats what stays the same while a server runs. */
static json_t *lasting(const json_t *stats)
{
    static const char *const keys[] = {"model",      "family",        "mode",
                                       "layers",     "features",      "hidden_size",
                                       "vocab_size", "extract_level", "dtype"};
    json_t *out = json_object();
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        json_object_set(out, keys[i], json_object_get(stats, keys[i]));
    /* the object is there whatever the files are: nothing else of it lasts */
    json_object_set(out, "feature_major_down",
                    json_object_get(json_object_get(stats, "q4k_ffn"), "feature_major_down"));
    return out;
}

static json_t *describe(const served *s, const wa_server *server, bool with_url)
{
    json_t *owned = json_array();
    for (size_t layer = 0; layer < s->layers; layer++)
        if (server->owns[layer])
            json_array_append_new(owned, json_integer((json_int_t)layer));
    json_t *patches = json_string(server->patches);
    json_t *out = json_pack("{s:o, s:o, s:o}", "stats", lasting(server->stats), "layers", owned,
                            "patches", patches != NULL ? patches : json_string("no UTF-8"));
    if (with_url)
        json_object_set_new(out, "url", json_string(server->url));
    return out;
}

/* with_url: a server that moved is the same server to the fingerprint. */
static wa_status write_facts(const served *s, bool with_url, const char **out, wa_error *err)
{
    json_t *servers = json_array();
    for (size_t i = 0; i < s->count; i++)
        json_array_append_new(servers, describe(s, &s->servers[i], with_url));
    json_t *facts = json_pack(
        "{s:s, s:s, s:o, s:s}", "wire", wa_wire_name(s->wire), "answer", wa_wire_name(s->answer),
        "servers", servers, "unknown",
        "which vindex answers, in which state, and which version of LARQL: no server says");
    char *text = facts == NULL ? NULL : json_dumps(facts, JSON_COMPACT | JSON_SORT_KEYS), *copy;
    wa_status status = text == NULL ? wa_fail(err, WA_E_MEMORY, "no memory for a server's facts")
                                    : wa_arena_copy(s->arena, text, strlen(text), &copy, err);
    free(text);
    json_decref(facts);
    if (status == WA_OK)
        *out = copy;
    return status;
}

/* The layers of each server in words, since they are what changes most, and a digest of all. */
static wa_status write_identity(const served *s, const char **out, wa_error *err)
{
    char hex[WA_SHA256_HEX], *text = "", *owned;
    const char *facts;
    for (size_t i = 0; i < s->count; i++) {
        WA_TRY(wa_show_layers(s->servers[i].owns, s->layers, s->arena, &owned, err));
        WA_TRY(wa_arena_print(s->arena, &text, err, "%s%s%s", text, i > 0 ? " and " : "", owned));
    }
    WA_TRY(write_facts(s, false, &facts, err));
    WA_TRY(wa_digest_bytes((wa_bytes){(const uint8_t *)facts, strlen(facts)}, hex, err));
    WA_TRY(wa_arena_print(s->arena, &text, err, "%s by a server of %s", text, hex));
    *out = text;
    return WA_OK;
}

static wa_status write_texts(const served *s, wa_external *made, wa_error *err)
{
    const char *model = json_string_value(json_object_get(s->servers[0].stats, "model"));
    char *label;
    WA_TRY(wa_arena_print(s->arena, &label, err, "served:%s%s%.60s", wa_wire_name(s->wire),
                          model == NULL ? "" : " ", model == NULL ? "" : model));
    made->label = label;
    made->answer = s->answer;
    WA_TRY(write_facts(s, true, &made->facts, err));
    return write_identity(s, &made->identity, err);
}

static wa_status take_space(served *s, wa_error *err)
{
    size_t most = wa_size_min(wa_ffn_most_rows(s->wire, s->hidden), s->longest), values;
    if (!wa_size_mul(s->longest, s->hidden, &values))
        return wa_fail(err, WA_E_MEMORY, "%zu positions of %zu values overflow", s->longest,
                       s->hidden);
    WA_TRY(wa_arena_take_raw(s->arena, wa_ffn_bytes(s->wire, most, s->hidden), 1, &s->body, err));
    WA_TRY(wa_arena_take_raw(s->arena, values, sizeof *s->x, &s->x, err));
    return wa_arena_take_raw(s->arena, values, sizeof *s->y, &s->y, err);
}

static wa_status open_all(served *s, const wa_case *which, const wa_model *model,
                          wa_http_patience patience, wa_external *made, wa_error *err)
{
    if (s->wire == WA_WIRE_Q8K && s->hidden % 256 != 0)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "hidden size %zu is no multiple of 256, which wire q8k needs; %s", s->hidden,
                       s->what);
    WA_TRY(split_urls(s, which, err));
    WA_TRY(take_space(s, err));
    for (size_t i = 0; i < s->count; i++)
        if (open_server(s, &s->servers[i], model, patience, err) != WA_OK)
            return note(err, s, &s->servers[i]);
    return write_texts(s, made, err);
}

wa_status wa_external_connect(const wa_case *which, const wa_model *model,
                              const wa_served_options *options, wa_arena *arena, wa_external **out,
                              const char **lacks, wa_error *err)
{
    served *s;
    wa_external *made;
    char *what;
    WA_TRY(wa_arena_take(arena, 1, sizeof *s, &s, err));
    WA_TRY(wa_arena_take(arena, 1, sizeof *made, &made, err));
    WA_TRY(wa_arena_print(arena, &what, err, "path 'served' of case '%s'", which->name));
    *s = (served){.wire = which->wire,
                  .layers = model->layer_count,
                  .hidden = model->hidden,
                  .prompts = options->prompts,
                  .longest = options->longest == 0 ? 1 : options->longest,
                  .what = what,
                  .arena = arena};
    *made = (wa_external){.source = which->url,
                          .run = run_served,
                          .close = close_served,
                          .check = check_served,
                          .context = s};
    wa_http_patience patience = {.seconds = options->seconds, .retries = options->retries};
    *lacks = NULL;
    wa_status status = open_all(s, which, model, patience, made, err);
    if (status == WA_OK)
        status = join_layers(s, made, lacks, err);
    if (status != WA_OK) {
        close_served(made);
        return status;
    }
    *out = made;
    return WA_OK;
}
