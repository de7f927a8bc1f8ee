/* How evenly the sizes within a row are spread: what decides whether FP4 can hold it (vindex-format
 * 9). */
#ifndef WALKAUDIT_VINDEX_COMPLIANCE_H
#define WALKAUDIT_VINDEX_COMPLIANCE_H

#include "vindex/panel.h"
#include "vindex/vindex.h"

enum {
    WA_COMPLIANCE_CHUNK = 32,       /* elements that share a scale */
    WA_COMPLIANCE_TILE_CHUNKS = 16, /* chunks of a tile; a row may have none */
    WA_COMPLIANCE_WORST = 32        /* ratios that are kept with their place */
};

/** Ratios of some blocks: a range of wa_granularity.ratios. Blocks without a non-zero chunk have
 * none. */
typedef struct wa_bucket {
    size_t first, count;
    size_t all_zero;  /* blocks of zeros only */
    size_t some_zero; /* blocks with a ratio and a chunk of zeros */
} wa_bucket;

typedef struct wa_offender {
    wa_projection projection;
    size_t layer, feature, tile;
    float ratio;
} wa_offender;

/** What is known at one size of blocks: whole rows, or tiles. */
typedef struct wa_granularity {
    /* largest over least non-zero chunk maximum, in the order of adding; arena */
    float *ratios;
    wa_bucket *buckets;  /* [WA_PROJECTION_COUNT * layer_count], projection by projection; arena */
    size_t bucket_count; /* filled so far */
    wa_offender worst[WA_COMPLIANCE_WORST]; /* descending; of equal ones the earlier first */
    size_t worst_count;
} wa_granularity;

typedef struct wa_compliance {
    size_t layer_count;
    wa_granularity rows, tiles;
    float *scales; /* chunk maxima of one row; arena */
} wa_compliance;

/** Room for WA_PROJECTION_COUNT * layers matrices of `features` rows of `hidden`. WA_E_MEMORY. */
WA_CHECKED wa_status wa_compliance_open(size_t layers, size_t features, size_t hidden,
                                        wa_arena *arena, wa_compliance *out, wa_error *err);

/** Add the next matrix: gate of every layer, then up, then down, each [features, hidden] once
 * turned. */
void wa_compliance_add(wa_compliance *scan, wa_panel *panel, const wa_panel_source *source);

/** Consecutive buckets as one. */
wa_bucket wa_bucket_merge(const wa_bucket *buckets, size_t count);

/** Share of a bucket's blocks whose ratio is below `threshold`; blocks of zeros comply; 0 of
 * none. */
double wa_bucket_share(const wa_granularity *g, const wa_bucket *bucket, float threshold);

#endif
