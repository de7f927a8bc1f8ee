/* An audit, opened: one model, its vindexes, the cases, the prompts as token ids. What `run` and
 * `plan` share. */
#ifndef WALKAUDIT_ENGINE_AUDIT_H
#define WALKAUDIT_ENGINE_AUDIT_H

#include "engine/checked.h"
#include "engine/stage.h"
#include "job/job.h"
#include "job/plan.h"
#include "model/notes.h"
#include "model/tokenizer.h"
#include "store/store.h"

/** An input, and what it looked like when its fingerprint was taken. */
typedef struct wa_input_file {
    const char *path; /* borrowed from model, vindex or job */
    const char *key;  /* "vindex q4k: index.json", arena */
    wa_file_state state;
    const char *hash; /* by wa_fingerprint_file; NULL = not taken yet */
    /* whose index.json has a checksum of this file, which a case reads; -1 = there is none */
    int vindex;
    int checksum; /* the state of wa_vindex_checksum, once taken */
    /* on rank 0, its SHA-256 then, where `hash` is not of all bytes; else NULL */
    const char *sum;
} wa_input_file;

/** Read-only once opened and tokenised; memory in the arena given to wa_audit_open. */
typedef struct wa_audit {
    const wa_job *job;
    const wa_job_audit *request; /* borrowed from the job */
    wa_arena *arena;
    wa_model *model;      /* owned */
    wa_vindex **vindexes; /* [vindex_count], owned */
    size_t vindex_count;
    wa_cases cases;
    wa_external **externals; /* [cases] owned; NULL where a case has none */
    wa_notes warnings;       /* on the model, and where a vindex's index.json contradicts it */
    /* owned; NULL where the job names none, or the ids are not known yet */
    wa_dump *dump;
    const wa_captures *captures; /* NULL = nothing is kept */
    /* owned; NULL where wa_audit_tokenize was not called, or all prompts are ids and none can be
     * opened */
    wa_tokenizer *tokenizer;

    size_t prompt_count, obs_count;
    size_t *prompt_rows;  /* [prompt_count] */
    int32_t *ids;         /* [obs_count], all prompts end to end */
    wa_input_file *files; /* [file_count]; NULL before wa_audit_list_inputs */
    size_t file_count;
    /* [prompt_count]; on other ranks than the first NULL, unless there is a dump */
    const char *const *prompt_key;
    const wa_prompt *prompts; /* [prompt_count], NULL where wa_audit_tokenize was not called */
} wa_audit;

/** Open model and vindexes of audit `index` of the job, check that they belong together, build the
 * cases. Local. */
WA_CHECKED wa_status wa_audit_open(const wa_job *job, size_t index, wa_arena *arena, wa_audit **out,
                                   wa_error *err);
void wa_audit_close(wa_audit *audit);

/** Read the job's prompts and make ids of them. Local; one rank does it and shares ids and
 * prompt_rows. */
WA_CHECKED wa_status wa_audit_tokenize(wa_audit *audit, wa_error *err);

/**
 * Open what only a run needs: the files that cases of path external take their outputs from, the
 * programs that answer them, and the reference dump. After ids and keys are known. Local.
 */
WA_CHECKED wa_status wa_audit_open_files(wa_audit *audit, wa_error *err);

/** What its encoding check compares; borrowed from it. */
wa_checked wa_audit_checked(const wa_audit *audit);

/** Everything planning needs. nodes and memory per node (0 = unknown) come from the caller. */
WA_CHECKED wa_status wa_audit_plan_input(const wa_audit *audit, int nodes, size_t node_memory,
                                         wa_plan_input *out, wa_error *err);

/** Axes of the whole job. */
wa_dims wa_audit_dims(const wa_audit *audit);

/** The text of a token, arena; "#ID" without a tokenizer, with the job's `texts: none`, or where
 * the tokenizer has none. Local. */
WA_CHECKED wa_status wa_audit_token_text(const wa_audit *audit, int32_t id, wa_arena *arena,
                                         char **out, wa_error *err);
/** What the result file says besides measured fields. Needs the tokenizer; computes fingerprints.
 * blas_core: of all ranks, copied. */
WA_CHECKED wa_status wa_audit_meta(wa_audit *audit, const char *blas_core, wa_result_meta *out,
                                   wa_error *err);

/**
 * Are the inputs still what wa_audit_meta saw? Local, quick: sizes and times. Mapped bytes outlive
 * their file's name, but a result must not tell of inputs that nobody can look at. Errors:
 * WA_E_MISMATCH, naming a file that was written to or replaced; WA_E_IO, naming one that is gone.
 */
WA_CHECKED wa_status wa_audit_check_inputs(const wa_audit *audit, wa_error *err);

/** Path of the audit's result file: RESULT/NAME-AUDIT.h5, or `out_file` when the user names one. */
WA_CHECKED wa_status wa_audit_result_path(const wa_audit *audit, const char *out_file, char **out,
                                          wa_error *err);

#endif
