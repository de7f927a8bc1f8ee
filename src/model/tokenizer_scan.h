/* The two large members of a tokenizer.json, read without a document tree. */
#ifndef WALKAUDIT_MODEL_TOKENIZER_SCAN_H
#define WALKAUDIT_MODEL_TOKENIZER_SCAN_H

#include "model/tokenizer_vocab.h"

/** A value inside the document, brackets included. data NULL: not there. */
typedef struct wa_scan_span {
    wa_bytes bytes;
    size_t offset;  /* of its first byte in the document */
    size_t strings; /* in it: bounds the number of its entries */
    size_t longest; /* bytes of the longest string as written */
} wa_scan_span;

/** Where `model.vocab` and `model.merges` stand, if they are objects or arrays. */
typedef struct wa_scan_spans {
    wa_scan_span vocab;
    wa_scan_span merges;
} wa_scan_spans;

/** Locate the spans. Nothing is validated: a broken document gives spans or none, never a failure.
 */
wa_scan_spans wa_scan_locate(wa_bytes document);

/** The document with `{}` and `[]` in place of the spans; arena. */
WA_CHECKED wa_status wa_scan_rest(wa_bytes document, const wa_scan_spans *spans, wa_arena *arena,
                                  wa_bytes *out, wa_error *err);

/**
 * Parse the vocabulary object {"token": id, …}.
 *
 * pool     [span->bytes.size] or more; the strings go to pool[*used …], *used grows
 * entries  [span->strings]
 */
WA_CHECKED wa_status wa_scan_vocab(const wa_scan_span *span, char *pool, size_t *used,
                                   wa_vocab_entry *entries, size_t *count, wa_error *err);

/** Merges gather in the buffer up to here, then they are looked up together. */
enum { WA_SCAN_BATCH_BYTES = 16 << 10 };

/**
 * Parse the merges array, entries ["a", "b"] or "a b".
 *
 * buffer  [WA_SCAN_BATCH_BYTES + 2 * span->longest]
 * list    [span->strings]
 */
WA_CHECKED wa_status wa_scan_merges(const wa_scan_span *span, const wa_vocab *vocab, char *buffer,
                                    wa_merge *list, size_t *count, wa_error *err);

#endif
