/* fp4_compliance.json: what the scan found and what became of each projection (vindex-format
 * 3.8). */
#ifndef WALKAUDIT_VINDEX_EXTRACT_REPORT_H
#define WALKAUDIT_VINDEX_EXTRACT_REPORT_H

#include "base/staging.h"
#include "vindex/extract_fp4.h"

/** sizes: [WA_PROJECTION_COUNT] bytes of each projection's file. Scratch comes from the staging's
 * arena. */
WA_CHECKED wa_status wa_extract_write_report(const wa_model *model,
                                             const wa_extract_options *options,
                                             const wa_fp4_choice *choices,
                                             const wa_compliance *scan, const uint64_t *sizes,
                                             const wa_staging *staging, wa_error *err);

#endif
