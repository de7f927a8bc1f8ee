/* The table of job keys, expanded: libcyaml fields, rows of text, and places in the raw job. */
#include "job/job_schema.h"

#include "base/spell.h"

#include <stddef.h>
#include <stdio.h>

/* Strings are bounded by the scan (yaml_scan.c); lists by what one allocation may hold. */
enum { STRING_LIMIT = 4096, LIST_LIMIT = 100000 };

#define FIELD_TEXT(structure, member)                                                              \
    CYAML_FIELD_STRING_PTR(#member, CYAML_FLAG_OPTIONAL, structure, member, 1, STRING_LIMIT)
#define FIELD_NEEDED(structure, member)                                                            \
    CYAML_FIELD_STRING_PTR(#member, CYAML_FLAG_DEFAULT, structure, member, 1, STRING_LIMIT)
#define FIELD_INT(structure, member)                                                               \
    CYAML_FIELD_INT_PTR(#member, CYAML_FLAG_OPTIONAL, structure, member)
#define FIELD_LIST(structure, member)                                                              \
    CYAML_FIELD_SEQUENCE(#member, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, structure, member,     \
                         &entry_##member, 1, LIST_LIMIT)
#define FIELD_MAP(structure, member)                                                               \
    CYAML_FIELD_MAPPING_PTR(#member, CYAML_FLAG_OPTIONAL, structure, member, fields_##member)
#define FIELD(kind, structure, parent, member, prefix, type, fallback, meaning)                    \
    FIELD_##kind(structure, member),

static const cyaml_schema_value_t entry_tensors = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, STRING_LIMIT)};
static const cyaml_schema_value_t entry_cases = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, STRING_LIMIT)};
static const cyaml_schema_value_t entry_layers = {CYAML_VALUE_INT(CYAML_FLAG_DEFAULT, int64_t)};

static const cyaml_schema_field_t fields_path[] = {WA_JOB_PATH_KEYS(FIELD) CYAML_FIELD_END};
static const cyaml_schema_value_t entry_paths = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, raw_path, fields_path)};
static const cyaml_schema_field_t fields_vindex[] = {WA_JOB_VINDEX_KEYS(FIELD) CYAML_FIELD_END};
static const cyaml_schema_value_t entry_vindexes = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, raw_vindex, fields_vindex)};
static const cyaml_schema_field_t fields_audit[] = {WA_JOB_AUDIT_KEYS(FIELD) CYAML_FIELD_END};
static const cyaml_schema_value_t entry_audits = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, raw_audit, fields_audit)};
static const cyaml_schema_field_t fields_prompts[] = {WA_JOB_PROMPTS_KEYS(FIELD) CYAML_FIELD_END};
static const cyaml_schema_field_t fields_batch[] = {WA_JOB_BATCH_KEYS(FIELD) CYAML_FIELD_END};
static const cyaml_schema_field_t fields_grid[] = {WA_JOB_GRID_KEYS(FIELD) CYAML_FIELD_END};
static const cyaml_schema_field_t fields_captures[] = {WA_JOB_CAPTURES_KEYS(FIELD) CYAML_FIELD_END};
static const cyaml_schema_field_t fields_job[] = {WA_JOB_ROOT_KEYS(FIELD) CYAML_FIELD_END};
static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, raw_job, fields_job)};

const cyaml_schema_value_t *wa_job_schema(void)
{
    return &schema;
}

#define KEY(kind, structure, parent, member, prefix, type, fallback, meaning)                      \
    {prefix #member, type, fallback, meaning},
static const wa_job_key keys[] = {WA_JOB_ALL_KEYS(KEY)};

const wa_job_key *wa_job_keys(size_t *count)
{
    *count = sizeof keys / sizeof keys[0];
    return keys;
}

/* The name in its mapping: what follows the last dot. */
static const char *own_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot == NULL ? name : dot + 1;
}

/* ", did you mean 'A' or 'B'?": the keys of other mappings that have this name; "" without any. */
static void hint_elsewhere(const char *own, char out[WA_JOB_HINT])
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        int more = strcmp(own_name(keys[i].name), own) != 0
                       ? 0
                       : snprintf(out + used, WA_JOB_HINT - used, "%s'%s'",
                                  used == 0 ? ", did you mean " : " or ", keys[i].name);
        used += more > 0 && (size_t)more < WA_JOB_HINT - used ? (size_t)more : 0;
    }
    if (used > 0)
        snprintf(out + used, WA_JOB_HINT - used, "?");
}

void wa_job_key_hint(const char *name, char out[WA_JOB_HINT])
{
    const char *own = own_name(name), *here[sizeof keys / sizeof keys[0]];
    size_t length = (size_t)(own - name), count = 0;
    char hint[WA_SPELL_HINT];
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *other = own_name(keys[i].name);
        if ((size_t)(other - keys[i].name) == length && strncmp(keys[i].name, name, length) == 0)
            here[count++] = other;
    }
    hint_elsewhere(own, out);
    if (out[0] != '\0' && wa_spell_nearest(own, here, count) == NULL)
        return;
    wa_spell_hint(own, here, count, hint);
    snprintf(out, WA_JOB_HINT, "%s", hint);
}

/* Places of scalars: the structure's offset in raw_job (of the pointer to it), then the member's in
 * it. */
enum { PARENT_IS_ROOT = -1, PARENT_IS_LISTED = -2 };
#define PARENT_ROOT PARENT_IS_ROOT
#define PARENT_LISTED PARENT_IS_LISTED
#define PARENT_prompts (int)offsetof(raw_job, prompts)
#define PARENT_batch (int)offsetof(raw_job, batch)
#define PARENT_grid (int)offsetof(raw_job, grid)

typedef struct place {
    wa_job_kind kind;
    int parent;
    size_t offset;
} place;

#define PLACE(kind, structure, parent, member, prefix, type, fallback, meaning)                    \
    {WA_JOB_##kind, PARENT_##parent, offsetof(structure, member)},
static const place places[] = {WA_JOB_ALL_KEYS(PLACE)}; /* same order as keys */

static const place *find_place(const char *name)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &places[i];
    return NULL;
}

bool wa_job_key_kind(const char *name, wa_job_kind *out)
{
    const place *found = find_place(name);
    if (found == NULL)
        return false;
    *out = found->kind;
    return true;
}

static bool is_setting(const place *which)
{
    return which->parent != PARENT_IS_LISTED && which->kind != WA_JOB_LIST &&
           which->kind != WA_JOB_MAP;
}

void wa_job_setting_hint(const char *name, char out[WA_JOB_HINT])
{
    const char *known[sizeof keys / sizeof keys[0]];
    size_t count = 0;
    char hint[WA_SPELL_HINT];
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (is_setting(&places[i]))
            known[count++] = keys[i].name;
    wa_spell_hint(name, known, count, hint);
    snprintf(out, WA_JOB_HINT, "%s", hint);
}

void *wa_job_scalar(raw_job *raw, const char *name, wa_job_kind *kind)
{
    const place *found = find_place(name);
    if (found == NULL || !is_setting(found))
        return NULL;
    char *structure = (char *)raw;
    if (found->parent >= 0)
        memcpy(&structure, (char *)raw + found->parent, sizeof structure);
    *kind = found->kind;
    return structure + found->offset;
}
