/* The pipeline: batches on demand, residuals from stage to stage, the reference to the team, blocks
 * to the writer. Design 10. */
#ifndef WALKAUDIT_ENGINE_PIPELINE_H
#define WALKAUDIT_ENGINE_PIPELINE_H

#include "comm/comm.h"
#include "engine/stage.h"
#include "job/plan.h"
#include "store/mark.h"

/** How far an audit is, as rank 0 hears of it: at most a quarter of a second late, and what a layer
 * takes. */
typedef struct wa_progress {
    size_t prompts, prompt_total; /* that have their part, those of earlier runs too; of the job */
    size_t layers, layer_total;   /* of this run: the layers of each of its batches */
    double share;                 /* of this run's rows in those layers: 0 to 1 */
    size_t parts;                 /* batches of this run that have their part */
} wa_progress;

/** Everything a rank needs for its part. Borrowed for the call. */
typedef struct wa_pipeline_input {
    wa_comm *comm;
    const wa_plan *plan;
    const wa_stage_audit *audit;
    wa_dims dims;              /* of the whole job */
    const int32_t *ids;        /* [obs] */
    const size_t *prompt_rows; /* [prompts] */
    const char *result_path;   /* parts go beside it */
    const wa_part_mark *mark;  /* of this run */
    bool wants_encoding;       /* no kept part has the row errors: the first batch carries them */
    wa_arena *arena;           /* buffers of this rank */
    /* rank 0 only: */
    double deadline; /* wa_clock() at which to begin no further batch; 0 = never */
    /* seconds for what is in flight then, and after SIGUSR1 or SIGUSR2 */
    double grace;
    size_t *parts_added; /* counted on by one for each part */
    const char *goes_on; /* what is said of a stop: "the same command resumes it" */
    void (*progress)(void *context, const wa_progress *progress); /* often; NULL = none */
    void (*beat)(
        void *context); /* often: time for what else waits for rank 0; NULL = nothing does */
    void *context;
} wa_pipeline_input;

/**
 * Collective at its start, then each rank's own loop; idle ranks only listen. Returns when all
 * batches have their parts, or one has failed, or a signal on any rank or the deadline ended it
 * (design 11): rank 0 returns that story, wherever it happened, and the caller agrees afterwards.
 * WA_E_STOPPED when *parts_added is not 0, else WA_E_NO_PROGRESS.
 *
 * cost   where this rank's time went
 * fatal  this rank could not go on serving its peers (MPI, memory for a batch): they may wait for
 *        it, so the caller must abort instead of agreeing
 */
WA_CHECKED wa_status wa_pipeline_run(const wa_pipeline_input *input, wa_cost *cost, bool *fatal,
                                     wa_error *err);

/**
 * Messages, beside notices (comm.h), of an audit whose batches are all computed by one run that
 * nothing stops: exact, but for bytes_to_root where groups compete for batches, and for teams of
 * several hosts where only some groups have one. Local, pure.
 *
 * lanes  [teams] residual streams of each team member (wa_plan_seat_cost)
 * nodes  hosts, with as many ranks each: a team on one of them shares memory, and takes no messages
 *        for the reference
 */
WA_CHECKED wa_status wa_pipeline_traffic(const wa_plan *plan, const wa_dims *dims, size_t hidden,
                                         const size_t *lanes, int nodes, wa_arena *arena,
                                         wa_traffic *out, wa_error *err);

#endif
