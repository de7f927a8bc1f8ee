/* A way to use the ranks that is being weighed: what the files of the choice hand on. */
#ifndef WALKAUDIT_JOB_PLAN_CANDIDATE_H
#define WALKAUDIT_JOB_PLAN_CANDIDATE_H

#include "job/plan_grid.h"

/** What one team member does: operations per row and per pair of a layer, per row of logits, and
 * per row of the text; and of its matrices, each once, per row: of a layer, and of the head. */
typedef struct wa_member_cost {
    double layer, pair, head, text;
    double matrices, head_matrix;
    size_t lanes;
} wa_member_cost;

/** One candidate, worked out. Arrays are of the arena. */
typedef struct wa_candidate {
    wa_grid grid;
    size_t *stage_start;
    int *case_member;
    wa_member_cost *members; /* [teams] */
    bool helps;              /* each team is of one host, and its products are ours */
    wa_packing_rule rule;    /* how its batches are packed */
    size_t batches;
    /* operations until the last batch is done, decoding and packing among them */
    double time;
    double judged;             /* the same where ranks are not alike: what decides */
    double busy_max, busy_sum; /* of any rank, products alone; of all used ranks, all operations */
    wa_plan_share first_group;
} wa_candidate;

#endif
