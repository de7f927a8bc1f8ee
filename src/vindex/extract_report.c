/* The compliance report, with upstream's keys and definitions. */
#include "vindex/extract_report.h"

#include "vindex/extract_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/** What every part of the report needs. */
typedef struct reporter {
    const wa_extract_options *options;
    const wa_compliance *scan;
    float *sorted; /* room for all ratios of one granularity */
} reporter;

/* JSON has no NaN: upstream writes null. */
static json_t *number(float value)
{
    return isfinite(value) ? json_real((double)value) : json_null();
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static float quantile(const float *sorted, size_t count, double share)
{
    return count == 0 ? NAN : sorted[(size_t)round((double)(count - 1) * share)];
}

/* f64 sum, rounded, divided in f32: upstream's own steps. */
static float mean(const float *values, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++)
        sum += (double)values[i];
    return count == 0 ? NAN : (float)sum / (float)count;
}

static json_t *bucket_object(const reporter *r, const wa_granularity *g, const wa_bucket *bucket)
{
    static const struct {
        const char *key;
        double share;
    } quantiles[] = {{"min", 0.0},  {"p50", 0.50},   {"p95", 0.95},
                     {"p99", 0.99}, {"p999", 0.999}, {"max", 1.0}};
    double threshold = r->options->fp4_threshold;
    size_t n = bucket->count;
    memcpy(r->sorted, g->ratios + bucket->first, n * sizeof *r->sorted);
    qsort(r->sorted, n, sizeof *r->sorted, ascending);
    json_t *object = json_pack("{s:f, s:f, s:I, s:I, s:[{s:f, s:f}]}", "total_blocks",
                               (double)(n + bucket->all_zero), "nonzero_ratio_blocks", (double)n,
                               "all_zero_blocks", (json_int_t)bucket->all_zero,
                               "has_some_zero_blocks", (json_int_t)bucket->some_zero, "compliance",
                               "threshold", (double)(float)threshold, "compliant_fraction",
                               wa_bucket_share(g, bucket, (float)threshold));
    json_object_set_new(object, "mean", number(mean(r->sorted, n)));
    for (size_t q = 0; q < sizeof quantiles / sizeof quantiles[0]; q++)
        json_object_set_new(object, quantiles[q].key,
                            number(quantile(r->sorted, n, quantiles[q].share)));
    return object;
}

/* Both granularities of `count` buckets from the `first` on. */
static json_t *range_object(const reporter *r, size_t first, size_t count)
{
    const wa_granularity *rows = &r->scan->rows, *tiles = &r->scan->tiles;
    wa_bucket by_row = wa_bucket_merge(rows->buckets + first, count);
    wa_bucket by_tile = wa_bucket_merge(tiles->buckets + first, count);
    return json_pack("{s:o, s:o}", "per_feature", bucket_object(r, rows, &by_row),
                     "sub_feature_tile", bucket_object(r, tiles, &by_tile));
}

static json_t *named_range(const reporter *r, int projection, size_t first, size_t count)
{
    json_t *object = range_object(r, first, count);
    json_object_set_new(object, "projection",
                        json_string(wa_projection_name((wa_projection)projection)));
    return object;
}

static json_t *offenders(const wa_granularity *g, bool tiles)
{
    json_t *list = json_array();
    for (size_t i = 0; i < g->worst_count; i++) {
        const wa_offender *worst = &g->worst[i];
        json_t *entry =
            json_pack("{s:s, s:I, s:I}", "projection", wa_projection_name(worst->projection),
                      "layer", (json_int_t)worst->layer, "feature", (json_int_t)worst->feature);
        if (tiles)
            json_object_set_new(entry, "tile", json_integer((json_int_t)worst->tile));
        json_object_set_new(entry, "ratio", number(worst->ratio));
        json_array_append_new(list, entry);
    }
    return list;
}

static json_t *config_object(const wa_model *model, const wa_extract_options *options)
{
    json_t *features = json_array();
    size_t chunks = (model->hidden + WA_COMPLIANCE_CHUNK - 1) / WA_COMPLIANCE_CHUNK;
    for (size_t l = 0; l < model->layer_count; l++)
        json_array_append_new(features, json_integer((json_int_t)model->intermediate));
    return json_pack("{s:I, s:I, s:o, s:I, s:s, s:i, s:I, s:i, s:i, s:[f]}", "num_layers",
                     (json_int_t)model->layer_count, "hidden", (json_int_t)model->hidden,
                     "layer_features", features, "intermediate_max",
                     (json_int_t)model->intermediate, "dtype", "f32", "sub_block_size",
                     WA_COMPLIANCE_CHUNK, "per_feature_sub_blocks", (json_int_t)chunks,
                     "sub_feature_tile_sub_blocks", WA_COMPLIANCE_TILE_CHUNKS,
                     "sub_feature_tile_elements", WA_COMPLIANCE_TILE_CHUNKS * WA_COMPLIANCE_CHUNK,
                     "compliance_thresholds", (double)(float)options->fp4_threshold);
}

static json_t *scan_object(const wa_model *model, const reporter *r)
{
    size_t layers = model->layer_count;
    json_t *by_projection = json_array(), *by_layer = json_array();
    for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
        json_array_append_new(by_projection, named_range(r, p, (size_t)p * layers, layers));
        for (size_t l = 0; l < layers; l++) {
            json_t *entry = named_range(r, p, (size_t)p * layers + l, 1);
            json_object_set_new(entry, "layer", json_integer((json_int_t)l));
            json_array_append_new(by_layer, entry);
        }
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "config", config_object(model, r->options),
                     "aggregate_all_projections", range_object(r, 0, WA_PROJECTION_COUNT * layers),
                     "per_projection", by_projection, "per_layer_per_projection", by_layer,
                     "worst_offenders_per_feature", offenders(&r->scan->rows, false),
                     "worst_offenders_sub_feature_tile", offenders(&r->scan->tiles, true));
}

static json_t *choices_array(const wa_extract_options *options, const wa_fp4_choice *choices,
                             const uint64_t *sizes)
{
    json_t *list = json_array();
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        json_array_append_new(
            list,
            json_pack("{s:s, s:f, s:f, s:s, s:s, s:s, s:s, s:I}", "projection",
                      wa_projection_name((wa_projection)p), "compliance_at_threshold",
                      (double)choices[p].share, "threshold", (double)(float)options->fp4_threshold,
                      "policy_precision", wa_fp4_precision_name(choices[p].policy),
                      "chosen_precision", wa_fp4_precision_name(choices[p].chosen), "action",
                      choices[p].action, "output_file", choices[p].file, "output_size_bytes",
                      (json_int_t)sizes[p]));
    return list;
}

wa_status wa_extract_write_report(const wa_model *model, const wa_extract_options *options,
                                  const wa_fp4_choice *choices, const wa_compliance *scan,
                                  const uint64_t *sizes, const wa_staging *staging, wa_error *err)
{
    static const char *const policies[] = {"option-a", "option-b", "option-c"};
    size_t buckets = WA_PROJECTION_COUNT * model->layer_count;
    size_t rows = wa_bucket_merge(scan->rows.buckets, buckets).count;
    size_t tiles = wa_bucket_merge(scan->tiles.buckets, buckets).count;
    reporter r = {.options = options, .scan = scan};
    char stamp[48];
    WA_TRY(wa_arena_take_raw(staging->arena, (rows > tiles ? rows : tiles) + 1, sizeof *r.sorted,
                             &r.sorted, err));
    snprintf(stamp, sizeof stamp, "@epoch+%llds", (long long)time(NULL));
    json_t *root = json_pack(
        "{s:s, s:s, s:i, s:f, s:f, s:o, s:o}", "extracted_at", stamp, "policy",
        policies[options->policy], "block_elements_scanned", 256, "compliance_gate_threshold_ratio",
        (double)(float)options->fp4_threshold, "compliance_gate_min_fraction",
        (double)(float)options->fp4_floor, "per_projection", choices_array(options, choices, sizes),
        "full_scan", scan_object(model, &r));
    return wa_extract_write_json(staging, WA_FP4_REPORT, root, err);
}
