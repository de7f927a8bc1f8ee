/* Views of codes whose scales lie in tensors of their own. */
#include "model/weights_scales.h"

#include <stdio.h>
#include <string.h>

/* The type of a stored scale; false of others. */
static bool find_scale_format(const wa_tensor *scales, wa_format *out)
{
    bool is_power =
        strcmp(scales->type_name, "U8") == 0 || strcmp(scales->type_name, "F8_E8M0") == 0;
    *out = is_power ? WA_FORMAT_E8M0 : scales->format;
    return is_power || (scales->format != WA_FORMAT_COUNT && scales->format != WA_FORMAT_F64 &&
                        wa_format_is_float(scales->format));
}

static size_t pieces(size_t all, size_t piece)
{
    return all / piece + (all % piece != 0);
}

/* How many rows and columns of codes [rows, cols] share a scale. */
static bool find_rectangle(const wa_config *config, const wa_tensor *scales, size_t rows,
                           size_t cols, wa_scales *out)
{
    size_t down = scales->rank > 0 ? scales->shape[0] : 1,
           across = scales->rank > 1 ? scales->shape[1] : 1;
    out->rows = down == 1 ? rows : 1;
    out->cols = cols;
    if (scales->rank <= 2 && across == 1 && (down == 1 || down == rows))
        return true;
    out->rows = config->scale_rows;
    out->cols = config->scale_cols;
    return scales->rank == 2 && out->rows > 0 && down == pieces(rows, out->rows) &&
           across == pieces(cols, out->cols);
}

static wa_status take_scales(const wa_finder *finder, wa_place place, const wa_tensor *codes,
                             const wa_tensor **out, wa_error *err)
{
    static const char *const suffixes[] = {".weight_scale_inv", ".weight_scale"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        place.suffix = suffixes[i];
        if (wa_finder_has(finder, place))
            return wa_finder_any(finder, place, out, err);
    }
    return wa_fail(
        err, WA_E_FORMAT,
        "tensor '%.200s' has type %.50s, but no scales lie beside it ('…_scale_inv' or '…_scale')",
        codes->name, codes->type_name);
}

static wa_status fail_shape(const wa_finder *finder, const wa_tensor *scales,
                            const wa_tensor *codes, wa_error *err)
{
    char found[WA_SHAPE_TEXT], of[WA_SHAPE_TEXT], blocks[80] = "";
    const wa_config *config = finder->config;
    if (config->scale_rows > 0)
        (void)snprintf(blocks, sizeof blocks, ", nor one for each %zu x %zu", config->scale_rows,
                       config->scale_cols);
    return wa_fail(err, WA_E_FORMAT,
                   "scales '%.200s' have shape %s, which is neither one for all of %s, nor one a "
                   "row%s ('weight_block_size'%s)",
                   scales->name, wa_tensor_shape_text(scales, found),
                   wa_tensor_shape_text(codes, of), blocks,
                   config->scale_rows > 0 ? "" : " gives no blocks");
}

wa_status wa_finder_scales(const wa_finder *finder, wa_place place, const wa_tensor *codes,
                           size_t first, wa_matrix *matrix, wa_error *err)
{
    const wa_tensor *tensor = NULL;
    wa_scales scales = {.first_row = first};
    size_t rows = codes->rank == 1 ? 1 : codes->shape[0];
    WA_TRY(take_scales(finder, place, codes, &tensor, err));
    if (!find_scale_format(tensor, &scales.format))
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "scales '%.200s' have type %.50s, expected F32, F16, BF16 or F8_E8M0",
                       tensor->name, tensor->type_name);
    if (!find_rectangle(finder->config, tensor, rows, matrix->cols, &scales))
        return fail_shape(finder, tensor, codes, err);
    scales.data = tensor->data.data;
    scales.row_bytes =
        pieces(matrix->cols, scales.cols) * wa_format_get(scales.format)->block_bytes;
    matrix->scales = scales;
    return WA_OK;
}

/* --- MXFP4 --- */

enum { GROUP = 32 };

static wa_place of_part(wa_place place, const char *suffix)
{
    place.suffix = suffix;
    return place;
}

bool wa_finder_has_blocks(const wa_finder *finder, wa_place place)
{
    return wa_finder_has(finder, of_part(place, "_blocks"));
}

/* Bytes [dims] of one of the two tensors. */
static wa_status take_bytes(const wa_finder *finder, wa_place place, const size_t *dims,
                            size_t rank, const wa_tensor **out, wa_error *err)
{
    WA_TRY(wa_finder_any(finder, place, out, err));
    if (strcmp((*out)->type_name, "U8") != 0)
        return wa_fail(err, WA_E_FORMAT, "tensor '%.200s' has type %.50s, expected U8",
                       (*out)->name, (*out)->type_name);
    return wa_finder_shape(*out, dims, rank, err);
}

wa_status wa_finder_blocks(const wa_finder *finder, wa_place place, wa_stack stack, size_t rows,
                           size_t cols, wa_matrix *out, wa_error *err)
{
    const wa_tensor *blocks = NULL, *scales = NULL;
    size_t width = rows * stack.step, groups = cols / GROUP; /* no overflow: wa_finder_stacked */
    size_t bytes = wa_format_get(WA_FORMAT_E2M1)->block_bytes;
    const size_t dims[] = {stack.count, width, groups, bytes};
    if (cols % GROUP != 0)
        return wa_fail(err, WA_E_FORMAT,
                       "MXFP4 blocks of rows of %zu weights, expected a multiple of %d", cols,
                       GROUP);
    WA_TRY(take_bytes(finder, of_part(place, "_blocks"), dims, 4, &blocks, err));
    WA_TRY(take_bytes(finder, of_part(place, "_scales"), dims, 3, &scales, err));
    size_t before = stack.expert * width + stack.first;
    *out = (wa_matrix){.data = blocks->data.data + before * groups * bytes,
                       .name = blocks->name,
                       .format = WA_FORMAT_E2M1,
                       .rows = rows,
                       .cols = cols,
                       .row_bytes = stack.step * groups * bytes,
                       .scales = {.data = scales->data.data + before * groups,
                                  .format = WA_FORMAT_E8M0,
                                  .row_bytes = stack.step * groups,
                                  .rows = 1,
                                  .cols = GROUP}};
    return WA_OK;
}
