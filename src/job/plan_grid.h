/* The choice of a grid, and the work that is to be done on it. */
#ifndef WALKAUDIT_JOB_PLAN_GRID_H
#define WALKAUDIT_JOB_PLAN_GRID_H

#include "job/plan.h"

/* --- The work (plan_batches.c) --- */

/** The prompts that are to be computed. Sums are over the prompts before each, so that a run of
 * them costs two look-ups. Arena. */
typedef struct wa_work {
    const wa_plan_input *input;    /* borrowed */
    size_t *first_obs;             /* [prompts + 1] */
    double *pairs, *text;          /* [prompts + 1] */
    uint8_t *missing;              /* [prompts] 1 = no kept part holds it */
    size_t prompts, rows, longest; /* of the missing */
    wa_amount all;                 /* of the missing, as one batch */
} wa_work;

/** Errors: WA_E_USAGE (a prompt without positions, more than INT32_MAX in all), WA_E_MEMORY. */
WA_CHECKED wa_status wa_work_open(const wa_plan_input *input, wa_arena *arena, wa_work *out,
                                  wa_error *err);
wa_amount wa_work_amount(const wa_work *work, const wa_batch *batch);

/** How missing prompts are packed into batches. */
typedef struct wa_packing_rule {
    size_t most;        /* rows of a batch, but for a longer prompt */
    size_t least;       /* below which none is cut smaller */
    size_t groups;      /* > 1: a batch takes `sixths` of a group's even share of what is left */
    size_t sixths;      /* 1 to 6 */
    bool dearest_first; /* else in order of their prompts */
} wa_packing_rule;

/** Rows that the next batch is to have when so many are left. */
size_t wa_packing_target(const wa_packing_rule *rule, size_t left);

/** plan's batches, batch_count, max_rows, max_prompts and obs_count. */
WA_CHECKED wa_status wa_work_pack(const wa_work *work, const wa_packing_rule *rule, wa_arena *arena,
                                  wa_plan *plan, wa_error *err);

/* --- The grid (plan_grid.c) --- */

/** Fill in a plan: all of it. Errors: as wa_plan_build. */
WA_CHECKED wa_status wa_plan_choose_grid(const wa_work *work, int ranks, wa_arena *arena,
                                         wa_plan *plan, wa_error *err);

/**
 * Most bytes that the arenas of one rank hold while batches run: of the writer of a group of
 * `stages` x `teams`, which has lane 0 and gathers the group's results, with `lanes` lanes.
 * Vocabulary, texts and the libraries' own memory are not in it. Saturates at SIZE_MAX.
 */
size_t wa_plan_memory(const wa_plan_input *input, const wa_plan *plan, size_t lanes, int stages,
                      int teams);

#endif
