/* Rates over all positions of a job: means, shares and ratios of one case with what its independent
 * prompts say about their accuracy. */
#ifndef WALKAUDIT_JUDGE_RATES_H
#define WALKAUDIT_JUDGE_RATES_H

#include "base/arena.h"

#include <stdint.h>

/** Figures of one case at every position, prompts laid end to end. Borrowed; NaN logprobs where a
 * prompt ends. */
typedef struct wa_rate_rows {
    size_t obs;
    const int32_t *obs_prompt; /* [obs] ascending */
    const int32_t *token_id;   /* [obs] */
    const double *kl;          /* [obs] */
    const int8_t *top1_match;  /* [obs] 1 = both top-1 ids are equal */
    /* [obs] reference's largest logit less that of the case's top-1 */
    const double *top1_gap;
    const double *ref_next_logprob; /* [obs] */
    const double *next_logprob;     /* [obs] */
} wa_rate_rows;

/** Up to where below the reference's largest logit a flip is excused, if no bounds say otherwise:
 * walk-paths-and-audit.md 7.2. */
#define WA_FLIP_MARGIN 0.1

/** Independent prompts that an upper limit needs: of fewer, none says how far the others may
 * lie. */
enum { WA_RATE_CLUSTERS = 10 };

/** One rate. NaN value and limits when any of its positions is no number. */
typedef struct wa_rate {
    double value;
    /* standard error; positions of one prompt are not independent, clusters of prompts are. NaN
     * with one cluster */
    double error;
    /* upper 95 % limit, one-sided; infinite when there are fewer than WA_RATE_CLUSTERS clusters, or
     * too few positions for any */
    double upper;
} wa_rate;

typedef struct wa_rates {
    wa_rate mean_kl, p99_kl;
    wa_rate flip_rate; /* share of positions whose top-1 ids differ */
    /* the same, to tokens within flip_margin of the reference's largest logit aside */
    wa_rate far_flip_rate;
    wa_rate mean_next_logprob_delta; /* case less reference, of the prompts' own next tokens */
    wa_rate ppl_ratio; /* exp of its negative; error and limit are made on the log scale */
    double flip_margin;
    /* positions; those that rates are of: one of each prefix (clusters.h) */
    int64_t n_obs, n_distinct;
    int64_t n_prompts, n_clusters; /* prompts; independent ones */
    /* of the positions with a next token in their prompt, one of each prefix and next token */
    int64_t n_next;
    int64_t n_non_finite;     /* positions where a figure is no number */
    int64_t first_non_finite; /* the first of them, -1 = none */
} wa_rates;

/** Those of a case that did not run: no number anywhere. */
wa_rates wa_rates_none(void);

/**
 * Fold the positions of one case, f64, in the order of the prompts' tokens: that of the prompts in
 * the job plays no part. Positions with the same tokens before them count once, and prompts that
 * share more than half are one cluster: clusters.h. Local.
 *
 * Means: sum of per-cluster sums over the count, standard error sqrt(G/(G-1) sum (S_g - m n_g)^2) /
 * n over G clusters, limit by wa_mean_upper, mean_kl with a skewness of at least 4. Shares: the
 * same error, limit by Korn and Graubard (1998): Clopper-Pearson with the effective number of
 * positions, so that no flip at all is not taken for a rate of 0. p99: linear interpolation at
 * 0.99 (n - 1); its limit is the least observed value that is exceeded by more than 1 % of
 * positions with no more than 5 % confidence (an order statistic, at least 299 independent
 * positions); its error is Woodruff's (1952). No random numbers. How often the limits hold,
 * measured: jobs/README.md.
 *
 * margin  flips to tokens with a top1_gap up to it are left out of far_flip_rate
 * Errors: WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_rates_build(const wa_rate_rows *rows, double margin, wa_arena *arena,
                                    wa_rates *out, wa_error *err);

#endif
