/* PCRE2 with UTF, UCP and JIT. Its objects live in PCRE2's own memory. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/tokenizer_regex.h"

#include <pcre2.h>

struct wa_regex {
    pcre2_code *code; /* owned */
};

struct wa_regex_run {
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    pcre2_code *unknown; /* matches characters without a category */
};

/* JIT code needs its stack for what a greedy repeat may give back, so it grows with the text. The
 * upper end is address space only; 100 kB of one class take less than 1 MiB. */
enum { STACK_START = 32 << 10, STACK_LIMIT = 64 << 20 };

/* Copies the pattern with \s and \S spelled as properties; both also stand inside classes. */
static wa_status spell_spaces(wa_text pattern, wa_arena *arena, wa_text *out, wa_error *err)
{
    static const char LETTER[] = "\\p{White_Space}";
    static const size_t LETTER_SIZE = sizeof LETTER - 1;
    char *to;
    size_t used = 0;
    WA_TRY(wa_arena_take(arena, pattern.size + 1, LETTER_SIZE, &to, err));
    for (size_t i = 0; i < pattern.size; i++) {
        bool escape = pattern.data[i] == '\\' && i + 1 < pattern.size;
        if (escape && (pattern.data[i + 1] | 0x20) == 's') {
            memcpy(to + used, LETTER, LETTER_SIZE);
            if (pattern.data[i + 1] == 'S')
                to[used + 1] = 'P';
            used += LETTER_SIZE;
            i++;
            continue;
        }
        to[used++] = pattern.data[i];
        if (escape)
            to[used++] = pattern.data[++i]; /* so that \\s stays a backslash and an s */
    }
    *out = (wa_text){to, used};
    return WA_OK;
}

wa_status wa_regex_open(wa_text pattern, wa_arena *arena, wa_regex **out, wa_error *err)
{
    wa_regex *regex;
    wa_text spelled;
    WA_TRY(wa_arena_take(arena, 1, sizeof *regex, &regex, err));
    WA_TRY(spell_spaces(pattern, arena, &spelled, err));

    int number;
    PCRE2_SIZE place;
    regex->code =
        pcre2_compile((PCRE2_SPTR)spelled.data, spelled.size,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &number, &place, NULL);
    if (regex->code == NULL) {
        char message[120] = "";
        pcre2_get_error_message(number, (PCRE2_UCHAR *)message, sizeof message);
        return wa_fail(err, WA_E_FORMAT, "regular expression '%.*s': %s at byte %zu",
                       pattern.size > 200 ? 200 : (int)pattern.size, pattern.data, message, place);
    }
    /* Without JIT (refused by the machine, or a pattern it cannot take) PCRE2 interprets: the same
     * matches, only slower. */
    (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
    *out = regex;
    return WA_OK;
}

void wa_regex_close(wa_regex *regex)
{
    if (regex != NULL)
        pcre2_code_free(regex->code);
}

wa_status wa_regex_run_open(wa_arena *arena, wa_regex_run **out, wa_error *err)
{
    wa_regex_run *run;
    WA_TRY(wa_arena_take(arena, 1, sizeof *run, &run, err));
    run->match = pcre2_match_data_create(1, NULL);
    run->context = pcre2_match_context_create(NULL);
    run->stack = pcre2_jit_stack_create(STACK_START, STACK_LIMIT, NULL);
    int number;
    PCRE2_SIZE place;
    run->unknown = pcre2_compile((PCRE2_SPTR) "\\p{Cn}", PCRE2_ZERO_TERMINATED,
                                 PCRE2_UTF | PCRE2_UCP, &number, &place, NULL);
    if (run->match == NULL || run->context == NULL || run->stack == NULL || run->unknown == NULL) {
        wa_regex_run_close(run);
        return wa_fail(err, WA_E_MEMORY, "no memory for matching regular expressions");
    }
    pcre2_jit_stack_assign(run->context, NULL, run->stack);
    *out = run;
    return WA_OK;
}

void wa_regex_run_close(wa_regex_run *run)
{
    if (run == NULL)
        return;
    pcre2_match_data_free(run->match);
    pcre2_match_context_free(run->context);
    pcre2_jit_stack_free(run->stack);
    pcre2_code_free(run->unknown);
}

wa_status wa_regex_check_known(wa_text text, wa_regex_run *run, wa_error *err)
{
    uint32_t code = 0;
    size_t taken = 0;
    for (size_t at = 0; at < text.size; at += taken) {
        if (pcre2_match(run->unknown, (PCRE2_SPTR)text.data, text.size, at, PCRE2_NO_UTF_CHECK,
                        run->match, run->context) < 0)
            return WA_OK;
        at = pcre2_get_ovector_pointer(run->match)[0];
        (void)wa_utf8_take(text, at, &code, &taken);
        if ((code & 0xFFFE) == 0xFFFE || (code >= 0xFDD0 && code <= 0xFDEF))
            continue; /* noncharacters, for ever */
        char version[24] = "?";
        (void)pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, version);
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "text to encode: U+%04X at byte %zu is not in Unicode %s, by which regular "
                       "expressions are matched here",
                       (unsigned)code, at, version);
    }
    return WA_OK;
}

wa_status wa_regex_find(const wa_regex *regex, wa_text text, size_t from, wa_regex_run *run,
                        size_t *start, size_t *end, wa_error *err)
{
    /* The text is known to be valid; checking it again for every match would be quadratic. */
    int found = pcre2_match(regex->code, (PCRE2_SPTR)text.data, text.size, from, PCRE2_NO_UTF_CHECK,
                            run->match, run->context);
    if (found == PCRE2_ERROR_NOMATCH) {
        *start = *end = text.size + 1;
        return WA_OK;
    }
    if (found < 0) {
        char message[120] = "";
        pcre2_get_error_message(found, (PCRE2_UCHAR *)message, sizeof message);
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "regular expression of the pre-tokenizer: %s, in a piece of %zu bytes at "
                       "byte %zu",
                       message, text.size, from);
    }
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(run->match);
    if (range[0] < from || range[1] < range[0])
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "regular expression of the pre-tokenizer: match [%zu, %zu) from byte %zu",
                       range[0], range[1], from);
    *start = range[0];
    *end = range[1];
    return WA_OK;
}
