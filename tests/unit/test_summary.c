/* Summaries: extremes with their places, quantiles by hand, what is no number, and digests. */
#include "judge/summary.h"
#include "measure/diff.h"
#include "suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 3, OBS = 5 };

/* Figures of one case, [LAYERS][OBS]; two prompts of 3 and 2 positions. */
typedef struct figures {
    double cos[LAYERS][OBS], rel_l2[LAYERS][OBS], other[LAYERS][OBS], kernel[LAYERS][OBS],
        own[LAYERS][OBS];
    double eta[LAYERS][OBS], drift[LAYERS][OBS];
    int32_t index[LAYERS][OBS];
    int8_t status[LAYERS][OBS];
} figures;

static const int32_t POSITION[OBS] = {0, 1, 2, 0, 1};

static void fill(figures *f)
{
    for (int l = 0; l < LAYERS; l++)
        for (int o = 0; o < OBS; o++) {
            f->cos[l][o] = 0.999;
            f->rel_l2[l][o] = 0.01 * (l * OBS + o + 1); /* 0.01 … 0.15 */
            f->other[l][o] = 1.0;
            f->kernel[l][o] = f->own[l][o] = NAN;
            f->eta[l][o] = 0.5;
            f->drift[l][o] = 0.25;
            f->index[l][o] = l * OBS + o;
            f->status[l][o] = WA_OBS_OK;
        }
}

static wa_summary_rows rows_of(const figures *f, int l, int first, int count)
{
    return (wa_summary_rows){.cos = &f->cos[l][first],
                             .one_minus_cos = &f->other[l][first],
                             .rel_l2 = &f->rel_l2[l][first],
                             .l2 = &f->other[l][first],
                             .max_abs = &f->other[l][first],
                             .norm_ratio = &f->other[l][first],
                             .kernel_rel_l2 = &f->kernel[l][first],
                             .kernel_own_rel_l2 = &f->own[l][first],
                             .eta = &f->eta[l][first],
                             .drift = &f->drift[l][first],
                             .max_abs_index = &f->index[l][first],
                             .obs_status = &f->status[l][first],
                             .obs_position = POSITION + first,
                             .first_obs = (size_t)first,
                             .count = (size_t)count};
}

static wa_arena *arena_for_test(void)
{
    wa_arena *arena;
    wa_error err = {0};
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    return arena;
}

/* cut: observations handed over at a time; the last layer comes first when it is odd */
static void feed(wa_summary *summary, const figures *f, int cut, bool again)
{
    for (int i = 0; i < LAYERS; i++)
        for (int o = 0; o < OBS; o += cut) {
            int l = cut % 2 == 1 ? LAYERS - 1 - i : i;
            wa_summary_rows rows = rows_of(f, l, o, o + cut > OBS ? OBS - o : cut);
            if (again)
                wa_summary_add_again(summary, &rows);
            else
                wa_summary_add(summary, (size_t)l, &rows);
        }
}

static wa_case_summary summarise(wa_arena *arena, const figures *f, int cut, bool shared)
{
    wa_summary *summary;
    wa_case_summary out;
    wa_error err = {0};
    WA_MUST(wa_summary_open(arena, LAYERS, OBS, true, &summary, &err), &err);
    feed(summary, f, cut, false);
    while (wa_summary_again(summary))
        feed(summary, f, cut, true);
    wa_summary_finish(summary, shared, &out);
    return out;
}

#define ASSERT_EXTREME(extreme, value_, layer_, obs_)                                              \
    do {                                                                                           \
        CU_ASSERT_EQUAL((extreme).value, value_);                                                  \
        CU_ASSERT_EQUAL((extreme).layer, layer_);                                                  \
        CU_ASSERT_EQUAL((extreme).obs, obs_);                                                      \
    } while (0)

static void extremes_know_their_places(void)
{
    wa_arena *arena = arena_for_test();
    figures f;
    fill(&f);
    f.cos[1][4] = 0.5;
    f.eta[2][0] = 7.0;
    wa_case_summary s = summarise(arena, &f, OBS, false);
    ASSERT_EXTREME(s.all.min_cos, 0.5, 1, 4);
    ASSERT_EXTREME(s.all.max_rel_l2, 0.15, 2, 4);
    ASSERT_EXTREME(s.all.max_eta, 7.0, 2, 0);
    ASSERT_EXTREME(s.first.max_rel_l2, 0.01 * 14, 2, 3); /* positions 0: observations 0 and 3 */
    ASSERT_EXTREME(s.first.min_cos, 0.999, 0, 0);
    ASSERT_EXTREME(s.rest.min_cos, 0.5, 1, 4);
    ASSERT_EXTREME(s.layer[1].min_cos, 0.5, 1, 4);
    ASSERT_EXTREME(s.layer[0].max_rel_l2, 0.05, 0, 4);
    CU_ASSERT_EQUAL(s.all.n_obs, 15);
    CU_ASSERT_EQUAL(s.first.n_obs, 6);
    CU_ASSERT_EQUAL(s.rest.n_obs, 9);
    CU_ASSERT_EQUAL(s.layer[2].n_obs, 5);
    wa_arena_close(arena);
}

static void the_first_of_equals_keeps_its_place(void)
{
    wa_arena *arena = arena_for_test();
    figures f;
    fill(&f);
    for (int l = 0; l < LAYERS; l++)
        for (int o = 0; o < OBS; o++)
            f.rel_l2[l][o] = l == 0 && o == 0 ? 0.0 : 0.25;
    wa_case_summary s = summarise(arena, &f, OBS, false);
    ASSERT_EXTREME(s.all.max_rel_l2, 0.25, 0, 1);
    ASSERT_EXTREME(s.all.min_cos, 0.999, 0, 0);
    wa_arena_close(arena);
}

/* f(n-1) with n = 15 values 0.01 … 0.15: 7 -> 0.08; 13.3 -> 0.143; 13.86 -> 0.1486; mean 0.08. */
static void quantiles_interpolate_linearly(void)
{
    wa_arena *arena = arena_for_test();
    figures f;
    fill(&f);
    wa_case_summary s = summarise(arena, &f, OBS, false);
    CU_ASSERT_DOUBLE_EQUAL(s.p50_rel_l2, 0.08, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(s.p95_rel_l2, 0.143, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(s.p99_rel_l2, 0.1486, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(s.mean_rel_l2, 0.08, 1e-15);
    wa_arena_close(arena);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Against a sort, over shapes that trouble a selection: ties, runs, saw teeth. */
static void quantiles_agree_with_a_sort(void)
{
    enum { COUNT = 2000 };
    static double values[COUNT], sorted[COUNT];
    static int8_t status[COUNT];
    static int32_t place[COUNT];
    memset(status, WA_OBS_OK, sizeof status);
    for (int shape = 0; shape < 7; shape++) {
        wa_arena *arena = arena_for_test();
        wa_error err = {0};
        wa_summary *summary;
        uint32_t state = 5;
        size_t n = shape == 6 ? 2 : COUNT;
        for (size_t i = 0; i < n; i++) {
            state = state * 1664525u + 1013904223u;
            double random = (double)(state >> 8);
            values[i] = shape == 0   ? random
                        : shape == 1 ? (double)i
                        : shape == 2 ? (double)(n - i)
                        : shape == 3 ? (double)(i % 3)
                        : shape == 4 ? 1.5
                        : shape == 5
                            ? (i % 2 == 0 ? -1.0 : 1.0) * ldexp(random, (int)(i % 2000) - 1000)
                            : random;
            sorted[i] = values[i];
        }
        qsort(sorted, n, sizeof *sorted, ascending);
        WA_MUST(wa_summary_open(arena, 1, n, true, &summary, &err), &err);
        wa_summary_rows rows = {.cos = values,
                                .one_minus_cos = values,
                                .rel_l2 = values,
                                .l2 = values,
                                .max_abs = values,
                                .norm_ratio = values,
                                .kernel_rel_l2 = values,
                                .kernel_own_rel_l2 = values,
                                .eta = values,
                                .drift = values,
                                .max_abs_index = place,
                                .obs_status = status,
                                .obs_position = place,
                                .count = n};
        wa_summary_add(summary, 0, &rows);
        while (wa_summary_again(summary))
            wa_summary_add_again(summary, &rows);
        wa_case_summary s;
        wa_summary_finish(summary, false, &s);
        const double got[3] = {s.p50_rel_l2, s.p95_rel_l2, s.p99_rel_l2};
        static const double at[3] = {0.50, 0.95, 0.99};
        for (size_t k = 0; k < 3; k++) {
            double where = at[k] * (double)(n - 1);
            size_t low = (size_t)where, high = low + 1 < n ? low + 1 : low;
            double hand = sorted[low] + (where - (double)low) * (sorted[high] - sorted[low]);
            CU_ASSERT_EQUAL(got[k], hand);
        }
        wa_arena_close(arena);
    }
}

static void a_stream_that_is_no_number_counts_where_there_is_one(void)
{
    for (int own_stream = 0; own_stream < 2; own_stream++) {
        wa_arena *arena = arena_for_test();
        wa_error err = {0};
        wa_summary *summary;
        wa_case_summary s;
        figures f;
        fill(&f);
        f.drift[2][1] = NAN;
        f.drift[1][3] = INFINITY;
        f.drift[0][4] = f.cos[0][4] = NAN; /* counts once */
        f.drift[1][0] = NAN;
        f.status[1][0] = WA_OBS_NOT_SERVED; /* the model's own FFN kept the stream going */
        WA_MUST(wa_summary_open(arena, LAYERS, OBS, own_stream == 1, &summary, &err), &err);
        feed(summary, &f, OBS, false);
        while (wa_summary_again(summary))
            feed(summary, &f, OBS, true);
        wa_summary_finish(summary, false, &s);
        CU_ASSERT_EQUAL(s.nonfinite, own_stream == 1 ? 4 : 1);
        CU_ASSERT(s.first_nonfinite.layer == 0 && s.first_nonfinite.obs == 4);
        CU_ASSERT_EQUAL(s.all.n_obs, LAYERS * OBS - 1);
        ASSERT_EXTREME(s.all.max_rel_l2, 0.01 * 15, 2, 4);
        wa_arena_close(arena);
    }
}

static void what_is_no_number_is_counted_and_never_an_extreme(void)
{
    wa_arena *arena = arena_for_test();
    figures f;
    fill(&f);
    f.status[1][2] = WA_OBS_NON_FINITE;
    f.cos[1][2] = f.rel_l2[1][2] = NAN;
    f.rel_l2[2][4] = INFINITY; /* called OK by a damaged file */
    f.cos[2][0] = NAN;
    wa_case_summary s = summarise(arena, &f, OBS, false);
    CU_ASSERT_EQUAL(s.nonfinite, 3);
    CU_ASSERT_EQUAL(s.first_nonfinite.layer, 1);
    CU_ASSERT_EQUAL(s.first_nonfinite.obs, 2);
    CU_ASSERT_EQUAL(s.all.n_obs, 15);
    ASSERT_EXTREME(s.all.max_rel_l2, 0.01 * 14, 2, 3);
    ASSERT_EXTREME(s.all.min_cos, 0.999, 0, 0);
    CU_ASSERT_FALSE(isnan(s.p99_rel_l2) || isnan(s.mean_rel_l2));
    wa_arena_close(arena);
}

static void a_first_observation_that_is_nan_does_not_stay_the_extreme(void)
{
    wa_arena *arena = arena_for_test();
    figures f;
    fill(&f);
    f.eta[0][0] = NAN;
    f.drift[0][0] = NAN;
    wa_case_summary s = summarise(arena, &f, OBS, false);
    ASSERT_EXTREME(s.all.max_eta, 0.5, 0, 1);
    ASSERT_EXTREME(s.max_drift, 0.25, 0, 1);
    wa_arena_close(arena);
}

static void missing_observations_are_counted_apart(void)
{
    wa_arena *arena = arena_for_test();
    figures f;
    fill(&f);
    f.status[0][0] = WA_OBS_MISSING;
    f.status[2][4] = WA_OBS_FAILED;
    wa_case_summary s = summarise(arena, &f, OBS, false);
    CU_ASSERT_EQUAL(s.missing, 2);
    CU_ASSERT_EQUAL(s.all.n_obs, 13);
    ASSERT_EXTREME(s.all.max_rel_l2, 0.01 * 14, 2, 3);
    wa_arena_close(arena);
}

/* A layer that no server has is no observation; but the case's own stream has come so far. */
static void what_no_server_has_is_neither_missing_nor_seen(void)
{
    wa_arena *arena = arena_for_test();
    figures f;
    fill(&f);
    for (int i = 0; i < OBS; i++) {
        f.status[2][i] = WA_OBS_NOT_SERVED;
        f.rel_l2[2][i] = f.cos[2][i] = NAN;
    }
    f.drift[2][1] = 7.0;
    wa_case_summary s = summarise(arena, &f, OBS, false);
    CU_ASSERT(s.missing == 0 && s.nonfinite == 0);
    CU_ASSERT_EQUAL(s.all.n_obs, 2 * OBS);
    CU_ASSERT_EQUAL(s.layer[2].n_obs, 0);
    CU_ASSERT_EQUAL(s.layer[2].max_rel_l2.obs, -1);
    ASSERT_EXTREME(s.all.max_rel_l2, 0.01 * 10, 1, 4);
    ASSERT_EXTREME(s.max_drift, 7.0, 2, 1);
    wa_arena_close(arena);
}

static void a_case_without_observations_has_no_extremes(void)
{
    wa_arena *arena = arena_for_test();
    figures f;
    fill(&f);
    memset(f.status, WA_OBS_MISSING, sizeof f.status);
    wa_case_summary s = summarise(arena, &f, OBS, true);
    CU_ASSERT(isnan(s.all.min_cos.value) && isnan(s.all.max_rel_l2.value) && isnan(s.p50_rel_l2));
    CU_ASSERT_EQUAL(s.all.min_cos.layer, -1);
    CU_ASSERT_EQUAL(s.all.n_obs, 0);
    CU_ASSERT_EQUAL(s.n_obs_distinct, 0);
    wa_arena_close(arena);
}

/* 3 layers x (3 + 2) positions; a shared first token counts once a layer: 3 x (1 + 3). */
static void a_shared_first_token_counts_once(void)
{
    wa_arena *arena = arena_for_test();
    figures f;
    fill(&f);
    CU_ASSERT_EQUAL(summarise(arena, &f, OBS, false).n_obs_distinct, 15);
    CU_ASSERT_EQUAL(summarise(arena, &f, OBS, true).n_obs_distinct, 12);
    wa_arena_close(arena);
}

static void kernel_figures_that_went_wrong_are_told_from_absent_ones(void)
{
    wa_arena *arena = arena_for_test();
    figures f;
    fill(&f);
    wa_case_summary s = summarise(arena, &f, OBS, false);
    CU_ASSERT_EQUAL(s.max_kernel.layer, -1); /* none sampled */
    CU_ASSERT_EQUAL(s.kernel_nan.layer, -1);
    CU_ASSERT_EQUAL(s.n_kernel, 0);
    for (int l = 0; l < LAYERS; l++)
        f.kernel[l][l] = f.kernel[l][3] = 1e-7; /* other observations in other layers */
    f.kernel[1][3] = 2e-7;
    s = summarise(arena, &f, OBS, false);
    ASSERT_EXTREME(s.max_kernel, 2e-7, 1, 3);
    CU_ASSERT_EQUAL(s.kernel_nan.layer, -1);
    CU_ASSERT_EQUAL(s.n_kernel, 6);
    f.kernel[2][1] = f.kernel[0][3] = INFINITY;
    s = summarise(arena, &f, OBS, false);
    ASSERT_EXTREME(s.kernel_nan, INFINITY, 0, 3);
    CU_ASSERT_EQUAL(s.n_kernel, 7);
    CU_ASSERT_EQUAL(s.max_kernel_own.layer, -1);
    f.own[2][4] = 3e-7;
    f.own[1][0] = INFINITY;
    s = summarise(arena, &f, OBS, false);
    ASSERT_EXTREME(s.kernel_own_nan, INFINITY, 1, 0);
    ASSERT_EXTREME(s.max_kernel_own, INFINITY, 1, 0);
    CU_ASSERT_EQUAL(s.n_kernel_own, 2);
    wa_arena_close(arena);
}

static bool same_digest(const wa_case_summary *a, const wa_case_summary *b)
{
    return a->digest[0] == b->digest[0] && a->digest[1] == b->digest[1];
}

static void equal_figures_have_equal_digests_however_handed_over(void)
{
    wa_arena *arena = arena_for_test();
    figures f;
    fill(&f);
    wa_case_summary whole = summarise(arena, &f, OBS, false);
    wa_case_summary pieces = summarise(arena, &f, 2, false);
    CU_ASSERT(same_digest(&whole, &pieces));
    CU_ASSERT_EQUAL(pieces.all.max_rel_l2.obs, whole.all.max_rel_l2.obs);
    wa_arena_close(arena);
}

/* From the last layer to the first, with equal extremes, equal infinite kernel figures and two that
 * are no numbers in several layers. */
static void layers_may_come_in_any_order(void)
{
    wa_arena *arena = arena_for_test();
    figures f;
    fill(&f);
    f.rel_l2[0][3] = f.rel_l2[1][1] = f.rel_l2[2][0] = 0.5;
    f.cos[1][2] = f.cos[2][4] = 0.25;
    f.status[1][4] = f.status[2][1] = WA_OBS_NON_FINITE;
    for (int l = 0; l < LAYERS; l++)
        f.kernel[l][1] = l == 0 ? 0.125 : INFINITY;
    wa_case_summary up = summarise(arena, &f, 2, false), down = summarise(arena, &f, 1, false);
    wa_extremes *up_layers = up.layer, *down_layers = down.layer;
    up.layer = down.layer = NULL;
    CU_ASSERT_EQUAL(memcmp(&up, &down, sizeof up), 0);
    CU_ASSERT_EQUAL(memcmp(up_layers, down_layers, LAYERS * sizeof *up_layers), 0);
    ASSERT_EXTREME(down.all.max_rel_l2, 0.5, 0, 3);
    ASSERT_EXTREME(down.all.min_cos, 0.25, 1, 2);
    ASSERT_EXTREME(down.kernel_nan, INFINITY, 1, 1);
    CU_ASSERT_EQUAL(down.first_nonfinite.layer, 1);
    CU_ASSERT_EQUAL(down.first_nonfinite.obs, 4);
    wa_arena_close(arena);
}

/* One bit of any figure of any observation, and two observations swapped. */
static void one_bit_changes_the_digest(void)
{
    wa_arena *arena = arena_for_test();
    figures f;
    fill(&f);
    wa_case_summary before = summarise(arena, &f, OBS, false);
    double *const values[] = {&f.cos[0][0], &f.rel_l2[1][2], &f.eta[2][4], &f.drift[2][0]};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        for (int bit = 0; bit < 52; bit++) {
            uint64_t word;
            memcpy(&word, values[i], sizeof word);
            word ^= (uint64_t)1 << bit;
            memcpy(values[i], &word, sizeof word);
            wa_case_summary after = summarise(arena, &f, OBS, false);
            CU_ASSERT(!same_digest(&before, &after));
            CU_ASSERT(before.digest[0] != after.digest[0] && before.digest[1] != after.digest[1]);
            word ^= (uint64_t)1 << bit;
            memcpy(values[i], &word, sizeof word);
        }
    double keep = f.rel_l2[0][0];
    f.rel_l2[0][0] = f.rel_l2[0][1];
    f.rel_l2[0][1] = keep;
    wa_case_summary swapped = summarise(arena, &f, OBS, false);
    CU_ASSERT(!same_digest(&before, &swapped));
    wa_arena_close(arena);
}

static void further_bytes_enter_the_digest(void)
{
    wa_arena *arena = arena_for_test();
    wa_error err = {0};
    static const char *const words[] = {"", "a", "abcdefgh", "abcdefghi", "abcdefghj"};
    uint64_t seen[5][2];
    for (size_t i = 0; i < 5; i++) {
        wa_summary *summary;
        wa_case_summary s;
        WA_MUST(wa_summary_open(arena, 1, 1, true, &summary, &err), &err);
        wa_summary_digest(summary, words[i], strlen(words[i]));
        wa_summary_finish(summary, false, &s);
        memcpy(seen[i], s.digest, sizeof seen[i]);
        for (size_t j = 0; j < i; j++)
            CU_ASSERT(memcmp(seen[i], seen[j], sizeof seen[i]) != 0);
    }
    wa_arena_close(arena);
}

static void every_failing_take_is_reported(void)
{
    for (size_t k = 1; k <= 5; k++) {
        wa_arena *arena = arena_for_test();
        wa_error err = {0};
        wa_summary *summary;
        wa_arena_fail_at(arena, k);
        CU_ASSERT_EQUAL(wa_summary_open(arena, 2, 2, true, &summary, &err), WA_E_MEMORY);
        wa_arena_close(arena);
    }
    wa_arena *arena = arena_for_test();
    wa_error err = {0};
    wa_summary *summary;
    CU_ASSERT_EQUAL(wa_summary_open(arena, SIZE_MAX, 3, true, &summary, &err), WA_E_MEMORY);
    wa_arena_close(arena);
}

WA_SUITE("summary", WA_CASE(extremes_know_their_places),
         WA_CASE(the_first_of_equals_keeps_its_place),
         WA_CASE(a_stream_that_is_no_number_counts_where_there_is_one),
         WA_CASE(quantiles_interpolate_linearly), WA_CASE(quantiles_agree_with_a_sort),
         WA_CASE(what_is_no_number_is_counted_and_never_an_extreme),
         WA_CASE(a_first_observation_that_is_nan_does_not_stay_the_extreme),
         WA_CASE(missing_observations_are_counted_apart),
         WA_CASE(what_no_server_has_is_neither_missing_nor_seen),
         WA_CASE(a_case_without_observations_has_no_extremes),
         WA_CASE(a_shared_first_token_counts_once),
         WA_CASE(kernel_figures_that_went_wrong_are_told_from_absent_ones),
         WA_CASE(equal_figures_have_equal_digests_however_handed_over),
         WA_CASE(layers_may_come_in_any_order), WA_CASE(one_bit_changes_the_digest),
         WA_CASE(further_bytes_enter_the_digest), WA_CASE(every_failing_take_is_reported))
