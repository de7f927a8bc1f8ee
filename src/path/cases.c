/* Cases of an audit: which paths each vindex can run, what each reads, and which label it must
 * show. */
#include "walkaudit/path.h"

enum { NEEDS_MAX = 3 };

#define BIT(payload) (1U << WA_PAYLOAD_##payload)

/* Where a projection comes from: a payload, or the model. */
#define FROM_MODEL WA_PAYLOAD_COUNT

/* What a path needs, reads and hides from the ladder (walk-paths 4.3; design 6). */
typedef struct path_spec {
    bool in_default_list;
    bool takes_k;
    bool in_this_version;
    wa_payload needs[NEEDS_MAX];
    int need_count;
    wa_payload reads[WA_PROJECTION_COUNT];
    unsigned hides;    /* payloads its mask takes away, flags and accessors alike */
    bool k_for_ladder; /* the ladder sees a K: finite, or all */
    wa_label kernel;   /* NONE: what the ladder picks */
} path_spec;

static const path_spec SPECS[WA_PATH_COUNT] = {
    [WA_PATH_SPARSE] = {.in_default_list = true,
                        .in_this_version = true,
                        .needs = {WA_PAYLOAD_GATE, WA_PAYLOAD_UP_FEATURES,
                                  WA_PAYLOAD_DOWN_FEATURES},
                        .need_count = 3,
                        .reads = {WA_PAYLOAD_GATE, WA_PAYLOAD_UP_FEATURES,
                                  WA_PAYLOAD_DOWN_FEATURES},
                        .k_for_ladder = true},
    [WA_PATH_SPARSE_SERIAL] = {.takes_k = true,
                               .in_this_version = true,
                               .needs = {WA_PAYLOAD_GATE, WA_PAYLOAD_UP_FEATURES,
                                         WA_PAYLOAD_DOWN_FEATURES},
                               .need_count = 3,
                               .reads = {WA_PAYLOAD_GATE, WA_PAYLOAD_UP_FEATURES,
                                         WA_PAYLOAD_DOWN_FEATURES},
                               .k_for_ladder = true,
                               .kernel = WA_LABEL_SPARSE_SERIAL},
    [WA_PATH_SPARSE_PARALLEL] = {.takes_k = true,
                                 .needs = {WA_PAYLOAD_GATE, WA_PAYLOAD_INTERLEAVED_Q4K},
                                 .need_count = 2},
    [WA_PATH_FP4_STORAGE] = {.in_default_list = true, .needs = {WA_PAYLOAD_FP4}, .need_count = 1},
    [WA_PATH_INTERLEAVED_Q4] = {.in_default_list = true,
                                .needs = {WA_PAYLOAD_INTERLEAVED_Q4},
                                .need_count = 1},
    [WA_PATH_INTERLEAVED] = {.in_default_list = true,
                             .in_this_version = true,
                             .needs = {WA_PAYLOAD_INTERLEAVED},
                             .need_count = 1,
                             .reads = {WA_PAYLOAD_INTERLEAVED, WA_PAYLOAD_INTERLEAVED,
                                       WA_PAYLOAD_INTERLEAVED},
                             .hides = BIT(FP4) | BIT(INTERLEAVED_Q4),
                             .kernel = WA_LABEL_INTERLEAVED},
    [WA_PATH_FULL_MMAP] = {.in_default_list = true,
                           .in_this_version = true,
                           .needs = {WA_PAYLOAD_GATE, WA_PAYLOAD_UP_FEATURES,
                                     WA_PAYLOAD_DOWN_FEATURES},
                           .need_count = 3,
                           .reads = {WA_PAYLOAD_GATE, WA_PAYLOAD_UP_FEATURES,
                                     WA_PAYLOAD_DOWN_FEATURES},
                           .hides = BIT(FP4) | BIT(INTERLEAVED_Q4) | BIT(INTERLEAVED),
                           .kernel = WA_LABEL_FULL_MMAP},
    [WA_PATH_INTERLEAVED_Q4K] = {.in_default_list = true,
                                 .needs = {WA_PAYLOAD_INTERLEAVED_Q4K},
                                 .need_count = 1},
    [WA_PATH_EXACT] = {.in_default_list = true,
                       .in_this_version = true,
                       .needs = {WA_PAYLOAD_DOWN_FEATURES},
                       .need_count = 1,
                       .reads = {FROM_MODEL, FROM_MODEL, WA_PAYLOAD_DOWN_FEATURES},
                       .hides = BIT(FP4) | BIT(INTERLEAVED_Q4) | BIT(INTERLEAVED) |
                                BIT(UP_FEATURES) | BIT(INTERLEAVED_Q4K),
                       .kernel = WA_LABEL_EXACT},
    [WA_PATH_WEIGHTS_FALLBACK] = {.takes_k = true,
                                  .in_this_version = true,
                                  .needs = {WA_PAYLOAD_GATE},
                                  .need_count = 1,
                                  .reads = {FROM_MODEL, FROM_MODEL, FROM_MODEL},
                                  .hides = ~BIT(GATE),
                                  .k_for_ladder = true,
                                  .kernel = WA_LABEL_WEIGHTS_FALLBACK_SPARSE},
};

/* Upstream's order (walk-paths 4.3) is that of WA_PATH_LIST, less what it never lists. */

typedef struct builder {
    const wa_case_input *inputs;
    size_t count;
    const wa_model *model;
    wa_arena *arena;
    wa_cases *out;
} builder;

static const char NOT_IN_THIS_VERSION[] = "not in this version";

static bool sees(const wa_vindex *vindex, const path_spec *spec, wa_payload payload)
{
    return vindex->present[payload] && (spec->hides & (1U << payload)) == 0;
}

/* The ladder's facts under a case's mask. No backend, no overrides, no L1 cache, and padded rows
 * are read by the manifest's width, so K-quant rows of any length answer. */
static wa_ladder_facts facts_of(const wa_vindex *vindex, const wa_model *model,
                                const path_spec *spec, int k)
{
    bool up = sees(vindex, spec, WA_PAYLOAD_UP_FEATURES);
    bool down = sees(vindex, spec, WA_PAYLOAD_DOWN_FEATURES);
    bool interleaved = sees(vindex, spec, WA_PAYLOAD_INTERLEAVED);
    bool q4k = sees(vindex, spec, WA_PAYLOAD_INTERLEAVED_Q4K);
    bool fp4 = sees(vindex, spec, WA_PAYLOAD_FP4);
    return (wa_ladder_facts){
        .features = vindex->layer_count > 0 ? vindex->layers[0].features : 0,
        .positions = 2, /* any number but 1 */
        .k_is_set = spec->k_for_ladder,
        .k = k == WA_K_ALL ? SIZE_MAX : (size_t)k,
        .gated = model->gated,
        .has_fp4 = fp4,
        .has_interleaved_q4 = sees(vindex, spec, WA_PAYLOAD_INTERLEAVED_Q4),
        .has_interleaved = interleaved,
        .has_full_mmap = up && down,
        .has_interleaved_q4k = q4k,
        .has_down_features = down,
        .up_matrix = up,
        .down_matrix = down,
        .interleaved_layer = interleaved,
        .q4k_layer = q4k,
        .q4k_up_rows = q4k,
        .q4k_down_rows = q4k,
        .q4k_whole_blocks = q4k,
        .gate_scores = sees(vindex, spec, WA_PAYLOAD_GATE) || q4k,
        .rows_covered = (up || interleaved || q4k || fp4) && (down || interleaved || q4k || fp4),
        .model_up = true,
    };
}

static bool all_payloads_there(const path_spec *spec, const wa_vindex *vindex, wa_payload *missing)
{
    for (int i = 0; i < spec->need_count; i++) {
        *missing = spec->needs[i];
        if (!vindex->present[spec->needs[i]])
            return false;
    }
    return true;
}

/* `sparse` and `sparse_serial` read what storage there is: without both float files, K-quants or
 * FP4. */
static bool sparse_needs_codec(wa_path path, const wa_vindex *vindex)
{
    return (path == WA_PATH_SPARSE || path == WA_PATH_SPARSE_SERIAL) &&
           (vindex->present[WA_PAYLOAD_INTERLEAVED_Q4K] || vindex->present[WA_PAYLOAD_FP4]);
}

/* The vindex has no features in some layer: the first such layer, else layer_count. */
static size_t empty_layer(const wa_vindex *vindex)
{
    size_t layer = 0;
    while (layer < vindex->layer_count && vindex->layers[layer].features > 0)
        layer++;
    return layer;
}

/* Why a path cannot be offered; *out = NULL when it can. */
static wa_status find_reason(const builder *b, const wa_vindex *vindex,
                             const wa_path_request *request, wa_path path, const char **out,
                             wa_error *err)
{
    const path_spec *spec = &SPECS[path];
    wa_payload missing;
    *out = NULL;
    if (path == WA_PATH_WEIGHTS_FALLBACK && request->k == WA_K_ALL)
        return WA_OK; /* ranks nothing, so needs no gate */
    if (path == WA_PATH_SPARSE && empty_layer(vindex) < vindex->layer_count)
        return WA_OK; /* always listed; NOT-RUN says why */
    if (!all_payloads_there(spec, vindex, &missing)) {
        if (sparse_needs_codec(path, vindex)) {
            *out = "reads K-quant or FP4 rows: not in this version";
            return WA_OK;
        }
        char *reason;
        WA_TRY(wa_arena_print(b->arena, &reason, err, "%s is missing", wa_payload_file(missing)));
        *out = reason;
        return WA_OK;
    }
    bool readable = spec->in_this_version;
    for (int i = 0; i < spec->need_count; i++)
        readable = readable && vindex->readable[spec->needs[i]];
    if (!readable)
        *out = NOT_IN_THIS_VERSION;
    return WA_OK;
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

static bool k_leaves_some_out(const wa_vindex *vindex, int k)
{
    for (size_t layer = 0; k != WA_K_ALL && layer < vindex->layer_count; layer++)
        if ((size_t)k < vindex->layers[layer].features)
            return true;
    return false;
}

/* The worst of what is read; approximate when features are left out, and weights_fallback always
 * is. */
static wa_bucket bucket_of(const wa_case *item, const wa_vindex *vindex)
{
    if (item->path == WA_PATH_WEIGHTS_FALLBACK || k_leaves_some_out(vindex, item->k))
        return WA_BUCKET_APPROXIMATE;
    wa_bucket worst = WA_BUCKET_EXACT;
    for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
        if (item->source[p].from_model)
            continue;
        wa_bucket bucket = bucket_of_payload(item->source[p].payload);
        worst = bucket > worst ? bucket : worst;
    }
    return worst;
}

static wa_status name_case(const builder *b, const wa_case_input *input,
                           const wa_path_request *request, const char **out, wa_error *err)
{
    char *name;
    const char *path = request->name != NULL ? request->name : request->path;
    if (request->name == NULL && request->k != WA_K_ALL)
        WA_TRY(wa_arena_print(b->arena, &name, err, "%s:%s:k%d", input->name, path, request->k));
    else
        WA_TRY(wa_arena_print(b->arena, &name, err, "%s:%s", input->name, path));
    *out = name;
    for (size_t i = 0; i < b->out->count; i++)
        if (strcmp(b->out->items[i].name, name) == 0)
            return wa_fail(err, WA_E_JOB,
                           "case name '%s' is used twice; give one a name of its own", name);
    return WA_OK;
}

/* For an ungated model the gate file holds the up rows, and the per-feature loop reads them there.
 */
static bool up_is_in_gate_file(const wa_case *item, const wa_model *model)
{
    return !model->gated && item->kernel == WA_LABEL_SPARSE_SERIAL;
}

static wa_status note_zero_features(const builder *b, wa_case *item, const wa_vindex *vindex,
                                    wa_error *err)
{
    size_t layer = empty_layer(vindex);
    if (layer == vindex->layer_count)
        return WA_OK;
    char *reason;
    WA_TRY(
        wa_arena_print(b->arena, &reason, err, "layer %zu has zero features in the vindex", layer));
    item->not_run = reason;
    return WA_OK;
}

static wa_status append_case(const builder *b, size_t at, const wa_path_request *request,
                             wa_path path, wa_error *err)
{
    const wa_case_input *input = &b->inputs[at];
    const path_spec *spec = &SPECS[path];
    wa_case item = {.vindex = (int)at, .path = path, .k = request->k, .kernel = spec->kernel};
    WA_TRY(name_case(b, input, request, &item.name, err));

    wa_ladder_facts facts = facts_of(input->vindex, b->model, spec, request->k);
    wa_label route = wa_ladder_route(&facts);
    if (item.kernel ==
        WA_LABEL_NONE) /* sparse: the batched products, or for ungated models the loop */
        item.kernel = b->model->gated ? WA_LABEL_SPARSE_GEMV_FULL_K : WA_LABEL_SPARSE_SERIAL;
    item.expected_label = path == WA_PATH_SPARSE_SERIAL ? WA_LABEL_SPARSE_SERIAL : route;

    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        item.source[p] = (wa_source){.from_model = spec->reads[p] == FROM_MODEL,
                                     .payload = spec->reads[p] == FROM_MODEL ? 0 : spec->reads[p]};
    if (up_is_in_gate_file(&item, b->model))
        item.source[WA_UP].payload = WA_PAYLOAD_GATE;
    item.bucket = bucket_of(&item, input->vindex);
    WA_TRY(note_zero_features(b, &item, input->vindex, err));
    b->out->items[b->out->count++] = item;
    return WA_OK;
}

static void append_not_offered(const builder *b, size_t at, wa_path path, const char *reason)
{
    b->out->not_offered[b->out->not_offered_count++] =
        (wa_not_offered){.vindex = (int)at, .path = wa_path_name(path), .reason = reason};
}

static wa_status check_request(const wa_path_request *request, wa_path *path, wa_error *err)
{
    if (!wa_path_parse(request->path, path))
        return wa_fail(err, WA_E_JOB, "no path is called '%s'", request->path);
    if (*path == WA_PATH_EXTERNAL)
        return wa_fail(err, WA_E_JOB, "path 'external': %s", NOT_IN_THIS_VERSION);
    if (request->k != WA_K_ALL && !SPECS[*path].takes_k)
        return wa_fail(err, WA_E_JOB, "path '%s' uses all features: it takes no k, found k = %d",
                       request->path, request->k);
    if (request->k != WA_K_ALL && request->k < 1)
        return wa_fail(err, WA_E_JOB, "path '%s': k is %d, expected at least 1", request->path,
                       request->k);
    if (request->file != NULL || request->library != NULL || request->bucket != NULL)
        return wa_fail(err, WA_E_JOB,
                       "path '%s': file, library and bucket belong to path 'external'",
                       request->path);
    return WA_OK;
}

static wa_status offer(const builder *b, size_t at, const wa_path_request *request, wa_path path,
                       bool required, wa_error *err)
{
    const char *reason;
    WA_TRY(find_reason(b, b->inputs[at].vindex, request, path, &reason, err));
    if (reason == NULL)
        return append_case(b, at, request, path, err);
    if (required)
        return wa_fail(err, WA_E_JOB,
                       "path '%s' is asked for under vindex '%s' and cannot run there: %s",
                       request->path, b->inputs[at].name, reason);
    append_not_offered(b, at, path, reason);
    return WA_OK;
}

static wa_status offer_default_list(const builder *b, size_t at, wa_error *err)
{
    for (int path = WA_PATH_DENSE + 1; path < WA_PATH_COUNT; path++) {
        if (!SPECS[path].in_default_list)
            continue;
        wa_path_request request = {.path = wa_path_name((wa_path)path), .k = WA_K_ALL};
        WA_TRY(offer(b, at, &request, (wa_path)path, false, err));
    }
    return WA_OK;
}

static wa_status offer_requests(const builder *b, size_t at, wa_error *err)
{
    const wa_case_input *input = &b->inputs[at];
    for (size_t r = 0; r < input->request_count; r++) {
        wa_path path;
        WA_TRY(check_request(&input->requests[r], &path, err));
        WA_TRY(offer(b, at, &input->requests[r], path, input->required, err));
    }
    return WA_OK;
}

static bool ran(const wa_cases *cases, const wa_path_request *request)
{
    for (size_t i = 0; i < cases->count; i++)
        if (strcmp(wa_path_name(cases->items[i].path), request->path) == 0 &&
            cases->items[i].k == request->k)
            return true;
    return false;
}

static wa_status fail_ran_nowhere(const builder *b, const wa_path_request *request, wa_error *err)
{
    for (size_t i = 0; i < b->out->not_offered_count; i++) {
        const wa_not_offered *entry = &b->out->not_offered[i];
        if (strcmp(entry->path, request->path) == 0)
            return wa_fail(err, WA_E_JOB,
                           "path '%s' is asked for and runs on no vindex; on '%s': %s",
                           request->path, b->inputs[entry->vindex].name, entry->reason);
    }
    return wa_fail(err, WA_E_INTERNAL, "path '%s' left no reason why it does not run",
                   request->path);
}

/* A path that the job names for all vindexes must run on one of them. */
static wa_status check_all_ran(const builder *b, wa_error *err)
{
    for (size_t i = 0; i < b->count; i++) {
        const wa_case_input *input = &b->inputs[i];
        if (input->required || input->requests == NULL)
            continue;
        for (size_t r = 0; r < input->request_count; r++)
            if (!ran(b->out, &input->requests[r]))
                return fail_ran_nowhere(b, &input->requests[r], err);
    }
    return WA_OK;
}

wa_status wa_cases_build(const wa_case_input *inputs, size_t count, const wa_model *model,
                         wa_arena *arena, wa_cases *out, wa_error *err)
{
    size_t room = 0;
    for (size_t i = 0; i < count; i++)
        room += inputs[i].requests != NULL ? inputs[i].request_count : WA_PATH_COUNT;
    wa_cases cases = {0};
    WA_TRY(wa_arena_take(arena, room, sizeof *cases.items, &cases.items, err));
    WA_TRY(wa_arena_take(arena, room, sizeof *cases.not_offered, &cases.not_offered, err));

    builder b = {.inputs = inputs, .count = count, .model = model, .arena = arena, .out = &cases};
    for (size_t at = 0; at < count; at++)
        WA_TRY(inputs[at].requests != NULL ? offer_requests(&b, at, err)
                                           : offer_default_list(&b, at, err));
    WA_TRY(check_all_ran(&b, err));
    *out = cases;
    return WA_OK;
}

wa_case wa_case_dense(void)
{
    wa_case item = {.name = "dense", .vindex = -1, .path = WA_PATH_DENSE, .k = WA_K_ALL};
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        item.source[p].from_model = true;
    return item;
}

static wa_status match_layer(const wa_model *model, const wa_vindex *vindex, size_t layer,
                             wa_error *err)
{
    size_t in_model = model->layers[layer].up.rows;
    size_t in_vindex = vindex->layers[layer].features;
    if (in_vindex != 0 && in_vindex != in_model)
        return wa_fail(err, WA_E_MISMATCH,
                       "layer %zu of the vindex has %zu features, the model's has %zu", layer,
                       in_vindex, in_model);
    return WA_OK;
}

wa_status wa_vindex_match(const wa_model *model, const wa_vindex *vindex, wa_error *err)
{
    if (vindex->layer_count != model->layer_count)
        return wa_fail(err, WA_E_MISMATCH, "vindex '%s' has %zu layers, model '%s' has %zu",
                       vindex->path, vindex->layer_count, model->path, model->layer_count);
    if (vindex->hidden != model->hidden)
        return wa_fail(err, WA_E_MISMATCH, "vindex '%s' has hidden size %zu, model '%s' has %zu",
                       vindex->path, vindex->hidden, model->path, model->hidden);
    for (size_t layer = 0; layer < model->layer_count; layer++)
        if (match_layer(model, vindex, layer, err) != WA_OK)
            return wa_note(err, "vindex '%s', model '%s'", vindex->path, model->path);
    return WA_OK;
}
