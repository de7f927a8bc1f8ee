/* Text as views of UTF-8 bytes: checking, stepping, repairing. */
#ifndef WALKAUDIT_MODEL_TOKENIZER_UTF8_H
#define WALKAUDIT_MODEL_TOKENIZER_UTF8_H

#include "base/arena.h"
#include "base/bytes.h"

/** A view of text: not ended by NUL, may hold NUL. Borrowed from whoever owns the bytes. */
typedef struct wa_text {
    const char *data;
    size_t size;
} wa_text;

/** A text from a string literal. */
#define WA_TEXT(literal) ((wa_text){literal, sizeof(literal) - 1})

bool wa_text_equals(wa_text a, wa_text b);
bool wa_text_starts_with(wa_text text, wa_text start);

/** Offset of the first occurrence of `part` (not empty) at or after `from`; text.size if none. */
size_t wa_text_find(wa_text text, wa_text part, size_t from);

/**
 * Take one character. True: valid, *code is its code point. False: *taken bytes (at least 1) are a
 * maximal broken part, which stands for one U+FFFD (Unicode 15, table 3-7 and section 3.9).
 */
bool wa_utf8_take(wa_text text, size_t at, uint32_t *code, size_t *taken);

/** Offset of the first byte that is not valid UTF-8; text.size when all is valid. */
size_t wa_utf8_valid_size(wa_text text);

/** Write `code` (a Unicode scalar value) to `out` [4]; returns its bytes, 1 to 4. */
size_t wa_utf8_put(uint32_t code, char *out);

/** Copy with each broken part replaced by U+FFFD; arena, followed by a NUL. */
WA_CHECKED wa_status wa_utf8_repair(wa_text text, wa_arena *arena, wa_text *out, wa_error *err);

/** Unicode White_Space. */
bool wa_utf8_is_space(uint32_t code);

#endif
