/* Bounds and verdicts: design 7. Pure; everything comes from stored figures. */
#ifndef WALKAUDIT_JUDGE_VERDICT_H
#define WALKAUDIT_JUDGE_VERDICT_H

#include "judge/encoding.h"
#include "judge/rates.h"
#include "judge/summary.h"
#include "path/path.h"

/** One row of a bounds set. NaN = not bounded. */
typedef struct wa_bound {
    double cos;    /* least */
    double rel_l2; /* largest */
    double dp;     /* largest |prob_delta| */
    /* top-1 may be a token whose logit in the reference is below the largest by at most this */
    double near_tie;
    double mean_kl, p99_kl, flip_rate, ppl_ratio; /* largest upper 95 % limits; need logits: all */
    const char *const *dp_prompts; /* [dp_prompt_count] keys at which dp holds; none = all */
    size_t dp_prompt_count;
    bool present; /* false: no row for this bucket, MEASURED */
} wa_bound;

/** A row that bounds nothing. */
wa_bound wa_bound_none(void);

typedef struct wa_bounds {
    const char *name; /* "default", "larql" or the file */
    wa_bound bucket[WA_BUCKET_COUNT];
    wa_encoder encoder;   /* of block formats that are not LARQL's own; ENCODING */
    double kernel;        /* 1e-5 */
    double router_margin; /* 1e-5: largest routing_gap, in logits */
    const char *warning;  /* e.g. larql's fp4 row contradicts itself; NULL = none */
} wa_bounds;

/**
 * "default", "larql" (built in) or the path of a YAML bounds file. A file with a pair rel_l2 <
 * sqrt(1 - cos^2) is refused (WA_E_JOB), as are unknown keys and bounds that nothing breaks:
 * rel_l2, dp or flip_rate from 1 on, cos down to 0. Built-in sets are exempt and carry a warning.
 */
WA_CHECKED wa_status wa_bounds_open(const char *name_or_path, wa_arena *arena, wa_bounds **out,
                                    wa_error *err);
/** The set as a bounds file that wa_bounds_open accepts; arena. For --print-bounds. */
WA_CHECKED wa_status wa_bounds_print(const wa_bounds *bounds, wa_arena *arena, char **out,
                                     wa_error *err);

/** The same for a result file: every value, also where a pair contradicts itself. */
WA_CHECKED wa_status wa_bounds_store(const wa_bounds *bounds, wa_arena *arena, char **out,
                                     wa_error *err);
/** The set that wa_bounds_store wrote under this name, borrowed: equal value by value, whatever
 * file it once came from. */
WA_CHECKED wa_status wa_bounds_restore(const char *name, const char *text, wa_arena *arena,
                                       wa_bounds **out, wa_error *err);

/* X(id, code, name). First that holds in the order of the rows is the verdict; the code is what a
 * result file stores (i8) and never changes, so codes and order differ. Codes are 0, 1, 2, ...
 * without a gap. */
#define WA_VERDICT_LIST(X)                                                                         \
    X(NOT_RUN, 0, "NOT-RUN")                                                                       \
    X(UNAUDITED, 12, "UNAUDITED")                                                                  \
    X(DISPATCH, 1, "DISPATCH")                                                                     \
    X(NON_FINITE, 2, "NON-FINITE")                                                                 \
    X(ENCODING, 3, "ENCODING")                                                                     \
    X(KERNEL, 4, "KERNEL")                                                                         \
    X(ROUTING, 14, "ROUTING")                                                                      \
    X(BOUND, 5, "BOUND")                                                                           \
    X(TOP1, 6, "TOP-1")                                                                            \
    X(DELTA_P, 7, "DELTA-P")                                                                       \
    X(RATE, 8, "RATE")                                                                             \
    X(UNCHECKED, 11, "UNCHECKED")                                                                  \
    X(LEFT_OUT, 13, "LEFT-OUT")                                                                    \
    X(MEASURED, 9, "MEASURED")                                                                     \
    X(PASS, 10, "PASS")
typedef enum wa_verdict_code {
#define WA_VERDICT_ENUM(id, code, name) WA_VERDICT_##id = (code),
    WA_VERDICT_LIST(WA_VERDICT_ENUM)
#undef WA_VERDICT_ENUM
} wa_verdict_code;
#define WA_VERDICT_ONE(id, code, name) +1
enum { WA_VERDICT_COUNT = 0 WA_VERDICT_LIST(WA_VERDICT_ONE) };
#undef WA_VERDICT_ONE
const char *wa_verdict_name(wa_verdict_code code);
/** Place in the list above: 0 is the most severe. */
size_t wa_verdict_rank(wa_verdict_code code);
/** PASS, MEASURED, UNCHECKED and LEFT-OUT. UNAUDITED and LEFT-OUT are of a vindex, the others of
 * cases: vindex.h. */
bool wa_verdict_is_success(wa_verdict_code code);

/** Where rows that a case reads must have been compared. */
typedef enum wa_due { WA_DUE_NEVER, WA_DUE_WITH_EXPERTS, WA_DUE_ALWAYS } wa_due;

/** Everything a verdict looks at for one case. Pointers borrowed. */
typedef struct wa_evidence {
    const char *case_name;
    const char *not_run_reason; /* NULL when it ran */
    wa_bucket bucket;
    /* no residual stream of its own: NON-FINITE, TOP-1, DELTA-P and RATE of logits do not apply */
    bool isolated;
    size_t layers, prompts, topk;
    const int8_t *label;          /* [layers, prompts] */
    const int8_t *expected_label; /* [layers] */
    /* [layers][WA_PROJECTION_COUNT] of the payloads the case reads; others unchecked */
    const wa_encoding_figure *encoding;
    bool reads[WA_PROJECTION_COUNT]; /* projections that the case reads from its vindex */
    /* Of a model with experts, else NULL and false: */
    const int32_t *layer_experts; /* [layers] experts of each layer */
    bool reads_experts_alone;     /* nothing of its vindex in layers without */
    /* [layers][WA_BESIDE_COUNT] what lies beside an FFN's matrices, as encoding; NULL = the case
     * reads nothing of it */
    const wa_encoding_figure *encoding_beside;
    wa_due due_beside[WA_BESIDE_COUNT];
    const wa_case_summary *summary;
    /* instead of the bounds' for a kernel that is judged by another path's oracle, and for servers
     * among themselves; 0 = none */
    double kernel_tolerance;
    const double *repeat, *alike; /* [layers, prompts] of wa_result; NULL = no server was asked */
    /* pairs at which the kernel had to meet its oracle; 0 = KERNEL is not judged */
    int64_t kernel_due, kernel_own_due;
    const char *const *prompt_key;                       /* [prompts] */
    const int32_t *obs_prompt, *obs_position;            /* [obs] */
    const char *const *token_text;                       /* [obs] */
    const double *top1_gap;                              /* [prompts] */
    const int8_t *top1_match;                            /* [prompts] */
    const double *prob_delta;                            /* [prompts] */
    const double *kl;                                    /* [prompts] */
    const char *const *top1_text, *const *ref_top1_text; /* [prompts] */
    const wa_rate_rows *rate_rows; /* every position; NULL with logits: last */
    const wa_rates *rates;         /* rate_rows, folded before; NULL: to be folded */
} wa_evidence;

typedef struct wa_verdict {
    wa_verdict_code code;
    /* [reason_count] all that hold, most severe first, each one line with its place and, for
     * bounds, the least bound that would pass; arena */
    const char *const *reasons;
    const wa_verdict_code *reason_codes;
    size_t reason_count;
    const wa_rates *rates; /* arena; NULL with logits: last, or when the case did not run */
    wa_encoding_worst encoding;
} wa_verdict;

/**
 * Judge one case. NaN never passes. A case that would pass or be measured is UNCHECKED when its
 * kernel met no oracle anywhere, when a projection that it reads was not compared with the
 * model's at some layer, or when no server has some layer.
 *
 * Flips to a token within near_tie of the reference's best are no flips; where the row has no
 * near_tie, all are. Bounds on rates fail a case whose logits are of last positions only: nothing
 * there answers them.
 */
WA_CHECKED wa_status wa_verdict_judge(const wa_bounds *bounds, const wa_evidence *evidence,
                                      wa_arena *arena, wa_verdict *out, wa_error *err);

#endif
