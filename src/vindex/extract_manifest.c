/* Manifests of K-quant files: name, padded shape, format and place of every matrix. */
#include "vindex/extract_manifest.h"
#include "vindex/extract_json.h"

#include <stdio.h>

/* Shape as stored: padded columns, and padded rows where the file pads features. */
static wa_status stored_shape(const wa_model *model, const wa_extract_file *file,
                              const wa_extract_part *part, size_t *rows, size_t *cols,
                              wa_error *err)
{
    *rows = part->by_hidden ? model->hidden : model->intermediate;
    *cols = part->by_hidden ? model->intermediate : model->hidden;
    if (!wa_pad256(*cols, cols) || (file->pad_features && !wa_pad256(*rows, rows)))
        return wa_fail(err, WA_E_UNSUPPORTED, "[%zu, %zu] cannot be padded to 256", *rows, *cols);
    return WA_OK;
}

static wa_status add_entry(const wa_model *model, const wa_extract_file *file, size_t layer,
                           const wa_extract_part *part, json_t *list, uint64_t *offset,
                           wa_error *err)
{
    const wa_format_info *info = wa_format_get(part->encoding.format);
    size_t rows, cols, length;
    char key[64];
    WA_TRY(stored_shape(model, file, part, &rows, &cols, err));
    if (!wa_size_mul(rows, cols / info->block_elements * info->block_bytes, &length))
        return wa_fail(err, WA_E_UNSUPPORTED, "[%zu, %zu] overflows 64 bits", rows, cols);
    snprintf(key, sizeof key, "layers.%zu.mlp.%s_proj.weight", layer,
             wa_projection_name(part->projection));
    json_array_append_new(list,
                          json_pack("{s:s, s:[I, I], s:s, s:I, s:I}", "key", key, "shape",
                                    (json_int_t)rows, (json_int_t)cols, "format", info->name,
                                    "offset", (json_int_t)*offset, "length", (json_int_t)length));
    *offset += length;
    return WA_OK;
}

wa_status wa_extract_write_manifest(const wa_model *model, const wa_extract_file *file,
                                    const wa_staging *staging, wa_error *err)
{
    json_t *list = json_array();
    uint64_t offset = 0;
    wa_status status = WA_OK;
    for (size_t l = 0; l < model->layer_count && status == WA_OK; l++)
        for (size_t p = 0; p < file->part_count && status == WA_OK; p++)
            status = add_entry(model, file, l, &file->parts[p], list, &offset, err);
    if (status == WA_OK)
        return wa_extract_write_json(staging, file->manifest, list, err);
    json_decref(list);
    return status;
}
