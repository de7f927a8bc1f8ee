/* A part: all fields of some prompts, made in memory by HDF5's core driver and written as one
 * file. */
#include "store/part.h"
#include "store/parts.h"
#include "store/seal.h"
#include "store/types_hdf5.h"

#include <hdf5.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t offset;
} DIMENSIONS[] = {
    {"cases", offsetof(wa_dims, cases)},     {"layers", offsetof(wa_dims, layers)},
    {"rows", offsetof(wa_dims, rows)},       {"prompts", offsetof(wa_dims, prompts)},
    {"slots", offsetof(wa_dims, slots)},     {"vindexes", offsetof(wa_dims, vindexes)},
    {"choices", offsetof(wa_dims, choices)},
};
enum { DIMENSION_COUNT = sizeof DIMENSIONS / sizeof DIMENSIONS[0] };

static size_t dimension(const wa_dims *dims, size_t d)
{
    size_t value;
    memcpy(&value, (const char *)dims + DIMENSIONS[d].offset, sizeof value);
    return value;
}

static wa_status write_identity(wa_hid file, const wa_batch *range, const wa_part_mark *mark,
                                const wa_dims *dims, bool has_encoding, wa_error *err)
{
    WA_TRY(wa_attribute_write_i64(file, "walkaudit_part", WA_LAYOUT_VERSION, err));
    WA_TRY(wa_attribute_write_word(file, "fingerprint", mark->job, err));
    WA_TRY(wa_attribute_write_word(file, "run", mark->run, err));
    WA_TRY(wa_attribute_write_i64(file, "first_prompt", (int64_t)range->first_prompt, err));
    WA_TRY(wa_attribute_write_i64(file, "first_obs", (int64_t)range->first_obs, err));
    WA_TRY(wa_attribute_write_i64(file, "has_encoding", has_encoding, err));
    WA_TRY(wa_attribute_write_i64(file, "logits_all", dims->logits_all, err));
    for (size_t d = 0; d < DIMENSION_COUNT; d++)
        WA_TRY(wa_attribute_write_i64(file, DIMENSIONS[d].name, (int64_t)dimension(dims, d), err));
    return WA_OK;
}

/* Everything in chunks with a checksum, so that a damaged byte is found when the part is opened
 * again. */
static wa_status write_field(wa_hid file, const wa_layout *row, const wa_extents *extents,
                             const void *values, wa_error *err)
{
    wa_ids ids = {.count = 0};
    size_t shape[WA_LAYOUT_RANK], box[WA_LAYOUT_RANK];
    hsize_t extent[WA_LAYOUT_RANK], chunk[WA_LAYOUT_RANK];
    size_t rank = wa_layout_shape(row, extents, shape);
    wa_layout_box(row, shape, box);
    bool empty = false;
    for (size_t d = 0; d < rank; d++) {
        extent[d] = shape[d];
        chunk[d] = box[d];
        empty = empty || shape[d] == 0;
    }
    hid_t space = wa_ids_keep(&ids, H5Screate_simple((int)rank, extent, NULL));
    hid_t creation = wa_ids_keep(&ids, H5Pcreate(H5P_DATASET_CREATE));
    bool ready = space >= 0 && creation >= 0 && H5Pset_obj_track_times(creation, false) >= 0 &&
                 H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER) >= 0;
    if (ready && !empty)
        ready = H5Pset_chunk(creation, (int)rank, chunk) >= 0 && H5Pset_fletcher32(creation) >= 0;
    hid_t dataset = -1;
    if (ready)
        dataset = wa_ids_keep(&ids, H5Dcreate2(file, row->name, wa_file_type(row->type), space,
                                               H5P_DEFAULT, creation, H5P_DEFAULT));
    wa_status status = WA_OK;
    if (dataset < 0)
        status = wa_hdf5_failed(err, WA_E_IO, "cannot create dataset", row->name);
    else if (!empty)
        status = wa_dataset_write(dataset, row, NULL, values, err);
    return wa_ids_close(&ids, status, err);
}

static bool is_carried(wa_field field, const wa_dims *dims, bool has_encoding)
{
    return wa_field_exists(field, dims) &&
           (has_encoding || !wa_axes_are_stored(wa_field_get(field)->axes));
}

static wa_status write_fields(wa_hid file, const wa_block *block, bool has_encoding, wa_error *err)
{
    wa_extents extents = {.dims = block->dims};
    for (int f = 0; f < WA_FIELD_COUNT; f++)
        if (is_carried((wa_field)f, &block->dims, has_encoding))
            WA_TRY(
                write_field(file, wa_layout_of_field((wa_field)f), &extents, block->field[f], err));
    return WA_OK;
}

static wa_status create_in_memory(wa_hid *out, wa_error *err)
{
    enum { GROW = 1 << 20 };
    wa_ids ids = {.count = 0};
    hid_t access = wa_ids_keep(&ids, H5Pcreate(H5P_FILE_ACCESS));
    hid_t file = -1;
    if (access >= 0 && H5Pset_fapl_core(access, GROW, false) >= 0 &&
        H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0)
        file = H5Fcreate("part", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    wa_status status = WA_OK;
    if (file < 0)
        status = wa_hdf5_failed(err, WA_E_MEMORY, "cannot make a part in memory", NULL);
    *out = file;
    return wa_ids_close(&ids, status, err);
}

/* The image lies in the core driver's memory (H5Fget_vfd_handle gives its address): written without
 * a copy. */
static wa_status write_image(wa_hid file, const char *path, const wa_gate *gate, wa_error *err)
{
    void **memory = NULL;
    ssize_t size = -1;
    if (H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0)
        size = H5Fget_file_image(file, NULL, 0);
    if (size < 0 || H5Fget_vfd_handle(file, H5P_DEFAULT, (void **)&memory) < 0 || memory == NULL)
        return wa_hdf5_failed(err, WA_E_INTERNAL, "cannot take the image of a part", NULL);
    char seal[WA_SEAL_BYTES + 1];
    wa_bytes pieces[] = {{.data = *memory, .size = (size_t)size},
                         {.data = (const uint8_t *)seal, .size = WA_SEAL_BYTES}};
    WA_TRY(wa_seal_of(pieces[0], seal, err));
    return wa_file_write_pieces(path, pieces, 2, gate, err);
}

wa_status wa_part_write(const char *result_path, const wa_batch *range, const wa_part_mark *mark,
                        const wa_block *block, bool has_encoding, wa_error *err)
{
    wa_hdf5_quiet();
    char directory[WA_NAME_BYTES], path[WA_NAME_BYTES];
    wa_passage passage = {.directory = directory, .run = mark->run};
    const wa_gate gate = wa_lock_gate(&passage);
    wa_hid file;
    WA_TRY(wa_parts_directory(result_path, directory, err));
    WA_TRY(wa_part_name(result_path, range, path, err));
    WA_TRY(wa_lock_check(directory, mark->run, err)); /* else nothing is written at all */
    WA_TRY(create_in_memory(&file, err));
    wa_status status = write_identity(file, range, mark, &block->dims, has_encoding, err);
    if (status == WA_OK)
        status = write_fields(file, block, has_encoding, err);
    if (status == WA_OK)
        status = write_image(file, path, &gate, err);
    return wa_hdf5_close(file, status, err);
}

/* --- Reading back --- */

static wa_status expect_i64(wa_hid file, const char *name, int64_t expected, wa_error *err)
{
    int64_t found;
    WA_TRY(wa_attribute_read_i64(file, name, &found, err));
    if (found != expected)
        return wa_fail(err, WA_E_FORMAT, "attribute '%s': found %lld, expected %lld", name,
                       (long long)found, (long long)expected);
    return WA_OK;
}

static wa_status check_hash(wa_hid file, const char *hash, wa_error *err)
{
    char found[WA_WORD_BYTES];
    WA_TRY(wa_attribute_read_word(file, "fingerprint", found, err));
    if (hash != NULL && strcmp(found, hash) != 0)
        return wa_fail(err, WA_E_FORMAT, "part of another job: fingerprint '%.80s', expected '%s'",
                       found, hash);
    return WA_OK;
}

static wa_status check_identity(wa_hid file, const char *hash, const wa_batch *range,
                                const wa_dims *dims, wa_error *err)
{
    WA_TRY(expect_i64(file, "walkaudit_part", WA_LAYOUT_VERSION, err));
    WA_TRY(check_hash(file, hash, err));
    WA_TRY(expect_i64(file, "first_prompt", (int64_t)range->first_prompt, err));
    WA_TRY(expect_i64(file, "first_obs", (int64_t)range->first_obs, err));
    WA_TRY(expect_i64(file, "logits_all", dims->logits_all, err));
    for (size_t d = 0; d < DIMENSION_COUNT; d++)
        WA_TRY(expect_i64(file, DIMENSIONS[d].name, (int64_t)dimension(dims, d), err));
    return WA_OK;
}

wa_dims wa_part_dims(const wa_dims *job, const wa_batch *range)
{
    wa_dims dims = *job;
    dims.rows = range->rows;
    dims.prompts = range->prompt_count;
    return dims;
}

wa_status wa_part_open(const char *path, const char *hash, const wa_batch *range,
                       const wa_dims *job, wa_hid *out, wa_error *err)
{
    wa_hid file;
    wa_dims dims = wa_part_dims(job, range);
    WA_TRY(wa_hdf5_open(path, false, &file, err));
    wa_status status = check_identity(file, hash, range, &dims, err);
    if (status != WA_OK) {
        status = wa_note(err, "in file '%s'", path);
        return wa_hdf5_close(file, status, err);
    }
    *out = file;
    return WA_OK;
}

wa_status wa_part_has_encoding(wa_hid part, bool *out, wa_error *err)
{
    int64_t value;
    WA_TRY(wa_attribute_read_i64(part, "has_encoding", &value, err));
    *out = value != 0;
    return WA_OK;
}

/* Read box after box; a box is at most 1 MiB unless one axis alone (slots) is larger. */
static wa_status read_boxes(wa_hid dataset, const wa_layout *row, const size_t *shape, size_t rank,
                            wa_arena *arena, wa_error *err)
{
    size_t unit[WA_LAYOUT_RANK], bytes = wa_layout_size(row);
    wa_layout_box(row, shape, unit);
    wa_box box = {.start = {0}};
    for (size_t d = 0; d < rank; d++) {
        if (shape[d] == 0)
            return WA_OK;
        bytes *= unit[d]; /* the extents are the job's own, checked */
    }
    void *buffer;
    WA_TRY(wa_arena_take_raw(arena, bytes, 1, &buffer, err));
    for (size_t d = 0; d < rank;) {
        for (size_t e = 0; e < rank; e++) {
            size_t left = shape[e] - box.start[e];
            box.count[e] = left < unit[e] ? left : unit[e];
        }
        WA_TRY(wa_dataset_read(dataset, row, &box, buffer, err));
        /* Count on like an odometer; past the last axis means done. */
        for (d = 0; d < rank; d++) {
            box.start[d] += unit[d];
            if (box.start[d] < shape[d])
                break;
            box.start[d] = 0;
        }
    }
    return WA_OK;
}

static wa_status check_field(wa_hid file, const wa_layout *row, const wa_extents *extents,
                             wa_arena *arena, wa_error *err)
{
    size_t shape[WA_LAYOUT_RANK];
    size_t rank = wa_layout_shape(row, extents, shape);
    wa_hid dataset;
    WA_TRY(wa_dataset_open(file, row, extents, &dataset, err));
    wa_mark mark = wa_arena_mark(arena);
    wa_status status = read_boxes(dataset, row, shape, rank, arena, err);
    wa_arena_release(arena, mark);
    return wa_dataset_close(dataset, status, err);
}

static wa_status check_fields(wa_hid file, const wa_dims *dims, bool *encoding, wa_arena *arena,
                              wa_error *err)
{
    bool has_encoding;
    wa_extents extents = {.dims = *dims};
    WA_TRY(wa_part_has_encoding(file, &has_encoding, err));
    *encoding = has_encoding;
    for (int f = 0; f < WA_FIELD_COUNT; f++)
        if (is_carried((wa_field)f, dims, has_encoding))
            WA_TRY(check_field(file, wa_layout_of_field((wa_field)f), &extents, arena, err));
    return WA_OK;
}

wa_status wa_part_check_bytes(const char *path, wa_error *err)
{
    bool sealed;
    WA_TRY(wa_seal_check(path, &sealed, err));
    return sealed ? WA_OK
                  : wa_fail(err, WA_E_FORMAT, "no digest at the end of file '%s': not a whole part",
                            path);
}

wa_status wa_part_check(const char *path, const char *hash, const wa_batch *range,
                        const wa_dims *job, bool *has_encoding, wa_arena *arena, wa_error *err)
{
    wa_hid file;
    wa_dims dims = wa_part_dims(job, range);
    WA_TRY(wa_part_check_bytes(path, err));
    WA_TRY(wa_part_open(path, hash, range, job, &file, err));
    /* wa_part_open opened it, or this place is not reached. */
    /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage) */
    wa_status status = check_fields(file, &dims, has_encoding, arena, err);
    if (status != WA_OK)
        wa_note(err, "in file '%s'", path);
    return wa_hdf5_close(file, status, err);
}
