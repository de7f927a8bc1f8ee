/* Requests to one LARQL server, and what is made of its answers. */
#include "remote/served.h"

#include "base/json.h"
#include "base/show.h"

#include <stdio.h>
#include <string.h>

static const char FFN[] = "application/x-larql-ffn", FFN_F16[] = "application/x-larql-ffn-f16",
                  FFN_I8[] = "application/x-larql-ffn-i8",
                  FFN_Q8K[] = "application/x-larql-ffn-q8k-batch";
enum {
    HEAD_WORDS = 4,
    ANSWER_WORDS = 3,
    Q8K_WORDS = 3,
    FULL_OUTPUT = 1,
    Q8K_BLOCK = 256,
    SHOWN = 160
};
enum { OK = 200, REDIRECTS = 3, REFUSED = 400, UNAUTHORIZED = 401 };

static const char *type_of(wa_wire wire)
{
    return wire == WA_WIRE_F16   ? FFN_F16
           : wire == WA_WIRE_I8  ? FFN_I8
           : wire == WA_WIRE_Q8K ? FFN_Q8K
                                 : FFN;
}

/* --- Bodies --- */

static size_t head_bytes(wa_wire wire)
{
    return (wire == WA_WIRE_Q8K ? Q8K_WORDS : HEAD_WORDS) * sizeof(uint32_t);
}

size_t wa_ffn_bytes(wa_wire wire, size_t rows, size_t hidden)
{
    return head_bytes(wire) + rows * wa_wire_bytes(wire, hidden);
}

size_t wa_ffn_most_rows(wa_wire wire, size_t hidden)
{
    size_t most = (WA_SERVED_BODY - head_bytes(wire)) / wa_wire_bytes(wire, hidden);
    /* two entries of one layer would not be computed in Q8_K */
    return wire == WA_WIRE_Q8K || most == 0 ? 1 : most;
}

/* top_k is 0: the server's cache by hit set is then not asked. */
size_t wa_ffn_encode(const wa_ffn_request *r)
{
    uint32_t head[HEAD_WORDS] = {(uint32_t)r->layer, (uint32_t)r->rows, FULL_OUTPUT, 0};
    if (r->wire == WA_WIRE_Q8K) {
        head[0] = 1;
        head[1] = (uint32_t)r->layer;
        head[2] = (uint32_t)(r->hidden / Q8K_BLOCK);
    }
    memcpy(r->body, head, head_bytes(r->wire));
    wa_wire_encode(r->wire, r->x, r->rows, r->hidden, r->body + head_bytes(r->wire));
    return wa_ffn_bytes(r->wire, r->rows, r->hidden);
}

static wa_status read_type(const wa_ffn_request *r, const char *type, wa_wire *out, wa_error *err)
{
    if (r->wire == WA_WIRE_Q8K || strstr(type, FFN) == NULL)
        *out = WA_WIRE_F32;
    else
        *out = strstr(type, FFN_I8) != NULL    ? WA_WIRE_I8
               : strstr(type, FFN_F16) != NULL ? WA_WIRE_F16
                                               : WA_WIRE_F32;
    bool known = r->wire == WA_WIRE_Q8K ? strstr(type, "json") == NULL : strstr(type, FFN) != NULL;
    if (!known)
        return wa_fail(err, WA_E_MISMATCH, "the answer has Content-Type '%.60s', expected %s", type,
                       FFN);
    if (r->expected != WA_WIRE_NONE && *out != r->expected)
        return wa_fail(err, WA_E_MISMATCH, "the answer travels as %s, expected %s as at the start",
                       wa_wire_name(*out), wa_wire_name(r->expected));
    return WA_OK;
}

wa_status wa_ffn_decode(const wa_ffn_request *r, const wa_http_answer *from, wa_wire *answer,
                        float *y, wa_error *err)
{
    uint32_t head[ANSWER_WORDS];
    bool q8k = r->wire == WA_WIRE_Q8K;
    WA_TRY(read_type(r, from->content_type, answer, err));
    size_t expected = sizeof head + r->rows * wa_wire_bytes(*answer, r->hidden);
    if (from->size != expected)
        return wa_fail(
            err, WA_E_MISMATCH, "the answer has %zu bytes, expected %zu for %zu position%s in %s",
            from->size, expected, r->rows, r->rows == 1 ? "" : "s", wa_wire_name(*answer));
    memcpy(head, from->body, sizeof head);
    uint32_t layer = q8k ? head[1] : head[0], count = q8k ? head[2] : head[1];
    uint32_t due = (uint32_t)(q8k ? r->hidden : r->rows);
    if (layer != r->layer || count != due || (q8k && head[0] != 1))
        return wa_fail(err, WA_E_MISMATCH,
                       "the answer is of layer %u with %u %s, expected layer %zu with %u", layer,
                       count, q8k ? "values" : "positions", r->layer, due);
    wa_wire_decode(*answer, from->body + sizeof head, r->rows, r->hidden, y);
    return WA_OK;
}

/* --- Exchanges --- */

/* What a server says on its own behalf, on one line. */
static wa_status fail_answer(const wa_http_answer *a, const char *what, wa_arena *arena,
                             wa_error *err)
{
    char text[SHOWN + 1], *shown;
    wa_mark mark = wa_arena_mark(arena);
    snprintf(text, sizeof text, "%.*s", (int)(a->size < SHOWN ? a->size : SHOWN),
             a->size == 0 ? "" : (const char *)a->body);
    WA_TRY(wa_show_token(text, SHOWN, arena, &shown, err));
    wa_fail(err, WA_E_UNSUPPORTED, "%s is answered by HTTP %ld, expected 200%s%s%s", what,
            a->status, text[0] == '\0' ? "" : ": ", text[0] == '\0' ? "" : shown,
            a->status == UNAUTHORIZED      ? "; the key belongs into WALKAUDIT_SERVED_KEY"
            : a->status / 100 == REDIRECTS ? "; redirects are not followed"
                                           : "");
    wa_arena_release(arena, mark);
    return WA_E_UNSUPPORTED;
}

static bool says(const wa_http_answer *a, const char *text)
{
    size_t length = strlen(text);
    for (size_t i = 0; a->size >= length && i <= a->size - length; i++)
        if (memcmp(a->body + i, text, length) == 0)
            return true;
    return false;
}

wa_status wa_server_ask(wa_server *server, const wa_ffn_request *r, wa_arena *arena,
                        wa_wire *answer, float *y, bool *owned, wa_error *err)
{
    const char *path = r->wire == WA_WIRE_Q8K ? "/v1/walk-ffn-q8k" : "/v1/walk-ffn";
    /* f32 is the longest */
    size_t most = ANSWER_WORDS * sizeof(uint32_t) + r->rows * r->hidden * sizeof(float);
    wa_http_request request = {.path = path,
                               .content_type = type_of(r->wire),
                               .accept = type_of(r->wire),
                               .body = r->body,
                               .size = wa_ffn_encode(r),
                               .most = most < WA_SERVED_TEXT ? WA_SERVED_TEXT : most};
    wa_http_answer got;
    WA_TRY(wa_http_ask(server->http, &request, &got, err));
    if (owned != NULL)
        *owned = true;
    if (owned != NULL && got.status == REFUSED && says(&got, "not served")) {
        *owned = false;
        return WA_OK;
    }
    if (got.status != OK)
        return fail_answer(&got, path, arena, err);
    return wa_ffn_decode(r, &got, answer, y, err);
}

wa_status wa_server_read_stats(wa_server *server, const wa_model *model, wa_arena *arena,
                               wa_error *err)
{
    wa_http_request request = {.path = "/v1/stats", .most = WA_SERVED_TEXT};
    wa_http_answer got;
    size_t layers, hidden;
    WA_TRY(wa_http_ask(server->http, &request, &got, err));
    if (got.status != OK)
        return fail_answer(&got, request.path, arena, err);
    if (wa_json_parse((wa_bytes){got.body, got.size}, &server->stats, err) != WA_OK)
        return wa_note(err, "in the answer to /v1/stats");
    if (wa_json_size(server->stats, "layers", &layers, err) != WA_OK ||
        wa_json_size(server->stats, "hidden_size", &hidden, err) != WA_OK)
        return wa_note(err, "in the answer to /v1/stats");
    if (layers != model->layer_count || hidden != model->hidden)
        return wa_fail(err, WA_E_MISMATCH,
                       "it serves %zu layers of hidden size %zu, the model has %zu of %zu", layers,
                       hidden, model->layer_count, model->hidden);
    if (json_is_true(json_object_get(json_object_get(server->stats, "ffn_weights"), "moe")))
        return wa_fail(
            err, WA_E_UNSUPPORTED,
            "it serves a model with experts (ffn_weights.moe), which path 'served' does not audit");
    return WA_OK;
}

wa_status wa_server_read_patches(wa_server *server, wa_arena *arena, char **out, wa_error *err)
{
    wa_http_request request = {.path = "/v1/patches", .most = WA_SERVED_TEXT};
    wa_http_answer got;
    WA_TRY(wa_http_ask(server->http, &request, &got, err));
    if (got.status != OK)
        return wa_arena_print(arena, out, err, "HTTP %ld", got.status);
    return wa_arena_copy(arena, got.size == 0 ? "" : (const char *)got.body, got.size, out, err);
}
