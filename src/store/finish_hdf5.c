/* Summaries and verdicts of a result, from its stored observations; and the end of its assembly.
 * Serial, rank 0. */
#include "store/assemble.h"

#include "judge/reference.h"
#include "store/capture_file.h"
#include "store/parts.h"
#include "store/result.h"

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct writer {
    wa_hid file;
    const wa_extents *extents;
    const wa_result *result;
    wa_arena *arena;
} writer;

static wa_status add(const writer *w, const char *prefix, const char *name, const char *suffix,
                     const void *values, wa_error *err)
{
    char full[96];
    snprintf(full, sizeof full, "%s%s%s", prefix, name, suffix);
    return wa_dataset_add(w->file, full, w->extents, values, err);
}

/* --- Extremes --- */

static const struct {
    const char *name;
    size_t offset;
} EXTREMES[] = {
    {"min_cos", offsetof(wa_extremes, min_cos)},
    {"max_rel_l2", offsetof(wa_extremes, max_rel_l2)},
    {"max_l2", offsetof(wa_extremes, max_l2)},
    {"max_max_abs", offsetof(wa_extremes, max_max_abs)},
    {"max_eta", offsetof(wa_extremes, max_eta)},
};
enum { EXTREME_COUNT = sizeof EXTREMES / sizeof EXTREMES[0] };

/* One extreme of `count` sets, as value and place. */
static wa_status add_extreme(const writer *w, const char *prefix, const char *name,
                             const wa_extreme *const *extremes, size_t count, bool with_layer,
                             wa_error *err)
{
    double *value;
    int32_t *layer, *obs;
    WA_TRY(wa_arena_take(w->arena, count, sizeof *value, &value, err));
    WA_TRY(wa_arena_take(w->arena, count, sizeof *layer, &layer, err));
    WA_TRY(wa_arena_take(w->arena, count, sizeof *obs, &obs, err));
    for (size_t i = 0; i < count; i++) {
        value[i] = extremes[i]->value;
        layer[i] = extremes[i]->layer;
        obs[i] = extremes[i]->obs;
    }
    WA_TRY(add(w, prefix, name, "", value, err));
    if (with_layer)
        WA_TRY(add(w, prefix, name, "_at_layer", layer, err));
    return add(w, prefix, name, "_at_obs", obs, err);
}

/* All extremes and the count of `count` sets. */
static wa_status add_extremes(const writer *w, const char *prefix, const wa_extremes *const *sets,
                              size_t count, bool with_layer, wa_error *err)
{
    int64_t *n;
    const wa_extreme **list;
    WA_TRY(wa_arena_take(w->arena, count, sizeof *n, &n, err));
    WA_TRY(wa_arena_take(w->arena, count, sizeof *list, &list, err));
    for (size_t i = 0; i < count; i++)
        n[i] = sets[i]->n_obs;
    WA_TRY(add(w, prefix, "n_obs", "", n, err));
    for (size_t e = 0; e < EXTREME_COUNT; e++) {
        for (size_t i = 0; i < count; i++)
            list[i] =
                (const wa_extreme *)(const void *)((const char *)sets[i] + EXTREMES[e].offset);
        WA_TRY(add_extreme(w, prefix, EXTREMES[e].name, list, count, with_layer, err));
    }
    return WA_OK;
}

static wa_status add_case_extremes(const writer *w, wa_error *err)
{
    static const struct {
        const char *prefix;
        size_t offset;
    } parts[] = {{"", offsetof(wa_case_summary, all)},
                 {"first_", offsetof(wa_case_summary, first)},
                 {"rest_", offsetof(wa_case_summary, rest)}};
    size_t cases = w->extents->dims.cases;
    const wa_extremes **sets;
    WA_TRY(wa_arena_take(w->arena, cases, sizeof *sets, &sets, err));
    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
        for (size_t c = 0; c < cases; c++)
            sets[c] = (const wa_extremes *)(const void *)((const char *)&w->result->summary[c] +
                                                          parts[p].offset);
        WA_TRY(add_extremes(w, parts[p].prefix, sets, cases, true, err));
    }
    return WA_OK;
}

static wa_status add_layer_extremes(const writer *w, wa_error *err)
{
    size_t cases = w->extents->dims.cases, layers = w->extents->dims.layers;
    const wa_extremes **sets;
    WA_TRY(wa_arena_take(w->arena, cases * layers, sizeof *sets, &sets, err));
    for (size_t i = 0; i < cases * layers; i++)
        sets[i] = &w->result->summary[i / layers].layer[i % layers];
    return add_extremes(w, "layer_", sets, cases * layers, false, err);
}

static wa_status add_other_extremes(const writer *w, wa_error *err)
{
    size_t cases = w->extents->dims.cases;
    const wa_extreme **kernel, **own, **drift;
    WA_TRY(wa_arena_take(w->arena, cases, sizeof *kernel, &kernel, err));
    WA_TRY(wa_arena_take(w->arena, cases, sizeof *own, &own, err));
    WA_TRY(wa_arena_take(w->arena, cases, sizeof *drift, &drift, err));
    for (size_t c = 0; c < cases; c++) {
        kernel[c] = &w->result->summary[c].max_kernel;
        own[c] = &w->result->summary[c].max_kernel_own;
        drift[c] = &w->result->summary[c].max_drift;
    }
    WA_TRY(add_extreme(w, "", "max_kernel_rel_l2", kernel, cases, true, err));
    WA_TRY(add_extreme(w, "", "max_kernel_own_rel_l2", own, cases, true, err));
    return add_extreme(w, "", "max_drift", drift, cases, true, err);
}

/* --- Scalars of a case --- */

/* A member of each case's summary or bound at `offset`, 8 bytes wide, as a dataset. */
static wa_status add_member(const writer *w, const char *name, const void *first, size_t stride,
                            size_t offset, wa_error *err)
{
    size_t cases = w->extents->dims.cases;
    uint64_t *values;
    WA_TRY(wa_arena_take(w->arena, cases, sizeof *values, &values, err));
    for (size_t c = 0; c < cases; c++)
        memcpy(&values[c], (const char *)first + c * stride + offset, sizeof *values);
    return add(w, "", name, "", values, err);
}

static wa_status add_scalars(const writer *w, wa_error *err)
{
    static const struct {
        const char *name;
        size_t offset;
    } members[] = {{"n_obs_distinct", offsetof(wa_case_summary, n_obs_distinct)},
                   {"n_non_finite", offsetof(wa_case_summary, nonfinite)},
                   {"n_missing", offsetof(wa_case_summary, missing)},
                   {"n_kernel", offsetof(wa_case_summary, n_kernel)},
                   {"n_kernel_own", offsetof(wa_case_summary, n_kernel_own)},
                   {"mean_rel_l2", offsetof(wa_case_summary, mean_rel_l2)},
                   {"p50_rel_l2", offsetof(wa_case_summary, p50_rel_l2)},
                   {"p95_rel_l2", offsetof(wa_case_summary, p95_rel_l2)},
                   {"p99_rel_l2", offsetof(wa_case_summary, p99_rel_l2)}};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        WA_TRY(add_member(w, members[i].name, w->result->summary, sizeof *w->result->summary,
                          members[i].offset, err));
    return WA_OK;
}

/* The bounds as applied: those of the case's bucket, NaN where the bucket has no row. */
static wa_status add_bounds(const writer *w, const wa_bounds *bounds, wa_error *err)
{
    static const struct {
        const char *name;
        size_t offset;
    } members[] = {{"bound_cos", offsetof(wa_bound, cos)},
                   {"bound_rel_l2", offsetof(wa_bound, rel_l2)},
                   {"bound_dp", offsetof(wa_bound, dp)},
                   {"bound_near_tie", offsetof(wa_bound, near_tie)},
                   {"bound_mean_kl", offsetof(wa_bound, mean_kl)},
                   {"bound_p99_kl", offsetof(wa_bound, p99_kl)},
                   {"bound_flip_rate", offsetof(wa_bound, flip_rate)},
                   {"bound_ppl_ratio", offsetof(wa_bound, ppl_ratio)}};
    size_t cases = w->extents->dims.cases;
    wa_bound *applied;
    WA_TRY(wa_arena_take(w->arena, cases, sizeof *applied, &applied, err));
    for (size_t c = 0; c < cases; c++) {
        applied[c] = bounds->bucket[w->result->meta.cases[c].bucket];
        if (!applied[c].present)
            applied[c] = wa_bound_none();
    }
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (wa_layout_exists(wa_layout_find(members[i].name), w->extents))
            WA_TRY(add_member(w, members[i].name, applied, sizeof *applied, members[i].offset, err));
    return WA_OK;
}

static wa_status join_reasons(const wa_verdict *verdict, wa_arena *arena, const char **out,
                              wa_error *err)
{
    size_t room = 1, used = 0;
    char *text;
    for (size_t i = 0; i < verdict->reason_count; i++)
        room += strlen(verdict->reasons[i]) + 1;
    WA_TRY(wa_arena_take(arena, room, 1, &text, err));
    for (size_t i = 0; i < verdict->reason_count; i++)
        used += (size_t)snprintf(text + used, room - used, "%s%s", i == 0 ? "" : "\n",
                                 verdict->reasons[i]);
    return wa_text_escape(text, arena, out, err);
}

/* --- Rates */

static wa_status add_rate(const writer *w, const char *name, const wa_rates *rates, size_t offset,
                          wa_error *err)
{
    static const struct {
        const char *suffix;
        size_t offset;
    } parts[] = {{"", offsetof(wa_rate, value)},
                 {"_err", offsetof(wa_rate, error)},
                 {"_upper", offsetof(wa_rate, upper)}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char full[64];
        snprintf(full, sizeof full, "%s%s", name, parts[i].suffix);
        WA_TRY(add_member(w, full, rates, sizeof *rates, offset + parts[i].offset, err));
    }
    return WA_OK;
}

static wa_status add_rates(const writer *w, const wa_rates *rates, wa_error *err)
{
    static const struct {
        const char *name;
        size_t offset;
    } members[] = {{"mean_kl", offsetof(wa_rates, mean_kl)},
                   {"p99_kl", offsetof(wa_rates, p99_kl)},
                   {"flip_rate", offsetof(wa_rates, flip_rate)},
                   {"far_flip_rate", offsetof(wa_rates, far_flip_rate)},
                   {"mean_next_logprob_delta", offsetof(wa_rates, mean_next_logprob_delta)},
                   {"ppl_ratio", offsetof(wa_rates, ppl_ratio)}};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        WA_TRY(add_rate(w, members[i].name, rates, members[i].offset, err));
    WA_TRY(add_member(w, "flip_margin", rates, sizeof *rates, offsetof(wa_rates, flip_margin), err));
    WA_TRY(add_member(w, "n_next", rates, sizeof *rates, offsetof(wa_rates, n_next), err));
    WA_TRY(add_member(w, "n_distinct", rates, sizeof *rates, offsetof(wa_rates, n_distinct), err));
    return add_member(w, "n_clusters", rates, sizeof *rates, offsetof(wa_rates, n_clusters), err);
}

static wa_status add_vindex_verdicts(const writer *w, const wa_verdict *verdicts, wa_error *err)
{
    const wa_result_meta *meta = &w->result->meta;
    size_t vindexes = meta->dims.vindexes;
    int8_t *codes;
    const char **reasons;
    WA_TRY(wa_arena_take(w->arena, vindexes, 1, &codes, err));
    WA_TRY(wa_arena_take(w->arena, vindexes, sizeof *reasons, &reasons, err));
    for (size_t v = 0; v < vindexes; v++) {
        wa_vindex_verdict verdict = wa_result_vindex_verdict(w->result, verdicts, v);
        codes[v] = (int8_t)verdict.code;
        WA_TRY(wa_text_escape(verdict.reason, w->arena, &reasons[v], err));
    }
    WA_TRY(add(w, "", "vindex_verdict", "", codes, err));
    return add(w, "", "vindex_reason", "", reasons, err);
}

static wa_status add_verdicts(const writer *w, const wa_bounds *bounds, wa_error *err)
{
    size_t cases = w->extents->dims.cases;
    int8_t *codes;
    const char **reasons;
    wa_rates *rates;
    wa_verdict *verdicts;
    WA_TRY(wa_arena_take(w->arena, cases, sizeof *verdicts, &verdicts, err));
    WA_TRY(wa_arena_take(w->arena, cases, 1, &codes, err));
    WA_TRY(wa_arena_take(w->arena, cases, sizeof *reasons, &reasons, err));
    WA_TRY(wa_arena_take(w->arena, cases, sizeof *rates, &rates, err));
    for (size_t c = 0; c < cases; c++) {
        wa_verdict *verdict = &verdicts[c];
        WA_TRY(wa_verdict_judge(bounds, &w->result->evidence[c], w->arena, verdict, err));
        codes[c] = (int8_t)verdict->code;
        rates[c] = verdict->rates != NULL ? *verdict->rates : wa_rates_none();
        WA_TRY(join_reasons(verdict, w->arena, &reasons[c], err));
    }
    WA_TRY(add(w, "", "verdict", "", codes, err));
    WA_TRY(add(w, "", "fail_reasons", "", reasons, err));
    WA_TRY(add_vindex_verdicts(w, verdicts, err));
    return w->extents->dims.logits_all ? add_rates(w, rates, err) : WA_OK;
}

/* --- The reference --- */

static wa_status add_reference(const writer *w, wa_error *err)
{
    const wa_result *r = w->result;
    wa_perplexity perplexity = wa_perplexity_of(r->ref_nll, r->ref_nll_positions, w->extents->dims.prompts);
    const char *warning;
    WA_TRY(wa_perplexity_warning(&perplexity, w->arena, &warning, err));
    WA_TRY(wa_attribute_write_f64(w->file, "reference_perplexity", perplexity.value, err));
    WA_TRY(wa_attribute_write_i64(w->file, "reference_perplexity_positions", perplexity.positions, err));
    const char *word = r->drift.drifts ? WA_REFERENCE_WORD : r->drift.prompts > 0 ? "AGREES" : "";
    const char *text = r->drift_text == NULL ? "" : r->drift_text;
    WA_TRY(wa_text_escape(text, w->arena, &text, err));
    WA_TRY(wa_attribute_write_text(w->file, "reference_verdict", word, err));
    WA_TRY(wa_attribute_write_text(w->file, "reference_agreement", text, err));
    return wa_attribute_write_text(w->file, "reference_warning", warning == NULL ? "" : warning, err);
}

wa_status wa_assembly_summaries(wa_hid file, const wa_extents *extents, const wa_result *result,
                                const wa_bounds *bounds, wa_arena *arena, wa_error *err)
{
    writer w = {.file = file, .extents = extents, .result = result, .arena = arena};
    WA_TRY(add_verdicts(&w, bounds, err));
    WA_TRY(add_scalars(&w, err));
    WA_TRY(add_case_extremes(&w, err));
    WA_TRY(add_other_extremes(&w, err));
    WA_TRY(add_layer_extremes(&w, err));
    WA_TRY(add_reference(&w, err));
    return add_bounds(&w, bounds, err);
}

/* --- The end --- */

static wa_status finish(wa_hid file, const char *result_path, const wa_result_meta *meta,
                        const wa_bounds *bounds, const wa_assembly_caller *caller, wa_arena *arena,
                        wa_error *err)
{
    char directory[WA_NAME_BYTES];
    wa_result *result;
    wa_extents x = wa_assembly_extents(meta);
    WA_TRY(wa_parts_directory(result_path, directory, err));
    WA_TRY(wa_assembly_fold(file, result_path, meta, caller, arena, err));
    WA_TRY(wa_assembly_texts(file, &x, caller, arena, err));
    caller->beat(caller->context);
    WA_TRY(wa_result_load(file, result_path, arena, &result, err));
    caller->beat(caller->context);
    WA_TRY(wa_assembly_summaries(file, &x, result, bounds, arena, err));
    WA_TRY(wa_assembly_captures(file, result_path, meta, arena, err));
    WA_TRY(wa_assembly_runs(file, directory, arena, err));
    /* Last: without this attribute a file is no result. */
    return wa_attribute_write_i64(file, "walkaudit_format", WA_LAYOUT_VERSION, err);
}

wa_status wa_assembly_finish(const char *temporary, const char *result_path,
                             const wa_result_meta *meta, const wa_bounds *bounds,
                             const wa_assembly_caller *caller, wa_error *err)
{
    wa_hid file;
    wa_arena *work;
    WA_TRY(wa_arena_open("assembly", 0, &work, err));
    wa_status status = wa_hdf5_open(temporary, true, &file, err);
    if (status == WA_OK) {
        status = finish(file, result_path, meta, bounds, caller, work, err);
        if (status == WA_OK && H5Fflush(file, H5F_SCOPE_GLOBAL) < 0)
            status = wa_hdf5_failed(err, WA_E_IO, "cannot write", temporary);
        status = wa_hdf5_close(file, status, err);
    }
    wa_arena_close(work);
    return status;
}
