/* Results that are finished: judged again, stored anew, looked at. Local: one rank does it. */
#ifndef WALKAUDIT_RUN_JUDGED_H
#define WALKAUDIT_RUN_JUDGED_H

#include "judge/judgement.h"

/** A result and its judgement; the result's arrays are there, its access is not. */
typedef struct wa_judged {
    wa_result *result;
    wa_judgement *judgement;
    bool was_stored, stored; /* the judgement is the one in the file: before, and now */
} wa_judged;

/** Which bounds judge, and what becomes of the file. */
typedef struct wa_judge_order {
    const wa_bounds *bounds; /* NULL = those that made the stored judgement */
    /* write the judgement into the file where it is another: a temporary copy takes the file's name
     * */
    bool store;
} wa_judge_order;

/** Judge a finished result from its observations. Arena. */
WA_CHECKED wa_status wa_judge_file(const char *path, const wa_judge_order *order, wa_arena *arena,
                                   wa_judged *out, wa_error *err);

/** A result's state, and how its cases fared. */
typedef struct wa_judged_state {
    wa_result_status result;
    /* its last run failed, or began after one that did and has not come to its end; NULL = neither,
     * or a run is at it now */
    const char *failure;
    int failure_code;
    bool resumable; /* begun, not finished, and running it again goes on */
    /* cases of a finished result that are UNCHECKED, vindexes that are UNAUDITED */
    size_t unchecked, unaudited;
    int case_code; /* of a finished result: 0, or 1 where some case fails or none ran */
    /* what `run` would answer: case_code if finished, 75 resumable, 3 nothing there; failure_code
     * where that is graver */
    int exit_code;
} wa_judged_state;

/** State of what stands at a result's path, but for how its cases fared. */
WA_CHECKED wa_status wa_judged_look(const char *path, wa_arena *arena, wa_judged_state *out,
                                    wa_error *err);
/** All of it. The stored judgement of a finished result must follow from its stored figures and
 * bounds (WA_E_FORMAT). */
WA_CHECKED wa_status wa_judged_status(const char *path, wa_arena *arena, wa_judged_state *out,
                                      wa_error *err);

#endif
