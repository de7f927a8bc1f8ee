/* Another checkpoint of a model, seen as a vindex: its FFN weights are the one payload. */
#include "vindex/parts.h"

/* "model-Q4_K_M.gguf" of ".../model-Q4_K_M.gguf", and the last folder's name of a directory. */
static wa_status base_name(const char *path, wa_arena *arena, const char **out, wa_error *err)
{
    size_t length;
    const char *last = wa_last_name(path, &length);
    char *name;
    WA_TRY(wa_arena_copy(arena, last, length, &name, err));
    *out = name;
    return WA_OK;
}

static wa_status describe(wa_vindex *vindex, wa_arena *arena, wa_error *err)
{
    const wa_model *model = vindex->checkpoint;
    size_t start = 0;
    WA_TRY(wa_arena_take(arena, model->layer_count, sizeof *vindex->layers, &vindex->layers, err));
    for (size_t l = 0; l < model->layer_count; l++) {
        vindex->layers[l] =
            (wa_vindex_layer){.features = model->layers[l].up.rows, .feature_start = start};
        start += model->layers[l].up.rows;
    }
    vindex->model = model->path;
    vindex->family = model->family;
    vindex->extract_level = "";
    vindex->gate_format = WA_FORMAT_F32; /* no files that were made by way of f16 */
    vindex->layer_count = model->layer_count;
    vindex->hidden = model->hidden;
    vindex->intermediate = model->intermediate;
    vindex->vocab = model->vocab;
    vindex->embed_scale = (double)model->embed_scale;
    vindex->rope_base = model->rope_base;
    vindex->files = model->files;
    vindex->file_count = model->file_count;
    vindex->notes = model->notes;
    vindex->note_count = model->note_count;
    vindex->present[WA_PAYLOAD_CHECKPOINT] = true;
    vindex->readable[WA_PAYLOAD_CHECKPOINT] = true;
    return base_name(vindex->path, arena, &vindex->file[WA_PAYLOAD_CHECKPOINT], err);
}

wa_status wa_vindex_open_checkpoint(const char *path, const wa_model_options *options,
                                    wa_arena *arena, wa_vindex **out, wa_error *err)
{
    wa_vindex *vindex;
    WA_TRY(wa_vindex_begin(path, arena, &vindex, err));
    wa_status status = wa_model_open_with(path, options, arena, &vindex->checkpoint, err);
    if (status == WA_OK)
        status = describe(vindex, arena, err);
    if (status != WA_OK) {
        wa_vindex_close(vindex);
        return wa_note(err, "in checkpoint '%s'", path);
    }
    *out = vindex;
    return WA_OK;
}
