/* Prompts sorted by their tokens: shared prefixes then stand side by side. */
#include "judge/clusters.h"

#include <stdbool.h>
#include <stdlib.h>

/* What the sort compares; qsort hands over no context. */
typedef struct text {
    const int32_t *ids;
    size_t first, count;
} text;

static size_t common_prefix(const text *a, const text *b)
{
    size_t most = a->count < b->count ? a->count : b->count;
    size_t at = 0;
    while (at < most && a->ids[at] == b->ids[at])
        at++;
    return at;
}

/* By token ids, a prefix before what it begins; equal prompts in the order of the job. */
static int by_tokens(const void *left, const void *right)
{
    const text *a = left;
    const text *b = right;
    size_t at = common_prefix(a, b);
    if (at < a->count && at < b->count)
        return a->ids[at] < b->ids[at] ? -1 : 1;
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    return (a->first > b->first) - (a->first < b->first);
}

static void cut_prompts(const int32_t *obs_prompt, const int32_t *token_id, size_t obs, text *out)
{
    size_t prompts = 0;
    for (size_t i = 0; i < obs; i++) {
        if (i == 0 || obs_prompt[i] != obs_prompt[i - 1])
            out[prompts++] = (text){.ids = token_id + i, .first = i};
        out[prompts - 1].count++;
    }
}

/*
 * What i and j share is the least that neighbours between them share. So a prompt that shares more
 * than half of itself with one further on does so with all in between, and clusters are runs.
 * `shortest` is the one that reaches furthest: where it ends, all end.
 */
static bool reaches(size_t shortest, size_t shared)
{
    return shared > shortest / 2;
}

static void join(wa_prompt_span *span, size_t prompts, bool *joined)
{
    size_t shortest = SIZE_MAX;
    for (size_t i = 1; i < prompts; i++) {
        shortest = span[i - 1].count < shortest ? span[i - 1].count : shortest;
        joined[i] = reaches(shortest, span[i].shared);
        shortest = joined[i] ? shortest : SIZE_MAX;
    }
    shortest = SIZE_MAX;
    for (size_t i = prompts; i-- > 1;) {
        shortest = span[i].count < shortest ? span[i].count : shortest;
        bool reached = reaches(shortest, span[i].shared);
        joined[i] = joined[i] || reached;
        shortest = reached ? shortest : SIZE_MAX;
    }
    for (size_t i = 1; i < prompts; i++)
        span[i].cluster = span[i - 1].cluster + (joined[i] ? 0 : 1);
}

wa_status wa_clusters_build(const int32_t *obs_prompt, const int32_t *token_id, size_t obs,
                            wa_arena *arena, wa_clusters *out, wa_error *err)
{
    size_t prompts = 0;
    for (size_t i = 0; i < obs; i++)
        prompts += i == 0 || obs_prompt[i] != obs_prompt[i - 1];
    wa_prompt_span *span;
    WA_TRY(wa_arena_take(arena, prompts, sizeof *span, &span, err));
    wa_mark mark = wa_arena_mark(arena);
    text *texts;
    bool *joined;
    WA_TRY(wa_arena_take(arena, prompts, sizeof *texts, &texts, err));
    WA_TRY(wa_arena_take(arena, prompts, sizeof *joined, &joined, err));
    cut_prompts(obs_prompt, token_id, obs, texts);
    if (prompts > 0)
        qsort(texts, prompts, sizeof *texts, by_tokens);
    wa_clusters clusters = {.span = span, .prompts = prompts, .distinct = obs};
    for (size_t i = 0; i < prompts; i++) {
        size_t shared = i == 0 ? 0 : common_prefix(&texts[i - 1], &texts[i]);
        span[i] =
            (wa_prompt_span){.first = texts[i].first, .count = texts[i].count, .shared = shared};
        clusters.distinct -= shared;
    }
    join(span, prompts, joined);
    clusters.clusters = prompts > 0 ? span[prompts - 1].cluster + 1 : 0;
    wa_arena_release(arena, mark);
    *out = clusters;
    return WA_OK;
}
