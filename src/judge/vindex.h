/* The verdict of a vindex, from those of its cases. Pure. */
#ifndef WALKAUDIT_JUDGE_VINDEX_H
#define WALKAUDIT_JUDGE_VINDEX_H

#include "judge/verdict.h"

/** What is known of a vindex beside the verdicts of its cases. Borrowed. */
typedef struct wa_vindex_facts {
    const char *lack; /* why no case of it could run; "" = one could */
    bool left_out;    /* it could run some path, but none that the job names */
} wa_vindex_facts;

typedef struct wa_vindex_verdict {
    wa_verdict_code code;
    const char *reason; /* borrowed from facts or verdicts; "" where a case says more */
} wa_vindex_verdict;

/**
 * UNAUDITED when no case of the vindex ran, LEFT-OUT when that is the job's own choice, else the
 * most severe word of its cases.
 *
 * cases, verdicts  [count] of the whole audit
 */
wa_vindex_verdict wa_vindex_judge(int vindex, const wa_vindex_facts *facts, const wa_case *cases,
                                  const wa_verdict *verdicts, size_t count);

#endif
