/* index.json of a vindex that we write. */
#ifndef WALKAUDIT_VINDEX_EXTRACT_INDEX_H
#define WALKAUDIT_VINDEX_EXTRACT_INDEX_H

#include "vindex/staging.h"
#include "walkaudit/extract.h"

/** Write index.json for `files` (their sizes and hashes are final). */
WA_CHECKED wa_status wa_extract_write_index(const wa_model *model,
                                            const wa_extract_options *options,
                                            const wa_outfile *files, size_t file_count,
                                            const wa_staging *staging, wa_error *err);

#endif
