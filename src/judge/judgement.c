/* A judgement: observations folded, evidence held against bounds. Reads and writes through the
 * result's access only. */
#include "judge/judgement.h"

#include "judge/evidence.h"
#include "judge/reference.h"

#include <stdio.h>
#include <string.h>

/* --- Folding --- */

static void add(void *context, size_t layer, const wa_summary_rows *rows)
{
    wa_summary_add(context, layer, rows);
}

static void add_again(void *context, size_t layer, const wa_summary_rows *rows)
{
    (void)layer;
    wa_summary_add_again(context, rows);
}

static void add_bytes(void *context, const void *bytes, size_t size)
{
    wa_summary_digest(context, bytes, size);
}

static bool share_first_token(const wa_result_meta *meta)
{
    int32_t first = -1;
    for (size_t o = 0; o < meta->dims.rows; o++) {
        if (meta->obs_position[o] != 0)
            continue;
        if (first >= 0 && meta->token_id[o] != first)
            return false;
        first = meta->token_id[o];
    }
    return true;
}

/* `work` holds the summary, gone before the next case; the per-layer extremes move to the
 * judgement's arena. */
static wa_status fold(const wa_result *result, size_t which, wa_arena *work, wa_arena *arena,
                      wa_case_summary *out, wa_error *err)
{
    const wa_dims *dims = &result->meta.dims;
    const wa_result_access *access = &result->access;
    wa_summary *summary;
    WA_TRY(wa_summary_open(work, dims->layers, dims->rows, !result->meta.cases[which].isolated,
                           &summary, err));
    WA_TRY(access->rows(access->context, which, false, add, summary, err));
    while (wa_summary_again(summary))
        WA_TRY(access->rows(access->context, which, true, add_again, summary, err));
    WA_TRY(access->outputs(access->context, which, add_bytes, summary, err));
    wa_summary_finish(summary, share_first_token(&result->meta), out);
    wa_extremes *layer;
    WA_TRY(wa_arena_take(arena, dims->layers, sizeof *layer, &layer, err));
    if (dims->layers > 0)
        memcpy(layer, out->layer, dims->layers * sizeof *layer);
    out->layer = layer;
    return WA_OK;
}

static wa_status fold_all(const wa_result *result, wa_arena *arena, wa_judgement *judgement,
                          wa_error *err)
{
    wa_arena *work;
    WA_TRY(wa_arena_open("summary", 0, &work, err));
    wa_status status = WA_OK;
    for (size_t c = 0; status == WA_OK && c < judgement->case_count; c++) {
        wa_mark mark = wa_arena_mark(work);
        status = fold(result, c, work, arena, &judgement->cases[c].summary, err);
        wa_arena_release(work, mark);
    }
    wa_arena_close(work);
    return status;
}

/* --- Deciding --- */

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
    *out = text;
    return WA_OK;
}

static wa_status decide(const wa_bounds *bounds, wa_arena *arena, wa_case_judgement *out,
                        wa_error *err)
{
    out->bound = bounds->bucket[out->evidence.bucket];
    if (!out->bound.present)
        out->bound = wa_bound_none();
    WA_TRY(wa_verdict_judge(bounds, &out->evidence, arena, &out->verdict, err));
    out->rates = out->verdict.rates != NULL ? *out->verdict.rates : wa_rates_none();
    out->code = (int8_t)out->verdict.code;
    return join_reasons(&out->verdict, arena, &out->reasons, err);
}

static wa_status decide_vindexes(wa_judgement *judgement, wa_arena *arena, bool *good,
                                 wa_error *err)
{
    const wa_result_meta *meta = judgement->meta;
    wa_verdict *verdicts;
    WA_TRY(wa_arena_take(arena, judgement->case_count, sizeof *verdicts, &verdicts, err));
    WA_TRY(wa_arena_take(arena, meta->dims.vindexes, sizeof *judgement->vindexes,
                         &judgement->vindexes, err));
    for (size_t c = 0; c < judgement->case_count; c++)
        verdicts[c] = judgement->cases[c].verdict;
    for (size_t v = 0; v < meta->dims.vindexes; v++) {
        wa_vindex_facts facts = {.lack = meta->vindex_lack[v],
                                 .left_out = meta->vindex_left_out[v] != 0};
        wa_vindex_verdict verdict =
            wa_vindex_judge((int)v, &facts, meta->cases, verdicts, judgement->case_count);
        judgement->vindexes[v] =
            (wa_vindex_judgement){.code = (int8_t)verdict.code, .reason = verdict.reason};
        *good = *good && wa_verdict_is_success(verdict.code);
    }
    return WA_OK;
}

wa_status wa_judgement_decide(wa_judgement *judgement, wa_arena *arena, wa_error *err)
{
    bool good = judgement->case_count > 0; /* an audit without a case fails */
    for (size_t c = 0; c < judgement->case_count; c++) {
        WA_TRY(decide(judgement->bounds, arena, &judgement->cases[c], err));
        good = good && wa_verdict_is_success(judgement->cases[c].verdict.code);
    }
    WA_TRY(decide_vindexes(judgement, arena, &good, err));
    judgement->exit_code = good && !judgement->drift.drifts ? 0 : wa_status_exit_code(WA_E_VERDICT);
    return WA_OK;
}

/* The reference beside its dump, where it has one. */
static wa_status find_drift(const wa_result *result, wa_arena *arena, wa_judgement *judgement,
                            wa_error *err)
{
    const wa_result_meta *meta = &result->meta;
    judgement->drift = wa_drift_find(&result->dump);
    if (judgement->drift.prompts == 0)
        return WA_OK;
    return wa_drift_text(&judgement->drift, &result->dump, meta->reference_dump,
                         meta->prompt_key[judgement->drift.prompt], arena, &judgement->drift_text,
                         err);
}

static wa_status open_judgement(const wa_result *result, const wa_bounds *bounds, wa_arena *arena,
                                wa_judgement **out, wa_error *err)
{
    wa_judgement *judgement;
    size_t cases = result->meta.dims.cases;
    WA_TRY(wa_arena_take(arena, 1, sizeof *judgement, &judgement, err));
    *judgement = (wa_judgement){.bounds = bounds,
                                .meta = &result->meta,
                                .case_count = cases,
                                .layer_count = result->meta.dims.layers};
    WA_TRY(wa_arena_take(arena, cases, sizeof *judgement->cases, &judgement->cases, err));
    WA_TRY(find_drift(result, arena, judgement, err));
    for (size_t c = 0; c < cases; c++)
        WA_TRY(wa_evidence_build(result, c, arena, &judgement->cases[c], err));
    *out = judgement;
    return WA_OK;
}

wa_status wa_judge(const wa_result *result, const wa_bounds *bounds, wa_arena *arena,
                   wa_judgement **out, wa_error *err)
{
    wa_judgement *judgement;
    WA_TRY(open_judgement(result, bounds, arena, &judgement, err));
    WA_TRY(fold_all(result, arena, judgement, err));
    WA_TRY(wa_judgement_decide(judgement, arena, err));
    *out = judgement;
    return WA_OK;
}

/* --- Storing --- */

static bool is_stored(const wa_figure *figure, const wa_result *result)
{
    return figure->row.origin != WA_ORIGIN_RATE || result->meta.dims.logits_all;
}

/* The word of the reference, as it is stored. */
static const char *reference_word(const wa_judgement *judgement)
{
    if (judgement->drift.drifts)
        return WA_REFERENCE_WORD;
    return judgement->drift.prompts > 0 ? "AGREES" : "";
}

static wa_status store_reference(const wa_judgement *judgement, const wa_result *r, wa_arena *arena,
                                 wa_error *err)
{
    const wa_result_access *a = &r->access;
    wa_perplexity perplexity =
        wa_perplexity_of(r->ref_nll, r->ref_nll_positions, r->meta.dims.prompts);
    const char *warning;
    WA_TRY(wa_perplexity_warning(&perplexity, arena, &warning, err));
    WA_TRY(a->write_f64(a->context, "reference_perplexity", perplexity.value, err));
    WA_TRY(a->write_i64(a->context, "reference_perplexity_positions", perplexity.positions, err));
    WA_TRY(a->write_text(a->context, "reference_verdict", reference_word(judgement), err));
    WA_TRY(a->write_text(a->context, "reference_agreement",
                         judgement->drift_text == NULL ? "" : judgement->drift_text, err));
    return a->write_text(a->context, "reference_warning", warning == NULL ? "" : warning, err);
}

wa_status wa_judgement_store(const wa_judgement *judgement, wa_result *result, wa_arena *arena,
                             wa_error *err)
{
    const wa_result_access *a = &result->access;
    char *text;
    WA_TRY(wa_bounds_store(judgement->bounds, arena, &text, err));
    for (size_t i = 0; wa_figure_at(i) != NULL; i++) {
        const wa_figure *figure = wa_figure_at(i);
        wa_mark mark = wa_arena_mark(arena);
        void *values;
        if (!is_stored(figure, result))
            continue;
        WA_TRY(wa_arena_take(arena, wa_figure_count(figure, judgement),
                             wa_layout_size(&figure->row), &values, err));
        wa_figure_gather(figure, judgement, values);
        WA_TRY(a->write(a->context, &figure->row, values, err));
        wa_arena_release(arena, mark);
    }
    WA_TRY(store_reference(judgement, result, arena, err));
    WA_TRY(a->write_text(a->context, "bounds_name", judgement->bounds->name, err));
    return a->write_text(a->context, "bounds_text", text, err);
}

/* --- Loading --- */

wa_status wa_judgement_bounds(const wa_result *result, wa_arena *arena, wa_bounds **out,
                              wa_error *err)
{
    const wa_result_access *a = &result->access;
    const char *text;
    WA_TRY(a->read_text(a->context, "bounds_text", arena, &text, err));
    return wa_bounds_restore(result->meta.bounds_name, text, arena, out, err);
}

static wa_status load_figures(const wa_result *result, wa_arena *arena, wa_judgement *judgement,
                              wa_error *err)
{
    const wa_result_access *a = &result->access;
    for (size_t c = 0; c < judgement->case_count; c++) {
        wa_case_summary *summary = &judgement->cases[c].summary;
        WA_TRY(wa_arena_take(arena, judgement->layer_count, sizeof *summary->layer, &summary->layer,
                             err));
    }
    for (size_t i = 0; wa_figure_at(i) != NULL; i++) {
        const void *values;
        if (!is_stored(wa_figure_at(i), result))
            continue;
        WA_TRY(a->read(a->context, &wa_figure_at(i)->row, arena, &values, err));
        wa_figure_scatter(wa_figure_at(i), values, judgement);
    }
    return WA_OK;
}

/* Places are used to index: they must lie in the result. */
static wa_status check_places(const wa_result *result, const wa_case_judgement *it, wa_error *err)
{
    const wa_case_summary *s = &it->summary;
    const wa_dims *dims = &result->meta.dims;
    const wa_extreme *places[] = {&s->first_nonfinite, &s->kernel_nan,       &s->kernel_own_nan,
                                  &s->max_kernel,      &s->max_kernel_own,   &s->max_drift,
                                  &s->routing.max_gap, &s->routing.max_same, &s->routing.max_other,
                                  &s->all.min_cos,     &s->all.max_rel_l2,   &s->all.max_eta,
                                  &s->all.max_l2,      &s->all.max_max_abs};
    bool good =
        it->rates.first_non_finite >= -1 && it->rates.first_non_finite < (int64_t)dims->rows;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        good = good && (places[i]->layer < 0
                            ? places[i]->obs < 0
                            : (size_t)places[i]->layer < dims->layers && places[i]->obs >= 0 &&
                                  (size_t)places[i]->obs < dims->rows);
    if (!good)
        return wa_fail(err, WA_E_FORMAT, "case '%s': a stored place lies outside the result",
                       it->evidence.case_name);
    return WA_OK;
}

/* A verdict that was stored, or what the stored figures give. */
typedef struct stored {
    const char *kind, *name;
    int8_t code;
    const char *reasons;
} stored;

static stored case_stored(const wa_case_judgement *it)
{
    return (stored){
        .kind = "case", .name = it->evidence.case_name, .code = it->code, .reasons = it->reasons};
}

static stored vindex_stored(const wa_judgement *judgement, size_t v)
{
    const wa_vindex_judgement *it = &judgement->vindexes[v];
    return (stored){.kind = "vindex",
                    .name = judgement->meta->vindex_name[v],
                    .code = it->code,
                    .reasons = it->reason};
}

static wa_status check_stored(stored before, stored now, wa_error *err)
{
    if (before.code == now.code && strcmp(before.reasons, now.reasons) == 0)
        return WA_OK;
    return wa_fail(err, WA_E_FORMAT,
                   "%s '%.200s': the stored verdict %s is not what the stored figures and bounds "
                   "give, %s%s%.200s; "
                   "'walkaudit verdict --store' judges anew",
                   now.kind, now.name, wa_verdict_name((wa_verdict_code)before.code),
                   wa_verdict_name((wa_verdict_code)now.code), now.reasons[0] == '\0' ? "" : ": ",
                   now.reasons);
}

static wa_status check_reference(const wa_result *result, const wa_judgement *judgement,
                                 wa_arena *arena, wa_error *err)
{
    const char *before;
    WA_TRY(
        result->access.read_text(result->access.context, "reference_verdict", arena, &before, err));
    if (strcmp(before, reference_word(judgement)) == 0)
        return WA_OK;
    return wa_fail(
        err, WA_E_FORMAT,
        "the stored verdict of the reference, '%.40s', is not what its figures give, '%s'", before,
        reference_word(judgement));
}

static wa_status load_all(const wa_result *result, wa_arena *arena, wa_judgement *judgement,
                          wa_error *err)
{
    WA_TRY(wa_arena_take(arena, judgement->meta->dims.vindexes, sizeof *judgement->vindexes,
                         &judgement->vindexes, err));
    WA_TRY(load_figures(result, arena, judgement, err));
    for (size_t c = 0; c < judgement->case_count; c++) {
        wa_case_judgement *it = &judgement->cases[c];
        WA_TRY(check_places(result, it, err));
        if (it->evidence.rate_rows != NULL)
            it->evidence.rates = &it->rates;
    }
    return WA_OK;
}

wa_status wa_judgement_load(const wa_result *result, wa_arena *arena, wa_judgement **out,
                            wa_error *err)
{
    wa_bounds *bounds;
    wa_judgement *judgement;
    stored *before;
    WA_TRY(wa_judgement_bounds(result, arena, &bounds, err));
    WA_TRY(open_judgement(result, bounds, arena, &judgement, err));
    WA_TRY(load_all(result, arena, judgement, err));
    size_t cases = judgement->case_count, vindexes = judgement->meta->dims.vindexes;
    WA_TRY(wa_arena_take(arena, cases + vindexes, sizeof *before, &before, err));
    for (size_t c = 0; c < cases; c++)
        before[c] = case_stored(&judgement->cases[c]);
    for (size_t v = 0; v < vindexes; v++)
        before[cases + v] = vindex_stored(judgement, v);
    WA_TRY(wa_judgement_decide(judgement, arena, err));
    for (size_t c = 0; c < cases; c++)
        WA_TRY(check_stored(before[c], case_stored(&judgement->cases[c]), err));
    for (size_t v = 0; v < vindexes; v++)
        WA_TRY(check_stored(before[cases + v], vindex_stored(judgement, v), err));
    WA_TRY(check_reference(result, judgement, arena, err));
    *out = judgement;
    return WA_OK;
}
