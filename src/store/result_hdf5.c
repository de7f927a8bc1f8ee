/* Opening a finished result: checked and read; and changing one, all or nothing. */
#include "store/parts.h"
#include "store/result.h"
#include "store/seal.h"

#include "base/durable.h"
#include "path/encoding.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* [cases, layers] folded to [cases]. */
static wa_status sum_costs(wa_hid file, const wa_extents *x, wa_arena *arena, wa_result *out,
                           wa_error *err)
{
    const double *seconds;
    const int64_t *bytes, *flops;
    double *second_sum;
    int64_t *byte_sum, *flop_sum;
    WA_TRY(wa_dataset_load(file, "seconds", x, arena, &seconds, err));
    WA_TRY(wa_dataset_load(file, "bytes_read", x, arena, &bytes, err));
    WA_TRY(wa_dataset_load(file, "flops", x, arena, &flops, err));
    WA_TRY(wa_arena_take(arena, x->dims.cases, sizeof *second_sum, &second_sum, err));
    WA_TRY(wa_arena_take(arena, x->dims.cases, sizeof *byte_sum, &byte_sum, err));
    WA_TRY(wa_arena_take(arena, x->dims.cases, sizeof *flop_sum, &flop_sum, err));
    for (size_t i = 0; i < x->dims.cases * x->dims.layers; i++) {
        size_t c = i / x->dims.layers;
        second_sum[c] += seconds[i];
        /* Unsigned: a damaged file may hold anything, and must not overflow. */
        byte_sum[c] = (int64_t)((uint64_t)byte_sum[c] + (uint64_t)bytes[i]);
        flop_sum[c] = (int64_t)((uint64_t)flop_sum[c] + (uint64_t)flops[i]);
    }
    out->seconds = second_sum;
    out->bytes_read = byte_sum;
    out->flops = flop_sum;
    return WA_OK;
}

static wa_status load_prompt_figures(wa_hid file, const wa_extents *x, wa_arena *arena,
                                     wa_result *out, wa_error *err)
{
    const int32_t *evaluations;
    WA_TRY(wa_dataset_load(file, "ref_top1_prob", x, arena, &out->ref_top1_prob, err));
    WA_TRY(wa_dataset_load(file, "ref_margin", x, arena, &out->ref_margin, err));
    WA_TRY(wa_dataset_load(file, "ref_top1_id", x, arena, &out->ref_top1_id, err));
    WA_TRY(wa_dataset_load(file, "ref_nll", x, arena, &out->ref_nll, err));
    WA_TRY(wa_dataset_load(file, "ref_nll_positions", x, arena, &out->ref_nll_positions, err));
    WA_TRY(wa_dataset_load(file, "ref_top1_text", x, arena, &out->ref_top1_text, err));
    WA_TRY(wa_dataset_load(file, "prob_delta", x, arena, &out->prob_delta, err));
    WA_TRY(wa_dataset_load(file, "top1_gap", x, arena, &out->top1_gap, err));
    WA_TRY(wa_dataset_load(file, "kl", x, arena, &out->kl, err));
    WA_TRY(wa_dataset_load(file, "top1_match", x, arena, &out->top1_match, err));
    WA_TRY(wa_dataset_load(file, "top1_text", x, arena, &out->top1_text, err));
    WA_TRY(wa_dataset_load(file, "dense_evaluations", x, arena, &evaluations, err));
    for (size_t i = 0; i < x->dims.layers * x->dims.prompts; i++)
        out->dense_evaluations += evaluations[i];
    return WA_OK;
}

static wa_status load_dump(wa_hid file, const wa_extents *x, wa_arena *arena, wa_drift_figures *out,
                           wa_error *err)
{
    out->layers = x->dims.layers;
    out->prompts = x->dims.prompts;
    WA_TRY(wa_dataset_load(file, "dump_x_rel_l2", x, arena, &out->x, err));
    WA_TRY(wa_dataset_load(file, "dump_x_position", x, arena, &out->x_at, err));
    WA_TRY(wa_dataset_load(file, "dump_y_rel_l2", x, arena, &out->y, err));
    WA_TRY(wa_dataset_load(file, "dump_y_position", x, arena, &out->y_at, err));
    WA_TRY(wa_dataset_load(file, "dump_logits_rel_l2", x, arena, &out->logits, err));
    return wa_dataset_load(file, "dump_logits_position", x, arena, &out->logits_at, err);
}

/* Every position of every case, with logits: all. */
static wa_status load_positions(wa_hid file, const wa_extents *x, wa_arena *arena, wa_result *out,
                                wa_error *err)
{
    if (!x->dims.logits_all)
        return WA_OK;
    WA_TRY(wa_dataset_load(file, "obs_kl", x, arena, &out->obs_kl, err));
    WA_TRY(wa_dataset_load(file, "obs_top1_match", x, arena, &out->obs_top1_match, err));
    WA_TRY(wa_dataset_load(file, "obs_top1_gap", x, arena, &out->obs_top1_gap, err));
    WA_TRY(
        wa_dataset_load(file, "obs_ref_next_logprob", x, arena, &out->obs_ref_next_logprob, err));
    return wa_dataset_load(file, "obs_next_logprob", x, arena, &out->obs_next_logprob, err);
}

static wa_status load_row_errors(wa_hid file, const wa_extents *x, wa_arena *arena,
                                 wa_row_errors *out, wa_error *err)
{
    const struct {
        const char *name;
        void *to;
    } sets[] = {{"row_err_p50", &out->p50},
                {"row_err_p99", &out->p99},
                {"row_err_max", &out->max},
                {"row_err_worst", &out->worst},
                {"row_err_checked", &out->checked},
                {"row_nonfinite", &out->nonfinite},
                {"row_err_format", &out->format},
                {"row_err_basis", &out->basis},
                {"row_err_rows", &out->rows},
                {"row_err_unequal", &out->unequal},
                {"row_err_unequal_error", &out->unequal_error},
                {"row_err_unequal_row", &out->unequal_row},
                {"row_err_steps", &out->steps},
                {"row_err_steps_row", &out->steps_row},
                {"row_err_ratio", &out->ratio},
                {"row_err_gain", &out->gain},
                {"row_err_row_gain", &out->row_gain},
                {"row_err_row_gain_row", &out->row_gain_row},
                {"row_err_row_ratio", &out->row_ratio},
                {"row_err_row_ratio_row", &out->row_ratio_row},
                {"row_err_expert_ratio", &out->expert_ratio},
                {"row_err_expert_ratio_row", &out->expert_ratio_row}};
    const wa_dims *dims = &x->dims;
    size_t count = dims->vindexes * WA_PAYLOAD_COUNT * dims->layers * WA_PROJECTION_COUNT;
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        WA_TRY(wa_dataset_load(file, sets[i].name, x, arena, sets[i].to, err));
    WA_TRY(wa_result_check_codes("row_err_format", out->format, count, 0, WA_FORMAT_COUNT, err));
    return wa_result_check_codes("row_err_basis", out->basis, count, 0, WA_BASIS_COUNT, err);
}

static wa_status load_expert_rows(wa_hid file, const wa_extents *x, wa_arena *arena, wa_result *out,
                                  wa_error *err)
{
    if (x->dims.choices == 0)
        return WA_OK;
    WA_TRY(wa_dataset_load(file, "expert_rows", x, arena, &out->expert_rows, err));
    WA_TRY(wa_dataset_load(file, "own_expert_rows", x, arena, &out->own_expert_rows, err));
    return wa_dataset_load(file, "expert_kernel_rows", x, arena, &out->expert_kernel_rows, err);
}

static wa_status load_labels(wa_hid file, const wa_extents *x, wa_arena *arena, const int8_t **out,
                             wa_error *err)
{
    size_t count = x->dims.cases * x->dims.layers * x->dims.prompts;
    WA_TRY(wa_dataset_load(file, "label", x, arena, out, err)); /* fits: count does not overflow */
    return wa_result_check_codes("label", *out, count, 0, WA_LABEL_COUNT, err);
}

wa_status wa_result_load(wa_hid file, const char *path, wa_arena *arena, wa_result **out,
                         wa_error *err)
{
    wa_extents extents;
    wa_result *result;
    char *copy;
    WA_TRY(wa_result_extents(file, &extents, err));
    WA_TRY(wa_arena_take(arena, 1, sizeof *result, &result, err));
    WA_TRY(wa_arena_copy(arena, path, strlen(path), &copy, err));
    result->path = copy;
    WA_TRY(wa_result_load_meta(file, &extents, arena, &result->meta, err));
    result->source = result->meta.source;
    WA_TRY(sum_costs(file, &extents, arena, result, err));
    WA_TRY(load_prompt_figures(file, &extents, arena, result, err));
    WA_TRY(load_dump(file, &extents, arena, &result->dump, err));
    WA_TRY(load_positions(file, &extents, arena, result, err));
    WA_TRY(load_row_errors(file, &extents, arena, &result->row_errors, err));
    WA_TRY(load_expert_rows(file, &extents, arena, result, err));
    WA_TRY(load_labels(file, &extents, arena, &result->label, err));
    WA_TRY(wa_dataset_load(file, "modes_changed", &extents, arena, &result->modes_changed, err));
    WA_TRY(wa_dataset_load(file, "decode_rel_l2", &extents, arena, &result->decode, err));
    WA_TRY(wa_dataset_load(file, "repeat_rel_l2", &extents, arena, &result->repeat, err));
    WA_TRY(wa_dataset_load(file, "order_rel_l2", &extents, arena, &result->order, err));
    WA_TRY(wa_dataset_load(file, "alone_rel_l2", &extents, arena, &result->alone, err));
    WA_TRY(wa_dataset_load(file, "alike_rel_l2", &extents, arena, &result->alike, err));
    WA_TRY(wa_result_access_open(file, &extents, &result->meta, arena, &result->access, err));
    *out = result;
    return WA_OK;
}

static wa_status open_file(const char *path, const char *name, bool writable, wa_arena *arena,
                           wa_result **out, wa_error *err)
{
    wa_hdf5_quiet();
    wa_hid file;
    if (writable)
        WA_TRY(wa_hdf5_open(path, true, &file, err)); /* a copy of our own, of what was checked */
    else
        WA_TRY(wa_result_file_open(path, &file, err));
    wa_status status = wa_result_load(file, name, arena, out, err);
    if (status == WA_OK)
        return WA_OK;
    wa_note(err, "in file '%s'", name);
    return wa_hdf5_close(file, status, err);
}

wa_status wa_result_open(const char *path, wa_arena *arena, wa_result **out, wa_error *err)
{
    return open_file(path, path, false, arena, out, err);
}

wa_status wa_result_close(wa_result *result, wa_status status, wa_error *err)
{
    if (result == NULL)
        return status;
    wa_hid file = wa_result_access_file(&result->access);
    if (status != WA_OK)
        wa_note(err, "in file '%s'", result->path);
    wa_result_access_end(&result->access);
    return file < 0 ? status : wa_hdf5_close(file, status, err);
}

/* --- Changing --- */

/* The file that stands at the path: open, so that no other can have its inode, until its copy takes
 * its name. */
typedef struct original {
    const char *path;
    int fd;
    char last[WA_SEAL_BYTES]; /* line, when it was copied */
    int guard;                /* of a run's parts beside it; -1 = there are none */
} original;

/* A file without a seal was copied just as well. */
static wa_status read_last_line(const original *o, char out[WA_SEAL_BYTES], wa_error *err)
{
    struct stat info;
    memset(out, 0, WA_SEAL_BYTES);
    if (fstat(o->fd, &info) != 0 ||
        (info.st_size >= WA_SEAL_BYTES &&
         pread(o->fd, out, WA_SEAL_BYTES, info.st_size - WA_SEAL_BYTES) != WA_SEAL_BYTES))
        return wa_fail(err, WA_E_IO, "cannot read '%s': %s", o->path, strerror(errno));
    return WA_OK;
}

static wa_status copy_to(original *o, const char *temporary, wa_error *err)
{
    int to;
    WA_TRY(wa_temporary_create(temporary, &to, err));
    wa_status status = wa_copy_all(o->fd, to, err);
    if (close(to) != 0 && status == WA_OK)
        status = wa_fail(err, WA_E_IO, "cannot write: %s", strerror(errno));
    if (status != WA_OK)
        return wa_note(err, "copying '%s' to '%s'", o->path, temporary);
    return read_last_line(o, o->last, err);
}

/* What will be opened for writing is what was checked. */
static wa_status check_copy(const char *temporary, const char *path, wa_error *err)
{
    wa_hid file;
    if (wa_result_file_open(temporary, &file, err) != WA_OK)
        return wa_note(err, "copied from '%s'", path);
    return wa_hdf5_close(file, WA_OK, err);
}

static wa_status check_unchanged(const original *o, wa_error *err)
{
    char last[WA_SEAL_BYTES];
    WA_TRY(read_last_line(o, last, err));
    if (!wa_file_is_at(o->path, o->fd) || memcmp(last, o->last, sizeof last) != 0)
        return wa_fail(
            err, WA_E_BUSY,
            "'%s' was replaced or changed while this was to be stored in it: it stays as "
            "it is now; try again",
            o->path);
    return WA_OK;
}

static void leave(void *context)
{
    original *o = context;
    if (o->guard >= 0)
        wa_lock_unguard(o->guard);
    o->guard = -1;
}

/* A run that computes this result anew publishes it under the guard of its parts. */
static wa_status enter(void *context, wa_error *err)
{
    original *o = context;
    char directory[WA_NAME_BYTES];
    WA_TRY(wa_parts_directory(o->path, directory, err));
    if (wa_dir_exists(directory))
        WA_TRY(wa_lock_guard(directory, &o->guard, err));
    wa_status status = check_unchanged(o, err);
    if (status != WA_OK)
        leave(o);
    return status;
}

static wa_status change_copy(original *o, const char *temporary, wa_result_changer change,
                             void *context, wa_arena *arena, wa_error *err)
{
    wa_result *result = NULL;
    bool changed = false;
    WA_TRY(copy_to(o, temporary, err));
    WA_TRY(check_copy(temporary, o->path, err));
    WA_TRY(open_file(temporary, o->path, true, arena, &result, err));
    WA_TRY(wa_result_close(result, change(context, result, &changed, err), err));
    if (!changed)
        return unlink(temporary) == 0
                   ? WA_OK
                   : wa_fail(err, WA_E_IO, "cannot remove '%s': %s", temporary, strerror(errno));
    WA_TRY(wa_seal_append(temporary, err));
    const wa_gate gate = {.enter = enter, .leave = leave, .context = o};
    return wa_file_publish(temporary, o->path, &gate, err);
}

wa_status wa_result_change(const char *path, wa_result_changer change, void *context,
                           wa_arena *arena, wa_error *err)
{
    char temporary[WA_NAME_BYTES];
    original o = {.path = path, .guard = -1};
    WA_TRY(wa_temporary_name(path, temporary, err));
    WA_TRY(wa_regular_open(path, &o.fd, err));
    wa_status status = change_copy(&o, temporary, change, context, arena, err);
    if (status != WA_OK)
        unlink(temporary);
    close(o.fd);
    return status;
}
