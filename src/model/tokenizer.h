/* Tokenizers: text to ids and back, from tokenizer.json or from the vocabulary inside a GGUF. */
#ifndef WALKAUDIT_MODEL_TOKENIZER_H
#define WALKAUDIT_MODEL_TOKENIZER_H

#include "base/arena.h"
#include "base/bytes.h"

typedef struct wa_tokenizer wa_tokenizer;

/**
 * Open the tokenizer of `path`: a tokenizer.json, a directory holding one (else holding one GGUF),
 * or a GGUF file (a tokenizer.json beside it wins: forward-pass.md 1.1). Local.
 *
 * Its memory is its own (freed by close), apart from the limit of any arena.
 * Errors: WA_E_IO, WA_E_FORMAT, WA_E_UNSUPPORTED (component by name; forward-pass.md 4.3).
 */
WA_CHECKED wa_status wa_tokenizer_open(const char *path, wa_tokenizer **out, wa_error *err);
void wa_tokenizer_close(wa_tokenizer *tokenizer);

/**
 * Encode with special tokens added (the post-processor's BOS and the like), as Hugging Face's
 * `encode(text, add_special_tokens=True)`. Special tokens written in the text are recognised.
 *
 * text   [length] bytes, UTF-8, may contain NUL; invalid UTF-8 is WA_E_FORMAT with the byte's
 *        offset
 * ids    out: arena, [*count]; may be empty
 */
WA_CHECKED wa_status wa_tokenizer_encode(const wa_tokenizer *tokenizer, const char *text,
                                         size_t length, wa_arena *arena, int32_t **ids,
                                         size_t *count, wa_error *err);

/**
 * Text of one id decoded alone (forward-pass.md 4.5), NUL-terminated, arena, valid UTF-8 (broken
 * bytes become U+FFFD). Special tokens decode to their own content here (reports want to see them);
 * an id without a token decodes to "".
 */
WA_CHECKED wa_status wa_tokenizer_text(const wa_tokenizer *tokenizer, int32_t id, wa_arena *arena,
                                       char **out, wa_error *err);

/** The raw vocabulary piece of an id (e.g. "Ġthe"), borrowed, NULL when the id has none. */
const char *wa_tokenizer_piece(const wa_tokenizer *tokenizer, int32_t id, size_t *length);

/** Is `id` a special token? */
bool wa_tokenizer_is_special(const wa_tokenizer *tokenizer, int32_t id);

/** One more than the largest id. */
size_t wa_tokenizer_id_count(const wa_tokenizer *tokenizer);

/** Warnings for the log (an untested regular expression, say), one line; NULL = none. */
const char *wa_tokenizer_warning(const wa_tokenizer *tokenizer);

/** Where it came from, e.g. "x/tokenizer.json" or "x.gguf"; borrowed. */
const char *wa_tokenizer_source(const wa_tokenizer *tokenizer);

#endif
