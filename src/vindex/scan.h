/* Looks at a vindex's bytes that opening it does not take: scales, checksums, copies that disagree.
 */
#ifndef WALKAUDIT_VINDEX_SCAN_H
#define WALKAUDIT_VINDEX_SCAN_H

#include "vindex/vindex.h"

/**
 * V9: no scale byte of an FP4 or FP8 file is an E4M3 NaN. Reads every block, so `inspect` asks for
 * it and a run does not (design 7: values that are no numbers never stop a run). WA_E_FORMAT with
 * their count in the file, and layer and feature of the first.
 */
WA_CHECKED wa_status wa_vindex_check_fp4_scales(const wa_vindex *vindex, wa_error *err);

/** One file of the vindex against index.json's checksums (V14). */
typedef struct wa_vindex_checksum {
    const char *file; /* name inside the vindex, borrowed */
    enum {
        WA_CHECKSUM_EQUAL,
        WA_CHECKSUM_DIFFERS,
        WA_CHECKSUM_FILE_ABSENT,
        WA_CHECKSUM_NONE
    } state;
    const char *expected, *found; /* 64 hexadecimal digits, NULL = none */
} wa_vindex_checksum;

/**
 * Hash every file that index.json has a checksum of, and list the payload files without one
 * (WA_CHECKSUM_NONE, not hashed). Reads whole files. *out: [*count], arena.
 */
WA_CHECKED wa_status wa_vindex_verify(const wa_vindex *vindex, wa_arena *arena,
                                      wa_vindex_checksum **out, size_t *count, wa_error *err);

/** Does index.json have a checksum of this file? */
bool wa_vindex_has_checksum(const wa_vindex *vindex, const char *file);

/** The same of one file of the vindex; state NONE without reading it when index.json has no
 * checksum of it. */
WA_CHECKED wa_status wa_vindex_verify_file(const wa_vindex *vindex, const char *file,
                                           wa_arena *arena, wa_vindex_checksum *out, wa_error *err);

/** Two payloads that hold one projection: how many feature rows differ in value, and the first
 * (V16). */
typedef struct wa_vindex_difference {
    size_t rows;
    size_t first_layer, first_row;
} wa_vindex_difference;

/** Compare every row of a projection in two readable payloads; bits of the decoded f32. */
WA_CHECKED wa_status wa_vindex_compare(const wa_vindex *vindex, wa_projection projection,
                                       wa_payload a, wa_payload b, wa_arena *arena,
                                       wa_vindex_difference *out, wa_error *err);

/** As wa_vindex_compare, with the layers that up_weights.bin or down_weights.bin holds (U14). Up
 * and down only. */
WA_CHECKED wa_status wa_vindex_compare_weights(const wa_vindex *vindex, wa_projection projection,
                                               wa_payload a, wa_arena *arena,
                                               wa_vindex_difference *out, wa_error *err);

#endif
