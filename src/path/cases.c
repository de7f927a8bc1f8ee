/* Cases of an audit: which paths each vindex can run, what each reads, and which label it must
 * show. */
#include "path/spec.h"

#include <stdio.h>

/* Upstream's order (walk-paths 4.3) is that of WA_PATH_LIST, less what it never lists. */

typedef struct builder {
    const wa_case_input *inputs;
    size_t count;
    const wa_model *model;
    wa_arena *arena;
    wa_cases *out;
} builder;

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

/* By the word that asked for it: a path may have two. */
static void append_not_offered(const builder *b, size_t at, const wa_path_request *request,
                               const char *reason)
{
    b->out->not_offered[b->out->not_offered_count++] =
        (wa_not_offered){.vindex = (int)at, .path = request->path, .reason = reason};
}

/* Of path external: k belongs to the path that it is like. */
static wa_status check_like(const wa_path_request *request, wa_error *err)
{
    wa_path like;
    const char *path = request->path;
    if (request->like == NULL && request->kernel_tolerance != 0.0)
        return wa_fail(err, WA_E_JOB, "path '%s': kernel_tolerance needs like", path);
    if (request->like == NULL)
        return request->k == WA_K_ALL
                   ? WA_OK
                   : wa_fail(err, WA_E_JOB, "path '%s': k = %d needs like", path, request->k);
    if (!wa_path_parse(request->like, &like) || wa_path_is_foreign(like))
        return wa_fail(err, WA_E_JOB, "path '%s': like '%s' is no walk path of ours", path,
                       request->like);
    if (request->k != WA_K_ALL && (request->k < 1 || !wa_spec_takes_k(like)))
        return wa_fail(err, WA_E_JOB,
                       "path '%s' like '%s': found k = %d, which that path does not take", path,
                       request->like, request->k);
    return WA_OK;
}

static wa_status check_foreign(const wa_path_request *request, wa_path path, wa_error *err)
{
    wa_bucket ignored;
    wa_wire wire;
    WA_TRY(check_like(request, err));
    int sources = (request->library != NULL) + (request->file != NULL) + (request->command != NULL);
    if (path == WA_PATH_EXTERNAL && (sources != 1 || request->url != NULL || request->wire != NULL))
        return wa_fail(err, WA_E_JOB, "path 'external' needs one of library, file and command");
    if (path == WA_PATH_SERVED && (sources != 0 || request->url == NULL))
        return wa_fail(err, WA_E_JOB, "path 'served' needs url, and no library, file or command");
    if (request->wire != NULL && !wa_wire_parse(request->wire, &wire))
        return wa_fail(err, WA_E_JOB, "path 'served': no wire is called '%s'", request->wire);
    if (request->bucket != NULL && !wa_bucket_parse(request->bucket, &ignored))
        return wa_fail(err, WA_E_JOB, "path '%s': no bucket is called '%s'", request->path,
                       request->bucket);
    return WA_OK;
}

static wa_status check_request(const wa_path_request *request, wa_path *path, wa_error *err)
{
    if (!wa_path_parse(request->path, path))
        return wa_fail(err, WA_E_JOB, "no path is called '%s'", request->path);
    if (wa_path_is_foreign(*path))
        return check_foreign(request, *path, err);
    if (request->k != WA_K_ALL && !wa_spec_takes_k(*path))
        return wa_fail(err, WA_E_JOB, "path '%s' uses all features: it takes no k, found k = %d",
                       request->path, request->k);
    if (request->k != WA_K_ALL && request->k < 1)
        return wa_fail(err, WA_E_JOB, "path '%s': k is %d, expected at least 1", request->path,
                       request->k);
    if (request->file != NULL || request->library != NULL || request->command != NULL ||
        request->bucket != NULL || request->url != NULL || request->wire != NULL ||
        request->like != NULL || request->kernel_tolerance != 0.0)
        return wa_fail(err, WA_E_JOB,
                       "path '%s': file, library, command, bucket, like and kernel_tolerance "
                       "belong to path 'external', "
                       "url and wire to path 'served'",
                       request->path);
    return WA_OK;
}

/* What an external kernel claims to compute becomes what it reads: its vindex must hold it. */
static wa_status take_like(const builder *b, const wa_case_input *input,
                           const wa_path_request *request, wa_case *item, const char **reason,
                           wa_error *err)
{
    wa_case *like;
    wa_path path;
    if (request->like == NULL)
        return WA_OK;
    if (!wa_path_parse(request->like, &path))
        return wa_fail(err, WA_E_INTERNAL, "like '%s' was not checked", request->like);
    WA_TRY(wa_arena_take(b->arena, 1, sizeof *like, &like, err));
    *like = (wa_case){.name = wa_path_name(path),
                      .vindex = item->vindex,
                      .path = path,
                      .ladder = item->ladder,
                      .k = request->k};
    WA_TRY(wa_spec_resolve(input->vindex, b->model, b->arena, like, reason, err));
    memcpy(item->source, like->source, sizeof item->source);
    item->k_all_layers = like->k_all_layers;
    item->like = like;
    /* nothing that the server rounds is left unknown */
    bool whole = item->wire == WA_WIRE_Q8K && path == WA_PATH_Q8K;
    double usual = item->wire == WA_WIRE_NONE ? WA_FOREIGN_TOLERANCE
                                              : wa_wire_tolerance(whole ? WA_WIRE_F32 : item->wire);
    item->kernel_tolerance = request->kernel_tolerance != 0.0 ? request->kernel_tolerance : usual;
    if (*reason != NULL) {
        char *text;
        WA_TRY(wa_arena_print(b->arena, &text, err, "like '%s': %s", request->like, *reason));
        *reason = text;
    }
    return WA_OK;
}

/* Norms, biases and sinks: all that one has the other has, too. */
static wa_status match_beside(const wa_model *model, const wa_model *other, wa_error *err)
{
    for (size_t i = 0; i < WA_BESIDE_COUNT * model->layer_count; i++) {
        size_t place = i % WA_BESIDE_COUNT, layer = i / WA_BESIDE_COUNT;
        wa_payload payload = wa_beside_payload(place);
        wa_projection projection = (wa_projection)(place % WA_PROJECTION_COUNT);
        if (!wa_payload_is_of_model(payload) || payload == WA_PAYLOAD_ENDS)
            continue;
        bool theirs = wa_model_beside(other, payload, projection, layer).rows > 0,
             ours = wa_model_beside(model, payload, projection, layer).rows > 0;
        if (theirs != ours)
            return wa_fail(err, WA_E_MISMATCH,
                           "path checkpoint_model: layer %zu has '%s' in the %s '%s' alone", layer,
                           wa_beside_name(place), theirs ? "checkpoint" : "model",
                           theirs ? other->path : model->path);
    }
    return WA_OK;
}

/* What the stage's buffers are made for, and the ids that logits are compared at. */
static wa_status match_stream(const wa_model *model, const wa_model *other, wa_error *err)
{
    const struct {
        const char *what;
        size_t theirs, ours;
        bool may_be_more;
    } sizes[] = {{"heads of queries", other->q_heads, model->q_heads, false},
                 {"heads of keys and values", other->kv_heads, model->kv_heads, false},
                 {"values in a head", other->head_dim, model->head_dim, false},
                 {"rotated values in a head", other->rotary_dim, model->rotary_dim, false},
                 {"rows of the embedding", other->embedding.rows, model->embedding.rows, true},
                 {"rows of the output matrix", other->vocab, model->vocab, true},
                 {"positions", other->positions.rows, model->positions.rows, true}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].theirs < sizes[i].ours ||
            (sizes[i].theirs > sizes[i].ours && !sizes[i].may_be_more))
            return wa_fail(
                err, WA_E_MISMATCH,
                "path checkpoint_model: the checkpoint '%s' has %zu %s, the model '%s' %zu",
                other->path, sizes[i].theirs, sizes[i].what, model->path, sizes[i].ours);
    return match_beside(model, other, err);
}

static wa_status offer(const builder *b, size_t at, const wa_path_request *request, wa_path path,
                       bool required, wa_error *err)
{
    const wa_case_input *input = &b->inputs[at];
    wa_case item = {.vindex = (int)at,
                    .path = path,
                    .ladder = input->ladder,
                    .k = request->k,
                    .decode = request->decode};
    const char *reason;
    if (path == WA_PATH_SERVED) {
        item.wire = WA_WIRE_F32;
        if (request->wire != NULL && !wa_wire_parse(request->wire, &item.wire))
            return wa_fail(err, WA_E_INTERNAL, "wire '%s' was not checked", request->wire);
        item.kernel_tolerance = wa_wire_tolerance(item.wire); /* of servers among themselves */
    }
    WA_TRY(wa_spec_resolve(input->vindex, b->model, b->arena, &item, &reason, err));
    if (item.stream != NULL)
        WA_TRY(match_stream(b->model, item.stream, err));
    if (reason == NULL)
        WA_TRY(take_like(b, input, request, &item, &reason, err));
    if (reason != NULL && required)
        return wa_fail(err, WA_E_JOB,
                       "path '%s' is asked for under vindex '%s' and cannot run there: %s",
                       request->path, input->name, reason);
    if (reason != NULL) {
        append_not_offered(b, at, request, reason);
        return WA_OK;
    }
    /* only the user can know which bounds apply: none, unless told */
    if (wa_path_is_foreign(path)) {
        item.library = request->library;
        item.file = request->file;
        item.command = request->command;
        item.directory = request->directory;
        item.timeout = request->timeout;
        item.url = request->url;
        item.isolated = request->file != NULL;
        item.bucket = WA_BUCKET_APPROXIMATE;
        if (request->bucket != NULL && !wa_bucket_parse(request->bucket, &item.bucket))
            return wa_fail(err, WA_E_INTERNAL, "bucket '%s' was not checked", request->bucket);
    }
    WA_TRY(name_case(b, input, request, &item.name, err));
    b->out->items[b->out->count++] = item;
    return WA_OK;
}

static wa_status offer_default_list(const builder *b, size_t at, wa_error *err)
{
    wa_ladder ladder = b->inputs[at].ladder;
    wa_path paths[WA_PATH_COUNT];
    size_t count = wa_spec_defaults(b->inputs[at].vindex, ladder, b->inputs[at].whole, paths);
    for (size_t i = 0; i < count; i++) {
        bool newer = paths[i] == WA_PATH_INTERLEAVED_Q4K && ladder == WA_LADDER_2026_08;
        wa_path_request request = {.path = newer ? WA_PATH_KQUANT_DEQUANT : wa_path_name(paths[i]),
                                   .k = WA_K_ALL};
        WA_TRY(offer(b, at, &request, paths[i], false, err));
    }
    return WA_OK;
}

/* Paths that a job names for all are those of vindexes; a checkpoint has paths of its own, named or
 * not. */
static wa_status offer_requests(const builder *b, size_t at, wa_error *err)
{
    const wa_case_input *input = &b->inputs[at];
    size_t before = b->out->count;
    for (size_t r = 0; r < input->request_count; r++) {
        wa_path path;
        WA_TRY(check_request(&input->requests[r], &path, err));
        WA_TRY(offer(b, at, &input->requests[r], path, input->required, err));
    }
    if (input->vindex->checkpoint != NULL && !input->required && b->out->count == before)
        return offer_default_list(b, at, err);
    return WA_OK;
}

static bool ran(const wa_cases *cases, const wa_path_request *request)
{
    wa_path path;
    if (!wa_path_parse(request->path, &path)) /* a path may have two names */
        return false;
    for (size_t i = 0; i < cases->count; i++) {
        const wa_case *item = &cases->items[i];
        if (item->path == path && item->k == request->k && item->library == request->library &&
            item->file == request->file && item->command == request->command &&
            item->url == request->url)
            return true; /* each of these is borrowed from its request */
    }
    return false;
}

/* Each vindex has a reason of its own. */
static wa_status fail_ran_nowhere(const builder *b, const wa_path_request *request, wa_error *err)
{
    char why[WA_ERROR_TEXT / 2];
    size_t used = 0;
    for (size_t i = 0; i < b->out->not_offered_count; i++) {
        const wa_not_offered *entry = &b->out->not_offered[i];
        wa_path path, other;
        bool known = wa_path_parse(request->path, &path) && wa_path_parse(entry->path, &other);
        if (known && path == other && used < sizeof why)
            used += (size_t)snprintf(why + used, sizeof why - used, "%son '%s': %s",
                                     used == 0 ? "" : "; ", b->inputs[entry->vindex].name,
                                     entry->reason);
    }
    if (used > 0)
        return wa_fail(err, WA_E_JOB, "path '%s' is asked for and runs on no vindex; %s",
                       request->path, why);
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
        room += inputs[i].requests != NULL ? inputs[i].request_count + 2 : WA_PATH_COUNT;
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
    /* LARQL counts the features of all together */
    const wa_experts *experts = model->layers[layer].experts;
    size_t in_model = experts == NULL ? model->layers[layer].up.rows
                                      : experts->count * experts->experts[0].up.rows;
    size_t in_vindex = vindex->layers[layer].features;
    if (in_vindex != 0 && in_vindex != in_model)
        return wa_fail(err, WA_E_MISMATCH,
                       "layer %zu of the vindex has %zu features, the model's has %zu", layer,
                       in_vindex, in_model);
    return WA_OK;
}

/* Are both there, or neither? */
static bool are_alike(const float *a, const float *b)
{
    return (a == NULL) == (b == NULL);
}

/* Both dense, or as many experts of the same shape, chosen and weighed alike. */
static wa_status match_experts(const wa_experts *own, const wa_experts *theirs, size_t layer,
                               wa_error *err)
{
    if (own == NULL && theirs == NULL)
        return WA_OK;
    if (own == NULL || theirs == NULL)
        return wa_fail(err, WA_E_MISMATCH, "layer %zu has experts in the %s alone", layer,
                       own == NULL ? "checkpoint" : "model");
    const struct {
        const char *what;
        size_t theirs, own;
    } sizes[] = {{"experts", theirs->count, own->count},
                 {"experts for each row", theirs->chosen, own->chosen},
                 {"features in an expert", theirs->experts[0].up.rows, own->experts[0].up.rows},
                 {"features in the shared expert", theirs->shared.up.rows, own->shared.up.rows}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].theirs != sizes[i].own)
            return wa_fail(err, WA_E_MISMATCH,
                           "layer %zu: the checkpoint has %zu %s, the model %zu", layer,
                           sizes[i].theirs, sizes[i].what, sizes[i].own);
    if (theirs->renormalised != own->renormalised)
        return wa_fail(err, WA_E_MISMATCH,
                       "layer %zu: the weights of chosen experts sum to 1 in the %s alone", layer,
                       theirs->renormalised ? "checkpoint" : "model");
    const wa_expert *a = &own->experts[0], *b = &theirs->experts[0];
    if (!are_alike(own->router_bias, theirs->router_bias) ||
        !are_alike(a->gate_bias, b->gate_bias) || !are_alike(a->up_bias, b->up_bias) ||
        !are_alike(a->down_bias, b->down_bias))
        return wa_fail(err, WA_E_MISMATCH,
                       "layer %zu: model and checkpoint do not have the same biases of experts",
                       layer);
    return WA_OK;
}

/* What the FFN is beside its matrices: the reference's formula is computed with the other
 * checkpoint's numbers. */
static wa_status match_formula(const wa_model *model, const wa_model *other, wa_error *err)
{
    if (other->gated != model->gated || other->activation != model->activation)
        return wa_fail(err, WA_E_MISMATCH, "the checkpoint's FFN is %s %s, the model's is %s %s",
                       other->gated ? "gated" : "ungated", wa_activation_name(other->activation),
                       model->gated ? "gated" : "ungated", wa_activation_name(model->activation));
    for (size_t l = 0; l < model->layer_count; l++) {
        const wa_layer *own = &model->layers[l], *theirs = &other->layers[l];
        WA_TRY(match_experts(own->experts, theirs->experts, l, err));
        if (!are_alike(own->gate_bias, theirs->gate_bias) ||
            !are_alike(own->up_bias, theirs->up_bias) ||
            !are_alike(own->down_bias, theirs->down_bias))
            return wa_fail(err, WA_E_MISMATCH,
                           "layer %zu: model and checkpoint do not have the same FFN biases", l);
    }
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
    if (vindex->checkpoint != NULL && match_formula(model, vindex->checkpoint, err) != WA_OK)
        return wa_note(err, "checkpoint '%s', model '%s'", vindex->path, model->path);
    return WA_OK;
}
