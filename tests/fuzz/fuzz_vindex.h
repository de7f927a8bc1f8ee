/* A small vindex around the one file that a target makes up: 2 layers of 16 features, H 32,
 * vocabulary 8. */
#ifndef WALKAUDIT_FUZZ_VINDEX_H
#define WALKAUDIT_FUZZ_VINDEX_H

#include "fuzz.h"
#include "vindex/experts.h"
#include "vindex/flags.h"
#include "vindex/parts.h"
#include "vindex/scan.h"

#define FUZZ_INDEX_HEAD                                                                            \
    "{\"version\": 2, \"model\": \"m\", \"family\": \"llama\", \"num_layers\": 2, "                \
    "\"hidden_size\": 32, \"intermediate_size\": 16, \"vocab_size\": 8, \"embed_scale\": 1.0, "    \
    "\"layers\": [{\"layer\": 0, \"num_features\": 16, \"offset\": 0, \"length\": 2048}, "         \
    "{\"layer\": 1, \"num_features\": 16, \"offset\": 2048, \"length\": 2048}], \"down_top_k\": 2"

static inline void fuzz_write_index(const char *tail)
{
    char text[4096];
    int length = snprintf(text, sizeof text, FUZZ_INDEX_HEAD "%s}", tail);
    fuzz_require(length > 0 && (size_t)length < sizeof text, "index.json");
    fuzz_write("index.json", text, (size_t)length);
}

static inline bool fuzz_is_inside(wa_bytes map, const uint8_t *at, size_t size)
{
    uintptr_t begin = (uintptr_t)map.data, place = (uintptr_t)at;
    return map.data != NULL && place >= begin && place - begin <= map.size &&
           size <= map.size - (place - begin);
}

/* A map is no heap block, so no sanitizer watches its ends. */
static inline void fuzz_check_view(const wa_vindex *vindex, const wa_matrix *m)
{
    const wa_vindex_maps *maps = vindex->maps;
    size_t stored = m->order == WA_ROWS_TRANSPOSED ? m->cols : m->rows, size;
    fuzz_require(wa_size_mul(stored, m->row_bytes, &size), "a view's size overflows");
    if (m->order == WA_ROWS_FLAT || m->scales.data != NULL)
        size = wa_matrix_span(m).size;
    bool inside = false;
    for (size_t p = 0; p < WA_PAYLOAD_COUNT; p++)
        inside = inside || fuzz_is_inside(maps->payload[p].bytes, m->data, size);
    for (size_t p = 0; p < WA_PROJECTION_COUNT; p++)
        inside = inside || fuzz_is_inside(maps->fp4[p].map.bytes, m->data, size);
    for (size_t p = 0; p < WA_WEIGHT_FILES; p++)
        inside = inside || fuzz_is_inside(maps->weights[p].map.bytes, m->data, size);
    for (size_t l = 0; maps->layer_files != NULL && l < vindex->layer_count; l++)
        inside = inside || fuzz_is_inside(maps->layer_files[l].map.bytes, m->data, size);
    inside = inside || fuzz_is_inside(maps->norms.bytes, m->data, size);
    fuzz_require(inside, "a view leaves its file");
}

static inline void fuzz_check_scales(const wa_vindex *vindex, const wa_matrix *m)
{
    bool inside = false;
    wa_bytes scales = wa_matrix_scale_span(m);
    for (size_t l = 0; l < vindex->layer_count; l++)
        inside = inside ||
                 fuzz_is_inside(vindex->maps->layer_files[l].map.bytes, scales.data, scales.size);
    fuzz_require(inside, "scales leave their file");
}

static inline void fuzz_read_view(const wa_vindex *vindex, const wa_matrix *m)
{
    if (m->rows == 0)
        return;
    fuzz_check_view(vindex, m);
    if (m->scales.data != NULL)
        fuzz_check_scales(vindex, m);
    float *row = malloc(m->cols * sizeof *row);
    fuzz_require(row != NULL, "memory");
    if (m->order == WA_ROWS_PLAIN || m->order == WA_ROWS_FLAT)
        (void)wa_matrix_nonfinite(m, row);
    wa_matrix_decode(m, m->rows - 1, 1, row);
    free(row);
}

static inline void fuzz_read_all(const wa_vindex *vindex)
{
    wa_error err = {0};
    wa_matrix m;
    for (size_t l = 0; l < vindex->layer_count; l++)
        for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
            wa_projection projection = (wa_projection)p;
            for (int q = 0; q < WA_PAYLOAD_COUNT; q++) {
                wa_payload payload = (wa_payload)q;
                if (!vindex->readable[q] || !wa_payload_holds(payload, projection))
                    continue;
                fuzz_require(vindex->present[q], "readable but not present");
                fuzz_require(wa_vindex_matrix(vindex, payload, projection, l, &m, &err) == WA_OK,
                             err.text);
                fuzz_read_view(vindex, &m);
            }
            if (projection != WA_GATE && wa_vindex_weight(vindex, projection, l, &m))
                fuzz_read_view(vindex, &m);
        }
}

static inline void fuzz_read_expert(const wa_vindex *vindex, const wa_expert *expert)
{
    fuzz_read_view(vindex, &expert->gate);
    fuzz_read_view(vindex, &expert->up);
    fuzz_read_view(vindex, &expert->down);
}

/* Layer files beside a model of the same shape. */
static inline void fuzz_read_experts(const wa_vindex *vindex, wa_arena *arena)
{
    enum { MOST = 64 };
    wa_error err = {0};
    for (size_t l = 0; l < vindex->layer_count; l++) {
        wa_layer_store store = wa_vindex_layer_store(vindex, l);
        wa_expert list[MOST];
        wa_vindex_experts found;
        if (store.entries == 0 || store.entries > MOST)
            continue;
        for (size_t e = 0; e < store.entries; e++) {
            fuzz_require(wa_vindex_expert(vindex, l, e, &list[e], &err) == WA_OK, err.text);
            fuzz_read_expert(vindex, &list[e]);
        }
        wa_experts experts = {.count = store.entries,
                              .chosen = 1,
                              .experts = list,
                              .router = {.rows = store.entries, .cols = vindex->hidden}};
        wa_layer *layers = calloc(vindex->layer_count, sizeof *layers);
        fuzz_require(layers != NULL, "memory");
        layers[l].experts = &experts;
        wa_model model = {
            .layer_count = vindex->layer_count, .hidden = vindex->hidden, .layers = layers};
        if (fuzz_answer(wa_vindex_experts_open(vindex, &model, l, arena, &found, &err), &err) &&
            found.stored[WA_ROUTER_WEIGHT])
            fuzz_read_view(vindex, &found.experts.router);
        free(layers);
    }
}

/** Open the directory's vindex; when it is accepted, look at everything it offers. */
static inline void fuzz_open_vindex(void)
{
    wa_error err = {0};
    wa_vindex *vindex;
    wa_arena *arena = fuzz_arena();
    if (fuzz_answer(wa_vindex_open(fuzz_directory(), arena, &vindex, &err), &err)) {
        fuzz_read_all(vindex);
        fuzz_read_experts(vindex, arena);
        (void)fuzz_answer(wa_vindex_check_fp4_scales(vindex, &err), &err);
        wa_vindex_flags flags = wa_vindex_upstream_flags(vindex);
        (void)wa_vindex_upstream_bucket(&flags);
        wa_vindex_close(vindex);
    }
    wa_arena_close(arena);
}

#endif
