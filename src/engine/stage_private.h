/* The buffers of a stage, shared by stage.c (the layer), compare.c (its cases), encoding.c (what is
 * stored) and head.c (logits). */
#ifndef WALKAUDIT_ENGINE_STAGE_PRIVATE_H
#define WALKAUDIT_ENGINE_STAGE_PRIVATE_H

#include "engine/checked.h"
#include "engine/stage.h"
#include "path/oracle.h"
#include "store/capture.h"

/* What was asked for before it is needed (ahead.c). */
typedef struct ahead {
    size_t next;        /* layer, or layer_count: the head, to ask for next in this batch */
    size_t *bytes;      /* [layers of the stage + 1] of what was asked for */
    int cold;           /* batches, this one counted, in which to ask; 0 = everything is there */
    long faults;        /* major page faults so far */
    uint8_t *witnessed; /* [layers of the stage + 1] 1 = its bytes are */
    wa_expert_watch watch;
} ahead;

/* A case's FFN is evaluated on the reference's input, and on its own. */
enum { WA_STREAM_REFERENCE, WA_STREAM_OWN, WA_STREAMS };

/* The case that ran last at this layer: its outputs stand in y_walk and y_own. */
typedef struct last_case {
    const wa_case *which; /* NULL = none has yet */
    wa_walk_layer weights;
    size_t lane;    /* WA_NO_LANE: an isolated case */
    double seconds; /* that its evaluations took */
} last_case;

struct wa_stage {
    const wa_stage_audit *audit;
    wa_share share;
    wa_arena *arena;
    wa_scratch scratch;
    wa_attention attention;
    wa_cost cost;
    wa_steps steps;
    ahead ahead;
    size_t lanes;   /* lane 0 of the lead first, then lane_case */
    int *lane_case; /* [lanes] case of a lane; -1 = the reference */
    /* [lanes] whose embedding, attention, norms and head it has: the audit's model, but for a case
     * of the whole of another checkpoint */
    const wa_model **lane_model;
    /* [lanes][max_rows][H]: norm output, then attention output, then FFN input */
    float *normed;
    float *q, *k, *v;     /* [lanes][max_rows][heads * head_dim] */
    float *y_ref;         /* [max_rows][H]: lead only */
    float *y_walk;        /* [max_rows][H]: the case on the reference's input */
    float *y_own;         /* [max_rows][H]: the case on its own input */
    float *post_ref;      /* [max_rows][H]: the reference's output after the post-FFN norm */
    float *post_walk;     /* [max_rows][H] */
    wa_operand *operands; /* [lanes] */
    uint8_t *repeats;     /* [lanes] 1 = the stream is the lane's before it, of those at hand */
    /* [max_rows] of the reference, in a model with experts; is_routed: with logits, for the cases
     * of this layer */
    wa_routing routing;
    bool is_routed;
    wa_routing case_routing[WA_STREAMS]; /* [max_rows] of the case at hand, likewise */
    last_case last;
    /* [sampled_count] rows of the batch at which KERNEL is measured at this layer, ascending */
    size_t *sampled;
    size_t sampled_count;
    /* [2][sampled_count][H]: the oracle's last answers at this layer, on the reference's input and
     * on a case's own */
    double *truth;
    /* [1 + cases] being written: of the reference, of each case; NULL = none, or nothing is kept */
    wa_capture_file **capture;
    wa_arena *capture_arena; /* owned: their memory, reset with each batch */
    wa_oracle *oracle;       /* room for [2 * sampled_count] rows; NULL = nothing is sampled */
    double *truth_least;     /* [2][sampled_count]: what f32 can resolve there */
    /* the cases they were for; NULL = none yet at this layer */
    const wa_case *truth_of, *own_truth_of;
    /* [rows][H]: the own input it was for, a lane of normed */
    const float *own_truth_x;
};

/* post = post-FFN norm of a model's layer (when the block has one) times its residual multiplier:
 * what a stream of that model receives. */
void wa_stage_post(const wa_model *model, size_t layer, const float *y, size_t rows, float *out);
/* How many lanes, from this one on, have the same model. */
size_t wa_stage_lanes_alike(const wa_stage *stage, size_t first);

/* One case at one layer of one batch. */
typedef struct wa_comparison {
    wa_stage *stage;
    const wa_stage_batch *batch;
    wa_reference *reference; /* until its y is there, x is all of it */
    const wa_case *which;
    size_t index; /* of the case */
    size_t layer;
    size_t lane; /* WA_NO_LANE: an isolated case */
    const wa_team_link *link;
    bool lead_failed; /* what it is waiting for: the failure is not of this case */
    wa_walk_layer weights;
} wa_comparison;
#define WA_NO_LANE SIZE_MAX

/** A member of a team: take what the lead has sent of this layer, unless reference->y is there, and
 * make stage->post_ref. Waits. Errors: those of the lead. */
WA_CHECKED wa_status wa_stage_await_reference(wa_stage *stage, const wa_stage_batch *batch,
                                              size_t layer, const wa_team_link *link,
                                              wa_reference *reference, wa_error *err);

/** Evaluate every own case at one layer against the reference, move its lane on, write its fields.
 * Of the reference x is enough: y and h are awaited when the first case has run. */
WA_CHECKED wa_status wa_stage_compare(wa_stage *stage, const wa_stage_batch *batch, size_t layer,
                                      wa_reference *reference, const wa_team_link *link,
                                      wa_error *err);

/** Compare x and y of the reference with the job's reference dump, where there is one. Lead
 * only. */
WA_CHECKED wa_status wa_stage_compare_dump(wa_stage *stage, const wa_stage_batch *batch,
                                           size_t layer, const wa_reference *reference,
                                           wa_error *err);
/** Two rows as they come, piece by piece: sums of squares. Start with zeros. */
typedef struct wa_distance {
    double apart, theirs; /* |ours - theirs|^2, |theirs|^2 */
} wa_distance;
void wa_distance_add(wa_distance *distance, const float *ours, const double *theirs, size_t count);
/** Keep the largest relative distance and its position in *rel_l2 and *position, which is -1 before
 * the first; NaN is larger than any number. */
void wa_distance_keep(const wa_distance *distance, size_t position, double *rel_l2, int32_t *at);

/** A batch begins. */
void wa_stage_begin_ahead(wa_stage *stage);
/** A layer begins: ask for what is read after it, and in the first for it too. */
void wa_stage_look_ahead(wa_stage *stage, const wa_stage_batch *batch, size_t layer);
/** Who has experts witnessed before they are computed with; NULL = nobody. Borrowed from the stage. */
const wa_expert_watch *wa_stage_watch(wa_stage *stage);
/** Have the bytes that a layer computes with, or with layer_count the head, witnessed, before it first
 * does, and before the encoding check reads others. */
WA_CHECKED wa_status wa_stage_witness(wa_stage *stage, const wa_stage_batch *batch, size_t layer,
                                      wa_error *err);

/** Write what the reference's router chose at a layer, which stage->routing holds; lead only.
 * Nothing in a layer without experts. */
void wa_stage_keep_routing(const wa_stage *stage, const wa_stage_batch *batch, size_t layer);
/** Write what the case's router chose, which stage->case_routing holds, beside the reference's; in
 * a layer with experts. stage->y_walk is the case's output. */
WA_CHECKED wa_status wa_stage_compare_routing(const wa_comparison *c, wa_error *err);
/** Does a case run here say which experts it chose? Foreign kernels do not. */
bool wa_stage_tells_experts(const wa_comparison *c);
/**
 * Of each expert that a sampled row went through on a stream: count it, and keep the largest error
 * of the kernel. Of a kernel that does not tell its experts the reference's are taken, on its
 * stream; nothing on the other, nor in a layer without experts. errors: [rows], of which the
 * sampled ones are read. Errors: WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_stage_keep_expert_errors(const wa_comparison *c, int stream,
                                                 const double *errors, wa_error *err);

/** What the encoding check of this audit compares. */
wa_checked wa_stage_checked(const wa_stage *stage);
/** ENCODING of the vindexes this rank checks, at one layer. */
WA_CHECKED wa_status wa_stage_check_encoding(wa_stage *stage, const wa_stage_batch *batch,
                                             size_t layer, wa_error *err);

/** Keep x and y_ref (lead only), or stage->y_walk of a case, where the job asks for it. */
WA_CHECKED wa_status wa_stage_keep_reference(wa_stage *stage, const wa_stage_batch *batch,
                                             size_t layer, const wa_reference *reference,
                                             wa_error *err);
WA_CHECKED wa_status wa_stage_keep_walk(wa_stage *stage, const wa_stage_batch *batch, size_t layer,
                                        size_t which, wa_error *err);
WA_CHECKED wa_status wa_stage_open_captures(wa_stage *stage, wa_error *err);
/** After the layers of a batch: what is not whole is thrown away. */
void wa_stage_end_captures(wa_stage *stage);

/** Run `statement`, charging its time to a phase, less what it charges to others. */
#define WA_TIMED(stage, phase, statement)                                                          \
    do {                                                                                           \
        double start_ = wa_cost_clock(&(stage)->cost);                                             \
        statement;                                                                                 \
        (stage)->cost.seconds[phase] += wa_cost_clock(&(stage)->cost) - start_;                    \
    } while (0)

#endif
