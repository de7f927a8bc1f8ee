/* Which stored matrices are compared with which of the model's, once in a job, and what that
 * takes. */
#include "engine/checked.h"

#include "base/clock.h"

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

/* Does some case that runs read it? A vindex may store a projection in several payloads: each that
 * a case reads is checked once, and answers for itself. */
static bool is_read(const wa_checked *of, size_t vindex, wa_payload payload,
                    wa_projection projection)
{
    for (size_t c = 0; c < of->case_count; c++) {
        const wa_case *which = &of->cases[c];
        if (which->vindex == (int)vindex && which->not_run == NULL &&
            wa_case_reads_payload(which, payload, projection))
            return true;
    }
    return false;
}

bool wa_checked_place(const wa_checked *of, size_t vindex, size_t number, size_t layer,
                      wa_stored_place *out)
{
    const wa_stored_place place = {.vindex = of->vindexes[vindex],
                                   .layer = layer,
                                   .payload = (wa_payload)(number / WA_PROJECTION_COUNT),
                                   .projection = (wa_projection)(number % WA_PROJECTION_COUNT)};
    if (!is_read(of, vindex, place.payload, place.projection) || wa_checked_stack(&place) == 0 ||
        truth_of(of, &place, 0).rows == 0 || is_embedding_again(of, &place))
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

/* Enough of a matrix to time, and of one that is turned whole units of columns. */
enum { SAMPLE = 1 << 19, UNIT = 256 };

static wa_encoding_pair sample_of(const wa_encoding_pair *pair, bool turned)
{
    wa_encoding_pair some = *pair;
    size_t rows = SAMPLE / pair->stored.cols, all = pair->stored.rows;
    rows = turned ? (rows / UNIT + 1) * UNIT : rows + 1;
    if (rows >= all)
        return some;
    some.stored.rows = rows;
    if (turned)
        some.model = wa_matrix_columns(&pair->model, 0, rows);
    else
        some.model.rows = rows;
    return some;
}

/* Seconds of a processor for a value: compared, and digested as afterwards. */
static wa_status time_value(const wa_encoding_pair *pair, const wa_stored_place *place,
                            wa_arena *arena, double *out, wa_error *err)
{
    bool turned = wa_checked_is_turned(place);
    const wa_encoding_pair some = sample_of(pair, turned);
    double start = 0.0;
    for (int turn = 0; turn < 2; turn++) { /* the first touches pages */
        wa_row_error ignored;
        wa_short_digest digest;
        start = wa_processor_clock();
        WA_TRY(wa_encoding_check_all(&some, 1, turned, wa_payload_encoded_by(place->payload), arena,
                                     &ignored, NULL, err));
        WA_TRY(wa_digest_short(wa_matrix_span(&some.stored), &digest, err));
    }
    *out = (wa_processor_clock() - start) / (double)(some.stored.rows * some.stored.cols);
    return WA_OK;
}

/* One place at a layer. seconds: [WA_FORMAT_COUNT] for a value of those that were timed, else 0;
 * NULL = nothing is timed. */
static wa_status add_place(const wa_checked *of, const wa_stored_place *place, double *seconds,
                           wa_arena *arena, wa_checked_cost *cost, wa_error *err)
{
    size_t count = wa_checked_stack(place), memory = 0;
    for (size_t i = 0; i < count; i++) {
        wa_encoding_pair pair;
        WA_TRY(wa_checked_pair(of, place, i, &pair, err));
        wa_format format = pair.stored.format;
        if (seconds != NULL && seconds[format] == 0.0)
            WA_TRY(time_value(&pair, place, arena, &seconds[format], err));
        cost->bytes += (double)wa_checked_bytes(&pair);
        if (seconds != NULL)
            cost->seconds += seconds[format] * (double)(pair.stored.rows * pair.stored.cols);
        memory = wa_encoding_memory(&pair, count, wa_checked_is_turned(place));
    }
    cost->memory = memory > cost->memory ? memory : cost->memory;
    return WA_OK;
}

wa_status wa_checked_take_costs(const wa_checked *of, size_t vindex, bool timed, wa_arena *arena,
                                wa_checked_cost *out, wa_error *err)
{
    for (size_t layer = 0; layer < of->model->layer_count; layer++)
        out[layer] = (wa_checked_cost){0};
    for (size_t number = 0; number < WA_CHECKED_PLACES; number++) {
        double seconds[WA_FORMAT_COUNT] = {0};
        wa_stored_place place;
        for (size_t layer = 0; layer < of->model->layer_count; layer++)
            if (wa_checked_place(of, vindex, number, layer, &place))
                WA_TRY(add_place(of, &place, timed ? seconds : NULL, arena, &out[layer], err));
    }
    return WA_OK;
}
