/* Signals between the sets of a sweep: the root of each set tells the others what it heard, and that nothing will follow. */
#ifndef WALKAUDIT_RUN_NEWS_H
#define WALKAUDIT_RUN_NEWS_H

#include "walkaudit/arena.h"
#include "walkaudit/comm.h"

typedef struct wa_run_news wa_run_news;

/** Local, on the root of a set. roots [count]: the ranks in `comm` of all roots, this one among them. Arena. */
WA_CHECKED wa_status wa_run_news_open(wa_comm *comm, const int *roots, size_t count, wa_arena *arena,
                                      wa_run_news **out, wa_error *err);
/** Often: pass on what this process heard, hear what others pass on. Never blocks; a failure is told by wa_run_news_close. */
void wa_run_news_beat(wa_run_news *news);
/** Say that nothing follows and wait for the same of all other sets. */
WA_CHECKED wa_status wa_run_news_close(wa_run_news *news, wa_error *err);

#endif
