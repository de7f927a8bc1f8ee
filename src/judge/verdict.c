/* Verdicts: one case's figures against a bounds set, every complaint with its place. Design 7. */
#include "judge/verdict.h"

#include "base/show.h"

#include <assert.h>
#include <float.h>
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

/* At most: one line each for NOT-RUN, DISPATCH, ENCODING, TOP-1 and DELTA-P, two for BOUND,
 * three for NON-FINITE and UNCHECKED, four for RATE, six for KERNEL. */
enum { MAX_REASONS = 24, PLACE_BYTES = 400 };

/* A judgement in the making. The checks run in order of severity, so the first reason is the
 * verdict. */
typedef struct judge {
    const wa_bounds *bounds;
    const wa_bound *bound; /* of the case's bucket */
    const wa_evidence *evidence;
    wa_arena *arena;
    const char **reasons;
    wa_verdict_code *codes;
    size_t count;
    wa_rates *rates; /* NULL with logits: last */
    wa_encoding_worst encoding;
    wa_error *err;
} judge;

WA_PRINTF(3, 4)
static wa_status complain(judge *j, wa_verdict_code code, const char *format, ...)
{
    char line[WA_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (length < 0)
        return wa_fail(j->err, WA_E_INTERNAL, "format '%s' cannot be printed", format);
    assert(j->count < MAX_REASONS);
    char *copy;
    WA_TRY(wa_arena_copy(j->arena, line, strlen(line), &copy, j->err));
    j->reasons[j->count] = copy;
    j->codes[j->count] = code;
    j->count++;
    return WA_OK;
}

/* --- Places ----------------------------------------------------------------------------------- */

static wa_status name_prompt(const judge *j, size_t prompt, char **out)
{
    return wa_show_token(j->evidence->prompt_key[prompt], 60, j->arena, out, j->err);
}

/* "' x'"; logits that are no numbers have no largest one, and so no token. */
static wa_status name_token(const judge *j, const char *text, char **out)
{
    bool none = text == NULL || text[0] == '\0';
    return none ? wa_arena_copy(j->arena, "no token", strlen("no token"), out, j->err)
                : wa_show_token(text, 40, j->arena, out, j->err);
}

/* "layer 3, prompt 'code', position 5 (' x')" */
static wa_status name_place(const judge *j, wa_extreme at, char **out)
{
    const wa_evidence *e = j->evidence;
    char *prompt;
    char *token;
    WA_TRY(name_prompt(j, (size_t)e->obs_prompt[at.obs], &prompt));
    WA_TRY(name_token(j, e->token_text[at.obs], &token));
    return wa_arena_print(j->arena, out, j->err, "layer %d, prompt %s, position %d (%s)", at.layer,
                          prompt, e->obs_position[at.obs], token);
}

/* --- NOT-RUN ---------------------------------------------------------------------------------- */

static wa_status check_run(judge *j)
{
    const wa_evidence *e = j->evidence;
    if (e->not_run_reason != NULL)
        return complain(j, WA_VERDICT_NOT_RUN, "%s", e->not_run_reason);
    if (e->summary == NULL || e->layers == 0 || e->prompts == 0)
        return complain(j, WA_VERDICT_NOT_RUN, "nothing to observe: %zu layers, %zu prompts",
                        e->layers, e->prompts);
    if (e->summary->missing > 0 || e->summary->all.n_obs == 0)
        return complain(j, WA_VERDICT_NOT_RUN, "%lld of %lld observations are missing",
                        (long long)e->summary->missing,
                        (long long)(e->summary->missing + e->summary->all.n_obs));
    return WA_OK;
}

/* --- DISPATCH --------------------------------------------------------------------------------- */

static const char *label_text(int8_t code)
{
    return code >= 0 && code < WA_LABEL_COUNT ? wa_label_text((wa_label)code) : "no known label";
}

static wa_status check_dispatch(judge *j)
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
    WA_TRY(name_prompt(j, first_prompt, &prompt));
    return complain(
        j, WA_VERDICT_DISPATCH, "layer %zu, prompt %s: label '%s' seen, '%s' expected (%zu of %zu)",
        first_layer, prompt, label_text(e->label[first_layer * e->prompts + first_prompt]),
        label_text(e->expected_label[first_layer]), wrong, e->layers * e->prompts);
}

/* --- NON-FINITE ------------------------------------------------------------------------------- */

static wa_status check_finite_positions(judge *j)
{
    const wa_evidence *e = j->evidence;
    if (j->rates == NULL || j->rates->n_non_finite == 0)
        return WA_OK;
    size_t obs = (size_t)j->rates->first_non_finite;
    char *prompt;
    WA_TRY(name_prompt(j, (size_t)e->obs_prompt[obs], &prompt));
    return complain(j, WA_VERDICT_NON_FINITE,
                    "next-token distribution at prompt %s, position %d holds NaN or infinity (%lld "
                    "of %lld positions)",
                    prompt, e->obs_position[obs], (long long)j->rates->n_non_finite,
                    (long long)j->rates->n_obs);
}

static wa_status check_finite(judge *j)
{
    const wa_evidence *e = j->evidence;
    if (e->summary->nonfinite > 0) {
        char *place;
        WA_TRY(name_place(j, e->summary->first_nonfinite, &place));
        WA_TRY(complain(j, WA_VERDICT_NON_FINITE,
                        "%lld of %lld observations hold NaN or infinity, the first at %s",
                        (long long)e->summary->nonfinite, (long long)e->summary->all.n_obs, place));
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
    WA_TRY(name_prompt(j, first, &prompt));
    WA_TRY(
        complain(j, WA_VERDICT_NON_FINITE,
                 "next-token distribution of prompt %s holds NaN or infinity (%zu of %zu prompts)",
                 prompt, wrong, e->prompts));
    return check_finite_positions(j);
}

/* --- ENCODING --------------------------------------------------------------------------------- */

static const wa_encoding_worst NO_ENCODING = {
    .layer = -1, .projection = -1, .row = -1, .value = NAN, .limit = NAN, .excess = NAN};

/* A place of what was compared: which of a layer's figures. */
typedef struct figure_at {
    size_t layer, which; /* projection, or WA_PROJECTION_COUNT + place among the others */
} figure_at;

static size_t figure_count(const wa_evidence *e)
{
    return e->layers *
           (size_t)(WA_PROJECTION_COUNT + (e->encoding_beside != NULL ? WA_BESIDE_COUNT : 0));
}

static figure_at place_of(const wa_evidence *e, size_t i)
{
    size_t each = figure_count(e) / e->layers;
    return (figure_at){.layer = i / each, .which = i % each};
}

/* NULL: nothing was compared at all. */
static const wa_encoding_figure *figure_of(const wa_evidence *e, figure_at at)
{
    if (at.which < WA_PROJECTION_COUNT)
        return e->encoding == NULL ? NULL : &e->encoding[at.layer * WA_PROJECTION_COUNT + at.which];
    return &e->encoding_beside[at.layer * WA_BESIDE_COUNT + at.which - WA_PROJECTION_COUNT];
}

static int32_t experts_of(const wa_evidence *e, size_t layer)
{
    return e->layer_experts == NULL ? 0 : e->layer_experts[layer];
}

static wa_encoding_worst worst_of(figure_at at, const wa_encoding_finding *found)
{
    return (wa_encoding_worst){.rule = (int8_t)found->rule,
                               .statistic = (int8_t)found->statistic,
                               .layer = (int32_t)at.layer,
                               .projection = (int32_t)at.which,
                               .row = found->row,
                               .value = found->value,
                               .limit = found->limit,
                               .excess = found->excess};
}

static wa_status complain_encoding(judge *j, figure_at at, const wa_encoding_finding *finding,
                                   size_t broken)
{
    const wa_encoding_figure *f = figure_of(j->evidence, at);
    char *what;
    char row[WA_ENCODING_PLACE_BYTES];
    WA_TRY(wa_encoding_explain(f, finding, j->arena, &what, j->err));
    wa_encoding_name_row(at.which, experts_of(j->evidence, at.layer), f->rows.rows, finding->row,
                         row);
    return complain(j, WA_VERDICT_ENCODING, "layer %zu, %s: %s (%s in %s; projections broken: %zu)",
                    at.layer, row, what, wa_format_get(f->format)->name, f->file, broken);
}

/* The worst of what the case reads. */
static wa_status check_encoding(judge *j)
{
    const wa_evidence *e = j->evidence;
    size_t broken = 0;
    figure_at at = {0};
    wa_encoding_finding worst = {.excess = -1.0};
    for (size_t i = 0; i < figure_count(e); i++) {
        const wa_encoding_figure *figure = figure_of(e, place_of(e, i));
        if (figure == NULL)
            continue;
        wa_encoding_finding found = wa_encoding_judge(figure, j->bounds->encoder);
        broken += found.faithful ? 0 : 1;
        if (figure->checked && found.excess > worst.excess) {
            worst = found;
            at = place_of(e, i);
        }
    }
    if (worst.excess >= 0.0)
        j->encoding = worst_of(at, &worst);
    return broken == 0 ? WA_OK : complain_encoding(j, at, &worst, broken);
}

/* --- KERNEL ----------------------------------------------------------------------------------- */

static const char *const OWN_STREAM = ", on the case's own residual stream";

/* Figures that must be there and are not: whatever went wrong, nothing vouches for the kernel. */
static wa_status check_coverage(judge *j, int64_t found, int64_t due, const char *stream)
{
    if (found >= due)
        return WA_OK;
    return complain(j, WA_VERDICT_KERNEL, "%lld of the %lld sampled pairs have no figure%s",
                    (long long)(due - found), (long long)due, stream);
}

static wa_status check_stream(judge *j, wa_extreme infinite, wa_extreme max, const char *stream)
{
    char *place;
    if (infinite.layer >= 0) {
        WA_TRY(name_place(j, infinite, &place));
        return complain(
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
    WA_TRY(name_place(j, max, &place));
    return complain(j, WA_VERDICT_KERNEL,
                    "%s%s: kernel differs from its oracle by %.3g, above %.3g; %s: %s would pass",
                    place, stream, max.value, limit,
                    tolerance > 0.0 ? "kernel_tolerance" : "kernel", passing);
}

/* A server that answers one question in two ways computes no function. */
static wa_status check_way(judge *j, const double *way, double limit, const char *what)
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
    WA_TRY(name_prompt(j, worst % e->prompts, &prompt));
    return complain(j, WA_VERDICT_KERNEL,
                    "layer %zu, prompt %s: %s by %.3g, above %.3g (%zu requests)",
                    worst / e->prompts, prompt, what, way[worst], limit, count);
}

static wa_status check_kernel(judge *j)
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
static wa_status check_routing(judge *j)
{
    const wa_case_summary *s = j->evidence->summary;
    char *place;
    char passing[WA_SHOW_NUMBER];
    if (j->evidence->layer_experts == NULL || s->routing.max_gap.layer < 0 ||
        s->routing.max_gap.value <= j->bounds->router_margin)
        return WA_OK;
    wa_show_at_least(s->routing.max_gap.value, 3, passing);
    WA_TRY(name_place(j, s->routing.max_gap, &place));
    return complain(j, WA_VERDICT_ROUTING,
                    "%s: another expert, whose logit in the reference is %.3g lower, above %.3g "
                    "(%lld pairs with other experts); "
                    "router_margin: %s would pass",
                    place, s->routing.max_gap.value, j->bounds->router_margin,
                    (long long)s->routing.flips, passing);
}

/* --- BOUND ------------------------------------------------------------------------------------ */

static wa_status check_cos(judge *j)
{
    wa_extreme worst = j->evidence->summary->all.min_cos;
    if (isnan(j->bound->cos) || worst.value >= j->bound->cos)
        return WA_OK;
    if (worst.layer < 0)
        return complain(j, WA_VERDICT_BOUND, "no observation has a cosine to compare with %.9g",
                        j->bound->cos);
    char passing[WA_SHOW_NUMBER];
    char *place;
    wa_show_at_most(worst.value, 6, passing);
    WA_TRY(name_place(j, worst, &place));
    return complain(j, WA_VERDICT_BOUND, "cos %.9g below %.9g at %s; cos: %s would pass",
                    worst.value, j->bound->cos, place, passing);
}

static wa_status check_rel_l2(judge *j)
{
    wa_extreme worst = j->evidence->summary->all.max_rel_l2;
    if (isnan(j->bound->rel_l2) || worst.value <= j->bound->rel_l2)
        return WA_OK;
    if (worst.layer < 0)
        return complain(j, WA_VERDICT_BOUND, "no observation has a rel_L2 to compare with %.3g",
                        j->bound->rel_l2);
    char passing[WA_SHOW_NUMBER];
    char *place;
    wa_show_at_least(worst.value, 3, passing);
    WA_TRY(name_place(j, worst, &place));
    return complain(j, WA_VERDICT_BOUND, "rel_L2 %.4g above %.4g at %s; rel_l2: %s would pass",
                    worst.value, j->bound->rel_l2, place, passing);
}

/* --- TOP-1 ------------------------------------------------------------------------------------ */

/* Another first token is excused only when it is one that the reference itself hardly ranks below
 * its own; that two others are close there excuses nothing. near_tie 0 excuses none. */
static bool is_flip(const judge *j, size_t prompt)
{
    double near_tie = j->bound->near_tie;
    bool excused = near_tie > 0.0 && j->evidence->top1_gap[prompt] <= near_tie;
    return j->evidence->top1_match[prompt] != 1 && !excused;
}

static wa_status check_top1(judge *j)
{
    const wa_evidence *e = j->evidence;
    if (isnan(j->bound->near_tie))
        return WA_OK;
    size_t flips = 0;
    size_t worst = 0;
    for (size_t p = 0; p < e->prompts; p++) {
        if (!is_flip(j, p))
            continue;
        if (flips++ == 0 || !(e->top1_gap[p] <= e->top1_gap[worst])) /* a NaN is the worst */
            worst = p;
    }
    if (flips == 0)
        return WA_OK;
    char *prompt;
    char *own;
    char *ref;
    char passing[WA_SHOW_NUMBER];
    WA_TRY(name_prompt(j, worst, &prompt));
    WA_TRY(name_token(j, e->top1_text[worst], &own));
    WA_TRY(name_token(j, e->ref_top1_text[worst], &ref));
    if (isnan(e->top1_gap[worst]))
        return complain(
            j, WA_VERDICT_TOP1,
            "prompt %s: %s where the reference says %s, and its logit there is no number "
            "(%zu of %zu prompts)",
            prompt, own, ref, flips, e->prompts);
    wa_show_at_least(fmax(e->top1_gap[worst], DBL_MIN), 3, passing); /* 0 would excuse nothing */
    return complain(
        j, WA_VERDICT_TOP1,
        "prompt %s: %s where the reference says %s, whose logit there is %.3g higher (%zu of %zu "
        "prompts); near_tie: %s would pass",
        prompt, own, ref, e->top1_gap[worst], flips, e->prompts, passing);
}

/* --- DELTA-P ---------------------------------------------------------------------------------- */

static bool holds_at(const wa_bound *bound, const char *key)
{
    if (bound->dp_prompt_count == 0)
        return true;
    for (size_t i = 0; i < bound->dp_prompt_count; i++)
        if (strcmp(bound->dp_prompts[i], key) == 0)
            return true;
    return false;
}

static wa_status check_delta_p(judge *j)
{
    const wa_evidence *e = j->evidence;
    if (isnan(j->bound->dp))
        return WA_OK;
    size_t broken = 0;
    size_t worst = 0;
    for (size_t p = 0; p < e->prompts; p++) {
        double change = fabs(e->prob_delta[p]);
        if (!holds_at(j->bound, e->prompt_key[p]) || change <= j->bound->dp)
            continue;
        if (broken++ == 0 || !(change <= fabs(e->prob_delta[worst]))) /* a NaN is the worst */
            worst = p;
    }
    if (broken == 0)
        return WA_OK;
    char *prompt;
    WA_TRY(name_prompt(j, worst, &prompt));
    if (!isfinite(e->prob_delta[worst]))
        return complain(j, WA_VERDICT_DELTA_P,
                        "prompt %s: dP is no number (%zu of %zu prompts above %.3g)", prompt,
                        broken, e->prompts, j->bound->dp);
    char passing[WA_SHOW_NUMBER];
    wa_show_at_least(fabs(e->prob_delta[worst]), 3, passing);
    return complain(j, WA_VERDICT_DELTA_P,
                    "prompt %s: |dP| %.4g above %.4g (%zu of %zu prompts); dp: %s would pass",
                    prompt, fabs(e->prob_delta[worst]), j->bound->dp, broken, e->prompts, passing);
}

/* --- RATE ------------------------------------------------------------------------------------- */

static wa_status check_rate(judge *j, const char *name, double bound, const wa_rate *rate)
{
    char passing[WA_SHOW_NUMBER];
    if (isnan(bound) || (rate != NULL && rate->upper <= bound))
        return WA_OK;
    if (rate == NULL)
        return complain(
            j, WA_VERDICT_RATE,
            "%s cannot be judged: this result has logits at last positions only; run the "
            "job with logits: all",
            name);
    if (isnan(rate->upper))
        return complain(j, WA_VERDICT_RATE, "%s is no number", name);
    if (isinf(rate->upper) && j->rates->n_clusters < WA_RATE_CLUSTERS)
        return complain(
            j, WA_VERDICT_RATE,
            "%s %.4g has no upper 95 %% limit: fewer than %d independent prompts, %lld of %lld",
            name, rate->value, WA_RATE_CLUSTERS, (long long)j->rates->n_clusters,
            (long long)j->rates->n_prompts);
    if (isinf(rate->upper))
        return complain(
            j, WA_VERDICT_RATE,
            "%s %.4g has no upper 95 %% limit: %lld distinct positions of %lld independent "
            "prompts are too few",
            name, rate->value, (long long)j->rates->n_distinct, (long long)j->rates->n_clusters);
    wa_show_at_least(rate->upper, 3, passing);
    return complain(j, WA_VERDICT_RATE,
                    "%s %.4g, upper 95 %% limit %.4g above %.4g (%lld distinct positions of %lld "
                    "independent prompts); "
                    "%s: %s would pass",
                    name, rate->value, rate->upper, bound, (long long)j->rates->n_distinct,
                    (long long)j->rates->n_clusters, name, passing);
}

static wa_status check_rates(judge *j)
{
    const wa_bound *b = j->bound;
    const wa_rates *r = j->rates;
    const wa_rate *flips = NULL;
    if (r != NULL)
        flips = isnan(b->near_tie) ? &r->flip_rate : &r->far_flip_rate;
    WA_TRY(check_rate(j, "mean_kl", b->mean_kl, r == NULL ? NULL : &r->mean_kl));
    WA_TRY(check_rate(j, "p99_kl", b->p99_kl, r == NULL ? NULL : &r->p99_kl));
    WA_TRY(check_rate(j, "flip_rate", b->flip_rate, flips));
    return check_rate(j, "ppl_ratio", b->ppl_ratio, r == NULL ? NULL : &r->ppl_ratio);
}

/* --- UNCHECKED -------------------------------------------------------------------------------- */

static wa_status check_kernel_was_seen(judge *j)
{
    const wa_case_summary *s = j->evidence->summary;
    if (s->max_kernel.layer >= 0 || s->kernel_nan.layer >= 0)
        return WA_OK;
    return complain(j, WA_VERDICT_UNCHECKED, "its kernel met no oracle at any position");
}

static bool is_absent(const wa_evidence *e, size_t layer)
{
    return e->expected_label[layer] == WA_LABEL_NOT_SERVED;
}

/* Must it have been compared? */
static bool is_due(const wa_evidence *e, figure_at at)
{
    bool experts = experts_of(e, at.layer) > 0;
    if (is_absent(e, at.layer))
        return false;
    if (at.which >= WA_PROJECTION_COUNT) {
        wa_due due = e->due_beside[at.which - WA_PROJECTION_COUNT];
        return due == WA_DUE_ALWAYS || (due == WA_DUE_WITH_EXPERTS && experts);
    }
    return e->reads[at.which] && (experts || !e->reads_experts_alone);
}

/* Every payload that the case reads, at every layer; or it may hold another model's rows. */
static wa_status check_encoding_was_seen(judge *j)
{
    const wa_evidence *e = j->evidence;
    size_t read = 0;
    size_t unseen = 0;
    figure_at first = {0};
    for (size_t i = 0; i < figure_count(e); i++) {
        figure_at at = place_of(e, i);
        const wa_encoding_figure *figure = figure_of(e, at);
        if (!is_due(e, at))
            continue;
        read++;
        if (figure != NULL && figure->checked)
            continue;
        if (unseen++ == 0)
            first = at;
    }
    if (unseen == 0)
        return WA_OK;
    char name[WA_ENCODING_PLACE_BYTES];
    wa_encoding_name_row(first.which, 0, 0, -1, name);
    return complain(j, WA_VERDICT_UNCHECKED,
                    "its stored rows were not compared with the model's: layer %zu, %s (%zu of %zu "
                    "that it reads)",
                    first.layer, name, unseen, read);
}

/* What no server has, nobody has audited. */
static wa_status check_every_layer_was_served(judge *j)
{
    const wa_evidence *e = j->evidence;
    bool *absent, any = false;
    char *text;
    WA_TRY(wa_arena_take(j->arena, e->layers, sizeof *absent, &absent, j->err));
    for (size_t l = 0; l < e->layers; l++) {
        absent[l] = is_absent(e, l);
        any = any || absent[l];
    }
    if (!any)
        return WA_OK;
    WA_TRY(wa_show_layers(absent, e->layers, j->arena, &text, j->err));
    return complain(j, WA_VERDICT_UNCHECKED,
                    "no server has %s of %zu; there the model's own FFN stands in", text,
                    e->layers);
}

static wa_status take_rates(judge *j)
{
    double margin =
        j->bound->present && !isnan(j->bound->near_tie) ? j->bound->near_tie : WA_FLIP_MARGIN;
    if (j->evidence->rate_rows == NULL)
        return WA_OK;
    WA_TRY(wa_arena_take(j->arena, 1, sizeof *j->rates, &j->rates, j->err));
    if (j->evidence->rates != NULL) {
        *j->rates = *j->evidence->rates;
        return WA_OK;
    }
    return wa_rates_build(j->evidence->rate_rows, margin, j->arena, j->rates, j->err);
}

/* --- All together ----------------------------------------------------------------------------- */

static wa_status check_bounds(judge *j)
{
    if (!j->bound->present)
        return WA_OK;
    WA_TRY(check_cos(j));
    WA_TRY(check_rel_l2(j));
    if (j->evidence->isolated)
        return WA_OK; /* its outputs never reached any logits */
    WA_TRY(check_top1(j));
    WA_TRY(check_delta_p(j));
    return check_rates(j);
}

static wa_status check_all(judge *j)
{
    WA_TRY(check_run(j));
    if (j->count > 0)
        return WA_OK; /* there is nothing else to look at */
    WA_TRY(take_rates(j));
    WA_TRY(check_dispatch(j));
    WA_TRY(check_finite(j));
    WA_TRY(check_encoding(j));
    WA_TRY(check_kernel(j));
    WA_TRY(check_routing(j));
    WA_TRY(check_bounds(j));
    WA_TRY(check_kernel_was_seen(j));
    WA_TRY(check_encoding_was_seen(j));
    return check_every_layer_was_served(j);
}

/* Was anything of this case held against its bucket's row? Else there is nothing that it could have
 * passed. */
static bool is_bounded(const judge *j)
{
    const wa_bound *b = j->bound;
    if (!b->present)
        return false;
    if (!isnan(b->cos) || !isnan(b->rel_l2))
        return true;
    if (j->evidence->isolated)
        return false;
    if (!isnan(b->near_tie) || !isnan(b->mean_kl) || !isnan(b->p99_kl) || !isnan(b->flip_rate) ||
        !isnan(b->ppl_ratio))
        return true;
    for (size_t p = 0; !isnan(b->dp) && p < j->evidence->prompts; p++)
        if (holds_at(b, j->evidence->prompt_key[p]))
            return true;
    return false;
}

wa_status wa_verdict_judge(const wa_bounds *bounds, const wa_evidence *evidence, wa_arena *arena,
                           wa_verdict *out, wa_error *err)
{
    assert((size_t)evidence->bucket < WA_BUCKET_COUNT);
    judge j = {.bounds = bounds,
               .bound = &bounds->bucket[evidence->bucket],
               .evidence = evidence,
               .encoding = NO_ENCODING,
               .arena = arena,
               .err = err};
    WA_TRY(wa_arena_take(arena, MAX_REASONS, sizeof *j.reasons, &j.reasons, err));
    WA_TRY(wa_arena_take(arena, MAX_REASONS, sizeof *j.codes, &j.codes, err));
    WA_TRY(check_all(&j));
    wa_verdict_code success = is_bounded(&j) ? WA_VERDICT_PASS : WA_VERDICT_MEASURED;
    *out = (wa_verdict){.code = j.count > 0 ? j.codes[0] : success,
                        .reasons = j.reasons,
                        .reason_codes = j.codes,
                        .reason_count = j.count,
                        .encoding = j.encoding,
                        .rates = j.rates};
    return WA_OK;
}
