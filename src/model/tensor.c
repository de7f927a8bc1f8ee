/* The table of a model's tensors by name. */
#include "model/tensor.h"

#include <stdio.h>
#include <stdlib.h>

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const wa_tensor_entry *)a)->name, ((const wa_tensor_entry *)b)->name);
}

wa_status wa_tensor_table_sort(wa_tensor_table *table, wa_error *err)
{
    if (table->count > 1)
        qsort(table->entries, table->count, sizeof *table->entries, compare_entries);
    for (size_t i = 1; i < table->count; i++) {
        const wa_tensor_entry *pair = &table->entries[i - 1];
        if (compare_entries(&pair[0], &pair[1]) == 0)
            return wa_fail(err, WA_E_FORMAT, "tensors '%.200s' and '%.200s' have the same meaning",
                           pair[0].tensor->name, pair[1].tensor->name);
    }
    return WA_OK;
}

static int compare_name(const void *name, const void *entry)
{
    return strcmp(name, ((const wa_tensor_entry *)entry)->name);
}

const wa_tensor_entry *wa_tensor_table_entry(const wa_tensor_table *table, const char *name)
{
    if (table->count == 0)
        return NULL;
    return bsearch(name, table->entries, table->count, sizeof *table->entries, compare_name);
}

const wa_tensor *wa_tensor_table_find(const wa_tensor_table *table, const char *name)
{
    const wa_tensor_entry *entry = wa_tensor_table_entry(table, name);
    return entry == NULL ? NULL : entry->tensor;
}

static int compare_extents(const void *a, const void *b)
{
    const uint8_t *x = ((const wa_extent *)a)->data.data, *y = ((const wa_extent *)b)->data.data;
    return (x > y) - (x < y);
}

wa_status wa_extents_disjoint(wa_extent *extents, size_t count, const uint8_t *start, wa_error *err)
{
    if (count > 1)
        qsort(extents, count, sizeof *extents, compare_extents);
    const wa_extent *last = NULL;
    for (size_t i = 0; i < count; i++) {
        const wa_extent *next = &extents[i];
        if (next->data.size == 0)
            continue;
        size_t begin = last == NULL ? 0 : (size_t)(last->data.data - start);
        size_t end = last == NULL ? 0 : begin + last->data.size;
        size_t other = (size_t)(next->data.data - start);
        if (last != NULL && other < end)
            return wa_fail(err, WA_E_FORMAT,
                           "tensors '%.200s' [%zu, %zu) and '%.200s' [%zu, %zu) overlap",
                           last->name, begin, end, next->name, other, other + next->data.size);
        last = next;
    }
    return WA_OK;
}

const char *wa_tensor_shape_text(const wa_tensor *tensor, char *out)
{
    size_t used = 0;
    out[used++] = '[';
    for (size_t i = 0; i < tensor->rank; i++) {
        int length =
            snprintf(out + used, WA_SHAPE_TEXT - used, i == 0 ? "%zu" : ", %zu", tensor->shape[i]);
        used += length > 0 ? (size_t)length : 0; /* 22 bytes at most: 8 of them fit */
    }
    out[used++] = ']';
    out[used] = '\0';
    return out;
}
