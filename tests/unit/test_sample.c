/* The sample of the kernel check: what every job is promised, over many extents. */
#include "measure/sample.h"
#include "suite.h"

#include <stdlib.h>
#include <string.h>

static bool has(size_t obs, size_t count, size_t layer, size_t layers)
{
    return wa_sample_has(WA_KERNEL_SAMPLE, obs, count, layer, layers);
}

/* The eighth of the model that a layer lies in; of fewer than eight layers each is one by
 * itself. */
static size_t eighth(size_t layer, size_t layers)
{
    return layers < 8 ? layer : layer * 8 / layers;
}

static void each_observation_meets_every_eighth_and_each_layer_eight_observations(void)
{
    static const size_t counts[] = {1, 2, 7, 8, 9, 15, 23, 24, 39, 63, 64, 65, 200, 1000};
    for (size_t layers = 1; layers <= 80; layers++)
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            size_t count = counts[c], *of_layer = calloc(layers, sizeof *of_layer), missed = 0,
                   thin = 0;
            for (size_t obs = 0; obs < count; obs++) {
                bool met[8] = {false};
                for (size_t layer = 0; layer < layers; layer++)
                    if (has(obs, count, layer, layers)) {
                        met[eighth(layer, layers)] = true;
                        of_layer[layer]++;
                    }
                for (size_t e = 0; e < 8 && e < layers; e++)
                    missed += met[e] ? 0 : 1;
            }
            for (size_t layer = 0; layer < layers; layer++)
                thin += of_layer[layer] < (count < 8 ? count : 8) ? 1 : 0;
            CU_ASSERT_EQUAL(missed, 0);
            CU_ASSERT_EQUAL(thin, 0);
            free(of_layer);
        }
}

/* Number of those before, by counting them. */
static void sampled_observations_of_a_layer_are_numbered_in_turn(void)
{
    static const size_t counts[] = {1, 8, 9, 23, 39, 65, 200};
    static const wa_kernel_check checks[] = {WA_KERNEL_SAMPLE, WA_KERNEL_ALL};
    size_t wrong = 0;
    for (size_t k = 0; k < 2; k++)
        for (size_t layers = 1; layers <= 80; layers++)
            for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++)
                for (size_t layer = 0; layer < layers; layer++)
                    for (size_t obs = 0, before = 0; obs < counts[c]; obs++) {
                        wrong +=
                            wa_sample_before(checks[k], obs, counts[c], layer, layers) != before
                                ? 1
                                : 0;
                        before += wa_sample_has(checks[k], obs, counts[c], layer, layers) ? 1 : 0;
                    }
    CU_ASSERT_EQUAL(wrong, 0);
}

/* Of all layers. */
static size_t pairs_of(wa_kernel_check check, size_t obs, size_t layers)
{
    size_t count = 0;
    for (size_t layer = 0; layer < layers; layer++)
        count += wa_sample_before(check, obs, obs, layer, layers);
    return count;
}

static void the_seed_of_eighteen_layers_has_312_pairs(void)
{
    CU_ASSERT_EQUAL(pairs_of(WA_KERNEL_SAMPLE, 39, 18), 312);
    CU_ASSERT_EQUAL(pairs_of(WA_KERNEL_SAMPLE, 3200, 24), 25600);
    CU_ASSERT_EQUAL(pairs_of(WA_KERNEL_ALL, 39, 18), 39 * 18);
    CU_ASSERT_EQUAL(pairs_of(WA_KERNEL_NONE, 39, 18), 0);
    CU_ASSERT_EQUAL(pairs_of(WA_KERNEL_SAMPLE, 39, 0), 0);
}

/* Observations of one residue (a kernel's tile, or a SIMD lane) at one layer: some are sampled. */
static void no_residue_of_positions_is_left_out_at_any_layer(void)
{
    enum { OBS = 4096 };
    for (size_t layers = 8; layers <= 64; layers += 4)
        for (size_t modulus = 2; modulus <= 16; modulus++)
            for (size_t layer = 0; layer < layers; layer++) {
                bool seen[16] = {false};
                size_t unseen = 0;
                for (size_t obs = 0; obs < OBS; obs++)
                    if (has(obs, OBS, layer, layers))
                        seen[obs % modulus] = true;
                for (size_t r = 0; r < modulus; r++)
                    unseen += seen[r] ? 0 : 1;
                CU_ASSERT_EQUAL(unseen, 0);
            }
}

static void a_batch_never_samples_more_than_it_makes_room_for(void)
{
    static const size_t counts[] = {5, 20, 40, 300};
    for (size_t layers = 1; layers <= 40; layers++)
        for (size_t c = 0; c < 4; c++)
            for (size_t rows = 1; rows <= counts[c]; rows += 1 + rows / 3) {
                size_t room = wa_sample_most(WA_KERNEL_SAMPLE, rows, counts[c], layers), most = 0;
                for (size_t first = 0; first + rows <= counts[c]; first++)
                    for (size_t layer = 0; layer < layers; layer++) {
                        size_t found = 0;
                        for (size_t obs = first; obs < first + rows; obs++)
                            found += has(obs, counts[c], layer, layers) ? 1 : 0;
                        most = found > most ? found : most;
                    }
                CU_ASSERT(most <= room && room <= rows);
            }
    CU_ASSERT_EQUAL(wa_sample_most(WA_KERNEL_ALL, 512, 5000, 18), 512);
    CU_ASSERT_EQUAL(wa_sample_most(WA_KERNEL_NONE, 512, 5000, 18), 0);
}

/* A fault in a share of the pairs is missed with (1 - p)^n: the sample behaves as if drawn. */
static void a_share_of_faulty_pairs_is_met_as_often_as_it_should(void)
{
    enum { OBS = 39, LAYERS = 18, TRIALS = 400 };
    size_t missed = 0;
    srand(1);
    for (int trial = 0; trial < TRIALS; trial++) {
        bool met = false;
        for (size_t obs = 0; obs < OBS; obs++)
            for (size_t layer = 0; layer < LAYERS; layer++) {
                bool faulty = rand() < RAND_MAX / 200; /* p = 0.5 %: (1 - p)^312 = 0.21 */
                met = met || (faulty && has(obs, OBS, layer, LAYERS));
            }
        missed += met ? 0 : 1;
    }
    CU_ASSERT(missed > TRIALS * 15 / 100 && missed < TRIALS * 27 / 100);
}

WA_SUITE("sample", WA_CASE(each_observation_meets_every_eighth_and_each_layer_eight_observations),
         WA_CASE(sampled_observations_of_a_layer_are_numbered_in_turn),
         WA_CASE(the_seed_of_eighteen_layers_has_312_pairs),
         WA_CASE(no_residue_of_positions_is_left_out_at_any_layer),
         WA_CASE(a_batch_never_samples_more_than_it_makes_room_for),
         WA_CASE(a_share_of_faulty_pairs_is_met_as_often_as_it_should))
