/* K-quant files: which of their two names is read (larql-2026-08 1.1), and the manifest's every
 * entry against the shapes and the file (V7, V8, vindex-format 4.4). */
#include "base/opened.h"
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
    out->format = format == 0 ? WA_FORMAT_Q4_K : WA_FORMAT_GGML_Q6_K;
    WA_TRY(check_shape(entry, want, out, err));
    return check_range(entry, file_size, out, err);
}

/* Entry 3*l + c of the interleaved file: [F, H], [F, H], [H, F]. Entry l of the feature-major one:
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

/* V8: correct here, wrong in LARQL's dequantising path, and declined by its native one (U4,
 * larql-2026-08 1.3). Rows of the feature-major file are read by their width there too. */
static wa_status remark_padding(wa_vindex_build *build, wa_payload payload, wa_error *err)
{
    const wa_vindex *vindex = build->vindex;
    const wa_kquant_slice *slices = build->maps->interleaved_q4k;
    const char *name = wa_vindex_file(vindex, payload);
    if (payload != WA_PAYLOAD_INTERLEAVED_Q4K)
        return WA_OK;
    if (slices[0].padded_cols != vindex->hidden)
        WA_TRY(wa_vindex_remark(build, err,
                                "%s: rows of %zu padded to %zu; LARQL's dequantising path misreads "
                                "them, its native one declines",
                                name, vindex->hidden, slices[0].padded_cols));
    for (size_t l = 0; l < vindex->layer_count; l++) {
        size_t features = vindex->layers[l].features, padded = slices[3 * l + WA_DOWN].padded_cols;
        if (features != padded)
            return wa_vindex_remark(
                build, err,
                "%s: row padding %zu -> %zu in down of layer %zu; LARQL's dequantising path "
                "misreads it, its native one declines",
                name, features, padded, l);
    }
    return WA_OK;
}

/* --- Feature counts (larql-2026-08 1.2) */

/* F of a layer: the bytes of its gate over those of a row. Whole blocks only, as upstream. */
static wa_status count_features(const wa_vindex *vindex, const json_t *entry, size_t *out,
                                wa_error *err)
{
    const char *format;
    uint64_t length;
    WA_TRY(wa_json_string(entry, "format", &format, err));
    WA_TRY(wa_json_u64(entry, "length", &length, err));
    bool q6 = strcmp(format, "Q6_K") == 0;
    size_t block = wa_format_get(q6 ? WA_FORMAT_GGML_Q6_K : WA_FORMAT_Q4_K)->block_bytes;
    size_t row = vindex->hidden / BLOCK * block; /* 12 times that is no overflow: V1 */
    if (length % row != 0 || length / row > SIZE_MAX)
        return wa_fail(err, WA_E_FORMAT, "length %llu is no multiple of a row's %zu bytes",
                       (unsigned long long)length, row);
    *out = (size_t)(length / row);
    return WA_OK;
}

static wa_status add_layer(wa_vindex_build *build, size_t layer, size_t features, wa_error *err)
{
    wa_vindex *vindex = build->vindex;
    size_t *total = &build->maps->feature_total, bytes;
    vindex->layers[layer].features = features;
    vindex->layers[layer].feature_start = *total;
    if (!wa_size_add(*total, features, total) || !wa_size_mul(*total, vindex->hidden, &bytes) ||
        !wa_size_mul(bytes, 12, &bytes))
        return wa_fail(err, WA_E_FORMAT, "12 x hidden_size %zu x %zu features overflows 64 bits",
                       vindex->hidden, *total);
    return WA_OK;
}

static wa_status take_features(wa_vindex_build *build, const json_t *list, wa_error *err)
{
    const wa_vindex *vindex = build->vindex;
    for (size_t l = 0; l < vindex->layer_count; l++) {
        const json_t *entry = json_array_get(list, WA_PROJECTION_COUNT * l);
        size_t features;
        if (count_features(vindex, entry, &features, err) != WA_OK ||
            add_layer(build, l, features, err) != WA_OK)
            return wa_vindex_note_entry(entry, WA_PROJECTION_COUNT * l, err);
    }
    build->maps->layers_listed = build->maps->layers_from_manifest = true;
    return wa_vindex_remark(
        build, err, "index.json lists no layers: feature counts come from the manifest of %s",
        wa_vindex_file(vindex, WA_PAYLOAD_INTERLEAVED_Q4K));
}

/* --- Files */

static wa_status check_list(wa_vindex_build *build, wa_payload payload, const json_t *list,
                            wa_kquant_slice **out, wa_error *err)
{
    wa_vindex *vindex = build->vindex;
    bool counts = payload == WA_PAYLOAD_INTERLEAVED_Q4K && vindex->hidden % BLOCK == 0 &&
                  json_array_size(list) == WA_PROJECTION_COUNT * vindex->layer_count;
    if (!build->maps->layers_listed && counts)
        WA_TRY(take_features(build, list, err));
    vindex->present[payload] = true;
    vindex->readable[payload] = true; /* without layers as empty matrices */
    if (!build->maps->layers_listed)
        /* V7 applies to gated models only; StarCoder2 has two entries per layer and no gate. */
        return wa_vindex_remark(build, err, "%s: not checked, since index.json lists no layers",
                                wa_vindex_file(vindex, payload));
    WA_TRY(check_manifest(build, payload, list, out, err));
    return remark_padding(build, payload, err);
}

static wa_status read_manifest(wa_vindex_build *build, wa_payload payload, const char *manifest,
                               wa_bytes text, wa_kquant_slice **out, wa_error *err)
{
    json_t *list;
    wa_status status = wa_json_parse(text, &list, err);
    if (status == WA_OK) {
        status = check_list(build, payload, list, out, err);
        wa_json_close(list);
    }
    return status == WA_OK ? WA_OK : wa_note(err, "in file '%s'", manifest);
}

/* A payload's file and manifest under its two names. */
static const struct pair {
    wa_payload payload;
    const char *now, *now_manifest, *before, *before_manifest;
} INTERLEAVED = {WA_PAYLOAD_INTERLEAVED_Q4K, "interleaved_kquant.bin",
                 "interleaved_kquant_manifest.json", "interleaved_q4k.bin",
                 "interleaved_q4k_manifest.json"},
  DOWN = {WA_PAYLOAD_DOWN_FEATURES_Q4K, "down_features_kquant.bin",
          "down_features_kquant_manifest.json", "down_features_q4k.bin",
          "down_features_q4k_manifest.json"};

/* The newer name where there is an entry of it, else the older where there is one of that. The
 * manifest is of the same generation as its file, so that a newer file beside an older manifest has
 * none. */
static wa_status choose_names(wa_vindex_build *build, const struct pair *p, const char **manifest,
                              wa_error *err)
{
    wa_vindex *vindex = build->vindex;
    bool now, before, table;
    WA_TRY(wa_vindex_has_entry(build, p->now, &now, err));
    WA_TRY(wa_vindex_has_entry(build, p->before, &before, err));
    WA_TRY(wa_vindex_has_entry(build, p->before_manifest, &table, err));
    bool old = before && !now;
    bool only_table = table && !now; /* nothing but an older manifest: its file is missing */
    vindex->file[p->payload] = old || only_table ? p->before : p->now;
    *manifest = old || only_table ? p->before_manifest : p->now_manifest;
    if (old)
        return wa_vindex_remark(build, err, "%s: name of before 17 May 2026, now %s", p->before,
                                p->now);
    if (before)
        WA_TRY(
            wa_vindex_remark(build, err, "%s is not read, since %s is there", p->before, p->now));
    if (table && now)
        return wa_vindex_remark(build, err, "%s is not read: it belongs to %s", p->before_manifest,
                                p->before);
    return WA_OK;
}

static wa_status open_pair(wa_vindex_build *build, const struct pair *p, wa_kquant_slice **out,
                           wa_error *err)
{
    bool file, table;
    wa_map text = {.bytes = {.data = NULL, .size = 0}};
    const char *manifest;
    WA_TRY(choose_names(build, p, &manifest, err));
    const char *name = wa_vindex_file(build->vindex, p->payload);
    WA_TRY(wa_vindex_map_file(build, name, &build->maps->payload[p->payload], &file, err));
    WA_TRY(wa_vindex_map_file(build, manifest, &text, &table, err));
    wa_status status = wa_opened_keep_map(build->maps, &text, err);
    if (status == WA_OK && file && table)
        status = read_manifest(build, p->payload, manifest, text.bytes, out, err);
    else if (status == WA_OK && file)
        status = wa_vindex_reject(build, p->payload,
                                  "has no manifest (legacy): unusable, taken as absent", err);
    else if (status == WA_OK && table)
        status = wa_vindex_remark(build, err, "manifest '%s' is there without %s", manifest, name);
    wa_map_close(&text);
    return status;
}

wa_status wa_vindex_kquants_open(wa_vindex_build *build, wa_error *err)
{
    WA_TRY(open_pair(build, &INTERLEAVED, &build->maps->interleaved_q4k, err));
    return open_pair(build, &DOWN, &build->maps->down_features_q4k, err);
}
