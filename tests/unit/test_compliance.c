/* The compliance scan: ratios, zeros, tiles and the worst, all by hand; and what a floor makes of
 * them. */
#include "base/json.h"
#include "made_model.h"
#include "suite.h"
#include "vindex/compliance.h"
#include "vindex/extract.h"
#include "vindex_dirs.h"

#include <math.h>

enum { CHUNK = WA_COMPLIANCE_CHUNK, TILE = CHUNK * WA_COMPLIANCE_TILE_CHUNKS };

/* Three matrices (gate, up, down) of one layer; all hold `weights`, down turned from its
 * columns. */
static void scan_once(const float *weights, size_t rows, size_t cols, wa_arena *arena,
                      wa_compliance *out)
{
    wa_error err = {0};
    wa_panel panel;
    wa_matrix matrix = test_view(weights, rows, cols);
    wa_panel_source source = {.matrix = &matrix};
    WA_MUST(wa_compliance_open(1, rows, cols, arena, out, &err), &err);
    WA_MUST(wa_panel_open(cols, arena, &panel, &err), &err);
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        wa_compliance_add(out, &panel, &source);
}

static wa_arena *open_arena(void)
{
    wa_error err = {0};
    wa_arena *arena;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    return arena;
}

/* Rows of 1040: two tiles, a whole chunk more, and a rest of 16 that is a chunk, too. */
static void ratios_are_of_chunk_maxima(void)
{
    enum { COLS = 2 * TILE + CHUNK / 2, ROWS = 4 };
    static float w[ROWS][COLS];
    wa_arena *arena = open_arena();
    wa_compliance scan;
    for (size_t c = 0; c < COLS; c++)
        w[0][c] = c % 2 == 0 ? 0.5f : -0.5f; /* ratio 1 everywhere */
    w[1][3] = -8.0f;                         /* one chunk that is not zero: ratio 1 */
    w[2][0] = 6.0f;                          /* 6 over 0.25: 24; the second tile is zero */
    w[2][CHUNK] = 0.25f;
    w[2][COLS - 1] = 2.0f;
    w[2][5] = NAN; /* passed over; row 3 is zero */
    scan_once(&w[0][0], ROWS, COLS, arena, &scan);
    wa_bucket rows = scan.rows.buckets[WA_GATE], tiles = scan.tiles.buckets[WA_GATE];
    CU_ASSERT_EQUAL_FATAL(rows.count, 3);
    CU_ASSERT_EQUAL(scan.rows.ratios[0], 1.0f);
    CU_ASSERT_EQUAL(scan.rows.ratios[1], 1.0f);
    CU_ASSERT_EQUAL(scan.rows.ratios[2], 24.0f);
    CU_ASSERT_EQUAL(rows.all_zero, 1);
    CU_ASSERT_EQUAL(rows.some_zero, 2);
    CU_ASSERT_EQUAL(tiles.count, 4); /* two of row 0, one each of rows 1 and 2 */
    CU_ASSERT_EQUAL(tiles.all_zero, 4);
    CU_ASSERT_EQUAL(wa_bucket_share(&scan.rows, &rows, 16.0f), 0.75);
    CU_ASSERT_EQUAL(wa_bucket_share(&scan.rows, &rows, 24.0f), 0.75); /* below, not at */
    CU_ASSERT_EQUAL(wa_bucket_share(&scan.rows, &rows, 24.5f), 1.0);
    wa_bucket all = wa_bucket_merge(scan.rows.buckets, 3);
    CU_ASSERT_EQUAL(all.count, 9);
    CU_ASSERT_EQUAL(all.all_zero, 3);
    wa_arena_close(arena);
}

/* 40 rows of ratios 2, 3, … 41: the 32 largest, down to 10; of three equal ones, gate comes
 * first. */
static void the_worst_are_kept_in_order(void)
{
    enum { ROWS = 40, COLS = 2 * CHUNK };
    static float w[ROWS][COLS];
    wa_arena *arena = open_arena();
    wa_compliance scan;
    for (size_t r = 0; r < ROWS; r++) {
        w[r][0] = (float)(r + 2);
        w[r][CHUNK] = 1.0f;
    }
    scan_once(&w[0][0], ROWS, COLS, arena, &scan);
    CU_ASSERT_EQUAL_FATAL(scan.rows.worst_count, WA_COMPLIANCE_WORST);
    for (size_t i = 0; i < WA_COMPLIANCE_WORST; i++) {
        const wa_offender *worst = &scan.rows.worst[i];
        CU_ASSERT_EQUAL(worst->ratio, (float)(41 - i / 3));
        CU_ASSERT_EQUAL(worst->feature, 39 - i / 3);
        CU_ASSERT_EQUAL(worst->projection, (wa_projection)(i % 3));
    }
    CU_ASSERT_EQUAL(scan.tiles.worst_count, 0);
    wa_arena_close(arena);
}

/* Half of up's rows spread by 20; every row of gate and down is even. */
static void a_projection_below_the_floor_becomes_fp8(void)
{
    enum { ROWS = 4, COLS = 256 };
    static float even[ROWS * COLS], uneven[ROWS * COLS];
    char out[PATH_ROOM];
    wa_error err = {0};
    for (size_t i = 0; i < ROWS * COLS; i++) {
        even[i] = 0.25f;
        uneven[i] = i == 0 || i == COLS ? 5.0f : 0.25f;
    }
    wa_layer layer = {.gate = test_view(even, ROWS, COLS),
                      .up = test_view(uneven, ROWS, COLS),
                      .down = test_view(even, COLS, ROWS)};
    wa_model model = test_model("llama", &layer, 1, ROWS, COLS);
    static const struct {
        double floor;
        const char *file, *action;
    } cases[] = {{0.5, "up_features_fp4.bin", "wrote_fp4"},
                 {0.51, "up_features_fp8.bin", "downgraded_fp4_to_fp8"}};
    scratch_path(out, "compliance", "floor");
    for (size_t i = 0; i < 2; i++) {
        wa_extract_options options = wa_extract_defaults(WA_EXTRACT_FP4);
        char path[2 * PATH_ROOM];
        json_t *report;
        options.policy = WA_FP4_POLICY_A;
        options.fp4_floor = cases[i].floor;
        options.force = true;
        WA_MUST(wa_extract(&model, out, &options, &err), &err);
        CU_ASSERT_EQUAL(count_entries(out, cases[i].file), 1);
        CU_ASSERT_EQUAL(count_entries(out, "up_features"), 1);
        CU_ASSERT_EQUAL(count_entries(out, "down_features_fp4.bin"), 1);
        snprintf(path, sizeof path, "%s/fp4_compliance.json", out);
        WA_MUST(wa_json_open(path, &report, &err), &err);
        json_t *up = json_array_get(json_object_get(report, "per_projection"), WA_UP);
        CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(up, "action")), cases[i].action);
        CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(up, "output_file")),
                               cases[i].file);
        CU_ASSERT_EQUAL(json_real_value(json_object_get(up, "compliance_at_threshold")), 0.5);
        wa_json_close(report);
    }
}

WA_SUITE("compliance", WA_CASE(ratios_are_of_chunk_maxima), WA_CASE(the_worst_are_kept_in_order),
         WA_CASE(a_projection_below_the_floor_becomes_fp8))
