/* The routing ladder: every row of walk-paths 2.2, 2.3 and 2.4, and a sweep against a second
 * transcription. */
#include "suite.h"

#include "path/ladder.h"

enum { F = 600 }; /* 80 % of it: 480 */

/* A gated model, a gate file, two positions, no K, and nothing else. */
static wa_ladder_facts bare(void)
{
    return (wa_ladder_facts){.features = F,
                             .positions = 2,
                             .gated = true,
                             .gate_scores = true,
                             .model_up = true,
                             .q4k_up_rows = true,
                             .q4k_down_rows = true,
                             .q4k_whole_blocks = true,
                             .backend_q4_batched = true};
}

static wa_ladder_facts with_features(void)
{
    wa_ladder_facts f = bare();
    f.up_matrix = f.down_matrix = f.has_full_mmap = f.has_down_features = f.rows_covered = true;
    return f;
}

static wa_ladder_facts with_q4k(void)
{
    wa_ladder_facts f = bare();
    f.has_interleaved_q4k = f.q4k_layer = f.rows_covered = true;
    return f;
}

static wa_ladder_facts with_fp4(void)
{
    wa_ladder_facts f = bare();
    f.has_fp4 = f.rows_covered = true;
    return f;
}

static wa_ladder_facts with_interleaved(void)
{
    wa_ladder_facts f = bare();
    f.has_interleaved = f.interleaved_layer = f.rows_covered = true;
    return f;
}

static wa_ladder_facts at_k(wa_ladder_facts f, size_t k)
{
    f.k_is_set = true;
    f.k = k;
    return f;
}

#define SEES(facts, label) CU_ASSERT_EQUAL(wa_ladder_route(&(facts)), WA_LABEL_##label)

/* --- walk-paths 2.2 --- */

static void step_1_zero_features_are_dense_whatever_else_there_is(void)
{
    wa_ladder_facts f = at_k(with_features(), SIZE_MAX);
    f.features = 0;
    f.overrides = true;
    SEES(f, ZERO_FEATURES_DENSE);
}

static void step_3_overrides_take_the_loop_before_the_cache(void)
{
    wa_ladder_facts f = with_features();
    f.overrides = true;
    f.positions = 1;
    f.l1_hit = true;
    SEES(f, SPARSE_SERIAL);
}

static void step_3_declining_goes_on_and_forgets_the_overrides(void)
{
    wa_ladder_facts f = with_interleaved();
    f.overrides = true;
    SEES(f, INTERLEAVED);
    f.positions = 1;
    f.l1_hit = true;
    SEES(f, L1_CACHE_HIT);
}

static void step_4_the_cache_answers_single_positions_only(void)
{
    wa_ladder_facts f = at_k(with_features(), 100);
    f.l1_hit = true;
    SEES(f, SPARSE_SERIAL);
    f.positions = 1;
    SEES(f, L1_CACHE_HIT);
}

static void step_5_a_k_is_tried_first_and_may_decline(void)
{
    wa_ladder_facts f = at_k(with_features(), SIZE_MAX);
    SEES(f, SPARSE_GEMV_FULL_K);
    f = at_k(with_interleaved(), SIZE_MAX);
    SEES(f, INTERLEAVED);
}

static void step_6_fp4_takes_the_sparse_walk_without_a_k(void)
{
    wa_ladder_facts f = with_fp4();
    SEES(f, SPARSE_SERIAL);
    f.rows_covered = false;
    f.has_down_features = f.down_matrix = true;
    SEES(f, EXACT);
}

static void step_7_q4_needs_a_backend_and_its_file(void)
{
    wa_ladder_facts f = with_interleaved();
    f.has_interleaved_q4 = f.q4_layer = true;
    SEES(f, INTERLEAVED);
    f.backend_q4 = true;
    SEES(f, INTERLEAVED_Q4_METAL);
    f.q4_layer = false;
    SEES(f, INTERLEAVED);
}

static void step_8_interleaved_declines_to_full_mmap(void)
{
    wa_ladder_facts f = with_features();
    f.has_interleaved = f.interleaved_layer = true;
    SEES(f, INTERLEAVED);
    f.interleaved_layer = false;
    SEES(f, FULL_MMAP);
}

static void step_9_full_mmap_declines_to_q4k(void)
{
    wa_ladder_facts f = with_q4k();
    f.has_full_mmap = true;
    SEES(f, INTERLEAVED_Q4K_DEQUANT);
    f.up_matrix = f.down_matrix = true;
    SEES(f, FULL_MMAP);
    f.gate_scores = false;
    SEES(f, INTERLEAVED_Q4K_DEQUANT);
}

static void step_10_q4k_without_manifest_declines(void)
{
    wa_ladder_facts f = with_q4k();
    f.q4k_layer = false;
    f.has_down_features = f.down_matrix = true;
    SEES(f, EXACT);
}

static void step_11_never_declines(void)
{
    wa_ladder_facts f = bare();
    f.has_down_features = f.down_matrix = true;
    SEES(f, EXACT);
    f.down_matrix = false;
    SEES(f, EXACT_MODEL_DOWN);
    f.model_up = false;
    SEES(f, NONE); /* upstream panics */
    f.up_matrix = f.down_matrix = true;
    SEES(f, FULL_MMAP);
}

static void step_12_is_what_is_left(void)
{
    wa_ladder_facts f = bare();
    SEES(f, WEIGHTS_FALLBACK_SPARSE);
    f.selected_override = true;
    SEES(f, WEIGHTS_FALLBACK_OVERRIDE);
    f.selected_override = false;
    f.overrides = true;
    SEES(f, WEIGHTS_FALLBACK_OVERRIDE);
}

/* --- walk-paths 2.3 --- */

static void row_a_declines_without_both_matrices_q4k_or_fp4(void)
{
    wa_ladder_facts f = at_k(bare(), 100);
    f.rows_covered = true;
    SEES(f, WEIGHTS_FALLBACK_SPARSE);
    f.up_matrix = true;
    SEES(f, WEIGHTS_FALLBACK_SPARSE);
    f.down_matrix = true;
    SEES(f, SPARSE_SERIAL);
}

static void row_b_full_k_begins_at_eighty_percent(void)
{
    wa_ladder_facts f = at_k(with_features(), 480);
    SEES(f, SPARSE_GEMV_FULL_K);
    f.k = 479;
    SEES(f, SPARSE_SERIAL);
    f.features = 10240; /* walk-paths 2.1 */
    f.k = 8192;
    SEES(f, SPARSE_GEMV_FULL_K);
    f.k = 8092;
    SEES(f, SPARSE_SERIAL);
}

static void row_b_wants_a_gate_and_scores_and_no_overrides(void)
{
    wa_ladder_facts f = at_k(with_features(), SIZE_MAX);
    f.gated = false;
    SEES(f, SPARSE_SERIAL);
    f = at_k(with_features(), SIZE_MAX);
    f.gate_scores = false;
    SEES(f, SPARSE_SERIAL);
    f = at_k(with_features(), SIZE_MAX);
    f.overrides = true;
    SEES(f, SPARSE_SERIAL);
}

static void row_b_takes_either_storage_for_each_matrix(void)
{
    wa_ladder_facts f = at_k(with_q4k(), SIZE_MAX);
    f.down_matrix = true;
    SEES(f, SPARSE_GEMV_FULL_K);
    f.q4k_down_rows = false; /* down comes from the f32 matrix */
    SEES(f, SPARSE_GEMV_FULL_K);
    f.q4k_up_rows = false;
    SEES(f, SPARSE_SERIAL);
}

static void rows_c_d_need_512_hits(void)
{
    wa_ladder_facts f = at_k(with_q4k(), 511);
    f.features = 2048;
    SEES(f, SPARSE_SERIAL);
    f.k = 512;
    SEES(f, SPARSE_PARALLEL_Q4K_DOWN);
    f.gate_scores = false; /* no scores, no hits */
    SEES(f, SPARSE_SERIAL);
}

static void row_d_wants_no_f32_down_and_a_gated_model(void)
{
    wa_ladder_facts f = at_k(with_q4k(), 1000);
    f.features = 2048;
    f.down_matrix = true;
    SEES(f, SPARSE_SERIAL);
    f.down_matrix = false;
    f.gated = false;
    SEES(f, SPARSE_SERIAL);
    f.gated = true;
    f.overrides = true;
    SEES(f, SPARSE_SERIAL);
}

static void row_e_an_uncovered_row_declines_the_call(void)
{
    wa_ladder_facts f = at_k(with_q4k(), 100);
    f.rows_covered = false;
    SEES(f, INTERLEAVED_Q4K_DEQUANT);
}

static void row_f_a_call_that_is_parallel_in_part_is_serial(void)
{
    wa_ladder_facts f = at_k(with_q4k(), 1000);
    f.features = 2048;
    f.some_short_hits = true;
    SEES(f, SPARSE_SERIAL);
}

/* --- walk-paths 2.4 --- */

static void feature_files_fire_gemv_full_mmap_and_exact(void)
{
    wa_ladder_facts f = at_k(with_features(), SIZE_MAX);
    SEES(f, SPARSE_GEMV_FULL_K);
    f = with_features();
    SEES(f, FULL_MMAP);
    f.has_full_mmap = f.up_matrix = false; /* our mask hides the accessor too */
    SEES(f, EXACT);
}

static void interleaved_only_fires_interleaved_for_both(void)
{
    wa_ladder_facts f = with_interleaved();
    SEES(f, INTERLEAVED);
    f = at_k(f, SIZE_MAX);
    SEES(f, INTERLEAVED);
}

static void aligned_q4k_fires_gemv_and_dequant(void)
{
    wa_ladder_facts f = with_q4k();
    SEES(f, INTERLEAVED_Q4K_DEQUANT);
    f = at_k(f, SIZE_MAX);
    SEES(f, SPARSE_GEMV_FULL_K);
}

static void q4k_at_finite_k_fires_parallel_or_serial(void)
{
    wa_ladder_facts f = at_k(with_q4k(), 512);
    f.features = 1024;
    SEES(f, SPARSE_PARALLEL_Q4K_DOWN);
    f.k = 511;
    SEES(f, SPARSE_SERIAL);
}

static void q4k_of_odd_hidden_size_panics_or_declines(void)
{
    wa_ladder_facts f = at_k(with_q4k(), SIZE_MAX);
    f.q4k_up_rows = false;
    SEES(f, NONE); /* 600 hits: aligned-row assertion */
    f.features = 400;
    f.rows_covered = false;
    SEES(f, INTERLEAVED_Q4K_DEQUANT);
    f.q4k_whole_blocks = false;
    SEES(f, NONE);
}

static void q4k_of_odd_feature_count_is_parallel_serial_or_dequant(void)
{
    wa_ladder_facts f = at_k(with_q4k(), SIZE_MAX);
    f.q4k_down_rows = false;
    SEES(f, SPARSE_PARALLEL_Q4K_DOWN);
    f.features = 320;
    SEES(f, SPARSE_SERIAL);
    f.k_is_set = false;
    SEES(f, INTERLEAVED_Q4K_DEQUANT);
}

static void fp4_fires_serial_for_both_cases(void)
{
    wa_ladder_facts f = with_fp4();
    SEES(f, SPARSE_SERIAL);
    f = at_k(f, SIZE_MAX);
    SEES(f, SPARSE_SERIAL);
}

static void fp4_beside_other_storage_is_not_read(void)
{
    wa_ladder_facts f = with_features();
    f.has_fp4 = true;
    SEES(f, SPARSE_GEMV_FULL_K);
    f = with_q4k();
    f.has_fp4 = true;
    SEES(f, SPARSE_GEMV_FULL_K);
}

static void q4_with_the_cpu_backend_is_ours_alone(void)
{
    wa_ladder_facts f = bare();
    f.has_interleaved_q4 = f.q4_layer = f.backend_q4 = true;
    f.backend_q4_batched = false;
    SEES(f, INTERLEAVED_Q4_CPU);
}

static void down_features_only_fires_exact_for_both(void)
{
    wa_ladder_facts f = bare();
    f.has_down_features = f.down_matrix = true;
    SEES(f, EXACT);
    f = at_k(f, SIZE_MAX);
    SEES(f, EXACT);
}

static void no_payload_fires_the_fallback(void)
{
    wa_ladder_facts f = at_k(bare(), SIZE_MAX);
    SEES(f, WEIGHTS_FALLBACK_SPARSE);
}

/* --- A second transcription: a walk as upstream writes it, with its trace --------------------- */

enum { DECLINED = -1, PANICKED = -2 };

/* Labels of one call's positions and its end, as walk_ffn/sparse.rs emits them; answers the kernel.
 */
static int second_sparse(const wa_ladder_facts *f)
{
    bool no_up = !f->up_matrix, no_down = !f->down_matrix;
    if ((no_up || no_down) && !f->q4k_layer && !f->has_fp4)
        return DECLINED;
    size_t k = f->k_is_set ? f->k : SIZE_MAX;
    if (!f->overrides && f->gated && (!f->k_is_set || k >= 8 * f->features / 10) &&
        f->gate_scores) {
        bool up = !no_up || (f->q4k_layer && f->q4k_up_rows);
        bool down = !no_down || (f->q4k_layer && f->q4k_down_rows);
        if (up && down)
            return WA_LABEL_SPARSE_GEMV_FULL_K;
    }
    bool serial_seen = false;
    for (size_t position = 0; position < 2; position++) {
        size_t hits = !f->gate_scores ? 0 : k < f->features ? k : f->features;
        if (position == 1 && f->some_short_hits)
            hits = 0;
        if (!f->overrides && f->gated && hits >= 512 && no_down && f->q4k_layer) {
            if (no_up && !f->q4k_up_rows)
                return PANICKED;
            continue;
        }
        if (!f->rows_covered)
            return DECLINED;
        serial_seen = true;
    }
    return serial_seen ? WA_LABEL_SPARSE_SERIAL : WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN;
}

static int second_exact(const wa_ladder_facts *f)
{
    bool mapped = f->gate_scores && f->up_matrix && f->down_matrix;
    if (!f->model_up)
        return mapped ? WA_LABEL_FULL_MMAP : PANICKED;
    return f->down_matrix ? WA_LABEL_EXACT : WA_LABEL_EXACT_MODEL_DOWN;
}

static int second_route(const wa_ladder_facts *f)
{
    bool august = f->ladder == WA_LADDER_2026_08; /* larql-2026-08 2.1 */
    if (f->features == 0)
        return WA_LABEL_ZERO_FEATURES_DENSE;
    if (f->overrides) {
        int label = second_sparse(f);
        if (label != DECLINED)
            return label;
        if (august)
            return WA_LABEL_WEIGHTS_FALLBACK_OVERRIDE;
    }
    if (f->positions == 1 && f->l1_hit)
        return WA_LABEL_L1_CACHE_HIT;
    if (f->k_is_set) {
        int label = second_sparse(f);
        if (label != DECLINED)
            return label;
    }
    if (f->has_fp4) {
        int label = second_sparse(f);
        if (label != DECLINED)
            return label;
    }
    if (august && f->has_interleaved_q4k && f->q4k_layer && f->gated && f->kquant_whole_rows)
        return WA_LABEL_INTERLEAVED_KQUANT_NATIVE;
    if (f->has_interleaved_q4 && f->backend_q4 && f->q4_layer)
        return f->backend_q4_batched ? WA_LABEL_INTERLEAVED_Q4_METAL : WA_LABEL_INTERLEAVED_Q4_CPU;
    if (f->has_interleaved && f->interleaved_layer)
        return WA_LABEL_INTERLEAVED;
    if (f->has_full_mmap && f->gate_scores && f->up_matrix && f->down_matrix)
        return WA_LABEL_FULL_MMAP;
    if (f->has_interleaved_q4k && f->q4k_layer)
        return !f->q4k_whole_blocks ? PANICKED
               : august             ? WA_LABEL_INTERLEAVED_KQUANT_DEQUANT
                                    : WA_LABEL_INTERLEAVED_Q4K_DEQUANT;
    if (f->has_down_features)
        return second_exact(f);
    return f->selected_override || f->overrides ? WA_LABEL_WEIGHTS_FALLBACK_OVERRIDE
                                                : WA_LABEL_WEIGHTS_FALLBACK_SPARSE;
}

/* The facts whose bit is set in `bits`. */
static wa_ladder_facts facts_of(uint32_t bits)
{
    wa_ladder_facts f = {.features = F, .positions = 2};
    bool *const flags[] = {&f.gated,
                           &f.overrides,
                           &f.l1_hit,
                           &f.has_fp4,
                           &f.up_matrix,
                           &f.down_matrix,
                           &f.q4k_layer,
                           &f.q4k_up_rows,
                           &f.q4k_down_rows,
                           &f.gate_scores,
                           &f.rows_covered,
                           &f.some_short_hits, /* 0-11 */
                           &f.k_is_set,
                           &f.has_interleaved_q4,
                           &f.backend_q4,
                           &f.backend_q4_batched,
                           &f.q4_layer,
                           &f.has_interleaved,
                           &f.interleaved_layer,
                           &f.has_full_mmap,
                           &f.has_interleaved_q4k,
                           &f.q4k_whole_blocks,
                           &f.has_down_features,
                           &f.model_up,
                           &f.selected_override}; /* 12-24 */
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        *flags[i] = (bits >> i & 1) != 0;
    return f;
}

static bool agree_on(const wa_ladder_facts *f)
{
    int second = second_route(f);
    return wa_ladder_route(f) == (wa_label)(second == PANICKED ? WA_LABEL_NONE : second);
}

/* On May's ladder, and on August's with rows of whole blocks and without. */
static bool both_agree(const wa_ladder_facts *f)
{
    wa_ladder_facts g = *f;
    bool may = agree_on(&g);
    g.ladder = WA_LADDER_2026_08;
    bool padded = agree_on(&g);
    g.kquant_whole_rows = true;
    return may && padded && agree_on(&g);
}

static void august_takes_native_rows_before_every_f32_file(void)
{
    wa_ladder_facts f = with_q4k();
    f.ladder = WA_LADDER_2026_08;
    f.kquant_whole_rows = true;
    f.has_interleaved = f.interleaved_layer = true;
    f.up_matrix = f.down_matrix = f.has_full_mmap = f.has_down_features = true;
    CU_ASSERT_EQUAL(wa_ladder_route(&f), WA_LABEL_INTERLEAVED_KQUANT_NATIVE);
    f.ladder = WA_LADDER_2026_05; /* May took the f32 file */
    CU_ASSERT_EQUAL(wa_ladder_route(&f), WA_LABEL_INTERLEAVED);
    f.ladder = WA_LADDER_2026_08;
    f.gated = false;
    CU_ASSERT_EQUAL(wa_ladder_route(&f), WA_LABEL_INTERLEAVED);
    f = with_q4k();
    f.ladder = WA_LADDER_2026_08; /* padded rows decline to the dequantised products */
    CU_ASSERT_EQUAL(wa_ladder_route(&f), WA_LABEL_INTERLEAVED_KQUANT_DEQUANT);
    f.has_fp4 = f.kquant_whole_rows = true; /* FP4 goes to the sparse walk, as in May */
    CU_ASSERT_EQUAL(wa_ladder_route(&f), WA_LABEL_SPARSE_GEMV_FULL_K);
}

static void the_plan_says_what_was_passed_over(void)
{
    wa_arena *arena;
    wa_error err = {0};
    const char *text = "";
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    wa_ladder_facts f = with_q4k();
    f.ladder = WA_LADDER_2026_08;
    f.kquant_whole_rows = true;
    WA_MUST(wa_ladder_explain(&f, arena, &text, &err), &err);
    CU_ASSERT_STRING_EQUAL(text, "interleaved_kquant:native: selected; sparse skipped: neither a K "
                                 "nor FP4 storage, or rows are missing");
    f.kquant_whole_rows = false;
    WA_MUST(wa_ladder_explain(&f, arena, &text, &err), &err);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "interleaved_kquant:dequant: selected; "));
    CU_ASSERT_PTR_NOT_NULL(strstr(
        text, "interleaved_kquant:native skipped: no K-quants of whole blocks of a gated FFN"));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(text, "full_mmap skipped: gate, up or down features are missing"));
    wa_arena_close(arena);
}

static size_t disagreements_at_k(uint32_t bits)
{
    static const size_t ks[] = {1, 479, 480, 511, 512, 600, SIZE_MAX};
    static const size_t features[] = {0, 1, 300, 639, 640, 2048};
    size_t wrong = 0;
    wa_ladder_facts f = facts_of(bits);
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++)
        for (size_t j = 0; j < sizeof features / sizeof features[0]; j++) {
            f.k = ks[i];
            f.features = features[j];
            f.positions = 1 + (i + j) % 2;
            wrong += both_agree(&f) ? 0 : 1;
        }
    return wrong;
}

/* All that the sparse walk looks at (bits 0-12), every other fact absent, and every other fact
 * there. */
static void both_transcriptions_agree_on_the_sparse_walk(void)
{
    size_t wrong = 0;
    for (uint32_t bits = 0; bits < 1U << 13; bits++)
        wrong += disagreements_at_k(bits) + disagreements_at_k(bits | 0x1FFE000U);
    CU_ASSERT_EQUAL(wrong, 0);
}

/* All of the later steps (bits 13-24) with the accessors they share (1, 4, 5, 6, 9), without and
 * with a K that declines. */
static void both_transcriptions_agree_on_the_later_steps(void)
{
    static const int shared[] = {1, 4, 5, 6, 9};
    size_t wrong = 0;
    for (uint32_t late = 0; late < 1U << 12; late++)
        for (uint32_t some = 0; some < 1U << 6; some++) {
            uint32_t bits = late << 13 | (some >> 5) << 12;
            for (int i = 0; i < 5; i++)
                bits |= (some >> i & 1) << shared[i];
            wa_ladder_facts f = facts_of(bits);
            f.k = 100;
            wrong += both_agree(&f) ? 0 : 1;
        }
    CU_ASSERT_EQUAL(wrong, 0);
}

/* And a stride through all 2^25 combinations of flags. */
static void both_transcriptions_agree_on_a_stride_through_everything(void)
{
    size_t wrong = 0;
    for (uint32_t i = 0; i < 30011; i++)
        wrong += disagreements_at_k(i * 1117U % (1U << 25));
    CU_ASSERT_EQUAL(wrong, 0);
}

static void every_label_is_reached_and_has_the_published_text(void)
{
    static const char *const texts[] = {"none",
                                        "zero_features_dense",
                                        "l1_cache_hit",
                                        "sparse:gemv_full_k",
                                        "sparse:parallel_q4k_down",
                                        "sparse:serial",
                                        "interleaved_q4:metal",
                                        "interleaved_q4:cpu",
                                        "interleaved",
                                        "full_mmap",
                                        "interleaved_q4k:dequant",
                                        "exact",
                                        "weights_fallback:override",
                                        "weights_fallback:sparse",
                                        "exact:model_down",
                                        "external",
                                        "interleaved_kquant:native",
                                        "interleaved_kquant:dequant",
                                        "checkpoint",
                                        "interleaved_kquant:q8k",
                                        "experts",
                                        "experts:q8k",
                                        "not_served"};
    bool reached[WA_LABEL_COUNT] = {false};
    for (uint32_t i = 0; i < 1U << 20; i++) {
        wa_ladder_facts f = facts_of(i * 2654435761U % (1U << 25));
        f.k = i % 700;
        f.ladder = i / 7 % 2 == 0 ? WA_LADDER_2026_05 : WA_LADDER_2026_08;
        f.kquant_whole_rows = i % 11 < 6;
        f.positions = 1 + i % 2;
        f.features = i % 97 == 0 ? 0 : F;
        reached[wa_ladder_route(&f)] = true;
    }
    for (int label = 0; label < WA_LABEL_COUNT; label++) {
        bool ours = label == WA_LABEL_EXTERNAL || label == WA_LABEL_CHECKPOINT ||
                    label == WA_LABEL_INTERLEAVED_KQUANT_Q8K || label == WA_LABEL_EXPERTS ||
                    label == WA_LABEL_EXPERTS_Q8K || label == WA_LABEL_NOT_SERVED;
        CU_ASSERT(reached[label] != ours); /* no kernel of the ladders' */
        CU_ASSERT_STRING_EQUAL(wa_label_text((wa_label)label), texts[label]);
    }
}

WA_SUITE("ladder", WA_CASE(step_1_zero_features_are_dense_whatever_else_there_is),
         WA_CASE(step_3_overrides_take_the_loop_before_the_cache),
         WA_CASE(step_3_declining_goes_on_and_forgets_the_overrides),
         WA_CASE(step_4_the_cache_answers_single_positions_only),
         WA_CASE(step_5_a_k_is_tried_first_and_may_decline),
         WA_CASE(step_6_fp4_takes_the_sparse_walk_without_a_k),
         WA_CASE(step_7_q4_needs_a_backend_and_its_file),
         WA_CASE(step_8_interleaved_declines_to_full_mmap),
         WA_CASE(step_9_full_mmap_declines_to_q4k), WA_CASE(step_10_q4k_without_manifest_declines),
         WA_CASE(step_11_never_declines), WA_CASE(step_12_is_what_is_left),
         WA_CASE(row_a_declines_without_both_matrices_q4k_or_fp4),
         WA_CASE(row_b_full_k_begins_at_eighty_percent),
         WA_CASE(row_b_wants_a_gate_and_scores_and_no_overrides),
         WA_CASE(row_b_takes_either_storage_for_each_matrix), WA_CASE(rows_c_d_need_512_hits),
         WA_CASE(row_d_wants_no_f32_down_and_a_gated_model),
         WA_CASE(row_e_an_uncovered_row_declines_the_call),
         WA_CASE(row_f_a_call_that_is_parallel_in_part_is_serial),
         WA_CASE(feature_files_fire_gemv_full_mmap_and_exact),
         WA_CASE(interleaved_only_fires_interleaved_for_both),
         WA_CASE(aligned_q4k_fires_gemv_and_dequant),
         WA_CASE(q4k_at_finite_k_fires_parallel_or_serial),
         WA_CASE(q4k_of_odd_hidden_size_panics_or_declines),
         WA_CASE(q4k_of_odd_feature_count_is_parallel_serial_or_dequant),
         WA_CASE(fp4_fires_serial_for_both_cases), WA_CASE(fp4_beside_other_storage_is_not_read),
         WA_CASE(q4_with_the_cpu_backend_is_ours_alone),
         WA_CASE(down_features_only_fires_exact_for_both), WA_CASE(no_payload_fires_the_fallback),
         WA_CASE(both_transcriptions_agree_on_the_sparse_walk),
         WA_CASE(both_transcriptions_agree_on_the_later_steps),
         WA_CASE(both_transcriptions_agree_on_a_stride_through_everything),
         WA_CASE(august_takes_native_rows_before_every_f32_file),
         WA_CASE(the_plan_says_what_was_passed_over),
         WA_CASE(every_label_is_reached_and_has_the_published_text))
