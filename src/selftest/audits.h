/* Whole audits of planted vindexes: what `walkaudit run` says of them. */
#ifndef WALKAUDIT_SELFTEST_AUDITS_H
#define WALKAUDIT_SELFTEST_AUDITS_H

#include "selftest/faults.h"

#include "judge/judgement.h"

/** What became of one fault in one format. */
typedef struct wa_outcome {
    const wa_fault *fault; /* NULL: the healthy vindex */
    const char *format;    /* of the vindex */
    wa_plant plant;
    const char *where; /* planted there: a projection's name, or the router */
    wa_fault_fate expected;
    bool refused;  /* the vindex did not open */
    bool found;    /* every case that reads the place tells of it */
    bool at_place; /* and names it */
    /* a case that does not read the place is ENCODING as well, or fails for no reason planted */
    bool accused;
    wa_verdict_code verdict; /* the gravest of the cases that read it */
    const char *reason;      /* its first, or why the vindex does not open; arena */
    bool holds;              /* as expected */
} wa_outcome;

enum { WA_AUDITS_MOST = 32 };

/** Plant every fault of the table in the bench's format, one vindex each, audit all in one job,
 * tell. outcomes [WA_AUDITS_MOST], the healthy one first. */
WA_CHECKED wa_status wa_audits_run(wa_bench *bench, wa_outcome *outcomes, size_t *count,
                                   wa_error *err);

/** How a job is to be run. */
typedef struct wa_audits_job {
    const char *name;            /* its files' */
    const char *const *vindexes; /* [count] directories in the bench's own */
    size_t vindex_count;
    /* further keys of the job, JSON members with a comma before each; "" = none */
    const char *keys;
} wa_audits_job;
/** Run a job of the bench's model and a few prompts in this process; its judgement. Arena of the
 * bench. */
WA_CHECKED wa_status wa_audits_judge(const wa_bench *bench, const wa_audits_job *job,
                                     const wa_judgement **out, wa_error *err);

#endif
