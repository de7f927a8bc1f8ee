/* Rates: hand-computed means, clustered errors and limits; order statistics; and NaN at every
 * door. */
#include "golden.h"
#include "judge/interval.h"
#include "judge/rates.h"
#include "suite.h"

#include <math.h>
#include <string.h>

enum { MOST = 4000 };

/* Positions that differ in nothing, which each test damages in its own way. */
typedef struct scene {
    int32_t prompt[MOST], token[MOST];
    double kl[MOST], gap[MOST], ref[MOST], own[MOST];
    int8_t match[MOST];
    wa_rate_rows rows;
} scene;

/* prompts x each positions. */
static scene *scene_of(size_t prompts, size_t each)
{
    static scene s;
    s = (scene){.rows = {.obs = prompts * each,
                         .obs_prompt = s.prompt,
                         .token_id = s.token,
                         .kl = s.kl,
                         .top1_match = s.match,
                         .top1_gap = s.gap,
                         .ref_next_logprob = s.ref,
                         .next_logprob = s.own}};
    for (size_t i = 0; i < prompts * each; i++) {
        s.prompt[i] = (int32_t)(i / each);
        s.token[i] = (int32_t)i; /* no two prompts begin alike */
        s.match[i] = 1;
        s.gap[i] = 1.0;
        s.ref[i] = s.own[i] = (i + 1) % each == 0 ? NAN : -2.0;
    }
    return &s;
}

static wa_rates rates_of(const scene *s, double margin)
{
    wa_arena *arena;
    wa_error err = {0};
    wa_rates rates;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_rates_build(&s->rows, margin, arena, &rates, &err), &err);
    wa_arena_close(arena);
    return rates;
}

/* tan(0.45 pi): the 95 % point of Cauchy, which is t with one degree of freedom. */
static const double T1 = 6.313751514675044;

/* --- Limits ----------------------------------------------------------------------------------- */

static void incomplete_beta_has_its_closed_forms(void)
{
    for (double x = 0.05; x < 1.0; x += 0.05) {
        CU_ASSERT_DOUBLE_EQUAL(wa_beta_share(x, 1.0, 7.0), 1.0 - pow(1.0 - x, 7.0), 1e-13);
        CU_ASSERT_DOUBLE_EQUAL(wa_beta_share(x, 5.5, 1.0), pow(x, 5.5), 1e-13);
        CU_ASSERT_DOUBLE_EQUAL(wa_beta_share(x, 2.0, 2.0), x * x * (3.0 - 2.0 * x), 1e-13);
        CU_ASSERT_DOUBLE_EQUAL(wa_beta_share(x, 3.5, 80.0), 1.0 - wa_beta_share(1.0 - x, 80.0, 3.5),
                               1e-13);
    }
    CU_ASSERT_EQUAL(wa_beta_share(0.0, 2.0, 3.0), 0.0);
    CU_ASSERT_EQUAL(wa_beta_share(1.0, 2.0, 3.0), 1.0);
    CU_ASSERT(isnan(wa_beta_share(NAN, 2.0, 3.0)));
    CU_ASSERT_DOUBLE_EQUAL(wa_beta_share(0.5, 4e5, 4e5), 0.5, 1e-9);
}

static void student_has_its_closed_forms(void)
{
    CU_ASSERT_DOUBLE_EQUAL(wa_t_upper(1.0), T1, 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(wa_t_upper(2.0), 0.9 * sqrt(2.0 / (1.0 - 0.81)), 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(wa_t_upper(1e8), 1.6448536269514722, 1e-6); /* of the normal */
}

static void clopper_pearson_has_its_closed_forms(void)
{
    CU_ASSERT_DOUBLE_EQUAL(wa_share_upper(0.0, 59.0), 1.0 - pow(0.05, 1.0 / 59.0), 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(wa_share_upper(0.5, 2.0), sqrt(0.95), 1e-12); /* 1 of 2: 1 - p^2 = 5 % */
    CU_ASSERT_EQUAL(wa_share_upper(1.0, 10.0), 1.0);
}

static void clusters_shrink_the_count(void)
{
    /* as many clusters as positions: only the spread counts */
    CU_ASSERT_DOUBLE_EQUAL(wa_effective_count(0.5, 0.25 / 8.0, 10.0, 10.0), 8.0, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(wa_effective_count(0.5, 0.25 / 80.0, 10.0, 10.0), 10.0, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(wa_effective_count(0.0, 0.0, 10.0, 10.0), 10.0, 1e-12);
    double ratio = wa_t_upper(9.0) / T1;
    CU_ASSERT_DOUBLE_EQUAL(wa_effective_count(0.0, 0.0, 10.0, 2.0), 10.0 * ratio * ratio, 1e-9);
}

/* --- Means ------------------------------------------------------------------------------------ */

static void errors_are_those_of_the_prompts(void)
{
    static const double kl[] = {1, 3, 5, 7};
    scene *s = scene_of(2, 2);
    memcpy(s->kl, kl, sizeof kl);
    wa_rates r = rates_of(s, 0.1);
    /* sums 4 and 12 about 8: 2/1 x (16 + 16) / 16 = 4 */
    CU_ASSERT_DOUBLE_EQUAL(r.mean_kl.value, 4.0, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(r.mean_kl.error, 2.0, 1e-14);
    CU_ASSERT_EQUAL(r.mean_kl.upper, INFINITY);
    CU_ASSERT_EQUAL(r.n_obs, 4);
    CU_ASSERT_EQUAL(r.n_prompts, 2);
}

static void prompts_weigh_by_their_positions(void)
{
    static const double kl[] = {2, 4, 4, 10};
    static const int32_t prompt[] = {7, 9, 9, 9};
    scene *s = scene_of(1, 4);
    memcpy(s->kl, kl, sizeof kl);
    memcpy(s->prompt, prompt, sizeof prompt);
    s->ref[0] = s->own[0] = NAN; /* the first prompt ends here */
    wa_rates r = rates_of(s, 0.1);
    /* mean 5; sums 2 - 5 and 18 - 15: 2 x 18 / 16 */
    CU_ASSERT_DOUBLE_EQUAL(r.mean_kl.value, 5.0, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(r.mean_kl.error, 1.5, 1e-14);
    CU_ASSERT_EQUAL(r.n_non_finite, 0);
    CU_ASSERT_EQUAL(r.n_next, 2);
}

static void perplexity_is_made_on_the_log_scale(void)
{
    /* losses 0.5, 0.3 | 0.1, 0.3: mean 0.3; sums 0.8 and 0.4 about 0.6: 2 x 0.08 / 16 = 0.01 */
    static const double own[] = {-2.5, -2.3, NAN, -2.1, -2.3, NAN};
    scene *s = scene_of(2, 3);
    memcpy(s->own, own, sizeof own);
    wa_rates r = rates_of(s, 0.1);
    CU_ASSERT_EQUAL(r.n_next, 4);
    CU_ASSERT_DOUBLE_EQUAL(r.mean_next_logprob_delta.value, -0.3, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(r.mean_next_logprob_delta.error, 0.1, 1e-14);
    CU_ASSERT_EQUAL(r.mean_next_logprob_delta.upper, INFINITY);
    CU_ASSERT_DOUBLE_EQUAL(r.ppl_ratio.value, exp(0.3), 1e-14);
    CU_ASSERT_DOUBLE_EQUAL(r.ppl_ratio.error, 0.1 * exp(0.3), 1e-14);
    CU_ASSERT_EQUAL(r.ppl_ratio.upper, INFINITY);
}

/* The 98.5 % point of t with 9 degrees of freedom: tables of Student's t. */
static const double T9 = 2.573804;

/* Ten prompts, one of which is bad: m 0.1, off by 0.9 and nine times -0.1. s^2 = 0.09 x 10/9; the
 * sample's skewness of a Bernoulli variable with 1/10 is 0.8 / 0.3, times sqrt(90)/8 for the
 * population's. */
static void limits_of_means_follow_the_tail(void)
{
    scene *s = scene_of(10, 2);
    s->kl[6] = 2.0;
    s->own[6] = -4.0; /* its loss, 2, is the only one of its prompt */
    wa_rates r = rates_of(s, 0.1);
    double error = sqrt(0.9 / 9.0 / 10.0);
    double skewness = 0.8 / 0.3 * sqrt(90.0) / 8.0;
    double chen = T9 + skewness * (2.0 * T9 * T9 + 1.0) / (6.0 * sqrt(10.0));
    CU_ASSERT_DOUBLE_EQUAL(r.mean_kl.error, error, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(r.mean_kl.upper,
                           0.1 + (T9 + 4.0 * (2.0 * T9 * T9 + 1.0) / (6.0 * sqrt(10.0))) * error,
                           1e-6);
    CU_ASSERT_DOUBLE_EQUAL(r.ppl_ratio.upper, exp(0.2 + 2.0 * chen * error), 1e-5);
    /* the tail of gains is on the other side: Student's alone */
    CU_ASSERT_DOUBLE_EQUAL(r.mean_next_logprob_delta.upper, -0.2 + 2.0 * T9 * error, 1e-6);
    for (size_t i = 0; i < 20; i++) /* KL without a tail in sight has that of the baselines */
        s->kl[i] = i % 4 < 2 ? 0.1 : 0.3;
    error = sqrt(0.01 * 10.0 / 9.0 / 10.0);
    CU_ASSERT_DOUBLE_EQUAL(rates_of(s, 0.1).mean_kl.upper,
                           0.2 + (T9 + 4.0 * (2.0 * T9 * T9 + 1.0) / (6.0 * sqrt(10.0))) * error,
                           1e-6);
}

static void nine_prompts_set_no_limit_and_ten_do(void)
{
    for (size_t prompts = 9; prompts <= 10; prompts++) {
        wa_rates r = rates_of(scene_of(prompts, 80), 0.1);
        const wa_rate *all[] = {&r.mean_kl,       &r.p99_kl,    &r.flip_rate,
                                &r.far_flip_rate, &r.ppl_ratio, &r.mean_next_logprob_delta};
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
            CU_ASSERT_EQUAL(isinf(all[i]->upper), prompts < 10);
    }
}

/* --- Texts that are no news ------------------------------------------------------------------- */

/* One text under 40 keys was 40 prompts, whose equal sums left an error of 1e-18. */
static void one_text_under_forty_keys_is_one_prompt(void)
{
    scene *s = scene_of(40, 30);
    for (size_t i = 0; i < s->rows.obs; i++) {
        s->token[i] = (int32_t)(i % 30);
        s->kl[i] = 0.1 * (double)(i % 30);
    }
    wa_rates r = rates_of(s, 0.1);
    CU_ASSERT_EQUAL(r.n_obs, 1200);
    CU_ASSERT_EQUAL(r.n_distinct, 30);
    CU_ASSERT_EQUAL(r.n_next, 29);
    CU_ASSERT_EQUAL(r.n_prompts, 40);
    CU_ASSERT_EQUAL(r.n_clusters, 1);
    CU_ASSERT_DOUBLE_EQUAL(r.mean_kl.value, 1.45, 1e-14);
    const wa_rate *all[] = {&r.mean_kl, &r.p99_kl, &r.flip_rate, &r.far_flip_rate, &r.ppl_ratio};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        CU_ASSERT(isnan(all[i]->error) && all[i]->upper == INFINITY);
}

static void equal_prefixes_count_once(void)
{
    /* a b c, a b d e, a b c d, f: shared are 0, 2, 3, 0; in token order abc, abcd, abde, f */
    static const int32_t prompt[] = {0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3},
                         token[] = {1, 2, 3, 1, 2, 4, 5, 1, 2, 3, 4, 6};
    static const double kl[] = {1, 2, 4, 1, 2, 8, 16, 1, 2, 4, 32, 64};
    scene *s = scene_of(1, 12);
    memcpy(s->prompt, prompt, sizeof prompt);
    memcpy(s->token, token, sizeof token);
    memcpy(s->kl, kl, sizeof kl);
    wa_rates r = rates_of(s, 0.1);
    CU_ASSERT_EQUAL(r.n_distinct, 7);
    CU_ASSERT_EQUAL(r.n_prompts, 4);
    /* abc is in abcd; abde shares 2 of 4 with that, and 2 of 3 with abc */
    CU_ASSERT_EQUAL(r.n_clusters, 2);
    CU_ASSERT_DOUBLE_EQUAL(r.mean_kl.value, 127.0 / 7.0, 1e-14);
    CU_ASSERT_EQUAL(r.n_next, 5); /* a>b b>c, c>d, b>d d>e: b has two next tokens */
}

static int64_t clusters_of(const int32_t *tokens, size_t prompts, size_t each)
{
    scene *s = scene_of(prompts, each);
    memcpy(s->token, tokens, prompts * each * sizeof *tokens);
    return rates_of(s, 0.1).n_clusters;
}

static void more_than_half_of_the_shorter_is_one_cluster(void)
{
    static const int32_t half[] = {1, 2, 3, 4, 1, 2, 5, 6}, more[] = {1, 2, 3, 4, 1, 2, 3, 6},
                         apart[] = {1, 2, 3, 4, 5, 2, 3, 4},
                         two[] = {1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 6, 5};
    CU_ASSERT_EQUAL(clusters_of(half, 2, 4), 2);
    CU_ASSERT_EQUAL(clusters_of(more, 2, 4), 1);
    CU_ASSERT_EQUAL(clusters_of(apart, 2, 4), 2);
    CU_ASSERT_EQUAL(clusters_of(two, 3, 4), 2);
}

/* Against every pair compared and joined, on prompts of a small alphabet whose order is drawn. */
static size_t clusters_by_pairs(const scene *s, const size_t *first, size_t prompts)
{
    size_t head[64], count = prompts;
    for (size_t i = 0; i < prompts; i++)
        head[i] = i;
    for (size_t i = 0; i < prompts; i++)
        for (size_t j = 0; j < i; j++) {
            size_t m = first[i + 1] - first[i], n = first[j + 1] - first[j], least = m < n ? m : n,
                   same = 0;
            while (same < least && s->token[first[i] + same] == s->token[first[j] + same])
                same++;
            size_t a = head[i], b = head[j];
            if (2 * same <= least || a == b)
                continue;
            count--;
            for (size_t k = 0; k < prompts; k++)
                head[k] = head[k] == a ? b : head[k];
        }
    return count;
}

static size_t prefixes_by_pairs(const scene *s, const size_t *first, size_t prompts)
{
    size_t distinct = 0;
    for (size_t i = 0; i < prompts; i++)
        for (size_t at = 1; at <= first[i + 1] - first[i]; at++) {
            bool is_new = true;
            for (size_t j = 0; j < i && is_new; j++)
                is_new =
                    first[j + 1] - first[j] < at ||
                    memcmp(s->token + first[i], s->token + first[j], at * sizeof(int32_t)) != 0;
            distinct += is_new;
        }
    return distinct;
}

static void clusters_are_those_of_all_pairs(void)
{
    uint64_t state = 88172645463325252u;
    for (int round = 0; round < 300; round++) {
        scene *s = scene_of(1, MOST);
        size_t first[41] = {0}, prompts = 2 + wa_test_random(&state) % 39;
        for (size_t p = 0; p < prompts; p++) {
            first[p + 1] = first[p] + 1 + wa_test_random(&state) % 12;
            for (size_t i = first[p]; i < first[p + 1]; i++) {
                s->prompt[i] = (int32_t)p;
                s->token[i] = (int32_t)(wa_test_random(&state) % 8 < 6 ? 0 : 1);
            }
        }
        s->rows.obs = first[prompts];
        wa_rates r = rates_of(s, 0.1);
        CU_ASSERT_EQUAL(r.n_clusters, (int64_t)clusters_by_pairs(s, first, prompts));
        CU_ASSERT_EQUAL(r.n_distinct, (int64_t)prefixes_by_pairs(s, first, prompts));
    }
}

/* --- Shares ----------------------------------------------------------------------------------- */

static void flips_to_tokens_beyond_the_margin_are_counted_apart(void)
{
    scene *s = scene_of(16, 2);
    s->match[0] = s->match[3] = 0;
    s->gap[0] = 0.02; /* at the margin: excused */
    s->gap[3] = 0.03;
    wa_rates r = rates_of(s, 0.02);
    CU_ASSERT_EQUAL(r.flip_margin, 0.02);
    CU_ASSERT_DOUBLE_EQUAL(r.flip_rate.value, 0.0625, 1e-15);
    /* sums 1, 1 and 14 x 0 about 1/8: 16/15 x (2 x 49/64 + 14/64) / 1024 */
    CU_ASSERT_DOUBLE_EQUAL(r.flip_rate.error, sqrt(16.0 / 15.0 * 1.75 / 1024.0), 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(r.far_flip_rate.value, 0.03125, 1e-15);
    CU_ASSERT(r.far_flip_rate.upper > 0.03125 && r.far_flip_rate.upper < r.flip_rate.upper);
    s->gap[0] = NAN; /* a gap that is no number excuses nothing */
    r = rates_of(s, 0.02);
    CU_ASSERT_DOUBLE_EQUAL(r.far_flip_rate.value, 0.0625, 1e-15);
}

/* 59 prompts of one position: 0.95^59 < 5 %, the rule of three. */
static void no_flip_at_all_is_no_rate_of_zero(void)
{
    wa_rates r = rates_of(scene_of(59, 1), 0.1);
    CU_ASSERT_EQUAL(r.flip_rate.value, 0.0);
    CU_ASSERT_DOUBLE_EQUAL(r.flip_rate.upper, 1.0 - pow(0.05, 1.0 / 59.0), 1e-12);
    /* as many positions in fewer prompts tell less */
    wa_rates few = rates_of(scene_of(10, 6), 0.1);
    CU_ASSERT(few.flip_rate.upper > r.flip_rate.upper && few.flip_rate.upper < 0.1);
}

/* --- The 99th percentile ---------------------------------------------------------------------- */

static double p99_limit(size_t prompts)
{
    scene *s = scene_of(prompts, 1);
    for (size_t i = 0; i < prompts; i++)
        /* 1 .. prompts in some order; 7 does not divide */
        s->kl[i] = (double)((i * 7) % prompts + 1);
    return rates_of(s, 0.1).p99_kl.upper;
}

/* Wilks (1941): the largest of 299 is an upper 95 % limit of the 99 % point, the second of 473. */
static void the_limit_of_p99_is_an_order_statistic(void)
{
    CU_ASSERT_EQUAL(p99_limit(298), INFINITY);
    CU_ASSERT_EQUAL(p99_limit(299), 299.0);
    CU_ASSERT_EQUAL(p99_limit(470), 470.0);
    CU_ASSERT_EQUAL(p99_limit(480), 479.0);
    CU_ASSERT_EQUAL(p99_limit(640), 638.0);
}

static void p99_is_interpolated_and_its_limit_follows_ties_and_clusters(void)
{
    scene *s = scene_of(101, 1);
    for (size_t i = 0; i < 101; i++)
        s->kl[i] = (double)(100 - i);
    wa_rates r = rates_of(s, 0.1);
    CU_ASSERT_DOUBLE_EQUAL(r.p99_kl.value, 99.0, 1e-12);
    CU_ASSERT_EQUAL(r.p99_kl.upper, INFINITY);
    /* one of 101 lies above; Woodruff: 0.99 -+ sqrt(101/100 x (1/101 - 1/101^2) / 101) = 1/101 */
    CU_ASSERT_DOUBLE_EQUAL(r.p99_kl.error, (99.0 + 100.0 / 101.0 - (99.0 - 100.0 / 101.0)) / 2.0,
                           1e-9);
    s = scene_of(1000, 2); /* zero but for three equal values: they go together */
    s->kl[0] = s->kl[800] = s->kl[1600] = 5.0;
    CU_ASSERT_EQUAL(rates_of(s, 0.1).p99_kl.upper, 0.0);
    s = scene_of(2, 1000); /* two prompts are no 2000 positions */
    CU_ASSERT_EQUAL(rates_of(s, 0.1).p99_kl.upper, INFINITY);
}

/* --- What is no number ------------------------------------------------------------------------ */

static void one_prompt_sets_no_limit(void)
{
    wa_rates r = rates_of(scene_of(1, 50), 0.1);
    const wa_rate *all[] = {&r.mean_kl, &r.p99_kl, &r.flip_rate, &r.far_flip_rate, &r.ppl_ratio};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        CU_ASSERT(isfinite(all[i]->value) && isnan(all[i]->error));
        CU_ASSERT_EQUAL(all[i]->upper, INFINITY);
    }
}

static void nan_spoils_what_it_is_part_of(void)
{
    scene *s = scene_of(400, 2);
    s->kl[9] = NAN;
    wa_rates r = rates_of(s, 0.1);
    CU_ASSERT(isnan(r.mean_kl.value) && isnan(r.mean_kl.upper));
    CU_ASSERT(isnan(r.p99_kl.value) && isnan(r.p99_kl.upper));
    CU_ASSERT_EQUAL(r.n_non_finite, 1);
    CU_ASSERT_EQUAL(r.first_non_finite, 9);
    s->kl[9] = 0.0;
    s->own[4] = NAN;
    r = rates_of(s, 0.1);
    CU_ASSERT(isnan(r.ppl_ratio.value) && isnan(r.ppl_ratio.upper));
    CU_ASSERT(isnan(r.mean_next_logprob_delta.value));
    CU_ASSERT_EQUAL(r.first_non_finite, 4);
    s = scene_of(1, 20); /* one prompt has no limit, and still a NaN is none */
    s->kl[0] = NAN;
    CU_ASSERT(isnan(rates_of(s, 0.1).mean_kl.upper));
}

static void nothing_at_all_is_no_number(void)
{
    wa_rates r = rates_of(scene_of(0, 1), 0.1);
    CU_ASSERT(isnan(r.mean_kl.value) && isnan(r.p99_kl.value) && isnan(r.ppl_ratio.upper));
    r = rates_of(scene_of(5, 1), 0.1); /* no position has a next token */
    CU_ASSERT_EQUAL(r.n_next, 0);
    CU_ASSERT(isnan(r.ppl_ratio.value) && isnan(r.ppl_ratio.upper));
    r = wa_rates_none();
    CU_ASSERT(isnan(r.mean_kl.value) && isnan(r.flip_rate.upper) && isnan(r.flip_margin));
}

WA_SUITE("rates", WA_CASE(incomplete_beta_has_its_closed_forms),
         WA_CASE(student_has_its_closed_forms), WA_CASE(clopper_pearson_has_its_closed_forms),
         WA_CASE(clusters_shrink_the_count), WA_CASE(errors_are_those_of_the_prompts),
         WA_CASE(prompts_weigh_by_their_positions), WA_CASE(perplexity_is_made_on_the_log_scale),
         WA_CASE(limits_of_means_follow_the_tail), WA_CASE(nine_prompts_set_no_limit_and_ten_do),
         WA_CASE(one_text_under_forty_keys_is_one_prompt), WA_CASE(equal_prefixes_count_once),
         WA_CASE(more_than_half_of_the_shorter_is_one_cluster),
         WA_CASE(clusters_are_those_of_all_pairs),
         WA_CASE(flips_to_tokens_beyond_the_margin_are_counted_apart),
         WA_CASE(no_flip_at_all_is_no_rate_of_zero),
         WA_CASE(the_limit_of_p99_is_an_order_statistic),
         WA_CASE(p99_is_interpolated_and_its_limit_follows_ties_and_clusters),
         WA_CASE(one_prompt_sets_no_limit), WA_CASE(nan_spoils_what_it_is_part_of),
         WA_CASE(nothing_at_all_is_no_number))
