/* Which stored matrices are compared with which of the model's, once in a job, and what that takes:
 * the encoding check asked in advance. */
#ifndef WALKAUDIT_ENGINE_CHECKED_H
#define WALKAUDIT_ENGINE_CHECKED_H

#include "engine/stored.h"
#include "path/encoding.h"

/** Whose stored numbers are compared. Borrowed. */
typedef struct wa_checked {
    const wa_model *model;
    const wa_vindex *const *vindexes; /* [vindex_count] */
    const wa_case *cases;             /* [case_count] */
    size_t vindex_count, case_count;
} wa_checked;

/** Numbers of places in a layer of a vindex: each projection in each payload. */
enum { WA_CHECKED_PLACES = WA_PAYLOAD_COUNT * WA_PROJECTION_COUNT };

/** The place of this number, below WA_CHECKED_PLACES. False: nothing there is compared, since no
 * case that runs reads it, or nothing is stored there. Local. */
bool wa_checked_place(const wa_checked *of, size_t vindex, size_t number, size_t layer,
                      wa_stored_place *out);
/** How many matrices it has: one, or one for each expert. */
size_t wa_checked_stack(const wa_stored_place *place);
/** Do its rows run along the model's columns? */
bool wa_checked_is_turned(const wa_stored_place *place);
/** Matrix i of a place and the model's. Local. Errors: as wa_vindex_stack_matrix. */
WA_CHECKED wa_status wa_checked_pair(const wa_checked *of, const wa_stored_place *place, size_t i,
                                     wa_encoding_pair *out, wa_error *err);
/** Stored bytes of both. */
size_t wa_checked_bytes(const wa_encoding_pair *pair);

/** What the comparisons of a vindex take, of all layers. */
typedef struct wa_checked_cost {
    double bytes;   /* read, of both sides */
    double numbers; /* stored, each counted as often as its time is that of a plain float's */
    size_t memory;  /* of the largest, in an arena */
} wa_checked_cost;

/** Local. Errors: as wa_vindex_stack_matrix. */
WA_CHECKED wa_status wa_checked_sum_costs(const wa_checked *of, size_t vindex, wa_checked_cost *out,
                                          wa_error *err);

#endif
