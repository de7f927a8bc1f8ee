/* One LARQL server: what it says of itself, and its FFN outputs. Private to src/remote.
 * larql-2026-08.md 4. */
#ifndef WALKAUDIT_REMOTE_SERVED_H
#define WALKAUDIT_REMOTE_SERVED_H

#include "path/path.h"
#include "remote/http.h"

#include <jansson.h>

/** Bodies that a server takes, and that we do. */
enum { WA_SERVED_BODY = 64 << 20, WA_SERVED_TEXT = 1 << 20 };

typedef struct wa_server {
    wa_http *http;   /* owned */
    const char *url; /* arena */
    bool *owns;      /* [layers] it answers this layer; arena */
    json_t *stats;   /* owned */
    char *patches;   /* its answer to /v1/patches, or "HTTP 404"; arena */
} wa_server;

/** A request in the making: one wire, one model. */
typedef struct wa_ffn_request {
    wa_wire wire;
    size_t layer, rows, hidden;
    const float *x;   /* [rows, hidden]; q8k: one row */
    uint8_t *body;    /* room for wa_ffn_bytes */
    wa_wire expected; /* how the answer must travel; NONE = told by `answer` */
} wa_ffn_request;

/** Bytes of a request for so many rows. */
size_t wa_ffn_bytes(wa_wire wire, size_t rows, size_t hidden);
/** Most rows of a request that a server takes: 1 for q8k. */
size_t wa_ffn_most_rows(wa_wire wire, size_t hidden);
/** The body into request->body; returns its bytes. */
size_t wa_ffn_encode(const wa_ffn_request *request);
/**
 * An answer's body to y [rows, hidden]. *answer: how it travelled. Local, pure.
 * Errors: WA_E_MISMATCH: another Content-Type, length, layer or count than asked for; found and
 * expected.
 */
WA_CHECKED wa_status wa_ffn_decode(const wa_ffn_request *request, const wa_http_answer *from,
                                   wa_wire *answer, float *y, wa_error *err);

/**
 * Ask for the rows of a request. *owned = false when the server says that it does not serve the
 * layer; NULL = that is an error too. Errors: those of wa_http_ask and wa_ffn_decode;
 * WA_E_UNSUPPORTED (another status than 200, with what the server says).
 */
WA_CHECKED wa_status wa_server_ask(wa_server *server, const wa_ffn_request *request,
                                   wa_arena *arena, wa_wire *answer, float *y, bool *owned,
                                   wa_error *err);
/** /v1/stats, held against the model: layers and hidden size, no experts. */
WA_CHECKED wa_status wa_server_read_stats(wa_server *server, const wa_model *model, wa_arena *arena,
                                          wa_error *err);
/** The answer to /v1/patches, arena. */
WA_CHECKED wa_status wa_server_read_patches(wa_server *server, wa_arena *arena, char **out,
                                            wa_error *err);

#endif
