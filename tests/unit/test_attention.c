/* Attention of prompts longer than a tile of queries, against an oracle that knows no tiles; and
 * what it takes of memory. */
#include "compute/dense.h"
#include "suite.h"

#include <math.h>

enum {
    HEADS = 4,
    KV_HEADS = 2,
    DIM = 8,
    LONG = 2 * WA_QUERY_ROWS + 45,
    SHORT = WA_QUERY_ROWS,
    PROMPTS = 2,
    ROWS = LONG + SHORT
};
enum { Q_WIDTH = HEADS * DIM, KV_WIDTH = KV_HEADS * DIM };

static const size_t START[PROMPTS + 1] = {0, LONG, ROWS};

typedef struct inputs {
    float q[ROWS][Q_WIDTH], k[ROWS][KV_WIDTH], v[ROWS][KV_WIDTH];
} inputs;

static void fill(float *x, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / (float)(1 << 23) - 1.0F; /* -1 to 1 */
    }
}

static double score(const wa_model *model, const inputs *in, size_t query, size_t key, size_t head)
{
    size_t shared = head / (HEADS / KV_HEADS);
    double sum = 0.0;
    for (size_t d = 0; d < DIM; d++)
        sum += (double)in->q[query][head * DIM + d] * (double)in->k[key][shared * DIM + d];
    sum *= (double)model->attn_scale;
    return model->attn_cap == 0.0F ? sum
                                   : tanh(sum / (double)model->attn_cap) * (double)model->attn_cap;
}

/* Oracle: forward-pass.md 3.5 for one query and head, all in f64. */
static void attend(const wa_model *model, const inputs *in, size_t start, size_t query, size_t head,
                   double *out)
{
    size_t window = model->layers[0].window, position = query - start,
           shared = head / (HEADS / KV_HEADS);
    size_t first = start + (window != 0 && position + 1 > window ? position + 1 - window : 0);
    double total = model->layers[0].sinks == NULL ? 0.0 : exp((double)model->layers[0].sinks[head]);
    for (size_t d = 0; d < DIM; d++)
        out[d] = 0.0;
    /* scores are small: no highest one need be taken off */
    for (size_t key = first; key <= query; key++) {
        double weight = exp(score(model, in, query, key, head));
        total += weight;
        for (size_t d = 0; d < DIM; d++)
            out[d] += weight * (double)in->v[key][shared * DIM + d];
    }
    for (size_t d = 0; d < DIM; d++)
        out[d] /= total;
}

static double worst_difference(const wa_model *model, const inputs *in, float got[ROWS][Q_WIDTH])
{
    double worst = 0.0;
    for (size_t prompt = 0; prompt < PROMPTS; prompt++)
        for (size_t query = START[prompt]; query < START[prompt + 1]; query++)
            for (size_t head = 0; head < HEADS; head++) {
                double want[DIM];
                attend(model, in, START[prompt], query, head, want);
                for (size_t d = 0; d < DIM; d++)
                    worst = fmax(worst, fabs((double)got[query][head * DIM + d] - want[d]));
            }
    return worst;
}

static wa_arena *new_arena(void)
{
    wa_arena *arena;
    wa_error err;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    return arena;
}

/* Windows of none, less than a tile, a tile and more; capped scores; a score of no key in every
 * head. Values are below 1: f32 sums of so few stay within 1e-5. */
static void tiles_of_queries_change_nothing(void)
{
    static const size_t windows[] = {0, 5, WA_QUERY_ROWS, WA_QUERY_ROWS + 1, 200};
    static inputs in;
    static float q[ROWS][Q_WIDTH], k[ROWS][KV_WIDTH];
    const wa_packing packing = {.start = START, .prompts = PROMPTS};
    fill(in.q[0], sizeof in.q / sizeof(float), 1);
    fill(in.k[0], sizeof in.k / sizeof(float), 2);
    fill(in.v[0], sizeof in.v / sizeof(float), 3);
    for (size_t i = 0; i < 2 * sizeof windows / sizeof windows[0]; i++) {
        /* the last one takes most of what few keys have */
        static const float sinks[HEADS] = {-1.0F, 0.5F, 2.0F, 5.0F};
        wa_layer layer = {.window = windows[i / 2], .sinks = i % 4 < 2 ? NULL : sinks};
        wa_model model = {.q_heads = HEADS,
                          .kv_heads = KV_HEADS,
                          .head_dim = DIM,
                          .layer_count = 1,
                          .layers = &layer,
                          .attn_scale = 0.5F,
                          .attn_cap = i % 2 == 0 ? 0.0F : 2.0F};
        wa_arena *arena = new_arena();
        wa_scratch scratch;
        wa_attention attention;
        wa_error err;
        WA_MUST(wa_scratch_open(arena, LONG, DIM, DIM, &scratch, &err), &err);
        scratch.engine = i % 3 == 0 ? WA_ENGINE_BLAS : WA_ENGINE_WALKAUDIT;
        WA_MUST(wa_attention_open(arena, &model, LONG, &scratch, &attention, &err), &err);
        memcpy(q, in.q, sizeof q);
        memcpy(k, in.k, sizeof k);
        wa_attention_run(&model, 0, &packing, q[0], k[0], in.v[0], &attention);
        CU_ASSERT(worst_difference(&model, &in, q) < 1e-5);
        wa_arena_close(arena);
    }
}

/* Scores of all queries of 4096 positions at once would be 64 MiB a head. */
static void memory_grows_with_the_prompt_and_not_with_its_square(void)
{
    wa_model model = {.q_heads = HEADS, .kv_heads = KV_HEADS, .head_dim = 64};
    size_t taken[2];
    for (size_t i = 0; i < 2; i++) {
        wa_arena *arena = new_arena();
        wa_attention attention;
        wa_error err;
        WA_MUST(wa_attention_open(arena, &model, 4096 << i, NULL, &attention, &err), &err);
        taken[i] = wa_arena_used(arena);
        wa_arena_close(arena);
    }
    CU_ASSERT(taken[0] < 6 << 20); /* 2 MiB of scores, as much of rotations, the rest of a block */
    CU_ASSERT(taken[1] <= 2 * taken[0]);
}

WA_SUITE("attention", WA_CASE(tiles_of_queries_change_nothing),
         WA_CASE(memory_grows_with_the_prompt_and_not_with_its_square))
