/* What a verdict holds against the bounds of the case's bucket: BOUND, TOP-1, DELTA-P, RATE. */
#include "judge/verdict_parts.h"

#include "base/show.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* --- BOUND ------------------------------------------------------------------------------------ */

static wa_status check_cos(wa_judge *j)
{
    wa_extreme worst = j->evidence->summary->all.min_cos;
    if (isnan(j->bound->cos) || worst.value >= j->bound->cos)
        return WA_OK;
    if (worst.layer < 0)
        return wa_judge_complain(j, WA_VERDICT_BOUND,
                                 "no observation has a cosine to compare with %.9g", j->bound->cos);
    char passing[WA_SHOW_NUMBER];
    char *place;
    wa_show_at_most(worst.value, 6, passing);
    WA_TRY(wa_judge_place(j, worst, &place));
    return wa_judge_complain(j, WA_VERDICT_BOUND, "cos %.9g below %.9g at %s; cos: %s would pass",
                             worst.value, j->bound->cos, place, passing);
}

static wa_status check_rel_l2(wa_judge *j)
{
    wa_extreme worst = j->evidence->summary->all.max_rel_l2;
    if (isnan(j->bound->rel_l2) || worst.value <= j->bound->rel_l2)
        return WA_OK;
    if (worst.layer < 0)
        return wa_judge_complain(j, WA_VERDICT_BOUND,
                                 "no observation has a rel_L2 to compare with %.3g",
                                 j->bound->rel_l2);
    char passing[WA_SHOW_NUMBER];
    char *place;
    wa_show_at_least(worst.value, 3, passing);
    WA_TRY(wa_judge_place(j, worst, &place));
    return wa_judge_complain(j, WA_VERDICT_BOUND,
                             "rel_L2 %.4g above %.4g at %s; rel_l2: %s would pass", worst.value,
                             j->bound->rel_l2, place, passing);
}

/* --- TOP-1 ------------------------------------------------------------------------------------ */

/* Another first token is excused only when it is one that the reference itself hardly ranks below
 * its own; that two others are close there excuses nothing. near_tie 0 excuses none. */
static bool is_flip(const wa_judge *j, size_t prompt)
{
    double near_tie = j->bound->near_tie;
    bool excused = near_tie > 0.0 && j->evidence->top1_gap[prompt] <= near_tie;
    return j->evidence->top1_match[prompt] != 1 && !excused;
}

static wa_status check_top1(wa_judge *j)
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
    WA_TRY(wa_judge_prompt(j, worst, &prompt));
    WA_TRY(wa_judge_token(j, e->top1_text[worst], &own));
    WA_TRY(wa_judge_token(j, e->ref_top1_text[worst], &ref));
    if (isnan(e->top1_gap[worst]))
        return wa_judge_complain(
            j, WA_VERDICT_TOP1,
            "prompt %s: %s where the reference says %s, and its logit there is no number "
            "(%zu of %zu prompts)",
            prompt, own, ref, flips, e->prompts);
    wa_show_at_least(fmax(e->top1_gap[worst], DBL_MIN), 3, passing); /* 0 would excuse nothing */
    return wa_judge_complain(
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

static wa_status check_delta_p(wa_judge *j)
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
    WA_TRY(wa_judge_prompt(j, worst, &prompt));
    if (!isfinite(e->prob_delta[worst]))
        return wa_judge_complain(j, WA_VERDICT_DELTA_P,
                                 "prompt %s: dP is no number (%zu of %zu prompts above %.3g)",
                                 prompt, broken, e->prompts, j->bound->dp);
    char passing[WA_SHOW_NUMBER];
    wa_show_at_least(fabs(e->prob_delta[worst]), 3, passing);
    return wa_judge_complain(
        j, WA_VERDICT_DELTA_P,
        "prompt %s: |dP| %.4g above %.4g (%zu of %zu prompts); dp: %s would pass", prompt,
        fabs(e->prob_delta[worst]), j->bound->dp, broken, e->prompts, passing);
}

/* --- RATE ------------------------------------------------------------------------------------- */

static wa_status check_rate(wa_judge *j, const char *name, double bound, const wa_rate *rate)
{
    char passing[WA_SHOW_NUMBER];
    if (isnan(bound) || (rate != NULL && rate->upper <= bound))
        return WA_OK;
    if (rate == NULL)
        return wa_judge_complain(
            j, WA_VERDICT_RATE,
            "%s cannot be judged: this result has logits at last positions only; run the "
            "job with logits: all",
            name);
    if (isnan(rate->upper))
        return wa_judge_complain(j, WA_VERDICT_RATE, "%s is no number", name);
    if (isinf(rate->upper) && j->rates->n_clusters < WA_RATE_CLUSTERS)
        return wa_judge_complain(
            j, WA_VERDICT_RATE,
            "%s %.4g has no upper 95 %% limit: fewer than %d independent prompts, %lld of %lld",
            name, rate->value, WA_RATE_CLUSTERS, (long long)j->rates->n_clusters,
            (long long)j->rates->n_prompts);
    if (isinf(rate->upper))
        return wa_judge_complain(
            j, WA_VERDICT_RATE,
            "%s %.4g has no upper 95 %% limit: %lld distinct positions of %lld independent "
            "prompts are too few",
            name, rate->value, (long long)j->rates->n_distinct, (long long)j->rates->n_clusters);
    wa_show_at_least(rate->upper, 3, passing);
    return wa_judge_complain(
        j, WA_VERDICT_RATE,
        "%s %.4g, upper 95 %% limit %.4g above %.4g (%lld distinct positions of %lld "
        "independent prompts); "
        "%s: %s would pass",
        name, rate->value, rate->upper, bound, (long long)j->rates->n_distinct,
        (long long)j->rates->n_clusters, name, passing);
}

static wa_status check_rates(wa_judge *j)
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

wa_status wa_judge_take_rates(wa_judge *j)
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

wa_status wa_judge_bounds(wa_judge *j)
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

bool wa_judge_is_bounded(const wa_judge *j)
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
