/* Failures: status codes, the error record, and the macros that pass both upwards. */
#ifndef WALKAUDIT_BASE_STATUS_H
#define WALKAUDIT_BASE_STATUS_H

#include <stddef.h>

/* X(code, process exit code, meaning). The README's table of exit codes is checked against it. */
#define WA_STATUS_LIST(X)                                                                          \
    X(WA_OK, 0, "success")                                                                         \
    X(WA_E_VERDICT, 1, "some case fails its verdict, or no case of some vindex ran")               \
    X(WA_E_USAGE, 2, "wrong command line")                                                         \
    X(WA_E_JOB, 2, "wrong job or bounds file")                                                     \
    X(WA_E_FORMAT, 3, "a file does not hold what its format demands")                              \
    X(WA_E_IO, 3, "the operating system refused a file operation")                                 \
    X(WA_E_MISMATCH, 3, "two inputs do not belong together")                                       \
    X(WA_E_UNSUPPORTED, 3, "valid, but nothing here can compute it")                               \
    X(WA_E_MEMORY, 3, "an arena's limit or the machine's memory is reached")                       \
    X(WA_E_AWAY, 3, "a server does not answer")                                                    \
    X(WA_E_BUSY, 3, "another run is computing the same result")                                    \
    X(WA_E_NO_PROGRESS, 3, "stopped early, before any batch was done")                             \
    X(WA_E_INTERNAL, 4, "a defect of walkaudit")                                                   \
    X(WA_E_MPI, 4, "an MPI call failed")                                                           \
    X(WA_E_STOPPED, 75, "stopped early, resumable")

typedef enum wa_status {
#define WA_STATUS_ENUM(code, exit_code, meaning) code,
    WA_STATUS_LIST(WA_STATUS_ENUM)
#undef WA_STATUS_ENUM
} wa_status;

enum { WA_ERROR_TEXT = 1000 };

/** The story of one failure. A plain value without pointers, owned by the caller. */
typedef struct wa_error {
    wa_status status;
    char text[WA_ERROR_TEXT]; /* "what; where; found and expected", one line */
} wa_error;

#define WA_CHECKED __attribute__((warn_unused_result))
#define WA_PRINTF(at, first) __attribute__((format(printf, at, first)))

/** wa_status wa_fail(wa_error *err, wa_status status, const char *format, ...)
 * Write the cause of a failure, once, where it is discovered. Returns `status`. `err` may be
 * NULL. */
#define wa_fail(...) wa_failed(wa_fail_text(__VA_ARGS__))

/** wa_status wa_note(wa_error *err, const char *format, ...)
 * Add to a failure what only the caller knows ("in model 'x.gguf'"); appended after "; ".
 * Returns err->status. `err` must hold a failure.
 */
#define wa_note(...) wa_failed(wa_note_text(__VA_ARGS__))

/* The functions behind both. Through wa_failed the compiler and analysers see, in every file, that
 * a failure is never WA_OK, so that nobody reads an output that was not written. */
wa_status wa_fail_text(wa_error *err, wa_status status, const char *format, ...) WA_PRINTF(3, 4);
wa_status wa_note_text(wa_error *err, const char *format, ...) WA_PRINTF(2, 3);
static inline wa_status wa_failed(wa_status status)
{
    return status != WA_OK ? status : WA_E_INTERNAL;
}

/** For functions that are handed a status and answer with one: a failure that goes in comes out. */
static inline wa_status wa_kept(wa_status before, wa_status after)
{
    return before == WA_OK ? after : wa_failed(after);
}

/** Exit code of the process for a status (design 4). */
int wa_status_exit_code(wa_status status);
/** Of two exit codes the one a sweep answers with: 4 > 2 > 3 > 75 > 1 > 0 (design 4); 4 for codes
 * that are none of these. */
int wa_exit_code_graver(int a, int b);

/** Return from the calling function when `call` fails. Use where there is nothing to undo. */
#define WA_TRY(call)                                                                               \
    do {                                                                                           \
        wa_status try_status_ = (call);                                                            \
        if (try_status_ != WA_OK)                                                                  \
            return try_status_;                                                                    \
    } while (0)

/** Print "walkaudit: <story>" on stderr; returns the exit code of err->status. */
int wa_error_print(const wa_error *err);

#endif
