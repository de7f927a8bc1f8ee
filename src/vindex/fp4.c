/* FP4 storage: the fp4 object of index.json and the files it names (V9, vindex-format 2.8, 4.6). */
#include "vindex/parts.h"
#include "vindex/scan.h"

enum { BLOCK = 256, FP4_SCALES_AT = 128, FP8_SCALE_AT = 256 };

static const char *const PRECISIONS[] = {
#define PRECISION_NAME(id, name) name,
    WA_FP4_PRECISION_LIST(PRECISION_NAME)
#undef PRECISION_NAME
};
enum { PRECISION_COUNT = sizeof PRECISIONS / sizeof PRECISIONS[0] };

static wa_status expect_number(const json_t *object, const char *key, size_t expected,
                               wa_error *err)
{
    size_t found;
    WA_TRY(wa_json_size(object, key, &found, err));
    if (found != expected)
        return wa_fail(err, WA_E_FORMAT, "key '%s': found %zu, expected %zu", key, found, expected);
    return WA_OK;
}

static wa_status expect_text(const json_t *object, const char *key, const char *expected,
                             wa_error *err)
{
    const char *found;
    WA_TRY(wa_json_string(object, key, &found, err));
    if (strcmp(found, expected) != 0)
        return wa_fail(err, WA_E_FORMAT, "key '%s': found '%s', expected '%s'", key, found,
                       expected);
    return WA_OK;
}

static wa_status check_constants(const json_t *fp4, wa_error *err)
{
    size_t version;
    WA_TRY(wa_json_size(fp4, "fp4_format_version", &version, err));
    if (version != 1)
        return wa_fail(err, WA_E_FORMAT, "unsupported FP4 version %zu, expected 1", version);
    WA_TRY(expect_number(fp4, "block_elements", BLOCK, err));
    WA_TRY(expect_number(fp4, "sub_block_elements", 32, err));
    WA_TRY(expect_text(fp4, "sub_block_scale_dtype", "fp8_e4m3", err));
    WA_TRY(expect_text(fp4, "block_scale_dtype", "fp8_e4m3", err));
    return expect_text(fp4, "value_encoding", "fp4_e2m1_mxfp4_nibble_order", err);
}

/* Advisory, but upstream cannot read an index.json without it. */
static wa_status check_compliance(const json_t *fp4, wa_error *err)
{
    static const char *const numbers[] = {"threshold_ratio", "min_compliant_fraction"};
    const json_t *gate = json_object_get(fp4, "compliance_gate");
    const char *report;
    size_t fallback;
    for (size_t i = 0; i < 2; i++)
        if (!json_is_number(json_object_get(gate, numbers[i])))
            return wa_fail(err, WA_E_FORMAT,
                           "key 'compliance_gate.%s': found %s, expected a number", numbers[i],
                           wa_json_type_name(json_object_get(gate, numbers[i])));
    WA_TRY(wa_vindex_choice(gate, "fallback_precision", PRECISIONS, PRECISION_COUNT, -1, &fallback,
                            err));
    return wa_json_string(fp4, "compliance_report", &report, err);
}

static wa_status parse_projection(wa_vindex_build *build, const json_t *projections,
                                  wa_projection which, wa_error *err)
{
    const char *name = wa_projection_name(which), *file;
    const json_t *entry = json_object_get(projections, name);
    wa_fp4_projection *out = &build->maps->fp4[which];
    size_t precision;
    char *kept;
    if (!json_is_object(entry))
        return wa_fail(err, WA_E_FORMAT, "key 'projections.%s': found %s, expected an object", name,
                       wa_json_type_name(entry));
    if (wa_vindex_choice(entry, "precision", PRECISIONS, PRECISION_COUNT, -1, &precision, err) !=
            WA_OK ||
        wa_json_string(entry, "file", &file, err) != WA_OK)
        return wa_note(err, "in projections.%s", name);
    if (!wa_name_is_plain(file))
        return wa_fail(err, WA_E_FORMAT,
                       "projections.%s: path separator in file name '%s', expected a name "
                       "inside the vindex",
                       name, file);
    WA_TRY(wa_arena_copy(build->arena, file, strlen(file), &kept, err));
    out->precision = (wa_fp4_precision)precision;
    out->file = kept;
    return WA_OK;
}

/* Blocks cover whole rows: H itself, or H padded with zeros by our own writer (design 9). */
static wa_status parse_row(wa_vindex_build *build, const json_t *fp4, wa_error *err)
{
    size_t hidden = build->vindex->hidden, padded, row;
    WA_TRY(wa_json_size_or(fp4, "padded_hidden", hidden, &row, err));
    if (!wa_pad256(hidden, &padded))
        return wa_fail(err, WA_E_FORMAT, "hidden_size %zu cannot be padded to 256", hidden);
    if (row == hidden && row != padded)
        return wa_fail(err, WA_E_FORMAT, "hidden_size %zu, expected a multiple of 256", hidden);
    if (row != padded)
        return wa_fail(err, WA_E_FORMAT, "padded_hidden %zu, expected %zu for hidden_size %zu", row,
                       padded, hidden);
    build->maps->fp4_row_elements = row;
    return WA_OK;
}

static wa_status parse_object(wa_vindex_build *build, const json_t *fp4, wa_error *err)
{
    const json_t *projections = json_object_get(fp4, "projections");
    WA_TRY(check_constants(fp4, err));
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        WA_TRY(parse_projection(build, projections, (wa_projection)p, err));
    WA_TRY(check_compliance(fp4, err));
    return parse_row(build, fp4, err);
}

wa_status wa_vindex_fp4_parse(wa_vindex_build *build, const json_t *fp4, wa_error *err)
{
    if (parse_object(build, fp4, err) != WA_OK)
        return wa_note(err, "in fp4");
    build->maps->fp4_listed = true;
    return WA_OK;
}

static size_t block_bytes(wa_fp4_precision precision)
{
    return wa_format_get(wa_fp4_format(precision))->block_bytes;
}

static wa_status check_size(const wa_vindex_build *build, const wa_fp4_projection *projection,
                            wa_error *err)
{
    size_t size = projection->map.bytes.size, expected;
    if (!build->maps->layers_listed)
        return WA_OK;
    if (!wa_size_mul(build->maps->feature_total, build->maps->fp4_row_elements / BLOCK,
                     &expected) ||
        !wa_size_mul(expected, block_bytes(projection->precision), &expected))
        return wa_fail(err, WA_E_FORMAT, "%zu features of %zu elements overflow 64 bits",
                       build->maps->feature_total, build->maps->fp4_row_elements);
    if (size != expected)
        return wa_fail(err, WA_E_FORMAT, "%zu of %zu bytes", size, expected);
    return WA_OK;
}

/* A named file must be there; the data of f16 and f32 tags lies in the ordinary files (checked
 * there). */
static wa_status open_projection(wa_vindex_build *build, wa_projection which, wa_error *err)
{
    wa_fp4_projection *projection = &build->maps->fp4[which];
    bool there, found;
    WA_TRY(wa_vindex_has_entry(build, projection->file, &there, err));
    if (!there)
        return wa_fail(err, WA_E_FORMAT, "index.json names file '%s' for %s, which is absent",
                       projection->file, wa_projection_name(which));
    if (!wa_fp4_has_blocks(projection->precision))
        return WA_OK;
    WA_TRY(wa_vindex_map_file(build, projection->file, &projection->map, &found, err));
    if (check_size(build, projection, err) != WA_OK)
        return wa_note(err, "in file '%s'", projection->file);
    return WA_OK;
}

/* Walk paths read up and down; one tagged f16 or f32 is where upstream looks, whatever name stands
 * beside the tag (vindex-format 2.8). */
static wa_status settle_readable(wa_vindex_build *build, wa_error *err)
{
    wa_vindex *vindex = build->vindex;
    for (int p = WA_UP; p <= WA_DOWN; p++) {
        wa_payload serving = wa_vindex_serving(vindex, WA_PAYLOAD_FP4, (wa_projection)p);
        if (serving != WA_PAYLOAD_FP4 && !vindex->present[serving])
            return wa_vindex_remark(build, err,
                                    "fp4: %s is tagged f16 or f32 but %s is absent: the fp4 "
                                    "projections cannot be read",
                                    wa_projection_name((wa_projection)p), wa_payload_file(serving));
    }
    vindex->readable[WA_PAYLOAD_FP4] = true;
    return WA_OK;
}

/* Upstream chooses features by gate_vectors.bin alone (vindex-format 8, U8). */
static wa_status remark_gate(wa_vindex_build *build, wa_error *err)
{
    const wa_fp4_projection *gate = &build->maps->fp4[WA_GATE];
    if (!wa_fp4_has_blocks(gate->precision))
        return WA_OK;
    return wa_vindex_remark(build, err,
                            "fp4: '%s' is not read: every walk path takes its gate from %s",
                            gate->file, wa_payload_file(WA_PAYLOAD_GATE));
}

wa_status wa_vindex_fp4_open(wa_vindex_build *build, wa_error *err)
{
    if (!build->maps->fp4_listed)
        return WA_OK;
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        WA_TRY(open_projection(build, (wa_projection)p, err));
    build->vindex->present[WA_PAYLOAD_FP4] = true;
    WA_TRY(remark_gate(build, err));
    return settle_readable(build, err);
}

static bool is_nan_scale(uint8_t code)
{
    return (code & 0x7f) == 0x7f; /* E4M3: 7F and FF are its only NaNs (vindex-format 5.8) */
}

static size_t nan_scales(const uint8_t *block, wa_fp4_precision precision)
{
    size_t count = 0;
    size_t first = precision == WA_FP4_PRECISION_FP8 ? FP8_SCALE_AT : FP4_SCALES_AT;
    for (size_t i = first; i < block_bytes(precision); i++)
        count += is_nan_scale(block[i]);
    return count;
}

static wa_status report_nan(const wa_vindex *vindex, const wa_fp4_projection *projection,
                            size_t count, size_t row, wa_error *err)
{
    size_t layer = 0;
    while (layer + 1 < vindex->layer_count && row >= vindex->layers[layer + 1].feature_start)
        layer++;
    return wa_fail(err, WA_E_FORMAT,
                   "%zu NaN scales, the first at layer %zu, feature %zu; in file '%s'", count,
                   layer, row - vindex->layers[layer].feature_start, projection->file);
}

wa_status wa_vindex_check_fp4_scales(const wa_vindex *vindex, wa_error *err)
{
    const wa_vindex_maps *maps = vindex->maps;
    if (!maps->layers_listed)
        return WA_OK;
    for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
        const wa_fp4_projection *projection = &maps->fp4[p];
        if (!wa_fp4_has_blocks(projection->precision))
            continue;
        size_t bytes = block_bytes(projection->precision), per_row = maps->fp4_row_elements / BLOCK;
        size_t blocks = projection->map.bytes.size / bytes, count = 0, first = 0;
        for (size_t b = 0; b < blocks; b++) {
            size_t more = nan_scales(projection->map.bytes.data + b * bytes, projection->precision);
            first = count == 0 && more > 0 ? b : first;
            count += more;
        }
        if (count > 0)
            return report_nan(vindex, projection, count, first / per_row, err);
    }
    return WA_OK;
}
