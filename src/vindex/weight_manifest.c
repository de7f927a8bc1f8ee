/* weight_manifest.json: tensors of the weight tier (V11, vindex-format 3.6). Up and down are kept
 * for comparison with the feature files (V16), routers and biases of experts for the layer files
 * (larql-2026-08 1.6, 5.3). */
#include "vindex/experts.h"
#include "vindex/parts.h"

#include <stdlib.h>

static const char MANIFEST[] = "weight_manifest.json", NORMS[] = "norms.bin";

enum { FILES_MAX = 64, RANK_MAX = 3 }; /* upstream writes eight files */

/* What an entry of each kind may be; the K-quant is Q4_K, rows padded to whole blocks. */
typedef struct kind_info {
    const char *name;
    size_t least_rank, most_rank;
    bool floats, halves, blocks; /* lengths it may have */
} kind_info;

static const kind_info KINDS[] = {
    {.name = "vector", .least_rank = 1, .most_rank = 1, .floats = true, .halves = true},
    {.name = "tensor", .least_rank = 2, .most_rank = 2, .floats = true, .halves = true},
    {.name = "tensor_q4k", .least_rank = 2, .most_rank = 2, .blocks = true},
    {.name = "tensor_f16", .least_rank = 2, .most_rank = 2, .halves = true},
    {.name = "packed_bf16", .least_rank = 1, .most_rank = RANK_MAX, .halves = true},
};
enum { KIND_COUNT = sizeof KINDS / sizeof KINDS[0] };

/* A file that entries name. */
typedef struct weight_file {
    const char *name; /* borrowed from the manifest */
    size_t size;
    size_t entries;
    bool there;
} weight_file;

typedef struct weight_entry {
    const char *key; /* borrowed from the manifest */
    size_t at;
    const kind_info *kind;
    size_t dims[RANK_MAX], rank, elements;
    uint64_t offset, length;
    weight_file *file;
} weight_entry;

typedef struct reader {
    wa_vindex_build *build;
    weight_file files[FILES_MAX];
    size_t file_count;
} reader;

static wa_status read_kind(const json_t *json, weight_entry *entry, wa_error *err)
{
    const char *names[KIND_COUNT];
    size_t kind;
    for (size_t i = 0; i < KIND_COUNT; i++)
        names[i] = KINDS[i].name;
    WA_TRY(wa_vindex_choice(json, "kind", names, KIND_COUNT, -1, &kind, err));
    entry->kind = &KINDS[kind];
    return WA_OK;
}

static wa_status read_shape(const json_t *json, weight_entry *entry, wa_error *err)
{
    const json_t *shape = json_object_get(json, "shape");
    entry->rank = json_array_size(shape);
    entry->elements = 1;
    if (!json_is_array(shape) || entry->rank < entry->kind->least_rank ||
        entry->rank > entry->kind->most_rank)
        return wa_fail(err, WA_E_FORMAT, "shape has %zu dimensions, expected %zu for a %s",
                       entry->rank, entry->kind->least_rank, entry->kind->name);
    for (size_t d = 0; d < entry->rank; d++) {
        const json_t *dim = json_array_get(shape, d);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return wa_fail(err, WA_E_FORMAT, "shape[%zu]: expected a count", d);
        entry->dims[d] = (size_t)json_integer_value(dim);
        if (!wa_size_mul(entry->elements, entry->dims[d], &entry->elements))
            return wa_fail(err, WA_E_FORMAT, "the product of its shape overflows 64 bits");
    }
    return WA_OK;
}

static bool is_times(uint64_t length, size_t elements, size_t bytes)
{
    size_t product;
    return wa_size_mul(elements, bytes, &product) && length == product;
}

static wa_status check_length(const weight_entry *entry, wa_error *err)
{
    const wa_format_info *block = wa_format_get(WA_FORMAT_Q4_K);
    const kind_info *kind = entry->kind;
    unsigned long long length = entry->length;
    if (kind->blocks && entry->dims[1] % block->block_elements != 0)
        return wa_fail(err, WA_E_FORMAT, "shape[1] is %zu, expected a multiple of %zu",
                       entry->dims[1], block->block_elements);
    if (kind->blocks &&
        !is_times(length, entry->elements / block->block_elements, block->block_bytes))
        return wa_fail(err, WA_E_FORMAT, "length %llu, expected %zu blocks of %zu bytes", length,
                       entry->elements / block->block_elements, block->block_bytes);
    if (kind->blocks || (kind->floats && is_times(length, entry->elements, 4)) ||
        (kind->halves && is_times(length, entry->elements, 2)))
        return WA_OK;
    return wa_fail(err, WA_E_FORMAT, "length %llu, expected %zu elements of %s bytes", length,
                   entry->elements, kind->floats ? "4 or 2" : "2");
}

/* The file's size, looked up once. */
static wa_status find_file(reader *r, const char *name, weight_file **out, wa_error *err)
{
    for (size_t i = 0; i < r->file_count; i++) {
        *out = &r->files[i];
        if (strcmp(r->files[i].name, name) == 0)
            return WA_OK;
    }
    if (!wa_name_is_plain(name))
        return wa_fail(err, WA_E_FORMAT, "path separator in file name '%s'", name);
    if (r->file_count == FILES_MAX)
        return wa_fail(err, WA_E_FORMAT, "more than %d different files", FILES_MAX);
    wa_map map = {.bytes = {.data = NULL, .size = 0}};
    weight_file *file = &r->files[r->file_count++];
    file->name = name;
    WA_TRY(wa_vindex_map_side(r->build, name, &map, &file->there, err));
    file->size = map.bytes.size;
    wa_map_close(&map);
    *out = file;
    return WA_OK;
}

static wa_status check_range(reader *r, const json_t *json, weight_entry *entry, wa_error *err)
{
    const char *name;
    WA_TRY(wa_json_string_or(json, "file", "", &name, err));
    WA_TRY(wa_json_u64(json, "offset", &entry->offset, err));
    WA_TRY(wa_json_u64(json, "length", &entry->length, err));
    WA_TRY(check_length(entry, err));
    WA_TRY(find_file(r, name[0] == '\0' ? "model_weights.bin" : name, &entry->file, err));
    weight_file *file = entry->file;
    file->entries++;
    if (file->there && (entry->offset > file->size || entry->length > file->size - entry->offset))
        return wa_fail(err, WA_E_FORMAT, "offset %llu + length %llu exceeds the %zu bytes of '%s'",
                       (unsigned long long)entry->offset, (unsigned long long)entry->length,
                       file->size, file->name);
    return WA_OK;
}

static wa_status read_entry(reader *r, const json_t *json, weight_entry *entry, wa_error *err)
{
    if (!json_is_object(json))
        return wa_fail(err, WA_E_FORMAT, "found %s, expected an object", wa_json_type_name(json));
    WA_TRY(wa_json_string(json, "key", &entry->key, err));
    WA_TRY(read_kind(json, entry, err));
    WA_TRY(read_shape(json, entry, err));
    return check_range(r, json, entry, err);
}

/* "layers.<n>." at the start of a key; WA_VINDEX_LAYERS_MAX when there is none. */
static size_t layer_of(const char *key)
{
    static const char prefix[] = "layers.";
    size_t layer = 0;
    if (strncmp(key, prefix, sizeof prefix - 1) != 0)
        return WA_VINDEX_LAYERS_MAX;
    const char *at = key + sizeof prefix - 1, *digits = at;
    for (; *at >= '0' && *at <= '9' && layer < WA_VINDEX_LAYERS_MAX; at++)
        layer = 10 * layer + (size_t)(*at - '0');
    return at > digits && *at == '.' ? layer : WA_VINDEX_LAYERS_MAX;
}

/* Up is [F, H], down [H, F]; experts of a mixture have other shapes. */
static void keep_ffn(wa_vindex_build *build, const weight_entry *entry)
{
    const wa_vindex *vindex = build->vindex;
    size_t layer = layer_of(entry->key);
    if (layer >= vindex->layer_count || entry->rank != 2 || !entry->file->there ||
        !entry->kind->floats)
        return;
    size_t features = vindex->layers[layer].features;
    for (int p = WA_UP; p <= WA_DOWN; p++) {
        wa_weight_slice *slice = &build->maps->weights[p - WA_UP].layers[layer];
        size_t rows = p == WA_UP ? features : vindex->hidden;
        size_t cols = p == WA_UP ? vindex->hidden : features;
        if (strcmp(entry->file->name, wa_weight_file((wa_projection)p)) != 0 || slice->there ||
            entry->dims[0] != rows || entry->dims[1] != cols)
            continue;
        slice->there = true;
        slice->offset = entry->offset;
        slice->format = is_times(entry->length, entry->elements, 4) ? WA_FORMAT_F32 : WA_FORMAT_F16;
    }
}

/* --- Experts */

/* What LARQL's extractors call them, by the checkpoints' names. A file of an unknown family may use
 * any scheme. */
static const wa_router_names SCHEMES[] = {
    {.families = "mixtral", .router = "block_sparse_moe.gate.weight"},
    {.families = "qwen2_moe qwen3_moe olmoe", .router = "mlp.gate.weight"},
    {.families = "gpt_oss",
     .router = "mlp.router.weight",
     .router_bias = "mlp.router.bias",
     .gate_up_bias = "mlp.experts.gate_up_proj_bias",
     .down_bias = "mlp.experts.down_proj_bias"},
};
enum { SCHEME_COUNT = sizeof SCHEMES / sizeof SCHEMES[0] };

static bool lists(const char *words, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = strstr(words, word); at != NULL; at = strstr(at + 1, word))
        if ((at == words || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return true;
    return false;
}

const wa_router_names *wa_router_names_of(const char *family)
{
    for (size_t i = 0; i < SCHEME_COUNT; i++)
        if (lists(SCHEMES[i].families, family))
            return &SCHEMES[i];
    return NULL;
}

/* The role of a key, without "layers.N."; WA_ROUTER_ROLES = none. */
static wa_router_role role_of(const char *name)
{
    for (size_t i = 0; i < SCHEME_COUNT; i++) {
        const char *const names[WA_ROUTER_ROLES] = {[WA_ROUTER_WEIGHT] = SCHEMES[i].router,
                                                    [WA_ROUTER_BIAS] = SCHEMES[i].router_bias,
                                                    [WA_ROUTER_GATE_UP_BIAS] =
                                                        SCHEMES[i].gate_up_bias,
                                                    [WA_ROUTER_DOWN_BIAS] = SCHEMES[i].down_bias};
        for (int role = 0; role < WA_ROUTER_ROLES; role++)
            if (names[role] != NULL && strcmp(names[role], name) == 0)
                return (wa_router_role)role;
    }
    return WA_ROUTER_ROLES;
}

/* Flattened or not: only the number of elements counts, and whoever knows the experts checks it. */
static void keep_router(wa_vindex_build *build, const weight_entry *entry)
{
    size_t layer = layer_of(entry->key);
    bool in_up_weights = strcmp(entry->file->name, wa_weight_file(WA_UP)) == 0;
    bool known = in_up_weights || strcmp(entry->file->name, NORMS) == 0;
    if (layer >= build->vindex->layer_count || !known || !entry->file->there || entry->kind->blocks)
        return;
    /* behind "layers.N." */
    wa_router_role role = role_of(strchr(strchr(entry->key, '.') + 1, '.') + 1);
    if (role == WA_ROUTER_ROLES)
        return;
    wa_format half = strcmp(entry->kind->name, "packed_bf16") == 0 ? WA_FORMAT_BF16 : WA_FORMAT_F16;
    build->maps->router[WA_ROUTER_ROLES * layer + role] = (wa_router_slice){
        .offset = entry->offset,
        .elements = entry->elements,
        .format = is_times(entry->length, entry->elements, 4) ? WA_FORMAT_F32 : half,
        .in_up_weights = in_up_weights};
}

static int by_key(const void *a, const void *b)
{
    const weight_entry *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order != 0 ? order : (x->at > y->at) - (x->at < y->at);
}

static wa_status refuse_duplicates(weight_entry *entries, size_t count, wa_error *err)
{
    qsort(entries, count, sizeof *entries, by_key);
    for (size_t i = 1; i < count; i++)
        if (strcmp(entries[i - 1].key, entries[i].key) == 0)
            return wa_fail(err, WA_E_FORMAT, "entries %zu and %zu have the same key '%s'",
                           entries[i - 1].at, entries[i].at, entries[i].key);
    return WA_OK;
}

static wa_status remark_absent(const reader *r, wa_error *err)
{
    for (size_t i = 0; i < r->file_count; i++)
        if (!r->files[i].there)
            WA_TRY(wa_vindex_remark(r->build, err, "%s: '%s' of %zu entries is not there", MANIFEST,
                                    r->files[i].name, r->files[i].entries));
    return WA_OK;
}

static wa_status check_list(wa_vindex_build *build, const json_t *list, wa_error *err)
{
    reader r = {.build = build};
    size_t count = json_array_size(list);
    weight_entry *entries;
    if (!json_is_array(list))
        return wa_fail(err, WA_E_FORMAT, "found %s, expected an array", wa_json_type_name(list));
    for (size_t p = 0; p < WA_WEIGHT_FILES; p++)
        WA_TRY(wa_arena_take(build->arena, build->vindex->layer_count,
                             sizeof *build->maps->weights[p].layers,
                             &build->maps->weights[p].layers, err));
    WA_TRY(wa_arena_take(build->arena, WA_ROUTER_ROLES * build->vindex->layer_count,
                         sizeof *build->maps->router, &build->maps->router, err));
    WA_TRY(wa_arena_take(build->arena, count, sizeof *entries, &entries, err));
    for (size_t i = 0; i < count; i++) {
        entries[i].at = i;
        if (read_entry(&r, json_array_get(list, i), &entries[i], err) != WA_OK)
            return wa_vindex_note_entry(json_array_get(list, i), i, err);
        keep_ffn(build, &entries[i]);
        keep_router(build, &entries[i]);
    }
    WA_TRY(refuse_duplicates(entries, count, err));
    return remark_absent(&r, err);
}

/* A router decides what is computed: its files count among those of the vindex. */
static wa_status map_routers(wa_vindex_build *build, wa_error *err)
{
    const wa_router_slice *router = build->maps->router;
    bool norms = false, up_weights = false, found;
    for (size_t i = 0; i < WA_ROUTER_ROLES * build->vindex->layer_count; i++) {
        norms = norms || (router[i].elements > 0 && !router[i].in_up_weights);
        up_weights = up_weights || router[i].in_up_weights;
    }
    if (norms || up_weights)
        WA_TRY(wa_vindex_list_file(build, MANIFEST, err));
    if (up_weights) /* mapped already */
        WA_TRY(wa_vindex_list_file(build, wa_weight_file(WA_UP), err));
    return norms ? wa_vindex_map_file(build, NORMS, &build->maps->norms, &found, err) : WA_OK;
}

static wa_status map_kept(wa_vindex_build *build, wa_error *err)
{
    for (int p = WA_UP; p <= WA_DOWN; p++) {
        wa_weight_tier *tier = &build->maps->weights[p - WA_UP];
        bool found;
        WA_TRY(
            wa_vindex_map_side(build, wa_weight_file((wa_projection)p), &tier->map, &found, err));
    }
    return map_routers(build, err);
}

wa_status wa_vindex_weights_check(wa_vindex_build *build, wa_error *err)
{
    wa_map text = {.bytes = {.data = NULL, .size = 0}};
    bool found;
    WA_TRY(wa_vindex_map_side(build, MANIFEST, &text, &found, err));
    if (!found)
        return WA_OK;
    json_t *list;
    wa_status status = wa_json_take(&text, build->maps, &list, err);
    if (status == WA_OK) {
        status = check_list(build, list, err);
        wa_json_close(list);
    }
    if (status != WA_OK)
        return wa_note(err, "in file '%s'", MANIFEST);
    return map_kept(build, err);
}

const char *wa_weight_file(wa_projection projection)
{
    return projection == WA_UP ? "up_weights.bin" : "down_weights.bin";
}

bool wa_vindex_weight(const wa_vindex *vindex, wa_projection projection, size_t layer,
                      wa_matrix *out)
{
    const wa_weight_tier *tier = &vindex->maps->weights[projection - WA_UP];
    if (tier->layers == NULL || !tier->layers[layer].there || tier->map.bytes.data == NULL)
        return false;
    const wa_weight_slice *slice = &tier->layers[layer];
    size_t features = vindex->layers[layer].features;
    size_t stored = projection == WA_UP ? vindex->hidden : features;
    *out = (wa_matrix){.data = tier->map.bytes.data + slice->offset,
                       .name = wa_weight_file(projection),
                       .format = slice->format,
                       .order = projection == WA_UP ? WA_ROWS_PLAIN : WA_ROWS_TRANSPOSED,
                       .rows = features,
                       .cols = vindex->hidden,
                       .row_bytes = stored * wa_format_get(slice->format)->block_bytes,
                       .stored_cols = features};
    return true;
}
