/* index.json of an extracted vindex. */
#ifndef WALKAUDIT_VINDEX_EXTRACT_INDEX_H
#define WALKAUDIT_VINDEX_EXTRACT_INDEX_H

#include "base/staging.h"
#include "vindex/extract_plan.h"

/** A file that is written: a line of `checksums`. */
typedef struct wa_extract_sum {
    const char *name; /* borrowed */
    char hex[WA_SHA256_HEX];
} wa_extract_sum;

/** sums: [count]. fp4: the object of that name, taken over also on failure; NULL = none. */
WA_CHECKED wa_status wa_extract_write_index(const wa_model *model,
                                            const wa_extract_options *options,
                                            const wa_extract_plan *plan, const wa_extract_sum *sums,
                                            size_t count, json_t *fp4, const wa_staging *staging,
                                            wa_error *err);

#endif
