/* Kernels of path external and served that are no code of this process: each becomes a
 * wa_external. */
#ifndef WALKAUDIT_REMOTE_REMOTE_H
#define WALKAUDIT_REMOTE_REMOTE_H

#include "path/path.h"

/**
 * Start the program of a case (walkaudit/external_process.h) and greet it. Local. Close with
 * wa_external_close, which ends it. Errors: WA_E_IO (it cannot be started, ends, or does not answer
 * in time), WA_E_MISMATCH (it answers in another version, or no answer of the protocol),
 * WA_E_UNSUPPORTED (it answers with a status that is not 0).
 *
 * model_path, vindex_path  what it is told, made absolute
 */
WA_CHECKED wa_status wa_external_start(const wa_case *which, const wa_model *model,
                                       const char *model_path, const char *vindex_path,
                                       wa_arena *arena, wa_external **out, wa_error *err);

/** Words of a case's command that are names of regular files where it starts: the script, a
 * configuration. Of very many the first. Paths in the arena. Local. */
enum { WA_COMMAND_FILES = 8 };
WA_CHECKED wa_status wa_external_command_files(const wa_case *which, wa_arena *arena,
                                               const char *out[WA_COMMAND_FILES], size_t *count,
                                               wa_error *err);

/** How servers are asked. */
typedef struct wa_served_options {
    double seconds; /* limit of one attempt */
    int retries;
    size_t prompts; /* of the job */
    size_t longest; /* positions of its longest prompt */
} wa_served_options;

/**
 * Ask the servers of a case what they hold (larql-2026-08.md 4.10): sizes, layers, patches, how
 * they answer. Local. Close with wa_external_close. WALKAUDIT_SERVED_KEY of the environment is sent
 * as a bearer token, and kept nowhere. Errors: WA_E_JOB (no URL that may be asked), WA_E_AWAY (no
 * answer), WA_E_MISMATCH (another model's sizes, no answer of the protocol, servers that differ),
 * WA_E_UNSUPPORTED (experts; an answer that says why not).
 *
 * lacks  NULL, or why there is nothing to ask (no server has any layer), arena
 */
WA_CHECKED wa_status wa_external_connect(const wa_case *which, const wa_model *model,
                                         const wa_served_options *options, wa_arena *arena,
                                         wa_external **out, const char **lacks, wa_error *err);

#endif
