/* Regular expressions of pre-tokenisers, through PCRE2. */
#ifndef WALKAUDIT_MODEL_TOKENIZER_REGEX_H
#define WALKAUDIT_MODEL_TOKENIZER_REGEX_H

#include "model/tokenizer_utf8.h"

typedef struct wa_regex wa_regex;
typedef struct wa_regex_run wa_regex_run;

/** WA_E_UNSUPPORTED, naming the place, for a pattern that Oniguruma and PCRE2 may read
 * differently. */
WA_CHECKED wa_status wa_regex_check_portable(wa_text pattern, wa_error *err);

/**
 * Compile a pattern with UTF and UCP. `\s` and `\S` are read as Unicode White_Space: PCRE2's own
 * `\s` also takes U+180E, which Unicode dropped in version 6.3.
 *
 * out  owned; close with wa_regex_close
 *
 * Errors: WA_E_FORMAT with PCRE2's message and the place in the pattern.
 */
WA_CHECKED wa_status wa_regex_open(wa_text pattern, wa_arena *arena, wa_regex **out, wa_error *err);
void wa_regex_close(wa_regex *regex);

/** What a match needs besides the pattern: an encoding has one for all of its regexes. */
WA_CHECKED wa_status wa_regex_run_open(wa_arena *arena, wa_regex_run **out, wa_error *err);
void wa_regex_run_close(wa_regex_run *run);

/**
 * WA_E_UNSUPPORTED, naming the place, when the text holds a character that PCRE2's version of
 * Unicode does not know: another version has it among letters, or digits, and cuts the text
 * elsewhere. Noncharacters are known to all.
 */
WA_CHECKED wa_status wa_regex_check_known(wa_text text, wa_regex_run *run, wa_error *err);

/**
 * Find the first match at or after `from`. *start = *end = text.size + 1 when there is none.
 *
 * text  valid UTF-8; `from` at a character
 *
 * Errors: WA_E_UNSUPPORTED when the pattern needs more steps or memory than PCRE2 allows.
 */
WA_CHECKED wa_status wa_regex_find(const wa_regex *regex, wa_text text, size_t from,
                                   wa_regex_run *run, size_t *start, size_t *end, wa_error *err);

#endif
