/* What a plan costs: memory, messages, time, size of the result; on one number of ranks or on
 * several. */
#ifndef WALKAUDIT_CLI_PLAN_SUMS_H
#define WALKAUDIT_CLI_PLAN_SUMS_H

#include "cli/plan_rate.h"

/** "1.5 GB": three digits are enough to judge by. */
WA_CHECKED wa_status wa_plan_amount(double amount, const char *unit, wa_arena *arena, char **out,
                                    wa_error *err);

/** What a plan costs, in figures. */
typedef struct wa_plan_figures {
    double given; /* operations a second of a rank; 0 = to be measured */
    wa_plan_rate rate;
    double seconds; /* about, for layers and logits */
    /* about, for the two checks; starting, reading files that are not cached and writing the result
     * are in neither */
    double kernel_check_seconds, encoding_check_seconds;
    double encoding_check_bytes; /* of the rank that compares most */
    /* share of a group's time that passes until its last stage has something to do */
    double fill;
    /* payload of every measured field; texts and HDF5's own structures come on top */
    double result_bytes;
    size_t capture_bytes, capture_files; /* 0 without captures */
    wa_traffic traffic;
} wa_plan_figures;

/**
 * Take the figures of one plan into *figures, whose measured rate serves the next plan too, where
 * that has as many ranks a node. Arena: temporary memory. Errors: WA_E_UNSUPPORTED when the
 * size of the captures overflows, WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_plan_figures_take(const wa_audit *audit, const wa_plan_input *input,
                                          const wa_plan *plan, wa_arena *arena,
                                          wa_plan_figures *figures, wa_error *err);

/**
 * The plan for ranks[i] of `count` numbers of ranks: the largest has all nodes of `input`, the
 * others as many ranks a node. own: the input with this plan's nodes.
 */
WA_CHECKED wa_status wa_plan_one_of(const wa_plan_input *input, const int *ranks, size_t count,
                                    size_t i, wa_arena *arena, wa_plan_input *own, wa_plan **out,
                                    wa_error *err);

/** Lines on stdout for one plan. flops_per_second: of a rank, for the time; 0: it is measured. */
WA_CHECKED wa_status wa_plan_print_sums(const wa_audit *audit, const wa_plan_input *input,
                                        const wa_plan *plan, double flops_per_second,
                                        wa_arena *arena, wa_error *err);

/** A table on stdout with a line for each number of ranks, as wa_plan_one_of plans it. */
WA_CHECKED wa_status wa_plan_print_counts(const wa_audit *audit, const wa_plan_input *input,
                                          const int *ranks, size_t count, double flops_per_second,
                                          bool quiet, wa_arena *arena, wa_error *err);

/** On stderr: idle ranks, and groups of few batches. */
void wa_plan_print_warnings(const wa_plan *plan);

#endif
