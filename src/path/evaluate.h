/* Evaluating a case: a layer as it reads it, the call that computes it, and what that costs. */
#ifndef WALKAUDIT_PATH_EVALUATE_H
#define WALKAUDIT_PATH_EVALUATE_H

#include "path/path.h"

typedef struct wa_expert_rows wa_expert_rows;

/** How the ranks of a team do each other's experts (engine/spread.c). */
typedef struct wa_expert_spread {
    void *context;
    /** Write rows->y, each expert's rows by the rank that has it; bit for bit what wa_experts_feed
     * of all experts writes. */
    wa_status (*feed)(void *context, const wa_expert_rows *rows, wa_error *err);
} wa_expert_spread;

/** Whoever wants to know which experts are computed with. */
typedef struct wa_expert_watch {
    void *context;
    /** Called before each time that an expert's numbers are read. */
    wa_status (*see)(void *context, const wa_expert *expert, wa_error *err);
} wa_expert_watch;

/** A layer's weights as one case reads them: views, nothing decoded. A plain value. */
typedef struct wa_walk_layer {
    wa_matrix gate, up, down; /* gate, up [F, H]; gate.rows = 0 for ungated models */
    /* [F, H] rows whose scores rank the features; rows = 0 where none are ranked */
    wa_matrix select;
    bool down_is_feature_major;                   /* down [F, H]; else the model's [H, F] */
    const float *gate_bias, *up_bias, *down_bias; /* borrowed from the model, NULL = none */
    const wa_experts *experts; /* borrowed, instead of gate, up and down; NULL = none */
    /* Of a path of experts: its vindex has no place for this FFN, and the model's own stands here */
    bool of_model;
    /* Borrowed; NULL = all experts are computed here. Set by whoever opens a layer; the oracle does
     * not look at it. */
    const wa_expert_spread *spread;
    const wa_expert_watch *watch; /* the same; NULL = nobody */
    wa_activation activation;
    bool gated;
    size_t features, hidden; /* features: of the widest expert, where there are experts */
    size_t layer;            /* its index; planted faults look at it */
} wa_walk_layer;

/**
 * Does a case compute a layer? All cases do but those of servers that lack it: there the model's
 * own FFN keeps the case's residual stream going, and nothing is measured but how far that is off.
 */
bool wa_case_serves(const wa_case *which, size_t layer);

/** Views of one layer for a case (vindex may be NULL for DENSE). Local. */
WA_CHECKED wa_status wa_case_open_layer(const wa_case *which, const wa_model *model,
                                        const wa_vindex *vindex, size_t layer, wa_walk_layer *out,
                                        wa_error *err);

/**
 * Does a case look at rows of a projection in its vindex, and in which payload: to compute with
 * them, or, as weights_fallback at a finite K does with the gate, to rank features by them?
 * *payload is set when it does.
 */
bool wa_case_reads(const wa_case *which, wa_projection projection, wa_payload *payload);

/**
 * Does a case look at rows of a projection in a payload of its vindex? Besides what wa_case_reads
 * says, a case that computes experts reads ROUTER, SHARED and BIASES, where the vindex has them.
 */
bool wa_case_reads_payload(const wa_case *which, wa_payload payload, wa_projection projection);
/** Does some case that runs? A vindex may store a projection in several payloads: each that a case
 * reads is checked once, and answers for itself. */
bool wa_cases_read(const wa_case *cases, size_t count, size_t vindex, wa_payload payload,
                   wa_projection projection);

/**
 * The stored matrix behind one projection of a case that reads it from its vindex. Local. The gate
 * file of an ungated model holds its up rows, and is opened as both.
 */
WA_CHECKED wa_status wa_case_stored(const wa_case *which, const wa_vindex *vindex,
                                    wa_projection projection, size_t layer, wa_matrix *out,
                                    wa_error *err);

/** How far apart answers to the same x are that were asked for in another way (wa_answer_distance):
 * the largest of the positions; NaN = not asked. */
typedef struct wa_ways {
    double repeat; /* the same request once more */
    double order;  /* positions in the opposite order */
    double alone;  /* one position by itself */
    double alike;  /* another server */
} wa_ways;

/** One evaluation: y = FFN(x). Two of them (x_0 and x_c) share one decoding of the weights. */
typedef struct wa_walk_io {
    const float *x;   /* [rows, hidden] */
    float *y;         /* [rows, hidden], written whole */
    size_t first_obs; /* observation of row 0: which rows a file of outputs answers */
    /* finite K only, may be NULL: [rows, wa_case_hit_count] features in descending |score|; -1
     * throughout a row with a NaN score (whose y is NaN), and when weights_fallback uses all
     * features under its 80 % rule */
    int32_t *hits;
    /* layers with experts, may be NULL: [rows, chosen] experts that the rows go through, whatever the
     * router would choose (wa_route_rows) */
    const int32_t *through;
    /* layers with experts, may be NULL: written for all rows, logits where it has room for them */
    const wa_routing *routing;
    /* path external, may be NULL: [prompts] |= WA_MODE_ bits (base/foreign.h) that the library left
     * changed */
    int *modes;
    /* prompts of the rows: foreign kernels are asked for each by itself; NULL = one prompt */
    const wa_packing *packing;
    size_t first_prompt; /* of the job: of row 0 */
    /* path served, may be NULL: [prompts of the packing], written where a server was asked so */
    wa_ways *ways;
} wa_walk_io;

/**
 * Evaluate a case's FFN on `io_count` inputs of `rows` rows each. Every input is its own sequence
 * of GEMMs, so its bits do not depend on the others. *label: the kernel that ran. Of kernels of our
 * own an input that equals the one before it, bit for bit, takes that one's answers.
 *
 * scratch  made by wa_scratch_open for at least this many rows and features
 * Errors: WA_E_INTERNAL (scratch too small), WA_E_UNSUPPORTED (kernel cannot run on these weights).
 */
WA_CHECKED wa_status wa_case_run(const wa_case *which, const wa_walk_layer *layer, size_t rows,
                                 const wa_walk_io *io, size_t io_count, wa_scratch *scratch,
                                 wa_label *label, wa_error *err);

/** How many of the inputs wa_case_run evaluates. Local. */
size_t wa_case_evaluated(const wa_walk_layer *layer, const wa_case *which, size_t rows,
                         const wa_walk_io *io, size_t io_count);
/** Are two cases the same three products of the same stored bytes at a layer? Then so are their
 * answers to the same input. Of other kernels: no. Local. */
bool wa_case_is_same(const wa_case *a, const wa_walk_layer *of_a, const wa_case *b,
                     const wa_walk_layer *of_b);

/** Rows of a layer's experts, gathered: those of expert e are [start[e], start[e + 1]) of x and y.
 * Borrowed. */
struct wa_expert_rows {
    const wa_case *which;
    const wa_walk_layer *layer;
    size_t most; /* so many go through an expert together, at most tile_rows of the scratch */
    const size_t *start; /* [experts + 1] */
    const float *x;      /* [start[experts], hidden] */
    float *y;            /* the same, out */
};

/** y of the rows of experts [first, end), without the weights of a routing, by the case's kernel.
 * Local. Errors: those of the kernel. */
WA_CHECKED wa_status wa_experts_feed(const wa_expert_rows *of, size_t first, size_t end,
                                     wa_scratch *scratch, wa_error *err);

/** Is it a per-feature loop (sparse:serial, sparse:parallel_q4k_down): in gate order, leaving out
 * small activations? */
bool wa_case_is_loop(const wa_case *which);

/** Does a kernel multiply gate and up with x rounded to Q8_K (q8k.c)? */
bool wa_case_rounds_inputs(const wa_case *which, const wa_walk_layer *layer);
/** Does a kernel multiply down with activations rounded to Q8_K? Its numbers then hang on which way
 * each is rounded. In any layer: wa_case_may_round. */
bool wa_case_rounds_activations(const wa_case *which, const wa_walk_layer *layer);
bool wa_case_may_round(const wa_case *which);

/** Features that a position uses in a layer of F features, and the width of its hit list: min(k,
 * F), F when k is all. */
size_t wa_case_hit_count(const wa_case *which, size_t features);

/** Multiply-adds times two of one evaluation of `rows` rows, and stored bytes it reads; for cost
 * figures. */
double wa_case_flops(const wa_case *which, const wa_walk_layer *layer, size_t rows);
/** Of that, what goes through experts, without router and shared expert; and their stored bytes. 0
 * where the case computes none. */
double wa_case_expert_flops(const wa_case *which, const wa_walk_layer *layer, size_t rows);
size_t wa_case_expert_bytes(const wa_case *which, const wa_walk_layer *layer);
size_t wa_case_bytes(const wa_case *which, const wa_walk_layer *layer);

#endif
