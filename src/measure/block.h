/* Results of one batch: the table of measured fields, their memory, and their transport. */
#ifndef WALKAUDIT_MEASURE_BLOCK_H
#define WALKAUDIT_MEASURE_BLOCK_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Axes of a field. C case, L layer, O observation, A observation with logits, P prompt, S slot
 * (place in the top k), V vindex, Y payload, J projection, E place among the chosen experts, N
 * number of an expert, T observation of a model with experts. Memory order is as written, last axis
 * fastest. O, A and P run over the batch inside a block, over the job in the result. A is every
 * observation with `logits: all` and none without, where fields along it do not exist; nor do those
 * along E, N or T in a model without experts.
 */
typedef enum wa_axes {
    WA_CLO,
    WA_CLT,
    WA_CLOE,
    WA_LO,
    WA_LOE,
    WA_CLP,
    WA_LP,
    WA_CL,
    WA_CP,
    WA_P,
    WA_CPS,
    WA_PS,
    WA_CA,
    WA_A,
    WA_VYLJ,
    WA_VLNJ,
    WA_LN,
    WA_CLN
} wa_axes;
typedef enum wa_type { WA_F64, WA_I64, WA_I32, WA_I8 } wa_type;

/*
 * X(id, axes, type, unit, long_name). One row is one root dataset of the result file, one dataset
 * of a part, one piece of a message. Fields with C belong to the rank that runs the case, V to the
 * rank that checks the vindex, the others to the team's lead. Fields without L come from the last
 * stage. Of those along no prompt and no observation, V fields come from one part; bytes_read is
 * that of one pass, expert_kernel_rel_l2 the largest of all parts, others are summed over parts.
 */
#define WA_FIELD_LIST(X)                                                                           \
    X(cos, WA_CLO, WA_F64, "1",                                                                    \
      "cosine similarity of the walk and dense FFN outputs on the same input")                     \
    X(one_minus_cos, WA_CLO, WA_F64, "1", "1 - cosine, without cancellation")                      \
    X(rel_l2, WA_CLO, WA_F64, "1", "L2 distance over the norm of the dense output")                \
    X(l2, WA_CLO, WA_F64, "activation", "L2 distance of the walk and dense FFN outputs")           \
    X(max_abs, WA_CLO, WA_F64, "activation", "largest absolute difference of one element")         \
    X(norm_ratio, WA_CLO, WA_F64, "1", "norm of the walk output over norm of the dense output")    \
    X(max_abs_index, WA_CLO, WA_I32, "1", "element of the largest absolute difference")            \
    X(obs_status, WA_CLO, WA_I8, "1", "state of the observation")                                  \
    X(kernel_rel_l2, WA_CLO, WA_F64, "1",                                                          \
      "error of the kernel against an oracle on the same stored numbers; NaN where not sampled, "  \
      "infinite where it is no number")                                                            \
    X(kernel_own_rel_l2, WA_CLO, WA_F64, "1", "the same on the case's own residual stream")        \
    X(eta, WA_CLO, WA_F64, "1",                                                                    \
      "difference after the post-FFN norm over the norm of the residual stream")                   \
    X(drift, WA_CLO, WA_F64, "1",                                                                  \
      "distance of the case's own residual stream from the reference's, relative")                 \
    X(x_norm, WA_LO, WA_F64, "activation", "norm of the FFN input")                                \
    X(ref_norm, WA_LO, WA_F64, "activation", "norm of the dense FFN output")                       \
    X(h_norm, WA_LO, WA_F64, "activation", "norm of the residual stream after the layer")          \
    X(expert_id, WA_LOE, WA_I32, "1",                                                              \
      "expert that the reference's router chose, largest logit first; -1 in a layer without "      \
      "experts")                                                                                   \
    X(expert_weight, WA_LOE, WA_F64, "1", "its weight")                                            \
    X(expert_margin, WA_LOE, WA_F64, "1",                                                          \
      "its logit less that of the next; of the last chosen, less that of the first not chosen; "   \
      "infinite where all are chosen")                                                             \
    X(expert_rows, WA_LN, WA_I64, "1", "rows for which the reference's router chose the expert")   \
    X(routing_gap, WA_CLT, WA_F64, "1",                                                            \
      "on the same input: the reference's logit of the best expert that the case left out less "   \
      "that of the worst it took instead; 0 = the same ones or as good, NaN = no experts, or a "   \
      "logit is no number")                                                                        \
    X(routing_change, WA_CLT, WA_I8, "1",                                                          \
      "what the case's router chose on the same input, beside the reference's")                    \
    X(same_experts_rel_l2, WA_CLT, WA_F64, "1",                                                    \
      "rel_l2 of the case's output by the reference's experts, weighed by its own router: the "    \
      "part "                                                                                      \
      "of rel_l2 that is not of other experts")                                                    \
    X(other_experts_rel_l2, WA_CLT, WA_F64, "1",                                                   \
      "L2 distance from that output to the case's own over the norm of the dense output; 0 where " \
      "it chose the same experts")                                                                 \
    X(own_expert_id, WA_CLOE, WA_I32, "1",                                                         \
      "expert that the case's router chose on the case's own residual stream, largest logit "      \
      "first; -1 in a layer without experts")                                                      \
    X(own_expert_weight, WA_CLOE, WA_F64, "1", "its weight")                                       \
    X(own_routing_margin, WA_CLT, WA_F64, "1",                                                     \
      "logit of the last expert that it chose there less that of the first it did not; infinite "  \
      "where all are chosen, NaN where the layer has no experts")                                  \
    X(own_routing_change, WA_CLT, WA_I8, "1",                                                      \
      "what it chose there, beside the reference's on the reference's input")                      \
    X(own_expert_rows, WA_CLN, WA_I64, "1",                                                        \
      "rows for which the case's router chose the expert on the case's own residual stream")       \
    X(expert_kernel_rows, WA_CLN, WA_I64, "1",                                                     \
      "rows of both streams that went through the expert and at which the kernel met its oracle; " \
      "of foreign kernels those of the reference's stream, as its router chose")                   \
    X(expert_kernel_rel_l2, WA_CLN, WA_F64, "1",                                                   \
      "largest error of the kernel at such a row, which went through other experts too; NaN = "    \
      "there is none, infinite = it is no number")                                                 \
    X(label, WA_CLP, WA_I8, "1", "kernel that produced the numbers")                               \
    X(dense_evaluations, WA_LP, WA_I32, "1", "how often the dense FFN was evaluated")              \
    X(walk_evaluations, WA_CLP, WA_I32, "1", "inputs that the case's FFN was asked for")           \
    X(modes_changed, WA_CLP, WA_I8, "1",                                                           \
      "floating-point modes that the case's library left changed and that were put back: 1 "       \
      "rounding, 2 FTZ or DAZ, 4 others, summed")                                                  \
    X(decode_rel_l2, WA_CLP, WA_F64, "1",                                                          \
      "largest distance of a position's output computed alone from the same in its batch, "        \
      "relative; NaN without rows: decode")                                                        \
    X(repeat_rel_l2, WA_CLP, WA_F64, "1",                                                          \
      "largest distance between a server's answers to the same request, relative; 0 = the same "   \
      "bits, NaN = not asked")                                                                     \
    X(order_rel_l2, WA_CLP, WA_F64, "1", "the same when positions are sent in the opposite order") \
    X(alone_rel_l2, WA_CLP, WA_F64, "1", "the same when one position is sent alone")               \
    X(alike_rel_l2, WA_CLP, WA_F64, "1", "the same between the servers of the case")               \
    X(seconds, WA_CL, WA_F64, "s", "time in the case's FFN, summed over ranks")                    \
    X(bytes_read, WA_CL, WA_I64, "byte", "stored bytes of weights that one pass reads")            \
    X(flops, WA_CL, WA_I64, "1", "floating-point operations of the case's FFN")                    \
    X(ref_top1_id, WA_P, WA_I32, "1", "token id of the reference's most probable next token")      \
    X(ref_top1_prob, WA_P, WA_F64, "1", "its probability")                                         \
    X(ref_margin, WA_P, WA_F64, "1", "logit of the reference's first less its second token")       \
    X(ref_topk_id, WA_PS, WA_I32, "1", "token ids of the reference's most probable next tokens")   \
    X(ref_topk_logprob, WA_PS, WA_F64, "nat", "their log-probabilities")                           \
    X(ref_nll, WA_P, WA_F64, "nat",                                                                \
      "sum of the reference's -ln p of the prompt's own next tokens, over ref_nll_positions")      \
    X(ref_nll_positions, WA_P, WA_I32, "1",                                                        \
      "positions in it: all that have a next token, or with logits of last positions only those "  \
      "sampled")                                                                                   \
    X(dump_x_rel_l2, WA_LP, WA_F64, "1",                                                           \
      "distance of the dense FFN input from the reference dump's over the dump's norm; the "       \
      "largest of the prompt's positions")                                                         \
    X(dump_x_position, WA_LP, WA_I32, "1", "position of it; -1 = the dump has not this prompt")    \
    X(dump_y_rel_l2, WA_LP, WA_F64, "1", "the same of the dense FFN output")                       \
    X(dump_y_position, WA_LP, WA_I32, "1", "position of it")                                       \
    X(dump_logits_rel_l2, WA_P, WA_F64, "1",                                                       \
      "the same of the logits, over positions whose logits are computed")                          \
    X(dump_logits_position, WA_P, WA_I32, "1", "position of it")                                   \
    X(top1_id, WA_CP, WA_I32, "1", "token id of the case's most probable next token")              \
    X(top1_prob, WA_CP, WA_F64, "1", "its probability")                                            \
    X(prob_of_ref_top1, WA_CP, WA_F64, "1", "the case's probability of the reference's top-1")     \
    X(prob_delta, WA_CP, WA_F64, "1", "prob_of_ref_top1 - ref_top1_prob")                          \
    X(prob_delta_compat, WA_CP, WA_F64, "1",                                                       \
      "LARQL's figure: |top1_prob - ref_top1_prob|, perhaps of two tokens")                        \
    X(top1_match, WA_CP, WA_I8, "1", "1 when both top-1 ids are equal")                            \
    X(top1_gap, WA_CP, WA_F64, "1",                                                                \
      "the reference's largest logit less its logit of the case's top-1 token; 0 where both "      \
      "top-1 ids are equal")                                                                       \
    X(kl, WA_CP, WA_F64, "nat", "KL(reference || case) of the next-token distributions")           \
    X(js, WA_CP, WA_F64, "nat", "Jensen-Shannon divergence of the same")                           \
    X(topk_overlap, WA_CP, WA_F64, "1", "Jaccard index of both top 5")                             \
    X(topk_id, WA_CPS, WA_I32, "1", "token ids of the case's most probable next tokens")           \
    X(topk_logprob, WA_CPS, WA_F64, "nat", "their log-probabilities")                              \
    X(obs_ref_top1_id, WA_A, WA_I32, "1",                                                          \
      "token id of the reference's most probable next token, at every position")                   \
    X(obs_ref_top1_prob, WA_A, WA_F64, "1", "its probability")                                     \
    X(obs_ref_margin, WA_A, WA_F64, "1",                                                           \
      "logit of the reference's first less its second token, at every position")                   \
    X(obs_ref_next_logprob, WA_A, WA_F64, "nat",                                                   \
      "reference's log-probability of the text's next token; NaN at a prompt's last position")     \
    X(obs_top1_id, WA_CA, WA_I32, "1",                                                             \
      "token id of the case's most probable next token, at every position")                        \
    X(obs_top1_prob, WA_CA, WA_F64, "1", "its probability")                                        \
    X(obs_prob_of_ref_top1, WA_CA, WA_F64, "1", "the case's probability of obs_ref_top1_id")       \
    X(obs_prob_delta, WA_CA, WA_F64, "1", "obs_prob_of_ref_top1 - obs_ref_top1_prob")              \
    X(obs_top1_match, WA_CA, WA_I8, "1", "1 when both top-1 ids are equal, at every position")     \
    X(obs_top1_gap, WA_CA, WA_F64, "1",                                                            \
      "the reference's largest logit less its logit of the case's top-1 token, at every position") \
    X(obs_kl, WA_CA, WA_F64, "nat",                                                                \
      "KL(reference || case) of the next-token distributions, at every position")                  \
    X(obs_js, WA_CA, WA_F64, "nat", "Jensen-Shannon divergence of the same")                       \
    X(obs_topk_overlap, WA_CA, WA_F64, "1", "Jaccard index of both top 5, at every position")      \
    X(obs_next_logprob, WA_CA, WA_F64, "nat",                                                      \
      "case's log-probability of the text's next token; NaN at a prompt's last position")          \
    X(obs_next_prob_delta, WA_CA, WA_F64, "1",                                                     \
      "case's less reference's probability of the text's next token")                              \
    X(payload_digest_high, WA_VYLJ, WA_I64, "1",                                                   \
      "bytes 0 to 7 of the GMAC of the projection's stored bytes, big-endian; 0 where "            \
      "row_err_checked is")                                                                        \
    X(payload_digest_low, WA_VYLJ, WA_I64, "1", "bytes 8 to 15 of the same")                       \
    X(row_err_p50, WA_VYLJ, WA_F64, "1",                                                           \
      "median row error of the stored projection over the larger of the row's norm and the RMS "   \
      "row norm")                                                                                  \
    X(row_err_p99, WA_VYLJ, WA_F64, "1", "99th percentile of the same")                            \
    X(row_err_max, WA_VYLJ, WA_F64, "1", "largest of the same")                                    \
    X(row_err_worst, WA_VYLJ, WA_I32, "1", "row (feature) of the largest")                         \
    X(row_err_checked, WA_VYLJ, WA_I8, "1",                                                        \
      "1 when a case reads the projection from this payload and it was checked")                   \
    X(row_nonfinite, WA_VYLJ, WA_I64, "1", "stored values of the projection that are no numbers")  \
    X(row_err_format, WA_VYLJ, WA_I8, "1", "stored format of the projection")                      \
    X(row_err_basis, WA_VYLJ, WA_I8, "1", "what stored rows were held against")                    \
    X(row_err_rows, WA_VYLJ, WA_I64, "1", "rows compared")                                         \
    X(row_err_unequal, WA_VYLJ, WA_I64, "1", "rows that the basis does not give")                  \
    X(row_err_unequal_error, WA_VYLJ, WA_F64, "1", "largest error of those")                       \
    X(row_err_unequal_row, WA_VYLJ, WA_I32, "1", "its row")                                        \
    X(row_err_steps, WA_VYLJ, WA_F64, "step",                                                      \
      "largest distance of a weight of such a row from its stored value, in steps of the stored "  \
      "scale")                                                                                     \
    X(row_err_steps_row, WA_VYLJ, WA_I32, "1", "its row")                                          \
    X(row_err_ratio, WA_VYLJ, WA_F64, "1",                                                         \
      "error of such rows over that of our re-encoding of the model's")                            \
    X(row_err_gain, WA_VYLJ, WA_F64, "1", "<stored, model> / <model, model> - 1 of such rows")     \
    X(row_err_row_gain, WA_VYLJ, WA_F64, "1",                                                      \
      "the same of the row where it is largest in magnitude, less that of our re-encoding")        \
    X(row_err_row_gain_row, WA_VYLJ, WA_I32, "1", "its row")                                       \
    X(row_err_row_ratio, WA_VYLJ, WA_F64, "1", "row_err_ratio of the row where it is largest")     \
    X(row_err_row_ratio_row, WA_VYLJ, WA_I32, "1", "its row")                                      \
    X(row_err_expert_ratio, WA_VYLJ, WA_F64, "1",                                                  \
      "row_err_ratio of the expert where it is largest; without experts row_err_ratio")            \
    X(row_err_expert_ratio_row, WA_VYLJ, WA_I32, "1",                                              \
      "row of that expert where row_err_row_ratio is largest")                                     \
    X(expert_err_max, WA_VLNJ, WA_F64, "1",                                                        \
      "largest row error of one expert's stored projection; NaN where none was compared")          \
    X(expert_err_worst, WA_VLNJ, WA_I32, "1", "row of it, within the expert")                      \
    X(expert_err_unequal, WA_VLNJ, WA_I64, "1", "rows of it that the basis does not give")         \
    X(expert_err_ratio, WA_VLNJ, WA_F64, "1",                                                      \
      "error of those over that of our re-encoding of the model's")

typedef enum wa_field {
#define WA_FIELD_ENUM(id, axes, type, unit, long_name) WA_FIELD_##id,
    WA_FIELD_LIST(WA_FIELD_ENUM)
#undef WA_FIELD_ENUM
        WA_FIELD_COUNT
} wa_field;

typedef struct wa_field_info {
    const char *name;
    wa_axes axes;
    wa_type type;
    const char *unit;
    const char *long_name;
} wa_field_info;
const wa_field_info *wa_field_get(wa_field field);
size_t wa_type_size(wa_type type);
bool wa_axes_has(wa_axes axes, char axis); /* axis: one of "CLOAPSVYJENT" */
/** Is a field of what is stored, which one part of a job carries? */
bool wa_axes_are_stored(wa_axes axes);

/** Extents of the axes. */
typedef struct wa_dims {
    size_t cases, layers, rows, prompts, slots, vindexes;
    size_t choices;  /* experts of a row, 0 in a model without */
    size_t experts;  /* of a layer, likewise */
    bool logits_all; /* logits at every observation: A has as many entries as O, else none */
} wa_dims;
/** Fields along A exist only with logits_all, those along E, N or T only with choices. */
bool wa_field_exists(wa_field field, const wa_dims *dims);

/** Memory of all fields of a batch. Floats start as NaN, integers as 0 (ids and indices -1). */
typedef struct wa_block {
    wa_dims dims;
    void *field[WA_FIELD_COUNT]; /* arena */
} wa_block;

WA_CHECKED wa_status wa_block_open(wa_arena *arena, wa_dims dims, wa_block *out, wa_error *err);

/**
 * The contiguous run of a field at (first, layer): first is the case index, or vindex *
 * WA_PAYLOAD_COUNT + payload (without Y the vindex), or 0 where the field has neither; layer 0
 * where it has no L. *count (may be NULL) gets the run's elements.
 */
void *wa_block_run(const wa_block *block, wa_field field, size_t first, size_t layer,
                   size_t *count);
/** The same, typed; the field's type must fit (assert). */
double *wa_block_f64(const wa_block *block, wa_field field, size_t first, size_t layer);
int32_t *wa_block_i32(const wa_block *block, wa_field field, size_t first, size_t layer);
int64_t *wa_block_i64(const wa_block *block, wa_field field, size_t first, size_t layer);
int8_t *wa_block_i8(const wa_block *block, wa_field field, size_t first, size_t layer);

/** What one rank contributes: its layers, its cases and vindexes, the lead's own fields, the last
 * stage's. */
typedef struct wa_share {
    size_t first_layer, layer_count;
    const uint8_t *owns_case;   /* [cases] 0 or 1 */
    const uint8_t *owns_vindex; /* [vindexes] 0 or 1 */
    /* has_encoding: this batch carries VYLJ and VLNJ fields */
    bool is_lead, is_last_stage, has_encoding;
} wa_share;

/** Bytes of a share's message; and copying it out of and into a block. Both ends walk the table in
 * the same order. */
size_t wa_share_bytes(const wa_dims *dims, const wa_share *share);
void wa_share_pack(const wa_block *block, const wa_share *share, uint8_t *out);
void wa_share_unpack(const wa_block *block, const wa_share *share, const uint8_t *in);

#endif
