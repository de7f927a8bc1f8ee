/* The slice tables of K-quant files (vindex-format 4.4). */
#ifndef WALKAUDIT_VINDEX_EXTRACT_MANIFEST_H
#define WALKAUDIT_VINDEX_EXTRACT_MANIFEST_H

#include "base/staging.h"
#include "vindex/extract_plan.h"

/** Write file->manifest: one entry for each part of each layer, in the order of the file. */
WA_CHECKED wa_status wa_extract_write_manifest(const wa_model *model, const wa_extract_file *file,
                                               const wa_staging *staging, wa_error *err);

#endif
