/* Safetensors files: the control's values, and one clear line for every defect. */
#include "model/safetensors.h"

#include "golden.h"

#define DAMAGED_DIR WA_GOLDEN "/malformed/safetensors/"

static wa_arena *open_arena(void)
{
    wa_arena *arena;
    wa_error err;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    return arena;
}

static const wa_tensor *find(const wa_safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

static void expect_values(const wa_safetensors *file, const char *name, const float *values,
                          size_t count)
{
    const wa_tensor *tensor = find(file, name);
    CU_ASSERT_PTR_NOT_NULL_FATAL(tensor);
    const wa_format_info *info = wa_format_get(tensor->format);
    CU_ASSERT_EQUAL_FATAL(tensor->data.size, count * info->block_bytes);
    float decoded[32];
    info->decode(tensor->data.data, count, decoded);
    CU_ASSERT(memcmp(decoded, values, count * sizeof *values) == 0);
}

static const wa_tensor *first_of_format(const wa_safetensors *file, wa_format format)
{
    for (size_t i = 0; i < file->count; i++)
        if (file->tensors[i].format == format)
            return &file->tensors[i];
    return NULL;
}

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void the_control_holds_what_its_maker_wrote(void)
{
    wa_error err;
    wa_safetensors parsed;
    wa_arena *arena = open_arena();
    wa_bytes file = wa_test_read(DAMAGED_DIR "ok.safetensors");
    WA_MUST(wa_safetensors_parse(file, arena, &parsed, &err), &err);
    CU_ASSERT_EQUAL(parsed.count, 4);

    float counted[16];
    for (int i = 0; i < 16; i++)
        counted[i] = (float)i;
    const float halves[] = {1.0f, 0x1p-15f, 0x1p-24f, from_bits(0xff800000)};
    const float brains[] = {1.0f, from_bits(0x00010000), from_bits(0x7f800000), -2.0f};
    const float tenth[] = {0.1f};
    static const wa_format formats[] = {WA_FORMAT_F32, WA_FORMAT_F16, WA_FORMAT_BF16,
                                        WA_FORMAT_F64};
    const float *const values[] = {counted, halves, brains, tenth};
    static const size_t counts[] = {16, 4, 4, 1};
    for (size_t i = 0; i < 4; i++) {
        const wa_tensor *tensor = first_of_format(&parsed, formats[i]);
        CU_ASSERT_PTR_NOT_NULL_FATAL(tensor);
        expect_values(&parsed, tensor->name, values[i], counts[i]);
        CU_ASSERT(formats[i] != WA_FORMAT_F64 || tensor->rank == 0);
    }
    wa_arena_close(arena);
    wa_test_free(file);
}

static void each_malformed_file_gets_its_error(void)
{
    static const struct {
        const char *file;
        const char *says[4];
    } cases[] = {
        {"truncated.safetensors", {"+ 88 bytes", "has 367", "tensor '", ""}},
        {"overlap.safetensors", {"'a' [0, 64)", "'h' [60, 68)", "overlap", ""}},
        {"header-too-long.safetensors", {"1000000000000", "100000000", "379 bytes", ""}},
        {"shape-mismatch.safetensors", {"64 bytes", "128", "tensor 'a'", ""}},
        {"shape-overflow.safetensors", {"overflow", "shape", "tensor 'a'", ""}},
        {"bad-json.safetensors", {"JSON error", "byte 12", "header of 12 bytes", ""}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512];
        wa_error err = {0};
        wa_safetensors parsed;
        wa_arena *arena = open_arena();
        snprintf(path, sizeof path, DAMAGED_DIR "%s", cases[i].file);
        wa_bytes file = wa_test_read(path);
        CU_ASSERT_EQUAL(wa_safetensors_parse(file, arena, &parsed, &err), WA_E_FORMAT);
        for (size_t s = 0; s < 4; s++) {
            bool said = strstr(err.text, cases[i].says[s]) != NULL;
            if (!said)
                fprintf(stderr, "    %s: '%s' lacks '%s'\n", cases[i].file, err.text,
                        cases[i].says[s]);
            CU_ASSERT(said);
        }
        CU_ASSERT(wa_arena_high_water(arena) <= 1 << 20);
        wa_arena_close(arena);
        wa_test_free(file);
    }
}

static void an_unknown_dtype_is_kept_for_whoever_needs_it(void)
{
    wa_error err;
    wa_safetensors parsed;
    wa_arena *arena = open_arena();
    wa_bytes file = wa_test_read(DAMAGED_DIR "unknown-dtype.safetensors");
    WA_MUST(wa_safetensors_parse(file, arena, &parsed, &err), &err);
    const wa_tensor *tensor = find(&parsed, "a");
    CU_ASSERT_PTR_NOT_NULL_FATAL(tensor);
    CU_ASSERT_EQUAL(tensor->format, WA_FORMAT_COUNT);
    CU_ASSERT(strlen(tensor->type_name) > 0);
    wa_arena_close(arena);
    wa_test_free(file);
}

/* --- damage --- */

static wa_status parse_copy(const void *data, size_t size, wa_arena *arena, wa_error *err)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    CU_ASSERT_FATAL(copy != NULL);
    memcpy(copy, data, size);
    wa_safetensors parsed;
    wa_status status =
        wa_safetensors_parse((wa_bytes){.data = copy, .size = size}, arena, &parsed, err);
    size_t bytes = 0;
    for (size_t i = 0; status == WA_OK && i < parsed.count; i++)
        for (size_t b = 0; b < parsed.tensors[i].data.size; b++)
            bytes += parsed.tensors[i].data.data[b] != 0;
    CU_ASSERT(bytes <= 4 * size);
    free(copy);
    return status;
}

static void every_prefix_of_a_file_is_refused(void)
{
    wa_error err;
    wa_arena *arena = open_arena();
    wa_bytes file = wa_test_read(DAMAGED_DIR "ok.safetensors");
    for (size_t size = 0; size < file.size; size++) {
        CU_ASSERT_EQUAL(parse_copy(file.data, size, arena, &err), WA_E_FORMAT);
        wa_arena_reset(arena);
    }
    wa_arena_close(arena);
    wa_test_free(file);
}

static void every_changed_byte_is_survived(void)
{
    wa_error err;
    wa_arena *arena = open_arena();
    wa_bytes file = wa_test_read(DAMAGED_DIR "ok.safetensors");
    uint8_t *changed = malloc(file.size);
    CU_ASSERT_FATAL(changed != NULL);
    for (size_t at = 0; at < file.size; at++) {
        for (int bit = 0; bit < 8; bit++) {
            memcpy(changed, file.data, file.size);
            changed[at] ^= (uint8_t)(1u << bit);
            wa_status status = parse_copy(changed, file.size, arena, &err);
            CU_ASSERT(status == WA_OK || status == WA_E_FORMAT);
            wa_arena_reset(arena);
        }
    }
    free(changed);
    wa_arena_close(arena);
    wa_test_free(file);
}

static void a_failing_arena_is_reported_wherever_it_fails(void)
{
    wa_bytes file = wa_test_read(DAMAGED_DIR "ok.safetensors");
    wa_status status = WA_E_MEMORY;
    size_t failures = 0;
    for (size_t k = 1; status != WA_OK; k++) {
        wa_error err;
        wa_arena *arena = open_arena();
        wa_arena_fail_at(arena, k);
        status = parse_copy(file.data, file.size, arena, &err);
        CU_ASSERT_FATAL(status == WA_OK || status == WA_E_MEMORY);
        failures += status != WA_OK;
        wa_arena_close(arena);
    }
    CU_ASSERT(failures >= 5); /* the table, four names, the order */
    wa_test_free(file);
}

/* A header of our own with `data_size` bytes after it. */
static void expect(const char *header, size_t data_size, wa_status wanted, const char *says)
{
    uint8_t bytes[1024] = {0};
    uint64_t length = strlen(header);
    memcpy(bytes, &length, sizeof length);
    memcpy(bytes + 8, header, length);
    wa_error err = {0};
    wa_arena *arena = open_arena();
    wa_status status = parse_copy(bytes, 8 + length + data_size, arena, &err);
    bool said = status == wanted && strstr(err.text, says) != NULL;
    if (!said)
        fprintf(stderr, "    '%s' gives '%s', expected '%s'\n", header, err.text, says);
    CU_ASSERT(said);
    wa_arena_close(arena);
}

static void headers_of_wrong_structure_get_one_clear_line(void)
{
    expect("{}", 0, WA_OK, "");
    expect("{}    ", 0, WA_OK, "");
    expect("{\"__metadata__\":{\"format\":\"pt\"}}", 0, WA_OK, "");
    expect("[]", 0, WA_E_FORMAT, "does not begin with '{'");
    expect("", 0, WA_E_FORMAT, "does not begin with '{'");
    expect("{\"a\":7}", 0, WA_E_FORMAT, "found an integer, expected an object; in tensor 'a'");
    expect("{\"a\":{\"dtype\":1,\"shape\":[],\"data_offsets\":[0,4]}}", 4, WA_E_FORMAT, "'dtype'");
    expect("{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, WA_E_FORMAT,
           "'shape'");
    expect("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, WA_E_FORMAT,
           "negative");
    expect("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, WA_E_FORMAT,
           "a real number");
    expect("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, WA_E_FORMAT,
           "two integers");
    expect("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, WA_E_FORMAT,
           "begin at 4 after their end at 0");
    expect("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
           WA_E_FORMAT, "9 dimensions, expected at most 8");
    expect("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
           "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
           8, WA_E_FORMAT, "JSON error");
    /* holes, trailing bytes and empty tensors at one place are allowed */
    expect("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]},"
           "\"b\":{\"dtype\":\"F32\",\"shape\":[0,9],\"data_offsets\":[4,4]}}",
           9, WA_OK, "");
}

WA_SUITE("safetensors", WA_CASE(the_control_holds_what_its_maker_wrote),
         WA_CASE(each_malformed_file_gets_its_error),
         WA_CASE(an_unknown_dtype_is_kept_for_whoever_needs_it),
         WA_CASE(every_prefix_of_a_file_is_refused), WA_CASE(every_changed_byte_is_survived),
         WA_CASE(a_failing_arena_is_reported_wherever_it_fails),
         WA_CASE(headers_of_wrong_structure_get_one_clear_line))
