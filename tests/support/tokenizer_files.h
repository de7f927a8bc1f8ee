/* Tokenizers in unit tests: temporary files, ids and texts compared, damage tried. */
#ifndef WALKAUDIT_TEST_TOKENIZER_FILES_H
#define WALKAUDIT_TEST_TOKENIZER_FILES_H

#include "base/json.h"
#include "model/tokenizer.h"

#include "suite.h"

/* A file of this program's own in the build tree; `name` is unique among its cases. */
static inline void wa_test_write(const char *name, const void *data, size_t size, char path[512])
{
    snprintf(path, 512, "%s/test_tokenizer-%s", WA_TEST_BINARY_DIR, name);
    FILE *file = fopen(path, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL_FATAL(fwrite(data, 1, size, file), size);
    CU_ASSERT_EQUAL_FATAL(fclose(file), 0);
}

static inline wa_tokenizer *wa_test_tokenizer(const char *path)
{
    wa_tokenizer *tokenizer;
    wa_error err;
    WA_MUST(wa_tokenizer_open(path, &tokenizer, &err), &err);
    return tokenizer;
}

/* Opening must fail with `status` and a story that holds `part`. */
static inline void wa_test_refuse(const char *name, const void *data, size_t size, wa_status status,
                                  const char *part)
{
    char path[512];
    wa_tokenizer *tokenizer = NULL;
    wa_error err = {0};
    wa_test_write(name, data, size, path);
    wa_status found = wa_tokenizer_open(path, &tokenizer, &err);
    if (found == WA_OK)
        wa_tokenizer_close(tokenizer);
    if (found != status || strstr(err.text, part) == NULL)
        fprintf(stderr, "    %s: status %d, '%s' lacks '%s'\n", name, (int)found, err.text, part);
    CU_ASSERT_EQUAL(found, status);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, part));
}

static inline wa_arena *wa_test_arena(void)
{
    wa_arena *arena;
    wa_error err;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    return arena;
}

static inline bool wa_test_equal_ids(const json_t *expected, const int32_t *ids, size_t count)
{
    if (!json_is_array(expected) || json_array_size(expected) != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (json_integer_value(json_array_get(expected, i)) != ids[i])
            return false;
    return true;
}

static inline void wa_test_ids(const wa_tokenizer *tokenizer, const json_t *text,
                               const json_t *expected)
{
    wa_arena *arena = wa_test_arena();
    wa_error err;
    int32_t *ids;
    size_t count;
    WA_MUST(wa_tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text), arena,
                                &ids, &count, &err),
            &err);
    bool equal = wa_test_equal_ids(expected, ids, count);
    if (!equal)
        fprintf(stderr, "    %s: other ids for '%s'\n", wa_tokenizer_source(tokenizer),
                json_string_value(text));
    CU_ASSERT(equal);
    wa_arena_close(arena);
}

/* Ids as a JSON array, for cases written by hand. */
static inline void wa_test_text(const wa_tokenizer *tokenizer, const char *text, size_t size,
                                const char *expected)
{
    json_t *ids = json_loads(expected, 0, NULL), *string = json_stringn(text, size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(ids);
    CU_ASSERT_PTR_NOT_NULL_FATAL(string);
    wa_test_ids(tokenizer, string, ids);
    json_decref(ids);
    json_decref(string);
}

/* The text of an id; equal up to a NUL, where ours ends. */
static inline void wa_test_decoded(const wa_tokenizer *tokenizer, int32_t id, const char *expected)
{
    wa_arena *arena = wa_test_arena();
    wa_error err;
    char *text;
    WA_MUST(wa_tokenizer_text(tokenizer, id, arena, &text, &err), &err);
    if (strcmp(text, expected) != 0)
        fprintf(stderr, "    %s: id %d is '%s', expected '%s'\n", wa_tokenizer_source(tokenizer),
                (int)id, text, expected);
    CU_ASSERT_STRING_EQUAL(text, expected);
    wa_arena_close(arena);
}

/* Opens a damaged file and, should it open, uses it: sanitizers watch. */
static inline void wa_test_damaged(const char *name, const uint8_t *data, size_t size)
{
    char path[512];
    wa_tokenizer *t;
    wa_error err;
    wa_test_write(name, data, size, path);
    if (wa_tokenizer_open(path, &t, &err) != WA_OK) {
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, name));
        return;
    }
    wa_arena *arena = wa_test_arena();
    int32_t *ids;
    size_t count;
    char *text;
    wa_status status = wa_tokenizer_encode(t, "aab <s> is\n1", 12, arena, &ids, &count, &err);
    CU_ASSERT(status == WA_OK || status == WA_E_UNSUPPORTED || status == WA_E_FORMAT);
    for (int32_t id = 0; id < 8; id++)
        WA_MUST(wa_tokenizer_text(t, id, arena, &text, &err), &err);
    wa_arena_close(arena);
    wa_tokenizer_close(t);
}

#endif
