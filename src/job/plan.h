/* Plans: pure functions from job, model shape, cases and ranks to batches, grid, dealing and
 * costs. */
#ifndef WALKAUDIT_JOB_PLAN_H
#define WALKAUDIT_JOB_PLAN_H

#include "base/arena.h"
#include "measure/sample.h"

#include <stdbool.h>
#include <stdint.h>

/** Whole prompts that follow one another, and their observations: what is computed together, and
 * what a part holds. */
typedef struct wa_batch {
    size_t first_prompt, prompt_count;
    size_t first_obs, rows;
} wa_batch;

/** Whether the ranks of a team share out the experts of a layer: the words of grid.experts. */
typedef enum wa_spreading {
    WA_SPREADING_BY_PLAN,
    WA_SPREADING_ALWAYS,
    WA_SPREADING_NEVER
} wa_spreading;

/** What the experts of a layer take, without router and shared expert: what a team can share out.
 * Zeros: none. */
typedef struct wa_experts_cost {
    double flops_per_row; /* of one evaluation */
    size_t bytes;         /* stored */
} wa_experts_cost;

/** What a case costs on one row of one layer, and bytes per layer; and which payload it belongs
 * to. */
typedef struct wa_case_cost {
    double flops_per_row;    /* of one FFN evaluation of one layer */
    size_t layer_bytes;      /* stored bytes read per layer */
    size_t head_bytes;       /* embedding and head of its own; 0 = those of the model */
    wa_experts_cost experts; /* in both */
    double oracle_numbers; /* stored numbers of a layer that its oracle decodes; 0 = it has none */
    /* it is the same function of its input as the case before it that runs; where one rank has
     * both, one FFN answers both */
    bool repeats;
} wa_case_cost;

/** What the encoding check of a vindex compares, of all layers: stored numbers, each counted as often
 * as its time is that of a plain float's; and bytes, of both sides. */
typedef struct wa_compared {
    double numbers, bytes;
} wa_compared;

/** Shape of an audit, all that planning needs. */
typedef struct wa_plan_input {
    size_t layer_count;
    double attention_flops_per_row;  /* projections of one layer and lane */
    double attention_flops_per_pair; /* of a row and one it attends to, one layer and lane */
    double dense_flops_per_row;      /* dense FFN of one layer */
    double head_flops_per_row;       /* output matrix, one lane */
    size_t layer_bytes, head_bytes;  /* mapped bytes of the model */
    size_t hidden, intermediate, kv_width, q_width, vocab; /* for memory by formula */
    size_t expert_count, expert_choices; /* of a layer, and of a row; 0 = no experts */
    size_t expert_layers;                /* that have experts */
    wa_experts_cost experts;             /* in dense_flops_per_row and layer_bytes */
    const size_t *prompt_rows;           /* [prompt_count] positions of each prompt */
    size_t prompt_count;
    /* [kept_count] parts that are there already, in order of their prompts: not computed again */
    const wa_batch *kept;
    size_t kept_count;
    const wa_case_cost *cases; /* [case_count] */
    size_t case_count;
    size_t vindex_count;
    const wa_compared *compared; /* [vindex_count] by the encoding check; NULL = none */
    size_t batch_rows;           /* most positions of a batch, but for a longer prompt */
    /* they follow from batch_rows alone: for an engine whose bits depend on them */
    bool batches_are_fixed;
    /* rows whose products cost as much as decoding and packing the matrix once */
    double packing_rows;
    bool logits_all;
    wa_kernel_check kernel_check;
    size_t check_memory; /* bytes of the largest comparison of stored numbers; 0 = no such check */
    int stages, teams;   /* asked for; 0 = choose */
    wa_spreading spreading;
    int nodes;          /* hosts the ranks run on; at least 1 */
    size_t node_memory; /* bytes usable per node; 0 = unknown, no limit */
} wa_plan_input;

/** groups x stages x teams; ranks beyond `used` are idle (and reported). */
typedef struct wa_grid {
    int groups, stages, teams;
    int used, idle;
    bool spread; /* each member of a team has a share of every layer's experts */
} wa_grid;

/** How much there is to do: batches, rows, (row, attended row) pairs, rows of logits, rows of the
 * text that only the reference reads. */
typedef struct wa_amount {
    double batches, rows, pairs, heads, text;
} wa_amount;

/** Some of the batches. */
typedef struct wa_plan_share {
    size_t batches, rows, prompts;
} wa_plan_share;

/** One audit on a number of ranks. Read-only, arena. */
typedef struct wa_plan {
    wa_batch *batches;  /* of the prompts that no kept part holds, as they are handed out */
    size_t batch_count; /* 0 = nothing is left to compute */
    size_t max_rows, max_prompts; /* of any batch */
    size_t obs_count;             /* of the job */
    wa_amount work;               /* of all batches, counted as one */
    wa_grid grid;
    size_t *stage_start;          /* [stages + 1] first layer of each stage */
    int *case_member;             /* [case_count] team member (0 = lead) that runs the case */
    int *vindex_member;           /* [vindex_count] team member that checks its encoding */
    double predicted_utilisation; /* mean busy share of the used ranks, 0..1 */
    wa_plan_share first_group;    /* what the group of rank 0 is predicted to get */
    /* of one rank that never waits, until the last batch is done; decoding and packing among them,
     * as so many operations of products */
    double flops_until_done;
    double flops_per_rank_max; /* of the busiest rank, whole job, products alone */
    size_t anonymous_bytes;    /* per rank, by formula */
    /* where experts are spread, about: rows that travel to experts and back, and asks for them */
    double spread_rows, spread_asks;
} wa_plan;

/** Where a rank stands in the grid. rank = (stage * groups + group) * teams + member: neighbours,
 * which share a node, share a stage, so that the node's page cache holds its layers only. */
typedef struct wa_seat {
    int group, stage, member; /* group = -1: idle */
} wa_seat;
wa_seat wa_plan_seat(const wa_plan *plan, int rank);
/** Batches that a seat keeps memory for at once: one computing; one arriving, except on the first
 * stage; one leaving, except from a group's writer (lead of the last stage), whose results are its
 * own. */
size_t wa_plan_slots(const wa_grid *grid, int stage, int member);
/** Layers of a batch after which a group's first stage asks for its next one: all of its `layers`
 * but a quarter, rounded up. So the answer is there when it is wanted, and a batch goes to the group
 * that will be free for it first. */
size_t wa_plan_asks_after(size_t layers);
/** Batches that a group's writer gathers at once: as many as its stages work on, and one more. */
size_t wa_plan_gathered(const wa_grid *grid);
/** Reference messages of `bytes` each that a lead may be ahead of its team: 32 MB of them, at least
 * 2, at most those of a batch. */
size_t wa_plan_references(size_t bytes, size_t messages);
int wa_plan_rank(const wa_plan *plan, int group, int stage, int member);
/** "spread" or "whole": the words of grid.experts. */
const char *wa_spreading_word(bool spread);
/** Experts [*first, *end) of a layer's `count` that a member of a team has, where they are spread. */
void wa_plan_experts(const wa_plan *plan, size_t count, int member, size_t *first, size_t *end);

/**
 * Batches: neighbouring prompts, whole, up to batch_rows positions; a longer prompt is a batch of
 * its own. Their number and sizes follow from ranks, grid and memory; where several groups share
 * the work, large ones come first. Grid, stages, dealing: design 10. Local, pure: the same input
 * gives the same plan on every rank. Errors: WA_E_USAGE (asked grid does not fit: says what would;
 * more stages than layers, teams > 1 + cases), WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_plan_build(const wa_plan_input *input, int ranks, wa_arena *arena,
                                   wa_plan **out, wa_error *err);

/**
 * Put runs of prompts in order, which are to be all `prompts` prompts end to end: kept parts and
 * the batches of a plan. Local. Errors: WA_E_INTERNAL (a gap, or a prompt twice), WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_batches_join(const wa_batch *kept, size_t kept_count, const wa_batch *made,
                                     size_t made_count, size_t prompts, wa_arena *arena,
                                     wa_batch **out, wa_error *err);

/** What the rank of a seat does, groups sharing the job evenly. A plain value. */
typedef struct wa_seat_cost {
    double flops;        /* matrix products of the whole job */
    size_t mapped_bytes; /* of files it touches; an upper bound where cases share a payload */
    size_t lanes;        /* residual streams it carries */
} wa_seat_cost;
wa_seat_cost wa_plan_seat_cost(const wa_plan_input *input, const wa_plan *plan, int stage,
                               int member);

/* --- Sweeps: several audits on so many ranks -------------------------------------------------- */

enum { WA_SWEEP_SIZES = 48 };

/**
 * Numbers of ranks for which the time of an audit is predicted: 1, 2, 3, 4, 6, 8, 12, 16, … below
 * `ranks`, and `ranks`. sizes_out [WA_SWEEP_SIZES], ascending. Returns how many.
 */
size_t wa_sweep_sizes(int ranks, int *sizes_out);

/**
 * Time of one audit (as flops_until_done) on each size, alone on its share of the nodes. INFINITY
 * where the job's grid does not fit. Local, pure. Errors: as wa_plan_build.
 */
WA_CHECKED wa_status wa_sweep_times(const wa_plan_input *input, const int *sizes, size_t size_count,
                                    wa_arena *arena, double *times_out, wa_error *err);

/**
 * How a sweep uses its ranks: sets of neighbouring ranks, fixed for the whole sweep, each with
 * audits of its own that it runs one after another in the job's order. One set: every audit has all
 * ranks.
 */
typedef struct wa_sweep {
    size_t set_count, audit_count;
    int *set_start;    /* [set_count + 1] first rank of each set */
    size_t *audit_set; /* [audit_count] */
    /* [audit_count][set_count] of each audit on each set; INFINITY where it does not fit */
    double *set_time;
    double flops_until_done;   /* of the longest set */
    double flops_one_by_one;   /* had every audit all ranks, one after another */
    double flops_side_by_side; /* on the best of several sets; INFINITY where no two can be made */
} wa_sweep;

/**
 * The sets that are done first: as many as pay, their sizes by the work of their audits, dearest
 * audits dealt first. Of nearly equal ways the one of fewer sets. Local, pure: the same input gives
 * the same sweep on every rank.
 *
 * times  [audits][wa_sweep_sizes(ranks)]
 */
WA_CHECKED wa_status wa_sweep_build(const double *times, size_t audit_count, int ranks,
                                    wa_arena *arena, wa_sweep **out, wa_error *err);

/** How it was decided: "one after another on all 8 ranks; side by side they would take 1.3 x as
 * long" and the like. */
void wa_sweep_reason(const wa_sweep *sweep, char *out, size_t size);
/** Index of the set a rank belongs to. */
size_t wa_sweep_set(const wa_sweep *sweep, int rank);

/** Who has begun what, while a sweep runs. */
typedef struct wa_dealer {
    const wa_sweep *sweep; /* borrowed */
    uint8_t *begun;        /* [audit_count] */
    size_t *current;       /* [set_count] what each set works on; WA_NO_AUDIT = nothing */
} wa_dealer;

#define WA_NO_AUDIT SIZE_MAX

WA_CHECKED wa_status wa_dealer_open(const wa_sweep *sweep, wa_arena *arena, wa_dealer *out,
                                    wa_error *err);
/**
 * The next audit of a set that has nothing to do, which begins it: its own in the job's order, then
 * one that another set has not begun and would not be done with before this set is; WA_NO_AUDIT
 * when there is none. Predictions err and audits fail early, so that ranks would be idle while
 * others have audits to begin. Local.
 */
size_t wa_dealer_next(wa_dealer *dealer, size_t set);

#endif
