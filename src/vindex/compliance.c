/* The compliance scan: chunk maxima of every row, their ratios, and the worst of them. */
#include "vindex/compliance.h"

#include "codec/simd.h"

#include <math.h>

static wa_status open_granularity(size_t blocks, size_t buckets, wa_arena *arena,
                                  wa_granularity *out, wa_error *err)
{
    *out = (wa_granularity){.worst_count = 0};
    WA_TRY(wa_arena_take(arena, buckets, sizeof *out->buckets, &out->buckets, err));
    return wa_arena_take_raw(arena, blocks, sizeof *out->ratios, &out->ratios, err);
}

wa_status wa_compliance_open(size_t layers, size_t features, size_t hidden, wa_arena *arena,
                             wa_compliance *out, wa_error *err)
{
    size_t chunks = hidden / WA_COMPLIANCE_CHUNK + 1; /* the last may be a rest */
    size_t buckets, rows, tiles;
    *out = (wa_compliance){.layer_count = layers};
    if (!wa_size_mul(layers, WA_PROJECTION_COUNT, &buckets) ||
        !wa_size_mul(buckets, features, &rows) ||
        !wa_size_mul(rows, chunks / WA_COMPLIANCE_TILE_CHUNKS, &tiles))
        return wa_fail(err, WA_E_MEMORY, "%zu layers of %zu rows overflow", layers, features);
    WA_TRY(wa_arena_take_raw(arena, chunks, sizeof *out->scales, &out->scales, err));
    WA_TRY(open_granularity(rows, buckets, arena, &out->rows, err));
    return open_granularity(tiles, buckets, arena, &out->tiles, err);
}

/* Largest magnitude, NaN passed over. As integers the magnitudes keep their order, and the loop
 * needs no order of operations. */
static inline float largest(const float *x, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7fffffffu;
        bits = bits > 0x7f800000u ? 0 : bits;
        most = bits > most ? bits : most;
    }
    float out;
    memcpy(&out, &most, sizeof out);
    return out;
}

WA_CLONES
static void take_scales(const float *row, size_t cols, float *scales)
{
    size_t whole = cols / WA_COMPLIANCE_CHUNK;
    for (size_t c = 0; c < whole; c++)
        scales[c] = largest(row + c * WA_COMPLIANCE_CHUNK, WA_COMPLIANCE_CHUNK);
    if (cols % WA_COMPLIANCE_CHUNK != 0)
        scales[whole] = largest(row + whole * WA_COMPLIANCE_CHUNK, cols % WA_COMPLIANCE_CHUNK);
}

static void keep_worst(wa_granularity *g, wa_offender found)
{
    size_t at = g->worst_count;
    while (at > 0 && found.ratio > g->worst[at - 1].ratio)
        at--;
    if (at == WA_COMPLIANCE_WORST)
        return;
    size_t kept = g->worst_count < WA_COMPLIANCE_WORST ? g->worst_count : WA_COMPLIANCE_WORST - 1;
    memmove(&g->worst[at + 1], &g->worst[at], (kept - at) * sizeof found);
    g->worst[at] = found;
    g->worst_count = kept + 1;
}

/* One block, of `count` chunks, into the bucket being filled. */
static void add_block(wa_granularity *g, const float *scales, size_t count, wa_offender place)
{
    wa_bucket *bucket = &g->buckets[g->bucket_count];
    float most = 0.0f, least = INFINITY;
    bool zero = false;
    for (size_t c = 0; c < count; c++) {
        most = scales[c] > most ? scales[c] : most;
        least = scales[c] > 0.0f && scales[c] < least ? scales[c] : least;
        zero = zero || scales[c] == 0.0f;
    }
    if (most == 0.0f) {
        bucket->all_zero++;
        return;
    }
    bucket->some_zero += zero;
    place.ratio = isinf(most) ? INFINITY : most / least; /* never NaN: it is sorted by */
    g->ratios[bucket->first + bucket->count++] = place.ratio;
    keep_worst(g, place);
}

static void add_row(wa_compliance *scan, const float *row, size_t cols, wa_offender place)
{
    size_t chunks = (cols + WA_COMPLIANCE_CHUNK - 1) / WA_COMPLIANCE_CHUNK;
    take_scales(row, cols, scan->scales);
    add_block(&scan->rows, scan->scales, chunks, place);
    for (size_t t = 0; t < chunks / WA_COMPLIANCE_TILE_CHUNKS; t++) {
        place.tile = t;
        add_block(&scan->tiles, scan->scales + t * WA_COMPLIANCE_TILE_CHUNKS,
                  WA_COMPLIANCE_TILE_CHUNKS, place);
    }
}

/* A bucket begins where the one before ends. */
static void start_bucket(wa_granularity *g)
{
    const wa_bucket *before = g->bucket_count == 0 ? NULL : &g->buckets[g->bucket_count - 1];
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): an element of an array is not NULL */
    g->buckets[g->bucket_count].first = before == NULL ? 0 : before->first + before->count;
}

void wa_compliance_add(wa_compliance *scan, wa_panel *panel, const wa_panel_source *source)
{
    size_t rows = wa_panel_source_rows(source), cols = wa_panel_source_cols(source);
    size_t most = wa_panel_rows(panel, cols);
    wa_offender place = {.projection = (wa_projection)(scan->rows.bucket_count / scan->layer_count),
                         .layer = scan->rows.bucket_count % scan->layer_count};
    start_bucket(&scan->rows);
    start_bucket(&scan->tiles);
    for (size_t first = 0; first < rows; first += most) {
        size_t count = rows - first < most ? rows - first : most;
        wa_panel_decode(panel, source, first, count);
        for (size_t r = 0; r < count; r++) {
            place.feature = first + r;
            add_row(scan, panel->rows + r * cols, cols, place);
        }
    }
    scan->rows.bucket_count++;
    scan->tiles.bucket_count++;
}

wa_bucket wa_bucket_merge(const wa_bucket *buckets, size_t count)
{
    wa_bucket sum = buckets[0];
    for (size_t b = 1; b < count; b++) {
        sum.count += buckets[b].count;
        sum.all_zero += buckets[b].all_zero;
        sum.some_zero += buckets[b].some_zero;
    }
    return sum;
}

double wa_bucket_share(const wa_granularity *g, const wa_bucket *bucket, float threshold)
{
    size_t complying = bucket->all_zero, total = bucket->count + bucket->all_zero;
    for (size_t i = 0; i < bucket->count; i++)
        complying += g->ratios[bucket->first + i] < threshold;
    return total == 0 ? 0.0 : (double)complying / (double)total;
}
