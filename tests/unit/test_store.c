/* Parts, their lock, damage and fingerprints; the layout table. */
#include "judge/judgement.h"
#include "store/assemble.h"

#include "base/utf8.h"
#include "store/file.h"
#include "store/layout.h"
#include "store/part.h"
#include "store/parts.h"
#include "store/seal.h"
#include "store_fake.h"
#include "suite.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* HDF5 1.10 itself loses memory over damaged files; leaks outside it are still told (LeakSanitizer
 * asks by this name). */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5\n";
}

static const fake_shape SHAPE = {
    .layers = 3, .prompt_rows = {4, 5, 6}, .prompts = 3, .part_prompts = {2, 1}, .parts = 2};

/* One test's own directory, removed before and after. */
typedef struct fixture {
    char directory[256], result[300], parts[320];
    wa_arena *arena;
    wa_result_meta meta;
    wa_part_list list;
    wa_error err;
} fixture;

/* Names of the fixture's parts, of prompts 0 and 1 and of prompt 2. */
#define PART_0 "prompts-000000-000001.h5"
#define PART_1 "prompts-000002-000002.h5"

static void remove_tree(const char *directory)
{
    char command[400];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    CU_ASSERT_EQUAL_FATAL(system(command), 0);
}

static void set_up(fixture *f, const char *name)
{
    memset(f, 0, sizeof *f);
    wa_store_prepare(); /* before HDF5 starts: only the first counts */
    snprintf(f->directory, sizeof f->directory, "%s/store-%s", WA_TEST_BINARY_DIR, name);
    snprintf(f->result, sizeof f->result, "%s/deep/r.h5", f->directory);
    snprintf(f->parts, sizeof f->parts, "%s.parts", f->result);
    remove_tree(f->directory);
    WA_MUST(wa_arena_open("test", 0, &f->arena, &f->err), &f->err);
    WA_MUST(fake_meta(&SHAPE, f->arena, &f->meta, &f->err), &f->err);
    WA_MUST(fake_list(&SHAPE, &f->meta.dims, f->arena, &f->list, &f->err), &f->err);
}

static void tear_down(fixture *f)
{
    wa_arena_close(f->arena);
    remove_tree(f->directory);
}

static wa_parts *open_parts(fixture *f, bool fresh)
{
    wa_parts *parts = NULL;
    WA_MUST(wa_parts_open(f->result, &f->meta, fresh, f->arena, &parts, &f->err), &f->err);
    f->list.mark = wa_parts_get_mark(parts);
    return parts;
}

static void write_range(fixture *f, const wa_batch *range, bool has_encoding)
{
    wa_block block;
    WA_MUST(fake_block(&f->meta.dims, range, f->arena, &block, &f->err), &f->err);
    WA_MUST(wa_part_write(f->result, range, &f->list.mark, &block, has_encoding, &f->err), &f->err);
}

static void write_part(fixture *f, size_t part)
{
    write_range(f, &f->list.parts[part], part == 0);
}

/* Is a part of just these prompts among those that are kept? */
static bool is_kept(const wa_parts *parts, const wa_batch *range)
{
    size_t count;
    const wa_batch *kept = wa_parts_kept(parts, &count);
    for (size_t i = 0; i < count; i++)
        if (memcmp(&kept[i], range, sizeof *range) == 0)
            return true;
    return false;
}

static size_t kept_count(const wa_parts *parts)
{
    size_t count;
    (void)wa_parts_kept(parts, &count);
    return count;
}

static void part_path(const fixture *f, size_t part, char out[WA_NAME_BYTES])
{
    CU_ASSERT_EQUAL_FATAL(wa_part_name(f->result, &f->list.parts[part], out, NULL), WA_OK);
}

static void write_text(const fixture *f, const char *name, const char *text)
{
    char path[WA_NAME_BYTES];
    CU_ASSERT_EQUAL_FATAL(wa_parts_join(f->parts, name, path, NULL), WA_OK);
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(text, file);
    CU_ASSERT_EQUAL(fclose(file), 0);
}

static bool exists(const fixture *f, const char *name)
{
    char path[WA_NAME_BYTES];
    CU_ASSERT_EQUAL_FATAL(wa_parts_join(f->parts, name, path, NULL), WA_OK);
    return access(path, F_OK) == 0;
}

static uint8_t *read_file(fixture *f, const char *path, size_t *size)
{
    wa_map map;
    uint8_t *copy;
    WA_MUST(wa_map_open(path, &map, &f->err), &f->err);
    WA_MUST(wa_arena_take(f->arena, map.bytes.size, 1, &copy, &f->err), &f->err);
    memcpy(copy, map.bytes.data, map.bytes.size);
    *size = map.bytes.size;
    wa_map_close(&map);
    return copy;
}

static void write_file(const char *path, const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fwrite(bytes, 1, size, file), size);
    CU_ASSERT_EQUAL(fclose(file), 0);
}

/* --- Layout --- */

/* Every dataset of a result: the layout's rows, then those of the judgement. */
static const wa_layout *table_row(size_t i)
{
    return i < wa_layout_count() ? wa_layout_at(i) : wa_figure_row(i - wa_layout_count());
}

static void layout_names_are_unique_and_every_field_has_a_row(void)
{
    for (size_t i = 0; table_row(i) != NULL; i++)
        for (size_t other = 0; other < i; other++)
            CU_ASSERT_STRING_NOT_EQUAL(table_row(other)->name, table_row(i)->name);
    for (size_t i = 0; i < wa_layout_count(); i++)
        CU_ASSERT_PTR_EQUAL(wa_layout_find(wa_layout_at(i)->name), wa_layout_at(i));
    for (int f = 0; f < WA_FIELD_COUNT; f++)
        CU_ASSERT_STRING_EQUAL(wa_layout_of_field((wa_field)f)->name,
                               wa_field_get((wa_field)f)->name);
}

static void layout_chunks_hold_one_mebibyte_at_most(void)
{
    const wa_layout *row = wa_layout_find("cos");
    static const size_t cases[][2][3] = {
        {{5, 3, 39}, {1, 3, 39}},       /* small: whole */
        {{5, 16, 8192}, {1, 16, 8192}}, /* exactly one chunk of 1 MiB */
        {{5, 34, 8193}, {1, 12, 4097}}, /* three and two even pieces */
        {{0, 0, 0}, {1, 1, 1}}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t box[WA_LAYOUT_RANK];
        wa_layout_box(row, cases[i][0], box);
        for (size_t d = 0; d < 3; d++)
            CU_ASSERT_EQUAL(box[d], cases[i][1][d]);
        CU_ASSERT(box[0] * box[1] * box[2] * sizeof(double) <= 1 << 20);
    }
}

static void layout_fills_indices_with_minus_one(void)
{
    CU_ASSERT_EQUAL(wa_layout_fill(wa_layout_find("top1_id")), -1);
    CU_ASSERT_EQUAL(wa_layout_fill(wa_layout_find("obs_prompt")), -1);
    CU_ASSERT_EQUAL(wa_layout_fill(wa_layout_find("row_err_worst")), -1);
    CU_ASSERT_EQUAL(wa_layout_fill(wa_layout_find("walk_evaluations")), 0);
    CU_ASSERT_EQUAL(wa_layout_fill(wa_layout_find("label")), 0);
    CU_ASSERT_EQUAL(wa_layout_fill(wa_layout_find("prompt_rows")), 0);
}

static void readme_of_analysis_lists_every_dataset(void)
{
    wa_map map;
    wa_arena *arena;
    char *text;
    wa_error err;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_map_open(WA_GOLDEN "/../../analysis/README.md", &map, &err), &err);
    WA_MUST(wa_arena_copy(arena, (const char *)map.bytes.data, map.bytes.size, &text, &err), &err);
    wa_map_close(&map);
    size_t listed = 0, rows = 0;
    for (; table_row(rows) != NULL; rows++) {
        char row[512];
        CU_ASSERT_FATAL(wa_layout_print_row(table_row(rows), row, sizeof row) < (int)sizeof row);
        if (strstr(text, row) == NULL)
            fprintf(stderr, "    analysis/README.md lacks: %s\n", row);
        CU_ASSERT_PTR_NOT_NULL(strstr(text, row));
    }
    const char *tables = strstr(text, "## Datasets");
    CU_ASSERT_PTR_NOT_NULL_FATAL(tables);
    for (const char *at = strstr(tables, "\n| `"); at != NULL; at = strstr(at + 1, "\n| `"))
        listed++;
    CU_ASSERT_EQUAL(listed, rows); /* and none that is not in the table */
    wa_arena_close(arena);
}

static void bytes_that_are_no_utf8_are_shown_in_hex(void)
{
    static const char *const cases[][2] = {{"caf\xc3\xa9", "caf\xc3\xa9"},
                                           {"", ""},
                                           {"a\xff"
                                            "b",
                                            "a\\xFFb"},
                                           {"\xe2\x96", "\\xE2\\x96"},
                                           {"\xed\xa0\x80", "\\xED\\xA0\\x80"}, /* a surrogate */
                                           {"\xc0\x80", "\\xC0\\x80"},          /* overlong NUL */
                                           {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"}};
    fixture f;
    set_up(&f, "utf8");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *out = NULL;
        WA_MUST(wa_text_escape(cases[i][0], f.arena, &out, &f.err), &f.err);
        CU_ASSERT_STRING_EQUAL(out, cases[i][1]);
    }
    tear_down(&f);
}

/* --- Fingerprints --- */

/* FIPS 180-2, appendix B.1. */
static void fingerprint_of_abc_is_the_published_digest(void)
{
    fixture f;
    char *out;
    set_up(&f, "sha");
    WA_MUST(wa_fingerprint_bytes("abc", 3, f.arena, &out, &f.err), &f.err);
    CU_ASSERT_STRING_EQUAL(
        out, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    tear_down(&f);
}

static char *fingerprint(fixture *f, const char *path, bool full)
{
    char *out = NULL;
    WA_MUST(wa_fingerprint_file(path, full, f->arena, &out, &f->err), &f->err);
    return out;
}

static void set_time(const char *path, time_t seconds)
{
    struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    CU_ASSERT_EQUAL_FATAL(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void fingerprint_of_files_follows_content_and_time(void)
{
    enum { SIZE = 3 << 20 };
    fixture f;
    char path[400];
    uint8_t *bytes;
    set_up(&f, "files");
    WA_MUST(wa_directory_make(f.parts, &f.err), &f.err);
    WA_MUST(wa_arena_take(f.arena, SIZE, 1, &bytes, &f.err), &f.err);
    snprintf(path, sizeof path, "%s/file", f.parts);
    write_file(path, bytes, SIZE);
    set_time(path, 1000);
    char *quick = fingerprint(&f, path, false), *full = fingerprint(&f, path, true);
    CU_ASSERT_EQUAL(strncmp(quick, "quick:", 6), 0);
    CU_ASSERT_EQUAL(strncmp(full, "full:", 5), 0);
    set_time(path, 2000);
    CU_ASSERT_STRING_NOT_EQUAL(fingerprint(&f, path, false), quick);
    CU_ASSERT_STRING_EQUAL(fingerprint(&f, path, true), full);
    bytes[SIZE / 2] = 1; /* in neither the first nor the last MiB */
    write_file(path, bytes, SIZE);
    set_time(path, 1000);
    CU_ASSERT_STRING_EQUAL(fingerprint(&f, path, false), quick);
    CU_ASSERT_STRING_NOT_EQUAL(fingerprint(&f, path, true), full);
    const char *missing = "no/such/file";
    char *out;
    CU_ASSERT_EQUAL(wa_fingerprint_file(missing, false, f.arena, &out, &f.err), WA_E_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, missing));
    tear_down(&f);
}

/* --- Parts --- */

static void part_gives_back_every_value(void)
{
    fixture f;
    wa_block block;
    wa_hid file;
    char path[WA_NAME_BYTES];
    set_up(&f, "trip");
    wa_parts *parts = open_parts(&f, false);
    write_part(&f, 0);
    WA_MUST(fake_block(&f.meta.dims, &f.list.parts[0], f.arena, &block, &f.err), &f.err);
    part_path(&f, 0, path);
    WA_MUST(wa_part_open(path, NULL, &f.list.parts[0], &f.meta.dims, &file, &f.err), &f.err);
    wa_extents extents = {.dims = block.dims};
    for (int i = 0; i < WA_FIELD_COUNT; i++) {
        const wa_field_info *info = wa_field_get((wa_field)i);
        size_t outer, along, inner;
        void *values = NULL;
        WA_MUST(wa_dataset_load(file, info->name, &extents, f.arena, &values, &f.err), &f.err);
        fake_split(&block.dims, info, &outer, &along, &inner);
        CU_ASSERT_EQUAL(
            memcmp(values, block.field[i], outer * along * inner * wa_type_size(info->type)), 0);
    }
    CU_ASSERT_EQUAL(wa_hdf5_close(file, WA_OK, &f.err), WA_OK);
    wa_parts_close(parts, false);
    tear_down(&f);
}

static void parts_are_resumed_and_removed_at_the_end(void)
{
    fixture f;
    wa_result_status state;
    set_up(&f, "resume");
    WA_MUST(wa_result_check(f.result, f.arena, &state, &f.err), &f.err);
    CU_ASSERT(!state.finished && state.prompts == 0); /* nothing there */
    wa_parts *parts = open_parts(&f, false);
    CU_ASSERT_EQUAL(wa_parts_get_state(parts), WA_PARTS_FRESH);
    CU_ASSERT_EQUAL(kept_count(parts), 0);
    WA_MUST(wa_parts_write_run(parts, "{}", &f.err), &f.err);
    write_part(&f, 1);
    WA_MUST(wa_result_check(f.result, f.arena, &state, &f.err), &f.err);
    CU_ASSERT(state.owner_alive);
    wa_parts_close(parts, false);

    WA_MUST(wa_result_check(f.result, f.arena, &state, &f.err), &f.err);
    CU_ASSERT(!state.finished && !state.owner_alive);
    CU_ASSERT_EQUAL(state.prompts, 3);
    CU_ASSERT_EQUAL(state.done, 1);

    parts = open_parts(&f, false);
    CU_ASSERT_EQUAL(wa_parts_get_state(parts), WA_PARTS_RESUMED);
    CU_ASSERT(kept_count(parts) == 1 && is_kept(parts, &f.list.parts[1]));
    CU_ASSERT_PTR_NULL(wa_parts_encoding(parts));
    CU_ASSERT_PTR_NULL(wa_parts_note(parts));
    WA_MUST(wa_parts_write_run(parts, "{}", &f.err), &f.err);
    CU_ASSERT(exists(&f, "run-0.json") && exists(&f, "run-1.json"));
    wa_parts_close(parts, true);
    CU_ASSERT(!wa_dir_exists(f.parts));
    tear_down(&f);
}

static void another_fingerprint_is_refused_by_name_unless_fresh(void)
{
    static const wa_fingerprint_item changed[] = {{.key = "model", .value = "quick:00"},
                                                  {.key = "prompts", .value = "sha256:22"}};
    static const wa_fingerprint_item longer[] = {{.key = "model", .value = "quick:00"},
                                                 {.key = "prompts", .value = "sha256:11"},
                                                 {.key = "topk", .value = "8"}};
    fixture f;
    wa_parts *parts = open_parts((set_up(&f, "foreign"), &f), false);
    write_part(&f, 0);
    wa_parts_close(parts, false);

    f.meta.fingerprint = changed;
    CU_ASSERT_EQUAL(wa_parts_open(f.result, &f.meta, false, f.arena, &parts, &f.err),
                    WA_E_MISMATCH);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "'prompts'"));
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "sha256:11"));
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "sha256:22"));
    CU_ASSERT(!exists(&f, "lock")); /* the refusal lets go */
    f.meta.fingerprint = longer;
    f.meta.fingerprint_count = 3;
    CU_ASSERT_EQUAL(wa_parts_open(f.result, &f.meta, false, f.arena, &parts, &f.err),
                    WA_E_MISMATCH);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "'topk'"));

    parts = open_parts(&f, true);
    CU_ASSERT_EQUAL(wa_parts_get_state(parts), WA_PARTS_FRESH);
    CU_ASSERT(!exists(&f, PART_0));
    wa_parts_close(parts, false);
    tear_down(&f);
}

/* Reopen after damage to part 0: it must be set aside with a note, and part 1 kept. */
static void expect_set_aside(fixture *f, const char *reason)
{
    wa_parts *parts = open_parts(f, false);
    CU_ASSERT(kept_count(parts) == 1 && is_kept(parts, &f->list.parts[1]));
    const char *note = wa_parts_note(parts);
    CU_ASSERT_PTR_NOT_NULL_FATAL(note);
    CU_ASSERT_PTR_NOT_NULL(strstr(note, PART_0));
    if (strstr(note, reason) == NULL)
        fprintf(stderr, "    note: %s\n", note);
    CU_ASSERT_PTR_NOT_NULL(strstr(note, reason));
    CU_ASSERT(exists(f, PART_0 ".damaged"));
    CU_ASSERT(!exists(f, PART_0));
    wa_parts_close(parts, false);
}

static void damaged_parts_are_set_aside(void)
{
    fixture f;
    char path[WA_NAME_BYTES], other[WA_NAME_BYTES];
    size_t size, other_size;
    set_up(&f, "damage");
    wa_parts *parts = open_parts(&f, false);
    write_part(&f, 0);
    write_part(&f, 1);
    wa_parts_close(parts, false);
    part_path(&f, 0, path);
    part_path(&f, 1, other);
    uint8_t *whole = read_file(&f, path, &size), *foreign = read_file(&f, other, &other_size);

    write_file(path, whole, size / 2); /* truncated */
    expect_set_aside(&f, "no digest at the end");
    write_file(path, (const uint8_t *)"not HDF5", 8);
    expect_set_aside(&f, "no digest at the end");
    write_file(path, foreign, other_size); /* other prompts under this name */
    expect_set_aside(&f, "'first_prompt'");

    /* A value in the middle of cos: found by its bits, so the checksum must see it. Element 7 is 1
     * + 7/1024. */
    double value = 1.0 + 7.0 / 1024;
    size_t at = 0;
    while (at + sizeof value <= size && memcmp(whole + at, &value, sizeof value) != 0)
        at++;
    CU_ASSERT_FATAL(at + sizeof value <= size);
    whole[at] ^= 1;
    write_file(path, whole, size);
    expect_set_aside(&f, "the file is damaged");
    /* And where somebody made the digest fit again, the dataset's own checksum. */
    write_file(path, whole, size - WA_SEAL_BYTES);
    WA_MUST(wa_seal_append(path, &f.err), &f.err);
    expect_set_aside(&f, "cannot read dataset 'cos'");
    tear_down(&f);
}

/* Another run, or somebody with a copy, may leave parts that share prompts: each prompt is kept
 * once. */
static void of_parts_that_share_prompts_one_is_kept(void)
{
    static const wa_batch all = {0, 3, 0, 15}, last_two = {1, 2, 4, 11}, beyond = {2, 2, 9, 6};
    fixture f;
    char path[WA_NAME_BYTES], other[WA_NAME_BYTES];
    wa_parts *parts = open_parts((set_up(&f, "shared"), &f), false);
    write_part(&f, 1);
    write_range(&f, &last_two, false);
    wa_parts_close(parts, false);
    CU_ASSERT_EQUAL_FATAL(wa_part_name(f.result, &last_two, path, NULL), WA_OK);
    CU_ASSERT_EQUAL_FATAL(wa_part_name(f.result, &beyond, other, NULL), WA_OK);
    size_t size;
    uint8_t *whole = read_file(&f, path, &size);
    write_file(other, whole, size); /* of prompts that the job has not */

    parts = open_parts(&f, false);
    CU_ASSERT(kept_count(parts) == 1 && is_kept(parts, &last_two));
    CU_ASSERT_PTR_NOT_NULL_FATAL(wa_parts_note(parts));
    CU_ASSERT_PTR_NOT_NULL(strstr(wa_parts_note(parts), "another part holds prompt 2, too"));
    CU_ASSERT_PTR_NOT_NULL(strstr(wa_parts_note(parts), "it ends with prompt 3, the job has 3"));
    CU_ASSERT(exists(&f, PART_1 ".damaged") && !exists(&f, PART_1));
    write_range(&f, &all, true); /* and one that holds all: what it shares goes */
    wa_parts_close(parts, false);
    parts = open_parts(&f, false);
    CU_ASSERT(kept_count(parts) == 1 && is_kept(parts, &all));
    CU_ASSERT_PTR_EQUAL(wa_parts_encoding(parts), wa_parts_kept(parts, &size));
    wa_parts_close(parts, true);
    CU_ASSERT(!wa_dir_exists(f.parts)); /* what was set aside, too, is ours */
    tear_down(&f);
}

static void names_of_parts_are_read_letter_for_letter(void)
{
    static const char *const none[] = {"prompts-000000-000001.h5.tmp",
                                       "prompts-0-1.h5",
                                       "prompts-000002-000001.h5",
                                       "prompts-000000.h5",
                                       "batch-000000.h5",
                                       "prompts-+00000-000001.h5",
                                       "prompts-000000-000001.h5.damaged"};
    wa_batch part;
    CU_ASSERT(wa_part_parse("prompts-000012-1000000.h5", &part));
    CU_ASSERT(part.first_prompt == 12 && part.prompt_count == 999989);
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        CU_ASSERT(!wa_part_parse(none[i], &part));
}

/* Any damaged byte of a part is noticed, its last line's too, before HDF5 sees the file. */
static void any_damaged_byte_is_noticed(void)
{
    fixture f;
    char path[WA_NAME_BYTES];
    size_t size, tried = 0, refused = 0;
    set_up(&f, "flip");
    wa_parts *parts = open_parts(&f, false);
    write_part(&f, 1);
    wa_parts_close(parts, false);
    part_path(&f, 1, path);
    uint8_t *whole = read_file(&f, path, &size);
    bool has_encoding;
    for (size_t at = 0; at < size; at += size / 400 + 1) {
        wa_error err = {.status = WA_OK};
        wa_mark mark = wa_arena_mark(f.arena);
        whole[at] ^= 0x41;
        write_file(path, whole, size);
        tried++;
        refused += wa_part_check(path, NULL, &f.list.parts[1], &f.meta.dims, &has_encoding, f.arena,
                                 &err) != WA_OK;
        whole[at] ^= 0x41;
        wa_arena_release(f.arena, mark);
    }
    CU_ASSERT(tried > 300);
    CU_ASSERT_EQUAL(refused, tried);
    tear_down(&f);
}

static void part_that_cannot_be_written_leaves_nothing(void)
{
    fixture f;
    wa_block block;
    struct rlimit before;
    set_up(&f, "full");
    wa_parts *parts = open_parts(&f, false);
    WA_MUST(fake_block(&f.meta.dims, &f.list.parts[0], f.arena, &block, &f.err), &f.err);
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = {.rlim_cur = 4096, .rlim_max = before.rlim_max};
    signal(SIGXFSZ,
           SIG_IGN); /* then write fails with EFBIG, as it fails with ENOSPC on a full disk */
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &small), 0);
    wa_status status =
        wa_part_write(f.result, &f.list.parts[0], &f.list.mark, &block, true, &f.err);
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &before), 0);
    CU_ASSERT_EQUAL(status, WA_E_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, PART_0));
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "File too large"));
    CU_ASSERT_PTR_NULL(strchr(f.err.text, '\n'));
    char command[500];
    snprintf(command, sizeof command, "test $(ls '%s' | grep -c prompts) = 0", f.parts);
    CU_ASSERT_EQUAL(system(command), 0);
    wa_parts_close(parts, false);
    tear_down(&f);
}

/* What a lost disk does: every further read of an open file fails. Its descriptor is made one of a
 * directory. */
static void lose_disk(const char *path)
{
    struct stat wanted, found;
    int directory = open("/", O_RDONLY | O_CLOEXEC), lost = 0;
    CU_ASSERT_EQUAL_FATAL(stat(path, &wanted), 0);
    for (int fd = 3; fd < 64; fd++)
        if (fstat(fd, &found) == 0 && found.st_dev == wanted.st_dev &&
            found.st_ino == wanted.st_ino)
            lost += dup2(directory, fd) == fd;
    CU_ASSERT_EQUAL_FATAL(lost, 1);
}

static const char *const FOLDED[] = {"seconds", "bytes_read", "flops", "walk_evaluations",
                                     "dense_evaluations"};
enum { FOLDED_COUNT = sizeof FOLDED / sizeof FOLDED[0] };

/* In a process of its own, which ends as a run does: after so many datasets every read fails. HDF5
 * must not touch the file again. */
static void write_to_lost_file(const char *path, const wa_extents *x, size_t written)
{
    wa_hid file;
    wa_error err = {.status = WA_OK};
    static const int64_t none[64];
    wa_status status = wa_hdf5_open(path, true, &file, &err);
    for (size_t i = 0; status == WA_OK && i < FOLDED_COUNT; i++) {
        if (i == written)
            lose_disk(path);
        status = wa_dataset_add(file, FOLDED[i], x, none, &err);
    }
    status = wa_hdf5_close(file, status, &err);
    exit(status != WA_OK && strstr(err.text, " at byte ") != NULL ? 0 : 1);
}

static void file_whose_reads_fail_is_given_up_in_one_line(void)
{
    fixture f;
    wa_hid file, other;
    set_up(&f, "unreadable");
    wa_extents x = wa_assembly_extents(&f.meta);
    WA_MUST(wa_directory_make(f.directory, &f.err), &f.err);
    snprintf(f.result, sizeof f.result, "%s/r.h5", f.directory);
    for (size_t written = 0; written < FOLDED_COUNT; written++) {
        WA_MUST(wa_assembly_begin(f.result, &f.meta, f.arena, &f.err), &f.err);
        fflush(NULL);
        pid_t child = fork();
        if (child == 0)
            write_to_lost_file(f.result, &x, written);
        int how = -1;
        CU_ASSERT_EQUAL(waitpid(child, &how, 0), child);
        CU_ASSERT_EQUAL(how, 0);
    }

    /* In one process: the file is opened anew, not found again, and its failure is not another
     * file's. */
    WA_MUST(wa_assembly_begin(f.result, &f.meta, f.arena, &f.err), &f.err);
    WA_MUST(wa_hdf5_open(f.result, true, &file, &f.err), &f.err);
    lose_disk(f.result);
    CU_ASSERT_EQUAL(wa_hdf5_close(file, wa_attribute_write_i64(file, "begun", 1, &f.err), &f.err),
                    WA_E_IO);
    WA_MUST(wa_hdf5_open(f.result, false, &other, &f.err), &f.err);
    CU_ASSERT_EQUAL(wa_hdf5_close(other, WA_OK, &f.err), WA_OK);
    tear_down(&f);
}

static void expect_text(fixture *f, const char *path, const char *text)
{
    size_t size;
    const uint8_t *found = read_file(f, path, &size);
    CU_ASSERT_EQUAL_FATAL(size, strlen(text));
    CU_ASSERT_EQUAL(memcmp(found, text, size), 0);
}

static void files_of_hdf5_are_created_anew_and_never_written_through_a_link(void)
{
    static const char *const text = "another's";
    fixture f;
    wa_hid file;
    char other[320];
    set_up(&f, "links");
    WA_MUST(wa_directory_make(f.directory, &f.err), &f.err);
    snprintf(f.result, sizeof f.result, "%s/r.h5", f.directory);
    snprintf(other, sizeof other, "%s/other", f.directory);
    write_file(other, (const uint8_t *)text, strlen(text));
    CU_ASSERT_EQUAL_FATAL(symlink("other", f.result), 0);
    CU_ASSERT_EQUAL(wa_assembly_begin(f.result, &f.meta, f.arena, &f.err), WA_E_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "cannot create file"));
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, f.result));
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, strerror(EEXIST)));
    expect_text(&f, other, text);

    /* one that a dead process left, under another name as well */
    CU_ASSERT_EQUAL_FATAL(unlink(f.result), 0);
    CU_ASSERT_EQUAL_FATAL(link(other, f.result), 0);
    WA_MUST(wa_assembly_begin(f.result, &f.meta, f.arena, &f.err), &f.err);
    expect_text(&f, other, text);

    CU_ASSERT_EQUAL_FATAL(rename(f.result, other), 0);
    CU_ASSERT_EQUAL_FATAL(symlink("other", f.result), 0);
    CU_ASSERT_NOT_EQUAL(wa_hdf5_open(f.result, true, &file, &f.err), WA_OK);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, strerror(ELOOP)));
    WA_MUST(wa_hdf5_open(f.result, false, &file, &f.err), &f.err);
    CU_ASSERT_EQUAL(wa_hdf5_close(file, WA_OK, &f.err), WA_OK);
    tear_down(&f);
}

static void directory_that_cannot_be_made_is_named(void)
{
    fixture f;
    wa_parts *parts;
    char path[400];
    set_up(&f, "unwritable");
    WA_MUST(wa_directory_make(f.directory, &f.err), &f.err);
    snprintf(path, sizeof path, "%s/file", f.directory);
    write_file(path, (const uint8_t *)"x", 1);
    snprintf(path, sizeof path, "%s/file/r.h5", f.directory); /* refused to root as well */
    CU_ASSERT_EQUAL(wa_parts_open(path, &f.meta, false, f.arena, &parts, &f.err), WA_E_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "unwritable/file"));
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "Not a directory"));
    tear_down(&f);
}

static void damaged_job_file_is_one_clear_error(void)
{
    fixture f;
    wa_parts *parts = open_parts((set_up(&f, "job"), &f), false);
    wa_parts_close(parts, false);
    write_text(&f, "job.json", "{\"walkaudit_parts\": 1");
    CU_ASSERT_EQUAL(wa_parts_open(f.result, &f.meta, false, f.arena, &parts, &f.err), WA_E_FORMAT);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "job.json"));
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "--fresh"));
    tear_down(&f);
}

/* What was begun by the version before is neither resumed nor called "nothing is done". */
static void parts_of_another_format_are_refused_in_one_line(void)
{
    fixture f;
    wa_parts *parts = open_parts((set_up(&f, "older"), &f), false);
    wa_result_status state;
    wa_parts_close(parts, false);
    write_text(&f, "job.json",
               "{\"walkaudit_parts\": 1, \"hash\": \"\", \"fingerprint\": [], \"batches\": []}");
    CU_ASSERT_EQUAL(wa_parts_open(f.result, &f.meta, false, f.arena, &parts, &f.err),
                    WA_E_MISMATCH);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "parts of format 1, this walkaudit reads format 5"));
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "--fresh"));
    CU_ASSERT_EQUAL(wa_result_check(f.result, f.arena, &state, &f.err), WA_E_MISMATCH);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(f.err.text, "run the job again, or use the walkaudit that wrote it"));
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "job.json"));
    CU_ASSERT_PTR_NULL(strchr(f.err.text, '\n'));
    parts = open_parts(&f, true); /* --fresh computes it anew */
    CU_ASSERT_EQUAL(wa_parts_get_state(parts), WA_PARTS_FRESH);
    wa_parts_close(parts, false);
    tear_down(&f);
}

static void foreign_file_at_the_result_path_is_not_overwritten(void)
{
    fixture f;
    wa_parts *parts;
    wa_result *result;
    set_up(&f, "occupied");
    WA_MUST(wa_directory_make(f.parts, &f.err), &f.err);
    write_file(f.result, (const uint8_t *)"somebody's notes", 16);
    CU_ASSERT_EQUAL(wa_parts_open(f.result, &f.meta, false, f.arena, &parts, &f.err), WA_E_FORMAT);
    CU_ASSERT_EQUAL(wa_result_open(f.result, f.arena, &result, &f.err), WA_E_FORMAT);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, f.result));
    CU_ASSERT(wa_file_exists(f.result));
    CU_ASSERT_EQUAL(wa_result_open("no/such.h5", f.arena, &result, &f.err), WA_E_IO);
    tear_down(&f);
}

/* A part is HDF5, whole, and ours; yet no result. */
static void part_is_no_result(void)
{
    fixture f;
    wa_result *result;
    char path[WA_NAME_BYTES];
    wa_parts *parts = open_parts((set_up(&f, "part"), &f), false);
    write_part(&f, 0);
    part_path(&f, 0, path);
    CU_ASSERT_EQUAL(wa_result_open(path, f.arena, &result, &f.err), WA_E_FORMAT);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "walkaudit_format"));
    wa_parts_close(parts, false);
    tear_down(&f);
}

/* --- What is owed --- */

static void a_run_takes_back_no_other_runs_wish(void)
{
    fixture f;
    char one[WA_RUN_ID_BYTES], two[WA_RUN_ID_BYTES];
    set_up(&f, "owed");
    WA_MUST(wa_run_id_draw(one, &f.err), &f.err);
    WA_MUST(wa_run_id_draw(two, &f.err), &f.err);
    WA_MUST(wa_owed_record(f.result, "job", one, &f.err), &f.err);
    CU_ASSERT_EQUAL(wa_owed_look(f.result, "job"), WA_OWED_NOT); /* nothing stands there */
    WA_MUST(wa_owed_waive(f.result, one, &f.err), &f.err);
    CU_ASSERT(!wa_dir_exists(f.directory));

    wa_parts_close(open_parts(&f, false), false);
    WA_MUST(wa_owed_record(f.result, "job", one, &f.err), &f.err);
    WA_MUST(wa_owed_record(f.result, "another", two, &f.err), &f.err);
    WA_MUST(wa_owed_record(f.result, "another", two, &f.err), &f.err); /* counts once */
    CU_ASSERT_EQUAL(wa_owed_look(f.result, "job"), WA_OWED_BY_THIS_JOB);
    CU_ASSERT_EQUAL(wa_owed_look(f.result, "another"), WA_OWED_BY_THIS_JOB);
    CU_ASSERT_EQUAL(wa_owed_look(f.result, "a third"), WA_OWED_BY_ANOTHER);
    WA_MUST(wa_owed_waive(f.result, two, &f.err), &f.err);
    CU_ASSERT_EQUAL(wa_owed_look(f.result, "job"), WA_OWED_BY_THIS_JOB);
    CU_ASSERT_EQUAL(wa_owed_look(f.result, "another"), WA_OWED_BY_ANOTHER);
    WA_MUST(wa_owed_waive(f.result, one, &f.err), &f.err);
    CU_ASSERT(!exists(&f, "owed"));

    WA_MUST(wa_owed_record(f.result, "job", one, &f.err), &f.err);
    WA_MUST(wa_owed_settle(f.result, &f.err), &f.err);
    CU_ASSERT(!exists(&f, "owed"));
    /* as an earlier version wrote it, and damaged: a run that waives leaves both */
    static const char *const others[] = {
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n", "", "no line"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        write_text(&f, "owed", others[i]);
        WA_MUST(wa_owed_waive(f.result, one, &f.err), &f.err);
        CU_ASSERT_EQUAL(wa_owed_look(f.result, "abc"),
                        i == 0 ? WA_OWED_BY_THIS_JOB : WA_OWED_BY_ANOTHER);
    }
    tear_down(&f);
}

/* --- The lock --- */

static void living_owner_is_named_and_refused(void)
{
    fixture f;
    wa_parts *first = open_parts((set_up(&f, "alive"), &f), false), *second;
    char process[32];
    snprintf(process, sizeof process, "process %ld", (long)getpid());
    CU_ASSERT_EQUAL(wa_parts_open(f.result, &f.meta, false, f.arena, &second, &f.err), WA_E_BUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, process));
    wa_parts_close(first, false);
    second = open_parts(&f, false);
    wa_parts_close(second, false);
    tear_down(&f);
}

static void lock_of_a_gone_process_is_taken_over(void)
{
    fixture f;
    set_up(&f, "dead");
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        wa_parts *parts;
        wa_error err;
        _exit(wa_parts_open(f.result, &f.meta, false, f.arena, &parts, &err) == WA_OK ? 0 : 1);
    }
    int how;
    CU_ASSERT_EQUAL_FATAL(waitpid(child, &how, 0), child);
    CU_ASSERT(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    CU_ASSERT(exists(&f, "lock"));
    wa_parts *parts = open_parts(&f, false);
    CU_ASSERT_PTR_NOT_NULL_FATAL(wa_parts_note(parts));
    CU_ASSERT_PTR_NOT_NULL(strstr(wa_parts_note(parts), "took over"));
    wa_parts_close(parts, false);
    CU_ASSERT(!exists(&f, "lock"));
    tear_down(&f);
}

static void another_hosts_lock_lives_for_a_minute_of_silence(void)
{
    fixture f;
    wa_parts *parts;
    wa_result_status state;
    char path[WA_NAME_BYTES];
    set_up(&f, "remote");
    WA_MUST(wa_directory_make(f.parts, &f.err), &f.err);
    write_text(&f, "lock",
               "{\"host\": \"elsewhere\", \"process\": 7, \"start\": 1, \"slurm_job\": \"42\"}");
    CU_ASSERT_EQUAL(wa_parts_open(f.result, &f.meta, false, f.arena, &parts, &f.err), WA_E_BUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.err.text, "host elsewhere, process 7, Slurm job 42"));
    WA_MUST(wa_result_check(f.result, f.arena, &state, &f.err), &f.err);
    CU_ASSERT(state.owner_alive);
    snprintf(path, sizeof path, "%s/lock", f.parts);
    set_time(path, time(NULL) - 61);
    WA_MUST(wa_result_check(f.result, f.arena, &state, &f.err), &f.err);
    CU_ASSERT(!state.owner_alive);
    parts = open_parts(&f, false);
    wa_parts_close(parts, false);
    tear_down(&f);
}

/* A process of another container of this machine: its number says nothing here, only its heartbeat
 * does. */
static void owner_in_another_pid_namespace_is_not_taken_for_dead(void)
{
    fixture f;
    wa_parts *parts;
    char host[WA_HOST_BYTES] = "", boot[64] = "", text[512], path[WA_NAME_BYTES];
    set_up(&f, "container");
    WA_MUST(wa_directory_make(f.parts, &f.err), &f.err);
    gethostname(host, sizeof host - 1);
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_PTR_NOT_NULL(fgets(boot, sizeof boot, file));
    fclose(file);
    boot[strcspn(boot, "\n")] = '\0';
    snprintf(text, sizeof text,
             "{\"host\": \"%s\", \"boot\": \"%s\", \"space\": \"pid:[1]\", \"process\": 4194303, "
             "\"start\": 1}",
             host, boot);
    write_text(&f, "lock", text);
    CU_ASSERT_EQUAL(wa_parts_open(f.result, &f.meta, false, f.arena, &parts, &f.err), WA_E_BUSY);
    snprintf(path, sizeof path, "%s/lock", f.parts);
    set_time(path, time(NULL) - 61);
    parts = open_parts(&f, false);
    wa_parts_close(parts, false);
    tear_down(&f);
}

static bool has_temporary(const fixture *f)
{
    char command[400];
    snprintf(command, sizeof command, "ls '%s' | grep -q 'prompts-.*tmp$'", f->parts);
    return system(command) == 0;
}

/* As another run's rank 0 does. */
static void take_over(fixture *f)
{
    char lock[WA_NAME_BYTES], other[WA_NAME_BYTES];
    write_text(f, "other", "{\"run\": \"another\", \"host\": \"elsewhere\", \"process\": 7}");
    WA_MUST(wa_parts_join(f->parts, "lock", lock, &f->err), &f->err);
    WA_MUST(wa_parts_join(f->parts, "other", other, &f->err), &f->err);
    CU_ASSERT_EQUAL_FATAL(rename(other, lock), 0);
}

/* A rank that was suspended between its look at the lock and the rename. */
static void part_of_a_run_that_lost_its_lock_meanwhile_is_not_published(void)
{
    fixture f;
    int guard, how = 0;
    set_up(&f, "overtaken");
    wa_parts *parts = open_parts(&f, false);
    WA_MUST(wa_lock_guard(f.parts, &guard, &f.err), &f.err);
    fflush(NULL);
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        wa_block block;
        wa_error err = {.status = WA_OK};
        wa_lock_unguard(guard); /* a copy of the descriptor */
        wa_status status =
            fake_block(&f.meta.dims, &f.list.parts[0], f.arena, &block, &err) != WA_OK
                ? WA_E_INTERNAL
                : wa_part_write(f.result, &f.list.parts[0], &f.list.mark, &block, true, &err);
        _exit(status == WA_E_BUSY && strstr(err.text, "has taken over") != NULL ? 0 : 1);
    }
    while (!has_temporary(&f) && waitpid(child, &how, WNOHANG) == 0)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    CU_ASSERT(!exists(&f, PART_0));
    take_over(&f);
    wa_lock_unguard(guard);
    CU_ASSERT_EQUAL(waitpid(child, &how, 0), child);
    CU_ASSERT(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    CU_ASSERT(!exists(&f, PART_0) && !has_temporary(&f));
    wa_parts_close(parts, false);
    tear_down(&f);
}

static void capture_of_a_run_that_lost_its_lock_is_not_published(void)
{
    static const uint8_t layers[] = {1, 1, 1};
    static const float values[9] = {0.0F};
    const wa_captures captures = {
        .tensor = {[WA_CAPTURE_INPUT] = true}, .layer = layers, .layer_count = 3, .hidden = 1};
    const wa_capture_place place = {.which = WA_CAPTURE_REFERENCE, .prompt_count = 2};
    fixture f;
    wa_capture_file *file;
    char folder[WA_NAME_BYTES];
    set_up(&f, "capture");
    wa_parts *parts = open_parts(&f, false);
    const wa_capture_owner owner = {.result_path = f.result, .mark = &f.list.mark};
    f.list.mark.captures = 0;
    WA_MUST(wa_captures_folder(f.result, f.list.mark.captures, folder, &f.err), &f.err);
    WA_MUST(wa_directory_make(folder, &f.err), &f.err);
    for (int overtaken = 0; overtaken < 2; overtaken++) {
        WA_MUST(wa_capture_begin(&owner, &captures, &place, 9, f.arena, &file, &f.err), &f.err);
        WA_MUST(wa_capture_write(file, WA_CAPTURE_INPUT, 0, values, &f.err), &f.err);
        if (overtaken)
            take_over(&f);
        CU_ASSERT_EQUAL(wa_capture_finish(file, &f.err), overtaken ? WA_E_BUSY : WA_OK);
        char command[2 * WA_NAME_BYTES + 64];
        snprintf(command, sizeof command, "test $(ls '%s' | wc -l) = %d && rm -f '%s'/*", folder,
                 overtaken ? 0 : 1, folder);
        CU_ASSERT_EQUAL(system(command), 0);
    }
    wa_parts_close(parts, false);
    tear_down(&f);
}

/* After a take-over the former owner must not remove the new owner's lock. */
static void lost_lock_is_not_released_twice(void)
{
    fixture f;
    wa_lock lock, thief;
    wa_owner before;
    char path[WA_NAME_BYTES];
    set_up(&f, "lost");
    WA_MUST(wa_directory_make(f.parts, &f.err), &f.err);
    WA_MUST(wa_lock_take(f.parts, &lock, &before, &f.err), &f.err);
    CU_ASSERT(!before.present && wa_lock_is_held(&lock));
    snprintf(path, sizeof path, "%s/lock", f.parts);
    CU_ASSERT_EQUAL(unlink(path), 0);
    WA_MUST(wa_lock_take(f.parts, &thief, &before, &f.err), &f.err);
    CU_ASSERT(!wa_lock_is_held(&lock) && wa_lock_is_held(&thief));
    wa_lock_release(&lock);
    CU_ASSERT(wa_lock_is_held(&thief));
    wa_lock_release(&thief);
    CU_ASSERT(!exists(&f, "lock"));
    tear_down(&f);
}

static void stale_temporaries_are_removed(void)
{
    static const char *const stale[] = {PART_1 ".host-1.tmp", PART_1 ".a.long-host.name-12.tmp",
                                        PART_1 ".-7.tmp",     "result.h5.host-1.tmp",
                                        "run-3.json.h-9.tmp", "batch-000001.h5.host-1.tmp"};
    static const char *const others[] = {
        PART_1 ".tmp",   PART_1 ".host-.tmp",         PART_1 ".host-1.tmp.old", PART_1 "-1.tmp",
        "run-notes.tmp", "prompts-1-2.h5.host-1.tmp", "lock.host-1.tmp",        "owed.host-1.tmp"};
    enum { STALE = sizeof stale / sizeof stale[0], OTHERS = sizeof others / sizeof others[0] };
    fixture f;
    char name[WA_NAME_BYTES], own[WA_NAME_BYTES];
    wa_parts *parts = open_parts((set_up(&f, "stale"), &f), false);
    wa_parts_close(parts, false);
    WA_MUST(wa_temporary_name("job.json", own, &f.err), &f.err);
    write_text(&f, own, "half");
    for (size_t i = 0; i < STALE; i++)
        write_text(&f, stale[i], "half");
    for (size_t i = 0; i < OTHERS; i++)
        write_text(&f, others[i], "whole");
    parts = open_parts(&f, false);
    CU_ASSERT(!exists(&f, own));
    for (size_t i = 0; i < STALE; i++)
        CU_ASSERT(!exists(&f, stale[i]));
    for (size_t i = 0; i < OTHERS; i++) {
        CU_ASSERT(exists(&f, others[i]));
        WA_MUST(wa_parts_join(f.parts, others[i], name, &f.err), &f.err);
        CU_ASSERT_EQUAL(unlink(name), 0);
    }
    CU_ASSERT_EQUAL(kept_count(parts), 0);
    wa_parts_close(parts, false);
    tear_down(&f);
}

static void no_failing_allocation_leaves_the_lock_behind(void)
{
    fixture f;
    wa_parts *parts;
    size_t k = 1;
    wa_status status = WA_E_MEMORY;
    set_up(&f, "memory");
    for (; k < 200 && status != WA_OK; k++) {
        wa_arena_fail_at(f.arena, k);
        status = wa_parts_open(f.result, &f.meta, false, f.arena, &parts, &f.err);
        wa_arena_fail_at(f.arena, 0);
        CU_ASSERT(status == WA_OK || status == WA_E_MEMORY);
        CU_ASSERT(exists(&f, "lock") == (status == WA_OK));
    }
    CU_ASSERT_EQUAL_FATAL(status, WA_OK);
    CU_ASSERT(k > 3);
    wa_parts_close(parts, false);
    tear_down(&f);
}

WA_SUITE("store", WA_CASE(layout_names_are_unique_and_every_field_has_a_row),
         WA_CASE(layout_chunks_hold_one_mebibyte_at_most),
         WA_CASE(layout_fills_indices_with_minus_one),
         WA_CASE(readme_of_analysis_lists_every_dataset),
         WA_CASE(bytes_that_are_no_utf8_are_shown_in_hex),
         WA_CASE(fingerprint_of_abc_is_the_published_digest),
         WA_CASE(fingerprint_of_files_follows_content_and_time),
         WA_CASE(part_gives_back_every_value), WA_CASE(parts_are_resumed_and_removed_at_the_end),
         WA_CASE(another_fingerprint_is_refused_by_name_unless_fresh),
         WA_CASE(damaged_parts_are_set_aside), WA_CASE(of_parts_that_share_prompts_one_is_kept),
         WA_CASE(names_of_parts_are_read_letter_for_letter), WA_CASE(any_damaged_byte_is_noticed),
         WA_CASE(part_that_cannot_be_written_leaves_nothing),
         WA_CASE(file_whose_reads_fail_is_given_up_in_one_line),
         WA_CASE(files_of_hdf5_are_created_anew_and_never_written_through_a_link),
         WA_CASE(directory_that_cannot_be_made_is_named),
         WA_CASE(damaged_job_file_is_one_clear_error),
         WA_CASE(parts_of_another_format_are_refused_in_one_line),
         WA_CASE(foreign_file_at_the_result_path_is_not_overwritten), WA_CASE(part_is_no_result),
         WA_CASE(a_run_takes_back_no_other_runs_wish), WA_CASE(living_owner_is_named_and_refused),
         WA_CASE(lock_of_a_gone_process_is_taken_over),
         WA_CASE(another_hosts_lock_lives_for_a_minute_of_silence),
         WA_CASE(owner_in_another_pid_namespace_is_not_taken_for_dead),
         WA_CASE(part_of_a_run_that_lost_its_lock_meanwhile_is_not_published),
         WA_CASE(capture_of_a_run_that_lost_its_lock_is_not_published),
         WA_CASE(lost_lock_is_not_released_twice), WA_CASE(stale_temporaries_are_removed),
         WA_CASE(no_failing_allocation_leaves_the_lock_behind))
