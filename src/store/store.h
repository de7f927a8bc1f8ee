/* The result on disk: parts while ranks compute, one assembled HDF5 file at the end, and its
 * reader. Design 8. */
#ifndef WALKAUDIT_STORE_STORE_H
#define WALKAUDIT_STORE_STORE_H

#include "comm/comm.h"
#include "job/plan.h"
#include "measure/block.h"
#include "measure/rows.h"
#include "model/model.h"
#include "path/path.h"
#include "store/capture.h"
#include "store/layout.h"
#include "store/mark.h"

#include <stdio.h>

/** One key and value of a fingerprint, e.g. "model" and a hash; compared one by one so that a
 * refusal names what differs. */
typedef struct wa_fingerprint_item {
    const char *key, *value;
    /* when the status of a vindex file last changed, whose value does not tell all its bytes, or
     * NULL: no part of the fingerprint, and kept beside parts alone */
    const char *touched;
} wa_fingerprint_item;

/** All that the result file says besides measured fields. Known before computing; rank 0 builds it.
 * Arena. */
typedef struct wa_result_meta {
    const char *title;
    const char *source; /* program version and commit; NULL = "walkaudit" */
    const char *job_name, *audit_name;
    const char *job_text; /* effective job, YAML */
    const char *model_path, *model_family, *semantics, *bounds_name;
    /* [understood_count] how the model was understood; not read back */
    const wa_model_fact *understood;
    size_t understood_count;
    const char *warnings;  /* on the model and its vindexes, one a line; NULL = none */
    size_t unread_tensors; /* tensors of the decoder left out by allow_unread */
    /* path of the dump that the reference was compared with; NULL or empty = none */
    const char *reference_dump;
    const char *const *vindex_path; /* [vindexes] */
    const char *const *vindex_name; /* [vindexes] */
    /* [vindexes] a line for each file: "NAME: read" and how it stands to index.json's checksums, ":
     * not read: WHAT", ": unknown, like NAME" */
    const char *const *vindex_files;
    const char *const *vindex_lack; /* [vindexes] why no case of it could run; "" = one could */
    /* [vindexes, payloads] name of its file in the vindex, "" = it has none; NULL = not known */
    const char *const *payload_file;
    /* [vindexes, payloads] of wa_vindex_tell_orders, a line for each projection; NULL = all "" */
    const char *const *payload_order;
    /* [vindexes] 1: it could run some path, but none that the job names */
    const int8_t *vindex_left_out;
    /* formats of the model's own FFN matrices, e.g. "Q4_1" or "Q4_1,Q8_0" */
    const char *source_format[WA_PROJECTION_COUNT];
    bool requantised;             /* some source format has 6 bits or fewer */
    wa_dims dims;                 /* rows and prompts: of the whole job */
    const int32_t *layer_experts; /* [layers] experts of each; NULL = none anywhere */
    const wa_case *cases;         /* [cases] */
    const int8_t *expected_label; /* [cases, layers] */
    const char *kernel_check;     /* the job's word; NULL = "none" */
    /* [cases] pairs that the check looks at; NULL = none */
    const int64_t *kernel_due, *kernel_own_due;
    const wa_not_offered *not_offered;
    size_t not_offered_count;
    /* [vindexes, payloads, layers, projections]; NaN = no case reads it */
    const double *nominal_bound;
    const char *const *prompt_key;                       /* [prompts] */
    const char *const *prompt_text;                      /* [prompts], NUL inside shown escaped */
    const int32_t *prompt_rows;                          /* [prompts] */
    const int32_t *obs_prompt, *obs_position, *token_id; /* [rows] */
    const char *const *token_text;                       /* [rows] */
    const wa_fingerprint_item *fingerprint;              /* [fingerprint_count] */
    size_t fingerprint_count;
    const wa_captures *captures; /* NULL = nothing is kept */
} wa_result_meta;

/** What all ranks know of the parts that they assemble. Borrowed. */
typedef struct wa_part_list {
    wa_part_mark mark;     /* of the run: wa_parts_get_mark */
    wa_dims dims;          /* of the job */
    const wa_batch *parts; /* [count] all prompts, in order, end to end (wa_batches_join) */
    size_t count;
} wa_part_list;

typedef struct wa_result wa_result;

/** What assembly asks of its caller, on rank 0. */
typedef struct wa_assembly_caller {
    /** A token id's text; for the top-k strings of the assembled file. */
    wa_status (*text)(void *context, int32_t id, wa_arena *arena, char **out, wa_error *err);
    void (*beat)(void *context); /* often: time for what waits for this rank */
    /** The arrays are in the file: judge them, and write figures through the result's access. It
     * stays readable when the file has its final name, without access; arena of wa_assemble. NULL =
     * the file gets no judgement. */
    wa_status (*judge)(void *context, wa_result *result, wa_error *err);
    wa_layout_more *figures; /* rows that `judge` writes; NULL = none */
    /* the finished file: wa_parts_publish */
    wa_status (*publish)(void *context, const char *temporary, wa_error *err);
    void *context;
} wa_assembly_caller;

/* --- Fingerprints (libcrypto) ----------------------------------------------------------------- */

/** Hash of a file: size, mtime, first and last MiB (quick), or size and every byte (full).
 * "quick:<hex>" or "full:<hex>", arena. */
WA_CHECKED wa_status wa_fingerprint_file(const char *path, bool full, wa_arena *arena, char **out,
                                         wa_error *err);
/** "sha256:<hex>" of bytes. */
WA_CHECKED wa_status wa_fingerprint_bytes(const void *bytes, size_t size, wa_arena *arena,
                                          char **out, wa_error *err);

/** What tells without reading it that a file is still the same. */
typedef struct wa_file_state {
    int64_t size, seconds, nanoseconds; /* of the last change of its bytes */
    /* of the last change of bytes, owner, rights, links or times: nobody can set it back */
    int64_t status_seconds, status_nanoseconds;
} wa_file_state;
/** Errors: WA_E_IO. */
WA_CHECKED wa_status wa_file_state_read(const char *path, wa_file_state *out, wa_error *err);

/* --- Parts: rank 0 opens the directory, any rank writes a part -------------------------------- */

typedef enum wa_parts_state {
    WA_PARTS_FRESH,   /* nothing done yet */
    WA_PARTS_RESUMED, /* some prompts are done */
    /* the result file itself is there with the same fingerprint: nothing to compute */
    WA_PARTS_FINISHED
} wa_parts_state;

typedef struct wa_parts wa_parts;

/**
 * Local, rank 0. Take RESULT.h5.parts/ (owner lock, stale temporaries removed), compare
 * fingerprints, list what is done. Until wa_parts_close a thread renews the lock's heartbeat.
 *
 * Captures: their folder, RESULT.h5.captures/N, is made (wa_part_mark), files in it that belong to no
 * kept part are removed, and the folder of a job that is given up here. wa_parts_close removes that of
 * the result that was replaced. No other folder is touched: a result under another name may show it.
 *
 * fresh  forget parts, and the result until the new one takes its name; also where a run with
 *        --fresh owes it. Else a run goes on with the parts of one that was begun so, also beside a
 *        finished result of the same job.
 * Errors: WA_E_MISMATCH (another fingerprint: which item differs, both values; use --fresh),
 * WA_E_BUSY (locked by a living owner: host, process), WA_E_IO (unwritable, no room for the captures),
 * WA_E_FORMAT (a damaged part is named; it is set aside and its prompts are computed again, so this
 * is a note).
 */
WA_CHECKED wa_status wa_parts_open(const char *result_path, const wa_result_meta *meta, bool fresh,
                                   wa_arena *arena, wa_parts **out, wa_error *err);
wa_parts_state wa_parts_get_state(const wa_parts *parts);
/** For the ranks that write and read parts; empty when the result is finished. */
wa_part_mark wa_parts_get_mark(const wa_parts *parts);
/** Give the assembled result its name, unless another run has taken over. Rank 0. */
WA_CHECKED wa_status wa_parts_publish(wa_parts *parts, const char *temporary, wa_error *err);
/**
 * Local, any rank, without the lock: what stands at a result's path, or is begun there, is to be
 * computed anew, whenever this run ends. A line of RESULT.h5.parts/owed says so until wa_parts_open
 * has begun the job anew (and of parts that were made while an input changed); it honours the record
 * in every run of the same job text, and in every run whose fingerprint is that of what stands
 * there. Where nothing stands nothing is owed. run: this run's id. WA_E_IO.
 */
WA_CHECKED wa_status wa_owed_record(const char *result_path, const char *job_text, const char *run,
                                    wa_error *err);
/** Take back what this run recorded, and leave what others did. WA_E_IO. */
WA_CHECKED wa_status wa_owed_waive(const char *result_path, const char *run, wa_error *err);
/** The record goes, whosever it is, and is gone after a crash, too. WA_E_IO. */
WA_CHECKED wa_status wa_owed_settle(const char *result_path, wa_error *err);
/** Sixteen random bytes as hexadecimal digits: no two runs have the same. WA_E_INTERNAL. */
WA_CHECKED wa_status wa_run_id_draw(char out[WA_RUN_ID_BYTES], wa_error *err);

/** The parts that are there, whole and of this job, in order of their prompts, no prompt twice;
 * none when the result is finished. */
const wa_batch *wa_parts_kept(const wa_parts *parts, size_t *count);
/** Of the kept parts the one that carries the row errors, which are of the whole job; NULL = none
 * does. */
const wa_batch *wa_parts_encoding(const wa_parts *parts);
/** What was repaired on opening (a damaged part set aside, a dead owner's lock taken over), one
 * line; NULL = nothing. */
const char *wa_parts_note(const wa_parts *parts);
/** Release the lock. remove_all: the result is final, delete the directory. */
void wa_parts_close(wa_parts *parts, bool remove_all);

/** Facts of this run for /run/K: flat JSON object text, written at the start (run-K.json), updated
 * at the end. */
WA_CHECKED wa_status wa_parts_write_run(wa_parts *parts, const char *json_text, wa_error *err);

/**
 * Local, any rank. Write the block of `range` to its part of `result_path`: temporary name, fsync,
 * rename, fsync of the directory. A part of a failed or interrupted write never has the final name.
 * WA_E_IO when another run has taken over meanwhile.
 */
WA_CHECKED wa_status wa_part_write(const char *result_path, const wa_batch *range,
                                   const wa_part_mark *mark, const wa_block *block,
                                   bool has_encoding, wa_error *err);

/**
 * Collective. Assemble all parts into the result file: all ranks look whether the parts are whole;
 * rank 0 makes skeleton, strings and scales; all ranks read measured fields from the parts and send
 * them to rank 0, which writes them in whole chunks, has the caller judge them and renames the file.
 * meta and caller are read on rank 0 only, the list on every rank. Only its parts are read, whatever
 * lies beside them. On failure the parts stay.
 */
WA_CHECKED wa_status wa_assemble(wa_comm *comm, const char *result_path, const wa_part_list *list,
                                 const wa_result_meta *meta, const wa_assembly_caller *caller,
                                 wa_arena *arena, wa_error *err);

/** Digests (wa_digest_short) of stored payloads as the encoding check saw them. */
typedef struct wa_payload_digests {
    size_t count;        /* vindexes * payloads * layers * projections; 0 = none were taken */
    int8_t *checked;     /* [count] 1 where there is one */
    int64_t *high, *low; /* [count] */
} wa_payload_digests;
/** Local. From the part that carries the row errors (wa_parts_encoding), or from the finished
 * result when part is NULL. Errors: WA_E_IO, WA_E_FORMAT. */
WA_CHECKED wa_status wa_payload_digests_load(const char *result_path, const wa_result_meta *meta,
                                             const wa_batch *part, wa_arena *arena,
                                             wa_payload_digests *out, wa_error *err);

/* --- Reading a finished file ------------------------------------------------------------------ */

/**
 * How to reach the rest of a result: in its file (this folder), or in the memory of a test. Local
 * calls; the context is borrowed. Errors of what reads: WA_E_FORMAT.
 */
typedef struct wa_result_access {
    void *context;
    /** Hand over all observations of case `which`: ascending within a layer, layers in any order.
     * again: cos, rel_l2, l2, max_abs and obs_status will do. */
    wa_status (*rows)(void *context, size_t which, bool again, wa_rows_taker *take, void *taker,
                      wa_error *err);
    /** Every other figure that case `which` computed, in a fixed order: not its label and cost. */
    wa_status (*outputs)(void *context, size_t which, wa_bytes_taker *take, void *taker,
                         wa_error *err);
    /** A whole dataset that wa_result does not hold; *out_pointer in the arena. */
    wa_status (*read)(void *context, const wa_layout *row, wa_arena *arena, void *out_pointer,
                      wa_error *err);
    wa_status (*read_text)(void *context, const char *attribute, wa_arena *arena, const char **out,
                           wa_error *err);
    /** Create, or write over what stands there. Texts that are no UTF-8 are escaped. */
    wa_status (*write)(void *context, const wa_layout *row, const void *values, wa_error *err);
    wa_status (*write_text)(void *context, const char *attribute, const char *text, wa_error *err);
    wa_status (*write_f64)(void *context, const char *attribute, double value, wa_error *err);
    wa_status (*write_i64)(void *context, const char *attribute, int64_t value, wa_error *err);
} wa_result_access;

/** Row errors, [vindexes, payloads, layers, projections] each. */
typedef struct wa_row_errors {
    const double *p50, *p99, *max, *unequal_error, *steps, *ratio, *gain, *row_gain;
    const double *row_ratio, *expert_ratio;
    const int32_t *worst, *unequal_row, *steps_row, *row_gain_row, *row_ratio_row;
    const int32_t *expert_ratio_row;
    const int8_t *checked, *format, *basis;
    const int64_t *nonfinite, *rows, *unequal;
} wa_row_errors;

/** Everything of a result file but its observations: what judging and printing need. Arena. */
struct wa_result {
    const char *path;
    wa_result_meta meta; /* fingerprint included; cases hold name, vindex, path, k, bucket */
    const char *source;  /* program version and commit that wrote it */
    wa_result_access access;
    const int8_t *label;         /* [cases, layers, prompts] */
    const int8_t *modes_changed; /* likewise: WA_MODE_ bits (base/foreign.h) */
    /* Likewise: the same x asked in another way. NULL in a result made in memory without them. */
    const double *decode, *repeat, *order, *alone, *alike;
    /* Rows of each expert, [layers, experts] and [cases, layers, experts]; NULL in a model without. */
    const int64_t *expert_rows, *own_expert_rows, *expert_kernel_rows;
    wa_row_errors row_errors;
    const double *seconds;                    /* [cases] summed over layers */
    const int64_t *bytes_read, *flops;        /* [cases] likewise */
    const double *ref_top1_prob, *ref_margin; /* [prompts] */
    const int32_t *ref_top1_id;
    wa_drift_figures dump;            /* distances from the reference dump */
    const double *ref_nll;            /* [prompts] */
    const int32_t *ref_nll_positions; /* [prompts] */
    const char *const *ref_top1_text;
    const double *prob_delta, *top1_gap, *kl; /* [cases, prompts] */
    const int8_t *top1_match;                 /* [cases, prompts] */
    const char *const *top1_text;             /* [cases, prompts] */
    int64_t dense_evaluations;                /* summed over layers and prompts */
    /* [cases, rows]; NULL with logits: last, as all of these */
    const double *obs_kl, *obs_next_logprob;
    const double *obs_top1_gap;         /* [cases, rows] */
    const int8_t *obs_top1_match;       /* [cases, rows] */
    const double *obs_ref_next_logprob; /* [rows] */
};

/** Local. Open and check a finished file; close it with wa_result_close. Errors: WA_E_FORMAT
 * (foreign, truncated), WA_E_IO, WA_E_MISMATCH (another format). */
WA_CHECKED wa_status wa_result_open(const char *path, wa_arena *arena, wa_result **out,
                                    wa_error *err);
/** Experts of a layer that no row of the prompts chose, by the reference's router. 0 in a layer, or a
 * result, without experts. */
size_t wa_result_never_chosen(const wa_result *result, size_t layer);
/** Its arrays stay, its access goes. Keeps an earlier failure; NULL is nothing. */
wa_status wa_result_close(wa_result *result, wa_status status, wa_error *err);

/** Write through the access of a result; *changed = true where something was. */
typedef wa_status (*wa_result_changer)(void *context, wa_result *result, bool *changed,
                                       wa_error *err);
/**
 * Local. Change a finished file: `change` gets a copy, which then takes the file's name if anything
 * changed. Whatever stands there meanwhile, `change` sees all of what will be there, and nothing
 * else is replaced by it. On failure the file is as it was. Errors: those of opening, of `change`,
 * WA_E_IO; WA_E_BUSY when another file has the name by now, or somebody wrote to this one.
 */
WA_CHECKED wa_status wa_result_change(const char *path, wa_result_changer change, void *context,
                                      wa_arena *arena, wa_error *err);

/**
 * Open the HDF5 file of an external case: `y_walk` [layers, obs, hidden], f32 or f64 (compared as
 * f32), `token_id` [obs] of the result whose x it answers and, where there, its `x_norm` [layers,
 * obs], compared with the x of the run. Local; close with wa_external_close. Errors: WA_E_IO,
 * WA_E_FORMAT (no such dataset, shape, type), WA_E_MISMATCH (made for other ids, or other x).
 *
 * dims  of the whole job; ids [dims->rows]
 */
WA_CHECKED wa_status wa_external_open_file(const wa_case *which, const wa_dims *dims, size_t hidden,
                                           const int32_t *ids, wa_arena *arena, wa_external **out,
                                           wa_error *err);

/** State of a result that may be unfinished, for `walkaudit status`; never locks. */
typedef struct wa_result_status {
    bool finished;             /* and no run has begun it anew */
    size_t prompts, done;      /* known once the parts directory has its job; else 0 */
    double prompts_per_second; /* of the last run so far; 0 = not known */
    bool owed;                 /* a run with --fresh has yet to begin it anew: none are done */
    bool owner_alive;          /* a lock with a living process or fresh heartbeat */
    const char *owner;         /* "host HOST, process PID", arena, NULL = no lock */
} wa_result_status;
WA_CHECKED wa_status wa_result_check(const char *path, wa_arena *arena, wa_result_status *out,
                                     wa_error *err);

/** Once, before MPI starts: HDF5 starts, and will not shut down at the end of MPI or of the
 * process, where it crashes on files whose disk failed. */
void wa_store_prepare(void);

/** Name and version of the HDF5 library in use, static. */
const char *wa_store_library(void);

#endif
