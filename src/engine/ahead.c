/* What a rank reads next is asked for while it computes: a cold run then takes the longer of
 * computing and reading, not both. */
#include "engine/stage_private.h"

#include <sys/resource.h>

/* So much is asked for before it is needed, and the next layer at least: the page cache holds it
 * until then. A head is larger than a layer, and its reading needs the time of several. */
enum { AHEAD_BYTES = 256 << 20 };
/* Matrices of a layer: of attention, of the FFN, and three of each payload that is read; a few more
 * than these are asked for twice. */
enum { MOST_SPANS = 128 };

typedef struct wishes {
    wa_bytes span[MOST_SPANS];
    size_t count, bytes;
    wa_witness *witness; /* it takes them; NULL: they are asked for */
    wa_status status;
    wa_error *err;
} wishes;

static wa_status take(wishes *w, const wa_matrix *matrix, wa_bytes span)
{
    WA_TRY(wa_witness_take(w->witness, span, w->err));
    return wa_witness_take(w->witness, wa_matrix_scale_span(matrix), w->err);
}

/* Cases of one vindex read the same bytes, which are asked for once. */
static void wish(wishes *w, const wa_matrix *matrix)
{
    wa_bytes span = wa_matrix_span(matrix);
    for (size_t i = 0; i < w->count; i++)
        if (w->span[i].data == span.data && w->span[i].size >= span.size)
            return;
    if (w->count < MOST_SPANS)
        w->span[w->count++] = span;
    w->bytes += span.size;
    if (w->witness == NULL)
        wa_bytes_expect(span);
    else if (w->status == WA_OK)
        w->status = take(w, matrix, span);
}

static void wish_attention(const wa_layer *of, wishes *w)
{
    const wa_matrix *const attention[] = {&of->q, &of->k, &of->v, &of->o};
    for (size_t i = 0; i < sizeof attention / sizeof attention[0]; i++)
        wish(w, attention[i]);
}

/* What takes every row of a layer with experts. */
static void wish_shared(const wa_experts *of, wishes *w)
{
    const wa_matrix *const used[] = {&of->router, &of->shared_gate, &of->shared.gate,
                                     &of->shared.up, &of->shared.down};
    for (size_t i = 0; i < sizeof used / sizeof used[0]; i++)
        wish(w, used[i]);
}

/*
 * Attention of every model that a lane has, the FFN of the reference. Experts are not asked for:
 * which ones rows go through is known when the layer's router has answered, and then they are read
 * at once, and witnessed (see_expert). An expert's rows lie end to end, so that the kernel reads
 * ahead of them by itself: a cold run of two layers of 64 experts (1.6 GB) had 70 major faults, on
 * a disk that is read 8 MiB at a time.
 */
static void wish_layer_of_model(const wa_stage *stage, size_t layer, wishes *w)
{
    const wa_layer *of = &stage->audit->model->layers[layer];
    const wa_matrix *const ffn[] = {&of->gate, &of->up, &of->down};
    for (size_t lane = 0; lane < stage->lanes; lane += wa_stage_lanes_alike(stage, lane))
        wish_attention(&stage->lane_model[lane]->layers[layer], w);
    for (size_t i = 0; stage->share.is_lead && i < sizeof ffn / sizeof ffn[0]; i++)
        wish(w, ffn[i]);
    if (stage->share.is_lead && of->experts != NULL)
        wish_shared(of->experts, w);
}

/* A layer that cannot be opened says so when it is its turn. */
static void wish_layer_of_case(const wa_stage *stage, const wa_case *which, size_t layer, wishes *w)
{
    const wa_vindex *vindex = stage->audit->vindexes[which->vindex];
    wa_walk_layer open;
    wa_error ignored;
    if (wa_case_open_layer(which, stage->audit->model, vindex, layer, &open, &ignored) == WA_OK) {
        const wa_matrix *const used[] = {&open.select, &open.gate, &open.up, &open.down};
        for (size_t i = 0; i < sizeof used / sizeof used[0]; i++)
            wish(w, used[i]);
        if (open.experts != NULL)
            wish_shared(open.experts, w);
    }
}

/* What the encoding check of a vindex compares, beside what is computed with: of another checkpoint
 * every matrix. Experts, which lie end to end, are left to the kernel here too, but witnessed; and
 * vectors are no longer where they were stored. */
static void wish_checked(const wa_stage *stage, size_t vindex, size_t layer, wishes *w)
{
    const wa_checked of = wa_stage_checked(stage);
    wa_stored_place place;
    wa_encoding_pair pair;
    wa_error ignored;
    for (size_t number = 0; number < WA_CHECKED_PLACES; number++) {
        if (!wa_checked_place(&of, vindex, number, layer, &place))
            continue;
        size_t count = wa_checked_stack(&place);
        for (size_t i = 0; i < count && (count == 1 || w->witness != NULL); i++) {
            if (wa_checked_pair(&of, &place, i, &pair, &ignored) != WA_OK || pair.stored.cols == 1)
                continue;
            wish(w, &pair.model);
            wish(w, &pair.stored);
        }
    }
}

/* Everything of a layer, or after the last layer of the model the head. */
static void wish_item(const wa_stage *stage, const wa_stage_batch *batch, size_t layer, wishes *w)
{
    const wa_stage_audit *audit = stage->audit;
    if (layer == audit->model->layer_count) {
        wish(w, &audit->model->output);
        for (size_t lane = 0; lane < stage->lanes; lane += wa_stage_lanes_alike(stage, lane))
            wish(w, &stage->lane_model[lane]->output);
        return;
    }
    wish_layer_of_model(stage, layer, w);
    for (size_t c = 0; c < audit->case_count; c++) {
        const wa_case *which = &audit->cases[c];
        if (which->not_run != NULL)
            continue;
        if (stage->share.owns_case[c])
            wish_layer_of_case(stage, which, layer, w);
    }
    for (size_t v = 0; v < audit->vindex_count; v++)
        if (audit->encoding_check && batch->has_encoding && stage->share.owns_vindex[v])
            wish_checked(stage, v, layer, w);
}

wa_status wa_stage_witness(wa_stage *stage, const wa_stage_batch *batch, size_t layer,
                           wa_error *err)
{
    wishes w = {.witness = stage->audit->witness, .err = err};
    uint8_t *seen = &stage->ahead.witnessed[layer - stage->share.first_layer];
    if (w.witness == NULL || (*seen != 0 && !batch->has_encoding))
        return WA_OK;
    *seen = 1;
    wish_item(stage, batch, layer, &w);
    return w.status;
}

static wa_status see_expert(void *context, const wa_expert *expert, wa_error *err)
{
    wishes w = {.witness = context, .err = err};
    wish(&w, &expert->gate);
    wish(&w, &expert->up);
    wish(&w, &expert->down);
    return w.status;
}

const wa_expert_watch *wa_stage_watch(wa_stage *stage)
{
    wa_witness *witness = stage->audit->witness;
    stage->ahead.watch = (wa_expert_watch){.context = witness, .see = see_expert};
    return witness == NULL ? NULL : &stage->ahead.watch;
}

static long faults_so_far(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_majflt : 0;
}

/* Pages that are there cost a look each, so what was read once is asked for again only where
 * reading had to wait since: through the batch in which it had to, and through the next. */
enum { COLD_BATCHES = 2 };

void wa_stage_begin_ahead(wa_stage *stage)
{
    ahead *a = &stage->ahead;
    bool is_first = stage->steps.layers == 0;
    a->cold = is_first ? 1 : a->cold > 0 ? a->cold - 1 : 0;
    a->next = stage->share.first_layer;
    if (is_first)
        a->faults = faults_so_far();
}

void wa_stage_look_ahead(wa_stage *stage, const wa_stage_batch *batch, size_t layer)
{
    ahead *a = &stage->ahead;
    size_t end = stage->share.first_layer + stage->share.layer_count +
                 (stage->share.is_last_stage ? 1 : 0),
           bytes = 0;
    long faults = faults_so_far();
    if (faults > a->faults)
        a->cold = COLD_BATCHES;
    a->faults = faults;
    if (a->cold == 0)
        return;
    a->next = layer > a->next ? layer : a->next;
    for (size_t item = layer + 1; item < a->next; item++)
        bytes += a->bytes[item - stage->share.first_layer];
    while (a->next < end && (a->next <= layer + 1 || bytes < AHEAD_BYTES)) {
        wishes w = {.count = 0};
        wish_item(stage, batch, a->next, &w);
        a->bytes[a->next - stage->share.first_layer] = w.bytes;
        bytes += a->next > layer ? w.bytes : 0;
        a->next++;
    }
}
