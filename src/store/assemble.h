/* Rank 0's passes over the result being assembled. Private to src/store. */
#ifndef WALKAUDIT_STORE_ASSEMBLE_H
#define WALKAUDIT_STORE_ASSEMBLE_H

#include "store/file.h"
#include "store/store.h"

wa_extents wa_assembly_extents(const wa_result_meta *meta);
/** First pass: attributes, scales, strings and everything known beforehand; empty measured datasets
 * along obs and prompt. */
WA_CHECKED wa_status wa_assembly_begin(const char *temporary, const wa_result_meta *meta,
                                       wa_arena *arena, wa_error *err);
/** Last pass: folded fields, texts, the judgement (in `arena`), /run; closed and complete, under
 * its temporary name. */
WA_CHECKED wa_status wa_assembly_finish(const char *temporary, const char *result_path,
                                        const wa_part_list *list, const wa_result_meta *meta,
                                        const wa_assembly_caller *caller, wa_arena *arena,
                                        wa_error *err);
/** Pieces of the last pass. */
WA_CHECKED wa_status wa_assembly_fold(wa_hid file, const char *result_path,
                                      const wa_part_list *list, const wa_result_meta *meta,
                                      const wa_assembly_caller *caller, wa_arena *arena,
                                      wa_error *err);
WA_CHECKED wa_status wa_assembly_texts(wa_hid file, const wa_extents *extents,
                                       const wa_assembly_caller *caller, wa_arena *arena,
                                       wa_error *err);
WA_CHECKED wa_status wa_assembly_runs(wa_hid file, const char *directory, wa_arena *arena,
                                      wa_error *err);

#endif
