/* Jobs: a YAML file, one schema table, to a wa_job; and the prompts it names. */
#ifndef WALKAUDIT_JOB_JOB_H
#define WALKAUDIT_JOB_JOB_H

#include "base/arena.h"
#include "base/bytes.h"
#include "job/plan.h"
#include "measure/sample.h"
#include "model/model.h"
#include "path/path.h"

typedef struct wa_job_vindex {
    const char *name; /* default: stem of path */
    const char *path; /* resolved against the job file's directory */
    /* path leads to another checkpoint of the model: a directory or a GGUF file */
    bool is_checkpoint;
    bool whole;                   /* of a checkpoint: path checkpoint_model beside checkpoint */
    const wa_path_request *paths; /* NULL when the job's list (or the default) applies */
    size_t path_count;
} wa_job_vindex;

typedef struct wa_job_audit {
    const char *name;           /* default: stem of model */
    const char *model;          /* resolved */
    const char *reference_dump; /* resolved; NULL = none */
    const wa_job_vindex *vindexes;
    size_t vindex_count;
} wa_job_audit;

/** Names and numbers of a job's `captures`, not compared with any model yet. */
typedef struct wa_job_captures {
    bool asked;
    const char *const *tensors; /* [tensor_count] of x, y_ref, y_walk; at least one when asked */
    const char *const *cases;   /* [case_count]; none = all */
    const int64_t *layers;      /* [layer_count] 0 or more; none = all */
    size_t tensor_count, case_count, layer_count;
} wa_job_captures;

/** Everything a job says, defaults filled in (design 5). Read-only; strings in the arena. */
typedef struct wa_job {
    const char *path;      /* of the job file, as given */
    const char *directory; /* of the job file; relative paths start here */
    const char *name;      /* default: the job file's stem */
    const wa_job_audit *audits;
    size_t audit_count;
    const char *prompts_builtin;  /* "seed" or NULL */
    const char *prompts_file;     /* resolved, or NULL */
    size_t prompts_limit;         /* only the first so many; 0 = all */
    const wa_path_request *paths; /* NULL: all that each vindex can run */
    size_t path_count;
    wa_semantics semantics;
    wa_ladder ladder;
    wa_engine engine;
    const char *bounds; /* "default", "larql", or a resolved path */
    wa_kernel_check kernel_check;
    /* a number that an earlier version knew, now read as kernel_check; else NULL */
    const char *kernel_check_was;
    bool encoding_check;
    bool texts;        /* the result may hold texts of prompts and tokens */
    bool allow_unread; /* the model may store tensors of layers that nothing reads */
    size_t batch_rows;
    int grid_stages, grid_teams; /* 0 = chosen */
    wa_spreading grid_experts;
    int threads;
    bool logits_all;
    size_t topk;
    double served_timeout; /* seconds */
    int served_retries;
    wa_job_captures captures;
    bool fingerprint_full;
    const char *result; /* resolved directory */
    const char *text;   /* the effective job as YAML, every key, for the result file */
} wa_job;

/**
 * Parse a job file. Local.
 *
 * settings  `--set key=value` words, applied after the file: scalar keys outside lists
 *           ("batch.rows=8")
 *
 * Errors: WA_E_JOB with the file, line and column (libcyaml gives the event before: "after line
 * L"), key, found and expected: unknown or repeated keys, wrong types, values out of range, empty
 * file, several documents, both or neither kinds of prompts, names that are not unique, unknown
 * paths. A file that cannot be read is WA_E_JOB too.
 */
WA_CHECKED wa_status wa_job_open(const char *path, const char *const *settings,
                                 size_t setting_count, wa_arena *arena, wa_job **out,
                                 wa_error *err);

/** The name that a job gives a model, vindex or job file without one: the last component of its
 * path without .gguf, .vindex or .yaml. Arena. */
WA_CHECKED wa_status wa_job_stem(const char *path, wa_arena *arena, char **out, wa_error *err);
/** May an audit or a vindex be called so? */
bool wa_job_name_is_good(const char *name);

/** Which audits of a job a command means. All zero: every one. */
typedef struct wa_selection {
    const char *const *audits; /* [audit_count] names, borrowed; NULL = all */
    size_t audit_count;
    bool by_index;
    /* by_index: only audits index, index + count, … from 0; count 0: audit `index` alone */
    int index, count;
} wa_selection;

/** Does the job have what is selected? WA_E_USAGE names what it has not. Local. */
WA_CHECKED wa_status wa_selection_check(const wa_selection *selection, const wa_job *job,
                                        wa_error *err);
/** Is audit `audit` (its place in the job) selected? */
bool wa_selection_has(const wa_selection *selection, const wa_job *job, size_t audit);

/** RESULT/NAME-AUDIT.h5, the result file of an audit of the job. Arena. */
WA_CHECKED wa_status wa_job_result_path(const wa_job *job, const wa_job_audit *audit,
                                        wa_arena *arena, char **out, wa_error *err);

/** One row of the key table, for --help-job, jobs/README.md's test and the effective job. */
typedef struct wa_job_key {
    const char *name;     /* dotted: "audits[].vindexes[].path" */
    const char *type;     /* "string", "int", "list of …" */
    const char *fallback; /* as text; "" = required or none */
    const char *meaning;
} wa_job_key;
const wa_job_key *wa_job_keys(size_t *count);

/** One prompt before tokenisation. text is NULL when the corpus gives ids. */
typedef struct wa_prompt {
    const char *key;
    const char *text; /* [text_length], may hold NUL */
    size_t text_length;
    const int32_t *ids; /* [id_count] or NULL */
    size_t id_count;
    size_t max_tokens; /* 0 = no limit */
} wa_prompt;

/**
 * The prompts of a job, `prompts_limit` at most: the three published ones (`builtin: seed`); the
 * lines of a file `*.txt`; or JSON lines with `text` or `ids`, and optionally `key` and
 * `max_tokens`. A prompt without a key is called "lineN". Errors: WA_E_JOB (unknown set),
 * WA_E_FORMAT (file, line, key), WA_E_IO.
 */
WA_CHECKED wa_status wa_prompts_open(const wa_job *job, wa_arena *arena, wa_prompt **out,
                                     size_t *count, wa_error *err);

#endif
