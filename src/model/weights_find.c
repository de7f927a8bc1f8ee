/* Looking a tensor up by its role, checking its shape, and viewing or decoding it. */
#include "model/weights_find.h"
#include "model/weights_scales.h"

#include <stdio.h>
#include <string.h>

static void name_in_layer(const wa_names *names, wa_place place, char out[WA_TENSOR_NAME])
{
    const char *role = names->role[place.role];
    const char *number = strchr(role, '#');
    if (number == NULL)
        (void)snprintf(out, WA_TENSOR_NAME, "%s%d.%s%s", names->layer_prefix, place.layer, role,
                       place.suffix);
    else
        (void)snprintf(out, WA_TENSOR_NAME, "%s%d.%.*s%zu%s%s", names->layer_prefix, place.layer,
                       (int)(number - role), role, place.expert, number + 1, place.suffix);
}

static void name_of(const wa_finder *finder, wa_place place, char out[WA_TENSOR_NAME])
{
    const wa_names *names = finder->config->names;
    if (place.layer == WA_NO_LAYER)
        (void)snprintf(out, WA_TENSOR_NAME, "%s%s", names->role[place.role], place.suffix);
    else
        name_in_layer(names, place, out);
}

wa_place wa_finder_bare(const wa_finder *finder, wa_role role, int layer)
{
    const char *suffix = finder->config->names->bare ? "" : ".weight";
    return (wa_place){.role = role, .layer = layer, .suffix = suffix};
}

bool wa_finder_has(const wa_finder *finder, wa_place place)
{
    char name[WA_TENSOR_NAME];
    if (finder->config->names->role[place.role] == NULL)
        return false;
    name_of(finder, place, name);
    return wa_tensor_table_find(finder->table, name) != NULL;
}

wa_status wa_finder_any(const wa_finder *finder, wa_place place, const wa_tensor **out,
                        wa_error *err)
{
    char name[WA_TENSOR_NAME];
    if (finder->config->names->role[place.role] == NULL)
        return wa_fail(err, WA_E_INTERNAL, "family '%s' has no tensor of role %d",
                       finder->config->family->family, (int)place.role);
    name_of(finder, place, name);
    const wa_tensor_entry *entry = wa_tensor_table_entry(finder->table, name);
    if (entry == NULL)
        return wa_fail(err, WA_E_FORMAT, "tensor '%s' is missing", name);
    finder->used[entry - finder->table->entries] = true;
    *out = entry->tensor;
    return WA_OK;
}

wa_status wa_finder_tensor(const wa_finder *finder, wa_place place, const wa_tensor **out,
                           wa_error *err)
{
    const wa_tensor *tensor = NULL;
    WA_TRY(wa_finder_any(finder, place, &tensor, err));
    if (tensor->format == WA_FORMAT_COUNT)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "tensor '%.200s' has type %.50s, which is not decoded", tensor->name,
                       tensor->type_name);
    *out = tensor;
    return WA_OK;
}

static wa_status wrong_shape(const wa_tensor *tensor, const char *expected, wa_error *err)
{
    char found[WA_SHAPE_TEXT];
    return wa_fail(err, WA_E_FORMAT, "tensor '%.200s' has shape %s, expected %s", tensor->name,
                   wa_tensor_shape_text(tensor, found), expected);
}

static wa_status check_matrix(const wa_tensor *tensor, size_t outer, size_t inner, wa_error *err)
{
    char expected[WA_SHAPE_TEXT];
    /* GGUF's gate of the shared expert */
    if (outer == 1 && tensor->rank == 1 && tensor->shape[0] == inner)
        return WA_OK;
    if (tensor->rank == 2 && tensor->shape[0] == outer && tensor->shape[1] == inner)
        return WA_OK;
    (void)snprintf(expected, sizeof expected, "[%zu, %zu]", outer, inner);
    return wrong_shape(tensor, expected, err);
}

/* Only q and k, of some families and GGUF architectures (forward-pass.md 1.7, point 2; 3.4). */
static bool is_permuted(const wa_finder *finder, wa_role role)
{
    return finder->config->rope_pairs && (role == WA_ROLE_Q || role == WA_ROLE_K);
}

/* Blocks, and codes under a scale, are read in rows alone. */
static wa_status refuse_codes(const wa_tensor *tensor, const char *where, wa_error *err)
{
    if (wa_format_is_float(tensor->format))
        return WA_OK;
    return wa_fail(err, WA_E_UNSUPPORTED, "tensor '%.200s' has type %s %s", tensor->name,
                   wa_format_get(tensor->format)->name, where);
}

static wa_status view_transposed(const wa_tensor *tensor, wa_part part, size_t cols, wa_matrix *out,
                                 wa_error *err)
{
    size_t bytes = wa_format_get(tensor->format)->block_bytes; /* float formats: one element */
    WA_TRY(check_matrix(tensor, cols, part.total, err));
    WA_TRY(refuse_codes(tensor, "across its rows", err));
    *out = (wa_matrix){.data = tensor->data.data + part.first * bytes,
                       .name = tensor->name,
                       .format = tensor->format,
                       .order = WA_ROWS_TRANSPOSED,
                       .rows = part.rows,
                       .cols = cols,
                       .row_bytes = part.total * bytes,
                       .stored_cols = part.total};
    return WA_OK;
}

wa_status wa_finder_matrix(const wa_finder *finder, wa_place place, wa_part part, size_t cols,
                           wa_matrix *out, wa_error *err)
{
    const wa_tensor *tensor = NULL;
    WA_TRY(wa_finder_tensor(finder, place, &tensor, err));
    if (finder->config->names->conv1d && place.layer != WA_NO_LAYER)
        return view_transposed(tensor, part, cols, out, err);

    WA_TRY(check_matrix(tensor, part.total, cols, err));
    const wa_format_info *info = wa_format_get(tensor->format);
    size_t row_bytes = cols / info->block_elements * info->block_bytes; /* whole blocks: gguf.c */
    bool permuted = is_permuted(finder, place.role);
    *out = (wa_matrix){.data = tensor->data.data + part.first * row_bytes,
                       .name = tensor->name,
                       .format = tensor->format,
                       .order = permuted ? WA_ROWS_ROPE_PAIRS : WA_ROWS_PLAIN,
                       .rows = part.rows,
                       .cols = cols,
                       .row_bytes = row_bytes,
                       .head_rows = permuted ? finder->config->facts.head_dim : 0,
                       .pair_rows = permuted ? finder->config->facts.rotary_dim : 0};
    return tensor->format == WA_FORMAT_E4M3
               ? wa_finder_scales(finder, place, tensor, part.first, out, err)
               : WA_OK;
}

wa_status wa_finder_shape(const wa_tensor *tensor, const size_t *dims, size_t rank, wa_error *err)
{
    char expected[WA_SHAPE_TEXT];
    wa_tensor wanted = {.rank = rank};
    memcpy(wanted.shape, dims, rank * sizeof *dims);
    if (tensor->rank == rank && memcmp(tensor->shape, dims, rank * sizeof *dims) == 0)
        return WA_OK;
    return wrong_shape(tensor, wa_tensor_shape_text(&wanted, expected), err);
}

wa_status wa_finder_stacked(const wa_finder *finder, wa_place place, wa_stack stack, size_t rows,
                            size_t cols, wa_matrix *out, wa_error *err)
{
    const wa_tensor *tensor = NULL;
    if (wa_finder_has_blocks(finder, place))
        return wa_finder_blocks(finder, place, stack, rows, cols, out, err);
    WA_TRY(wa_finder_tensor(finder, place, &tensor, err));
    /* no overflow: twice a hidden size (wa_config_finish) or a number of features that is checked
     * */
    size_t width = rows * stack.step;
    const size_t turned[] = {stack.count, cols, width}, plain[] = {stack.count, rows, cols};
    WA_TRY(wa_finder_shape(tensor, stack.turned ? turned : plain, 3, err));
    const wa_format_info *info = wa_format_get(tensor->format);
    size_t inner = stack.turned ? width : cols;
    size_t row_bytes = inner / info->block_elements * info->block_bytes; /* whole blocks: gguf.c */
    if (stack.turned || tensor->format == WA_FORMAT_E4M3)
        WA_TRY(refuse_codes(tensor, stack.turned ? "across its rows" : "in a stack", err));
    const uint8_t *data = tensor->data.data + stack.expert * (tensor->data.size / stack.count);
    *out = (wa_matrix){.data = data + (stack.turned ? stack.first * info->block_bytes : 0),
                       .name = tensor->name,
                       .format = tensor->format,
                       .order = stack.turned ? WA_ROWS_TRANSPOSED : WA_ROWS_PLAIN,
                       .rows = rows,
                       .cols = cols,
                       .row_bytes = row_bytes,
                       .stored_cols = stack.turned ? width : 0,
                       .step = stack.step};
    return WA_OK;
}

wa_status wa_finder_stacked_vector(const wa_finder *finder, wa_place place, wa_stack stack,
                                   size_t n, float **out, wa_error *err)
{
    const wa_tensor *tensor = NULL;
    WA_TRY(wa_finder_tensor(finder, place, &tensor, err));
    const size_t dims[] = {stack.count, n * stack.step};
    WA_TRY(wa_finder_shape(tensor, dims, 2, err));
    const wa_format_info *info = wa_format_get(tensor->format);
    WA_TRY(refuse_codes(tensor, "and holds vectors", err));
    float *values;
    WA_TRY(wa_arena_take_raw(finder->arena, n, sizeof *values, &values, err));
    const wa_matrix row = {.data = tensor->data.data +
                                   (stack.expert * dims[1] + stack.first) * info->block_bytes,
                           .name = tensor->name,
                           .format = tensor->format,
                           .rows = 1,
                           .cols = n,
                           .row_bytes = n * stack.step * info->block_bytes,
                           .step = stack.step};
    wa_matrix_decode(&row, 0, 1, values);
    *out = values;
    return WA_OK;
}

wa_status wa_finder_vector(const wa_finder *finder, wa_place place, wa_part part, float **out,
                           wa_error *err)
{
    const wa_tensor *tensor = NULL;
    WA_TRY(wa_finder_tensor(finder, place, &tensor, err));
    if (tensor->rank != 1 || tensor->shape[0] != part.total) {
        char expected[WA_SHAPE_TEXT];
        (void)snprintf(expected, sizeof expected, "[%zu]", part.total);
        return wrong_shape(tensor, expected, err);
    }
    const wa_format_info *info = wa_format_get(tensor->format);
    WA_TRY(refuse_codes(tensor, "and is a vector", err));
    float *values;
    WA_TRY(wa_arena_take_raw(finder->arena, part.rows, sizeof *values, &values, err));
    bool permuted = is_permuted(finder, place.role); /* a bias goes with its rows */
    wa_matrix column = {.data = tensor->data.data + part.first * info->block_bytes,
                        .name = tensor->name,
                        .format = tensor->format,
                        .order = permuted ? WA_ROWS_ROPE_PAIRS : WA_ROWS_PLAIN,
                        .rows = part.rows,
                        .cols = 1,
                        .row_bytes = info->block_bytes,
                        .head_rows = permuted ? finder->config->facts.head_dim : 0,
                        .pair_rows = permuted ? finder->config->facts.rotary_dim : 0};
    wa_matrix_decode(&column, 0, part.rows, values);
    *out = values;
    return WA_OK;
}
