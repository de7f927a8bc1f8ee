/* Which stored matrices are compared with which of the model's, once in a job, and what that
 * takes. */
#include "engine/checked.h"

#include "path/evaluate.h"

/* The model's matrix behind one of a vindex. */
static wa_matrix truth_of(const wa_checked *of, const wa_stored_place *place, size_t i)
{
    const wa_layer *own = &of->model->layers[place->layer];
    bool of_model = wa_payload_is_of_model(place->payload);
    if (of_model || (place->payload == WA_PAYLOAD_BIASES && own->experts == NULL))
        return wa_model_beside(of->model, place->payload, place->projection, place->layer);
    if (own->experts != NULL)
        return wa_experts_matrix(own->experts, place->payload, place->projection, i);
    if (place->projection == WA_DOWN)
        return own->down;
    /* of ungated models the gate file holds the up rows */
    return place->projection == WA_UP || !of->model->gated ? own->up : own->gate;
}

/* Both output matrices are the embeddings, which are compared as such. */
static bool is_embedding_again(const wa_checked *of, const wa_stored_place *place)
{
    return place->payload == WA_PAYLOAD_ENDS && place->projection == WA_DOWN && of->model->tied &&
           place->vindex->checkpoint->tied;
}

bool wa_checked_place(const wa_checked *of, size_t vindex, size_t number, size_t layer,
                      wa_stored_place *out)
{
    const wa_stored_place place = {.vindex = of->vindexes[vindex],
                                   .layer = layer,
                                   .payload = (wa_payload)(number / WA_PROJECTION_COUNT),
                                   .projection = (wa_projection)(number % WA_PROJECTION_COUNT)};
    if (!wa_cases_read(of->cases, of->case_count, vindex, place.payload, place.projection) ||
        wa_checked_stack(&place) == 0 || truth_of(of, &place, 0).rows == 0 ||
        is_embedding_again(of, &place))
        return false;
    *out = place;
    return true;
}

size_t wa_checked_stack(const wa_stored_place *place)
{
    return wa_vindex_stack(place->vindex, place->payload, place->projection, place->layer);
}

bool wa_checked_is_turned(const wa_stored_place *place)
{
    return place->projection == WA_DOWN && wa_payload_down_is_feature_major(place->payload);
}

wa_status wa_checked_pair(const wa_checked *of, const wa_stored_place *place, size_t i,
                          wa_encoding_pair *out, wa_error *err)
{
    wa_encoding_pair pair = {.model = truth_of(of, place, i)};
    WA_TRY(wa_vindex_stack_matrix(place->vindex, place->payload, place->projection, place->layer, i,
                                  &pair.stored, err));
    if (place->payload == WA_PAYLOAD_ENDS) /* which may have more */
        pair.stored.rows = pair.model.rows;
    if (wa_beside_has_offset(place->payload, place->projection))
        pair.offset = place->vindex->checkpoint->norm_offset;
    *out = pair;
    return WA_OK;
}

size_t wa_checked_bytes(const wa_encoding_pair *pair)
{
    return wa_matrix_bytes(&pair->stored) + wa_matrix_bytes(&pair->model);
}

/* --- What it takes ---------------------------------------------------------------------------- */

/*
 * A number takes as long as so many of plain floats, or of blocks that our encoder makes again.
 * Processor time of two layers of a 1B model in bf16: 1.3 ns as bf16, 0.8 in a Q4_K vindex; held
 * against the nearest levels Q4_0 6.9, Q4_K 7.1, Q8_0 8.4, and where these are uneven (IQ4_XS) 45.
 */
static double effort_of(const wa_encoding_pair *pair, const wa_stored_place *place)
{
    static const double levels = 6.0, uneven = 35.0;
    wa_format format = pair->stored.format;
    if (wa_format_is_float(format) || wa_payload_encoded_by(place->payload) == WA_ENCODED_LARQL)
        return 1.0;
    return format == WA_FORMAT_GGML_IQ4_NL || format == WA_FORMAT_GGML_IQ4_XS ? uneven : levels;
}

static wa_status add_place(const wa_checked *of, const wa_stored_place *place,
                           wa_checked_cost *cost, wa_error *err)
{
    size_t count = wa_checked_stack(place), memory = 0;
    for (size_t i = 0; i < count; i++) {
        wa_encoding_pair pair;
        WA_TRY(wa_checked_pair(of, place, i, &pair, err));
        cost->bytes += (double)wa_checked_bytes(&pair);
        cost->numbers +=
            effort_of(&pair, place) * (double)pair.stored.rows * (double)pair.stored.cols;
        memory = wa_encoding_memory(&pair, count, wa_checked_is_turned(place));
    }
    cost->memory = memory > cost->memory ? memory : cost->memory;
    return WA_OK;
}

wa_status wa_checked_sum_costs(const wa_checked *of, size_t vindex, wa_checked_cost *out,
                               wa_error *err)
{
    *out = (wa_checked_cost){0};
    for (size_t layer = 0; layer < of->model->layer_count; layer++)
        for (size_t number = 0; number < WA_CHECKED_PLACES; number++) {
            wa_stored_place place;
            if (wa_checked_place(of, vindex, number, layer, &place))
                WA_TRY(add_place(of, &place, out, err));
        }
    return WA_OK;
}
