/* Views of stored projections: which payload holds one, where it starts, how wide its rows are. */
#include "vindex/parts.h"

static const wa_payload ORDINARY[WA_PROJECTION_COUNT] = {WA_PAYLOAD_GATE, WA_PAYLOAD_UP_FEATURES,
                                                         WA_PAYLOAD_DOWN_FEATURES};

bool wa_payload_holds(wa_payload payload, wa_projection projection)
{
    switch (payload) {
    case WA_PAYLOAD_GATE:
        return projection == WA_GATE;
    case WA_PAYLOAD_UP_FEATURES:
        return projection == WA_UP;
    case WA_PAYLOAD_DOWN_FEATURES:
    case WA_PAYLOAD_DOWN_FEATURES_Q4K:
        return projection == WA_DOWN;
    case WA_PAYLOAD_INTERLEAVED:
    case WA_PAYLOAD_INTERLEAVED_Q4:
    case WA_PAYLOAD_INTERLEAVED_Q4K:
    case WA_PAYLOAD_CHECKPOINT:
    case WA_PAYLOAD_EXPERTS:
    case WA_PAYLOAD_ROUTER:
    case WA_PAYLOAD_SHARED:
    case WA_PAYLOAD_BIASES:
    case WA_PAYLOAD_ATTENTION:
    case WA_PAYLOAD_ATTENTION_BIASES:
    case WA_PAYLOAD_ATTENTION_OUT:
    case WA_PAYLOAD_ATTENTION_NORMS:
    case WA_PAYLOAD_BLOCK_NORMS:
    case WA_PAYLOAD_NORM_BIASES:
    case WA_PAYLOAD_ENDS:
    case WA_PAYLOAD_OTHER_NORMS:
        return true;
    case WA_PAYLOAD_FP4:
        return projection != WA_GATE; /* no walk path reads an FP4 gate (vindex-format 8) */
    case WA_PAYLOAD_COUNT:
        break;
    }
    return false;
}

bool wa_payload_down_is_feature_major(wa_payload payload)
{
    return payload != WA_PAYLOAD_INTERLEAVED_Q4K && payload != WA_PAYLOAD_CHECKPOINT &&
           !wa_payload_is_of_experts(payload) && !wa_payload_is_of_model(payload);
}

bool wa_fp4_has_blocks(wa_fp4_precision precision)
{
    return precision == WA_FP4_PRECISION_FP4 || precision == WA_FP4_PRECISION_FP8;
}

wa_format wa_fp4_format(wa_fp4_precision precision)
{
    return precision == WA_FP4_PRECISION_FP4 ? WA_FORMAT_FP4 : WA_FORMAT_FP8;
}

wa_payload wa_vindex_serving(const wa_vindex *vindex, wa_payload payload, wa_projection projection)
{
    if (payload == WA_PAYLOAD_GATE && vindex->gate_is_remade)
        return WA_PAYLOAD_INTERLEAVED_Q4K;
    if (payload == WA_PAYLOAD_FP4 && !wa_fp4_has_blocks(vindex->maps->fp4[projection].precision))
        return ORDINARY[projection];
    return payload;
}

/* Rows of `elements` stored elements, `first_row` of them before the layer's own. */
static void place_rows(wa_matrix *out, const uint8_t *base, wa_format format, size_t elements,
                       size_t first_row)
{
    const wa_format_info *info = wa_format_get(format);
    out->format = format;
    out->row_bytes = elements / info->block_elements * info->block_bytes;
    out->data = base + first_row * out->row_bytes;
}

/* vindex-format 4.4. Down of the interleaved file is [H, F], a column is a feature. */
static void place_kquant(const wa_vindex *vindex, wa_payload payload, wa_projection projection,
                         size_t layer, wa_matrix *out)
{
    const wa_vindex_maps *maps = vindex->maps;
    bool interleaved = payload == WA_PAYLOAD_INTERLEAVED_Q4K;
    const wa_kquant_slice *slice = interleaved ? &maps->interleaved_q4k[3 * layer + projection]
                                               : &maps->down_features_q4k[layer];
    place_rows(out, maps->payload[payload].bytes.data + slice->offset, slice->format,
               slice->padded_cols, 0);
    if (interleaved && projection == WA_DOWN) {
        out->cols = out->rows;
        out->rows = vindex->hidden;
    }
}

/* vindex-format 3.1, 3.3, 3.4, 4.3, 4.6. In bounds: V3, V5, V6, V9. */
static void place(const wa_vindex *vindex, wa_payload payload, wa_projection projection,
                  size_t layer, wa_matrix *out)
{
    const wa_vindex_layer *at = &vindex->layers[layer];
    const wa_vindex_maps *maps = vindex->maps;
    const uint8_t *base = maps->payload[payload].bytes.data;
    size_t in_triple = 3 * at->feature_start + (size_t)projection * at->features;
    switch (payload) {
    case WA_PAYLOAD_GATE:
        place_rows(out, base + at->gate_offset, vindex->gate_format, vindex->hidden, 0);
        break;
    case WA_PAYLOAD_INTERLEAVED:
        place_rows(out, base, WA_FORMAT_F32, vindex->hidden, in_triple);
        break;
    case WA_PAYLOAD_INTERLEAVED_Q4: /* layers are alike: vindex-format 4.3 */
        place_rows(out, base,
                   maps->q4_formats == NULL
                       ? WA_FORMAT_GGML_Q4_0
                       : maps->q4_formats[WA_PROJECTION_COUNT * layer + projection],
                   vindex->hidden, in_triple);
        break;
    case WA_PAYLOAD_INTERLEAVED_Q4K:
    case WA_PAYLOAD_DOWN_FEATURES_Q4K:
        place_kquant(vindex, payload, projection, layer, out);
        break;
    case WA_PAYLOAD_FP4:
        out->name = maps->fp4[projection].file;
        place_rows(out, maps->fp4[projection].map.bytes.data,
                   wa_fp4_format(maps->fp4[projection].precision), maps->fp4_row_elements,
                   at->feature_start);
        break;
    default:
        place_rows(out, base, WA_FORMAT_F32, vindex->hidden, at->feature_start);
        break;
    }
}

/* The other checkpoint's own view, under the name of the file or directory. */
static wa_matrix view_checkpoint(const wa_vindex *vindex, wa_projection projection, size_t layer)
{
    const wa_layer *own = &vindex->checkpoint->layers[layer];
    wa_matrix view = projection == WA_GATE ? own->gate : projection == WA_UP ? own->up : own->down;
    view.name = wa_vindex_file(vindex, WA_PAYLOAD_CHECKPOINT);
    return view;
}

wa_status wa_vindex_matrix(const wa_vindex *vindex, wa_payload payload, wa_projection projection,
                           size_t layer, wa_matrix *out, wa_error *err)
{
    if (payload >= WA_PAYLOAD_COUNT || !vindex->readable[payload] ||
        !wa_payload_holds(payload, projection) || layer >= vindex->layer_count)
        return wa_fail(err, WA_E_INTERNAL, "no readable %s matrix of layer %zu in payload %d",
                       wa_projection_name(projection), layer, (int)payload);

    if (wa_payload_is_of_experts(payload)) { /* matrices of a stack: wa_experts_matrix */
        *out = (wa_matrix){.name = wa_vindex_file(vindex, payload),
                           .format = WA_FORMAT_F32,
                           .cols = vindex->hidden};
        return WA_OK;
    }
    if (payload == WA_PAYLOAD_CHECKPOINT) {
        *out = view_checkpoint(vindex, projection, layer);
        return WA_OK;
    }
    wa_payload serving = wa_vindex_serving(vindex, payload, projection);
    wa_matrix view = {.name = wa_vindex_file(vindex, serving),
                      .format = WA_FORMAT_F32,
                      .order = WA_ROWS_PLAIN,
                      .rows = vindex->layers[layer].features,
                      .cols = vindex->hidden,
                      .through_f16 =
                          serving == WA_PAYLOAD_INTERLEAVED_Q4K && payload == WA_PAYLOAD_GATE};
    if (view.rows > 0)
        place(vindex, serving, projection, layer, &view);
    *out = view;
    return WA_OK;
}

static bool find_in(const wa_map *map, const uint8_t *data, uint64_t *out)
{
    if (map->bytes.data == NULL || data < map->bytes.data ||
        data >= map->bytes.data + map->bytes.size)
        return false;
    *out = (uint64_t)(data - map->bytes.data);
    return true;
}

bool wa_vindex_offset(const wa_vindex *vindex, const wa_matrix *matrix, uint64_t *out)
{
    const wa_vindex_maps *maps = vindex->maps;
    for (int p = 0; p < WA_PAYLOAD_COUNT; p++)
        if (find_in(&maps->payload[p], matrix->data, out))
            return true;
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        if (find_in(&maps->fp4[p].map, matrix->data, out))
            return true;
    for (size_t l = 0; maps->layer_files != NULL && l < vindex->layer_count; l++)
        if (find_in(&maps->layer_files[l].map, matrix->data, out))
            return true;
    return find_in(&maps->norms, matrix->data, out);
}

static size_t count_nonfinite(const float *row, size_t n, size_t *first)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = wa_load_u32(&row[i]);
        if ((bits & 0x7f800000u) != 0x7f800000u)
            continue;
        if (count == 0)
            *first = i;
        count++;
    }
    return count;
}

wa_nonfinite wa_matrix_nonfinite(const wa_matrix *matrix, float *scratch)
{
    wa_nonfinite found = {0};
    for (size_t r = 0; r < matrix->rows; r++) {
        wa_matrix_decode(matrix, r, 1, scratch);
        size_t first = 0;
        size_t count = count_nonfinite(scratch, matrix->cols, &first);
        if (count > 0 && found.count == 0) {
            found.first_row = r;
            found.first_col = first;
        }
        found.count += count;
    }
    return found;
}
