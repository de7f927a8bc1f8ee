/* wa_case_run: checks, buffers and row tiles; the kernels are one file each. */
#include "path/fault.h"
#include "path/walk.h"

#include <math.h>

/* The kernels of each label: of layers without experts, and of those with experts. NONE is the
 * reference's. A case never runs another than the one it names. */
static const struct {
    wa_walk_tile *plain, *experts;
} KERNELS[WA_LABEL_COUNT] = {
    [WA_LABEL_NONE] = {wa_products_tile, wa_experts_tile},
    [WA_LABEL_SPARSE_GEMV_FULL_K] = {wa_products_tile, NULL},
    [WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN] = {wa_loop_tile, NULL},
    [WA_LABEL_SPARSE_SERIAL] = {wa_loop_tile, NULL},
    [WA_LABEL_INTERLEAVED_Q4_CPU] = {wa_q4_tile, NULL},
    [WA_LABEL_INTERLEAVED] = {wa_products_tile, NULL},
    [WA_LABEL_FULL_MMAP] = {wa_products_tile, NULL},
    [WA_LABEL_INTERLEAVED_Q4K_DEQUANT] = {wa_products_tile, NULL},
    [WA_LABEL_EXACT] = {wa_products_tile, NULL},
    [WA_LABEL_WEIGHTS_FALLBACK_SPARSE] = {wa_fallback_tile, NULL},
    [WA_LABEL_EXTERNAL] = {wa_external_tile, wa_external_tile},
    [WA_LABEL_INTERLEAVED_KQUANT_NATIVE] = {wa_native_tile, NULL},
    [WA_LABEL_INTERLEAVED_KQUANT_DEQUANT] = {wa_products_tile, NULL},
    [WA_LABEL_CHECKPOINT] = {wa_products_tile, wa_experts_tile},
    [WA_LABEL_INTERLEAVED_KQUANT_Q8K] = {wa_q8k_tile, NULL},
    [WA_LABEL_EXPERTS] = {wa_products_tile, wa_experts_tile},
    [WA_LABEL_EXPERTS_Q8K] = {wa_q8k_tile, wa_experts_tile},
    [WA_LABEL_NOT_SERVED] = {wa_products_tile, wa_experts_tile},
};

static wa_label label_of(const wa_case *which, const wa_walk_layer *layer)
{
    return wa_case_serves(which, layer->layer) ? which->kernel : WA_LABEL_NOT_SERVED;
}

static wa_walk_tile *kernel_of(const wa_case *which, const wa_walk_layer *layer)
{
    wa_label label = label_of(which, layer);
    bool nobody = label == WA_LABEL_NONE && which->path != WA_PATH_DENSE;
    bool closed = label == WA_LABEL_EXTERNAL && which->external == NULL;
    if (nobody || closed)
        return NULL;
    return layer->experts != NULL ? KERNELS[label].experts : KERNELS[label].plain;
}

bool wa_case_is_same(const wa_case *a, const wa_walk_layer *of_a, const wa_case *b,
                     const wa_walk_layer *of_b)
{
    const wa_case *const which[] = {a, b};
    for (size_t i = 0; i < 2; i++)
        if (kernel_of(which[i], i == 0 ? of_a : of_b) != wa_products_tile ||
            wa_path_is_foreign(which[i]->path) || which[i]->k != WA_K_ALL)
            return false;
    return wa_matrix_is_same(&of_a->gate, &of_b->gate) && wa_matrix_is_same(&of_a->up, &of_b->up) &&
           wa_matrix_is_same(&of_a->down, &of_b->down) &&
           of_a->down_is_feature_major == of_b->down_is_feature_major &&
           of_a->gate_bias == of_b->gate_bias && of_a->up_bias == of_b->up_bias &&
           of_a->down_bias == of_b->down_bias && of_a->activation == of_b->activation &&
           of_a->gated == of_b->gated && !wa_fault_tells_cases_apart();
}

/* Input 0 works in the scratch; further inputs get buffers of the same shape from its arena. */
static wa_status take_buffers(wa_walk *walk, size_t height)
{
    wa_arena *arena = walk->scratch->arena;
    size_t floats;
    if (!wa_size_mul(height, walk->layer->features, &floats))
        return wa_fail(walk->err, WA_E_MEMORY, "%zu rows of %zu features overflow", height,
                       walk->layer->features);
    WA_TRY(wa_arena_take(arena, walk->io_count, sizeof *walk->act, &walk->act, walk->err));
    WA_TRY(wa_arena_take(arena, walk->io_count, sizeof *walk->up, &walk->up, walk->err));
    WA_TRY(wa_arena_take(arena, walk->io_count, sizeof *walk->pairs, &walk->pairs, walk->err));
    for (size_t i = 0; i < walk->io_count; i++) {
        if (i == 0) {
            walk->act[i] = walk->scratch->act;
            walk->up[i] = walk->scratch->up;
            continue;
        }
        WA_TRY(wa_arena_take_raw(arena, floats, sizeof(float), &walk->act[i], walk->err));
        WA_TRY(wa_arena_take_raw(arena, floats, sizeof(float), &walk->up[i], walk->err));
    }
    return WA_OK;
}

static wa_status check_call(const wa_walk *walk)
{
    const wa_scratch *scratch = walk->scratch;
    if (walk->which->not_run != NULL || kernel_of(walk->which, walk->layer) == NULL)
        return wa_fail(walk->err, WA_E_UNSUPPORTED, "case '%s' cannot run kernel '%s'%s%s",
                       walk->which->name, wa_label_text(walk->which->kernel),
                       walk->which->not_run != NULL ? ": " : "",
                       walk->which->not_run != NULL ? walk->which->not_run : "");
    /* Tiles are as high as the job says, whatever the rows: the height decides the bits of engine
     * blas. */
    bool low =
        walk->rows > scratch->tile_rows && scratch->tile_rows < wa_tile_rows(scratch->features);
    if (low || walk->layer->features > scratch->features)
        return wa_fail(walk->err, WA_E_INTERNAL,
                       "scratch for %zu rows of %zu features, needs %zu of %zu", scratch->tile_rows,
                       scratch->features, walk->rows, walk->layer->features);
    return WA_OK;
}

static wa_status run_tiles(wa_walk *walk)
{
    size_t height = walk->rows < walk->scratch->tile_rows ? walk->rows : walk->scratch->tile_rows;
    wa_walk_tile *run = kernel_of(walk->which, walk->layer);
    if (walk->rows == 0)
        return WA_OK;
    /* it needs no buffers of ours, and is asked by prompts, whatever a tile holds */
    if (run == wa_external_tile)
        return run(walk, (wa_tile){.rows = walk->rows});
    WA_TRY(take_buffers(walk, height));
    for (size_t first = 0; first < walk->rows; first += height) {
        size_t left = walk->rows - first;
        WA_TRY(run(walk, (wa_tile){.first = first, .rows = left < height ? left : height}));
    }
    return WA_OK;
}

/* Would evaluating input i say what was said of the one before it? Nobody knows of foreign
 * kernels. */
static bool is_repeated(const wa_walk_layer *layer, const wa_case *which, size_t rows,
                        const wa_walk_io *io, size_t i)
{
    if (i == 0 || wa_path_is_foreign(which->path))
        return false;
    const wa_walk_io *now = &io[i], *before = &io[i - 1];
    bool is_told = (now->hits == NULL || before->hits != NULL) &&
                   (now->routing == NULL || before->routing != NULL);
    return is_told && now->through == before->through &&
           memcmp(now->x, before->x, rows * layer->hidden * sizeof *now->x) == 0;
}

size_t wa_case_evaluated(const wa_walk_layer *layer, const wa_case *which, size_t rows,
                         const wa_walk_io *io, size_t io_count)
{
    size_t count = 0;
    for (size_t i = 0; i < io_count; i++)
        count += is_repeated(layer, which, rows, io, i) ? 0 : 1;
    return count;
}

static void repeat_routing(const wa_experts *experts, size_t rows, const wa_routing *from,
                           const wa_routing *to)
{
    size_t places = rows * experts->chosen;
    memcpy(to->expert, from->expert, places * sizeof *to->expert);
    memcpy(to->weight, from->weight, places * sizeof *to->weight);
    memcpy(to->margin, from->margin, places * sizeof *to->margin);
    if (to->logits != NULL && from->logits != NULL)
        memcpy(to->logits, from->logits, rows * experts->count * sizeof *to->logits);
}

static void repeat_answers(const wa_walk *walk, const wa_walk_io *from, const wa_walk_io *to)
{
    const wa_walk_layer *l = walk->layer;
    memcpy(to->y, from->y, walk->rows * l->hidden * sizeof *to->y);
    if (to->hits != NULL && walk->which->k != WA_K_ALL)
        memcpy(to->hits, from->hits,
               walk->rows * wa_case_hit_count(walk->which, l->features) * sizeof *to->hits);
    if (to->routing != NULL && l->experts != NULL)
        repeat_routing(l->experts, walk->rows, from->routing, to->routing);
}

/* Inputs that say anything new. */
static wa_status run_distinct(wa_walk *walk)
{
    const wa_walk_io *all = walk->io;
    size_t count = walk->io_count;
    wa_walk_io *distinct;
    WA_TRY(wa_arena_take(walk->scratch->arena, count, sizeof *distinct, &distinct, walk->err));
    walk->io = distinct;
    walk->io_count = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_repeated(walk->layer, walk->which, walk->rows, all, i))
            distinct[walk->io_count++] = all[i];
    WA_TRY(run_tiles(walk));
    for (size_t i = 1; i < count; i++)
        if (is_repeated(walk->layer, walk->which, walk->rows, all, i))
            repeat_answers(walk, &all[i - 1], &all[i]);
    return WA_OK;
}

wa_status wa_case_run(const wa_case *which, const wa_walk_layer *layer, size_t rows,
                      const wa_walk_io *io, size_t io_count, wa_scratch *scratch, wa_label *label,
                      wa_error *err)
{
    wa_walk walk = {.which = which,
                    .layer = layer,
                    .rows = rows,
                    .io = io,
                    .io_count = io_count,
                    .scratch = scratch,
                    .err = err};
    WA_TRY(check_call(&walk));
    wa_mark mark = wa_arena_mark(scratch->arena);
    wa_status status = io_count > 0 ? run_distinct(&walk) : WA_OK;
    wa_arena_release(scratch->arena, mark);
    for (size_t i = 0; i < io_count && status == WA_OK; i++)
        wa_fault_output(which, layer, &io[i], i, rows);
    if (status == WA_OK)
        *label = label_of(which, layer);
    return status;
}

void wa_walk_tell_hits(const wa_walk *walk, const wa_walk_io *io, size_t row, const int32_t *hits)
{
    if (io->hits == NULL || walk->which->k == WA_K_ALL)
        return;
    size_t count = wa_case_hit_count(walk->which, walk->layer->features);
    int32_t *to = io->hits + row * count;
    for (size_t i = 0; i < count; i++)
        to[i] = hits == NULL ? -1 : hits[i];
}

void wa_walk_poison(const wa_walk *walk, const wa_walk_io *io, size_t row)
{
    float *y = io->y + row * walk->layer->hidden;
    for (size_t h = 0; h < walk->layer->hidden; h++)
        y[h] = NAN;
    wa_walk_tell_hits(walk, io, row, NULL);
}
