/* Paths: which FFN a case evaluates, on which files, by which kernel, under which label. */
#ifndef WALKAUDIT_PATH_PATH_H
#define WALKAUDIT_PATH_PATH_H

#include "compute/dense.h"
#include "compute/kernel.h"
#include "compute/route.h"
#include "model/model.h"
#include "model/notes.h"
#include "path/wire.h"
#include "vindex/vindex.h"

/* X(id, name as in job files, meaning). Design 6. DENSE is path 0: the reference, never offered to
 * jobs. */
#define WA_PATH_LIST(X)                                                                            \
    X(DENSE, "dense", "the model's own weights: the reference")                                    \
    X(SPARSE, "sparse", "gate file and what the ladder picks at K = all")                          \
    X(SPARSE_SERIAL, "sparse_serial", "per-feature loop in gate order")                            \
    X(SPARSE_PARALLEL, "sparse_parallel", "gate and Q4_K, 8 chunks of the hit list")               \
    X(FP4_STORAGE, "fp4_storage", "gate and the FP4 files of index.json")                          \
    X(INTERLEAVED_Q4, "interleaved_q4", "interleaved_q4.bin, Q8 activations")                      \
    X(INTERLEAVED, "interleaved", "interleaved.bin")                                               \
    X(FULL_MMAP, "full_mmap", "gate, up_features and down_features")                               \
    X(INTERLEAVED_Q4K, "interleaved_q4k", "interleaved_kquant.bin, dequantised")                   \
    X(EXACT, "exact", "the model's gate and up, down_features.bin")                                \
    X(WEIGHTS_FALLBACK, "weights_fallback", "the model's weights, features chosen by gate score")  \
    X(EXTERNAL, "external", "the user's own kernel")                                               \
    X(SERVED, "served", "a running LARQL server, over HTTP")                                       \
    X(INTERLEAVED_KQUANT_NATIVE, "interleaved_kquant_native",                                      \
      "interleaved_kquant.bin, dots of stored rows")                                               \
    X(CHECKPOINT, "checkpoint", "the FFN weights of another checkpoint of the model")              \
    X(CHECKPOINT_MODEL, "checkpoint_model",                                                        \
      "the same, and a residual stream that is the other checkpoint's throughout")                 \
    X(Q8K, "q8k", "interleaved_kquant.bin, integer dots with activations in Q8_K")                 \
    X(EXPERTS, "experts", "layers/layer_NN.weights, dequantised, by the router of norms.bin")      \
    X(EXPERTS_Q8K, "experts_q8k",                                                                  \
      "layers/layer_NN.weights, integer dots with inputs and activations in Q8_K")

typedef enum wa_path {
#define WA_PATH_ENUM(id, name, meaning) WA_PATH_##id,
    WA_PATH_LIST(WA_PATH_ENUM)
#undef WA_PATH_ENUM
        WA_PATH_COUNT
} wa_path;
const char *wa_path_name(wa_path path);
/** Name as written in a job file to the path; false when there is none (DENSE is none).
 * interleaved_q4k has LARQL's newer name interleaved_kquant_dequant besides. */
bool wa_path_parse(const char *name, wa_path *out);
/** LARQL's newer name of INTERLEAVED_Q4K. */
#define WA_PATH_KQUANT_DEQUANT "interleaved_kquant_dequant"
/** EXTERNAL and SERVED: what it computes with is not ours to know. */
bool wa_path_is_foreign(wa_path path);
/** CHECKPOINT and CHECKPOINT_MODEL: paths of another checkpoint, and of no vindex. */
bool wa_path_is_checkpoint(wa_path path);
/** EXPERTS and EXPERTS_Q8K: paths of a vindex with experts. */
bool wa_path_is_of_experts(wa_path path);

/* X(id, code, text): walk-paths-and-audit.md 6.4. The code is what the result file stores. */
#define WA_LABEL_LIST(X)                                                                           \
    X(NONE, 0, "none")                                                                             \
    X(ZERO_FEATURES_DENSE, 1, "zero_features_dense")                                               \
    X(L1_CACHE_HIT, 2, "l1_cache_hit")                                                             \
    X(SPARSE_GEMV_FULL_K, 3, "sparse:gemv_full_k")                                                 \
    X(SPARSE_PARALLEL_Q4K_DOWN, 4, "sparse:parallel_q4k_down")                                     \
    X(SPARSE_SERIAL, 5, "sparse:serial")                                                           \
    X(INTERLEAVED_Q4_METAL, 6, "interleaved_q4:metal")                                             \
    X(INTERLEAVED_Q4_CPU, 7, "interleaved_q4:cpu")                                                 \
    X(INTERLEAVED, 8, "interleaved")                                                               \
    X(FULL_MMAP, 9, "full_mmap")                                                                   \
    X(INTERLEAVED_Q4K_DEQUANT, 10, "interleaved_q4k:dequant")                                      \
    X(EXACT, 11, "exact")                                                                          \
    X(WEIGHTS_FALLBACK_OVERRIDE, 12, "weights_fallback:override")                                  \
    X(WEIGHTS_FALLBACK_SPARSE, 13, "weights_fallback:sparse")                                      \
    X(EXACT_MODEL_DOWN, 14, "exact:model_down")                                                    \
    X(EXTERNAL, 15, "external")                                   /* ours: upstream has none */    \
    X(INTERLEAVED_KQUANT_NATIVE, 16, "interleaved_kquant:native") /* larql-2026-08.md 2.1 */       \
    X(INTERLEAVED_KQUANT_DEQUANT, 17, "interleaved_kquant:dequant")                                \
    X(CHECKPOINT, 18, "checkpoint") /* ours */                                                     \
    /* ours: LARQL's server has no labels, larql-2026-08.md 3.4 */                                 \
    X(INTERLEAVED_KQUANT_Q8K, 19, "interleaved_kquant:q8k")                                        \
    X(EXPERTS, 20, "experts")         /* ours */                                                   \
    X(EXPERTS_Q8K, 21, "experts:q8k") /* ours: LARQL's experts, larql-2026-08.md 5.4 */            \
    X(NOT_SERVED, 22, "not_served")   /* ours: the model's own FFN, since no server has the layer */

typedef enum wa_label {
#define WA_LABEL_ENUM(id, code, text) WA_LABEL_##id = (code),
    WA_LABEL_LIST(WA_LABEL_ENUM)
#undef WA_LABEL_ENUM
        WA_LABEL_COUNT = 23
} wa_label;
const char *wa_label_text(wa_label label);

typedef enum wa_bucket {
    WA_BUCKET_EXACT,
    WA_BUCKET_QUANTIZED,
    WA_BUCKET_FP4,
    WA_BUCKET_APPROXIMATE,
    WA_BUCKET_COUNT
} wa_bucket;
/** "exact", "quantized", "fp4", "approximate". */
const char *wa_bucket_name(wa_bucket bucket);
/** The name to the bucket; false when there is none. */
bool wa_bucket_parse(const char *name, wa_bucket *out);

enum { WA_K_ALL = -1 };

/*
 * X(id, word): whose routing ladder, labels and default list; job key `ladder`. May masks as
 * LARQL's audit does, August hides from a case every file that it does not read.
 */
#define WA_LADDER_LIST(X)                                                                          \
    X(2026_05, "larql-2026-05") /* walk-paths 2.2 */                                               \
    X(2026_08, "larql-2026-08") /* larql-2026-08 2.1 */
typedef enum wa_ladder {
#define WA_LADDER_ENUM(id, word) WA_LADDER_##id,
    WA_LADDER_LIST(WA_LADDER_ENUM)
#undef WA_LADDER_ENUM
        WA_LADDER_DEFAULT = WA_LADDER_2026_08 /* where no job says otherwise */
} wa_ladder;
const char *wa_ladder_word(wa_ladder ladder);

/** One entry of a job's `paths`. Strings borrowed from the job; NULL = absent. */
typedef struct wa_path_request {
    const char *path;
    int k; /* WA_K_ALL when absent */
    const char *name, *file, *library, *bucket;
    const char *command;   /* EXTERNAL: for `sh -c` */
    const char *directory; /* EXTERNAL with command: where it starts */
    double timeout;        /* EXTERNAL with command: seconds for one answer */
    /* SERVED: servers, separated by spaces; a word of WA_WIRE_LIST, NULL = f32 */
    const char *url, *wire;
    bool decode; /* `rows: decode` */
    /* foreign paths: the path whose stored numbers and formula it claims to compute */
    const char *like;
    double kernel_tolerance; /* EXTERNAL with like; 0 = WA_FOREIGN_TOLERANCE */
} wa_path_request;

/*
 * What a foreign kernel may differ from the oracle of the path it is like: it may hold activations
 * in f16 or multiply in TF32 (11 bits: some 2e-4 of an output's norm), where ours keep f32
 * (1.6e-6). bf16 or 8-bit activations need more, and the job must say so.
 */
#define WA_FOREIGN_TOLERANCE 1e-3

typedef struct wa_external wa_external;

/** Where a case reads one projection: a payload of its vindex, or the model's own weights. */
typedef struct wa_source {
    bool from_model;
    wa_payload payload; /* when !from_model */
} wa_source;

/** One (vindex, path[, K]) to be compared with the reference. Read-only after wa_cases_build. */
typedef struct wa_case wa_case;
struct wa_case {
    const char *name; /* "f16:full_mmap", "f16:sparse_serial:k512", arena */
    int vindex;       /* index into the audit's vindexes; -1 for DENSE */
    wa_path path;
    wa_ladder ladder; /* whose labels and masks */
    /* wa_ladder_explain of LARQL's own choice among all files of the vindex: a fact that nothing
     * judges; "" = none, arena */
    const char *route;
    int k;               /* WA_K_ALL or a count */
    size_t k_all_layers; /* layers no wider than a finite k: there it leaves no feature out */
    wa_bucket bucket;
    wa_source source[WA_PROJECTION_COUNT];
    wa_label kernel;         /* the one kernel that computes it; forced, never another */
    wa_label expected_label; /* what the routing ladder says upstream would emit for these files */
    const char *url;         /* SERVED: its servers, borrowed from the request */
    wa_wire wire;            /* SERVED: how its x travels; else NONE */
    bool decode;             /* its kernel is run one position at a time as well */
    /* why it cannot run (zero features), arena; NULL = it runs. Not computed: NOT-RUN */
    const char *not_run;
    /* EXTERNAL: one of them, borrowed from the request; else NULL */
    const char *library, *file, *command;
    const char *directory; /* of command, borrowed as well */
    double timeout;        /* of command: seconds for one answer */
    /* has no residual stream of its own: its outputs answer the reference's inputs only */
    bool isolated;
    /* CHECKPOINT_MODEL: whose embedding, attention, norms and head its own stream has, borrowed
     * from its vindex; NULL = the reference's */
    const wa_model *stream;
    /* EXTERNAL: its kernel, borrowed from whoever opened it; NULL = not opened */
    const wa_external *external;
    /* EXTERNAL: a case of the path it claims to compute, arena; NULL = it claims nothing */
    const wa_case *like;
    /* largest error against the oracle, and of servers among themselves; 0 = the bounds' */
    double kernel_tolerance;
};

/** A path a vindex cannot run, and why (the missing file). Not a case. */
typedef struct wa_not_offered {
    int vindex;
    const char *path;   /* the word that asked for it; borrowed */
    const char *reason; /* arena */
} wa_not_offered;

typedef struct wa_cases {
    /* [count] without DENSE, in vindex order then upstream's order (walk-paths 4.3), arena */
    wa_case *items;
    size_t count;
    wa_not_offered *not_offered; /* [not_offered_count], arena */
    size_t not_offered_count;
} wa_cases;

/** A vindex with the name the job gives it and the paths asked for. requests = NULL: all it can
 * run. */
typedef struct wa_case_input {
    const char *name;
    const wa_vindex *vindex;
    const wa_path_request *requests;
    size_t request_count;
    wa_ladder ladder;
    bool required; /* requests stand under this very vindex, so each must run here */
    /* a checkpoint without requests of its own: CHECKPOINT_MODEL is offered beside CHECKPOINT */
    bool whole;
} wa_case_input;

/**
 * Cases of one audit (design 5, 6). Local, pure.
 *
 * A path named by the job must run on at least one vindex; one named under a vindex must run there:
 * otherwise WA_E_JOB. Without requests: upstream's list for what the vindex holds; what it lacks
 * goes to not_offered. Names are unique, else WA_E_JOB.
 */
WA_CHECKED wa_status wa_cases_build(const wa_case_input *inputs, size_t count,
                                    const wa_model *model, wa_arena *arena, wa_cases *out,
                                    wa_error *err);

/** The reference as a case of the same table. */
wa_case wa_case_dense(void);

/**
 * Do a model and a vindex belong together: layers, hidden size, features of every layer that has
 * any? Local. Labels (family, model) and the vocabulary, which enter no path, are not compared.
 * Errors: WA_E_MISMATCH, both numbers.
 */
WA_CHECKED wa_status wa_vindex_match(const wa_model *model, const wa_vindex *vindex, wa_error *err);

/** Add a line for every field of index.json that no walk path reads and that contradicts the model:
 * family, vocab_size, intermediate_size, embed_scale, rope_base. Local. `name`: of the vindex. */
WA_CHECKED wa_status wa_vindex_contradict(const wa_model *model, const wa_vindex *vindex,
                                          const char *name, wa_notes *notes, wa_error *err);

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

/** The case whose oracle judges it: itself, or what it is like. NULL: a case that cannot run, or a
 * kernel of which nobody but the user knows what numbers it reads and what it means to do. */
const wa_case *wa_case_oracle(const wa_case *which);

/** Multiply-adds times two of one evaluation of `rows` rows, and stored bytes it reads; for cost
 * figures. */
double wa_case_flops(const wa_case *which, const wa_walk_layer *layer, size_t rows);
/** Of that, what goes through experts, without router and shared expert; and their stored bytes. 0
 * where the case computes none. */
double wa_case_expert_flops(const wa_case *which, const wa_walk_layer *layer, size_t rows);
size_t wa_case_expert_bytes(const wa_case *which, const wa_walk_layer *layer);
size_t wa_case_bytes(const wa_case *which, const wa_walk_layer *layer);

/*
 * The oracle: the path's defined arithmetic on its own stored numbers, reference decoder (or one
 * that a test proves equal to it), f64 products by BLAS's dgemm.
 * For finite K it chooses its own hits in f64; a hit list of the kernel that differs only among
 * scores closer than 1e-6*|x||g| is taken instead (a tie is no defect).
 *
 * The last bits of a dgemm may depend on its shape and on the place in it. So every product has one
 * shape, which follows from the weights and from a width that the caller names, and the caller
 * names a seat for each row: one of `width` seats, numbers beyond are taken modulo. Same row, same
 * width and seat: same bits, in whatever company and order. Rows of successive seats share a
 * product, so a caller deals them in turn. Seats that stay empty cost as much as the others;
 * products that are narrow cost more for each seat.
 */
enum { WA_ORACLE_WIDEST = 48 };
/** The width for so many evaluations with the same weights: as few products as can be, as even as
 * can be. At most WA_ORACLE_WIDEST. */
size_t wa_oracle_width(size_t evaluations);
typedef struct wa_oracle wa_oracle;

/** Space for calls of at most `rows` rows, `hidden` values and `features` features; arena. */
WA_CHECKED wa_status wa_oracle_open(wa_arena *arena, size_t rows, size_t hidden, size_t features,
                                    wa_oracle **out, wa_error *err);
/** What wa_oracle_open takes, without lists that are small beside it. */
size_t wa_oracle_bytes(size_t rows, size_t hidden, size_t features);

/**
 * Local. y out: [rows, hidden] f64.
 *
 * x      [rows, hidden] f32
 * width  1 to WA_ORACLE_WIDEST
 * seats  [rows]; NULL = the row's number
 * hits   [rows, wa_case_hit_count] of the kernel, or NULL; in a layer with experts [rows, chosen]
 *        those that it chose
 * theirs [rows, hidden] y of the kernel, or NULL. Only where activations are rounded
 *        (wa_case_rounds_activations) is it looked at: of those so near the middle of two integers
 *        that f32 sums decide, the integer that brings y nearer to it is taken
 * least  NULL, or out: [rows] the size of y below which f32 arithmetic cannot be held to a relative
 *        error, since y cancels: for finite K, else 0
 *
 * Several rows decode the weights once, as long as they fit into the space. Rows of one seat that
 * are equal bit for bit (in x and what is looked at of hits) are evaluated once. Errors:
 * WA_E_UNSUPPORTED (a case that does not run), WA_E_INTERNAL (space too small).
 */
WA_CHECKED wa_status wa_oracle_run(wa_oracle *oracle, const wa_case *which,
                                   const wa_walk_layer *layer, size_t rows, const float *x,
                                   size_t width, const size_t *seats, const int32_t *hits,
                                   const float *theirs, double *y, double *least, wa_error *err);
/** Multiply-adds times two of all evaluations so far, as wa_case_flops counts them. */
double wa_oracle_flops(const wa_oracle *oracle);

/* X(id, word): what stored rows were held against. */
#define WA_BASIS_LIST(X)                                                                           \
    X(NONE, "none")                                                                                \
    X(EQUALITY, "equality") /* f32: the model's values */                                          \
    /* f16, and f32 made of f16 values: what some rounding to f16 gives */                         \
    X(F16, "f16_neighbours")                                                                       \
    /* block formats: LARQL's encoder on the model's row, or on its f16 values */                  \
    X(REENCODING, "re-encoding")                                                                   \
    X(BF16, "bf16_neighbours") /* bf16: what some rounding to bf16 gives */                        \
    /* block formats of checkpoints: any encoder that takes the nearest levels */                  \
    X(LEVELS, "nearest_levels")
typedef enum wa_encoding_basis {
#define WA_BASIS_ENUM(id, word) WA_BASIS_##id,
    WA_BASIS_LIST(WA_BASIS_ENUM)
#undef WA_BASIS_ENUM
        WA_BASIS_COUNT
} wa_encoding_basis;
const char *wa_encoding_basis_word(wa_encoding_basis basis);

/** One stored projection against the model's own (doc/encoding.md). */
typedef struct wa_row_error {
    /* each row's error / max(its own norm, RMS row norm) in the model's matrix */
    double p50, p99, max;
    int32_t worst_row;
    /* stored values that are no numbers; then max is NaN and worst_row the first such row */
    size_t nonfinite;
    wa_encoding_basis basis;
    size_t rows, unequal; /* rows compared; those that the basis does not give */
    int32_t unequal_row;  /* of those, the one with the largest error; -1 = none */
    double unequal_error; /* that error; NaN when it holds values that are no numbers */
    /* Block formats, over the unequal rows only; 0 and -1 without any: */
    double steps; /* E: largest distance of a weight from its stored value, wa_row_steps */
    int32_t steps_row;
    /* R: their error over that of our re-encoding of the model's rows; LEVELS: over wa_row_expected
     * */
    double ratio;
    double gain; /* <stored, model> / <model, model> - 1 of all together; LEVELS: less what
                  * wa_row_expected says, */
    /* and of the row where it is largest in magnitude, less that of our re-encoding of it, if any
     * */
    double row_gain;
    int32_t row_gain_row;
    /* R of the row where it is largest; of the matrix (expert) where it is largest, and the row of
     * that one where it is largest */
    double row_ratio, part_ratio;
    int32_t row_ratio_row, part_ratio_row;
} wa_row_error;

/** Who may have made stored rows of blocks: LARQL's encoder is tried on vindexes; a checkpoint is
 * held against nearest levels. */
typedef enum wa_encoded_by { WA_ENCODED_LARQL, WA_ENCODED_ANY } wa_encoded_by;
/** The one for a payload. */
wa_encoded_by wa_payload_encoded_by(wa_payload payload);

/**
 * Compare a stored matrix with the model's, row by row: [F, H] with gate or up [F, H], a down
 * stored [H, F] with down [H, F] (then a row is an output), or, transposed here, a feature-major
 * down [F, H] with down [H, F]. Local.
 */
WA_CHECKED wa_status wa_encoding_check(const wa_matrix *stored, const wa_matrix *model_matrix,
                                       bool transpose_model, wa_encoded_by by, wa_arena *arena,
                                       wa_row_error *out, wa_error *err);

/** A stored matrix and the model's. */
typedef struct wa_encoding_pair {
    wa_matrix stored, model;
    /* of columns: what is taken off both before they are compared, since stored numbers are without
     * it */
    float offset;
} wa_encoding_pair;

/** What one of several matrices contributes. */
typedef struct wa_encoding_part {
    double max;     /* largest row error; NaN: a row holds values that are no numbers */
    int32_t row;    /* its row in the matrix */
    size_t unequal; /* rows that the basis does not give */
    double ratio;   /* R of these; 0 without any */
} wa_encoding_part;

/**
 * The same of `count` matrices of one shape and format, whose rows are taken end to end: row i of
 * matrix m is row m * rows + i of
 * *out. Each row's error is in units of its own matrix's RMS row norm. parts: [count], or NULL.
 * Errors: besides, WA_E_UNSUPPORTED where shapes or formats differ.
 */
WA_CHECKED wa_status wa_encoding_check_all(const wa_encoding_pair *pairs, size_t count,
                                           bool transpose_model, wa_encoded_by by, wa_arena *arena,
                                           wa_row_error *out, wa_encoding_part *parts,
                                           wa_error *err);
/** Bytes of an arena that it takes for `count` matrices like this pair, about: a little more than
 * it needs, where rows are not encoded again. */
size_t wa_encoding_memory(const wa_encoding_pair *first, size_t count, bool transpose_model);

/** Largest healthy p99 of a stored matrix: its format's nominal bound, or of f32 files made of f16
 * values that of f16. */
double wa_encoding_nominal(const wa_vindex *vindex, const wa_matrix *stored);

/* --- Path external: a kernel that is not ours ------------------------------------------------- */

/** What a kernel is asked for: y [rows, hidden] for x [rows, hidden], observations first_obs and
 * on, at a layer. */
typedef struct wa_external_rows {
    size_t layer, first_obs, rows, hidden;
    size_t prompt; /* of the job: all rows are its own */
    const float *x;
    float *y;
    wa_ways *ways; /* may be NULL */
    /* may be NULL: |= WA_MODE_ bits (base/foreign.h) of what the kernel left changed; they are put
     * back */
    int *modes;
} wa_external_rows;

struct wa_external {
    const char *label;  /* what the kernel calls itself, arena */
    const char *source; /* path of the library or file, or the command; borrowed from the case */
    /* y = FFN(x) at a layer; y comes full of NaN. */
    wa_status (*run)(const wa_external *external, const wa_external_rows *rows, wa_error *err);
    void (*close)(wa_external *external);
    void *context; /* of whoever opened it */
    int modes;     /* WA_MODE_ bits that loading left changed; they are put back */
    /* Of a server, else NULL and NONE: */
    const char *facts;     /* what it said of itself and what nobody can know, JSON, arena */
    const char *identity;  /* of that what decides numbers: for the fingerprint, arena */
    wa_wire answer;        /* how its y travels */
    const uint8_t *serves; /* [layers] 1: some server has it; arena; NULL = all */
    /* Is it still what it was when it was opened? NULL = nothing to ask. Errors: WA_E_MISMATCH,
     * WA_E_AWAY. */
    wa_status (*check)(const wa_external *external, wa_error *err);
};

/**
 * Load the library of a case (walkaudit/external.h) and ask it for its kernel. Local; runs the
 * user's code, guarded (base/foreign.h), on copies between guard pages.
 * Errors: WA_E_IO (no such library, a symbol it needs is missing), WA_E_MISMATCH (no
 * `walkaudit_external`, another version, no `run`), WA_E_UNSUPPORTED (it returns a number that is
 * not 0).
 *
 * vindex_path, model_path  what the kernel is told; strings in the arena or longer-lived
 */
WA_CHECKED wa_status wa_external_load(const wa_case *which, const wa_model *model,
                                      const char *model_path, const char *vindex_path,
                                      wa_arena *arena, wa_external **out, wa_error *err);
/** May be NULL. */
void wa_external_close(wa_external *external);

/* --- The routing ladder (walk-paths 2.2-2.4) as one table, pure ------------------------------- */

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
