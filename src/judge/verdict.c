/* Verdicts: one case's figures against a bounds set, every complaint with its place. Design 7. */
#include "judge/verdict_parts.h"

#include "base/show.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *wa_verdict_name(wa_verdict_code code)
{
    static const char *const names[] = {
#define WA_VERDICT_NAME(id, code, name) [WA_VERDICT_##id] = (name),
        WA_VERDICT_LIST(WA_VERDICT_NAME)
#undef WA_VERDICT_NAME
    };
    size_t at = (size_t)code;
    return at < sizeof names / sizeof names[0] ? names[at] : "unknown";
}

size_t wa_verdict_rank(wa_verdict_code code)
{
    static const wa_verdict_code order[] = {
#define WA_VERDICT_ORDER(id, code, name) WA_VERDICT_##id,
        WA_VERDICT_LIST(WA_VERDICT_ORDER)
#undef WA_VERDICT_ORDER
    };
    size_t rank = 0;
    while (rank + 1 < WA_VERDICT_COUNT && order[rank] != code)
        rank++;
    return rank;
}

bool wa_verdict_is_success(wa_verdict_code code)
{
    return code == WA_VERDICT_PASS || code == WA_VERDICT_MEASURED || code == WA_VERDICT_UNCHECKED ||
           code == WA_VERDICT_LEFT_OUT;
}

wa_status wa_judge_complain(wa_judge *j, wa_verdict_code code, const char *format, ...)
{
    char line[WA_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (length < 0)
        return wa_fail(j->err, WA_E_INTERNAL, "format '%s' cannot be printed", format);
    assert(j->count < WA_JUDGE_REASONS);
    char *copy;
    WA_TRY(wa_arena_copy(j->arena, line, strlen(line), &copy, j->err));
    j->reasons[j->count] = copy;
    j->codes[j->count] = code;
    j->count++;
    return WA_OK;
}

bool wa_judge_is_absent(const wa_evidence *e, size_t layer)
{
    return e->expected_label[layer] == WA_LABEL_NOT_SERVED;
}

/* --- Places ----------------------------------------------------------------------------------- */

wa_status wa_judge_prompt(const wa_judge *j, size_t prompt, char **out)
{
    return wa_show_token(j->evidence->prompt_key[prompt], 60, j->arena, out, j->err);
}

/* "' x'"; logits that are no numbers have no largest one, and so no token. */
wa_status wa_judge_token(const wa_judge *j, const char *text, char **out)
{
    bool none = text == NULL || text[0] == '\0';
    return none ? wa_arena_copy(j->arena, "no token", strlen("no token"), out, j->err)
                : wa_show_token(text, 40, j->arena, out, j->err);
}

/* "layer 3, prompt 'code', position 5 (' x')" */
wa_status wa_judge_place(const wa_judge *j, wa_extreme at, char **out)
{
    const wa_evidence *e = j->evidence;
    char *prompt;
    char *token;
    WA_TRY(wa_judge_prompt(j, (size_t)e->obs_prompt[at.obs], &prompt));
    WA_TRY(wa_judge_token(j, e->token_text[at.obs], &token));
    return wa_arena_print(j->arena, out, j->err, "layer %d, prompt %s, position %d (%s)", at.layer,
                          prompt, e->obs_position[at.obs], token);
}

/* --- NOT-RUN ---------------------------------------------------------------------------------- */

static wa_status check_run(wa_judge *j)
{
    const wa_evidence *e = j->evidence;
    if (e->not_run_reason != NULL)
        return wa_judge_complain(j, WA_VERDICT_NOT_RUN, "%s", e->not_run_reason);
    if (e->summary == NULL || e->layers == 0 || e->prompts == 0)
        return wa_judge_complain(j, WA_VERDICT_NOT_RUN,
                                 "nothing to observe: %zu layers, %zu prompts", e->layers,
                                 e->prompts);
    if (e->summary->missing > 0 || e->summary->all.n_obs == 0)
        return wa_judge_complain(j, WA_VERDICT_NOT_RUN, "%lld of %lld observations are missing",
                                 (long long)e->summary->missing,
                                 (long long)(e->summary->missing + e->summary->all.n_obs));
    return WA_OK;
}

/* --- DISPATCH --------------------------------------------------------------------------------- */

static const char *label_text(int8_t code)
{
    return code >= 0 && code < WA_LABEL_COUNT ? wa_label_text((wa_label)code) : "no known label";
}

static wa_status check_dispatch(wa_judge *j)
{
    const wa_evidence *e = j->evidence;
    size_t wrong = 0;
    size_t first_layer = 0;
    size_t first_prompt = 0;
    for (size_t l = 0; l < e->layers; l++)
        for (size_t p = 0; p < e->prompts; p++) {
            int8_t seen = e->label[l * e->prompts + p];
            if (seen == e->expected_label[l] && seen != WA_LABEL_NONE)
                continue;
            if (wrong++ > 0)
                continue;
            first_layer = l;
            first_prompt = p;
        }
    if (wrong == 0)
        return WA_OK;
    char *prompt;
    WA_TRY(wa_judge_prompt(j, first_prompt, &prompt));
    return wa_judge_complain(
        j, WA_VERDICT_DISPATCH, "layer %zu, prompt %s: label '%s' seen, '%s' expected (%zu of %zu)",
        first_layer, prompt, label_text(e->label[first_layer * e->prompts + first_prompt]),
        label_text(e->expected_label[first_layer]), wrong, e->layers * e->prompts);
}

/* --- NON-FINITE ------------------------------------------------------------------------------- */

static wa_status check_finite_positions(wa_judge *j)
{
    const wa_evidence *e = j->evidence;
    if (j->rates == NULL || j->rates->n_non_finite == 0)
        return WA_OK;
    size_t obs = (size_t)j->rates->first_non_finite;
    char *prompt;
    WA_TRY(wa_judge_prompt(j, (size_t)e->obs_prompt[obs], &prompt));
    return wa_judge_complain(
        j, WA_VERDICT_NON_FINITE,
        "next-token distribution at prompt %s, position %d holds NaN or infinity (%lld "
        "of %lld positions)",
        prompt, e->obs_position[obs], (long long)j->rates->n_non_finite,
        (long long)j->rates->n_obs);
}

static wa_status check_finite(wa_judge *j)
{
    const wa_evidence *e = j->evidence;
    if (e->summary->nonfinite > 0) {
        char *place;
        WA_TRY(wa_judge_place(j, e->summary->first_nonfinite, &place));
        WA_TRY(wa_judge_complain(j, WA_VERDICT_NON_FINITE,
                                 "%lld of %lld observations hold NaN or infinity, the first at %s",
                                 (long long)e->summary->nonfinite, (long long)e->summary->all.n_obs,
                                 place));
    }
    size_t wrong = 0;
    size_t first = 0;
    for (size_t p = 0; p < e->prompts && !e->isolated; p++)
        if (!isfinite(e->prob_delta[p]) || !isfinite(e->kl[p]))
            if (wrong++ == 0)
                first = p;
    if (wrong == 0)
        return check_finite_positions(j);
    char *prompt;
    WA_TRY(wa_judge_prompt(j, first, &prompt));
    WA_TRY(wa_judge_complain(
        j, WA_VERDICT_NON_FINITE,
        "next-token distribution of prompt %s holds NaN or infinity (%zu of %zu prompts)", prompt,
        wrong, e->prompts));
    return check_finite_positions(j);
}

/* --- KERNEL ----------------------------------------------------------------------------------- */

static const char *const OWN_STREAM = ", on the case's own residual stream";

/* Figures that must be there and are not: whatever went wrong, nothing vouches for the kernel. */
static wa_status check_coverage(wa_judge *j, int64_t found, int64_t due, const char *stream)
{
    if (found >= due)
        return WA_OK;
    return wa_judge_complain(j, WA_VERDICT_KERNEL,
                             "%lld of the %lld sampled pairs have no figure%s",
                             (long long)(due - found), (long long)due, stream);
}

static wa_status check_stream(wa_judge *j, wa_extreme infinite, wa_extreme max, const char *stream)
{
    char *place;
    if (infinite.layer >= 0) {
        WA_TRY(wa_judge_place(j, infinite, &place));
        return wa_judge_complain(
            j, WA_VERDICT_KERNEL,
            "%s%s: the kernel or its oracle gives NaN or infinity on the stored numbers", place,
            stream);
    }
    double tolerance = j->evidence->kernel_tolerance;
    double limit = tolerance > 0.0 ? tolerance : j->bounds->kernel;
    if (max.layer < 0 || max.value <= limit)
        return WA_OK;
    char passing[WA_SHOW_NUMBER];
    wa_show_at_least(max.value, 3, passing);
    WA_TRY(wa_judge_place(j, max, &place));
    return wa_judge_complain(
        j, WA_VERDICT_KERNEL,
        "%s%s: kernel differs from its oracle by %.3g, above %.3g; %s: %s would pass", place,
        stream, max.value, limit, tolerance > 0.0 ? "kernel_tolerance" : "kernel", passing);
}

/* A server that answers one question in two ways computes no function. */
static wa_status check_way(wa_judge *j, const double *way, double limit, const char *what)
{
    const wa_evidence *e = j->evidence;
    size_t worst = 0, count = 0;
    for (size_t i = 0; way != NULL && i < e->layers * e->prompts; i++) {
        if (isnan(way[i]) || way[i] <= limit)
            continue;
        if (count++ == 0 || way[i] > way[worst])
            worst = i;
    }
    if (count == 0)
        return WA_OK;
    char *prompt;
    WA_TRY(wa_judge_prompt(j, worst % e->prompts, &prompt));
    return wa_judge_complain(j, WA_VERDICT_KERNEL,
                             "layer %zu, prompt %s: %s by %.3g, above %.3g (%zu requests)",
                             worst / e->prompts, prompt, what, way[worst], limit, count);
}

static wa_status check_kernel(wa_judge *j)
{
    const wa_evidence *e = j->evidence;
    const wa_case_summary *s = e->summary;
    WA_TRY(check_stream(j, s->kernel_nan, s->max_kernel, ""));
    WA_TRY(check_stream(j, s->kernel_own_nan, s->max_kernel_own, OWN_STREAM));
    WA_TRY(check_way(j, e->repeat, 0.0, "answers to the same request differ"));
    WA_TRY(check_way(j, e->alike,
                     e->kernel_tolerance > 0.0 ? e->kernel_tolerance : j->bounds->kernel,
                     "answers of its servers differ"));
    WA_TRY(check_coverage(j, s->n_kernel, e->kernel_due, ""));
    return check_coverage(j, s->n_kernel_own, e->kernel_own_due, OWN_STREAM);
}

/* --- ROUTING ---------------------------------------------------------------------------------- */

/* Other experts than the reference's on the same input, by more than a tie. */
static wa_status check_routing(wa_judge *j)
{
    const wa_case_summary *s = j->evidence->summary;
    char *place;
    char passing[WA_SHOW_NUMBER];
    if (j->evidence->layer_experts == NULL || s->routing.max_gap.layer < 0 ||
        s->routing.max_gap.value <= j->bounds->router_margin)
        return WA_OK;
    wa_show_at_least(s->routing.max_gap.value, 3, passing);
    WA_TRY(wa_judge_place(j, s->routing.max_gap, &place));
    return wa_judge_complain(
        j, WA_VERDICT_ROUTING,
        "%s: another expert, whose logit in the reference is %.3g lower, above %.3g "
        "(%lld pairs with other experts); "
        "router_margin: %s would pass",
        place, s->routing.max_gap.value, j->bounds->router_margin, (long long)s->routing.flips,
        passing);
}

/* --- UNCHECKED -------------------------------------------------------------------------------- */

static wa_status check_kernel_was_seen(wa_judge *j)
{
    const wa_case_summary *s = j->evidence->summary;
    if (s->max_kernel.layer >= 0 || s->kernel_nan.layer >= 0)
        return WA_OK;
    return wa_judge_complain(j, WA_VERDICT_UNCHECKED, "its kernel met no oracle at any position");
}

/* What no server has, nobody has audited. */
static wa_status check_every_layer_was_served(wa_judge *j)
{
    const wa_evidence *e = j->evidence;
    bool *absent, any = false;
    char *text;
    WA_TRY(wa_arena_take(j->arena, e->layers, sizeof *absent, &absent, j->err));
    for (size_t l = 0; l < e->layers; l++) {
        absent[l] = wa_judge_is_absent(e, l);
        any = any || absent[l];
    }
    if (!any)
        return WA_OK;
    WA_TRY(wa_show_layers(absent, e->layers, j->arena, &text, j->err));
    return wa_judge_complain(j, WA_VERDICT_UNCHECKED,
                             "no server has %s of %zu; there the model's own FFN stands in", text,
                             e->layers);
}

/* --- All together ----------------------------------------------------------------------------- */

static const wa_encoding_worst NO_ENCODING = {
    .layer = -1, .projection = -1, .row = -1, .value = NAN, .limit = NAN, .excess = NAN};
static wa_status check_all(wa_judge *j)
{
    WA_TRY(check_run(j));
    if (j->count > 0)
        return WA_OK; /* there is nothing else to look at */
    WA_TRY(wa_judge_take_rates(j));
    WA_TRY(check_dispatch(j));
    WA_TRY(check_finite(j));
    WA_TRY(wa_judge_encoding(j));
    WA_TRY(check_kernel(j));
    WA_TRY(check_routing(j));
    WA_TRY(wa_judge_bounds(j));
    WA_TRY(check_kernel_was_seen(j));
    WA_TRY(wa_judge_encoding_was_seen(j));
    return check_every_layer_was_served(j);
}

wa_status wa_verdict_judge(const wa_bounds *bounds, const wa_evidence *evidence, wa_arena *arena,
                           wa_verdict *out, wa_error *err)
{
    assert((size_t)evidence->bucket < WA_BUCKET_COUNT);
    wa_judge j = {.bounds = bounds,
                  .bound = &bounds->bucket[evidence->bucket],
                  .evidence = evidence,
                  .encoding = NO_ENCODING,
                  .arena = arena,
                  .err = err};
    WA_TRY(wa_arena_take(arena, WA_JUDGE_REASONS, sizeof *j.reasons, &j.reasons, err));
    WA_TRY(wa_arena_take(arena, WA_JUDGE_REASONS, sizeof *j.codes, &j.codes, err));
    WA_TRY(check_all(&j));
    wa_verdict_code success = wa_judge_is_bounded(&j) ? WA_VERDICT_PASS : WA_VERDICT_MEASURED;
    *out = (wa_verdict){.code = j.count > 0 ? j.codes[0] : success,
                        .reasons = j.reasons,
                        .reason_codes = j.codes,
                        .reason_count = j.count,
                        .encoding = j.encoding,
                        .rates = j.rates};
    return WA_OK;
}
