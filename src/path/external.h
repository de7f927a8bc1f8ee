/* Path external: kernels that are not ours. */
#ifndef WALKAUDIT_PATH_EXTERNAL_H
#define WALKAUDIT_PATH_EXTERNAL_H

#include "path/evaluate.h"

/** What a kernel is asked for: y [rows, hidden] for x [rows, hidden], observations first_obs and
 * on, at a layer. */
typedef struct wa_external_rows {
    size_t layer, first_obs, rows, hidden;
    size_t prompt; /* of the job: all rows are its own */
    const float *x;
    float *y;
    wa_ways *ways; /* may be NULL */
    /* may be NULL: |= WA_MODE_ bits (base/foreign.h) of what the kernel left changed; they are put
     * back */
    int *modes;
} wa_external_rows;

struct wa_external {
    const char *label;  /* what the kernel calls itself, arena */
    const char *source; /* path of the library or file, or the command; borrowed from the case */
    /* y = FFN(x) at a layer; y comes full of NaN. */
    wa_status (*run)(const wa_external *external, const wa_external_rows *rows, wa_error *err);
    void (*close)(wa_external *external);
    void *context; /* of whoever opened it */
    int modes;     /* WA_MODE_ bits that loading left changed; they are put back */
    /* Of a server, else NULL and NONE: */
    const char *facts;     /* what it said of itself and what nobody can know, JSON, arena */
    const char *identity;  /* of that what decides numbers: for the fingerprint, arena */
    wa_wire answer;        /* how its y travels */
    const uint8_t *serves; /* [layers] 1: some server has it; arena; NULL = all */
    /* Is it still what it was when it was opened? NULL = nothing to ask. Errors: WA_E_MISMATCH,
     * WA_E_AWAY. */
    wa_status (*check)(const wa_external *external, wa_error *err);
};

/**
 * Load the library of a case (walkaudit/external.h) and ask it for its kernel. Local; runs the
 * user's code, guarded (base/foreign.h), on copies between guard pages.
 * Errors: WA_E_IO (no such library, a symbol it needs is missing), WA_E_MISMATCH (no
 * `walkaudit_external`, another version, no `run`), WA_E_UNSUPPORTED (it returns a number that is
 * not 0).
 *
 * vindex_path, model_path  what the kernel is told; strings in the arena or longer-lived
 */
WA_CHECKED wa_status wa_external_load(const wa_case *which, const wa_model *model,
                                      const char *model_path, const char *vindex_path,
                                      wa_arena *arena, wa_external **out, wa_error *err);
/** May be NULL. */
void wa_external_close(wa_external *external);

#endif
