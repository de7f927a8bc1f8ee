/* Opening a finished result: checked, read and summarised. */
#include "store/result.h"

#include <string.h>

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

static wa_status load_dump(wa_hid file, const wa_extents *x, wa_arena *arena, wa_result *out, wa_error *err)
{
    wa_drift_figures *f = &out->dump;
    f->layers = x->dims.layers;
    f->prompts = x->dims.prompts;
    WA_TRY(wa_dataset_load(file, "dump_x_rel_l2", x, arena, &f->x, err));
    WA_TRY(wa_dataset_load(file, "dump_x_position", x, arena, &f->x_at, err));
    WA_TRY(wa_dataset_load(file, "dump_y_rel_l2", x, arena, &f->y, err));
    WA_TRY(wa_dataset_load(file, "dump_y_position", x, arena, &f->y_at, err));
    WA_TRY(wa_dataset_load(file, "dump_logits_rel_l2", x, arena, &f->logits, err));
    WA_TRY(wa_dataset_load(file, "dump_logits_position", x, arena, &f->logits_at, err));
    out->drift = wa_drift_find(f);
    if (out->drift.prompts == 0)
        return WA_OK;
    return wa_drift_text(&out->drift, f, out->meta.reference_dump, out->meta.prompt_key[out->drift.prompt], arena,
                         &out->drift_text, err);
}

/* Every position of every case, with logits: all. */
static wa_status load_rate_rows(wa_hid file, const wa_extents *x, wa_arena *arena, wa_result *out,
                                wa_error *err)
{
    wa_rate_rows all = {.obs = x->dims.rows, .obs_prompt = out->meta.obs_prompt, .token_id = out->meta.token_id};
    wa_rate_rows *rows;
    if (!x->dims.logits_all)
        return WA_OK;
    WA_TRY(wa_dataset_load(file, "obs_kl", x, arena, &all.kl, err));
    WA_TRY(wa_dataset_load(file, "obs_top1_match", x, arena, &all.top1_match, err));
    WA_TRY(wa_dataset_load(file, "obs_top1_gap", x, arena, &all.top1_gap, err));
    WA_TRY(wa_dataset_load(file, "obs_ref_next_logprob", x, arena, &all.ref_next_logprob, err));
    WA_TRY(wa_dataset_load(file, "obs_next_logprob", x, arena, &all.next_logprob, err));
    WA_TRY(wa_arena_take(arena, x->dims.cases, sizeof *rows, &rows, err));
    for (size_t c = 0; c < x->dims.cases; c++) {
        rows[c] = all;
        rows[c].kl += c * all.obs;
        rows[c].top1_match += c * all.obs;
        rows[c].top1_gap += c * all.obs;
        rows[c].next_logprob += c * all.obs;
    }
    out->rate_rows = rows;
    return WA_OK;
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
    WA_TRY(load_dump(file, &extents, arena, result, err));
    WA_TRY(load_rate_rows(file, &extents, arena, result, err));
    WA_TRY(wa_result_load_cases(file, &extents, arena, result, err));
    *out = result;
    return WA_OK;
}

wa_status wa_result_open(const char *path, wa_arena *arena, wa_result **out, wa_error *err)
{
    wa_hdf5_quiet();
    wa_hid file;
    WA_TRY(wa_hdf5_open(path, false, &file, err));
    wa_status status = wa_result_check_version(file, err);
    if (status == WA_OK)
        status = wa_result_load(file, path, arena, out, err);
    if (status != WA_OK)
        wa_note(err, "in file '%s'", path);
    return wa_hdf5_close(file, status, err);
}
