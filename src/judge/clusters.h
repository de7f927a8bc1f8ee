/* Which positions of a set of prompts tell something new, and which prompts are independent of each
 * other. Pure. */
#ifndef WALKAUDIT_JUDGE_CLUSTERS_H
#define WALKAUDIT_JUDGE_CLUSTERS_H

#include "base/arena.h"

#include <stdint.h>

/** One prompt among its like: observations [first, first + count). */
typedef struct wa_prompt_span {
    size_t first, count;
    /* positions, from the first on, that an earlier span has too: the same tokens from the prompt's
     * start */
    size_t shared;
    size_t cluster; /* ascending over the spans, without gaps */
} wa_prompt_span;

typedef struct wa_clusters {
    const wa_prompt_span *span; /* [prompts] in the order of their token ids; arena */
    size_t prompts, clusters;
    size_t distinct; /* positions less the shared ones */
} wa_clusters;

/**
 * What a causal model computes at a position depends on the tokens up to it alone, so a prefix that
 * several prompts share is one observation each position; and prompts that share more than half of
 * the shorter one are one cluster, as are those that others connect. Neither depends on the order
 * of the prompts. Local; O(n log n) comparisons of prompts.
 *
 * obs_prompt  [obs] ascending
 * token_id    [obs]
 * Errors: WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_clusters_build(const int32_t *obs_prompt, const int32_t *token_id,
                                       size_t obs, wa_arena *arena, wa_clusters *out,
                                       wa_error *err);

#endif
