/*
 * The judgement of a result: every case's observations folded once, held against bounds once. `run`
 * makes it while it assembles, stores it and prints it; `verdict` makes it again from the stored
 * arrays; `status` takes the stored one and makes sure that its own figures give its verdicts.
 */
#ifndef WALKAUDIT_JUDGE_JUDGEMENT_H
#define WALKAUDIT_JUDGE_JUDGEMENT_H

#include "judge/reference.h"
#include "judge/vindex.h"
#include "store/store.h"

/** One case. Pointers in the judgement's arena, or borrowed from the result. */
typedef struct wa_case_judgement {
    wa_case_summary summary;
    wa_rates rates; /* wa_rates_none() where there are none */
    wa_bound bound; /* as applied: of the case's bucket, or one that bounds nothing */
    wa_evidence evidence;
    wa_verdict verdict;
    const char *reasons; /* of the verdict, one per line */
    int8_t code;         /* of the verdict, as it is stored */
} wa_case_judgement;

/** One vindex, as it is stored: vindex.h. */
typedef struct wa_vindex_judgement {
    int8_t code;
    const char *reason;
} wa_vindex_judgement;

typedef struct wa_judgement {
    const wa_bounds *bounds;
    const wa_result_meta *meta;    /* of the result */
    wa_case_judgement *cases;      /* [case_count] */
    wa_vindex_judgement *vindexes; /* [meta->dims.vindexes] */
    size_t case_count, layer_count;
    wa_drift drift;         /* of the reference from its dump; prompts 0: there was none */
    const char *drift_text; /* the same in words; NULL likewise */
    /* 0 when every case and vindex succeeds, some case is there, and the reference does not drift;
     * else that of WA_E_VERDICT */
    int exit_code;
} wa_judgement;

/** Fold all observations of a result, through its access, and judge. Local. `result` and `bounds`
 * are borrowed. */
WA_CHECKED wa_status wa_judge(const wa_result *result, const wa_bounds *bounds, wa_arena *arena,
                              wa_judgement **out, wa_error *err);

/** Judge cases whose evidence is there: fills bound, verdict, rates, code and reasons of each, the
 * vindexes, and the exit code. */
WA_CHECKED wa_status wa_judgement_decide(wa_judgement *judgement, wa_arena *arena, wa_error *err);

/** The bounds that made the stored judgement. Arena. */
WA_CHECKED wa_status wa_judgement_bounds(const wa_result *result, wa_arena *arena, wa_bounds **out,
                                         wa_error *err);

/** Write figures, verdicts, bounds and what the reference is worth into the result, over those of
 * an earlier judgement. */
WA_CHECKED wa_status wa_judgement_store(const wa_judgement *judgement, wa_result *result,
                                        wa_arena *arena, wa_error *err);

/**
 * The stored judgement, from stored figures and stored bounds: no observation is read. Errors:
 * WA_E_FORMAT when they do not give the stored verdicts and reasons.
 */
WA_CHECKED wa_status wa_judgement_load(const wa_result *result, wa_arena *arena, wa_judgement **out,
                                       wa_error *err);

/** Where a figure lies: of axes C in wa_case_judgement, of axes V in wa_vindex_judgement, of axes
 * CL in wa_extremes of the layer. */
typedef struct wa_figure {
    wa_layout row;
    size_t offset;
} wa_figure;
/** The figures of a judgement, in the order of the file; NULL past the last. */
const wa_figure *wa_figure_at(size_t i);
/** Their rows alone. */
const wa_layout *wa_figure_row(size_t i);
/** How many elements a figure has; copy them to an array of its row's shape and type, or back. */
size_t wa_figure_count(const wa_figure *figure, const wa_judgement *judgement);
void wa_figure_gather(const wa_figure *figure, const wa_judgement *judgement, void *values);
void wa_figure_scatter(const wa_figure *figure, const void *values, wa_judgement *judgement);

#endif
