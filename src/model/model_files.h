/* The files of a model: found, mapped, parsed, and one table of their tensors. */
#ifndef WALKAUDIT_MODEL_MODEL_FILES_H
#define WALKAUDIT_MODEL_MODEL_FILES_H

#include "model/config.h"
#include "model/tensor.h"

/** Maps of a model, closed together. */
struct wa_model_maps {
    wa_map *maps; /* [count] opened so far, arena */
    size_t count;
};

/** What a path turned out to be. */
typedef struct wa_model_place {
    /* path of the one GGUF file, or its first part, arena; NULL = a directory of safetensors */
    const char *gguf;
    const char *config;        /* path of config.json, arena; NULL for GGUF */
    const char *index;         /* path of model.safetensors.index.json, arena; NULL = none */
    const char *directory;     /* of the shards, arena */
    const char *const *shards; /* [shard_count] file names, sorted, arena; empty with an index */
    size_t shard_count;
    const char *const *ignored; /* [ignored_count] other .safetensors files there, sorted, arena */
    size_t ignored_count;
} wa_model_place;

/**
 * Decide what `path` is (forward-pass.md 1.1): a file is a GGUF, or any part of a split one; a
 * directory holds one GGUF and no safetensors, or config.json with safetensors, in it or in
 * `weights/`. Errors: WA_E_IO, WA_E_UNSUPPORTED (both kinds, several GGUFs), WA_E_FORMAT (nothing
 * there).
 */
WA_CHECKED wa_status wa_model_place_find(const char *path, wa_arena *arena, wa_model_place *out,
                                         wa_error *err);

/**
 * Map every shard into maps (which the caller closes, also on failure), list their paths in `files`
 * after what is there, and make the table of tensors under `prefixed` names: with known prefixes
 * stripped unless the family has none. With an index: exactly the files it names, and each tensor
 * it lists; place->ignored then has the files that it does not name.
 */
WA_CHECKED wa_status wa_model_open_shards(wa_model_place *place, bool strip_prefixes,
                                          wa_arena *arena, wa_model *model, wa_tensor_table *out,
                                          wa_error *err);

/**
 * Map a GGUF, with all its parts where it is split, parse them, and make the table of their
 * tensors.
 * *out is the first part, which has the metadata. A part that is missing is WA_E_IO, one that is of
 * another split WA_E_FORMAT.
 */
WA_CHECKED wa_status wa_model_open_gguf(const char *path, wa_arena *arena, wa_model *model,
                                        wa_gguf **out, wa_tensor_table *table, wa_error *err);

#endif
