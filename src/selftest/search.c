/* From large errors down to the smallest that is found, with the audit's own measuring and
 * judging. */
#include "selftest/search.h"
#include "base/elementary.h"

#include <math.h>

/* e = 10^(-DECADES + step / PER_DECADE): five decades, and 1 at the end. */
enum { DECADES = 5, PER_DECADE = 10, STEPS = DECADES * PER_DECADE, COARSE = 3 };
/* A matrix whose healthy rows our encoder gives this exactly lies on the encoder's own grid. */
static const double OWN_GRID = 1e-2;

typedef struct search {
    const wa_bench *bench;
    const wa_threshold *of;
    wa_encoding_pair *pairs; /* [count] what is judged together; the one at `at` is planted in */
    size_t count, at;
    wa_matrix planted; /* the stored matrix in memory */
    uint8_t *healthy, *bytes;
    const float *rows; /* the model's */
    float *changed;    /* [rows, cols] */
    size_t row;        /* the one that is changed alone */
} search;

static double error_of(int step)
{
    return wa_pow(10.0, (double)step / PER_DECADE - DECADES);
}

static void change_row(const search *s, size_t r, wa_search_kind kind, double e)
{
    size_t cols = s->planted.cols;
    const float *from = s->rows + r * cols;
    float *to = s->changed + r * cols;
    uint64_t state = s->bench->options->seed ^ (uint64_t)r << 20;
    double square = 0.0;
    for (size_t c = 0; c < cols; c++)
        square += (double)from[c] * (double)from[c];
    double sigma = e * sqrt(square / (double)cols);
    for (size_t c = 0; c < cols; c++)
        to[c] = kind == WA_SEARCH_SCALE
                    ? (float)((double)from[c] * (1.0 + e))
                    : (float)((double)from[c] + sigma * wa_bench_normal(&state));
}

static wa_status is_found(const search *s, wa_search_extent extent, wa_search_kind kind, double e,
                          bool *out, wa_error *err)
{
    const wa_matrix *m = &s->planted;
    size_t first = extent == WA_SEARCH_ROW ? s->row : 0,
           count = extent == WA_SEARCH_ROW ? 1 : m->rows;
    WA_TRY(wa_bench_heed(err));
    memcpy(s->bytes, s->healthy, wa_matrix_bytes(m));
    for (size_t r = first; r < first + count; r++)
        change_row(s, r, kind, e);
    WA_TRY(wa_bench_encode(s->bench, &s->of->target, s->of->encoder, s->changed + first * m->cols,
                           count, m, s->bytes + first * m->row_bytes, err));
    wa_encoding_finding finding;
    WA_TRY(wa_bench_judge(s->bench, &s->of->target, s->pairs, s->count, s->of->target.turned,
                          &finding, NULL, err));
    *out = !finding.faithful && (extent == WA_SEARCH_ALL || finding.row < 0 ||
                                 finding.row == (int32_t)(s->at * m->rows + s->row));
    return WA_OK;
}

/*
 * The least step from which on errors are found: down from the largest by factors of two until one
 * is missed, then between. Not by halves: finding is not monotonic. An error so small that most
 * rows stay LARQL's bytes is found by those that do not, and a larger one may be missed.
 */
static wa_status find(const search *s, wa_search_extent extent, wa_search_kind kind, double *out,
                      wa_error *err)
{
    int least = STEPS + 1;
    for (int pace = COARSE; pace > 0; pace -= COARSE - 1)
        for (int step = least - pace; step >= 0; step -= pace) {
            bool found;
            WA_TRY(is_found(s, extent, kind, error_of(step), &found, err));
            if (!found)
                break;
            least = step;
        }
    *out = least > STEPS ? (double)NAN : error_of(least);
    return WA_OK;
}

/* A row of middling size: the first from the middle on that is not all zeros. */
static size_t choose_row(const search *s)
{
    for (size_t i = 0; i < s->planted.rows; i++) {
        size_t r = (s->planted.rows / 2 + i) % s->planted.rows;
        for (size_t c = 0; c < s->planted.cols; c++)
            if (s->rows[r * s->planted.cols + c] != 0.0F)
                return r;
    }
    return 0;
}

/* All healthy, by the encoder in question. */
static wa_status take_pairs(search *s, const wa_threshold *of, wa_error *err)
{
    enum { MOST = 8 }; /* experts of a layer; more take time and change nothing */
    wa_arena *arena = s->bench->arena;
    s->count = wa_size_min(wa_bench_stack(s->bench, &of->target, of->layer), MOST);
    s->at = s->count / 2;
    WA_TRY(wa_arena_take(arena, s->count, sizeof *s->pairs, &s->pairs, err));
    for (size_t i = 0; i < s->count; i++) {
        wa_bench_target one = of->target;
        wa_encoding_pair *pair = &s->pairs[i];
        uint8_t *bytes;
        float *rows;
        one.entry = i;
        WA_TRY(wa_bench_stored(s->bench, &one, of->layer, &pair->stored, err));
        pair->model = wa_bench_truth(s->bench, &one, of->layer);
        if (of->encoder == WA_BENCH_OURS)
            continue;
        WA_TRY(wa_arena_take_raw(arena, wa_matrix_bytes(&pair->stored), 1, &bytes, err));
        wa_mark mark = wa_arena_mark(arena);
        WA_TRY(wa_bench_rows(s->bench, &one, of->layer, &rows, err));
        WA_TRY(wa_bench_encode(s->bench, &one, of->encoder, rows, pair->stored.rows, &pair->stored,
                               bytes, err));
        wa_arena_release(arena, mark);
        pair->stored.data = bytes;
    }
    return WA_OK;
}

static wa_status prepare(search *s, wa_threshold *out, wa_error *err)
{
    wa_matrix stored;
    float *rows;
    WA_TRY(take_pairs(s, out, err));
    out->target.entry = s->at;
    WA_TRY(wa_bench_stored(s->bench, &out->target, out->layer, &stored, err));
    WA_TRY(wa_bench_rows(s->bench, &out->target, out->layer, &rows, err));
    s->rows = rows;
    s->planted = stored;
    size_t bytes = wa_matrix_bytes(&stored);
    WA_TRY(wa_arena_take_raw(s->bench->arena, bytes, 1, &s->healthy, err));
    WA_TRY(wa_arena_take_raw(s->bench->arena, bytes, 1, &s->bytes, err));
    WA_TRY(wa_arena_take_raw(s->bench->arena, stored.rows * stored.cols, sizeof *s->changed,
                             &s->changed, err));
    WA_TRY(wa_bench_encode(s->bench, &out->target, out->encoder, rows, stored.rows, &stored,
                           s->healthy, err));
    memcpy(s->bytes, s->healthy, bytes);
    s->planted.data = s->bytes;
    s->pairs[s->at].stored = s->planted;
    s->row = choose_row(s);
    wa_encoding_finding finding;
    wa_row_error healthy;
    WA_TRY(wa_bench_judge(s->bench, &out->target, s->pairs, s->count, out->target.turned, &finding,
                          &healthy, err));
    out->accused = !finding.faithful;
    out->own = healthy.p50;
    return WA_OK;
}

wa_status wa_search(const wa_bench *bench, const wa_bench_target *target, wa_bench_encoder encoder,
                    wa_threshold *out, wa_error *err)
{
    wa_threshold result = {
        .target = *target, .encoder = encoder, .layer = bench->vindex->layer_count / 2};
    search s = {.bench = bench, .of = &result};
    wa_mark mark = wa_arena_mark(bench->arena);
    wa_status status = prepare(&s, &result, err);
    for (int x = 0; x < WA_SEARCH_EXTENTS; x++)
        for (int k = 0; status == WA_OK && k < WA_SEARCH_KINDS; k++)
            status = find(&s, (wa_search_extent)x, (wa_search_kind)k, &result.found[x][k], err);
    wa_arena_release(bench->arena, mark);
    if (status == WA_OK)
        *out = result;
    return status;
}

double wa_search_limit(const wa_threshold *threshold, wa_search_extent extent)
{
    bool row = extent == WA_SEARCH_ROW, ours = threshold->encoder == WA_BENCH_OURS;
    switch (threshold->target.format) {
    case WA_FORMAT_F32:
    case WA_FORMAT_F16:
        return 1e-3;
    case WA_FORMAT_Q4_K:
        return ours ? (row ? 0.05 : 0.02) : (row ? 0.06 : 0.03);
    case WA_FORMAT_Q4_0:
    case WA_FORMAT_GGML_Q4_0:
    case WA_FORMAT_FP4:
        return row ? INFINITY : 0.05;
    default:
        return INFINITY;
    }
}

bool wa_search_on_grid(const wa_threshold *threshold)
{
    return wa_format_get(threshold->target.format)->encode != NULL && threshold->own < OWN_GRID;
}

bool wa_search_holds(const wa_threshold *threshold)
{
    bool holds = !threshold->accused;
    for (int x = 0; x < WA_SEARCH_EXTENTS; x++)
        for (int k = 0; k < WA_SEARCH_KINDS; k++) {
            double limit = wa_search_limit(threshold, (wa_search_extent)x),
                   e = threshold->found[x][k];
            bool within = !isfinite(limit) || e <= limit * 1.0000001;
            holds = holds && (within || wa_search_on_grid(threshold));
        }
    return holds;
}
