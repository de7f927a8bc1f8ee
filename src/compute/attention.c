/* Attention between the projections: QK-norm, rotation, scores, softmax, weighted sum. */
#include "base/bytes.h"
#include "base/elementary.h"
#include "compute/dense.h"

static wa_status open_rotation(wa_arena *arena, size_t positions, size_t half, wa_rotation *out,
                               wa_error *err)
{
    wa_rotation rotation = {.positions = positions, .half = half};
    for (int i = 0; i < 2; i++) {
        WA_TRY(wa_arena_take(arena, positions * half, sizeof(float), &rotation.cosine[i], err));
        WA_TRY(wa_arena_take(arena, positions * half, sizeof(float), &rotation.sine[i], err));
    }
    *out = rotation;
    return WA_OK;
}

/* Angles in f64, values in f32, multiplied by the factor there (forward-pass.md 3.4). */
static void fill_table(wa_rotation *rotation, unsigned at)
{
    float factor = (float)rotation->factor[at];
    for (size_t position = 0; position < rotation->positions; position++)
        for (size_t i = 0; i < rotation->half; i++) {
            double sine, cosine;
            wa_sin_cos((double)position * rotation->frequencies[at][i], &sine, &cosine);
            rotation->cosine[at][position * rotation->half + i] = (float)cosine * factor;
            rotation->sine[at][position * rotation->half + i] = (float)sine * factor;
        }
}

/* The table of these frequencies; made when neither of the two is theirs. */
static unsigned rotation_table(wa_rotation *rotation, const double *frequencies, double factor)
{
    size_t bytes = rotation->half * sizeof *frequencies;
    for (unsigned i = 0; i < 2; i++)
        if (rotation->frequencies[i] != NULL && rotation->factor[i] == factor &&
            memcmp(rotation->frequencies[i], frequencies, bytes) == 0)
            return i;

    unsigned at = rotation->next;
    rotation->next = 1 - at;
    rotation->frequencies[at] = frequencies;
    rotation->factor[at] = factor;
    fill_table(rotation, at);
    return at;
}

wa_status wa_attention_open(wa_arena *arena, const wa_model *model, size_t longest_prompt,
                            wa_scratch *scratch, wa_attention *out, wa_error *err)
{
    wa_attention attention = {.scratch = scratch};
    size_t share = model->q_heads / model->kv_heads;
    attention.query_rows = share < WA_QUERY_ROWS ? WA_QUERY_ROWS / share : 1;
    WA_TRY(wa_arena_take(arena, share * attention.query_rows * longest_prompt, sizeof(float),
                         &attention.scores, err));
    WA_TRY(wa_arena_take(arena, share, sizeof *attention.pairs, &attention.pairs, err));
    WA_TRY(open_rotation(arena, longest_prompt, model->rotary_dim / 2, &attention.rotation, err));
    *out = attention;
    return WA_OK;
}

/* Half-split pairs (i, i + half) of one head. */
static void rotate_head(float *x, const float *cosine, const float *sine, size_t half)
{
    for (size_t i = 0; i < half; i++) {
        float u = x[i];
        float w = x[i + half];
        x[i] = u * cosine[i] - w * sine[i];
        x[i + half] = u * sine[i] + w * cosine[i];
    }
}

/* QK-norm of every head of rows of q or k, or of the rows as wholes. */
static void norm_heads(const wa_model *model, const float *weight, size_t rows, size_t heads,
                       float *x)
{
    wa_norm norm = {.weight = weight, .bias = NULL};
    if (weight == NULL)
        return;
    if (model->wide_qk_norm)
        wa_norm_rows(model, &norm, x, rows, heads * model->head_dim, x);
    else
        wa_norm_rows(model, &norm, x, rows * heads, model->head_dim, x);
}

/* Rotation of the first dimensions of every head of one prompt's rows of q or k. */
static void rotate_heads(const wa_model *model, const wa_rotation *rotation, unsigned table,
                         size_t rows, size_t heads, float *x)
{
    size_t dim = model->head_dim, half = rotation->half;
    for (size_t row = 0; row < rows; row++)
        for (size_t head = 0; head < heads; head++)
            rotate_head(x + (row * heads + head) * dim, rotation->cosine[table] + row * half,
                        rotation->sine[table] + row * half, half);
}

/* QK-norm, then rotation, of q and k. */
static void prepare(const wa_model *model, const wa_layer *weights, const wa_packing *packing,
                    wa_rotation *rotation, float *q, float *k)
{
    size_t all = packing->start[packing->prompts];
    norm_heads(model, weights->q_norm, all, model->q_heads, q);
    norm_heads(model, weights->k_norm, all, model->kv_heads, k);
    for (size_t prompt = 0; weights->rope_freq != NULL && prompt < packing->prompts; prompt++) {
        size_t start = packing->start[prompt];
        size_t rows = packing->start[prompt + 1] - start;
        bool is_long = weights->rope_long_freq != NULL && rows > weights->rope_long_from;
        unsigned table = rotation_table(
            rotation, is_long ? weights->rope_long_freq : weights->rope_freq, weights->rope_factor);
        rotate_heads(model, rotation, table, rows, model->q_heads,
                     q + start * model->q_heads * model->head_dim);
        rotate_heads(model, rotation, table, rows, model->kv_heads,
                     k + start * model->kv_heads * model->head_dim);
    }
}

/* Keys or values of one head of a prompt: rows of a wider matrix. */
static wa_matrix head_of(const wa_model *model, const float *first, size_t rows)
{
    return (wa_matrix){.data = (const uint8_t *)first,
                       .format = WA_FORMAT_F32,
                       .order = WA_ROWS_PLAIN,
                       .rows = rows,
                       .cols = model->head_dim,
                       .row_bytes = model->kv_heads * model->head_dim * sizeof *first};
}

/* The heads that share one head of keys and values, for queries [from, to) of one prompt: scores,
 * softmax, and the output over the queries' own place. q, k, v: their first row of the prompt;
 * sinks: of these heads, NULL = none. */
static void attend_tile(const wa_model *model, size_t window, const float *sinks, size_t from,
                        size_t to, float *q, const float *k, const float *v,
                        const wa_attention *attention)
{
    size_t dim = model->head_dim, share = model->q_heads / model->kv_heads;
    size_t ldq = model->q_heads * dim, rows = to - from;
    size_t keys = to; /* causal: nothing after the tile's last row */
    wa_matrix key_rows = head_of(model, k, keys), value_rows = head_of(model, v, keys);
    wa_operand *pairs = attention->pairs;
    for (size_t head = 0; head < share; head++)
        pairs[head] = (wa_operand){.x = q + from * ldq + head * dim,
                                   .y = attention->scores + head * rows * keys};
    wa_product scores = {
        .w = &key_rows, .rows = rows, .ldx = ldq, .ldy = keys, .pairs = pairs, .count = share};
    wa_multiply(&scores, attention->scratch);
    for (size_t i = 0; i < share * rows; i++) {
        size_t query = from + i % rows;
        size_t first = window != 0 && query + 1 > window ? query + 1 - window : 0;
        float sink = sinks == NULL ? -INFINITY : sinks[i / rows];
        wa_softmax_row(model, attention->scores + i * keys, first, query, keys, sink);
    }
    for (size_t head = 0; head < share; head++)
        pairs[head] = (wa_operand){.x = attention->scores + head * rows * keys,
                                   .y = q + from * ldq + head * dim};
    wa_product sums = {.w = &value_rows,
                       .by_features = true,
                       .rows = rows,
                       .ldx = keys,
                       .ldy = ldq,
                       .pairs = pairs,
                       .count = share};
    wa_multiply(&sums, attention->scratch);
}

void wa_attention_run(const wa_model *model, size_t layer, const wa_packing *packing, float *q,
                      float *k, const float *v, wa_attention *attention)
{
    const wa_layer *weights = &model->layers[layer];
    prepare(model, weights, packing, &attention->rotation, q, k);

    size_t dim = model->head_dim;
    size_t share = model->q_heads / model->kv_heads;
    for (size_t prompt = 0; prompt < packing->prompts; prompt++) {
        size_t start = packing->start[prompt];
        size_t rows = packing->start[prompt + 1] - start;
        for (size_t head = 0; head < model->kv_heads; head++) {
            float *q_head = q + start * model->q_heads * dim + head * share * dim;
            size_t kv_at = start * model->kv_heads * dim + head * dim;
            const float *sinks = weights->sinks == NULL ? NULL : weights->sinks + head * share;
            for (size_t from = 0; from < rows; from += attention->query_rows) {
                size_t to = wa_size_min(rows, from + attention->query_rows);
                attend_tile(model, weights->window, sinks, from, to, q_head, k + kv_at, v + kv_at,
                            attention);
            }
        }
    }
}
