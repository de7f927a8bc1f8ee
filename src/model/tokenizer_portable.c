/* Which regular expressions mean the same to Oniguruma (Ruby's syntax, which tokenizer.json is
 * written for) and to PCRE2. What is not known to is refused: other pieces are other ids. */
#include "model/tokenizer_regex.h"

#include <string.h>

typedef struct scan {
    wa_text pattern;
    size_t at;
    bool in_class;
    const char *reason; /* NULL while all is well */
} scan;

static char char_at(const scan *s, size_t ahead)
{
    return s->at + ahead < s->pattern.size ? s->pattern.data[s->at + ahead] : '\0';
}

/* Escapes of letters that are the same in both; others are not, or not in one of them. \w and \b
 * differ in marks and punctuation, \h is a hexadecimal digit to Oniguruma, \v one character. */
static void scan_escape(scan *s)
{
    char c = char_at(s, 1);
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter && strchr("sSpPdDrntfaexAz", c) == NULL)
        s->reason = "an escape";
    s->at += 2;
    if ((c == 'p' || c == 'P' || c == 'x') && char_at(s, 0) == '{')
        while (s->at < s->pattern.size && char_at(s, 0) != '}')
            s->at++;
    if ((c == 'p' || c == 'P' || c == 'x') && char_at(s, 0) == '}')
        s->at++;
}

static void scan_class(scan *s)
{
    char c = char_at(s, 0);
    if (c == '[')
        s->reason = char_at(s, 1) == ':' ? "a POSIX class" : "a class inside a class";
    else if (c == '&' && char_at(s, 1) == '&')
        s->reason = "an intersection of classes";
    s->in_class = c != ']';
    s->at++;
}

/* After "(": groups without a name, looking around, atomic, and the flag i. */
static void scan_group(scan *s)
{
    static const char *const same[] = {"?:", "?=", "?!", "?<=", "?<!", "?>", "?i:", "?i)", "?-i:"};
    char c = char_at(s, 1);
    bool known = c != '?' && c != '*';
    wa_text rest = {s->pattern.data + s->at + 1, s->pattern.size - s->at - 1};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        known |= rest.size >= strlen(same[i]) && memcmp(rest.data, same[i], strlen(same[i])) == 0;
    if (!known)
        s->reason = "a group";
    s->at++;
}

static void scan_outside(scan *s)
{
    char c = char_at(s, 0);
    if (c == '(') {
        scan_group(s);
        return;
    }
    if (c == '^' || c == '$') /* of a line to Oniguruma, of the text to PCRE2 */
        s->reason = "an anchor";
    else if ((c == '{' && char_at(s, 1) == ',') || (c == '}' && char_at(s, 1) == '+'))
        s->reason = "a repeat";
    s->in_class = c == '[';
    s->at++;
    if (s->in_class && char_at(s, 0) == '^')
        s->at++;
    if (s->in_class && char_at(s, 0) == ']')
        s->reason = "an empty class";
}

wa_status wa_regex_check_portable(wa_text pattern, wa_error *err)
{
    scan s = {.pattern = pattern};
    while (s.at < pattern.size && s.reason == NULL) {
        size_t start = s.at;
        if (char_at(&s, 0) == '\\')
            scan_escape(&s);
        else if (s.in_class)
            scan_class(&s);
        else
            scan_outside(&s);
        if (s.reason != NULL)
            return wa_fail(err, WA_E_UNSUPPORTED,
                           "regular expression '%.*s': %s at byte %zu, which Oniguruma and PCRE2 "
                           "do not read alike",
                           pattern.size > 200 ? 200 : (int)pattern.size, pattern.data, s.reason,
                           start);
    }
    return WA_OK;
}
