/* The one table of job keys: the schema, the rows of --help-job and the raw job come from it. */
#ifndef WALKAUDIT_JOB_JOB_SCHEMA_H
#define WALKAUDIT_JOB_JOB_SCHEMA_H

#include "job/job.h"

#include <cyaml/cyaml.h>

/* What a job file says, as libcyaml fills it: NULL = the key is absent. Lists carry NAME_count. */
typedef struct raw_path {
    /* k: a number, or several as the file has them (job_lists.c); of an expanded path one */
    char *path, *k;
    char *name, *rows, *file, *library, *command;
    int64_t *timeout;
    char *url, *wire, *bucket, *like, *kernel_tolerance;
    /* in the file's list, once a path of several k has become several paths; no key */
    uint32_t place;
} raw_path;

typedef struct raw_vindex {
    char *name, *path, *checkpoint, *scope;
    raw_path *paths;
    uint32_t paths_count;
} raw_vindex;

typedef struct raw_audit {
    char *name, *model, *reference_dump;
    raw_vindex *vindexes;
    uint32_t vindexes_count;
} raw_audit;

typedef struct raw_prompts {
    char *builtin, *file;
    int64_t *limit;
} raw_prompts;

typedef struct raw_batch {
    int64_t *rows;
} raw_batch;

typedef struct raw_grid {
    int64_t *stages, *teams;
    char *experts;
} raw_grid;

typedef struct raw_captures {
    char **tensors, **cases;
    int64_t *layers;
    uint32_t tensors_count, cases_count, layers_count;
} raw_captures;

typedef struct raw_job {
    char *name;
    raw_audit *audits;
    uint32_t audits_count;
    raw_prompts *prompts;
    raw_path *paths;
    uint32_t paths_count;
    char *semantics, *ladder, *bounds, *engine;
    char *kernel_check, *encoding_check, *allow_unread, *texts;
    raw_batch *batch;
    raw_grid *grid;
    int64_t *threads;
    char *logits;
    int64_t *topk, *served_timeout, *served_retries;
    raw_captures *captures;
    char *fingerprint, *result;
} raw_job;

/*
 * X(kind, structure, parent, member, prefix, type, fallback, meaning), one list per mapping.
 *
 * kind    NEEDED and TEXT are strings (the first required), INT an int, LIST a sequence, MAP a
 *         mapping
 * parent  where the structure hangs in raw_job: ROOT (it is raw_job), a member of it, or LISTED
 *         (below a list)
 *
 * A fallback in parentheses is computed; "" means required, or nothing.
 */
#define WA_JOB_ROOT_KEYS(X)                                                                        \
    X(TEXT, raw_job, ROOT, name, "", "string", "(stem of the job file)",                           \
      "result files are `NAME-AUDIT.h5`")                                                          \
    X(LIST, raw_job, ROOT, audits, "", "list of audits", "",                                       \
      "models to audit, one result file each; the only required key")                              \
    X(MAP, raw_job, ROOT, prompts, "", "mapping", "", "what the models read")                      \
    X(LIST, raw_job, ROOT, paths, "", "list of paths", "(all that each vindex can run)",           \
      "walk paths to compare with the dense model, see Paths")                                     \
    X(TEXT, raw_job, ROOT, semantics, "", "string", "native",                                      \
      "how the model is computed, see Semantics: `native`, `larql-2026-05` or `larql-2026-08`")    \
    X(TEXT, raw_job, ROOT, ladder, "", "string", "larql-2026-08",                                  \
      "whose routing, labels and list of paths: `larql-2026-05` or `larql-2026-08`, see Paths")    \
    X(TEXT, raw_job, ROOT, bounds, "", "string", "default",                                        \
      "built-in set `default` or `larql`, or the path of a bounds file, see Bounds")               \
    X(TEXT, raw_job, ROOT, kernel_check, "", "string", "sample",                                   \
      "where kernels meet their oracle, see Kernel check: `sample`, `all`, or `none`; a number "   \
      "of an earlier version is taken as one of these")                                            \
    X(TEXT, raw_job, ROOT, encoding_check, "", "string", "all",                                    \
      "`all`: compare every stored row with the model's; `none`")                                  \
    X(TEXT, raw_job, ROOT, allow_unread, "", "string", "false",                                    \
      "`true`: go on with a model that stores tensors of layers which nothing here reads")         \
    X(TEXT, raw_job, ROOT, texts, "", "string", "all",                                             \
      "`none`: the result holds no text of prompts and tokens, only ids, so that it can be "       \
      "passed on")                                                                                 \
    X(MAP, raw_job, ROOT, batch, "", "mapping", "", "how prompts are packed")                      \
    X(MAP, raw_job, ROOT, grid, "", "mapping", "", "how ranks are used; changes no number")        \
    X(TEXT, raw_job, ROOT, engine, "", "string", "walkaudit",                                      \
      "who multiplies: `walkaudit`, the same bits everywhere; `blas`, the installed BLAS, whose "  \
      "bits depend on `batch` and processor")                                                      \
    X(INT, raw_job, ROOT, threads, "", "int", "1", "BLAS threads per rank")                        \
    X(TEXT, raw_job, ROOT, logits, "", "string", "last",                                           \
      "positions that get logits: `last` of each prompt, or `all`")                                \
    X(INT, raw_job, ROOT, topk, "", "int", "16", "tokens kept per distribution, 5 to 128")         \
    X(INT, raw_job, ROOT, served_timeout, "", "int", "60",                                         \
      "seconds that a server of path `served` has for one answer")                                 \
    X(INT, raw_job, ROOT, served_retries, "", "int", "5",                                          \
      "further attempts, with growing pauses, after none or a broken answer, 429 and 503")         \
    X(MAP, raw_job, ROOT, captures, "", "mapping", "",                                             \
      "FFN inputs and outputs to keep, see Captures")                                              \
    X(TEXT, raw_job, ROOT, fingerprint, "", "string", "quick",                                     \
      "`quick`: sizes, times, first and last MiB of each input; `full`: SHA-256 of everything")    \
    X(TEXT, raw_job, ROOT, result, "", "string", "results", "directory of the result files")

#define WA_JOB_AUDIT_KEYS(X)                                                                       \
    X(TEXT, raw_audit, LISTED, name, "audits[].", "string", "(stem of the model's path)",          \
      "unique in the job")                                                                         \
    X(NEEDED, raw_audit, LISTED, model, "audits[].", "string", "",                                 \
      "Hugging Face directory or GGUF file")                                                       \
    X(TEXT, raw_audit, LISTED, reference_dump, "audits[].", "string", "",                          \
      "HDF5 file of another implementation's activations, compared with the dense model's; "       \
      "`--reference-dump`")                                                                        \
    X(LIST, raw_audit, LISTED, vindexes, "audits[].", "list of vindexes", "",                      \
      "required: the vindexes to compare with the model")

#define WA_JOB_VINDEX_KEYS(X)                                                                      \
    X(TEXT, raw_vindex, LISTED, name, "audits[].vindexes[].", "string",                            \
      "(stem of the vindex's path)", "unique in the audit; cases are called `VINDEX:PATH`")        \
    X(TEXT, raw_vindex, LISTED, path, "audits[].vindexes[].", "string", "",                        \
      "vindex directory; this or `checkpoint` is required")                                        \
    X(TEXT, raw_vindex, LISTED, checkpoint, "audits[].vindexes[].", "string", "",                  \
      "instead of `path`: another checkpoint of the model, a directory or GGUF file, see "         \
      "Checkpoints")                                                                               \
    X(TEXT, raw_vindex, LISTED, scope, "audits[].vindexes[].", "string", "ffn",                    \
      "`checkpoint` only: `ffn`, or `model` for path `checkpoint_model` beside `checkpoint`")      \
    X(LIST, raw_vindex, LISTED, paths, "audits[].vindexes[].", "list of paths",                    \
      "(the job's `paths`)", "as `paths`, for this vindex; each must run on it")

#define WA_JOB_PATH_KEYS(X)                                                                        \
    X(NEEDED, raw_path, LISTED, path, "paths[].", "string", "", "a word of section Paths")         \
    X(TEXT, raw_path, LISTED, k, "paths[].", "int or list of ints", "(all)",                       \
      "features kept per position, all where the FFN is no wider (the table notes it); "           \
      "`sparse_serial`, "                                                                          \
      "`sparse_parallel` and `weights_fallback` only; `[64, 256, 1024]` is a case for each")       \
    X(TEXT, raw_path, LISTED, name, "paths[].", "string",                                          \
      "(`VINDEX:PATH`, `:kK` when K is given)", "replaces PATH and K in the case's name")          \
    X(TEXT, raw_path, LISTED, rows, "paths[].", "string", "batch",                                 \
      "`decode`: the kernel also runs one position at a time, and the largest difference is "      \
      "reported")                                                                                  \
    X(TEXT, raw_path, LISTED, file, "paths[].", "string", "",                                      \
      "`external` only: HDF5 file with `y_walk`")                                                  \
    X(TEXT, raw_path, LISTED, library, "paths[].", "string", "",                                   \
      "`external` only: shared library")                                                           \
    X(TEXT, raw_path, LISTED, command, "paths[].", "string", "",                                   \
      "`external` only: a program, started by `sh -c` in the job file's directory on every rank")  \
    X(INT, raw_path, LISTED, timeout, "paths[].", "int", "300",                                    \
      "`external` with `command` only: seconds that the program has for one answer")               \
    X(TEXT, raw_path, LISTED, url, "paths[].", "string or list of strings", "",                    \
      "`served` only: `http://HOST:PORT` of a LARQL server, or a list of several")                 \
    X(TEXT, raw_path, LISTED, wire, "paths[].", "string", "f32",                                   \
      "`served` only: how numbers travel: `f32`, `f16`, `i8` or `q8k`")                            \
    X(TEXT, raw_path, LISTED, bucket, "paths[].", "string", "approximate",                         \
      "`external` and `served`: `exact`, `quantized`, `fp4` or `approximate`")                     \
    X(TEXT, raw_path, LISTED, like, "paths[].", "string", "",                                      \
      "`external` and `served`: the path whose stored numbers and formula it claims to compute; "  \
      "its oracle judges KERNEL, and `k` is then that path's")                                     \
    X(TEXT, raw_path, LISTED, kernel_tolerance, "paths[].", "number", "(1e-3, or the wire's)",     \
      "with `like` only: largest relative error against the oracle, at most 0.1")

#define WA_JOB_PROMPTS_KEYS(X)                                                                     \
    X(TEXT, raw_prompts, prompts, builtin, "prompts.", "string", "seed",                           \
      "`seed`: the three published prompts")                                                       \
    X(TEXT, raw_prompts, prompts, file, "prompts.", "string", "",                                  \
      "file of prompts instead, see Prompts: `.txt`, a prompt per line, or JSON lines")            \
    X(INT, raw_prompts, prompts, limit, "prompts.", "int", "(all)",                                \
      "only the first so many prompts")

#define WA_JOB_BATCH_KEYS(X)                                                                       \
    X(INT, raw_batch, batch, rows, "batch.", "int", "512",                                         \
      "most positions of a batch; prompts are packed whole, a longer one alone. Changes no bit, "  \
      "but with `engine: blas`")

#define WA_JOB_GRID_KEYS(X)                                                                        \
    X(INT, raw_grid, grid, stages, "grid.", "int", "0", "ranges of layers; 0: chosen")             \
    X(INT, raw_grid, grid, teams, "grid.", "int", "0",                                             \
      "ranks that share the cases of a batch; 0: chosen")                                          \
    X(TEXT, raw_grid, grid, experts, "grid.", "string", "(by plan)",                               \
      "of a model that has them: `spread`, each rank of a team computes its share of every "       \
      "layer's experts, for all; `whole`, each all that its cases take; see Experts on several "   \
      "nodes")

#define WA_JOB_CAPTURES_KEYS(X)                                                                    \
    X(LIST, raw_captures, LISTED, tensors, "captures.", "list of strings", "",                     \
      "required: some of `x`, `y_ref`, `y_walk`")                                                  \
    X(LIST, raw_captures, LISTED, cases, "captures.", "list of strings", "(all)",                  \
      "names of cases whose `y_walk` is kept")                                                     \
    X(LIST, raw_captures, LISTED, layers, "captures.", "list of ints", "(all)", "layers, from 0")

#define WA_JOB_ALL_KEYS(X)                                                                         \
    WA_JOB_ROOT_KEYS(X)                                                                            \
    WA_JOB_AUDIT_KEYS(X)                                                                           \
    WA_JOB_VINDEX_KEYS(X)                                                                          \
    WA_JOB_PATH_KEYS(X)                                                                            \
    WA_JOB_PROMPTS_KEYS(X)                                                                         \
    WA_JOB_BATCH_KEYS(X)                                                                           \
    WA_JOB_GRID_KEYS(X)                                                                            \
    WA_JOB_CAPTURES_KEYS(X)

typedef enum wa_job_kind {
    WA_JOB_TEXT,
    WA_JOB_NEEDED,
    WA_JOB_INT,
    WA_JOB_LIST,
    WA_JOB_MAP
} wa_job_kind;

/** Schema of the whole file, for cyaml_load_data and cyaml_save_data. */
const cyaml_schema_value_t *wa_job_schema(void);

enum { WA_JOB_HINT = 800 };
/**
 * What to say after an unknown key, by its name as in the table ("audits[].vindex"): ", did you
 * mean 'vindexes'?", the place where such a key belongs (", did you mean 'batch.rows'?"), or the
 * keys that its mapping has.
 */
void wa_job_key_hint(const char *name, char out[WA_JOB_HINT]);
/** The same after an unknown key of --set, which knows single values outside lists:
 * "batch.rows". */
void wa_job_setting_hint(const char *name, char out[WA_JOB_HINT]);

/** Kind of a key by the name that wa_job_keys gives it; false when there is none. */
bool wa_job_key_kind(const char *name, wa_job_kind *out);

/**
 * Where the raw job keeps a scalar key outside lists: the address of its `char *` or `int64_t *`.
 * NULL for lists, mappings, keys inside lists and unknown names. The mappings prompts, batch and
 * grid must be there.
 */
void *wa_job_scalar(raw_job *raw, const char *name, wa_job_kind *kind);

#endif
