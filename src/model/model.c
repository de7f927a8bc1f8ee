/* Opening a model: find its files, read its configuration, put every weight in its place. */
#include "model/model.h"

#include "base/opened.h"
#include "model/config.h"
#include "model/model_files.h"
#include "model/weights.h"

/* The configuration's facts; what opening has filled so far stays. */
static void set_facts(const wa_config *config, wa_model *model)
{
    wa_model merged = config->facts;
    merged.path = model->path;
    merged.files = model->files;
    merged.file_count = model->file_count;
    merged.maps = model->maps;
    *model = merged;
}

static wa_status read_config(const char *path, const wa_model *model, wa_semantics semantics,
                             wa_arena *arena, wa_config *out, wa_error *err)
{
    json_t *root;
    WA_TRY(wa_json_open_kept(path, model->maps, &root, err));
    wa_status status = wa_config_from_json(root, semantics, arena, out, err);
    wa_json_close(root);
    return status == WA_OK ? WA_OK : wa_note(err, "in file '%s'", path);
}

/* Files of weights beside those that the model is read from. */
static wa_status note_ignored_files(const wa_model_place *place, wa_notes *notes, wa_error *err)
{
    wa_listing files = {0};
    for (size_t i = 0; i < place->ignored_count; i++)
        wa_listing_add(&files, place->ignored[i]);
    if (files.count == 0)
        return WA_OK;
    return wa_notes_add(notes, err, "files of weights that are not read: %s",
                        wa_listing_text(&files));
}

static wa_status open_safetensors(wa_model_place *place, const wa_model_options *options,
                                  wa_arena *arena, wa_model *model, wa_error *err)
{
    wa_config config;
    WA_TRY(read_config(place->config, model, options->semantics, arena, &config, err));
    config.allow_unread = options->allow_unread;
    const char **files;
    WA_TRY(wa_arena_take(arena, 1, sizeof *files, &files, err));
    files[0] = place->config; /* it decides numbers as much as the weights do */
    model->files = files;
    model->file_count = 1;

    wa_tensor_table table;
    bool strips = strcmp(config.family->family, "tinymodel") != 0; /* its names have no prefix */
    WA_TRY(wa_model_open_shards(place, strips, arena, model, &table, err));
    WA_TRY(note_ignored_files(place, &config.notes, err));
    set_facts(&config, model);
    return wa_weights_build(&config, &table, arena, model, err);
}

static wa_status open_gguf(const char *path, const wa_model_options *options, wa_arena *arena,
                           wa_model *model, wa_error *err)
{
    wa_gguf *gguf;
    wa_tensor_table table;
    WA_TRY(wa_model_open_gguf(path, arena, model, &gguf, &table, err));
    wa_config config;
    WA_TRY(wa_config_from_gguf(gguf, options->semantics, arena, &config, err));
    config.allow_unread = options->allow_unread;
    set_facts(&config, model);
    return wa_weights_build(&config, &table, arena, model, err);
}

static wa_status open_into(const wa_model_options *options, wa_arena *arena, wa_model *model,
                           wa_error *err)
{
    wa_model_place place;
    WA_TRY(wa_model_place_find(model->path, arena, &place, err));
    if (place.gguf != NULL)
        return open_gguf(place.gguf, options, arena, model, err);
    return open_safetensors(&place, options, arena, model, err);
}

wa_status wa_model_open(const char *path, wa_semantics semantics, wa_arena *arena, wa_model **out,
                        wa_error *err)
{
    const wa_model_options options = {.semantics = semantics};
    return wa_model_open_with(path, &options, arena, out, err);
}

wa_status wa_model_open_with(const char *path, const wa_model_options *options, wa_arena *arena,
                             wa_model **out, wa_error *err)
{
    wa_model *model;
    char *copy;
    WA_TRY(wa_arena_take(arena, 1, sizeof *model, &model, err));
    WA_TRY(wa_arena_take(arena, 1, sizeof *model->maps, &model->maps, err));
    WA_TRY(wa_arena_copy(arena, path, strlen(path), &copy, err));
    model->path = copy;
    if (open_into(options, arena, model, err) != WA_OK) {
        wa_model_close(model);
        return wa_note(err, "in model '%s'", path);
    }
    *out = model;
    return WA_OK;
}

void wa_model_close(wa_model *model)
{
    if (model == NULL)
        return;
    for (size_t i = 0; i < model->maps->count; i++)
        wa_map_close(&model->maps->maps[i]);
    model->maps->count = 0;
    wa_opened_forget(model->maps);
}

void wa_model_forget(const wa_model *model)
{
    for (size_t i = 0; model->maps != NULL && i < model->maps->count; i++)
        wa_map_forget(&model->maps->maps[i]);
}

size_t wa_model_expert_layer(const wa_model *model)
{
    size_t layer = 0;
    while (layer < model->layer_count && model->layers[layer].experts == NULL)
        layer++;
    return layer;
}

size_t wa_model_widest_ffn(const wa_model *model)
{
    size_t widest = 0;
    for (size_t l = 0; l < model->layer_count; l++) {
        const wa_layer *layer = &model->layers[l];
        size_t features = layer->experts != NULL ? layer->experts->widest : layer->up.rows;
        widest = features > widest ? features : widest;
    }
    return widest;
}

static size_t bytes_of(const wa_matrix *matrix)
{
    return matrix->rows > 0 ? wa_matrix_bytes(matrix) : 0;
}

static size_t expert_bytes(const wa_expert *expert)
{
    return bytes_of(&expert->gate) + bytes_of(&expert->up) + bytes_of(&expert->down);
}

size_t wa_experts_ffns(const wa_experts *experts)
{
    return experts->count + (experts->shared.up.rows > 0 ? 1 : 0);
}

const wa_expert *wa_experts_ffn(const wa_experts *experts, size_t i)
{
    return i < experts->count ? &experts->experts[i] : &experts->shared;
}

size_t wa_experts_bytes(const wa_experts *experts)
{
    size_t bytes = bytes_of(&experts->router) + bytes_of(&experts->shared_gate);
    for (size_t i = 0; i < wa_experts_ffns(experts); i++)
        bytes += expert_bytes(wa_experts_ffn(experts, i));
    return bytes;
}

size_t wa_model_attention_bytes(const wa_model *model, size_t layer)
{
    const wa_layer *l = &model->layers[layer];
    return bytes_of(&l->q) + bytes_of(&l->k) + bytes_of(&l->v) + bytes_of(&l->o);
}

size_t wa_model_layer_bytes(const wa_model *model, size_t layer)
{
    const wa_layer *l = &model->layers[layer];
    size_t experts = l->experts != NULL ? wa_experts_bytes(l->experts) : 0;
    return wa_model_attention_bytes(model, layer) + experts + bytes_of(&l->gate) +
           bytes_of(&l->up) + bytes_of(&l->down);
}

size_t wa_model_head_bytes(const wa_model *model)
{
    size_t embedding = wa_matrix_bytes(&model->embedding);
    return model->tied ? embedding : embedding + wa_matrix_bytes(&model->output);
}
