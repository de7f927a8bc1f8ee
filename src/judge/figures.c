/* The table of all figures of a judgement: what each is called, its shape, unit and meaning, and
 * where it lies in memory. */
#include "judge/judgement.h"

#include <string.h>

#define AT(member_) offsetof(wa_case_judgement, member_)
#define FIGURE(name_, axes_, type_, origin_, unit_, text_, offset_)                                \
    {.row = {.name = name_,                                                                        \
             .axes = axes_,                                                                        \
             .type = WA_LAYOUT_##type_,                                                            \
             .origin = WA_ORIGIN_##origin_,                                                        \
             .unit = unit_,                                                                        \
             .long_name = text_},                                                                  \
     .offset = offset_},
#define PLACE(name_, axes_, origin_, text_, offset_)                                               \
    {.row = {.name = name_,                                                                        \
             .axes = axes_,                                                                        \
             .type = WA_LAYOUT_I32,                                                                \
             .is_index = true,                                                                     \
             .origin = WA_ORIGIN_##origin_,                                                        \
             .unit = "1",                                                                          \
             .long_name = text_},                                                                  \
     .offset = offset_},

/* A value and the two indices of its place. */
#define EXTREME(name_, unit_, text_, member_)                                                      \
    FIGURE(name_, "C", F64, SUMMARY, unit_, text_, AT(member_.value))                              \
    PLACE(name_ "_at_layer", "C", SUMMARY, "layer of the " text_, AT(member_.layer))               \
    PLACE(name_ "_at_obs", "C", SUMMARY, "observation of the " text_, AT(member_.obs))
#define EXTREMES(prefix_, where_, member_)                                                         \
    FIGURE(prefix_ "n_obs", "C", I64, SUMMARY, "1", "observations, " where_, AT(member_.n_obs))    \
    EXTREME(prefix_ "min_cos", "1", "least cosine, " where_, member_.min_cos)                      \
    EXTREME(prefix_ "max_rel_l2", "1", "largest relative L2 distance, " where_,                    \
            member_.max_rel_l2)                                                                    \
    EXTREME(prefix_ "max_l2", "activation", "largest L2 distance, " where_, member_.max_l2)        \
    EXTREME(prefix_ "max_max_abs", "activation", "largest absolute difference, " where_,           \
            member_.max_max_abs)                                                                   \
    EXTREME(prefix_ "max_eta", "1", "largest eta, " where_, member_.max_eta)
#define LAYER_EXTREME(name_, unit_, text_, member_)                                                \
    FIGURE("layer_" name_, "CL", F64, SUMMARY, unit_, text_ " of the layer",                       \
           offsetof(wa_extremes, member_.value))                                                   \
    PLACE("layer_" name_ "_at_obs", "CL", SUMMARY, "observation of the " text_ " of the layer",    \
          offsetof(wa_extremes, member_.obs))
/* Where something was seen first; the value says nothing. */
#define FIRST(name_, text_, member_)                                                               \
    PLACE(name_ "_at_layer", "C", SUMMARY, "layer of the " text_ "; -1 = none", AT(member_.layer)) \
    PLACE(name_ "_at_obs", "C", SUMMARY, "observation of the " text_ "; -1 = none", AT(member_.obs))

/* A figure of rates.h and what its prompts say about its accuracy. */
#define RATE(name_, unit_, text_)                                                                  \
    FIGURE(#name_, "C", F64, RATE, unit_, text_, AT(rates.name_.value))                            \
    FIGURE(#name_ "_err", "C", F64, RATE, unit_,                                                   \
           "standard error of " #name_ ", clustered by independent prompt", AT(rates.name_.error)) \
    FIGURE(#name_ "_upper", "C", F64, RATE, unit_,                                                 \
           "upper 95 % limit of " #name_ "; infinite: too few prompts for one",                    \
           AT(rates.name_.upper))

#define VERDICT(name_, axes_, text_, offset_)                                                      \
    {.row = {.name = name_,                                                                        \
             .axes = axes_,                                                                        \
             .type = WA_LAYOUT_I8,                                                                 \
             .codes = WA_CODES_OWN,                                                                \
             .word = verdict_word,                                                                 \
             .word_count = WA_VERDICT_COUNT,                                                       \
             .origin = WA_ORIGIN_SUMMARY,                                                          \
             .unit = "1",                                                                          \
             .long_name = text_},                                                                  \
     .offset = offset_},

static const char *verdict_word(int code)
{
    return wa_verdict_name((wa_verdict_code)code);
}

#define CODED(name_, word_, count_, text_, offset_)                                                \
    {.row = {.name = name_,                                                                        \
             .axes = "C",                                                                          \
             .type = WA_LAYOUT_I8,                                                                 \
             .codes = WA_CODES_OWN,                                                                \
             .word = word_,                                                                        \
             .word_count = count_,                                                                 \
             .origin = WA_ORIGIN_SUMMARY,                                                          \
             .unit = "1",                                                                          \
             .long_name = text_},                                                                  \
     .offset = offset_},

static const char *rule_word(int code)
{
    return wa_encoding_rule_word((wa_encoding_rule)code);
}

static const char *statistic_word(int code)
{
    return wa_encoding_statistic_word((wa_encoding_statistic)code);
}

static const wa_figure FIGURES[] = {
    /* clang-format off */
    VERDICT("verdict", "C", "verdict of the case: the first of its reasons", AT(code))
    FIGURE("fail_reasons", "C", TEXT, SUMMARY, "1", "all reasons, one per line, most severe first", AT(reasons))
    VERDICT("vindex_verdict", "V", "verdict of the vindex: the most severe of its cases, or that none ran",
            offsetof(wa_vindex_judgement, code))
    FIGURE("vindex_reason", "V", TEXT, SUMMARY, "1", "why no case of the vindex ran; empty where one did",
           offsetof(wa_vindex_judgement, reason))
    FIGURE("n_obs_distinct", "C", I64, SUMMARY, "1", "observations, a shared first token counted once",
           AT(summary.n_obs_distinct))
    FIGURE("n_non_finite", "C", I64, SUMMARY, "1", "observations whose output, or own stream, is not finite", AT(summary.nonfinite))
    FIRST("non_finite", "first observation that is not finite", summary.first_nonfinite)
    FIGURE("n_missing", "C", I64, SUMMARY, "1", "observations that are missing or failed", AT(summary.missing))
    FIGURE("n_kernel", "C", I64, SUMMARY, "1", "(layer, observation) pairs at which the kernel met its oracle",
           AT(summary.n_kernel))
    FIGURE("n_kernel_own", "C", I64, SUMMARY, "1", "the same on the case's own residual stream", AT(summary.n_kernel_own))
    EXTREMES("", "all positions", summary.all)
    EXTREMES("first_", "position 0 of each prompt", summary.first)
    EXTREMES("rest_", "positions after the first", summary.rest)
    EXTREME("max_kernel_rel_l2", "1", "largest error of the kernel against its oracle", summary.max_kernel)
    FIRST("kernel_non_finite", "first output of the kernel that is not finite", summary.kernel_nan)
    EXTREME("max_kernel_own_rel_l2", "1", "largest error of the kernel on the case's own residual stream",
            summary.max_kernel_own)
    FIRST("kernel_own_non_finite", "first output of the kernel on the case's own residual stream that is not finite",
          summary.kernel_own_nan)
    EXTREME("max_drift", "1", "largest drift", summary.max_drift)
    EXTREME("max_routing_gap", "1", "largest routing_gap", summary.routing.max_gap)
    FIGURE("n_routing_flips", "C", I64, SUMMARY, "1", "(layer, observation) pairs at which the case chose other experts than the reference on the same input",
           AT(summary.routing.flips))
    FIGURE("n_own_routing_flips", "C", I64, SUMMARY, "1", "the same on the case's own residual stream", AT(summary.routing.own_flips))
    EXTREME("max_same_experts_rel_l2", "1", "largest same_experts_rel_l2", summary.routing.max_same)
    EXTREME("max_other_experts_rel_l2", "1", "largest other_experts_rel_l2", summary.routing.max_other)
    CODED("encoding_rule", rule_word, WA_ENCODING_RULE_COUNT, "rule of ENCODING at the projection nearest to its limit, or farthest beyond",
          AT(verdict.encoding.rule))
    CODED("encoding_statistic", statistic_word, WA_ENCODING_STATISTIC_COUNT, "statistic that spoke there",
          AT(verdict.encoding.statistic))
    FIGURE("encoding_value", "C", F64, SUMMARY, "1", "its value; NaN = nothing was checked", AT(verdict.encoding.value))
    FIGURE("encoding_limit", "C", F64, SUMMARY, "1", "its limit", AT(verdict.encoding.limit))
    FIGURE("encoding_excess", "C", F64, SUMMARY, "1", "size of the value over the limit; rows that no encoder gives: 1 and more",
           AT(verdict.encoding.excess))
    PLACE("encoding_at_layer", "C", SUMMARY, "layer of the same; -1 = none", AT(verdict.encoding.layer))
    PLACE("encoding_at_projection", "C", SUMMARY, "projection of the same; -1 = none, 3 and on = what lies beside them: router, shared expert, biases, and of a whole checkpoint attention, norms, embedding and output matrix (doc/encoding.md, section 7)", AT(verdict.encoding.projection))
    PLACE("encoding_at_row", "C", SUMMARY, "row of the same, of all experts end to end; -1 = none, or the matrix as a whole", AT(verdict.encoding.row))
    FIGURE("mean_rel_l2", "C", F64, SUMMARY, "1", "mean of rel_l2", AT(summary.mean_rel_l2))
    FIGURE("p50_rel_l2", "C", F64, SUMMARY, "1", "median of rel_l2", AT(summary.p50_rel_l2))
    FIGURE("p95_rel_l2", "C", F64, SUMMARY, "1", "95th percentile of rel_l2", AT(summary.p95_rel_l2))
    FIGURE("p99_rel_l2", "C", F64, SUMMARY, "1", "99th percentile of rel_l2", AT(summary.p99_rel_l2))
    FIGURE("layer_n_obs", "CL", I64, SUMMARY, "1", "observations of the layer", offsetof(wa_extremes, n_obs))
    LAYER_EXTREME("min_cos", "1", "least cosine", min_cos)
    LAYER_EXTREME("max_rel_l2", "1", "largest relative L2 distance", max_rel_l2)
    LAYER_EXTREME("max_l2", "activation", "largest L2 distance", max_l2)
    LAYER_EXTREME("max_max_abs", "activation", "largest absolute difference", max_max_abs)
    LAYER_EXTREME("max_eta", "1", "largest eta", max_eta)
    FIGURE("bound_cos", "C", F64, SUMMARY, "1", "least cosine allowed; NaN = none", AT(bound.cos))
    FIGURE("bound_rel_l2", "C", F64, SUMMARY, "1", "largest rel_l2 allowed; NaN = none", AT(bound.rel_l2))
    FIGURE("bound_dp", "C", F64, SUMMARY, "1", "largest |prob_delta| allowed; NaN = none", AT(bound.dp))
    FIGURE("bound_near_tie", "C", F64, SUMMARY, "1", "how far below the reference's largest logit the case's top-1 may be",
           AT(bound.near_tie))
    RATE(mean_kl, "nat", "mean of obs_kl")
    RATE(p99_kl, "nat", "99th percentile of obs_kl")
    RATE(flip_rate, "1", "share of positions whose top-1 ids differ")
    RATE(far_flip_rate, "1", "the same, without those to tokens whose gap is at most flip_margin")
    FIGURE("flip_margin", "C", F64, RATE, "1", "near_tie of the case's bounds, else 0.1", AT(rates.flip_margin))
    RATE(mean_next_logprob_delta, "nat", "mean of obs_next_logprob - obs_ref_next_logprob")
    RATE(ppl_ratio, "1", "perplexity of the case over that of the reference on the prompts' own tokens")
    FIGURE("n_next", "C", I64, RATE, "1",
           "positions that have a next token in their prompt, the same tokens up to it counted once", AT(rates.n_next))
    FIGURE("n_distinct", "C", I64, RATE, "1",
           "positions that rates are of: the same tokens from a prompt's start counted once", AT(rates.n_distinct))
    FIGURE("n_clusters", "C", I64, RATE, "1",
           "independent prompts: those that share more than half of the shorter one are one", AT(rates.n_clusters))
    FIGURE("n_rated", "C", I64, RATE, "1", "positions with logits", AT(rates.n_obs))
    FIGURE("n_rated_prompts", "C", I64, RATE, "1", "prompts with logits", AT(rates.n_prompts))
    FIGURE("n_rated_non_finite", "C", I64, RATE, "1", "positions where a figure of the rates is no number",
           AT(rates.n_non_finite))
    FIGURE("rated_non_finite_at_obs", "C", I64, RATE, "1", "the first of them; -1 = none", AT(rates.first_non_finite))
    FIGURE("bound_mean_kl", "C", F64, RATE, "nat", "largest upper limit of mean_kl allowed; NaN = none", AT(bound.mean_kl))
    FIGURE("bound_p99_kl", "C", F64, RATE, "nat", "largest upper limit of p99_kl allowed; NaN = none", AT(bound.p99_kl))
    FIGURE("bound_flip_rate", "C", F64, RATE, "1", "largest upper limit of the flip rate allowed; NaN = none",
           AT(bound.flip_rate))
    FIGURE("bound_ppl_ratio", "C", F64, RATE, "1", "largest upper limit of ppl_ratio allowed; NaN = none",
           AT(bound.ppl_ratio))
    /* clang-format on */
};
enum { FIGURE_COUNT = sizeof FIGURES / sizeof FIGURES[0] };

const wa_figure *wa_figure_at(size_t i)
{
    return i < FIGURE_COUNT ? &FIGURES[i] : NULL;
}

const wa_layout *wa_figure_row(size_t i)
{
    return i < FIGURE_COUNT ? &FIGURES[i].row : NULL;
}

static bool is_of_layer(const wa_figure *figure)
{
    return figure->row.axes[1] == 'L';
}

size_t wa_figure_count(const wa_figure *figure, const wa_judgement *judgement)
{
    if (figure->row.axes[0] == 'V')
        return judgement->meta->dims.vindexes;
    return judgement->case_count * (is_of_layer(figure) ? judgement->layer_count : 1);
}

/* The i-th element of a figure, in the file's order. */
static char *element(const wa_figure *figure, const wa_judgement *judgement, size_t i)
{
    if (figure->row.axes[0] == 'V')
        return (char *)&judgement->vindexes[i] + figure->offset;
    if (!is_of_layer(figure))
        return (char *)&judgement->cases[i] + figure->offset;
    wa_extremes *layer = judgement->cases[i / judgement->layer_count].summary.layer;
    return (char *)&layer[i % judgement->layer_count] + figure->offset;
}

void wa_figure_gather(const wa_figure *figure, const wa_judgement *judgement, void *values)
{
    size_t size = wa_layout_size(&figure->row);
    for (size_t i = 0; i < wa_figure_count(figure, judgement); i++)
        memcpy((char *)values + i * size, element(figure, judgement, i), size);
}

void wa_figure_scatter(const wa_figure *figure, const void *values, wa_judgement *judgement)
{
    size_t size = wa_layout_size(&figure->row);
    for (size_t i = 0; i < wa_figure_count(figure, judgement); i++)
        memcpy(element(figure, judgement, i), (const char *)values + i * size, size);
}
