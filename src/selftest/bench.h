/* What a selftest works on: a model, its healthy vindex in one format, and where the stored
 * matrices come from. */
#ifndef WALKAUDIT_SELFTEST_BENCH_H
#define WALKAUDIT_SELFTEST_BENCH_H

#include "judge/encoding.h"
#include "selftest/selftest.h"
#include "vindex/extract.h"

/** A format that `extract` writes. */
typedef struct wa_bench_format {
    const char *name;
    bool dense, experts; /* of models without experts, and of those with: both, or one */
    wa_extract_options options;
} wa_bench_format;
/** All of them; false past the last. */
bool wa_bench_format_at(size_t i, wa_bench_format *out);

/** What weights go through before the encoder of their format, or instead of one. */
typedef enum wa_bench_source {
    WA_BENCH_DIRECT,
    WA_BENCH_HALF,
    WA_BENCH_LARQL_HALF,
    WA_BENCH_SOURCES
} wa_bench_source;

/** A projection as cases read it from one payload. */
typedef struct wa_bench_target {
    const wa_case *which; /* one of those cases */
    wa_projection projection;
    wa_payload payload;
    wa_format format;
    wa_bench_source source;
    bool turned;  /* the model's matrix is the transpose */
    size_t entry; /* the expert that is meant, where a layer has several matrices; else 0 */
} wa_bench_target;

enum { WA_BENCH_TARGETS = WA_PAYLOAD_COUNT * WA_PROJECTION_COUNT };
/* of the bench's cases and of its audits, which must have the same */
enum { WA_BENCH_LADDER = WA_LADDER_2026_08 };

typedef struct wa_bench {
    const wa_selftest_options *options;
    wa_comm *comm;
    const char *directory, *model_path, *healthy; /* arena; healthy: directory of the vindex */
    const wa_model *model;
    wa_bench_format format;
    wa_vindex *vindex; /* healthy, open */
    wa_cases cases;
    wa_bench_target targets[WA_BENCH_TARGETS];
    size_t target_count;
    wa_bench_target router; /* of a model with experts; which NULL: none is stored */
    int32_t *idle; /* [layers] an expert that no prompt of the audits reaches, -1 = all are reached;
                      arena; NULL = not known */
    wa_arena *arena; /* of this format */
} wa_bench;

/** Has the model layers with experts? */
bool wa_bench_has_experts(const wa_bench *bench);

/**
 * Extract the format and open it. Members up to `model`, and `arena`, are set. Stored rows are made
 * again from the model's to learn how they were; WA_E_INTERNAL where that fails.
 */
WA_CHECKED wa_status wa_bench_open(wa_bench *bench, const wa_bench_format *format, wa_error *err);
void wa_bench_close(wa_bench *bench);

/** How many matrices a target has in a layer: one, or one for each expert. */
size_t wa_bench_stack(const wa_bench *bench, const wa_bench_target *target, size_t layer);
/** The healthy stored matrix of a target. */
WA_CHECKED wa_status wa_bench_stored(const wa_bench *bench, const wa_bench_target *target,
                                     size_t layer, wa_matrix *out, wa_error *err);
/** The model's matrix that it is compared with. */
wa_matrix wa_bench_truth(const wa_bench *bench, const wa_bench_target *target, size_t layer);
/** The model's weights as f32 in the rows of the stored matrix. Arena of the bench. */
WA_CHECKED wa_status wa_bench_rows(const wa_bench *bench, const wa_bench_target *target,
                                   size_t layer, float **out, wa_error *err);

/** Who writes rows. */
typedef enum wa_bench_encoder {
    WA_BENCH_OURS,
    WA_BENCH_OTHER,
    WA_BENCH_TRUNCATING,
    WA_BENCH_ENCODERS
} wa_bench_encoder;
/** Stored bytes of `count` rows [count, as->cols] of a target, each as long as those of `as` and
 * filled up with zeros. The other encoders are those of block formats, and floats cut short. */
WA_CHECKED wa_status wa_bench_encode(const wa_bench *bench, const wa_bench_target *target,
                                     wa_bench_encoder encoder, const float *rows, size_t count,
                                     const wa_matrix *as, uint8_t *out, wa_error *err);

/** Matrices of one projection, measured and judged together as an audit does it. rows may be NULL. */
WA_CHECKED wa_status wa_bench_judge(const wa_bench *bench, const wa_bench_target *target,
                                    const wa_encoding_pair *pairs, size_t count, bool turned,
                                    wa_encoding_finding *out, wa_row_error *rows, wa_error *err);

/** Stop where a signal came: WA_E_NO_PROGRESS. */
WA_CHECKED wa_status wa_bench_heed(wa_error *err);

/* Draws of a seed, the same on every machine. */
static inline uint64_t wa_bench_draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}
/** Mean 0, deviation 1: twelve uniform draws. */
static inline double wa_bench_normal(uint64_t *state)
{
    double sum = -6.0;
    for (int i = 0; i < 12; i++)
        sum += (double)(wa_bench_draw(state) >> 11) * 0x1p-53;
    return sum;
}

#endif
