/* Rows of a checkpoint that lie beside its FFN's matrices: biases, attention, norms, embedding and
 * head. */
#include "vindex/vindex.h"

const char *wa_beside_name(size_t which)
{
    static const char *const names[] = {
#define BESIDE_NAMES(payload, first, second, third) first, second, third,
        WA_BESIDE_LIST(BESIDE_NAMES)
#undef BESIDE_NAMES
    };
    return names[which];
}

wa_payload wa_beside_payload(size_t which)
{
    static const wa_payload payloads[] = {
#define BESIDE_PAYLOAD(payload, first, second, third) WA_PAYLOAD_##payload,
        WA_BESIDE_LIST(BESIDE_PAYLOAD)
#undef BESIDE_PAYLOAD
    };
    return payloads[which / WA_PROJECTION_COUNT];
}

bool wa_payload_is_of_model(wa_payload payload)
{
    return payload >= WA_PAYLOAD_ATTENTION && payload < WA_PAYLOAD_COUNT;
}

bool wa_beside_has_offset(wa_payload payload, wa_projection projection)
{
    return payload == WA_PAYLOAD_ATTENTION_NORMS || payload == WA_PAYLOAD_BLOCK_NORMS ||
           (payload == WA_PAYLOAD_OTHER_NORMS && projection == WA_GATE);
}

wa_matrix wa_vector_rows(const float *values, size_t count, const char *name)
{
    return (wa_matrix){.data = (const uint8_t *)values,
                       .name = name,
                       .format = WA_FORMAT_F32,
                       .order = WA_ROWS_PLAIN,
                       .rows = values == NULL ? 0 : count,
                       .cols = 1,
                       .row_bytes = sizeof *values};
}

/* A layer's matrix, or where matrix is NULL `count` values of a vector, which may be NULL. */
typedef struct part {
    const wa_matrix *matrix;
    const float *vector;
    size_t count;
} part;

/* By projection. The embedding and positions stand at the first layer, what follows the last layer
 * at that. */
static part part_of(const wa_model *m, wa_payload payload, wa_projection projection, size_t at)
{
    const wa_layer *l = &m->layers[at];
    bool first = at == 0, last = at + 1 == m->layer_count;
    size_t hidden = m->hidden, q = m->q_heads * m->head_dim, kv = m->kv_heads * m->head_dim;
    const part parts[][WA_PROJECTION_COUNT] = {
        [WA_PAYLOAD_BIASES] = {{.vector = l->gate_bias, .count = l->up.rows},
                               {.vector = l->up_bias, .count = l->up.rows},
                               {.vector = l->down_bias, .count = hidden}},
        [WA_PAYLOAD_ATTENTION] = {{.matrix = &l->q}, {.matrix = &l->k}, {.matrix = &l->v}},
        [WA_PAYLOAD_ATTENTION_BIASES] = {{.vector = l->q_bias, .count = q},
                                         {.vector = l->k_bias, .count = kv},
                                         {.vector = l->v_bias, .count = kv}},
        [WA_PAYLOAD_ATTENTION_OUT] = {{.matrix = &l->o},
                                      {.vector = l->o_bias, .count = hidden},
                                      {.vector = l->sinks, .count = m->q_heads}},
        [WA_PAYLOAD_ATTENTION_NORMS] = {{.vector = l->q_norm,
                                         .count = m->wide_qk_norm ? q : m->head_dim},
                                        {.vector = l->k_norm,
                                         .count = m->wide_qk_norm ? kv : m->head_dim},
                                        {.vector = l->attn_out.weight, .count = hidden}},
        [WA_PAYLOAD_BLOCK_NORMS] = {{.vector = l->attn_in.weight, .count = hidden},
                                    {.vector = l->ffn_in.weight, .count = hidden},
                                    {.vector = l->ffn_out.weight, .count = hidden}},
        [WA_PAYLOAD_NORM_BIASES] = {{.vector = l->attn_in.bias, .count = hidden},
                                    {.vector = l->ffn_in.bias, .count = hidden},
                                    {.vector = l->ffn_out.bias, .count = hidden}},
        [WA_PAYLOAD_ENDS] = {{.matrix = first ? &m->embedding : NULL},
                             {.matrix = first ? &m->positions : NULL},
                             {.matrix = last ? &m->output : NULL}},
        [WA_PAYLOAD_OTHER_NORMS] = {{.vector = last ? m->final_norm.weight : NULL, .count = hidden},
                                    {.vector = last ? m->final_norm.bias : NULL, .count = hidden},
                                    {.vector = l->attn_out.bias, .count = hidden}}};
    return parts[payload][projection];
}

wa_matrix wa_model_beside(const wa_model *model, wa_payload payload, wa_projection projection,
                          size_t layer)
{
    part own = part_of(model, payload, projection, layer);
    return own.matrix != NULL ? *own.matrix : wa_vector_rows(own.vector, own.count, "");
}
