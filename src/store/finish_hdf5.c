/* The end of a result's assembly: texts, judgement, captures, /run. Serial, rank 0. */
#include "store/assemble.h"
#include "store/capture_file.h"
#include "store/parts.h"
#include "store/result.h"
#include "store/seal.h"

#include <hdf5.h>

/* The caller judges what the file holds by now, and writes what it found. */
static wa_status judge(wa_hid file, const char *result_path, const wa_assembly_caller *caller,
                       wa_arena *arena, wa_error *err)
{
    wa_result *result;
    if (caller->judge == NULL)
        return WA_OK;
    WA_TRY(wa_result_load(file, result_path, arena, &result, err));
    caller->beat(caller->context);
    wa_status status = caller->judge(caller->context, result, err);
    wa_result_access_end(&result->access);
    return status;
}

static wa_status finish(wa_hid file, const char *result_path, const wa_part_list *list,
                        const wa_result_meta *meta, const wa_assembly_caller *caller,
                        wa_arena *work, wa_arena *arena, wa_error *err)
{
    char directory[WA_NAME_BYTES];
    wa_extents x = wa_assembly_extents(meta);
    WA_TRY(wa_parts_directory(result_path, directory, err));
    WA_TRY(wa_assembly_fold(file, result_path, list, meta, caller, work, err));
    WA_TRY(wa_assembly_texts(file, &x, caller, work, err));
    caller->beat(caller->context);
    WA_TRY(judge(file, result_path, caller, arena, err));
    WA_TRY(wa_assembly_captures(file, result_path, list, meta, work, err));
    WA_TRY(wa_assembly_runs(file, directory, work, err));
    /* Last: without this attribute a file is no result. */
    return wa_attribute_write_i64(file, "walkaudit_format", WA_LAYOUT_VERSION, err);
}

wa_status wa_assembly_finish(const char *temporary, const char *result_path,
                             const wa_part_list *list, const wa_result_meta *meta,
                             const wa_assembly_caller *caller, wa_arena *arena, wa_error *err)
{
    wa_hid file;
    wa_arena *work;
    WA_TRY(wa_arena_open("assembly", 0, &work, err));
    wa_status status = wa_hdf5_open(temporary, true, &file, err);
    if (status == WA_OK) {
        status = finish(file, result_path, list, meta, caller, work, arena, err);
        if (status == WA_OK && H5Fflush(file, H5F_SCOPE_GLOBAL) < 0)
            status = wa_hdf5_failed(err, WA_E_IO, "cannot write", temporary);
        status = wa_hdf5_close(file, status, err);
    }
    wa_arena_close(work);
    return status == WA_OK ? wa_seal_append(temporary, err) : status;
}
