/* The log of a run: progress on stderr, facts for /run/K. Rank 0 speaks, the others keep silent. */
#ifndef WALKAUDIT_RUN_LOG_H
#define WALKAUDIT_RUN_LOG_H

#include "engine/audit.h"
#include "engine/pipeline.h"
#include "run/places.h"
#include "run/sweep.h"

typedef struct wa_run_log wa_run_log;

/** prefix  before every line, borrowed; NULL: none, and progress may rewrite its line */
WA_CHECKED wa_status wa_run_log_open(wa_comm *comm, const wa_run_options *options,
                                     const char *prefix, wa_arena *arena, wa_run_log **out,
                                     wa_error *err);
/** What is about to be computed: one line each for model, cases, grid. */
void wa_run_log_start(wa_run_log *log, const wa_audit *audit, const wa_plan *plan);
/** What wa_run_log_write says of the ranks' places; borrowed. */
void wa_run_log_places(wa_run_log *log, const wa_run_places *places);
/** One plain line. */
void wa_run_log_line(const wa_run_log *log, const char *format, ...) WA_PRINTF(2, 3);
/** As often as may be: a line that rewrites itself on a terminal, a plain line now and then in a
 * file, where `verbose` has more. */
void wa_run_log_progress(wa_run_log *log, const wa_progress *progress);
/** What comes next on a terminal stands on a line of its own. */
void wa_run_log_end_progress(wa_run_log *log);
/** Collective. Gather where every rank's time went. */
WA_CHECKED wa_status wa_run_log_costs(wa_run_log *log, wa_comm *comm, const wa_cost *cost,
                                      wa_arena *arena, wa_error *err);
/** Write run-K.json: at the start, and with costs at the end. */
WA_CHECKED wa_status wa_run_log_write(const wa_run_log *log, wa_parts *parts, const wa_plan *plan,
                                      bool at_end, wa_error *err);
/** The footer: time split by phase, and the seconds that assembling took; with `verbose` each
 * rank's own. */
void wa_run_log_finish(const wa_run_log *log, double assembling);

#endif
