/* Values of synthetic weights: a counter-based generator, and the list of tensors with their
 * spreads. */
#include "model/synth_parts.h"

#include <math.h>
#include <string.h>

/* SplitMix64: Steele, Lea, Flood, Fast splittable pseudorandom number generators (2014). */
static const uint64_t GOLDEN = 0x9e3779b97f4a7c15u;

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t wa_synth_word(uint64_t key, uint64_t i)
{
    return mix(key + (i + 1) * GOLDEN);
}

uint64_t wa_synth_key(uint64_t seed, const char *what, uint64_t index)
{
    uint64_t key = mix(seed + GOLDEN);
    for (; *what != '\0'; what++)
        key = mix(key ^ (uint64_t)(unsigned char)*what) + GOLDEN;
    return mix(key ^ index);
}

double wa_synth_uniform(uint64_t word)
{
    return (double)(word >> 11) * 0x1p-53;
}

/*
 * s = (sum of four uniforms - 2) * sqrt(3) has variance 1, fourth moment 3 - 6/20 = 2.7 and sixth
 * moment 10.9286 (cumulants of the uniform distribution over n = 4). So s + s^3/20 has variance 1 +
 * 2/20 * 2.7 + 10.9286/400 = 1.297321, and 1/sqrt(1.297321) = 0.877964.
 */
float wa_synth_normal(uint64_t word)
{
    uint32_t sum = (uint32_t)(word & 0xffff) + (uint32_t)(word >> 16 & 0xffff) +
                   (uint32_t)(word >> 32 & 0xffff) + (uint32_t)(word >> 48);
    /* each uniform is (k + 1/2) / 65536, so that the sum is symmetric about 2 */
    float s = ((float)sum + 2.0f - 131072.0f) * (1.7320508f / 65536.0f);
    return s * (1.0f + 0.05f * s * s) * 0.877964f;
}

/* --- Tensors ---------------------------------------------------------------------------------- */

/* Trained weights differ from row to row and from layer to layer; a few channels of the residual
 * stream carry far more than the others. */
static const double ROW_SPREAD = 0.5;
static const double LAYER_SPREAD = 0.4;
static const double OUTLIER_FACTOR = 4.0;
enum { CHANNELS_PER_OUTLIER = 256 };

typedef struct list {
    const wa_synth_shape *shape;
    wa_arena *arena;
    wa_synth_tensor *items;
    size_t count, capacity;
} list;

static wa_status push(list *l, size_t layer, const char *name, const char *suffix,
                      wa_synth_tensor tensor, wa_error *err)
{
    char *full;
    bool in_layer = layer != SIZE_MAX;
    if (l->count == l->capacity)
        return wa_fail(err, WA_E_INTERNAL, "more than %zu tensors", l->capacity);
    if (in_layer)
        WA_TRY(wa_arena_print(l->arena, &full, err, "model.layers.%zu.%s%s%s", layer, name,
                              suffix[0] == '\0' ? "" : ".", suffix));
    else
        WA_TRY(wa_arena_print(l->arena, &full, err, "%s.%s", name, suffix));
    tensor.name = full;
    tensor.key = wa_synth_key(l->shape->seed, full, 0);
    /* layers differ in size; the embedding, the head and vectors do not */
    if (tensor.rows > 0 && in_layer)
        tensor.sigma *= 1.0 + LAYER_SPREAD * (wa_synth_uniform(mix(tensor.key)) - 0.5);
    l->items[l->count++] = tensor;
    return WA_OK;
}

static wa_status push_matrix(list *l, size_t layer, const char *name, size_t rows, size_t cols,
                             double sigma, wa_error *err)
{
    return push(l, layer, name, "weight",
                (wa_synth_tensor){.rows = rows, .cols = cols, .sigma = sigma}, err);
}

static wa_status push_norm(list *l, size_t layer, const char *name, size_t n, double center,
                           wa_error *err)
{
    wa_synth_tensor tensor = {.cols = n,
                              .center = center,
                              .sigma = 0.1 * center,
                              .offset = l->shape->family->like == WA_SYNTH_GEMMA3 ? 1.0 : 0.0};
    return push(l, layer, name, "weight", tensor, err);
}

/* What each of the two blocks of a layer adds to the residual stream, root mean square. */
static double block_output(const wa_synth_shape *s)
{
    double blocks = 2.0 * (double)s->layers;
    /* Gemma's stream starts at 1. The head is the embedding, so a stream that still shows the last
     * token's row would make that very token certain; growing to sqrt(hidden) buries it, as
     * training does. */
    if (s->family->like == WA_SYNTH_GEMMA3)
        return sqrt(((double)s->hidden - 1.0) / blocks);
    return sqrt(1.0 / blocks); /* Llama's starts at 1 / (2 sqrt(hidden)) and ends near 1 */
}

/* gelu and silu of a standard normal times a standard normal: 0.6; an average of values: about as
 * much. */
static const double DAMPING = 0.6;

static size_t size_of(const wa_synth_shape *s, wa_synth_size size)
{
    size_t q = s->q_heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    switch (size) {
    case WA_SYNTH_H:
        return s->hidden;
    case WA_SYNTH_I:
        return s->intermediate;
    case WA_SYNTH_2I:
        return 2 * s->intermediate;
    case WA_SYNTH_Q:
        return q;
    case WA_SYNTH_KV:
        return kv;
    case WA_SYNTH_QKV:
        return q + 2 * kv;
    case WA_SYNTH_HEAD:
        return s->head_dim;
    case WA_SYNTH_HEADS:
        return s->q_heads;
    case WA_SYNTH_F:
        return s->features;
    case WA_SYNTH_2F:
        return 2 * s->features;
    case WA_SYNTH_S:
        return s->shared;
    case WA_SYNTH_E:
        return s->experts;
    case WA_SYNTH_ONE:
        return 1;
    }
    return 0;
}

/* The matrices of all experts in one tensor, [in, out], or their biases as rows of one. */
static wa_status push_stack(list *l, size_t layer, const wa_synth_part *part, double sigma,
                            wa_error *err)
{
    const wa_synth_shape *s = l->shape;
    bool biases = part->kind == WA_SYNTH_STACK_BIAS;
    return push(l, layer, part->name, "",
                (wa_synth_tensor){.rows = biases ? s->experts : s->experts * size_of(s, part->rows),
                                  .cols = size_of(s, part->cols),
                                  .stack = biases ? 0 : s->experts,
                                  .sigma = sigma},
                err);
}

/* One tensor of a layer, by a name without '#'. */
static wa_status push_part(list *l, size_t layer, const wa_synth_part *part, wa_error *err)
{
    const wa_synth_shape *s = l->shape;
    size_t rows = size_of(s, part->rows), cols = size_of(s, part->cols);
    bool stacked = part->kind == WA_SYNTH_STACK_OUT;
    double in = 1.0 / sqrt((double)s->hidden), block = block_output(s);
    /* behind a post norm the size of an output does not matter */
    double out =
        (s->family->post_norms ? 1.0 : block / DAMPING) / sqrt((double)(stacked ? rows : cols));
    switch (part->kind) {
    case WA_SYNTH_NORM:
        return push_norm(l, layer, part->name, rows, 1.0, err);
    case WA_SYNTH_QK_NORM: /* scores get their size from it */
        return push_norm(l, layer, part->name, rows, 1.2, err);
    case WA_SYNTH_POST_NORM:
        return push_norm(l, layer, part->name, rows, block, err);
    case WA_SYNTH_IN:
        return push_matrix(l, layer, part->name, rows, cols, in, err);
    case WA_SYNTH_SHARP:
        return push_matrix(l, layer, part->name, rows, cols, 1.2 * in, err);
    case WA_SYNTH_OUT: /* rows are channels of the residual stream */
        return push(
            l, layer, part->name, "weight",
            (wa_synth_tensor){.rows = rows, .cols = cols, .sigma = out, .feeds_residual = true},
            err);
    case WA_SYNTH_ROUTER:
        return push_matrix(l, layer, part->name, rows, cols, 2.0 * in, err);
    case WA_SYNTH_BIAS:
        return push(l, layer, part->name, "bias", (wa_synth_tensor){.cols = rows, .sigma = 0.1},
                    err);
    case WA_SYNTH_SINKS:
        return push(l, layer, part->name, "", (wa_synth_tensor){.cols = rows, .sigma = 1.0}, err);
    case WA_SYNTH_STACK_IN:
        return push_stack(l, layer, part, in, err);
    case WA_SYNTH_STACK_OUT:
        return push_stack(l, layer, part, out, err);
    case WA_SYNTH_STACK_BIAS:
        return push_stack(l, layer, part, 0.1, err);
    }
    return WA_OK;
}

/* A tensor, or as many as there are experts. */
static wa_status push_each(list *l, size_t layer, const wa_synth_part *part, size_t expert,
                           wa_error *err)
{
    const char *number = strchr(part->name, '#');
    wa_synth_part named = *part;
    char *name;
    if (number == NULL)
        return push_part(l, layer, part, err);
    WA_TRY(wa_arena_print(l->arena, &name, err, "%.*s%zu%s", (int)(number - part->name), part->name,
                          expert, number + 1));
    named.name = name;
    return push_part(l, layer, &named, err);
}

static wa_status push_layer(list *l, size_t layer, wa_error *err)
{
    const wa_synth_family *family = l->shape->family;
    for (size_t i = 0; i < WA_SYNTH_PARTS && family->parts[i].name != NULL; i++) {
        size_t count = strchr(family->parts[i].name, '#') == NULL ? 1 : l->shape->experts;
        for (size_t e = 0; e < count; e++)
            WA_TRY(push_each(l, layer, &family->parts[i], e, err));
    }
    return WA_OK;
}

/* ln n to the precision that a spread needs: the bits of n times ln 2. */
static double rough_log(size_t n)
{
    double bits = 0.0;
    for (; n > 1; n /= 2)
        bits += 1.0;
    return 0.6931471805599453 * bits;
}

wa_status wa_synth_list(const wa_synth_shape *shape, wa_arena *arena, wa_synth_tensor **out,
                        size_t *count, wa_error *err)
{
    enum { PER_EXPERT = 3, OUTSIDE = 3 };
    list l = {.shape = shape, .arena = arena};
    if (!wa_size_mul(shape->experts, PER_EXPERT, &l.capacity) ||
        !wa_size_add(l.capacity, WA_SYNTH_PARTS, &l.capacity) ||
        !wa_size_mul(shape->layers, l.capacity, &l.capacity) ||
        !wa_size_add(l.capacity, OUTSIDE, &l.capacity))
        return wa_fail(err, WA_E_USAGE, "%zu layers", shape->layers);
    WA_TRY(wa_arena_take(arena, l.capacity, sizeof *l.items, &l.items, err));

    double root = sqrt((double)shape->hidden);
    double embed = (shape->family->like == WA_SYNTH_GEMMA3 ? 1.0 : 0.5) / root;
    double head = shape->tied ? embed : 1.0 / root;
    /* The largest of V normal logits lies at sqrt(2 ln V) spreads. At 0.8 of that spread the first
     * token gets a fair share of the probability, and the second some. */
    double spread = 0.8 * sqrt(2.0 * rough_log(shape->vocab));

    WA_TRY(
        push_matrix(&l, SIZE_MAX, "model.embed_tokens", shape->vocab, shape->hidden, embed, err));
    for (size_t layer = 0; layer < shape->layers; layer++)
        WA_TRY(push_layer(&l, layer, err));
    WA_TRY(push_norm(&l, SIZE_MAX, "model.norm", shape->hidden, spread / (root * head), err));
    if (!shape->tied)
        WA_TRY(push_matrix(&l, SIZE_MAX, "lm_head", shape->vocab, shape->hidden, head, err));
    *out = l.items;
    *count = l.count;
    return WA_OK;
}

static bool is_outlier(const wa_synth_shape *shape, size_t channel)
{
    uint64_t key = wa_synth_key(shape->seed, "outlier", 0);
    for (size_t i = 0; i <= shape->hidden / CHANNELS_PER_OUTLIER; i++)
        if (wa_synth_word(key, i) % shape->hidden == channel)
            return true;
    return false;
}

static void fill_vector(const wa_synth_tensor *tensor, float *out)
{
    for (size_t i = 0; i < tensor->cols; i++) {
        double value =
            tensor->center + tensor->sigma * (double)wa_synth_normal(wa_synth_word(tensor->key, i));
        out[i] = (float)(value - tensor->offset);
    }
}

void wa_synth_fill(const wa_synth_shape *shape, const wa_synth_tensor *tensor, size_t row,
                   float *out)
{
    if (tensor->rows == 0) {
        fill_vector(tensor, out);
        return;
    }
    uint64_t key = wa_synth_word(tensor->key, row);
    double scale = 1.0 + ROW_SPREAD * (wa_synth_uniform(mix(key)) - 0.5);
    if (tensor->feeds_residual && is_outlier(shape, row))
        scale *= OUTLIER_FACTOR;
    float sigma = (float)(tensor->sigma * scale);
    for (size_t i = 0; i < tensor->cols; i++)
        out[i] = sigma * wa_synth_normal(wa_synth_word(key, i));
}
