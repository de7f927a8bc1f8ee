/* What a plan costs: memory, messages, time, size of the result; on one number of ranks or on several. */
#ifndef WALKAUDIT_CLI_PLAN_SUMS_H
#define WALKAUDIT_CLI_PLAN_SUMS_H

#include "engine/audit.h"

/** "1.5 GB": three digits are enough to judge by. */
WA_CHECKED wa_status wa_plan_amount(double amount, const char *unit, wa_arena *arena, char **out,
                                    wa_error *err);

/**
 * Lines on stdout for one plan.
 *
 * flops_per_second  of a rank, for the time; 0: products of the job's engine are measured here, a fifth of a second
 */
WA_CHECKED wa_status wa_plan_print_sums(const wa_audit *audit, const wa_plan_input *input,
                                        const wa_plan *plan, double flops_per_second,
                                        wa_arena *arena, wa_error *err);

/** A table on stdout with a line for each number of ranks; the largest has all nodes of `input`, the others as many ranks a node. */
WA_CHECKED wa_status wa_plan_print_counts(const wa_audit *audit, const wa_plan_input *input,
                                          const int *ranks, size_t count, double flops_per_second,
                                          wa_arena *arena, wa_error *err);

/** On stderr: idle ranks, and groups of few batches. */
void wa_plan_print_warnings(const wa_plan *plan);

#endif
