/* Figures without observations or prompts: costs summed over batches, row errors of batch 0.
 * Serial, rank 0. */
#include "store/assemble.h"
#include "store/part.h"
#include "store/parts.h"

#include <string.h>

static bool is_fold(wa_field field)
{
    const wa_layout *row = wa_layout_of_field(field);
    return !wa_layout_is_stream(row);
}

static bool is_summed(wa_field field)
{
    return wa_field_get(field)->axes == WA_CL;
}

/* f64 in batch order; i64 unsigned, so that no part can make it overflow. */
static void add_values(wa_type type, void *sum, const void *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (type == WA_F64)
            ((double *)sum)[i] += ((const double *)values)[i];
        else
            ((int64_t *)sum)[i] =
                (int64_t)((uint64_t)((int64_t *)sum)[i] + (uint64_t)((const int64_t *)values)[i]);
    }
}

static wa_status fold_part(wa_hid part, const wa_result_meta *meta, size_t batch, wa_block *sum,
                           wa_arena *arena, wa_error *err)
{
    bool has_encoding;
    wa_extents x = {.dims = wa_part_dims(meta, batch)};
    WA_TRY(wa_part_has_encoding(part, &has_encoding, err));
    for (int f = 0; f < WA_FIELD_COUNT; f++) {
        const wa_layout *row = wa_layout_of_field((wa_field)f);
        size_t shape[WA_LAYOUT_RANK], count = 1;
        bool wanted = is_summed((wa_field)f) || (batch == 0 && has_encoding);
        if (!is_fold((wa_field)f) || !wanted)
            continue;
        size_t rank = wa_layout_shape(row, &x, shape);
        for (size_t d = 0; d < rank; d++)
            count *= shape[d];
        if (count == 0)
            continue;
        wa_mark mark = wa_arena_mark(arena);
        void *values;
        WA_TRY(wa_dataset_load(part, row->name, &x, arena, &values, err));
        if (batch == 0)
            memcpy(sum->field[f], values, count * wa_layout_size(row));
        else
            add_values(wa_field_get((wa_field)f)->type, sum->field[f], values, count);
        wa_arena_release(arena, mark);
    }
    return WA_OK;
}

static wa_status fold_parts(const char *result_path, const wa_result_meta *meta,
                            const wa_assembly_caller *caller, wa_block *sum, wa_arena *arena, wa_error *err)
{
    for (size_t b = 0; b < meta->batch_count; b++) {
        caller->beat(caller->context);
        char path[WA_NAME_BYTES];
        wa_hid part;
        wa_dims dims = wa_part_dims(meta, b);
        WA_TRY(wa_part_name(result_path, b, path, err));
        WA_TRY(wa_part_open(path, meta->mark.job, b, &dims, &part, err));
        wa_status status = fold_part(part, meta, b, sum, arena, err);
        if (status != WA_OK)
            wa_note(err, "in file '%s'", path);
        WA_TRY(wa_hdf5_close(part, status, err));
    }
    return WA_OK;
}

wa_status wa_assembly_fold(wa_hid file, const char *result_path, const wa_result_meta *meta,
                           const wa_assembly_caller *caller, wa_arena *arena, wa_error *err)
{
    wa_extents x = wa_assembly_extents(meta);
    wa_dims small = meta->dims; /* the block's streams are not needed */
    small.rows = 0;
    small.prompts = 0;
    wa_block sum;
    WA_TRY(wa_block_open(arena, small, &sum, err));
    WA_TRY(fold_parts(result_path, meta, caller, &sum, arena, err));
    for (int f = 0; f < WA_FIELD_COUNT; f++)
        if (is_fold((wa_field)f))
            WA_TRY(wa_dataset_add(file, wa_field_get((wa_field)f)->name, &x, sum.field[f], err));
    return WA_OK;
}
