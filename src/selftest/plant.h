/* Copies of the healthy vindex, with faults in them. */
#ifndef WALKAUDIT_SELFTEST_PLANT_H
#define WALKAUDIT_SELFTEST_PLANT_H

#include "selftest/bench.h"

/** Where something was planted; -1 = anywhere. */
typedef struct wa_planted {
    wa_bench_target target;
    int layer, row;
    size_t entry; /* the expert, where the layer has some */
} wa_planted;

enum { WA_PLANTED_MOST = 64 };

/** A copy. Files are hard links to the healthy ones until they are written to. */
typedef struct wa_plant {
    const wa_bench *bench;
    const char *name, *path;
    wa_planted planted[WA_PLANTED_MOST];
    size_t planted_count;
    bool differs;   /* something is not as in the healthy vindex */
    uint64_t draws; /* state of wa_bench_draw */
} wa_plant;

WA_CHECKED wa_status wa_plant_open(const wa_bench *bench, const char *name, wa_plant *out,
                                   wa_error *err);
/** Write bytes over those at `offset` of a file of the copy. */
WA_CHECKED wa_status wa_plant_write(wa_plant *plant, const char *file, uint64_t offset,
                                    const void *bytes, size_t size, wa_error *err);
/** Cut so many bytes from the end of a file of the copy. */
WA_CHECKED wa_status wa_plant_cut(wa_plant *plant, const char *file, uint64_t bytes, wa_error *err);
/** Write the stored rows of a target at a layer, and note the place where that changes something.
 * row: the one that changes, -1 = several. */
WA_CHECKED wa_status wa_plant_matrix(wa_plant *plant, const wa_bench_target *target, size_t layer,
                                     int row, const uint8_t *bytes, wa_error *err);
/** Note a place. Errors: WA_E_INTERNAL (too many). */
WA_CHECKED wa_status wa_plant_note(wa_plant *plant, const wa_bench_target *target, size_t layer,
                                   int row, wa_error *err);
/** A copy in memory of the healthy stored rows. Arena of the bench. */
WA_CHECKED wa_status wa_plant_bytes(const wa_plant *plant, const wa_bench_target *target,
                                    size_t layer, wa_matrix *stored, uint8_t **out, wa_error *err);

#endif
