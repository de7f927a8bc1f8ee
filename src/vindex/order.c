/* Element orders of Q6_K and Q4_0, by comparison with the model or by the bytes (larql-2026-08.md
 * 1.4). */
#include "vindex/order.h"

#include "base/show.h"
#include "vindex/experts.h"
#include "vindex/extract_plan.h"
#include "vindex/parts.h"

#include <math.h>

/* What is known of a matrix. NONE: its format has one order only. */
typedef enum order { NONE, UNDECIDED, BEFORE, SINCE, ORDERS } order;

enum { SAMPLE = 16, NARROW = 32 };

/* A row speaks for an order whose distance is below this share of the other's. Healthy rows: 0.02
 * (Q6_K), 0.1 (Q4_0) against 1; where neither fits both are about 1. */
static const double CLEARLY = 0.8;

/* --- By the model ---------------------------------------------------------------------------- */

/* The sine of the angle between two rows: a factor or a sign is no matter of order. */
static double distance(const float *a, const float *b, size_t n)
{
    double dot = 0.0, square_a = 0.0, square_b = 0.0;
    for (size_t i = 0; i < n; i++) {
        dot += (double)a[i] * (double)b[i];
        square_a += (double)a[i] * (double)a[i];
        square_b += (double)b[i] * (double)b[i];
    }
    if (square_a == 0.0 || square_b == 0.0)
        return 1.0;
    double sine = 1.0 - dot / square_a * (dot / square_b);
    return sine > 0.0 || isnan(sine) ? sqrt(sine) : 0.0;
}

static bool is_zero(const float *row, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (row[i] != 0.0F)
            return false;
    return true;
}

/* A stored matrix and the model's, and what the rows looked at said so far. */
typedef struct poll {
    wa_matrix stored;
    const wa_matrix *model;
    bool turned;
    float *band; /* [cols, width] of a turned model matrix, before it is turned */
    float *rows; /* [width, cols] of the model */
    float *row;  /* [cols] stored */
    size_t looked, before, since;
} poll;

static double distance_in(const poll *p, wa_format format, size_t row, const float *model)
{
    wa_matrix view = p->stored;
    view.format = format;
    wa_matrix_decode(&view, row, 1, p->row);
    return distance(p->row, model, p->stored.cols);
}

static void ask(poll *p, size_t row, const float *model)
{
    wa_format since = wa_format_is_ggml_order(p->stored.format)
                          ? p->stored.format
                          : wa_format_other_order(p->stored.format);
    double now = distance_in(p, since, row, model);
    double then = distance_in(p, wa_format_other_order(since), row, model);
    p->looked++;
    p->since += now < CLEARLY * then ? 1 : 0;
    p->before += then < CLEARLY * now ? 1 : 0;
}

/* Model columns that are decoded together: whole blocks of its format, and a cache line or two. Of
 * rows any number. */
static size_t band_width(const poll *p)
{
    size_t block = wa_format_get(p->model->format)->block_elements;
    return p->turned && block > NARROW ? block : NARROW;
}

/* Of a turned matrix: columns [first, first + count) of the model become rows. */
static void turn_band(const poll *p, size_t first, size_t count)
{
    size_t cols = p->stored.cols;
    wa_matrix view = wa_matrix_columns(p->model, first, count);
    wa_matrix_decode(&view, 0, cols, p->band);
    for (size_t r = 0; r < count; r++)
        for (size_t c = 0; c < cols; c++)
            p->rows[r * cols + c] = p->band[c * count + r];
}

/* Row first + r of the model, as the stored matrix has it. */
static const float *take_row(const poll *p, size_t first, size_t r)
{
    if (p->turned)
        return p->rows + r * p->stored.cols;
    wa_matrix_decode(p->model, first + r, 1, p->rows);
    return p->rows;
}

/* The first `wanted` rows from `first` on, of `count`, that are not zero; how many there were. */
static size_t ask_band(poll *p, size_t first, size_t count, size_t wanted)
{
    size_t found = 0;
    if (p->turned)
        turn_band(p, first, count);
    for (size_t r = 0; r < count && found < wanted; r++) {
        const float *model = take_row(p, first, r);
        if (is_zero(model, p->stored.cols))
            continue;
        ask(p, first + r, model);
        found++;
    }
    return found;
}

/* SAMPLE rows from stretches that share the matrix evenly: of each the first ones that are not
 * zero. Where bands are wide, stretches are fewer and give more rows each. */
static void ask_rows(poll *p)
{
    size_t width = band_width(p), total = p->stored.rows, unit = p->turned ? width : 1;
    size_t stretches = width > NARROW ? SAMPLE / 4 : SAMPLE;
    size_t most = (total + unit - 1) / unit; /* each begins at a multiple of the unit */
    stretches = wa_size_min(stretches, most);
    size_t each = (SAMPLE + stretches - 1) / stretches;
    for (size_t s = 0; s < stretches; s++) {
        size_t end = wa_size_min(most * (s + 1) / stretches * unit, total), wanted = each;
        for (size_t at = most * s / stretches * unit; at < end && wanted > 0; at += width)
            wanted -= ask_band(p, at, wa_size_min(width, end - at), wanted);
    }
}

static wa_status poll_rows(poll *p, wa_arena *arena, wa_error *err)
{
    size_t cols = p->stored.cols, room;
    if (!wa_size_mul(p->turned ? band_width(p) : 1, cols, &room))
        return wa_fail(err, WA_E_MEMORY, "rows of %zu elements overflow 64 bits", cols);
    wa_mark mark = wa_arena_mark(arena);
    wa_status status = wa_arena_take_raw(arena, cols, sizeof *p->row, &p->row, err);
    if (status == WA_OK)
        status = wa_arena_take_raw(arena, room, sizeof *p->rows, &p->rows, err);
    if (status == WA_OK && p->turned)
        status = wa_arena_take_raw(arena, room, sizeof *p->band, &p->band, err);
    if (status == WA_OK)
        ask_rows(p);
    wa_arena_release(arena, mark);
    return status;
}

static order decide(const poll *p)
{
    return 2 * p->since > p->looked ? SINCE : 2 * p->before > p->looked ? BEFORE : UNDECIDED;
}

static bool has_orders(wa_format format)
{
    return wa_format_other_order(format) != format;
}

static wa_status settle_matrix(const wa_vindex *vindex, const wa_model *model, wa_payload payload,
                               wa_projection projection, size_t layer, wa_arena *arena, order *out,
                               wa_error *err)
{
    poll p = {.model = wa_extract_matrix(model, layer, projection),
              .turned = projection == WA_DOWN && wa_payload_down_is_feature_major(payload)};
    WA_TRY(wa_vindex_matrix(vindex, payload, projection, layer, &p.stored, err));
    size_t rows = p.turned ? p.model->cols : p.model->rows;
    size_t cols = p.turned ? p.model->rows : p.model->cols;
    *out = NONE;
    if (p.stored.rows == 0 || !has_orders(p.stored.format))
        return WA_OK;
    *out = UNDECIDED;
    if (p.stored.rows != rows || p.stored.cols != cols) /* whoever compares all rows says so */
        return WA_OK;
    WA_TRY(poll_rows(&p, arena, err));
    *out = decide(&p);
    return WA_OK;
}

/* --- Experts ---------------------------------------------------------------------------------- */

enum { EXPERTS_ASKED = 4 }; /* a file is written at once, in one order: the first few tell */

static wa_status poll_expert(const wa_expert *stored, const wa_expert *model, poll *sum,
                             wa_arena *arena, wa_error *err)
{
    for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
        const wa_matrix *theirs = wa_expert_matrix(stored, (wa_projection)p),
                        *own = wa_expert_matrix(model, (wa_projection)p);
        poll one = {.stored = *theirs, .model = own};
        /* whoever compares all rows says so */
        if (theirs->rows != own->rows || theirs->cols != own->cols)
            continue;
        WA_TRY(poll_rows(&one, arena, err));
        sum->looked += one.looked;
        sum->before += one.before;
        sum->since += one.since;
    }
    return WA_OK;
}

static wa_status settle_layer(const wa_vindex *vindex, const wa_model *model, size_t layer,
                              wa_arena *arena, order *out, wa_error *err)
{
    const wa_layer *own = &model->layers[layer];
    const wa_expert dense = {.gate = own->gate, .up = own->up, .down = own->down};
    const wa_expert *list = own->experts != NULL ? own->experts->experts : &dense;
    wa_layer_store store = wa_vindex_layer_store(vindex, layer);
    size_t count = own->experts != NULL ? own->experts->count : 1;
    poll sum = {0};
    *out = NONE;
    if (store.entries == 0 || !has_orders(store.format))
        return WA_OK;
    count = wa_size_min(wa_size_min(count, store.entries), EXPERTS_ASKED);
    for (size_t e = 0; e < count; e++) {
        wa_expert stored;
        WA_TRY(wa_vindex_expert(vindex, layer, e, &stored, err));
        WA_TRY(poll_expert(&stored, &list[e], &sum, arena, err));
    }
    *out = decide(&sum);
    return WA_OK;
}

static wa_status settle_experts(wa_vindex *vindex, const wa_model *model, wa_arena *arena,
                                wa_error *err)
{
    wa_vindex_maps *maps = vindex->maps;
    if (maps->layer_files == NULL)
        return WA_OK;
    uint8_t *orders;
    WA_TRY(wa_arena_take(arena, WA_PROJECTION_COUNT * vindex->layer_count, sizeof *orders, &orders,
                         err));
    for (size_t l = 0; l < vindex->layer_count; l++) {
        order found;
        WA_TRY(settle_layer(vindex, model, l, arena, &found, err));
        orders[WA_PROJECTION_COUNT * l] = (uint8_t)found;
        if (found == BEFORE)
            maps->layer_files[l].order = wa_format_other_order(maps->layer_files[l].order);
    }
    maps->orders[WA_PAYLOAD_EXPERTS] = orders;
    return WA_OK;
}

/* --- Payloads -------------------------------------------------------------------------------- */

static bool can_have_orders(const wa_vindex *vindex, wa_payload payload)
{
    bool kind = payload == WA_PAYLOAD_INTERLEAVED_Q4 || payload == WA_PAYLOAD_INTERLEAVED_Q4K ||
                payload == WA_PAYLOAD_DOWN_FEATURES_Q4K;
    return kind && vindex->present[payload] && vindex->readable[payload];
}

/* Where wa_vindex_matrix will find what was decided. NULL: an empty layer, which has no matrix. */
static wa_format *format_of(wa_vindex_maps *maps, wa_payload payload, wa_projection projection,
                            size_t layer)
{
    size_t at = WA_PROJECTION_COUNT * layer + (size_t)projection;
    if (payload == WA_PAYLOAD_INTERLEAVED_Q4)
        return &maps->q4_formats[at];
    return payload == WA_PAYLOAD_INTERLEAVED_Q4K ? &maps->interleaved_q4k[at].format
                                                 : &maps->down_features_q4k[layer].format;
}

static wa_status settle_payload(wa_vindex *vindex, const wa_model *model, wa_payload payload,
                                wa_arena *arena, wa_error *err)
{
    wa_vindex_maps *maps = vindex->maps;
    size_t count = WA_PROJECTION_COUNT * vindex->layer_count;
    uint8_t *orders;
    WA_TRY(wa_arena_take(arena, count, sizeof *orders, &orders, err));
    for (size_t i = 0; i < count; i++) {
        wa_projection projection = (wa_projection)(i % WA_PROJECTION_COUNT);
        size_t layer = i / WA_PROJECTION_COUNT;
        order found = NONE;
        if (wa_payload_holds(payload, projection))
            WA_TRY(settle_matrix(vindex, model, payload, projection, layer, arena, &found, err));
        orders[i] = (uint8_t)found;
        if (found == BEFORE) {
            wa_format *format = format_of(maps, payload, projection, layer);
            *format = wa_format_other_order(*format);
        }
    }
    maps->orders[payload] = orders;
    return WA_OK;
}

wa_status wa_vindex_settle_orders(wa_vindex *vindex, const wa_model *model, wa_arena *arena,
                                  wa_error *err)
{
    size_t count = WA_PROJECTION_COUNT * vindex->layer_count;
    WA_TRY(wa_arena_take(arena, count, sizeof *vindex->maps->q4_formats, &vindex->maps->q4_formats,
                         err));
    for (size_t i = 0; i < count; i++)
        vindex->maps->q4_formats[i] = WA_FORMAT_GGML_Q4_0;
    for (int p = 0; p < WA_PAYLOAD_COUNT; p++)
        if (can_have_orders(vindex, (wa_payload)p))
            WA_TRY(settle_payload(vindex, model, (wa_payload)p, arena, err));
    WA_TRY(settle_experts(vindex, model, arena, err));
    wa_model_forget(model);
    return WA_OK;
}

/* --- By the bytes ---------------------------------------------------------------------------- */

/* Right order: a share of 1; wrong: 0.58. Over 64 blocks at least, of which 4,096 are enough. */
static const double FULL_SHARE = 0.85;
enum { LEAST_BLOCKS = 64, MOST_BLOCKS = 4096, GROUPS = 16 };

/* Groups looked at, and how many of them are full in each order. */
typedef struct census {
    size_t counted, since, before;
} census;

static void count_groups(const wa_matrix *matrix, census *sum)
{
    size_t blocks = matrix->row_bytes / wa_format_get(matrix->format)->block_bytes, same = 0;
    size_t rows = MOST_BLOCKS / blocks + 1;
    size_t step = matrix->rows > rows ? matrix->rows / rows : 1;
    for (size_t r = 0; r < matrix->rows; r += step) {
        const uint8_t *row = matrix->data + r * matrix->row_bytes;
        sum->since += wa_q6_k_full_groups(WA_FORMAT_GGML_Q6_K, row, blocks, &sum->counted);
        sum->before += wa_q6_k_full_groups(WA_FORMAT_Q6_K, row, blocks, &same);
    }
}

static order conclude(const census *sum)
{
    double least = FULL_SHARE * (double)sum->counted;
    bool since = (double)sum->since >= least, before = (double)sum->before >= least;
    if (sum->counted < (size_t)LEAST_BLOCKS * GROUPS || since == before)
        return UNDECIDED;
    return since ? SINCE : BEFORE;
}

static bool is_q6_k(wa_format format)
{
    return format == WA_FORMAT_Q6_K || format == WA_FORMAT_GGML_Q6_K;
}

static order guess_matrix(const wa_matrix *matrix)
{
    if (matrix->rows == 0 || !has_orders(matrix->format))
        return NONE;
    census sum = {0};
    if (is_q6_k(matrix->format))
        count_groups(matrix, &sum);
    return conclude(&sum);
}

/* --- Words ----------------------------------------------------------------------------------- */

static const char *const BY_MODEL[ORDERS] = {
    [UNDECIDED] = "order undecided, since neither fits the model: read in that since August 2026",
    [BEFORE] = "order of before August 2026: LARQL since then reads this as noise",
    [SINCE] = "order since August 2026"};
static const char *const BY_BYTES[ORDERS] = {
    [UNDECIDED] = "order not told by the bytes: an audit compares with the model",
    [BEFORE] = "order of before August 2026, by the bytes: LARQL since then reads this as noise",
    [SINCE] = "order since August 2026, by the bytes"};

/* What is told of a payload. */
typedef struct tale {
    const wa_vindex *vindex;
    /* [layers, projections]; of experts, whose layers have one each, as if all were gates */
    const uint8_t *orders;
    const char *const *words;
    const char *format, *subject; /* NULL: a projection's name */
    wa_arena *arena;
} tale;

/* ", layers 0-3, 7"; "" where every layer with a matrix has this order. *any: some layer has it. */
static wa_status list_layers(const tale *t, int projection, order which, bool *any, char **out,
                             wa_error *err)
{
    bool all = true, *has;
    size_t layers = t->vindex->layer_count;
    char *text;
    *any = false;
    WA_TRY(wa_arena_take(t->arena, layers, sizeof *has, &has, err));
    for (size_t l = 0; l < layers; l++) {
        uint8_t found = t->orders[WA_PROJECTION_COUNT * l + (size_t)projection];
        has[l] = found == which;
        *any = *any || has[l];
        all = all && (found == which || found == NONE);
    }
    *out = "";
    if (all)
        return WA_OK;
    WA_TRY(wa_show_layers(has, layers, t->arena, &text, err));
    return wa_arena_print(t->arena, out, err, ", %s", text);
}

static wa_status tell(const tale *t, const char **out, wa_error *err)
{
    char *text = "";
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        for (int which = UNDECIDED; which < ORDERS; which++) {
            bool any;
            char *layers;
            WA_TRY(list_layers(t, p, (order)which, &any, &layers, err));
            if (any)
                WA_TRY(wa_arena_print(
                    t->arena, &text, err, "%s%s%s%s: %s, %s", text, text[0] == '\0' ? "" : "\n",
                    t->subject != NULL ? t->subject : wa_projection_name((wa_projection)p), layers,
                    t->format, t->words[which]));
        }
    *out = text;
    return WA_OK;
}

/* Files of experts have one format, or the first one's name stands for all. */
static tale tale_of(const wa_vindex *vindex, wa_payload payload, const uint8_t *orders,
                    const char *const *words, wa_arena *arena)
{
    tale t = {.vindex = vindex, .orders = orders, .words = words, .arena = arena};
    t.format = payload == WA_PAYLOAD_INTERLEAVED_Q4 ? "Q4_0" : "Q6_K";
    if (payload == WA_PAYLOAD_EXPERTS) {
        t.format =
            wa_format_get(wa_vindex_layer_store(vindex, wa_vindex_expert_layer(vindex)).format)
                ->name;
        t.subject = "experts";
    }
    return t;
}

wa_status wa_vindex_tell_orders(const wa_vindex *vindex, wa_payload payload, wa_arena *arena,
                                const char **out, wa_error *err)
{
    const uint8_t *orders = vindex->maps->orders[payload];
    *out = "";
    if (orders == NULL)
        return WA_OK;
    const tale t = tale_of(vindex, payload, orders, BY_MODEL, arena);
    return tell(&t, out, err);
}

static wa_status guess_payload(const wa_vindex *vindex, wa_payload payload, uint8_t *orders,
                               wa_error *err)
{
    for (size_t i = 0; i < WA_PROJECTION_COUNT * vindex->layer_count; i++) {
        wa_projection projection = (wa_projection)(i % WA_PROJECTION_COUNT);
        wa_matrix matrix;
        if (!wa_payload_holds(payload, projection))
            continue;
        WA_TRY(
            wa_vindex_matrix(vindex, payload, projection, i / WA_PROJECTION_COUNT, &matrix, err));
        orders[i] = (uint8_t)guess_matrix(&matrix);
    }
    return WA_OK;
}

/* As many experts as it takes: small ones have few blocks that are more than padding. */
static wa_status guess_layer(const wa_vindex *vindex, size_t layer, order *out, wa_error *err)
{
    wa_layer_store store = wa_vindex_layer_store(vindex, layer);
    census sum = {0};
    *out = NONE;
    if (store.entries == 0 || !has_orders(store.format))
        return WA_OK;
    for (size_t e = 0;
         e < store.entries && sum.counted < (size_t)MOST_BLOCKS * GROUPS && is_q6_k(store.format);
         e++) {
        wa_expert expert;
        WA_TRY(wa_vindex_expert(vindex, layer, e, &expert, err));
        for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
            const wa_matrix *matrix = wa_expert_matrix(&expert, (wa_projection)p);
            if (matrix->order == WA_ROWS_PLAIN)
                count_groups(matrix, &sum);
        }
    }
    *out = conclude(&sum);
    return WA_OK;
}

static wa_status guess_experts(const wa_vindex *vindex, uint8_t *orders, wa_error *err)
{
    for (size_t l = 0; l < vindex->layer_count; l++) {
        order found;
        WA_TRY(guess_layer(vindex, l, &found, err));
        orders[WA_PROJECTION_COUNT * l] = (uint8_t)found;
    }
    return WA_OK;
}

wa_status wa_vindex_guess_orders(const wa_vindex *vindex, wa_payload payload, wa_arena *arena,
                                 const char **out, wa_error *err)
{
    uint8_t *orders;
    bool experts = payload == WA_PAYLOAD_EXPERTS && vindex->maps->layer_files != NULL;
    *out = "";
    if (!experts && !can_have_orders(vindex, payload))
        return WA_OK;
    WA_TRY(wa_arena_take(arena, WA_PROJECTION_COUNT * vindex->layer_count, sizeof *orders, &orders,
                         err));
    WA_TRY(experts ? guess_experts(vindex, orders, err)
                   : guess_payload(vindex, payload, orders, err));
    const tale t = tale_of(vindex, payload, orders, BY_BYTES, arena);
    return tell(&t, out, err);
}
