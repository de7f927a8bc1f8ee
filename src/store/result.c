/* What follows from a result once it is read. */
#include "store/store.h"

size_t wa_result_never_chosen(const wa_result *result, size_t layer)
{
    const wa_result_meta *meta = &result->meta;
    size_t never = 0;
    for (size_t e = 0; result->expert_rows != NULL && e < (size_t)meta->layer_experts[layer]; e++)
        never += result->expert_rows[layer * meta->dims.experts + e] == 0 ? 1 : 0;
    return never;
}
