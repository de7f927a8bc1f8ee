/* Matching keys with rows, and values with what a row allows. */
#include "model/key_rules.h"

#include <string.h>

static bool fits(const char *pattern, const char *key)
{
    size_t length = strlen(pattern);
    size_t size = strlen(key);
    if (pattern[0] == '*')
        return size >= length - 1 && strcmp(key + size - (length - 1), pattern + 1) == 0;
    if (length > 0 && pattern[length - 1] == '*')
        return strncmp(key, pattern, length - 1) == 0;
    return strcmp(key, pattern) == 0;
}

bool wa_key_has_word(const char *list, char separator, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; at != NULL; at = strchr(at, separator)) {
        at += *at == separator;
        if (strncmp(at, word, length) == 0 && (at[length] == separator || at[length] == '\0'))
            return true;
    }
    return false;
}

const wa_key_rule *wa_key_find(const wa_key_rule *rules, size_t count, const char *key,
                               const char *family)
{
    for (size_t i = 0; i < count; i++)
        if (fits(rules[i].key, key) &&
            (rules[i].families == NULL || wa_key_has_word(rules[i].families, ' ', family)))
            return &rules[i];
    return NULL;
}

wa_status wa_key_judge(const wa_key_rule *rule, const char *key, const wa_key_value *value,
                       wa_notes *notes, wa_error *err)
{
    if (rule->kind == WA_KEY_WARNED)
        return wa_notes_add(notes, err, "'%.100s': %s", key, rule->meaning);
    if (rule->kind != WA_KEY_ONLY || wa_key_has_word(rule->only, '|', value->text) ||
        (value->is_off && wa_key_has_word(rule->only, '|', "off")))
        return WA_OK;
    if (rule->meaning != NULL)
        return wa_fail(err, WA_E_UNSUPPORTED, "%s are unsupported: '%.100s' is %s", rule->meaning,
                       key, value->text);
    if (strcmp(rule->only, "off") == 0)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "'%.100s' is %s, which changes the model and is not "
                       "computed",
                       key, value->text);
    return wa_fail(err, WA_E_UNSUPPORTED, "'%.100s' is %s, only %.*s is computed", key, value->text,
                   (int)strcspn(rule->only, "|"), rule->only);
}
