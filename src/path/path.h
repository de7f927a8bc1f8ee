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

#endif
