/* A stage: a rank's own layers, for all of its lanes. Where the comparison happens. */
#ifndef WALKAUDIT_ENGINE_STAGE_H
#define WALKAUDIT_ENGINE_STAGE_H

#include "base/clock.h"
#include "compute/dense.h"
#include "engine/witness.h"
#include "measure/block.h"
#include "measure/sample.h"
#include "path/evaluate.h"
#include "store/capture.h"
#include "store/dump.h"

/* Where a rank's time goes. X(id, name) */
#define WA_PHASE_LIST(X)                                                                           \
    X(PROJECTIONS, "projections")                                                                  \
    X(ATTENTION, "attention")                                                                      \
    X(DENSE_FFN, "dense_ffn")                                                                      \
    X(WALK_FFN, "walk_ffn")                                                                        \
    X(COMPARE, "compare")                                                                          \
    X(KERNEL_CHECK, "kernel_check")                                                                \
    X(ENCODING_CHECK, "encoding_check")                                                            \
    X(HEAD, "head")                                                                                \
    X(WAIT, "wait")                                                                                \
    X(GATHER, "gather")                                                                            \
    X(WRITE, "write")

typedef enum wa_phase {
#define WA_PHASE_ENUM(id, name) WA_PHASE_##id,
    WA_PHASE_LIST(WA_PHASE_ENUM)
#undef WA_PHASE_ENUM
        WA_PHASE_COUNT
} wa_phase;
const char *wa_phase_name(wa_phase phase);

/** Seconds, floating-point operations of matrix products, and stored bytes read, by phase. */
typedef struct wa_cost {
    double seconds[WA_PHASE_COUNT];
    double flops[WA_PHASE_COUNT];
    double bytes[WA_PHASE_COUNT];
    /* seconds of a processor that the rank's own thread had while it did not wait */
    double processor;
    double
        lent; /* seconds of other ranks' processors, which multiplied for it while these waited */
} wa_cost;

/** How far a rank is: layers of batches that it has run, and the rows in them. */
typedef struct wa_steps {
    int64_t layers, rows;
} wa_steps;

/** Seconds that went to messages and parts instead of numbers: wait, gather, write. */
double wa_cost_aside(const wa_cost *cost);
/** The clock less all seconds charged so far: between two looks it moves by what no phase has been
 * charged for, so that work within work is counted once. */
double wa_cost_clock(const wa_cost *cost);

/** What an audit evaluates; the same on every rank. Borrowed for the stage's life. */
typedef struct wa_stage_audit {
    const wa_model *model;
    const wa_vindex *const *vindexes; /* [vindex_count] */
    const wa_case *cases;             /* [case_count] */
    size_t vindex_count, case_count;
    size_t max_rows, max_prompts, longest_prompt;
    wa_engine engine;
    size_t topk;
    size_t obs_count; /* of the whole job */
    wa_kernel_check kernel_check;
    bool encoding_check;
    /* another implementation's figures of the reference; NULL = none */
    const wa_dump *dump;
    const wa_captures *captures; /* NULL = nothing is kept */
    wa_witness *witness;         /* of what is read; NULL: whole files are hashed instead */
    wa_capture_owner captures_owner;
} wa_stage_audit;

/** Rows of one batch on one rank. */
typedef struct wa_stage_batch {
    size_t rows;
    size_t first_obs;    /* of the job's observations */
    size_t first_prompt; /* of the job's prompts */
    bool has_encoding;   /* it carries the encoding check, which is of no prompt */
    wa_packing packing;
    const int32_t *ids; /* [rows] */
    float *h;           /* [lanes][rows][H]: the residual streams, in and out */
    const wa_block *block;
} wa_stage_batch;

/** Rows of the reference as they pass from the lead to its team. Borrowed until the next call. */
typedef struct wa_reference {
    const float *x; /* [rows, H] FFN input */
    const float *y; /* [rows, H] dense FFN output */
    const float *h; /* [rows, H] residual stream after the layer */
} wa_reference;

/** How a stage talks to its team; every call may push messages on. layer = layer_count: the head,
 * where only h is meaningful: [prompts, H] after the final norm, [rows, H] with logits of all
 * positions. */
typedef struct wa_team_link {
    void *context;
    wa_status (*publish)(void *context, size_t layer, const wa_reference *reference, wa_error *err);
    wa_status (*await)(void *context, size_t layer, wa_reference *out, wa_error *err);
    wa_status (*poll)(void *context, wa_error *err);
    const wa_expert_spread
        *spread; /* NULL: every member computes all experts that its lanes take */
} wa_team_link;

typedef struct wa_stage wa_stage;

/**
 * Make the buffers of a rank's stage. Local. `arena` holds them; checks take from it and give back.
 * share: layers, cases and vindexes of this rank; lanes are lane 0 (the lead's) and then its own
 * cases, in order.
 */
WA_CHECKED wa_status wa_stage_open(const wa_stage_audit *audit, const wa_share *share,
                                   wa_arena *arena, wa_stage **out, wa_error *err);
/** Who helps with the products of a stage; borrowed, NULL = nobody. */
void wa_stage_take_help(wa_stage *stage, wa_crew *crew);
/** Give back what is not the arena's. May be NULL. */
void wa_stage_close(wa_stage *stage);
/** Lanes of this rank: (is_lead ? 1 : 0) + own cases that run. */
size_t wa_stage_lanes(const wa_stage *stage);
/** The same from a share, before a stage is open (the pipeline sizes messages with it). */
size_t wa_share_lanes(const wa_stage_audit *audit, const wa_share *share);

/** Fill batch->h from the token ids: first stage only. */
WA_CHECKED wa_status wa_stage_embed(wa_stage *stage, const wa_stage_batch *batch, wa_error *err);
/** Run this stage's layers: advance batch->h, fill the share's fields of batch->block. When it
 * succeeds, the capture files of these layers are final. */
WA_CHECKED wa_status wa_stage_run(wa_stage *stage, const wa_stage_batch *batch,
                                  const wa_team_link *link, wa_error *err);
/** Last stage: logits of every prompt's last row, or of all rows where the block has fields for
 * them, for all lanes, and what follows from them. */
WA_CHECKED wa_status wa_stage_head(wa_stage *stage, const wa_stage_batch *batch,
                                   const wa_team_link *link, wa_error *err);
/**
 * Run rows of another rank's lane, or of this rank's own, through experts [first, end) of a layer.
 * Local; possible whenever the stage polls its link or waits in one of its calls.
 *
 * which  the case whose experts they are; -1 = the reference
 * rows   `which` and `layer` in it are not looked at. Errors: as wa_case_open_layer.
 */
WA_CHECKED wa_status wa_stage_feed(wa_stage *stage, int which, size_t layer,
                                   const wa_expert_rows *rows, size_t first, size_t end,
                                   wa_error *err);
/** The case that rows belong to, as wa_stage_feed takes it. */
int wa_stage_case(const wa_stage *stage, const wa_case *which);
/** Layers run so far. */
wa_steps wa_stage_steps(const wa_stage *stage);
/** Cost so far. */
wa_cost *wa_stage_cost(wa_stage *stage);

#endif
