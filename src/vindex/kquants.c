/* K-quant files: the manifest's every entry against the shapes and the file (V7, V8,
 * vindex-format 4.4). */
#include "vindex/parts.h"

#include <stdio.h>

enum { OLD_Q4_K_BYTES = 148, BLOCK = 256 };

static const char *const ROLE_NAMES[WA_PROJECTION_COUNT] = {"gate_proj", "up_proj", "down_proj"};

/* What an entry must be, from its place in the list. */
typedef struct expectation {
    size_t layer;
    wa_projection projection;
    size_t rows, cols; /* before padding of cols */
} expectation;

/* "layers.<layer>." at the start of the key or after a dot. */
static bool names_layer(const char *key, size_t layer)
{
    char part[40];
    snprintf(part, sizeof part, "layers.%zu.", layer);
    for (const char *at = strstr(key, part); at != NULL; at = strstr(at + 1, part))
        if (at == key || at[-1] == '.')
            return true;
    return false;
}

static const char *role_in(const char *key)
{
    for (size_t p = 0; p < WA_PROJECTION_COUNT; p++)
        if (strstr(key, ROLE_NAMES[p]) != NULL)
            return ROLE_NAMES[p];
    return "no FFN projection";
}

static wa_status check_key(const json_t *entry, const expectation *want, wa_error *err)
{
    const char *key;
    WA_TRY(wa_json_string(entry, "key", &key, err));
    if (strcmp(role_in(key), ROLE_NAMES[want->projection]) != 0)
        return wa_fail(err, WA_E_FORMAT, "is %s, expected %s of layer %zu", role_in(key),
                       ROLE_NAMES[want->projection], want->layer);
    if (!names_layer(key, want->layer))
        return wa_fail(err, WA_E_FORMAT, "is of another layer, expected layer %zu", want->layer);
    return WA_OK;
}

static wa_status check_shape(const json_t *entry, const expectation *want, wa_kquant_slice *out,
                             wa_error *err)
{
    const json_t *shape = json_object_get(entry, "shape");
    const json_t *rows = json_array_get(shape, 0), *cols = json_array_get(shape, 1);
    if (json_array_size(shape) != 2 || !json_is_integer(rows) || !json_is_integer(cols))
        return wa_fail(err, WA_E_FORMAT, "key 'shape': expected two integers");
    json_int_t found_rows = json_integer_value(rows), found_cols = json_integer_value(cols);
    size_t padded;
    if (!wa_pad256(want->cols, &padded))
        return wa_fail(err, WA_E_FORMAT, "a row of %zu elements cannot be padded to 256",
                       want->cols);
    if (found_rows < 0 || found_cols < 0 || (size_t)found_rows != want->rows ||
        (size_t)found_cols != padded)
        return wa_fail(err, WA_E_FORMAT,
                       "shape [%" JSON_INTEGER_FORMAT ", %" JSON_INTEGER_FORMAT
                       "], expected [%zu, %zu] (%zu padded to a multiple of 256)",
                       found_rows, found_cols, want->rows, padded, want->cols);
    out->rows = want->rows;
    out->padded_cols = padded;
    return WA_OK;
}

static wa_status check_range(const json_t *entry, size_t file_size, wa_kquant_slice *out,
                             wa_error *err)
{
    uint64_t length;
    size_t blocks, expected, block_bytes = wa_format_get(out->format)->block_bytes;
    WA_TRY(wa_json_u64(entry, "offset", &out->offset, err));
    WA_TRY(wa_json_u64(entry, "length", &length, err));
    if (!wa_size_mul(out->rows, out->padded_cols / BLOCK, &blocks) ||
        !wa_size_mul(blocks, block_bytes, &expected))
        return wa_fail(err, WA_E_FORMAT, "shape [%zu, %zu] overflows 64 bits", out->rows,
                       out->padded_cols);
    if (out->format == WA_FORMAT_Q4_K && length != expected && blocks > 0 &&
        length == blocks * OLD_Q4_K_BYTES)
        return wa_fail(
            err, WA_E_FORMAT,
            "length %llu, expected %zu: obsolete 148-byte Q4_K blocks, extract the vindex anew",
            (unsigned long long)length, expected);
    if (length != expected)
        return wa_fail(err, WA_E_FORMAT, "length %llu, expected %zu (%zu blocks of %zu bytes)",
                       (unsigned long long)length, expected, blocks, block_bytes);
    if (out->offset > file_size || length > file_size - out->offset) {
        uint64_t end = out->offset > UINT64_MAX - length ? UINT64_MAX : out->offset + length;
        return wa_fail(err, WA_E_FORMAT, "range [%llu, %llu) ends beyond the file's %zu bytes",
                       (unsigned long long)out->offset, (unsigned long long)end, file_size);
    }
    out->length = expected;
    return WA_OK;
}

static wa_status check_entry(const json_t *entry, const expectation *want, size_t file_size,
                             wa_kquant_slice *out, wa_error *err)
{
    static const char *const formats[] = {"Q4_K", "Q6_K"};
    size_t format;
    const char *name;
    if (!json_is_object(entry))
        return wa_fail(err, WA_E_FORMAT, "found %s, expected an object", wa_json_type_name(entry));
    WA_TRY(check_key(entry, want, err));
    WA_TRY(wa_json_string(entry, "format", &name, err));
    if (wa_vindex_choice(entry, "format", formats, 2, -1, &format, err) != WA_OK)
        return wa_fail(err, WA_E_FORMAT, "unknown format %s, expected Q4_K or Q6_K", name);
    out->format = format == 0 ? WA_FORMAT_Q4_K : WA_FORMAT_Q6_K;
    WA_TRY(check_shape(entry, want, out, err));
    return check_range(entry, file_size, out, err);
}

/* Entry 3*l + c of interleaved_q4k: [F, H], [F, H], [H, F]. Entry l of down_features_q4k:
 * [pad256(F), H]. */
static wa_status expect(const wa_vindex *vindex, wa_payload payload, size_t at, expectation *out,
                        wa_error *err)
{
    bool interleaved = payload == WA_PAYLOAD_INTERLEAVED_Q4K;
    size_t layer = interleaved ? at / 3 : at;
    size_t features = vindex->layers[layer].features;
    *out = (expectation){.layer = layer,
                         .projection = interleaved ? (wa_projection)(at % 3) : WA_DOWN,
                         .rows = features,
                         .cols = vindex->hidden};
    if (interleaved && out->projection == WA_DOWN) {
        out->rows = vindex->hidden;
        out->cols = features;
    }
    if (!interleaved && !wa_pad256(features, &out->rows))
        return wa_fail(err, WA_E_FORMAT, "%zu features cannot be padded to 256", features);
    return WA_OK;
}

static wa_status check_manifest(wa_vindex_build *build, wa_payload payload, const json_t *list,
                                wa_kquant_slice **out, wa_error *err)
{
    const wa_vindex *vindex = build->vindex;
    size_t expected = (payload == WA_PAYLOAD_INTERLEAVED_Q4K ? 3 : 1) * vindex->layer_count;
    size_t file_size = build->maps->payload[payload].bytes.size;
    if (!json_is_array(list))
        return wa_fail(err, WA_E_FORMAT, "found %s, expected an array", wa_json_type_name(list));
    if (json_array_size(list) != expected)
        return wa_fail(err, WA_E_FORMAT, "%zu entries, expected %zu", json_array_size(list),
                       expected);
    wa_kquant_slice *slices;
    WA_TRY(wa_arena_take(build->arena, expected, sizeof *slices, &slices, err));
    for (size_t i = 0; i < expected; i++) {
        const json_t *entry = json_array_get(list, i);
        expectation want;
        WA_TRY(expect(vindex, payload, i, &want, err));
        if (check_entry(entry, &want, file_size, &slices[i], err) != WA_OK)
            return wa_vindex_note_entry(entry, i, err);
    }
    *out = slices;
    return WA_OK;
}

/* V8: correct here, wrong upstream (U4). Rows of down_features_q4k.bin are read by their width there
 * too. */
static wa_status remark_padding(wa_vindex_build *build, wa_payload payload, wa_error *err)
{
    const wa_vindex *vindex = build->vindex;
    const wa_kquant_slice *slices = build->maps->interleaved_q4k;
    const char *name = wa_payload_file(payload);
    if (payload != WA_PAYLOAD_INTERLEAVED_Q4K)
        return WA_OK;
    if (slices[0].padded_cols != vindex->hidden)
        WA_TRY(wa_vindex_remark(build, err, "%s: rows of %zu padded to %zu; upstream misreads them",
                                name, vindex->hidden, slices[0].padded_cols));
    for (size_t l = 0; l < vindex->layer_count; l++) {
        size_t features = vindex->layers[l].features, padded = slices[3 * l + WA_DOWN].padded_cols;
        if (features != padded)
            return wa_vindex_remark(
                build, err, "%s: row padding %zu -> %zu in down of layer %zu; upstream misreads it",
                name, features, padded, l);
    }
    return WA_OK;
}

static wa_status read_manifest(wa_vindex_build *build, wa_payload payload, const char *manifest,
                               wa_bytes text, wa_kquant_slice **out, wa_error *err)
{
    json_t *list;
    wa_status status = wa_json_parse(text, &list, err);
    if (status == WA_OK) {
        status = check_manifest(build, payload, list, out, err);
        wa_json_close(list);
    }
    if (status != WA_OK)
        return wa_note(err, "in file '%s'", manifest);
    build->vindex->present[payload] = true;
    build->vindex->readable[payload] = true;
    return remark_padding(build, payload, err);
}

static wa_status open_pair(wa_vindex_build *build, wa_payload payload, const char *manifest,
                           wa_kquant_slice **out, wa_error *err)
{
    bool file, table;
    wa_map text = {.bytes = {.data = NULL, .size = 0}};
    const char *name = wa_payload_file(payload);
    WA_TRY(wa_vindex_map_file(build, name, &build->maps->payload[payload], &file, err));
    WA_TRY(wa_vindex_map_file(build, manifest, &text, &table, err));
    wa_status status = WA_OK;
    if (file && table && build->maps->layers_listed) {
        status = read_manifest(build, payload, manifest, text.bytes, out, err);
    } else if (file && table) {
        /* V7 applies to gated models only; StarCoder2 has two entries per layer and no gate. */
        build->vindex->present[payload] = true;
        build->vindex->readable[payload] = true; /* as empty matrices */
        status =
            wa_vindex_remark(build, err, "%s: not checked, since index.json lists no layers", name);
    } else if (file) {
        status = wa_vindex_reject(build, payload,
                                  "has no manifest (legacy): unusable, taken as absent", err);
    } else if (table) {
        status = wa_vindex_remark(build, err, "manifest '%s' is there without %s", manifest, name);
    }
    wa_map_close(&text);
    return status;
}

wa_status wa_vindex_kquants_open(wa_vindex_build *build, wa_error *err)
{
    WA_TRY(open_pair(build, WA_PAYLOAD_INTERLEAVED_Q4K, "interleaved_q4k_manifest.json",
                     &build->maps->interleaved_q4k, err));
    return open_pair(build, WA_PAYLOAD_DOWN_FEATURES_Q4K, "down_features_q4k_manifest.json",
                     &build->maps->down_features_q4k, err);
}
