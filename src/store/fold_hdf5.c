/* Figures without observations or prompts: costs and counts summed over parts, row errors of the part
 * that carries them. Serial, rank 0. */
#include "store/assemble.h"
#include "store/part.h"
#include "store/parts.h"

#include <math.h>
#include <string.h>

static bool is_fold(wa_field field)
{
    const wa_layout *row = wa_layout_of_field(field);
    return !wa_layout_is_stream(row);
}

/* Of every part, and not of the one that carries what is stored. */
static bool is_of_all(wa_field field)
{
    return !wa_axes_are_stored(wa_field_get(field)->axes);
}

static bool is_largest(wa_field field)
{
    return field == WA_FIELD_expert_kernel_rel_l2;
}

/* A pass over the weights reads the same bytes, whichever prompts it is for. */
static bool is_of_one_pass(wa_field field)
{
    return field == WA_FIELD_bytes_read;
}

/* f64 in order of the parts; i64 unsigned, so that no part can make it overflow. */
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

/* What is NaN was not met in that part; what was met and is no number is infinite. */
static void keep_largest(double *largest, const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        largest[i] = fmax(largest[i], values[i]);
}

/* The parts so far. */
typedef struct fold {
    const wa_part_list *list;
    wa_block sum;
    bool has_parts, has_encoding;
    wa_arena *arena;
} fold;

static wa_status take_values(fold *f, wa_field field, const void *values, size_t count,
                             wa_error *err)
{
    size_t size = wa_type_size(wa_field_get(field)->type);
    bool goes_on = is_of_all(field) && f->has_parts;
    if (goes_on && is_of_one_pass(field)) {
        if (memcmp(f->sum.field[field], values, count * size) != 0)
            return wa_fail(err, WA_E_FORMAT, "dataset '%s' differs from that of the first part",
                           wa_field_get(field)->name);
    } else if (goes_on && is_largest(field)) {
        keep_largest(f->sum.field[field], values, count);
    } else if (goes_on) {
        add_values(wa_field_get(field)->type, f->sum.field[field], values, count);
    } else {
        memcpy(f->sum.field[field], values, count * size);
    }
    return WA_OK;
}

/* Costs and counts of every part; row errors of the first that carries them. */
static wa_status fold_part(fold *f, wa_hid part, const wa_batch *range, wa_error *err)
{
    bool has_encoding;
    wa_extents x = {.dims = wa_part_dims(&f->list->dims, range)};
    WA_TRY(wa_part_has_encoding(part, &has_encoding, err));
    for (int i = 0; i < WA_FIELD_COUNT; i++) {
        wa_field field = (wa_field)i;
        const wa_layout *row = wa_layout_of_field(field);
        size_t shape[WA_LAYOUT_RANK], count = 1;
        if (!is_fold(field) || (!is_of_all(field) && (!has_encoding || f->has_encoding)))
            continue;
        size_t rank = wa_layout_shape(row, &x, shape);
        for (size_t d = 0; d < rank; d++)
            count *= shape[d];
        if (count == 0)
            continue;
        wa_mark mark = wa_arena_mark(f->arena);
        void *values;
        WA_TRY(wa_dataset_load(part, row->name, &x, f->arena, &values, err));
        WA_TRY(take_values(f, field, values, count, err));
        wa_arena_release(f->arena, mark);
    }
    f->has_parts = true;
    f->has_encoding = f->has_encoding || has_encoding;
    return WA_OK;
}

static wa_status fold_parts(fold *f, const char *result_path, const wa_assembly_caller *caller,
                            wa_error *err)
{
    for (size_t i = 0; i < f->list->count; i++) {
        caller->beat(caller->context);
        char path[WA_NAME_BYTES];
        wa_hid part;
        const wa_batch *range = &f->list->parts[i];
        WA_TRY(wa_part_name(result_path, range, path, err));
        WA_TRY(wa_part_open(path, f->list->mark.job, range, &f->list->dims, &part, err));
        wa_status status = fold_part(f, part, range, err);
        if (status != WA_OK)
            wa_note(err, "in file '%s'", path);
        WA_TRY(wa_hdf5_close(part, status, err));
    }
    return WA_OK;
}

wa_status wa_assembly_fold(wa_hid file, const char *result_path, const wa_part_list *list,
                           const wa_result_meta *meta, const wa_assembly_caller *caller,
                           wa_arena *arena, wa_error *err)
{
    wa_extents x = wa_assembly_extents(meta);
    wa_dims small = meta->dims; /* the block's streams are not needed */
    small.rows = 0;
    small.prompts = 0;
    fold f = {.list = list, .arena = arena};
    WA_TRY(wa_block_open(arena, small, &f.sum, err));
    WA_TRY(fold_parts(&f, result_path, caller, err));
    for (int i = 0; i < WA_FIELD_COUNT; i++)
        if (is_fold((wa_field)i) && wa_field_exists((wa_field)i, &meta->dims))
            WA_TRY(wa_dataset_add(file, wa_field_get((wa_field)i)->name, &x, f.sum.field[i], err));
    return WA_OK;
}
