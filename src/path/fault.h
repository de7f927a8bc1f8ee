/* Planted faults: the binary that is built with WA_PLANT_FAULTS must be found out by the kernel
 * check. */
#ifndef WALKAUDIT_PATH_FAULT_H
#define WALKAUDIT_PATH_FAULT_H

#include "path/evaluate.h"

/*
 * WALKAUDIT_FAULT names one, WALKAUDIT_FAULT_LAYER the layer and WALKAUDIT_FAULT_CASE the case
 * (absent: all of them):
 *
 *   row-off-by-one    feature f takes the up score of row f + 1 (the last keeps its own)
 *   bf16-activations  activations are rounded to bf16 before the down product
 *   erf-gelu          the activation is erf-GELU; where the model's is erf-GELU or SiLU, tanh-GELU
 *   f16-sum           the sum of the down product is held in f16
 *   wrong-down-row    a per-feature loop adds the down row of the hit before
 *   nibble-order      interleaved_q4, q8k, experts_q8k: neighbours of x change places, as if
 *                     nibbles were swapped
 *   q8-scale          q8k, experts_q8k: scales are a 128th of a block's maximum, not a 127th
 *
 * in a layer with experts:
 *
 *   next-expert       each row goes through the experts after those that it chose: the router's
 *                     rows are off by one
 *   router-bias       the router's bias is lost
 *   expert-weights    the weights of the chosen sum to 1 where they should not, or the other way
 *                     round
 *   expert-halves     gate and up change places in every expert
 *   expert-bias       the biases of every expert are lost
 *   expert-input      experts take the input before its norm: each row as if its norm had done
 *                     nothing
 *   no-shared-expert  the shared expert is left out
 *
 * and, of 30 %, in what a case answers:
 *
 *   later-batches     in every batch but the first
 *   own-stream        on the case's own residual stream only
 *   between-rows      on the reference's stream in the first batch only, at rows other than the
 *                     first, the last and six evenly between, which is where versions before format
 *                     2 looked
 *   share             at one of 50 (observation, layer) pairs, on either stream
 *
 * and, no number at all:
 *
 *   own-nan           the first row of each call on the case's own residual stream
 *
 * The first four of all stand in the kernels of every path; all never in the oracle, never in
 * DENSE. Without WA_PLANT_FAULTS these are empty, so that the real binary has no trace of them.
 */
#ifdef WA_PLANT_FAULTS

/** up [rows, features]: gate-side scores of ungated models likewise. */
void wa_fault_rows(const wa_case *which, const wa_walk_layer *layer, float *up, size_t rows);
/** Hits whose down rows a loop adds, activations in their order. */
void wa_fault_hits(const wa_case *which, const wa_walk_layer *layer, int32_t *hits, size_t n);
void wa_fault_q8(const wa_case *which, const wa_walk_layer *layer, int8_t *q, size_t n);
void wa_fault_q8_scales(const wa_case *which, const wa_walk_layer *layer, float *d, size_t n);
wa_activation wa_fault_activation(const wa_case *which, const wa_walk_layer *layer);
void wa_fault_act(const wa_case *which, const wa_walk_layer *layer, float *act, size_t n);
void wa_fault_sum(const wa_case *which, const wa_walk_layer *layer, float *y, size_t n);
/** The router and the list of experts of a layer, a copy; what the router said; one expert, a copy;
 * x [rows, hidden] of one. */
void wa_fault_experts(const wa_case *which, const wa_walk_layer *layer, wa_experts *experts);
void wa_fault_routing(const wa_case *which, const wa_walk_layer *layer, size_t rows,
                      const wa_routing *routing);
void wa_fault_expert(const wa_case *which, const wa_walk_layer *layer, wa_expert *expert);
void wa_fault_expert_input(const wa_case *which, const wa_walk_layer *layer, float *x, size_t rows);
/** Outputs of one input of a call: the first is the reference's, the second the case's own. */
void wa_fault_output(const wa_case *which, const wa_walk_layer *layer, const wa_walk_io *io,
                     size_t input, size_t rows);
/** Is a fault planted that may be in one case and not in another? */
bool wa_fault_tells_cases_apart(void);

#else

static inline bool wa_fault_tells_cases_apart(void)
{
    return false;
}

static inline void wa_fault_rows(const wa_case *which, const wa_walk_layer *layer, float *up,
                                 size_t rows)
{
    (void)which, (void)layer, (void)up, (void)rows;
}

static inline void wa_fault_hits(const wa_case *which, const wa_walk_layer *layer, int32_t *hits,
                                 size_t n)
{
    (void)which, (void)layer, (void)hits, (void)n;
}

static inline void wa_fault_q8(const wa_case *which, const wa_walk_layer *layer, int8_t *q,
                               size_t n)
{
    (void)which, (void)layer, (void)q, (void)n;
}

static inline void wa_fault_q8_scales(const wa_case *which, const wa_walk_layer *layer, float *d,
                                      size_t n)
{
    (void)which, (void)layer, (void)d, (void)n;
}

static inline wa_activation wa_fault_activation(const wa_case *which, const wa_walk_layer *layer)
{
    (void)which;
    return layer->activation;
}

static inline void wa_fault_act(const wa_case *which, const wa_walk_layer *layer, float *act,
                                size_t n)
{
    (void)which, (void)layer, (void)act, (void)n;
}

static inline void wa_fault_sum(const wa_case *which, const wa_walk_layer *layer, float *y,
                                size_t n)
{
    (void)which, (void)layer, (void)y, (void)n;
}

static inline void wa_fault_experts(const wa_case *which, const wa_walk_layer *layer,
                                    wa_experts *experts)
{
    (void)which, (void)layer, (void)experts;
}

static inline void wa_fault_routing(const wa_case *which, const wa_walk_layer *layer, size_t rows,
                                    const wa_routing *routing)
{
    (void)which, (void)layer, (void)rows, (void)routing;
}

static inline void wa_fault_expert(const wa_case *which, const wa_walk_layer *layer,
                                   wa_expert *expert)
{
    (void)which, (void)layer, (void)expert;
}

static inline void wa_fault_expert_input(const wa_case *which, const wa_walk_layer *layer, float *x,
                                         size_t rows)
{
    (void)which, (void)layer, (void)x, (void)rows;
}

static inline void wa_fault_output(const wa_case *which, const wa_walk_layer *layer,
                                   const wa_walk_io *io, size_t input, size_t rows)
{
    (void)which, (void)layer, (void)io, (void)input, (void)rows;
}

#endif
#endif
