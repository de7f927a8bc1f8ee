/* Text for people: tokens that stay on one line, and numbers that are still on the right side. */
#ifndef WALKAUDIT_BASE_SHOW_H
#define WALKAUDIT_BASE_SHOW_H

#include "base/arena.h"

#include <stdbool.h>

/**
 * A token as 'text' in quotes: quote and backslash escaped, control characters as \n, \t, \xHH,
 * invisible ones as \u{HEX}, bytes that are no UTF-8 as \xHH. NULL gives ''. Arena. Local.
 *
 * columns  display columns at most, then "…"; 0 = no limit
 */
WA_CHECKED wa_status wa_show_token(const char *text, size_t columns, wa_arena *arena, char **out,
                                   wa_error *err);

/** The same without the quotes around it; those in it are as they are. */
WA_CHECKED wa_status wa_show_text(const char *text, size_t columns, wa_arena *arena, char **out,
                                  wa_error *err);

/** A word as a shell takes it: as it is, or in single quotes. `text` itself or arena. Local. */
WA_CHECKED wa_status wa_show_word(const char *text, wa_arena *arena, const char **out,
                                  wa_error *err);

/** Numbers of layers: "layer 2", "layers 0-1, 3"; "no layer" where none is set. Arena. Local.
 *
 * set  [count]
 */
WA_CHECKED wa_status wa_show_layers(const bool *set, size_t count, wa_arena *arena, char **out,
                                    wa_error *err);

/** Display columns of UTF-8 text: wide characters count 2, combining ones 0. */
size_t wa_show_width(const char *text);

enum { WA_SHOW_NUMBER = 32 };
/** The shortest decimal of at least `digits` digits that reads back as no more (no less) than
 * `value`. */
void wa_show_at_most(double value, int digits, char out[WA_SHOW_NUMBER]);
void wa_show_at_least(double value, int digits, char out[WA_SHOW_NUMBER]);
/** The shortest decimal that reads back as exactly `value`. */
void wa_show_exact(double value, char out[WA_SHOW_NUMBER]);

#endif
