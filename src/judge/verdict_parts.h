/* Private to src/judge: a verdict in the making, and the checks that stand in files of their own. */
#ifndef WALKAUDIT_JUDGE_VERDICT_PARTS_H
#define WALKAUDIT_JUDGE_VERDICT_PARTS_H

#include "judge/verdict.h"

/* At most: one line each for NOT-RUN, DISPATCH, ENCODING, TOP-1 and DELTA-P, two for BOUND,
 * three for NON-FINITE and UNCHECKED, four for RATE, six for KERNEL. */
enum { WA_JUDGE_REASONS = 24 };

/* A judgement in the making. The checks run in order of severity, so the first reason is the
 * verdict. */
typedef struct wa_judge {
    const wa_bounds *bounds;
    const wa_bound *bound; /* of the case's bucket */
    const wa_evidence *evidence;
    wa_arena *arena;
    const char **reasons;
    wa_verdict_code *codes;
    size_t count;
    wa_rates *rates; /* NULL with logits: last */
    wa_encoding_worst encoding;
    wa_error *err;
} wa_judge;

/** One reason more, by printf's format; its code. Errors: WA_E_MEMORY, WA_E_INTERNAL. */
WA_CHECKED WA_PRINTF(3, 4) wa_status
    wa_judge_complain(wa_judge *j, wa_verdict_code code, const char *format, ...);
/** How messages name a prompt, a token and the place of an extreme figure: text in the arena. */
WA_CHECKED wa_status wa_judge_prompt(const wa_judge *j, size_t prompt, char **out);
WA_CHECKED wa_status wa_judge_token(const wa_judge *j, const char *text, char **out);
WA_CHECKED wa_status wa_judge_place(const wa_judge *j, wa_extreme at, char **out);
/** No server has the layer. */
bool wa_judge_is_absent(const wa_evidence *e, size_t layer);

/* Each adds its reasons, if any. Errors: those of wa_judge_complain. */

/** ENCODING; j->encoding becomes the worst of what the case reads. */
WA_CHECKED wa_status wa_judge_encoding(wa_judge *j);
/** UNCHECKED: every payload that the case reads was compared at every layer, or it may hold another
 * model's rows. */
WA_CHECKED wa_status wa_judge_encoding_was_seen(wa_judge *j);
/** j->rates, which wa_judge_bounds reads; before it. */
WA_CHECKED wa_status wa_judge_take_rates(wa_judge *j);
/** BOUND, TOP-1, DELTA-P and RATE. */
WA_CHECKED wa_status wa_judge_bounds(wa_judge *j);
/** Was anything of this case held against its bucket's row? Else there is nothing that it could have
 * passed. */
bool wa_judge_is_bounded(const wa_judge *j);

#endif
