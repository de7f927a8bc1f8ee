/* How often the upper limits of rates hold: prompts of the baselines drawn again and again,
 * tests/golden/rates. */
#include "judge/rates.h"

#include "golden.h"
#include "suite.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { MOST_CASES = 12, MOST_PROMPTS = 64, MOST_ROWS = 16384 };

/* What one prompt adds to the rates of a case. */
typedef struct prompt_sums {
    long n, above, flips, n_next;
    double kl, loss;
} prompt_sums;

typedef struct population {
    char name[64];
    prompt_sums prompt[MOST_PROMPTS];
    size_t prompts;
} population;

/* Positions that have a prompt's sums; thinned, where the counts need not be whole. */
typedef struct drawn {
    int32_t prompt[MOST_ROWS], token[MOST_ROWS];
    double kl[MOST_ROWS], gap[MOST_ROWS], ref[MOST_ROWS], own[MOST_ROWS];
    int8_t match[MOST_ROWS];
    size_t count;
} drawn;

static size_t read_populations(population *out)
{
    wa_bytes file = wa_test_read(WA_GOLDEN "/rates/prompts.tsv");
    size_t cases = 0;
    for (const char *line = (const char *)file.data, *end = line + file.size; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        char text[256], name[64], key[64];
        CU_ASSERT_FATAL(stop != NULL && (size_t)(stop - line) < sizeof text);
        memcpy(text, line, (size_t)(stop - line));
        text[stop - line] = '\0';
        line = stop + 1;
        if (text[0] == '#')
            continue;
        prompt_sums p;
        int found = sscanf(text, "%63s %63s %ld %lg %ld %ld %ld %lg", name, key, &p.n, &p.kl,
                           &p.above, &p.flips, &p.n_next, &p.loss);
        CU_ASSERT_FATAL(found == 8 && p.n > 0);
        if (cases == 0 || strcmp(out[cases - 1].name, name) != 0) {
            CU_ASSERT_FATAL(cases < MOST_CASES);
            memcpy(out[cases++].name, name, sizeof name);
        }
        CU_ASSERT_FATAL(out[cases - 1].prompts < MOST_PROMPTS);
        out[cases - 1].prompt[out[cases - 1].prompts++] = p;
    }
    wa_test_free(file);
    return cases;
}

/* As many positions as a prompt has, or one in `thin`: those of a drawn prompt have its mean
 * figures. */
static long rows_of(long n, long thin)
{
    return (n + thin - 1) / thin;
}

static void draw_prompt(drawn *d, const prompt_sums *p, int32_t at, long thin)
{
    long rows = rows_of(p->n, thin);
    assert(d->count + (size_t)rows <= MOST_ROWS);
    for (long i = 0; i < rows; i++, d->count++) {
        bool has_next = i + 1 < rows;
        d->prompt[d->count] = at;
        d->token[d->count] = at * 1000 + (int32_t)i; /* a prompt drawn twice is two prompts */
        d->kl[d->count] = p->kl / (double)p->n;
        d->match[d->count] = i < p->flips ? 0 : 1;
        d->gap[d->count] = 1.0;
        d->ref[d->count] = has_next ? -1.0 : NAN;
        d->own[d->count] = has_next ? -1.0 - p->loss / (double)p->n_next : NAN;
    }
}

/* The means of a population whose prompts weigh as they do in draw_prompt. */
static double true_mean_kl(const population *all, long thin)
{
    double sum = 0.0, count = 0.0;
    for (size_t i = 0; i < all->prompts; i++) {
        const prompt_sums *p = &all->prompt[i];
        sum += p->kl / (double)p->n * (double)rows_of(p->n, thin);
        count += (double)rows_of(p->n, thin);
    }
    return sum / count;
}

static wa_rates rates_of(const drawn *d, wa_arena *arena)
{
    wa_error err = {0};
    wa_rates rates;
    wa_rate_rows rows = {.obs = d->count,
                         .obs_prompt = d->prompt,
                         .token_id = d->token,
                         .kl = d->kl,
                         .top1_match = d->match,
                         .top1_gap = d->gap,
                         .ref_next_logprob = d->ref,
                         .next_logprob = d->own};
    WA_MUST(wa_rates_build(&rows, 0.1, arena, &rates, &err), &err);
    return rates;
}

/* Share of `draws` of `prompts` prompts each, with replacement, whose limit is not below the
 * truth. */
static double coverage_of_mean_kl(const population *all, size_t prompts, size_t draws,
                                  wa_arena *arena)
{
    enum { THIN = 16 };
    static drawn d;
    uint64_t state = 0x243f6a8885a308d3u;
    double truth = true_mean_kl(all, THIN);
    size_t holds = 0;
    for (size_t i = 0; i < draws; i++) {
        wa_mark mark = wa_arena_mark(arena);
        d.count = 0;
        for (size_t p = 0; p < prompts; p++)
            draw_prompt(&d, &all->prompt[(wa_test_random(&state) >> 16) % all->prompts], (int32_t)p,
                        THIN);
        holds += rates_of(&d, arena).mean_kl.upper >= truth;
        wa_arena_release(arena, mark);
    }
    return (double)holds / (double)draws;
}

static void limits_of_mean_kl_hold_in_93_of_100_draws(void)
{
    static const size_t sizes[] = {10, 15, 20, 40};
    static population all[MOST_CASES];
    wa_arena *arena;
    wa_error err = {0};
    size_t cases = read_populations(all);
    CU_ASSERT_FATAL(cases >= 3);
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    for (size_t c = 0; c < cases; c++)
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            double share = coverage_of_mean_kl(&all[c], sizes[s], 2000, arena);
            printf("\n    %s, %zu prompts: %.1f %%", all[c].name, sizes[s], 100.0 * share);
            CU_ASSERT(share >= 0.93);
        }
    wa_arena_close(arena);
}

WA_SUITE("coverage", WA_CASE(limits_of_mean_kl_hold_in_93_of_100_draws))
