/* down_meta.bin: its structure, though no walk path reads it; upstream refuses a vindex for it
 * (V10). */
#include "vindex/parts.h"

enum { HEADER_BYTES = 16, MAGIC_TEMD = 0x444D4554, MAGIC_DMET = 0x54454D44 };

typedef struct meta_reader {
    wa_bytes file;
    size_t at;
    size_t record_bytes, slots;
    size_t vocab;
} meta_reader;

static wa_status check_token(const meta_reader *r, const uint8_t *at, size_t layer, size_t record,
                             wa_error *err)
{
    uint32_t token = wa_load_u32(at);
    if (token >= r->vocab)
        return wa_fail(err, WA_E_FORMAT, "layer %zu, record %zu: token id %u, vocab_size is %zu",
                       layer, record, token, r->vocab);
    return WA_OK;
}

static wa_status check_records(const meta_reader *r, size_t layer, size_t count, wa_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t *record = r->file.data + r->at + i * r->record_bytes;
        WA_TRY(check_token(r, record, layer, i, err));
        for (size_t s = 0; s < r->slots; s++)
            WA_TRY(check_token(r, record + 8 + 8 * s, layer, i, err));
    }
    return WA_OK;
}

static wa_status check_layer(meta_reader *r, const wa_vindex *vindex, bool counts_known,
                             size_t layer, wa_error *err)
{
    size_t left = r->file.size - r->at;
    if (left < 4)
        return wa_fail(err, WA_E_FORMAT, "layer %zu: needs 4 bytes at %zu, file has %zu", layer,
                       r->at, r->file.size);
    size_t count = wa_load_u32(r->file.data + r->at);
    r->at += 4;
    left -= 4;
    if (counts_known && vindex->layers[layer].features > 0 &&
        count > vindex->layers[layer].features)
        return wa_fail(err, WA_E_FORMAT, "layer %zu: %zu records for %zu features", layer, count,
                       vindex->layers[layer].features);
    if (count > left / r->record_bytes)
        return wa_fail(
            err, WA_E_FORMAT,
            "record %zu of layer %zu runs past the end: %zu records of %zu bytes at %zu, file has "
            "%zu",
            left / r->record_bytes, layer, count, r->record_bytes, r->at, r->file.size);
    WA_TRY(check_records(r, layer, count, err));
    r->at += count * r->record_bytes;
    return WA_OK;
}

static wa_status check_header(meta_reader *r, const wa_vindex *vindex, wa_error *err)
{
    if (r->file.size < HEADER_BYTES)
        return wa_fail(err, WA_E_FORMAT, "%zu bytes, the header alone has %d", r->file.size,
                       HEADER_BYTES);
    uint32_t magic = wa_load_u32(r->file.data), version = wa_load_u32(r->file.data + 4);
    uint32_t layers = wa_load_u32(r->file.data + 8);
    if (magic != MAGIC_TEMD && magic != MAGIC_DMET)
        return wa_fail(err, WA_E_FORMAT, "bad magic %08x, expected %08x", magic, MAGIC_TEMD);
    if (version != 1)
        return wa_fail(err, WA_E_FORMAT, "unsupported version %u, expected 1", version);
    if (layers != vindex->layer_count)
        return wa_fail(err, WA_E_FORMAT, "%u layers, num_layers is %zu", layers,
                       vindex->layer_count);
    r->slots = wa_load_u32(r->file.data + 12);
    r->record_bytes = 8 + 8 * r->slots;
    r->at = HEADER_BYTES;
    return WA_OK;
}

static wa_status check_bytes(wa_bytes file, const wa_vindex_build *build, wa_error *err)
{
    const wa_vindex *vindex = build->vindex;
    meta_reader r = {.file = file, .vocab = vindex->vocab};
    WA_TRY(check_header(&r, vindex, err));
    for (size_t l = 0; l < vindex->layer_count; l++)
        WA_TRY(check_layer(&r, vindex, build->maps->layers_listed, l, err));
    if (r.at != file.size)
        return wa_fail(err, WA_E_FORMAT, "layers end at %zu, file has %zu bytes", r.at, file.size);
    return WA_OK;
}

wa_status wa_vindex_down_meta_check(wa_vindex_build *build, wa_error *err)
{
    static const char name[] = "down_meta.bin";
    bool found, tokenizer;
    wa_map map = {.bytes = {.data = NULL, .size = 0}};
    WA_TRY(wa_vindex_has_entry(build, "tokenizer.json", &tokenizer, err));
    WA_TRY(wa_vindex_map_side(build, name, &map, &found, err));
    if (!found)
        return WA_OK;
    wa_status status = check_bytes(map.bytes, build, err);
    wa_map_close(&map);
    if (status != WA_OK)
        return wa_note(err, "in file '%s'", name);
    if (!tokenizer)
        return wa_vindex_remark(build, err,
                                "%s is there without tokenizer.json: upstream refuses the "
                                "whole vindex",
                                name);
    return WA_OK;
}
