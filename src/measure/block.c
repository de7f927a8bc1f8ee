/* The memory of one batch's fields, laid out by the field table. */
#include "measure/block.h"

#include "base/bytes.h"
#include "vindex/vindex.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static const wa_field_info FIELDS[WA_FIELD_COUNT] = {
#define WA_FIELD_ROW(id, axes_, type_, unit_, long_name_)                                          \
    [WA_FIELD_##                                                                                   \
        id] = {.name = #id, .axes = axes_, .type = type_, .unit = unit_, .long_name = long_name_},
    WA_FIELD_LIST(WA_FIELD_ROW)
#undef WA_FIELD_ROW
};

/* The axes as text, in memory order. */
static const char *const AXES[] = {
    [WA_CLO] = "CLO",   [WA_CLT] = "CLT", [WA_CLOE] = "CLOE", [WA_LO] = "LO", [WA_LOE] = "LOE",
    [WA_CLP] = "CLP",   [WA_LP] = "LP",   [WA_CL] = "CL",     [WA_CP] = "CP", [WA_P] = "P",
    [WA_CPS] = "CPS",   [WA_PS] = "PS",   [WA_CA] = "CA",     [WA_A] = "A",   [WA_VYLJ] = "VYLJ",
    [WA_VLNJ] = "VLNJ", [WA_LN] = "LN",   [WA_CLN] = "CLN",
};

const wa_field_info *wa_field_get(wa_field field)
{
    assert((size_t)field < WA_FIELD_COUNT);
    return &FIELDS[field];
}

size_t wa_type_size(wa_type type)
{
    static const size_t sizes[] = {[WA_F64] = 8, [WA_I64] = 8, [WA_I32] = 4, [WA_I8] = 1};
    return sizes[type];
}

bool wa_axes_has(wa_axes axes, char axis)
{
    return strchr(AXES[axes], axis) != NULL;
}

bool wa_axes_are_stored(wa_axes axes)
{
    return wa_axes_has(axes, 'V');
}

bool wa_field_exists(wa_field field, const wa_dims *dims)
{
    wa_axes axes = wa_field_get(field)->axes;
    return (dims->logits_all || !wa_axes_has(axes, 'A')) &&
           (dims->choices > 0 || strpbrk(AXES[axes], "ENT") == NULL);
}

static size_t extent(const wa_dims *dims, char axis)
{
    switch (axis) {
    case 'C':
        return dims->cases;
    case 'L':
        return dims->layers;
    case 'O':
        return dims->rows;
    case 'A':
        return dims->logits_all ? dims->rows : 0;
    case 'T':
        return dims->choices > 0 ? dims->rows : 0;
    case 'P':
        return dims->prompts;
    case 'S':
        return dims->slots;
    case 'E':
        return dims->choices;
    case 'N':
        return dims->experts;
    case 'V':
        return dims->vindexes;
    case 'Y':
        return WA_PAYLOAD_COUNT;
    default:
        return WA_PROJECTION_COUNT;
    }
}

/* Elements of one (first, layer): the product of the axes other than C, V, Y and L. */
static size_t run_length(const wa_dims *dims, wa_axes axes)
{
    size_t length = 1;
    for (const char *axis = AXES[axes]; *axis != '\0'; axis++)
        if (strchr("CVYL", *axis) == NULL)
            length *= extent(dims, *axis);
    return length;
}

static bool count_elements(const wa_dims *dims, wa_axes axes, size_t *out)
{
    size_t count = 1;
    for (const char *axis = AXES[axes]; *axis != '\0'; axis++)
        if (!wa_size_mul(count, extent(dims, *axis), &count))
            return false;
    *out = count;
    return true;
}

/* Ids and indices: 0 would name a token, a row or an element. */
static bool is_index(wa_field field)
{
    switch (field) {
    case WA_FIELD_max_abs_index:
    case WA_FIELD_expert_id:
    case WA_FIELD_own_expert_id:
    case WA_FIELD_ref_top1_id:
    case WA_FIELD_ref_topk_id:
    case WA_FIELD_top1_id:
    case WA_FIELD_topk_id:
    case WA_FIELD_obs_ref_top1_id:
    case WA_FIELD_obs_top1_id:
    case WA_FIELD_row_err_worst:
    case WA_FIELD_dump_x_position:
    case WA_FIELD_dump_y_position:
    case WA_FIELD_dump_logits_position:
    case WA_FIELD_row_err_unequal_row:
    case WA_FIELD_row_err_steps_row:
    case WA_FIELD_row_err_row_gain_row:
    case WA_FIELD_row_err_row_ratio_row:
    case WA_FIELD_row_err_expert_ratio_row:
    case WA_FIELD_expert_err_worst:
        return true;
    default:
        return false;
    }
}

static void fill_start(wa_field field, void *memory, size_t count)
{
    if (FIELDS[field].type == WA_F64) {
        double *values = memory;
        for (size_t i = 0; i < count; i++)
            values[i] = NAN;
    } else if (is_index(field)) {
        int32_t *values = memory;
        for (size_t i = 0; i < count; i++)
            values[i] = -1;
    } else if (count > 0) {
        memset(memory, 0, count * wa_type_size(FIELDS[field].type));
    }
}

wa_status wa_block_open(wa_arena *arena, wa_dims dims, wa_block *out, wa_error *err)
{
    wa_block block = {.dims = dims};
    for (int f = 0; f < WA_FIELD_COUNT; f++) {
        size_t count;
        if (!count_elements(&dims, FIELDS[f].axes, &count))
            return wa_fail(err, WA_E_MEMORY,
                           "field '%s' overflows: %zu cases x %zu layers x %zu rows",
                           FIELDS[f].name, dims.cases, dims.layers, dims.rows);
        WA_TRY(wa_arena_take_raw(arena, count, wa_type_size(FIELDS[f].type), &block.field[f], err));
        fill_start((wa_field)f, block.field[f], count);
    }
    *out = block;
    return WA_OK;
}

static size_t owners_of_vindex(wa_axes axes)
{
    return wa_axes_has(axes, 'Y') ? WA_PAYLOAD_COUNT : 1;
}

/* How many runs of layers a field has: of cases, or of payloads of vindexes. */
static size_t owner_count(const wa_dims *dims, wa_axes axes)
{
    if (wa_axes_has(axes, 'C'))
        return dims->cases;
    return wa_axes_has(axes, 'V') ? dims->vindexes * owners_of_vindex(axes) : 1;
}

void *wa_block_run(const wa_block *block, wa_field field, size_t first, size_t layer, size_t *count)
{
    const wa_field_info *info = wa_field_get(field);
    const wa_dims *dims = &block->dims;
    assert(first == 0 || first < owner_count(dims, info->axes));
    assert(layer == 0 || layer < dims->layers);
    size_t length = run_length(dims, info->axes);
    size_t at = wa_axes_has(info->axes, 'L') ? first * dims->layers + layer : first;
    if (count != NULL)
        *count = length;
    return (char *)block->field[field] + at * length * wa_type_size(info->type);
}

double *wa_block_f64(const wa_block *block, wa_field field, size_t first, size_t layer)
{
    assert(wa_field_get(field)->type == WA_F64);
    return wa_block_run(block, field, first, layer, NULL);
}

int32_t *wa_block_i32(const wa_block *block, wa_field field, size_t first, size_t layer)
{
    assert(wa_field_get(field)->type == WA_I32);
    return wa_block_run(block, field, first, layer, NULL);
}

int64_t *wa_block_i64(const wa_block *block, wa_field field, size_t first, size_t layer)
{
    assert(wa_field_get(field)->type == WA_I64);
    return wa_block_run(block, field, first, layer, NULL);
}

int8_t *wa_block_i8(const wa_block *block, wa_field field, size_t first, size_t layer)
{
    assert(wa_field_get(field)->type == WA_I8);
    return wa_block_run(block, field, first, layer, NULL);
}

/* --- Transport -------------------------------------------------------------------------------- */

/* Which piece of a share comes next. Both ends make the same steps, so a message needs no headings.
 */
typedef struct cursor {
    int field;
    size_t first; /* case, vindex and payload, or 0 for a field with neither */
} cursor;

static bool is_owned(const wa_share *share, wa_axes axes, size_t first)
{
    if (!wa_axes_has(axes, 'L') && !share->is_last_stage)
        return false;
    if (wa_axes_has(axes, 'C'))
        return share->owns_case[first] != 0;
    if (wa_axes_has(axes, 'V'))
        return share->has_encoding && share->owns_vindex[first / owners_of_vindex(axes)] != 0;
    return share->is_lead;
}

/* Move the cursor to the first piece of the share at or after it; false when there is none. */
static bool find_piece(const wa_dims *dims, const wa_share *share, cursor *at)
{
    for (; at->field < WA_FIELD_COUNT; at->field++, at->first = 0) {
        wa_axes axes = FIELDS[at->field].axes;
        for (; at->first < owner_count(dims, axes); at->first++)
            if (is_owned(share, axes, at->first))
                return true;
    }
    return false;
}

/* A piece is the share's layers of one owner: they are neighbours in memory. */
static size_t piece_bytes(const wa_dims *dims, const wa_share *share, const cursor *at)
{
    const wa_field_info *info = &FIELDS[at->field];
    size_t layers = wa_axes_has(info->axes, 'L') ? share->layer_count : 1;
    return layers * run_length(dims, info->axes) * wa_type_size(info->type);
}

static void *piece_memory(const wa_block *block, const wa_share *share, const cursor *at)
{
    size_t layer = wa_axes_has(FIELDS[at->field].axes, 'L') ? share->first_layer : 0;
    return wa_block_run(block, (wa_field)at->field, at->first, layer, NULL);
}

size_t wa_share_bytes(const wa_dims *dims, const wa_share *share)
{
    size_t bytes = 0;
    for (cursor at = {0}; find_piece(dims, share, &at); at.first++)
        bytes += piece_bytes(dims, share, &at);
    return bytes;
}

void wa_share_pack(const wa_block *block, const wa_share *share, uint8_t *out)
{
    for (cursor at = {0}; find_piece(&block->dims, share, &at); at.first++) {
        size_t bytes = piece_bytes(&block->dims, share, &at);
        if (bytes == 0)
            continue;
        memcpy(out, piece_memory(block, share, &at), bytes);
        out += bytes;
    }
}

void wa_share_unpack(const wa_block *block, const wa_share *share, const uint8_t *in)
{
    for (cursor at = {0}; find_piece(&block->dims, share, &at); at.first++) {
        size_t bytes = piece_bytes(&block->dims, share, &at);
        if (bytes == 0)
            continue;
        memcpy(piece_memory(block, share, &at), in, bytes);
        in += bytes;
    }
}
