/* From a job file and its settings to a raw job whose scalars are filled in. */
#ifndef WALKAUDIT_JOB_JOB_LOAD_H
#define WALKAUDIT_JOB_JOB_LOAD_H

#include "job/job_schema.h"
#include "job/yaml_scan.h"

/** A job being opened. Arena. */
typedef struct wa_job_source {
    const char *path;
    const char *const *settings; /* "key=value" words */
    size_t setting_count;
    wa_arena *arena;
    wa_yaml_scan scan;
    raw_job *raw;
} wa_job_source;

/**
 * Read and load `source->path`, apply the settings, fill in every default that does not depend on
 * another key. Errors: as wa_job_open.
 */
WA_CHECKED wa_status wa_job_load(wa_job_source *source, wa_error *err);

/** The raw job as YAML, every key that has a value. */
WA_CHECKED wa_status wa_job_save(const wa_job_source *source, const char **out, wa_error *err);

/** Add the place of a key to a failure: its line and column, or the setting it came from. */
wa_status wa_job_note_place(const wa_job_source *source, const char *key, wa_error *err);

#define WA_JOB_FAIL(source, key, err, ...)                                                         \
    (wa_fail((err), WA_E_JOB, __VA_ARGS__), wa_job_note_place((source), (key), (err)))

#endif
