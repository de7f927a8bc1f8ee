/* What a configuration's keys mean to this program: rows of a table, walked once a file. */
#ifndef WALKAUDIT_MODEL_KEY_RULES_H
#define WALKAUDIT_MODEL_KEY_RULES_H

#include "model/notes.h"

#include <stdbool.h>

typedef enum wa_key_kind {
    WA_KEY_USED,  /* read elsewhere, with its own checks */
    WA_KEY_INERT, /* changes no number that is computed here */
    WA_KEY_ONLY,  /* changes numbers: any value but `only` refuses the model */
    WA_KEY_WARNED /* cannot be judged: `meaning` is told */
} wa_key_kind;

/** A row. The first one that fits key and family counts. */
typedef struct wa_key_rule {
    const char *key; /* whole, or with one '*' at its beginning or its end */
    wa_key_kind kind;
    /* WA_KEY_ONLY: values as text, split by '|'; "off": false, 0, null, empty */
    const char *only;
    const char *meaning;  /* ONLY: what another value stands for, NULL = no name for it */
    const char *families; /* split by ' '; NULL = every one */
} wa_key_rule;

/** A value as text: "true", "8", a string itself, "an array of 3"; and whether it is "off". */
typedef struct wa_key_value {
    char text[64];
    bool is_off;
} wa_key_value;

/** Is `word` one of the words of `list`? */
bool wa_key_has_word(const char *list, char separator, const char *word);

/** The row that fits, NULL when the key is unknown. */
const wa_key_rule *wa_key_find(const wa_key_rule *rules, size_t count, const char *key,
                               const char *family);

/** WA_E_UNSUPPORTED when the rule does not allow the value; a note for WA_KEY_WARNED. */
WA_CHECKED wa_status wa_key_judge(const wa_key_rule *rule, const char *key,
                                  const wa_key_value *value, wa_notes *notes, wa_error *err);

#endif
