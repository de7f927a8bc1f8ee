/* A layer as a case reads it: views of the model's and the vindex's matrices, and what it costs. */
#include "path/walk.h"

#include "path/external.h"
#include "path/oracle.h"

static const wa_matrix *model_matrix(const wa_layer *layer, wa_projection projection)
{
    switch (projection) {
    case WA_GATE:
        return &layer->gate;
    case WA_UP:
        return &layer->up;
    default:
        return &layer->down;
    }
}

bool wa_case_reads(const wa_case *which, wa_projection projection, wa_payload *payload)
{
    bool ranks =
        projection == WA_GATE && which->path == WA_PATH_WEIGHTS_FALLBACK && which->k != WA_K_ALL;
    if (which->vindex < 0 || (which->source[projection].from_model && !ranks))
        return false;
    *payload =
        which->source[projection].from_model ? WA_PAYLOAD_GATE : which->source[projection].payload;
    return true;
}

bool wa_case_reads_payload(const wa_case *which, wa_payload payload, wa_projection projection)
{
    const wa_case *formula = which->like != NULL ? which->like : which;
    bool computes_experts =
        wa_path_is_checkpoint(formula->path) || wa_path_is_of_experts(formula->path);
    wa_payload own;
    if (wa_payload_is_of_model(payload))
        return formula->path == WA_PATH_CHECKPOINT_MODEL && which->vindex >= 0;
    if (payload == WA_PAYLOAD_ROUTER || payload == WA_PAYLOAD_SHARED ||
        payload == WA_PAYLOAD_BIASES)
        return computes_experts && which->vindex >= 0;
    return wa_case_reads(which, projection, &own) && own == payload;
}

bool wa_cases_read(const wa_case *cases, size_t count, size_t vindex, wa_payload payload,
                   wa_projection projection)
{
    for (size_t c = 0; c < count; c++)
        if (cases[c].vindex == (int)vindex && cases[c].not_run == NULL &&
            wa_case_reads_payload(&cases[c], payload, projection))
            return true;
    return false;
}

wa_status wa_case_stored(const wa_case *which, const wa_vindex *vindex, wa_projection projection,
                         size_t layer, wa_matrix *out, wa_error *err)
{
    wa_payload payload;
    if (!wa_case_reads(which, projection, &payload))
        return wa_fail(err, WA_E_INTERNAL, "case '%s' reads no %s of its vindex", which->name,
                       wa_projection_name(projection));
    wa_projection stored = wa_payload_holds(payload, projection) ? projection : WA_GATE;
    return wa_vindex_matrix(vindex, payload, stored, layer, out, err);
}

static wa_status take_matrix(const wa_case *which, const wa_model *model, const wa_vindex *vindex,
                             wa_walk_layer *out, wa_projection projection, wa_error *err)
{
    wa_matrix *to[WA_PROJECTION_COUNT] = {&out->gate, &out->up, &out->down};
    const wa_source *source = &which->source[projection];
    bool of_experts = !source->from_model && wa_payload_is_of_experts(source->payload);
    if (of_experts && vindex != NULL &&
        wa_vindex_stack(vindex, source->payload, projection, out->layer) == 1)
        return wa_vindex_stack_matrix(vindex, source->payload, projection, out->layer, 0,
                                      to[projection], err);
    if (source->from_model || of_experts) { /* of a layer without experts that has no file */
        *to[projection] = *model_matrix(&model->layers[out->layer], projection);
        out->of_model = of_experts;
        return WA_OK;
    }
    if (vindex == NULL)
        return wa_fail(err, WA_E_INTERNAL, "case '%s' needs a vindex", which->name);
    return wa_case_stored(which, vindex, projection, out->layer, to[projection], err);
}

/* The rows whose scores rank features: the gate file's, for the paths that leave features out or
 * sum in rank order. */
static wa_status take_select(const wa_case *which, const wa_vindex *vindex, wa_walk_layer *out,
                             wa_error *err)
{
    if (which->like != NULL)
        which = which->like;
    bool ranks =
        wa_case_is_loop(which) || (which->path == WA_PATH_WEIGHTS_FALLBACK && which->k != WA_K_ALL);
    if (!ranks)
        return WA_OK;
    if (vindex == NULL)
        return wa_fail(err, WA_E_INTERNAL, "case '%s' needs a vindex", which->name);
    return wa_vindex_matrix(vindex, WA_PAYLOAD_GATE, WA_GATE, out->layer, &out->select, err);
}

static wa_status check_shape(const wa_walk_layer *l, const wa_matrix *matrix, size_t rows,
                             size_t cols, wa_error *err)
{
    if (matrix->rows != rows || matrix->cols != cols)
        return wa_fail(err, WA_E_MISMATCH, "layer %zu: %s is %zu x %zu, expected %zu x %zu",
                       l->layer, matrix->name, matrix->rows, matrix->cols, rows, cols);
    return WA_OK;
}

static wa_status check_shapes(const wa_walk_layer *l, wa_error *err)
{
    if (l->gated)
        WA_TRY(check_shape(l, &l->gate, l->features, l->hidden, err));
    if (l->select.rows > 0)
        WA_TRY(check_shape(l, &l->select, l->features, l->hidden, err));
    WA_TRY(check_shape(l, &l->up, l->features, l->hidden, err));
    return l->down_is_feature_major ? check_shape(l, &l->down, l->features, l->hidden, err)
                                    : check_shape(l, &l->down, l->hidden, l->features, err);
}

bool wa_case_serves(const wa_case *which, size_t layer)
{
    const wa_external *external = which->external;
    return external == NULL || external->serves == NULL || external->serves[layer] != 0;
}

wa_status wa_case_open_layer(const wa_case *which, const wa_model *model, const wa_vindex *vindex,
                             size_t layer, wa_walk_layer *out, wa_error *err)
{
    if (layer >= model->layer_count)
        return wa_fail(err, WA_E_INTERNAL, "layer %zu of %zu", layer, model->layer_count);
    const wa_case dense = wa_case_dense();
    if (!wa_case_serves(which, layer))
        which = &dense;
    const wa_source *down = &which->source[WA_DOWN];
    /* A vindex has no place for biases; another checkpoint has its own. */
    bool other = !down->from_model && vindex != NULL && vindex->checkpoint != NULL;
    const wa_layer *biases = other ? &vindex->checkpoint->layers[layer] : &model->layers[layer];
    wa_walk_layer l = {.down_is_feature_major =
                           !down->from_model && wa_payload_down_is_feature_major(down->payload),
                       .gate_bias = biases->gate_bias,
                       .up_bias = biases->up_bias,
                       .down_bias = biases->down_bias,
                       .experts = model->layers[layer].experts,
                       .activation = model->activation,
                       .gated = model->gated,
                       .features = model->layers[layer].up.rows,
                       .hidden = model->hidden,
                       .layer = layer};
    if (l.experts != NULL) { /* of walk paths only those that compute experts get here: spec.c */
        l.experts = down->from_model ? l.experts : wa_vindex_experts_at(vindex, layer);
        if (l.experts == NULL)
            return wa_fail(err, WA_E_INTERNAL, "case '%s': no experts in layer %zu of its vindex",
                           which->name, layer);
        l.features = l.experts->widest;
        *out = l;
        return WA_OK;
    }
    if (model->gated)
        WA_TRY(take_matrix(which, model, vindex, &l, WA_GATE, err));
    WA_TRY(take_matrix(which, model, vindex, &l, WA_UP, err));
    WA_TRY(take_matrix(which, model, vindex, &l, WA_DOWN, err));
    WA_TRY(take_select(which, vindex, &l, err));
    if (check_shapes(&l, err) != WA_OK)
        return wa_note(err, "case '%s'", which->name);
    *out = l;
    return WA_OK;
}

bool wa_case_is_loop(const wa_case *which)
{
    return which->kernel == WA_LABEL_SPARSE_SERIAL ||
           which->kernel == WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN;
}

const wa_case *wa_case_oracle(const wa_case *which)
{
    if (which->not_run != NULL)
        return NULL;
    return wa_path_is_foreign(which->path) ? which->like : which;
}

size_t wa_case_hit_count(const wa_case *which, size_t features)
{
    return which->k != WA_K_ALL && (size_t)which->k < features ? (size_t)which->k : features;
}

bool wa_fallback_uses_all(const wa_case *which, size_t features)
{
    size_t used = wa_case_hit_count(which, features);
    return which->k == WA_K_ALL || used >= features - features / 5; /* 5 used >= 4 features */
}

/* Of the router, the chosen experts and the shared one. */
static double expert_flops(const wa_walk_layer *l, size_t rows)
{
    const wa_experts *experts = l->experts;
    double features =
        (double)(experts->chosen * experts->experts[0].up.rows + experts->shared.up.rows);
    return 2.0 * (double)rows * (double)l->hidden * ((double)experts->count + 3.0 * features);
}

double wa_case_flops(const wa_case *which, const wa_walk_layer *l, size_t rows)
{
    if (l->experts != NULL)
        return expert_flops(l, rows);
    double product = 2.0 * (double)rows * (double)l->features * (double)l->hidden;
    double products = l->gated ? 3.0 : 2.0;
    if (wa_case_is_loop(which)) { /* all scores, then up and down of the hits */
        double share = l->features == 0
                           ? 0.0
                           : (double)wa_case_hit_count(which, l->features) / (double)l->features;
        return product * (1.0 + (products - 1.0) * share);
    }
    bool ranks = l->select.rows > 0 && !wa_fallback_uses_all(which, l->features);
    return product * (products + (ranks ? 1.0 : 0.0));
}

size_t wa_case_bytes(const wa_case *which, const wa_walk_layer *l)
{
    const wa_matrix *read[] = {&l->gate, &l->up, &l->down, &l->select};
    bool skip_select = wa_case_is_loop(which); /* it is the gate, or ungated the up rows */
    size_t bytes = 0;
    if (wa_path_is_foreign(which->path)) /* what it reads is its own affair */
        return 0;
    if (l->experts != NULL) /* at most: those that no row chose are not read */
        return wa_experts_bytes(l->experts);
    for (size_t i = 0; i < sizeof read / sizeof read[0] - (skip_select ? 1 : 0); i++)
        bytes += read[i]->rows > 0 ? wa_matrix_bytes(read[i]) : 0;
    return bytes;
}

static bool computes_experts(const wa_case *which, const wa_walk_layer *l)
{
    return l->experts != NULL && !wa_path_is_foreign(which->path);
}

double wa_case_expert_flops(const wa_case *which, const wa_walk_layer *l, size_t rows)
{
    if (!computes_experts(which, l))
        return 0.0;
    double features = (double)(l->experts->chosen * l->experts->experts[0].up.rows);
    return 6.0 * (double)rows * (double)l->hidden * features;
}

size_t wa_case_expert_bytes(const wa_case *which, const wa_walk_layer *l)
{
    if (!computes_experts(which, l))
        return 0;
    wa_experts own = *l->experts; /* but for the router and the shared one */
    own.router = own.shared_gate = (wa_matrix){.rows = 0};
    own.shared = (wa_expert){.gate_bias = NULL};
    return wa_experts_bytes(&own);
}
