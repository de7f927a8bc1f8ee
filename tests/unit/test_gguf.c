/* GGUF containers: decoded tensors against independent hashes, metadata, damage of every kind. */
#include "model/gguf.h"

#include "golden.h"

#define GGUF_DIR WA_GOLDEN "/gguf/"
#define DAMAGED_DIR WA_GOLDEN "/malformed/gguf/"

static wa_arena *open_arena(void)
{
    wa_arena *arena;
    wa_error err;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    return arena;
}

/* --- healthy files --- */

/* One line of NAME.tensors.tsv: tensor, type, shape "rows x columns", SHA-256 of the decoded f32.
 */
static void check_line(const wa_gguf *gguf, const char *line)
{
    char name[64];
    char type[16];
    char shape[32];
    char expected[WA_SHA256_TEXT];
    CU_ASSERT_EQUAL_FATAL(sscanf(line, "%63s %15s %31s %64s", name, type, shape, expected), 4);
    const wa_gguf_tensor *tensor = wa_gguf_find_tensor(gguf, name);
    CU_ASSERT_PTR_NOT_NULL_FATAL(tensor);
    CU_ASSERT_STRING_EQUAL(tensor->type_name, type);
    char found[64];
    if (tensor->dim_count == 1)
        snprintf(found, sizeof found, "%zu", tensor->dims[0]);
    else
        snprintf(found, sizeof found, "%zux%zu", tensor->dims[1], tensor->dims[0]);
    CU_ASSERT_STRING_EQUAL(found, shape);

    const wa_format_info *info = wa_format_get(tensor->format);
    size_t count = tensor->dims[0] * tensor->dims[1];
    CU_ASSERT_EQUAL_FATAL(tensor->data.size, count / info->block_elements * info->block_bytes);
    float *values = malloc(count * sizeof *values);
    CU_ASSERT_FATAL(values != NULL);
    wa_decode *const decoders[] = {info->decode, info->decode_ref};
    for (size_t d = 0; d < 2; d++) {
        char hash[WA_SHA256_TEXT];
        decoders[d](tensor->data.data, count / info->block_elements, values);
        wa_test_sha256(values, count * sizeof *values, hash);
        CU_ASSERT_STRING_EQUAL(hash, expected);
    }
    free(values);
}

static size_t check_file(const char *name)
{
    char path[512];
    wa_error err;
    wa_gguf *gguf;
    wa_arena *arena = open_arena();
    snprintf(path, sizeof path, GGUF_DIR "%s", name);
    wa_bytes file = wa_test_read(path);
    WA_MUST(wa_gguf_parse(file, arena, &gguf, &err), &err);

    snprintf(path, sizeof path, GGUF_DIR "%s.tensors.tsv", name);
    FILE *table = fopen(path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(table);
    char line[512];
    size_t lines = 0;
    while (fgets(line, sizeof line, table) != NULL) {
        if (line[0] == '#')
            continue;
        check_line(gguf, line);
        lines++;
    }
    fclose(table);
    CU_ASSERT_EQUAL(lines, wa_gguf_tensor_count(gguf));
    wa_arena_close(arena);
    wa_test_free(file);
    return lines;
}

/* 127 tensors of 11 types; the hashes are of an independent decoder. */
static void every_tensor_decodes_to_the_published_bits(void)
{
    size_t tensors = check_file("tiny-gemma3-mixed.gguf") + check_file("tiny-llama-mixed.gguf") +
                     check_file("qwen2-v2.gguf") + check_file("gemma2-q5k-bf16.gguf");
    CU_ASSERT_EQUAL(tensors, 127);
}

static void metadata_of_every_scalar_type_are_read(void)
{
    wa_error err;
    wa_gguf *gguf;
    wa_arena *arena = open_arena();
    wa_bytes file = wa_test_read(GGUF_DIR "qwen2-v2.gguf");
    WA_MUST(wa_gguf_parse(file, arena, &gguf, &err), &err);
    uint64_t integer = 0;
    double number = 0;
    bool flag = true;
    wa_bytes text = {0};
    WA_MUST(wa_gguf_u64(gguf, "test.u8", &integer, &err), &err);
    CU_ASSERT_EQUAL(integer, 200);
    WA_MUST(wa_gguf_u64(gguf, "test.u64", &integer, &err), &err);
    CU_ASSERT_EQUAL(integer, 1099511627776);
    WA_MUST(wa_gguf_f64(gguf, "test.i16", &number, &err), &err);
    CU_ASSERT_EQUAL(number, -300.0);
    WA_MUST(wa_gguf_f64(gguf, "test.f64", &number, &err), &err);
    CU_ASSERT_EQUAL(number, 0.1);
    WA_MUST(wa_gguf_f64(gguf, "qwen2.attention.layer_norm_rms_epsilon", &number, &err), &err);
    CU_ASSERT_EQUAL(number, (double)1e-6f);
    WA_MUST(wa_gguf_bool(gguf, "tokenizer.ggml.add_bos_token", &flag, &err), &err);
    CU_ASSERT_FALSE(flag);
    WA_MUST(wa_gguf_string(gguf, "general.architecture", &text, &err), &err);
    CU_ASSERT(text.size == 5 && memcmp(text.data, "qwen2", 5) == 0);

    CU_ASSERT_EQUAL(wa_gguf_u64(gguf, "test.i8", &integer, &err), WA_E_FORMAT);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "-5"));
    CU_ASSERT_EQUAL(wa_gguf_u64(gguf, "test.f64", &integer, &err), WA_E_FORMAT);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "'test.f64': found an f64, expected an integer"));
    CU_ASSERT_EQUAL(wa_gguf_string(gguf, "no.such.key", &text, &err), WA_E_FORMAT);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "'no.such.key' is missing"));
    CU_ASSERT_FALSE(wa_gguf_has(gguf, "test.u"));
    CU_ASSERT(wa_gguf_has(gguf, "test.u8"));
    wa_arena_close(arena);
    wa_test_free(file);
}

static void arrays_are_walked_element_by_element(void)
{
    wa_error err;
    wa_gguf *gguf;
    wa_arena *arena = open_arena();
    wa_bytes file = wa_test_read(GGUF_DIR "qwen2-v2.gguf");
    WA_MUST(wa_gguf_parse(file, arena, &gguf, &err), &err);
    wa_gguf_array array = {0};
    WA_MUST(wa_gguf_find_array(gguf, "test.bools", &array, &err), &err);
    CU_ASSERT_EQUAL(array.count, 3);
    uint64_t value = 7;
    CU_ASSERT(wa_gguf_array_next_u64(&array, &value) && value == 1);
    CU_ASSERT(wa_gguf_array_next_u64(&array, &value) && value == 0);
    CU_ASSERT(wa_gguf_array_next_u64(&array, &value) && value == 1);
    CU_ASSERT_FALSE(wa_gguf_array_next_u64(&array, &value));
    CU_ASSERT_EQUAL(array.size, 0);

    WA_MUST(wa_gguf_find_array(gguf, "test.f32s", &array, &err), &err);
    CU_ASSERT_EQUAL(array.type, WA_GGUF_F32);
    CU_ASSERT_EQUAL(array.size, 12);
    CU_ASSERT_EQUAL(wa_load_f32(array.data + 8), 2.5f);
    CU_ASSERT_FALSE(wa_gguf_array_next_u64(&array, &value));

    WA_MUST(wa_gguf_find_array(gguf, "tokenizer.ggml.tokens", &array, &err), &err);
    CU_ASSERT_EQUAL(array.count, 409);
    wa_bytes token = {0};
    size_t tokens = 0;
    while (wa_gguf_array_next_string(&array, &token))
        CU_ASSERT(tokens++ != 0 || (token.size == 1 && token.data[0] == '!'));
    CU_ASSERT_EQUAL(tokens, 409);
    CU_ASSERT_EQUAL(array.size, 0);
    wa_arena_close(arena);
    wa_test_free(file);
}

/* --- damage --- */

/* What malformed/README of the fixtures asks a reader to say. */
static void each_malformed_file_gets_its_error(void)
{
    static const struct {
        const char *file;
        const char *says[3];
    } cases[] = {
        {"truncated.gguf", {"tensor 'token_embd.weight'", "256 bytes", "156 bytes present"}},
        {"truncated-header.gguf", {"unexpected end", "file ends at byte 60", ""}},
        {"magic.gguf", {"not a GGUF file", "", ""}},
        {"version.gguf", {"unsupported version 1 ", "", ""}},
        {"huge-count.gguf", {"1152921504606846976 metadata entries", "416 bytes", ""}},
        {"offset.gguf", {"tensor 'token_embd.weight'", "256 bytes", "file of 416 bytes"}},
        {"offset-unaligned.gguf",
         {"tensor 'token_embd.weight'", "offset 4 is not aligned to 32", ""}},
        {"block-rows.gguf",
         {"tensor 'token_embd.weight'", "rows of 33 elements", "multiple of 32"}},
        {"unknown-type.gguf", {"unknown tensor type 99", "tensor 'token_embd.weight'", ""}},
        {"alignment.gguf", {"bad alignment 48", "power of two", ""}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512];
        wa_error err = {0};
        wa_gguf *gguf;
        wa_arena *arena = open_arena();
        snprintf(path, sizeof path, DAMAGED_DIR "%s", cases[i].file);
        wa_bytes file = wa_test_read(path);
        CU_ASSERT_EQUAL(wa_gguf_parse(file, arena, &gguf, &err), WA_E_FORMAT);
        for (size_t s = 0; s < 3; s++) {
            bool said = strstr(err.text, cases[i].says[s]) != NULL;
            if (!said)
                fprintf(stderr, "    %s: '%s' lacks '%s'\n", cases[i].file, err.text,
                        cases[i].says[s]);
            CU_ASSERT(said);
        }
        CU_ASSERT(wa_arena_high_water(arena) <= 1 << 20); /* nothing large was taken for it */
        wa_arena_close(arena);
        wa_test_free(file);
    }
}

static void the_control_holds_what_its_maker_wrote(void)
{
    wa_error err;
    wa_gguf *gguf;
    wa_arena *arena = open_arena();
    wa_bytes file = wa_test_read(DAMAGED_DIR "ok.gguf");
    WA_MUST(wa_gguf_parse(file, arena, &gguf, &err), &err);
    CU_ASSERT_EQUAL_FATAL(wa_gguf_tensor_count(gguf), 1);
    const wa_gguf_tensor *tensor = wa_gguf_tensor_at(gguf, 0);
    CU_ASSERT_EQUAL(tensor->dims[0], 32);
    CU_ASSERT_EQUAL(tensor->dims[1], 2);
    for (size_t i = 0; i < 64; i++)
        CU_ASSERT_EQUAL(wa_load_f32(tensor->data.data + 4 * i), (float)i);
    CU_ASSERT_PTR_NULL(wa_gguf_find_tensor(gguf, "b.weight"));
    wa_arena_close(arena);
    wa_test_free(file);
}

/* Parses a copy of exactly `size` bytes, so that a sanitizer sees the first read beyond it. */
static wa_status parse_copy(const uint8_t *data, size_t size, wa_arena *arena, wa_error *err)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    CU_ASSERT_FATAL(copy != NULL);
    memcpy(copy, data, size);
    wa_gguf *gguf;
    wa_status status = wa_gguf_parse((wa_bytes){.data = copy, .size = size}, arena, &gguf, err);
    if (status == WA_OK) { /* whatever was accepted must also be readable */
        wa_gguf_array array = {0};
        wa_bytes token = {0};
        size_t bytes = 0;
        for (size_t i = 0; i < wa_gguf_tensor_count(gguf); i++) {
            wa_bytes tensor = wa_gguf_tensor_at(gguf, i)->data;
            for (size_t b = 0; b < tensor.size; b++)
                bytes += tensor.data[b] != 0;
        }
        if (wa_gguf_find_array(gguf, "tokenizer.ggml.tokens", &array, NULL) == WA_OK)
            while (wa_gguf_array_next_string(&array, &token))
                bytes += token.size;
        CU_ASSERT(bytes < (size_t)1 << 40);
    }
    free(copy);
    return status;
}

static void every_prefix_of_a_file_is_refused(void)
{
    wa_error err;
    wa_arena *arena = open_arena();
    wa_bytes file = wa_test_read(DAMAGED_DIR "ok.gguf");
    for (size_t size = 0; size < file.size; size++) {
        CU_ASSERT_EQUAL(parse_copy(file.data, size, arena, &err), WA_E_FORMAT);
        wa_arena_reset(arena);
    }
    wa_arena_close(arena);
    wa_test_free(file);
}

/* The header of a real vocabulary, arrays of strings included, each byte changed three ways. */
static void every_changed_header_byte_is_survived(void)
{
    static const uint8_t masks[] = {0x01, 0x80, 0xff};
    enum { HEADER = 1600, KEPT = 20000 };
    wa_error err;
    wa_arena *arena = open_arena();
    wa_bytes file = wa_test_read(GGUF_DIR "qwen2-v2.gguf");
    wa_bytes small = wa_test_read(DAMAGED_DIR "ok.gguf");
    uint8_t *changed = malloc(KEPT);
    CU_ASSERT_FATAL(changed != NULL);
    size_t accepted = 0;
    for (size_t at = 0; at < HEADER + small.size; at++) {
        bool real = at < HEADER;
        size_t place = real ? at : at - HEADER;
        size_t size = real ? KEPT : small.size;
        for (size_t m = 0; m < sizeof masks; m++) {
            memcpy(changed, real ? file.data : small.data, size);
            changed[place] ^= masks[m];
            wa_status status = parse_copy(changed, size, arena, &err);
            CU_ASSERT(status == WA_OK || status == WA_E_FORMAT);
            accepted += status == WA_OK;
            CU_ASSERT(wa_arena_used(arena) <= 8 << 20);
            wa_arena_reset(arena);
        }
    }
    CU_ASSERT(accepted > 0); /* changed tensor values of the small file, say */
    free(changed);
    wa_arena_close(arena);
    wa_test_free(file);
    wa_test_free(small);
}

static void a_failing_arena_is_reported_wherever_it_fails(void)
{
    wa_bytes file = wa_test_read(GGUF_DIR "qwen2-v2.gguf");
    wa_status status = WA_E_MEMORY;
    size_t failures = 0;
    for (size_t k = 1; status != WA_OK; k++) {
        wa_error err;
        wa_gguf *gguf;
        wa_arena *arena = open_arena();
        wa_arena_fail_at(arena, k);
        status = wa_gguf_parse(file, arena, &gguf, &err);
        CU_ASSERT_FATAL(status == WA_OK || status == WA_E_MEMORY);
        failures += status != WA_OK;
        wa_arena_close(arena);
    }
    CU_ASSERT(failures >= 4);
    wa_test_free(file);
}

/* --- built by hand --- */

typedef struct builder {
    uint8_t bytes[512];
    size_t size;
} builder;

static void put(builder *b, uint64_t value, size_t size)
{
    memcpy(b->bytes + b->size, &value, size);
    b->size += size;
}

static void put_text(builder *b, const char *text)
{
    put(b, strlen(text), 8);
    memcpy(b->bytes + b->size, text, strlen(text));
    b->size += strlen(text);
}

static builder begin(uint64_t tensors, uint64_t entries)
{
    builder b = {.size = 0};
    put(&b, 0x46554747, 4);
    put(&b, 3, 4);
    put(&b, tensors, 8);
    put(&b, entries, 8);
    return b;
}

static void expect_refused(const builder *b, const char *says)
{
    wa_error err = {0};
    wa_arena *arena = open_arena();
    CU_ASSERT_EQUAL(parse_copy(b->bytes, b->size, arena, &err), WA_E_FORMAT);
    bool said = strstr(err.text, says) != NULL;
    if (!said)
        fprintf(stderr, "    '%s' lacks '%s'\n", err.text, says);
    CU_ASSERT(said);
    wa_arena_close(arena);
}

static void hostile_containers_get_one_clear_line(void)
{
    builder b = begin(0, 2); /* the same key twice */
    for (int i = 0; i < 2; i++) {
        put_text(&b, "k");
        put(&b, WA_GGUF_U8, 4);
        put(&b, 1, 1);
    }
    expect_refused(&b, "'k' is there twice");

    b = begin(0, 1); /* an array of arrays of arrays … */
    put_text(&b, "deep");
    put(&b, WA_GGUF_ARRAY, 4);
    for (int i = 0; i < 12; i++) {
        put(&b, WA_GGUF_ARRAY, 4);
        put(&b, 1, 8);
    }
    expect_refused(&b, "nested deeper");

    b = begin(0, 1);
    put_text(&b, "many");
    put(&b, WA_GGUF_ARRAY, 4);
    put(&b, WA_GGUF_F64, 4);
    put(&b, UINT64_MAX / 8 + 2, 8); /* times 8 overflows to 8 */
    put(&b, 0, 8);
    expect_refused(&b, "2305843009213693953 array elements");

    b = begin(1, 0);
    put_text(&b, "t");
    put(&b, 2, 4);
    put(&b, (uint64_t)1 << 40, 8);
    put(&b, (uint64_t)1 << 40, 8);
    put(&b, 0, 4);
    put(&b, 0, 8);
    expect_refused(&b, "overflow");

    b = begin(1, 0);
    put_text(&b, "t");
    put(&b, 5, 4);
    for (int i = 0; i < 6; i++)
        put(&b, 1, 8);
    expect_refused(&b, "5 dimensions, expected 1 to 4");

    b = begin(0, 1);
    put_text(&b, "k");
    put(&b, 13, 4);
    put(&b, 0, 8);
    expect_refused(&b, "unknown value type 13");

    b = begin(0, 0);
    b.bytes[4] = 0;
    b.bytes[7] = 3;
    expect_refused(&b, "GGUF of version 3 in big-endian order, expected little-endian");
}

/* Each of them is within the file; the one without elements lies inside another. */
static void tensors_share_no_bytes(void)
{
    static const struct {
        const char *name;
        uint64_t elements, offset;
    } tensors[] = {{"a", 16, 0}, {"none", 0, 32}, {"b", 8, 64}, {"c", 8, 32}};
    for (size_t count = 3; count <= 4; count++) {
        builder b = begin(count, 0);
        for (size_t i = 0; i < count; i++) {
            put_text(&b, tensors[i].name);
            put(&b, 1, 4);
            put(&b, tensors[i].elements, 8);
            put(&b, 0, 4);
            put(&b, tensors[i].offset, 8);
        }
        b.size = (b.size + 31) / 32 * 32 + 96;
        wa_error err = {0};
        wa_arena *arena = open_arena();
        if (count == 3) {
            CU_ASSERT_EQUAL(parse_copy(b.bytes, b.size, arena, &err), WA_OK);
        } else {
            expect_refused(&b, "tensors 'a' [0, 64) and 'c' [32, 64) overlap");
        }
        wa_arena_close(arena);
    }
}

WA_SUITE("gguf", WA_CASE(every_tensor_decodes_to_the_published_bits),
         WA_CASE(metadata_of_every_scalar_type_are_read),
         WA_CASE(arrays_are_walked_element_by_element), WA_CASE(each_malformed_file_gets_its_error),
         WA_CASE(the_control_holds_what_its_maker_wrote),
         WA_CASE(every_prefix_of_a_file_is_refused), WA_CASE(every_changed_header_byte_is_survived),
         WA_CASE(a_failing_arena_is_reported_wherever_it_fails),
         WA_CASE(hostile_containers_get_one_clear_line), WA_CASE(tensors_share_no_bytes))
