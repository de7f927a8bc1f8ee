/* index.json: facts, layer table and checksums, each value checked before it is believed (V1 to
 * V3). */
#include "vindex/parts.h"

#include <stdio.h>

static void list_names(const char *const *names, size_t count, char *out, size_t room)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count && used + 1 < room; i++) {
        int more = snprintf(out + used, room - used, "%s%s", i == 0 ? "" : ", ", names[i]);
        if (more < 0)
            return;
        used += (size_t)more;
    }
}

wa_status wa_vindex_choice(const json_t *object, const char *key, const char *const *names,
                           size_t count, int fallback, size_t *out, wa_error *err)
{
    if (json_object_get(object, key) == NULL && fallback >= 0) {
        *out = (size_t)fallback;
        return WA_OK;
    }
    const char *value;
    WA_TRY(wa_json_string(object, key, &value, err));
    for (size_t i = 0; i < count; i++) {
        if (strcmp(value, names[i]) == 0) {
            *out = i;
            return WA_OK;
        }
    }
    char allowed[128];
    list_names(names, count, allowed, sizeof allowed);
    return wa_fail(err, WA_E_FORMAT, "key '%s': found '%s', expected one of: %s", key, value,
                   allowed);
}

wa_status wa_vindex_note_entry(const json_t *entry, size_t at, wa_error *err)
{
    const char *key = json_string_value(json_object_get(entry, "key"));
    return wa_note(err, "entry %zu, '%s'", at, key == NULL ? "?" : key);
}

static wa_status check_version(const json_t *root, wa_error *err)
{
    size_t version;
    WA_TRY(wa_json_size(root, "version", &version, err));
    if (version == 3 || version == 4) /* larql-2026-08 1.2 */
        return wa_fail(err, WA_E_UNSUPPORTED, "VINDEX3 container, schema %zu: not audited",
                       version);
    if (version != 1 && version != 2)
        return wa_fail(err, WA_E_FORMAT, "unsupported version %zu, expected 1 or 2", version);
    return WA_OK;
}

static wa_status take_string(wa_vindex_build *build, const json_t *root, const char *key,
                             const char **out, wa_error *err)
{
    const char *value;
    char *kept;
    WA_TRY(wa_json_string(root, key, &value, err));
    WA_TRY(wa_arena_copy(build->arena, value, strlen(value), &kept, err));
    *out = kept;
    return WA_OK;
}

static wa_status take_count(const json_t *root, const char *key, size_t *out, wa_error *err)
{
    WA_TRY(wa_json_size(root, key, out, err));
    if (*out == 0)
        return wa_fail(err, WA_E_FORMAT, "key '%s': found 0, expected 1 or more", key);
    return WA_OK;
}

static wa_status parse_sizes(wa_vindex *vindex, const json_t *root, wa_error *err)
{
    WA_TRY(take_count(root, "num_layers", &vindex->layer_count, err));
    WA_TRY(take_count(root, "hidden_size", &vindex->hidden, err));
    WA_TRY(wa_json_size(root, "intermediate_size", &vindex->intermediate, err));
    WA_TRY(take_count(root, "vocab_size", &vindex->vocab, err));
    if (vindex->layer_count > WA_VINDEX_LAYERS_MAX)
        return wa_fail(err, WA_E_FORMAT, "num_layers %zu, limit %d", vindex->layer_count,
                       WA_VINDEX_LAYERS_MAX);
    size_t bytes;
    if (!wa_size_mul(vindex->vocab, vindex->hidden, &bytes) || !wa_size_mul(bytes, 4, &bytes))
        return wa_fail(err, WA_E_FORMAT, "vocab_size %zu x hidden_size %zu x 4 overflows 64 bits",
                       vindex->vocab, vindex->hidden);
    return WA_OK;
}

static wa_status require_number(const json_t *object, const char *key, double *out, wa_error *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        return wa_fail(err, WA_E_FORMAT, "key '%s': found %s, expected a number", key,
                       wa_json_type_name(value));
    *out = json_number_value(value);
    return WA_OK;
}

/* Keys whose values we do not use, but whose wrong type makes the file unreadable for upstream. */
static wa_status check_unused(wa_vindex_build *build, const json_t *root, wa_error *err)
{
    wa_vindex *vindex = build->vindex;
    static const char *const quants[] = {"none", "q4k", "kquant"}; /* the last two are one */
    static const char *const layouts[] = {"per_layer"};
    size_t number, choice;
    bool flag;
    WA_TRY(require_number(root, "embed_scale", &vindex->embed_scale, err));
    WA_TRY(wa_json_size(root, "down_top_k", &number, err));
    WA_TRY(wa_vindex_choice(root, "quant", quants, 3, 0, &choice, err));
    WA_TRY(wa_vindex_choice(root, "ffn_layout", layouts, 1, 0, &choice, err));
    build->maps->per_layer = json_object_get(root, "ffn_layout") != NULL;
    return wa_json_bool_or(root, "has_model_weights", false, &flag, err);
}

/* An object that may be null or absent: *out = NULL then. */
static wa_status optional_object(const json_t *root, const char *key, const json_t **out,
                                 wa_error *err)
{
    const json_t *value = json_object_get(root, key);
    *out = NULL;
    if (value == NULL || json_is_null(value))
        return WA_OK;
    if (!json_is_object(value))
        return wa_fail(err, WA_E_FORMAT, "key '%s': found %s, expected an object or null", key,
                       wa_json_type_name(value));
    *out = value;
    return WA_OK;
}

static wa_status remark_shared(wa_vindex_build *build, const json_t *moe, wa_error *err)
{
    bool shared;
    WA_TRY(wa_json_bool_or(moe, "shared_expert", false, &shared, err));
    return shared
               ? wa_vindex_remark(
                     build, err,
                     "the shared expert of each layer has no place in a vindex: it is the model's")
               : WA_OK;
}

static wa_status check_model_config(wa_vindex_build *build, const json_t *root, wa_error *err)
{
    wa_vindex *vindex = build->vindex;
    static const char *const counts[] = {"head_dim", "num_q_heads", "num_kv_heads"};
    const json_t *config, *moe;
    const char *text;
    size_t number;
    WA_TRY(optional_object(root, "model_config", &config, err));
    if (config == NULL)
        return WA_OK;
    WA_TRY(wa_json_string(config, "model_type", &text, err));
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        WA_TRY(wa_json_size(config, counts[i], &number, err));
    WA_TRY(wa_json_size_or(config, "sliding_window", 0, &number, err));
    WA_TRY(optional_object(config, "moe", &moe, err));
    if (moe != NULL)
        WA_TRY(remark_shared(build, moe, err));
    return require_number(config, "rope_base", &vindex->rope_base, err);
}

static wa_status check_source(const json_t *root, wa_error *err)
{
    const json_t *source;
    const char *text;
    WA_TRY(optional_object(root, "source", &source, err));
    if (source == NULL)
        return WA_OK;
    WA_TRY(wa_json_string(source, "extracted_at", &text, err));
    return wa_json_string(source, "larql_version", &text, err);
}

/* Our extension: "walkaudit": {"source_format": {"gate": "Q4_K", …}}. */
static wa_status parse_extension(wa_vindex_build *build, const json_t *root, wa_error *err)
{
    const json_t *extension, *formats;
    WA_TRY(optional_object(root, "walkaudit", &extension, err));
    if (extension == NULL)
        return WA_OK;
    WA_TRY(optional_object(extension, "source_format", &formats, err));
    for (int p = 0; formats != NULL && p < WA_PROJECTION_COUNT; p++)
        WA_TRY(take_string(build, formats, wa_projection_name((wa_projection)p),
                           &build->vindex->source_format[p], err));
    return WA_OK;
}

/* Of the vindex itself, or of its folder of layers. */
static bool is_inside(const char *file)
{
    static const char layers[] = "layers/";
    bool in_layers = strncmp(file, layers, sizeof layers - 1) == 0;
    return wa_name_is_plain(in_layers ? file + sizeof layers - 1 : file);
}

static wa_status parse_hash(wa_vindex_build *build, const char *file, const json_t *value,
                            wa_vindex_hash *out, wa_error *err)
{
    const char *hex = json_string_value(value);
    if (!is_inside(file))
        return wa_fail(err, WA_E_FORMAT, "checksums: path separator in file name '%s'", file);
    if (hex == NULL || json_string_length(value) != 64 || strspn(hex, "0123456789abcdef") != 64)
        return wa_fail(err, WA_E_FORMAT, "checksums: '%s' has no 64 lowercase hexadecimal digits",
                       file);
    char *kept_file, *kept_hex;
    WA_TRY(wa_arena_copy(build->arena, file, strlen(file), &kept_file, err));
    WA_TRY(wa_arena_copy(build->arena, hex, 64, &kept_hex, err));
    *out = (wa_vindex_hash){.file = kept_file, .hex = kept_hex};
    return WA_OK;
}

static wa_status parse_hashes(wa_vindex_build *build, json_t *root, wa_error *err)
{
    const json_t *table;
    WA_TRY(optional_object(root, "checksums", &table, err));
    if (table == NULL)
        return WA_OK;
    wa_vindex_hash *hashes;
    WA_TRY(wa_arena_take(build->arena, json_object_size(table), sizeof *hashes, &hashes, err));
    const char *file;
    json_t *value;
    size_t count = 0;
    json_object_foreach(json_object_get(root, "checksums"), file, value)
        WA_TRY(parse_hash(build, file, value, &hashes[count++], err));
    build->maps->hashes = hashes;
    build->maps->hash_count = count;
    return WA_OK;
}

/* V3 as far as index.json alone tells: the offset is aligned and the length is that of F rows. */
static wa_status parse_gate_range(const wa_vindex *vindex, const json_t *entry, size_t layer,
                                  wa_vindex_layer *out, wa_error *err)
{
    size_t element = wa_format_get(vindex->gate_format)->block_bytes;
    size_t expected;
    uint64_t length;
    WA_TRY(wa_json_u64(entry, "offset", &out->gate_offset, err));
    WA_TRY(wa_json_u64(entry, "length", &length, err));
    if (out->gate_offset % element != 0)
        return wa_fail(err, WA_E_FORMAT,
                       "layer %zu: offset %llu is no multiple of the element size %zu", layer,
                       (unsigned long long)out->gate_offset, element);
    if (!wa_size_mul(out->features, vindex->hidden, &expected) ||
        !wa_size_mul(expected, element, &expected))
        return wa_fail(err, WA_E_FORMAT,
                       "layer %zu: num_features %zu x hidden_size %zu overflows 64 bits", layer,
                       out->features, vindex->hidden);
    if (length != expected)
        return wa_fail(err, WA_E_FORMAT, "layer %zu: length %llu, expected %zu (%zu x %zu %s)",
                       layer, (unsigned long long)length, expected, out->features, vindex->hidden,
                       wa_format_get(vindex->gate_format)->name);
    return WA_OK;
}

/* A layer that the list leaves out has no feature, at the place where its gate would begin. */
static void leave_out(wa_vindex_build *build, size_t layer)
{
    wa_vindex *vindex = build->vindex;
    size_t start = build->maps->feature_total, offset = 0;
    /* of sums that overflow all layers together tell */
    if (wa_size_mul(start, vindex->hidden, &offset) &&
        !wa_size_mul(offset, wa_format_get(vindex->gate_format)->block_bytes, &offset))
        offset = 0;
    vindex->layers[layer] = (wa_vindex_layer){.feature_start = start, .gate_offset = offset};
}

/* *next: the layer that the entry should be of. Where FFNs lie in layers/, LARQL lists no dense
 * ones, so that it may be a later. */
static wa_status parse_layer(wa_vindex_build *build, const json_t *entry, size_t at, size_t *next,
                             wa_error *err)
{
    wa_vindex *vindex = build->vindex;
    size_t named;
    if (!json_is_object(entry))
        return wa_fail(err, WA_E_FORMAT, "layers[%zu]: found %s, expected an object", at,
                       wa_json_type_name(entry));
    WA_TRY(wa_json_size(entry, "layer", &named, err));
    if (named >= vindex->layer_count)
        return wa_fail(err, WA_E_FORMAT, "layers[%zu] names layer %zu, beyond num_layers %zu", at,
                       named, vindex->layer_count);
    if (named != *next && !(build->maps->per_layer && named > *next))
        return wa_fail(err, WA_E_FORMAT, "layers[%zu] names layer %zu, expected %zu", at, named,
                       *next);
    while (*next < named)
        leave_out(build, (*next)++);
    wa_vindex_layer *layer = &vindex->layers[(*next)++];
    WA_TRY(wa_json_size(entry, "num_features", &layer->features, err));
    WA_TRY(parse_gate_range(vindex, entry, named, layer, err));
    layer->feature_start = build->maps->feature_total;
    if (!wa_size_add(build->maps->feature_total, layer->features, &build->maps->feature_total))
        return wa_fail(err, WA_E_FORMAT, "the sum of num_features overflows 64 bits");
    return WA_OK;
}

static wa_status parse_layers(wa_vindex_build *build, const json_t *root, wa_error *err)
{
    wa_vindex *vindex = build->vindex;
    const json_t *list = json_object_get(root, "layers");
    if (!json_is_array(list))
        return wa_fail(err, WA_E_FORMAT, "key 'layers': found %s, expected an array",
                       wa_json_type_name(list));
    size_t count = json_array_size(list);
    build->maps->layers_listed = count > 0;
    if (count != 0 && count < vindex->layer_count && !build->maps->per_layer)
        return wa_fail(err, WA_E_FORMAT, "%zu of %zu layers listed", count, vindex->layer_count);

    WA_TRY(wa_arena_take(build->arena, vindex->layer_count, sizeof *vindex->layers, &vindex->layers,
                         err));
    size_t next = 0;
    for (size_t i = 0; i < count && i < vindex->layer_count; i++)
        WA_TRY(parse_layer(build, json_array_get(list, i), i, &next, err));
    while (count > 0 && next < vindex->layer_count)
        leave_out(build, next++);
    if (count > vindex->layer_count)
        return wa_fail(err, WA_E_FORMAT, "%zu layers listed, num_layers is %zu", count,
                       vindex->layer_count);
    size_t bytes;
    if (!wa_size_mul(build->maps->feature_total, vindex->hidden, &bytes) ||
        !wa_size_mul(bytes, 12, &bytes))
        return wa_fail(err, WA_E_FORMAT, "12 x hidden_size %zu x %zu features overflows 64 bits",
                       vindex->hidden, build->maps->feature_total);
    return WA_OK;
}

static wa_status parse_root(wa_vindex_build *build, json_t *root, wa_error *err)
{
    static const char *const levels[] = {"browse", "attention", "inference", "all"};
    static const char *const dtypes[] = {"f32", "f16"};
    wa_vindex *vindex = build->vindex;
    size_t level, dtype;
    const json_t *fp4;
    if (!json_is_object(root))
        return wa_fail(err, WA_E_FORMAT, "found %s, expected an object", wa_json_type_name(root));
    WA_TRY(check_version(root, err));
    WA_TRY(take_string(build, root, "model", &vindex->model, err));
    WA_TRY(take_string(build, root, "family", &vindex->family, err));
    WA_TRY(wa_vindex_choice(root, "extract_level", levels, 4, 0, &level, err));
    WA_TRY(wa_vindex_choice(root, "dtype", dtypes, 2, 0, &dtype, err));
    vindex->extract_level = levels[level];
    vindex->gate_format = dtype == 0 ? WA_FORMAT_F32 : WA_FORMAT_F16;
    WA_TRY(parse_sizes(vindex, root, err));
    WA_TRY(check_unused(build, root, err));
    WA_TRY(check_model_config(build, root, err));
    WA_TRY(check_source(root, err));
    WA_TRY(parse_extension(build, root, err));
    WA_TRY(parse_hashes(build, root, err));
    WA_TRY(parse_layers(build, root, err));
    WA_TRY(optional_object(root, "fp4", &fp4, err));
    return fp4 == NULL ? WA_OK : wa_vindex_fp4_parse(build, fp4, err);
}

wa_status wa_vindex_index_open(wa_vindex_build *build, wa_error *err)
{
    wa_map map;
    bool found;
    WA_TRY(wa_vindex_map_file(build, "index.json", &map, &found, err));
    if (!found)
        return wa_fail(err, WA_E_FORMAT, "index.json is absent or empty: not a vindex");
    json_t *root;
    wa_status status = wa_json_take(&map, build->maps, &root, err);
    if (status == WA_OK) {
        status = parse_root(build, root, err);
        wa_json_close(root);
    }
    return status == WA_OK ? WA_OK : wa_note(err, "in index.json");
}
