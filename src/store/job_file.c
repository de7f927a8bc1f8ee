/* job.json in the parts directory: fingerprint and prompts of the job that the parts belong to. */
#include "store/capture_file.h"
#include "store/part.h"
#include "store/parts.h"

#include "base/json.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

wa_status wa_parts_hash(const wa_result_meta *meta, wa_arena *arena, char **out, wa_error *err)
{
    size_t room = 1, used = 0;
    for (size_t i = 0; i < meta->fingerprint_count; i++)
        room += strlen(meta->fingerprint[i].key) + strlen(meta->fingerprint[i].value) + 2;
    char *text;
    WA_TRY(wa_arena_take(arena, room, 1, &text, err));
    for (size_t i = 0; i < meta->fingerprint_count; i++)
        used += (size_t)snprintf(text + used, room - used, "%s=%s\n", meta->fingerprint[i].key,
                                 meta->fingerprint[i].value);
    return wa_fingerprint_bytes(text, used, arena, out, err);
}

/* NULL is left out. */
static json_t *number_of(int folder)
{
    return folder == WA_CAPTURES_NONE ? NULL : json_integer(folder);
}

static json_t *describe(const wa_result_meta *meta, const char *hash, int captures, int replaces)
{
    json_t *items = json_array();
    for (size_t i = 0; i < meta->fingerprint_count; i++) {
        const wa_fingerprint_item *item = &meta->fingerprint[i];
        json_array_append_new(items,
                              json_pack("[s, s, s*]", item->key, item->value, item->touched));
    }
    return json_pack("{s:i, s:s, s:o, s:I, s:o*, s:o*}", "walkaudit_parts", WA_LAYOUT_VERSION,
                     "hash", hash, "fingerprint", items, "prompts", (json_int_t)meta->dims.prompts,
                     "captures", number_of(captures), "replaces", number_of(replaces));
}

wa_status wa_parts_job_write(const char *directory, const wa_result_meta *meta, const char *hash,
                             int captures, int replaces, wa_error *err)
{
    char path[WA_NAME_BYTES];
    WA_TRY(wa_parts_join(directory, "job.json", path, err));
    json_t *job = describe(meta, hash, captures, replaces);
    char *text = job == NULL ? NULL : json_dumps(job, JSON_INDENT(1));
    wa_status status;
    if (text == NULL)
        status = wa_fail(err, WA_E_INTERNAL,
                         "cannot describe the job as JSON; some fingerprint is no UTF-8");
    else
        status = wa_file_write(path, text, strlen(text), err);
    free(text); /* Jansson's own allocation */
    json_decref(job);
    return status;
}

static wa_status copy_item(const json_t *pair, wa_arena *arena, wa_fingerprint_item *out,
                           wa_error *err)
{
    const char *key = json_string_value(json_array_get(pair, 0));
    const char *value = json_string_value(json_array_get(pair, 1));
    if (key == NULL || value == NULL)
        return wa_fail(err, WA_E_FORMAT,
                       "key 'fingerprint': found an entry that does not begin with two strings");
    const char *touched = json_string_value(json_array_get(pair, 2));
    char *copy;
    WA_TRY(wa_arena_copy(arena, key, strlen(key), &copy, err));
    out->key = copy;
    WA_TRY(wa_arena_copy(arena, value, strlen(value), &copy, err));
    out->value = copy;
    out->touched = NULL;
    if (touched == NULL)
        return WA_OK;
    WA_TRY(wa_arena_copy(arena, touched, strlen(touched), &copy, err));
    out->touched = copy;
    return WA_OK;
}

static wa_status read_folder(const json_t *root, const char *key, int least, int *out,
                             wa_error *err)
{
    const json_t *value = json_object_get(root, key);
    *out = WA_CAPTURES_NONE;
    if (value == NULL)
        return WA_OK;
    json_int_t folder = json_integer_value(value);
    if (!json_is_integer(value) || folder < least || folder > INT_MAX)
        return wa_fail(err, WA_E_FORMAT, "key '%s': found no number of a folder", key);
    *out = (int)folder;
    return WA_OK;
}

static wa_status parse(const json_t *root, wa_arena *arena, wa_parts_job *out, wa_error *err)
{
    size_t version;
    const char *hash;
    WA_TRY(wa_json_size(root, "walkaudit_parts", &version, err));
    WA_TRY(wa_layout_check_version("parts", (int64_t)version, err));
    WA_TRY(wa_json_string(root, "hash", &hash, err));
    char *copy;
    WA_TRY(wa_arena_copy(arena, hash, strlen(hash), &copy, err));
    const json_t *items = json_object_get(root, "fingerprint");
    if (!json_is_array(items))
        return wa_fail(err, WA_E_FORMAT, "key 'fingerprint' must be an array");
    wa_parts_job job = {.hash = copy, .item_count = json_array_size(items)};
    WA_TRY(wa_json_size(root, "prompts", &job.prompt_count, err));
    WA_TRY(read_folder(root, "captures", 0, &job.captures, err));
    WA_TRY(read_folder(root, "replaces", WA_CAPTURES_BARE, &job.replaces, err));
    wa_fingerprint_item *list;
    WA_TRY(wa_arena_take(arena, job.item_count, sizeof *list, &list, err));
    for (size_t i = 0; i < job.item_count; i++)
        WA_TRY(copy_item(json_array_get(items, i), arena, &list[i], err));
    job.items = list;
    *out = job;
    return WA_OK;
}

wa_status wa_parts_job_open(const char *directory, wa_arena *arena, wa_parts_job *out,
                            wa_error *err)
{
    char path[WA_NAME_BYTES];
    WA_TRY(wa_parts_join(directory, "job.json", path, err));
    json_t *root;
    WA_TRY(wa_json_open(path, &root, err));
    wa_status status = parse(root, arena, out, err);
    wa_json_close(root);
    if (status != WA_OK)
        return wa_note(err, "in file '%s'", path);
    return WA_OK;
}

static const wa_fingerprint_item *find(const wa_fingerprint_item *items, size_t count,
                                       const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(items[i].key, key) == 0)
            return &items[i];
    return NULL;
}

wa_status wa_fingerprint_compare(const wa_fingerprint_item *found, size_t found_count,
                                 const wa_fingerprint_item *expected, size_t expected_count,
                                 wa_error *err)
{
    for (size_t i = 0; i < expected_count; i++) {
        const wa_fingerprint_item *there = find(found, found_count, expected[i].key);
        if (there == NULL || strcmp(there->value, expected[i].value) != 0)
            return wa_fail(
                err, WA_E_MISMATCH,
                "'%s' differs from what this result was begun with: found '%s', this job has '%s'",
                expected[i].key, there == NULL ? "nothing" : there->value, expected[i].value);
    }
    for (size_t i = 0; i < found_count; i++)
        if (find(expected, expected_count, found[i].key) == NULL)
            return wa_fail(err, WA_E_MISMATCH,
                           "'%s' differs from what this result was begun with: found '%s', this "
                           "job has nothing",
                           found[i].key, found[i].value);
    return WA_OK;
}

const char *wa_fingerprint_touched(const wa_fingerprint_item *found, size_t found_count,
                                   const wa_fingerprint_item *expected, size_t expected_count,
                                   bool of_vindexes)
{
    static const char vindex[] = "vindex ";
    for (size_t i = 0; i < expected_count; i++) {
        const wa_fingerprint_item *there = find(found, found_count, expected[i].key);
        const char *then = there == NULL ? NULL : there->touched, *now = expected[i].touched;
        bool is_of_vindex = strncmp(expected[i].key, vindex, sizeof vindex - 1) == 0;
        if (now != NULL && is_of_vindex == of_vindexes && (then == NULL || strcmp(then, now) != 0))
            return expected[i].key;
    }
    return NULL;
}
