/* The verdict of a vindex of a result. */
#include "store/store.h"

wa_vindex_verdict wa_result_vindex_verdict(const wa_result *result, const wa_verdict *verdicts, size_t vindex)
{
    const wa_result_meta *meta = &result->meta;
    wa_vindex_facts facts = {.lack = meta->vindex_lack[vindex],
                             .left_out = meta->vindex_left_out[vindex] != 0};
    return wa_vindex_judge((int)vindex, &facts, meta->cases, verdicts, meta->dims.cases);
}
