/* The routing ladder (walk-paths 2.2-2.4) as one table, pure. */
#ifndef WALKAUDIT_PATH_LADDER_H
#define WALKAUDIT_PATH_LADDER_H

#include "path/path.h"

/**
 * What upstream's WalkFfn::forward looks at for one call (one layer, n positions). A case's mask
 * applies to the flags and to the accessors (ours: upstream masks the flags only and leaks,
 * walk-paths 1.6).
 */
typedef struct wa_ladder_facts {
    wa_ladder ladder;
    size_t features;  /* num_features(l) */
    size_t positions; /* n, at least 1 */
    bool k_is_set;    /* is_sparse(l) */
    size_t k;         /* when set; SIZE_MAX = all */
    bool gated;
    bool overrides;         /* has_overrides_at(l) */
    bool selected_override; /* some selected feature has one (weights_fallback's label) */
    bool l1_hit;            /* an L1 cache is there and holds this residual */

    bool has_fp4, has_interleaved_q4, has_interleaved, has_full_mmap; /* flags */
    bool has_interleaved_q4k, has_down_features;
    bool backend_q4;         /* a backend that reports Q4 */
    bool backend_q4_batched; /* and has the batched pair kernel; the CPU's has not */

    bool up_matrix, down_matrix;      /* f32 layer matrices obtainable */
    bool interleaved_layer, q4_layer; /* those payloads' accessors answer for this layer */
    bool q4k_layer;                   /* K-quant layer data obtainable: manifest, ranges */
    bool q4k_up_rows;       /* its row kernel reads gate and up: upstream, H a multiple of 256 */
    bool q4k_down_rows;     /* its row kernel reads down: upstream, I a multiple of 256 */
    bool q4k_whole_blocks;  /* H * I a multiple of 256: else upstream's dequantisation panics */
    bool kquant_whole_rows; /* August's native rung: H and I multiples of 256 */
    bool gate_scores;       /* gate scores can be had, batched and by KNN */
    bool rows_covered;      /* the serial loop's row chain covers every hit */
    bool some_short_hits;   /* some position has fewer than 512 hits where others have more */
    bool model_up;          /* the model's own up weight is there */
} wa_ladder_facts;

/**
 * The label that names the kernel which produced the numbers: one per call (design 2; upstream's
 * trace has several, walk-paths 2.3), so a call whose positions all take the parallel loop is
 * sparse:parallel_q4k_down and a mixed one sparse:serial. NONE: upstream panics.
 */
wa_label wa_ladder_route(const wa_ladder_facts *facts);
/** "LABEL: selected; A skipped because …; B skipped because …": the route, and the rungs above it.
 * Arena. */
WA_CHECKED wa_status wa_ladder_explain(const wa_ladder_facts *facts, wa_arena *arena,
                                       const char **out, wa_error *err);

#endif
