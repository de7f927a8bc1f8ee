/* Finding, mapping and parsing the files of a model. */
#include "model/model_files.h"

#include "model/safetensors.h"
#include "model/split.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static const char WHOLE_NAME[] = "model.safetensors";
static const char INDEX_NAME[] = "model.safetensors.index.json";

static wa_status join(wa_arena *arena, const char *directory, const char *name, const char **out,
                      wa_error *err)
{
    char *text;
    WA_TRY(wa_arena_print(arena, &text, err, "%s/%s", directory, name));
    *out = text;
    return WA_OK;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* --- what is in a directory --- */

typedef struct name_list {
    const char **names; /* arena */
    size_t count;
} name_list;

static bool ends_with(const char *name, const char *end)
{
    size_t length = strlen(name);
    size_t tail = strlen(end);
    return length > tail && strcmp(name + length - tail, end) == 0;
}

/* One pass with names NULL counts, the next one copies at most `room` names. */
static wa_status scan(DIR *stream, const char *end, wa_arena *arena, size_t room, name_list *list,
                      wa_error *err)
{
    list->count = 0;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (!ends_with(entry->d_name, end))
            continue;
        if (list->names != NULL) {
            if (list->count == room)
                break; /* the directory grew between the passes */
            char *copy;
            WA_TRY(wa_arena_copy(arena, entry->d_name, strlen(entry->d_name), &copy, err));
            list->names[list->count] = copy;
        }
        list->count++;
    }
    return WA_OK;
}

static wa_status scan_twice(DIR *stream, const char *end, wa_arena *arena, name_list *out,
                            wa_error *err)
{
    name_list list = {0};
    WA_TRY(scan(stream, end, arena, 0, &list, err));
    size_t room = list.count;
    WA_TRY(wa_arena_take(arena, room, sizeof *list.names, &list.names, err));
    rewinddir(stream);
    WA_TRY(scan(stream, end, arena, room, &list, err));
    if (list.count > 1)
        qsort(list.names, list.count, sizeof *list.names, compare_strings);
    *out = list;
    return WA_OK;
}

/* Names in `directory` that end in `end`, sorted. */
static wa_status list_names(const char *directory, const char *end, wa_arena *arena, name_list *out,
                            wa_error *err)
{
    DIR *stream = opendir(directory);
    if (stream == NULL)
        return wa_fail(err, WA_E_IO, "cannot list '%s': %s", directory, strerror(errno));
    wa_status status = scan_twice(stream, end, arena, out, err);
    closedir(stream);
    return status;
}

static void move_to_end(const char **names, size_t from, size_t count)
{
    const char *name = names[from];
    for (size_t i = from; i + 1 < count; i++)
        names[i] = names[i + 1];
    names[count - 1] = name;
}

/* A whole model.safetensors is the model; what lies beside it (model.fp16.safetensors, adapters) is
 * another way to store it, or something else. */
static void keep_whole_file(wa_model_place *place)
{
    const char **names = (const char **)(uintptr_t)place->shards; /* list_names' own array */
    for (size_t i = 0; i < place->shard_count; i++) {
        if (strcmp(names[i], WHOLE_NAME) != 0)
            continue;
        move_to_end(names, i, place->shard_count);
        place->ignored = names;
        place->ignored_count = place->shard_count - 1;
        place->shards = names + place->ignored_count;
        place->shard_count = 1;
        return;
    }
}

/* Shards of one directory: by its index, else model.safetensors, else all there are. */
static wa_status find_shards(const char *directory, wa_arena *arena, wa_model_place *place,
                             wa_error *err)
{
    const char *index;
    name_list list = {0};
    WA_TRY(join(arena, directory, INDEX_NAME, &index, err));
    WA_TRY(list_names(directory, ".safetensors", arena, &list, err));
    bool indexed = wa_file_exists(index);
    place->directory = directory;
    place->index = indexed ? index : NULL;
    place->shards = list.names;
    place->shard_count = list.count;
    if (!indexed)
        keep_whole_file(place);
    return WA_OK;
}

static wa_status find_safetensors(const char *path, wa_arena *arena, wa_model_place *place,
                                  wa_error *err)
{
    const char *nested;
    WA_TRY(join(arena, path, "config.json", &place->config, err));
    WA_TRY(join(arena, path, "weights", &nested, err));
    WA_TRY(find_shards(path, arena, place, err));
    if (place->shard_count == 0 && place->index == NULL && wa_dir_exists(nested))
        WA_TRY(find_shards(nested, arena, place, err));
    if (place->shard_count == 0 && place->index == NULL)
        return wa_fail(err, WA_E_FORMAT,
                       "neither a .gguf nor a .safetensors file in directory '%s'", path);
    return WA_OK;
}

/* The parts of a split GGUF are one file, by the name of the first. `names` are sorted. */
static wa_status merge_parts(name_list *list, wa_arena *arena, wa_error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        char *first;
        WA_TRY(wa_split_part(list->names[i], 1, arena, &first, err));
        if (kept == 0 || strcmp(list->names[kept - 1], first) != 0)
            list->names[kept++] = first;
    }
    list->count = kept;
    return WA_OK;
}

wa_status wa_model_place_find(const char *path, wa_arena *arena, wa_model_place *out, wa_error *err)
{
    wa_model_place place = {0};
    name_list ggufs = {0};
    if (!wa_dir_exists(path)) {
        if (ends_with(path, ".safetensors"))
            return wa_fail(err, WA_E_UNSUPPORTED,
                           "a safetensors file by itself: name the directory that holds it, with "
                           "config.json and "
                           "tokenizer.json");
        char *first;
        WA_TRY(wa_split_part(path, 1, arena, &first, err));
        place.gguf = first;
        *out = place;
        return WA_OK;
    }
    WA_TRY(list_names(path, ".gguf", arena, &ggufs, err));
    WA_TRY(merge_parts(&ggufs, arena, err));
    if (ggufs.count == 0) {
        WA_TRY(find_safetensors(path, arena, &place, err));
        *out = place;
        return WA_OK;
    }
    name_list others = {0};
    WA_TRY(list_names(path, ".safetensors", arena, &others, err));
    if (ggufs.count > 1 || others.count > 0)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "%zu .gguf and %zu .safetensors files in directory '%s': name the file",
                       ggufs.count, others.count, path);
    WA_TRY(join(arena, path, ggufs.names[0], &place.gguf, err));
    *out = place;
    return WA_OK;
}

/* --- mapping --- */

/* Room for `count` more files, whose maps and paths are then added one by one. */
static wa_status reserve(wa_model *model, size_t count, wa_arena *arena, wa_error *err)
{
    const char **files;
    WA_TRY(wa_arena_take(arena, count, sizeof *model->maps->maps, &model->maps->maps, err));
    WA_TRY(wa_arena_take(arena, model->file_count + count, sizeof *files, &files, err));
    for (size_t i = 0; i < model->file_count; i++)
        files[i] = model->files[i];
    model->files = files;
    return WA_OK;
}

static wa_status map_file(wa_model *model, const char *path, wa_bytes *out, wa_error *err)
{
    wa_map *map = &model->maps->maps[model->maps->count];
    WA_TRY(wa_map_open(path, map, err));
    model->maps->count++;
    ((const char **)(uintptr_t)model->files)[model->file_count++] = path; /* reserve's own array */
    *out = map->bytes;
    return WA_OK;
}

/* --- the index of shards --- */

/* Unique file names of `weight_map`, sorted. */
static wa_status read_index(const json_t *map, wa_arena *arena, name_list *out, wa_error *err)
{
    if (!json_is_object(map))
        return wa_fail(err, WA_E_FORMAT, "key 'weight_map': found %s, expected an object",
                       wa_json_type_name(map));
    name_list all = {0};
    WA_TRY(wa_arena_take(arena, json_object_size(map), sizeof *all.names, &all.names, err));
    const char *tensor;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, value)
    {
        const char *name = json_string_value(value);
        if (name == NULL || strlen(name) != json_string_length(value) || !wa_name_is_plain(name))
            return wa_fail(err, WA_E_FORMAT, "'%.200s' of 'weight_map' is no plain file name",
                           tensor);
        char *copy;
        WA_TRY(wa_arena_copy(arena, name, strlen(name), &copy, err));
        all.names[all.count++] = copy;
    }
    if (all.count > 1)
        qsort(all.names, all.count, sizeof *all.names, compare_strings);
    size_t kept = 0;
    for (size_t i = 0; i < all.count; i++)
        if (kept == 0 || strcmp(all.names[kept - 1], all.names[i]) != 0)
            all.names[kept++] = all.names[i];
    all.count = kept;
    *out = all;
    return WA_OK;
}

/* Is the tensor in the map of the shard called `name`? Shards are mapped in the order of `list`. */
static bool lies_in(const wa_tensor *tensor, const name_list *list, const char *name,
                    const struct wa_model_maps *maps)
{
    for (size_t i = 0; i < list->count; i++) {
        wa_bytes bytes = maps->maps[i].bytes;
        if (strcmp(list->names[i], name) == 0)
            return tensor->data.data >= bytes.data && tensor->data.data <= bytes.data + bytes.size;
    }
    return false;
}

/* Every tensor of the index must be where it says. `table` is by stored names. */
static wa_status check_index(const json_t *map, const wa_tensor_table *table, const name_list *list,
                             const struct wa_model_maps *maps, wa_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, name, value)
    {
        const wa_tensor *tensor = wa_tensor_table_find(table, name);
        if (tensor == NULL || !lies_in(tensor, list, json_string_value(value), maps))
            return wa_fail(err, WA_E_FORMAT,
                           "tensor '%.200s' is not in '%.200s', where the index has it", name,
                           json_string_value(value));
    }
    return WA_OK;
}

/* --- tables --- */

/* Parts of multimodal checkpoints that no text model has (forward-pass.md 1.3): they keep their
 * whole name, so that no weight of the decoder can be mistaken for one. */
static bool is_foreign(const char *name)
{
    static const char *const prefixes[] = {"vision_tower.", "model.vision_tower.",
                                           "multi_modal_projector.", "model.multi_modal_projector.",
                                           "audio_tower."};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

/* The name after the first prefix that matches, once. */
static const char *strip(const char *name)
{
    static const char *const prefixes[] = {"model.language_model.model.",
                                           "model.language_model.",
                                           "language_model.model.",
                                           "language_model.",
                                           "model.",
                                           "transformer."};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return name + strlen(prefixes[i]);
    return name;
}

static wa_status make_table(const wa_safetensors *shards, size_t count, bool strip_prefixes,
                            wa_arena *arena, wa_tensor_table *out, wa_error *err)
{
    size_t total = 0;
    for (size_t s = 0; s < count; s++)
        total += shards[s].count;
    wa_tensor_table table = {0};
    WA_TRY(wa_arena_take(arena, total, sizeof *table.entries, &table.entries, err));
    for (size_t s = 0; s < count; s++) {
        for (size_t i = 0; i < shards[s].count; i++) {
            const wa_tensor *tensor = &shards[s].tensors[i];
            bool whole = !strip_prefixes || is_foreign(tensor->name);
            table.entries[table.count++] = (wa_tensor_entry){
                .name = whole ? tensor->name : strip(tensor->name), .tensor = tensor};
        }
    }
    WA_TRY(wa_tensor_table_sort(&table, err));
    *out = table;
    return WA_OK;
}

static wa_status parse_shards(const wa_model_place *place, const name_list *list, wa_arena *arena,
                              wa_model *model, wa_safetensors **out, wa_error *err)
{
    wa_safetensors *shards;
    WA_TRY(wa_arena_take(arena, list->count, sizeof *shards, &shards, err));
    WA_TRY(reserve(model, list->count, arena, err));
    for (size_t i = 0; i < list->count; i++) {
        const char *path;
        wa_bytes bytes = {0};
        WA_TRY(join(arena, place->directory, list->names[i], &path, err));
        WA_TRY(map_file(model, path, &bytes, err));
        if (wa_safetensors_parse(bytes, arena, &shards[i], err) != WA_OK)
            return wa_note(err, "in file '%s'", path);
    }
    *out = shards;
    return WA_OK;
}

static bool has_name(const name_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->names[i], name) == 0)
            return true;
    return false;
}

/* Files that the index does not name. */
static wa_status list_ignored(wa_model_place *place, const name_list *indexed, wa_arena *arena,
                              wa_error *err)
{
    const char **names;
    WA_TRY(wa_arena_take(arena, place->shard_count, sizeof *names, &names, err));
    for (size_t i = 0; i < place->shard_count; i++)
        if (!has_name(indexed, place->shards[i]))
            names[place->ignored_count++] = place->shards[i];
    place->ignored = names;
    return WA_OK;
}

static wa_status open_indexed(wa_model_place *place, const json_t *map, bool strip_prefixes,
                              wa_arena *arena, wa_model *model, wa_tensor_table *out, wa_error *err)
{
    name_list list = {0};
    wa_safetensors *shards = NULL;
    wa_tensor_table stored = {0};
    WA_TRY(read_index(map, arena, &list, err));
    WA_TRY(list_ignored(place, &list, arena, err));
    WA_TRY(parse_shards(place, &list, arena, model, &shards, err));
    WA_TRY(make_table(shards, list.count, false, arena, &stored, err));
    WA_TRY(check_index(map, &stored, &list, model->maps, err));
    return make_table(shards, list.count, strip_prefixes, arena, out, err);
}

wa_status wa_model_open_shards(wa_model_place *place, bool strip_prefixes, wa_arena *arena,
                               wa_model *model, wa_tensor_table *out, wa_error *err)
{
    if (place->index == NULL) {
        wa_safetensors *shards = NULL;
        const name_list list = {(const char **)(uintptr_t)place->shards, place->shard_count};
        WA_TRY(parse_shards(place, &list, arena, model, &shards, err));
        if (make_table(shards, list.count, strip_prefixes, arena, out, err) != WA_OK)
            return wa_note(err, "in %zu .safetensors files of directory '%s', '%s' first",
                           list.count, place->directory, list.names[0]);
        return WA_OK;
    }
    json_t *root;
    WA_TRY(wa_json_open_kept(place->index, model->maps, &root, err));
    wa_status status = open_indexed(place, json_object_get(root, "weight_map"), strip_prefixes,
                                    arena, model, out, err);
    wa_json_close(root);
    return status == WA_OK ? WA_OK : wa_note(err, "by index '%s'", place->index);
}

/* --- GGUF --- */

static wa_tensor tensor_of(const wa_gguf_tensor *stored)
{
    wa_tensor tensor = {.name = stored->name,
                        .type_name = stored->type_name,
                        .format = stored->format,
                        .rank = stored->dim_count,
                        .data = stored->data};
    for (size_t i = 0; i < tensor.rank; i++)
        tensor.shape[i] = stored->dims[tensor.rank - 1 - i];
    return tensor;
}

static wa_status make_gguf_table(wa_gguf *const *parts, size_t count, wa_arena *arena,
                                 wa_tensor_table *out, wa_error *err)
{
    size_t total = 0;
    for (size_t p = 0; p < count; p++)
        total += wa_gguf_tensor_count(parts[p]);
    wa_tensor_table table = {0};
    wa_tensor *tensors;
    WA_TRY(wa_arena_take(arena, total, sizeof *tensors, &tensors, err));
    WA_TRY(wa_arena_take(arena, total, sizeof *table.entries, &table.entries, err));
    for (size_t p = 0; p < count; p++) {
        for (size_t i = 0; i < wa_gguf_tensor_count(parts[p]); i++) {
            wa_tensor *tensor = &tensors[table.count];
            *tensor = tensor_of(wa_gguf_tensor_at(parts[p], i));
            table.entries[table.count++] =
                (wa_tensor_entry){.name = tensor->name, .tensor = tensor};
        }
    }
    WA_TRY(wa_tensor_table_sort(&table, err));
    *out = table;
    return WA_OK;
}

static wa_status split_key(const wa_gguf *gguf, const char *key, uint64_t fallback, uint64_t *out,
                           wa_error *err)
{
    *out = fallback;
    return wa_gguf_has(gguf, key) ? wa_gguf_u64(gguf, key, out, err) : WA_OK;
}

/* Is it the part that its name says? Parts are counted from 0 in the file, from 1 in names. */
static wa_status check_part(const wa_gguf *gguf, size_t number, size_t count, wa_error *err)
{
    uint64_t stored_number, stored_count;
    WA_TRY(split_key(gguf, "split.no", 0, &stored_number, err));
    WA_TRY(split_key(gguf, "split.count", 1, &stored_count, err));
    stored_count = stored_count == 0 ? 1 : stored_count; /* what gguf-split --merge leaves */
    if (count == 1 && stored_count > 1)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "one of %" PRIu64 " parts of a split GGUF, but not named like one: expected "
                       "NAME-%05" PRIu64 "-of-%05" PRIu64 ".gguf beside the others",
                       stored_count, stored_number + 1, stored_count);
    if (stored_count != count || stored_number != number - 1)
        return wa_fail(
            err, WA_E_FORMAT,
            "by its name part %zu of %zu, by its keys 'split.no' and 'split.count' part %" PRIu64
            " of %" PRIu64,
            number, count, stored_number + 1, stored_count);
    return WA_OK;
}

/* Every part says how many tensors all of them hold. */
static wa_status check_total(wa_gguf *const *parts, size_t count, size_t total, wa_error *err)
{
    for (size_t p = 0; p < count && count > 1; p++) {
        uint64_t stored;
        WA_TRY(split_key(parts[p], "split.tensors.count", total, &stored, err));
        if (stored != total)
            return wa_fail(
                err, WA_E_FORMAT,
                "the %zu parts hold %zu tensors, but 'split.tensors.count' of part %zu is %" PRIu64
                ": is it of another model?",
                count, total, p + 1, stored);
    }
    return WA_OK;
}

wa_status wa_model_open_gguf(const char *path, wa_arena *arena, wa_model *model, wa_gguf **out,
                             wa_tensor_table *table, wa_error *err)
{
    wa_split split = wa_split_of(path);
    wa_gguf **parts;
    WA_TRY(wa_arena_take(arena, split.count, sizeof *parts, &parts, err));
    WA_TRY(reserve(model, split.count, arena, err));
    for (size_t p = 0; p < split.count; p++) {
        wa_bytes bytes = {0};
        char *part;
        WA_TRY(wa_split_part(path, p + 1, arena, &part, err));
        if (map_file(model, part, &bytes, err) != WA_OK)
            return split.count == 1
                       ? err->status
                       : wa_note(err, "part %zu of %zu of a split GGUF", p + 1, split.count);
        if (wa_gguf_parse(bytes, arena, &parts[p], err) != WA_OK ||
            check_part(parts[p], p + 1, split.count, err) != WA_OK)
            return wa_note(err, "in file '%s'", part);
    }
    if (make_gguf_table(parts, split.count, arena, table, err) != WA_OK ||
        check_total(parts, split.count, table->count, err) != WA_OK)
        return wa_note(err, "in file '%s'", path);
    *out = parts[0];
    return WA_OK;
}
