/* What each path reads and which kernel computes it: the table behind wa_cases_build. Private to
 * src/path. */
#ifndef WALKAUDIT_PATH_SPEC_H
#define WALKAUDIT_PATH_SPEC_H

#include "path/path.h"

/** The paths of a job that names none (walk-paths 4.3; design 6), in order; of a checkpoint its
 * own, one or, of the `whole` model, two. Returns how many. */
size_t wa_spec_defaults(const wa_vindex *vindex, wa_ladder ladder, bool whole,
                        wa_path out[WA_PATH_COUNT]);
/** May a job give it a k? */
bool wa_spec_takes_k(wa_path path);

/**
 * Complete a case whose path, k and ladder are set: kernel, route, expected label, sources, bucket,
 * not_run. Where the vindex cannot run it, *reason tells what is missing (arena), else *reason =
 * NULL.
 */
WA_CHECKED wa_status wa_spec_resolve(const wa_vindex *vindex, const wa_model *model,
                                     wa_arena *arena, wa_case *item, const char **reason,
                                     wa_error *err);

#endif
