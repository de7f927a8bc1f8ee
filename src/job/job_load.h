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

/** A decimal integer and nothing else. */
bool wa_job_int(const char *text, int64_t *out);
/** "audits[0].vindexes[1].paths[2].k" to the key table's "paths[].k". */
void wa_job_table_name(const char *path, char *out, size_t size);

/**
 * `k: [64, 256]` in words that libcyaml reads as one value, `k: "64, 256"`: every other byte stays
 * in its place, and so do lines and columns. *text is replaced by a copy where there is such a
 * list. Errors: WA_E_JOB for lists that hold more than numbers.
 */
WA_CHECKED wa_status wa_job_lists_to_words(const wa_job_source *source, wa_bytes *text,
                                           wa_error *err);
/** A path of several k becomes as many paths, in their order, wherever the job has paths. WA_E_JOB
 * when one name is for all. */
WA_CHECKED wa_status wa_job_expand_lists(const wa_job_source *source, wa_error *err);

/** Add the place of a key to a failure: its line and column, or the setting it came from. */
wa_status wa_job_note_place(const wa_job_source *source, const char *key, wa_error *err);

#define WA_JOB_FAIL(source, key, err, ...)                                                         \
    (wa_fail((err), WA_E_JOB, __VA_ARGS__), wa_job_note_place((source), (key), (err)))

#endif
