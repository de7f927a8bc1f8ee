/* What each path reads and which kernel computes it (design 6). A path's mask says which files it
 * may touch; a kernel's lists say in which order it looks for each projection among those. */
#include "path/spec.h"

#include "path/ladder.h"

#define BIT(payload) (1U << WA_PAYLOAD_##payload)

/* Further entries of a list of payloads. */
enum { FROM_MODEL = WA_PAYLOAD_COUNT, END };

#define LIST(...) ((const int[]){__VA_ARGS__, END})
#define P(payload) WA_PAYLOAD_##payload

/* A kernel reads each projection from the first of these that the path sees. Row b of walk-paths
 * 2.3 for gemv, walk-paths 1.3 and rows d, e of 2.3 for the per-feature loops; K-quant products
 * take down as stored, [H, F], and leave the feature-major copy alone. */
static const int *const READS[WA_LABEL_COUNT][WA_PROJECTION_COUNT] = {
    [WA_LABEL_SPARSE_GEMV_FULL_K] = {LIST(P(GATE)), LIST(P(UP_FEATURES), P(INTERLEAVED_Q4K)),
                                     LIST(P(DOWN_FEATURES), P(INTERLEAVED_Q4K))},
    [WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN] = {LIST(P(GATE)), LIST(P(UP_FEATURES), P(INTERLEAVED_Q4K)),
                                           LIST(P(INTERLEAVED_Q4K))},
    [WA_LABEL_SPARSE_SERIAL] = {LIST(P(GATE)),
                                LIST(P(UP_FEATURES), P(FP4), P(INTERLEAVED), P(INTERLEAVED_Q4K)),
                                LIST(P(DOWN_FEATURES), P(FP4), P(INTERLEAVED), P(DOWN_FEATURES_Q4K),
                                     P(INTERLEAVED_Q4K))},
    [WA_LABEL_INTERLEAVED_Q4_CPU] = {LIST(P(INTERLEAVED_Q4)), LIST(P(INTERLEAVED_Q4)),
                                     LIST(P(INTERLEAVED_Q4))},
    [WA_LABEL_INTERLEAVED] = {LIST(P(INTERLEAVED)), LIST(P(INTERLEAVED)), LIST(P(INTERLEAVED))},
    [WA_LABEL_FULL_MMAP] = {LIST(P(GATE)), LIST(P(UP_FEATURES)), LIST(P(DOWN_FEATURES))},
    [WA_LABEL_INTERLEAVED_Q4K_DEQUANT] = {LIST(P(INTERLEAVED_Q4K)), LIST(P(INTERLEAVED_Q4K)),
                                          LIST(P(INTERLEAVED_Q4K))},
    [WA_LABEL_INTERLEAVED_KQUANT_DEQUANT] = {LIST(P(INTERLEAVED_Q4K)), LIST(P(INTERLEAVED_Q4K)),
                                             LIST(P(INTERLEAVED_Q4K))},
    [WA_LABEL_INTERLEAVED_KQUANT_NATIVE] = {LIST(P(INTERLEAVED_Q4K)), LIST(P(INTERLEAVED_Q4K)),
                                            LIST(P(INTERLEAVED_Q4K))},
    [WA_LABEL_INTERLEAVED_KQUANT_Q8K] = {LIST(P(INTERLEAVED_Q4K)), LIST(P(INTERLEAVED_Q4K)),
                                         LIST(P(INTERLEAVED_Q4K))},
    [WA_LABEL_EXACT] = {LIST(FROM_MODEL), LIST(FROM_MODEL), LIST(P(DOWN_FEATURES))},
    [WA_LABEL_WEIGHTS_FALLBACK_SPARSE] = {LIST(FROM_MODEL), LIST(FROM_MODEL), LIST(FROM_MODEL)},
    [WA_LABEL_EXPERTS] = {LIST(P(EXPERTS)), LIST(P(EXPERTS)), LIST(P(EXPERTS))},
    [WA_LABEL_EXPERTS_Q8K] = {LIST(P(EXPERTS)), LIST(P(EXPERTS)), LIST(P(EXPERTS))},
    [WA_LABEL_CHECKPOINT] = {LIST(P(CHECKPOINT)), LIST(P(CHECKPOINT)), LIST(P(CHECKPOINT))},
    /* Nothing that we know of: the model's matrices stand for the shape of what it computes. */
    [WA_LABEL_EXTERNAL] = {LIST(FROM_MODEL), LIST(FROM_MODEL), LIST(FROM_MODEL)},
};

typedef struct path_spec {
    bool takes_k;
    bool k_for_ladder; /* the ladder sees a K: finite, or all */
    bool forced;       /* the kernel is asked for whatever the ladder would pick */
    wa_label kernel;   /* NONE: what the ladder picks, if it is one of the sparse walk's */
    /* payloads its mask takes away, flags and accessors alike (walk-paths 4.3) */
    unsigned hides;
} path_spec;

static const path_spec SPECS[WA_PATH_COUNT] = {
    [WA_PATH_SPARSE] = {.k_for_ladder = true},
    [WA_PATH_SPARSE_SERIAL] = {.takes_k = true,
                               .k_for_ladder = true,
                               .forced = true,
                               .kernel = WA_LABEL_SPARSE_SERIAL},
    [WA_PATH_SPARSE_PARALLEL] = {.takes_k = true,
                                 .k_for_ladder = true,
                                 .forced = true,
                                 .kernel = WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN,
                                 .hides = ~(BIT(GATE) | BIT(INTERLEAVED_Q4K))},
    [WA_PATH_FP4_STORAGE] = {.kernel = WA_LABEL_SPARSE_SERIAL, .hides = ~(BIT(GATE) | BIT(FP4))},
    [WA_PATH_INTERLEAVED_Q4] = {.kernel = WA_LABEL_INTERLEAVED_Q4_CPU, .hides = BIT(FP4)},
    [WA_PATH_INTERLEAVED] = {.kernel = WA_LABEL_INTERLEAVED,
                             .hides = BIT(FP4) | BIT(INTERLEAVED_Q4)},
    [WA_PATH_FULL_MMAP] = {.kernel = WA_LABEL_FULL_MMAP,
                           .hides = BIT(FP4) | BIT(INTERLEAVED_Q4) | BIT(INTERLEAVED)},
    [WA_PATH_INTERLEAVED_Q4K] = {.kernel = WA_LABEL_INTERLEAVED_Q4K_DEQUANT,
                                 .hides = BIT(FP4) | BIT(INTERLEAVED_Q4) | BIT(INTERLEAVED) |
                                          BIT(UP_FEATURES)},
    [WA_PATH_INTERLEAVED_KQUANT_NATIVE] = {.forced = true,
                                           .kernel = WA_LABEL_INTERLEAVED_KQUANT_NATIVE,
                                           .hides = ~BIT(INTERLEAVED_Q4K)},
    [WA_PATH_Q8K] = {.forced = true,
                     .kernel = WA_LABEL_INTERLEAVED_KQUANT_Q8K,
                     .hides = ~BIT(INTERLEAVED_Q4K)},
    [WA_PATH_EXACT] = {.kernel = WA_LABEL_EXACT,
                       .hides = BIT(FP4) | BIT(INTERLEAVED_Q4) | BIT(INTERLEAVED) |
                                BIT(UP_FEATURES) | BIT(INTERLEAVED_Q4K)},
    [WA_PATH_WEIGHTS_FALLBACK] = {.takes_k = true,
                                  .k_for_ladder = true,
                                  .kernel = WA_LABEL_WEIGHTS_FALLBACK_SPARSE,
                                  .hides = ~BIT(GATE)},
    [WA_PATH_EXTERNAL] = {.forced = true, .kernel = WA_LABEL_EXTERNAL, .hides = ~0U},
    [WA_PATH_SERVED] = {.forced = true, .kernel = WA_LABEL_EXTERNAL, .hides = ~0U},
    [WA_PATH_EXPERTS] = {.forced = true, .kernel = WA_LABEL_EXPERTS, .hides = ~BIT(EXPERTS)},
    [WA_PATH_EXPERTS_Q8K] = {.forced = true,
                             .kernel = WA_LABEL_EXPERTS_Q8K,
                             .hides = ~BIT(EXPERTS)},
    [WA_PATH_CHECKPOINT] = {.forced = true,
                            .kernel = WA_LABEL_CHECKPOINT,
                            .hides = ~BIT(CHECKPOINT)},
    [WA_PATH_CHECKPOINT_MODEL] = {.forced = true,
                                  .kernel = WA_LABEL_CHECKPOINT,
                                  .hides = ~BIT(CHECKPOINT)},
};

/* Upstream's audits, in their order (walk-paths 4.3); August's measures native where May's
 * dequantised, and the latter is kept beside it. */
size_t wa_spec_defaults(const wa_vindex *vindex, wa_ladder ladder, bool whole,
                        wa_path out[WA_PATH_COUNT])
{
    static const wa_path list[] = {WA_PATH_SPARSE,          WA_PATH_FP4_STORAGE,
                                   WA_PATH_INTERLEAVED_Q4,  WA_PATH_INTERLEAVED,
                                   WA_PATH_FULL_MMAP,       WA_PATH_INTERLEAVED_KQUANT_NATIVE,
                                   WA_PATH_INTERLEAVED_Q4K, WA_PATH_EXACT};
    size_t count = 0;
    if (vindex->checkpoint != NULL) {
        out[0] = WA_PATH_CHECKPOINT;
        out[1] = WA_PATH_CHECKPOINT_MODEL;
        return whole ? 2 : 1;
    }
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (ladder == WA_LADDER_2026_08 || list[i] != WA_PATH_INTERLEAVED_KQUANT_NATIVE)
            out[count++] = list[i];
    if (vindex->present[WA_PAYLOAD_EXPERTS] || vindex->unusable[WA_PAYLOAD_EXPERTS] != NULL) {
        out[count++] = WA_PATH_EXPERTS;
        out[count++] = WA_PATH_EXPERTS_Q8K;
    }
    return count;
}

bool wa_spec_takes_k(wa_path path)
{
    return SPECS[path].takes_k;
}

/* Payloads that a case's mask takes away. August: all that its kernel does not read (larql-2026-08
 * 2.5); what the ladder picks the kernel for, and the loops, which choose by what is there, keep
 * their own. */
static unsigned hides_of(const wa_case *item)
{
    const path_spec *spec = &SPECS[item->path];
    bool chooses = spec->kernel == WA_LABEL_NONE || spec->kernel == WA_LABEL_SPARSE_SERIAL ||
                   spec->kernel == WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN ||
                   item->path == WA_PATH_WEIGHTS_FALLBACK;
    if (item->ladder == WA_LADDER_2026_05 || chooses)
        return spec->hides;
    unsigned reads = 0;
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        for (const int *at = READS[spec->kernel][p]; *at != END; at++)
            reads |= *at == FROM_MODEL ? 0U : 1U << *at;
    return ~reads;
}

static bool sees(const wa_vindex *vindex, unsigned hides, wa_payload payload)
{
    return vindex->present[payload] && vindex->readable[payload] && (hides & (1U << payload)) == 0;
}

/* Every layer's rows are whole blocks of 256. */
static bool whole_rows(const wa_vindex *vindex)
{
    bool whole = vindex->hidden % 256 == 0;
    for (size_t l = 0; l < vindex->layer_count; l++)
        whole = whole && vindex->layers[l].features % 256 == 0;
    return whole;
}

/* The ladder's facts under a case's mask. No overrides, no L1 cache; a backend with our Q4_0 kernel
 * for interleaved_q4 alone; and padded rows are read by the manifest's width, so K-quant rows of
 * any length answer. */
static wa_ladder_facts facts_of(const wa_vindex *vindex, const wa_model *model, const wa_case *item,
                                unsigned hides)
{
    const path_spec *spec = &SPECS[item->path];
    bool up = sees(vindex, hides, WA_PAYLOAD_UP_FEATURES);
    bool down = sees(vindex, hides, WA_PAYLOAD_DOWN_FEATURES);
    bool interleaved = sees(vindex, hides, WA_PAYLOAD_INTERLEAVED);
    bool q4 = sees(vindex, hides, WA_PAYLOAD_INTERLEAVED_Q4);
    bool q4k = sees(vindex, hides, WA_PAYLOAD_INTERLEAVED_Q4K);
    bool fp4 = sees(vindex, hides, WA_PAYLOAD_FP4);
    return (wa_ladder_facts){
        .ladder = item->ladder,
        .kquant_whole_rows = whole_rows(vindex),
        .features = vindex->layer_count > 0 ? vindex->layers[0].features : 0,
        .positions = 2, /* any number but 1 */
        .k_is_set = spec->k_for_ladder,
        .k = item->k == WA_K_ALL ? SIZE_MAX : (size_t)item->k,
        .gated = model->gated,
        .has_fp4 = fp4,
        .has_interleaved_q4 = q4,
        .has_interleaved = interleaved,
        .has_full_mmap = up && down,
        .has_interleaved_q4k = q4k,
        .has_down_features = down,
        .backend_q4 = item->path == WA_PATH_INTERLEAVED_Q4,
        .up_matrix = up,
        .down_matrix = down,
        .interleaved_layer = interleaved,
        .q4_layer = q4,
        .q4k_layer = q4k,
        .q4k_up_rows = q4k,
        .q4k_down_rows = q4k,
        .q4k_whole_blocks = q4k,
        .gate_scores = sees(vindex, hides, WA_PAYLOAD_GATE),
        .rows_covered = (up || interleaved || q4k || fp4) && (down || interleaved || q4k || fp4),
        .model_up = true,
    };
}

static bool is_sparse_walk(wa_label label)
{
    return label == WA_LABEL_SPARSE_GEMV_FULL_K || label == WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN ||
           label == WA_LABEL_SPARSE_SERIAL;
}

static wa_status choose_kernel(const wa_vindex *vindex, const wa_model *model, wa_case *item,
                               wa_arena *arena, wa_error *err)
{
    const path_spec *spec = &SPECS[item->path];
    wa_ladder_facts facts = facts_of(vindex, model, item, hides_of(item));
    wa_ladder_facts unmasked = facts_of(vindex, model, item, 0);
    wa_label route = wa_ladder_route(&facts);
    item->kernel = spec->kernel;
    if (item->kernel == WA_LABEL_NONE && is_sparse_walk(route))
        item->kernel = route;
    if (item->kernel == WA_LABEL_NONE) /* the sparse walk declines: some file of these is missing */
        item->kernel = WA_LABEL_SPARSE_GEMV_FULL_K;
    bool dequant =
        item->kernel == WA_LABEL_INTERLEAVED_Q4K_DEQUANT && item->ladder == WA_LADDER_2026_08;
    if (dequant) /* below native, which reads the same file: forced */
        item->kernel = WA_LABEL_INTERLEAVED_KQUANT_DEQUANT;
    item->expected_label = spec->forced || dequant ? item->kernel : route;
    return wa_ladder_explain(&unmasked, arena, &item->route, err);
}

/* For an ungated model the gate file holds the up rows, and the per-feature loop reads them there;
 * another checkpoint of it has no gate at all. */
static const int *list_of(const wa_case *item, const wa_model *model, wa_projection projection)
{
    static const int gate_file[] = {WA_PAYLOAD_GATE, END}, nothing[] = {FROM_MODEL, END};
    if (!model->gated && item->kernel == WA_LABEL_SPARSE_SERIAL && projection == WA_UP)
        return gate_file;
    if (!model->gated && item->kernel == WA_LABEL_CHECKPOINT && projection == WA_GATE)
        return nothing;
    return READS[item->kernel][projection];
}

/* "up_features.bin is missing" and what else would have done. */
static wa_status tell_missing(const wa_vindex *vindex, unsigned hides, const int *list,
                              wa_arena *arena, const char **out, wa_error *err)
{
    char *text = NULL;
    for (; *list != END; list++) {
        wa_payload payload = (wa_payload)*list;
        if ((hides & (1U << payload)) != 0)
            continue;
        if (payload == WA_PAYLOAD_CHECKPOINT) {
            WA_TRY(wa_arena_print(arena, &text, err,
                                  "it is a vindex; key 'checkpoint' names a checkpoint"));
            continue;
        }
        const char *why = vindex->unusable[payload] != NULL ? vindex->unusable[payload]
                          : vindex->present[payload]        ? "cannot be read"
                                                            : "is missing";
        WA_TRY(wa_arena_print(arena, &text, err, "%s%s%s %s", text == NULL ? "" : text,
                              text == NULL ? "" : "; ", wa_vindex_file(vindex, payload), why));
    }
    *out = text;
    return WA_OK;
}

/* The first payload of the list that the path sees; else the first it might, with a reason. */
static wa_status choose_source(const wa_vindex *vindex, wa_case *item, wa_projection projection,
                               const int *list, wa_arena *arena, const char **reason, wa_error *err)
{
    unsigned hides = hides_of(item);
    wa_source *source = &item->source[projection];
    if (*list == FROM_MODEL) {
        *source = (wa_source){.from_model = true};
        return WA_OK;
    }
    for (const int *at = list; *at != END; at++)
        if (sees(vindex, hides, (wa_payload)*at)) {
            *source = (wa_source){.payload = (wa_payload)*at};
            return WA_OK;
        }
    while ((hides & (1U << *list)) != 0)
        list++;
    *source = (wa_source){.payload = (wa_payload)*list};
    return *reason != NULL ? WA_OK : tell_missing(vindex, hides, list, arena, reason, err);
}

/* weights_fallback ranks by the gate file, unless it uses all features. */
static wa_status check_ranking(const wa_vindex *vindex, const wa_case *item, wa_arena *arena,
                               const char **reason, wa_error *err)
{
    unsigned hides = hides_of(item);
    static const int gate_file[] = {WA_PAYLOAD_GATE, END};
    bool ranks = item->path == WA_PATH_WEIGHTS_FALLBACK && item->k != WA_K_ALL;
    if (!ranks || sees(vindex, hides, WA_PAYLOAD_GATE))
        return WA_OK;
    return tell_missing(vindex, hides, gate_file, arena, reason, err);
}

/* LARQL's native kernel declines what is no gated FFN of whole blocks (larql-2026-08 2.1, rung 4),
 * and its server answers in Q8_K where x is whole blocks (larql-2026-08 4.6). */
static wa_status check_blocks(const wa_vindex *vindex, const wa_model *model, const wa_case *item,
                              wa_arena *arena, const char **reason, wa_error *err)
{
    enum { BLOCK = 256 };
    char *text;
    bool native = item->kernel == WA_LABEL_INTERLEAVED_KQUANT_NATIVE;
    if ((!native && item->kernel != WA_LABEL_INTERLEAVED_KQUANT_Q8K) || *reason != NULL)
        return WA_OK;
    const char *what = native ? "native" : "Q8_K";
    if (!model->gated) {
        WA_TRY(wa_arena_print(arena, &text, err, "the %s kernel is of gated models", what));
        *reason = text;
        return WA_OK;
    }
    size_t width = vindex->hidden;
    for (size_t l = 0; native && l < vindex->layer_count && width % BLOCK == 0; l++)
        width = vindex->layers[l].features;
    if (width % BLOCK == 0)
        return WA_OK;
    WA_TRY(wa_arena_print(arena, &text, err,
                          "the %s kernel takes rows of whole blocks of %d, not of %zu", what, BLOCK,
                          width));
    *reason = text;
    return WA_OK;
}

/* Integer dots need stored integers with scales: layer files of K-quants, throughout. */
static wa_status check_expert_blocks(const wa_vindex *vindex, const wa_case *item, wa_arena *arena,
                                     const char **reason, wa_error *err)
{
    wa_matrix stored;
    char *text;
    if (item->kernel != WA_LABEL_EXPERTS_Q8K || *reason != NULL)
        return WA_OK;
    for (size_t l = 0; l < vindex->layer_count; l++) {
        if (wa_vindex_stack(vindex, WA_PAYLOAD_EXPERTS, WA_GATE, l) == 0)
            continue;
        WA_TRY(wa_vindex_stack_matrix(vindex, WA_PAYLOAD_EXPERTS, WA_GATE, l, 0, &stored, err));
        if (wa_format_is_k_block(stored.format))
            continue;
        WA_TRY(wa_arena_print(arena, &text, err,
                              "%s is in %s, and Q4_K and Q6_K alone have integer dots", stored.name,
                              wa_format_get(stored.format)->name));
        *reason = text;
        return WA_OK;
    }
    return WA_OK;
}

/* The vindex has no features in some layer: the first such layer, else layer_count. */
static size_t empty_layer(const wa_vindex *vindex)
{
    size_t layer = 0;
    while (layer < vindex->layer_count && vindex->layers[layer].features > 0)
        layer++;
    return layer;
}

/* A walk over features knows no router: what it would compute is not the model, whatever files
 * there are. */
static wa_status refuse_experts(const wa_model *model, const wa_case *item, wa_arena *arena,
                                const char **reason, wa_error *err)
{
    size_t layer = wa_model_expert_layer(model);
    char *text;
    if (layer == model->layer_count || wa_path_is_foreign(item->path) ||
        wa_path_is_checkpoint(item->path) || wa_path_is_of_experts(item->path))
        return WA_OK;
    WA_TRY(wa_arena_print(
        arena, &text, err,
        "layer %zu of the model has experts, which need path 'experts' or 'experts_q8k'", layer));
    *reason = text;
    return WA_OK;
}

static bool any_in_blocks(const wa_matrix *const *stored, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (stored[i]->rows > 0 && !wa_format_is_float(stored[i]->format))
            return true;
    return false;
}

static bool any_expert_in_blocks(const wa_experts *experts)
{
    for (size_t i = 0; experts != NULL && i < wa_experts_ffns(experts); i++) {
        const wa_expert *ffn = wa_experts_ffn(experts, i);
        const wa_matrix *const parts[] = {&ffn->gate, &ffn->up, &ffn->down};
        if (any_in_blocks(parts, sizeof parts / sizeof parts[0]))
            return true;
    }
    return false;
}

/* Exact where all that is computed with are floats of 16 bits and more: the FFN of every layer, or
 * the whole model. */
static wa_bucket bucket_of_checkpoint(const wa_model *checkpoint, bool whole)
{
    const wa_matrix *const ends[] = {&checkpoint->embedding, &checkpoint->output,
                                     &checkpoint->positions};
    if (whole && any_in_blocks(ends, sizeof ends / sizeof ends[0]))
        return WA_BUCKET_QUANTIZED;
    for (size_t l = 0; l < checkpoint->layer_count; l++) {
        const wa_layer *own = &checkpoint->layers[l];
        const wa_matrix *const ffn[] = {&own->gate, &own->up, &own->down,
                                        own->experts == NULL ? &own->gate : &own->experts->router};
        const wa_matrix *const attention[] = {&own->q, &own->k, &own->v, &own->o};
        if (any_in_blocks(ffn, sizeof ffn / sizeof ffn[0]) || any_expert_in_blocks(own->experts) ||
            (whole && any_in_blocks(attention, sizeof attention / sizeof attention[0])))
            return WA_BUCKET_QUANTIZED;
    }
    return WA_BUCKET_EXACT;
}

static wa_bucket bucket_of_experts(const wa_vindex *vindex)
{
    bool blocks = false;
    for (size_t l = 0; l < vindex->layer_count; l++)
        blocks = blocks || any_expert_in_blocks(wa_vindex_experts_at(vindex, l));
    return blocks ? WA_BUCKET_QUANTIZED : WA_BUCKET_EXACT;
}

static wa_bucket bucket_of_payload(wa_payload payload)
{
    switch (payload) {
    case WA_PAYLOAD_INTERLEAVED_Q4:
    case WA_PAYLOAD_INTERLEAVED_Q4K:
    case WA_PAYLOAD_DOWN_FEATURES_Q4K:
        return WA_BUCKET_QUANTIZED;
    case WA_PAYLOAD_FP4:
        return WA_BUCKET_FP4;
    default:
        return WA_BUCKET_EXACT; /* f32 and f16 */
    }
}

/* Layers no wider than a finite k: "the k best features" are all features there. */
static size_t layers_within_k(const wa_vindex *vindex, int k)
{
    size_t count = 0;
    for (size_t layer = 0; k != WA_K_ALL && layer < vindex->layer_count; layer++)
        count += vindex->layers[layer].features <= (size_t)k ? 1 : 0;
    return count;
}

/* The worst of the bytes that are read (Q16); approximate when features are left out, and
 * weights_fallback always is. */
static wa_bucket bucket_of(const wa_case *item, const wa_vindex *vindex)
{
    bool leaves_some_out = item->k != WA_K_ALL && item->k_all_layers < vindex->layer_count;
    if (item->path == WA_PATH_WEIGHTS_FALLBACK || leaves_some_out)
        return WA_BUCKET_APPROXIMATE;
    if (wa_path_is_checkpoint(item->path))
        return vindex->checkpoint == NULL
                   ? WA_BUCKET_APPROXIMATE
                   : bucket_of_checkpoint(vindex->checkpoint,
                                          item->path == WA_PATH_CHECKPOINT_MODEL);
    if (wa_path_is_of_experts(item->path))
        return bucket_of_experts(vindex);
    wa_bucket worst = WA_BUCKET_EXACT;
    for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
        const wa_source *source = &item->source[p];
        if (source->from_model)
            continue;
        wa_bucket bucket =
            bucket_of_payload(wa_vindex_serving(vindex, source->payload, (wa_projection)p));
        worst = bucket > worst ? bucket : worst;
    }
    return worst;
}

wa_status wa_spec_resolve(const wa_vindex *vindex, const wa_model *model, wa_arena *arena,
                          wa_case *item, const char **reason, wa_error *err)
{
    *reason = NULL;
    WA_TRY(choose_kernel(vindex, model, item, arena, err));
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        WA_TRY(choose_source(vindex, item, (wa_projection)p, list_of(item, model, (wa_projection)p),
                             arena, reason, err));
    WA_TRY(check_ranking(vindex, item, arena, reason, err));
    WA_TRY(check_blocks(vindex, model, item, arena, reason, err));
    WA_TRY(check_expert_blocks(vindex, item, arena, reason, err));
    item->k_all_layers = layers_within_k(vindex, item->k);
    item->bucket = bucket_of(item, vindex);
    item->stream = item->path == WA_PATH_CHECKPOINT_MODEL ? vindex->checkpoint : NULL;

    WA_TRY(refuse_experts(model, item, arena, reason, err));
    size_t layer = empty_layer(vindex);
    if (layer == vindex->layer_count || wa_model_expert_layer(model) < model->layer_count)
        return WA_OK; /* who computes experts reads nothing of the vindex */
    char *why;
    WA_TRY(wa_arena_print(arena, &why, err, "layer %zu has zero features in the vindex", layer));
    item->not_run = why;
    if (item->path == WA_PATH_SPARSE)
        *reason = NULL; /* always listed, so that the audit has a case that says why */
    return WA_OK;
}
