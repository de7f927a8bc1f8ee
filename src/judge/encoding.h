/* ENCODING: is what a payload stores a faithful encoding of the model's rows? Limits and judgement;
 * doc/encoding.md. */
#ifndef WALKAUDIT_JUDGE_ENCODING_H
#define WALKAUDIT_JUDGE_ENCODING_H

#include "path/encoding.h"

/** Measured figures of one projection in the payload that the case reads; checked = false: the
 * model's own, or check off. */
typedef struct wa_encoding_figure {
    bool checked;
    const char *file; /* of the payload, borrowed from the result */
    wa_format format;
    double nominal_bound; /* of p99; reported only, as are p50, p99 and max */
    wa_row_error rows;
} wa_encoding_figure;

/* X(id, word, meaning): what the user says of the encoder; bounds key `encoder`. */
#define WA_ENCODER_LIST(X)                                                                         \
    X(NEAREST, "nearest", "codes are the nearest levels")                                          \
    X(COMPENSATING, "compensating", "codes make up for each other's errors, as GPTQ's do")
typedef enum wa_encoder {
#define WA_ENCODER_ENUM(id, word, meaning) WA_ENCODER_##id,
    WA_ENCODER_LIST(WA_ENCODER_ENUM)
#undef WA_ENCODER_ENUM
        WA_ENCODER_COUNT
} wa_encoder;
const char *wa_encoder_word(wa_encoder encoder);
bool wa_encoder_parse(const char *word, wa_encoder *out);

/* X(id, word): which rule held. */
#define WA_ENCODING_RULE_LIST(X)                                                                   \
    X(NONE, "none")              /* nothing was checked */                                         \
    X(EQUALITY, "equality")      /* f32: every value is the model's */                             \
    X(F16, "f16_neighbours")     /* every value is what some rounding to f16 gives */              \
    X(REENCODING, "re-encoding") /* most rows are LARQL's encoding: so must be the others */       \
    X(FOREIGN, "foreign_limits") /* another encoder, of nearest levels */                          \
    X(COMPENSATING, "compensating_limits") /* another, of any levels: the user says so */          \
    X(BF16, "bf16_neighbours")             /* every value is what some rounding to bf16 gives */
typedef enum wa_encoding_rule {
#define WA_ENCODING_RULE_ENUM(id, word) WA_ENCODING_RULE_##id,
    WA_ENCODING_RULE_LIST(WA_ENCODING_RULE_ENUM)
#undef WA_ENCODING_RULE_ENUM
        WA_ENCODING_RULE_COUNT
} wa_encoding_rule;
const char *wa_encoding_rule_word(wa_encoding_rule rule);

/* X(id, word): which statistic came nearest to its limit, or beyond. */
#define WA_ENCODING_STATISTIC_LIST(X)                                                              \
    X(NONE, "none")                                                                                \
    X(NON_FINITE, "non_finite") /* stored values that are no numbers */                            \
    X(UNEQUAL, "unequal_rows")  /* rows that the rule does not give */                             \
    X(STEPS, "steps")                                                                              \
    X(RATIO, "ratio")                                                                              \
    X(GAIN, "gain")                                                                                \
    X(ROW_GAIN, "row_gain")                                                                        \
    X(ROW_RATIO, "row_ratio")                                                                      \
    X(EXPERT_RATIO, "expert_ratio")
typedef enum wa_encoding_statistic {
#define WA_ENCODING_STATISTIC_ENUM(id, word) WA_ENCODING_STATISTIC_##id,
    WA_ENCODING_STATISTIC_LIST(WA_ENCODING_STATISTIC_ENUM)
#undef WA_ENCODING_STATISTIC_ENUM
        WA_ENCODING_STATISTIC_COUNT
} wa_encoding_statistic;
const char *wa_encoding_statistic_word(wa_encoding_statistic statistic);

/**
 * Names a row: "up, row 100", in a layer with experts "expert 17, gate, row 5", "router, row 17"
 * (which is of expert 17). Without a row (-1) "up". out: at least WA_ENCODING_PLACE_BYTES.
 *
 * which    projection, or WA_PROJECTION_COUNT + place of WA_BESIDE_LIST
 * experts  of the layer, 0 = none; rows: of all of them together, as figures have it
 */
enum { WA_ENCODING_PLACE_BYTES = 96 };
void wa_encoding_name_row(size_t which, int32_t experts, size_t rows, int32_t row, char *out);

/** What was found of one projection. */
typedef struct wa_encoding_finding {
    bool faithful;
    wa_encoding_rule rule;
    wa_encoding_statistic statistic;
    double value, limit; /* of the statistic; unfaithful: |value| > limit, or NaN */
    double excess;       /* orders findings: up to 1 faithful, infinite for what is no number */
    int32_t row;         /* where it was seen; -1 = the matrix as a whole */
} wa_encoding_finding;

/** Of all that a case reads, the finding with the largest excess; as it is stored. Layer -1:
 * nothing was checked. */
typedef struct wa_encoding_worst {
    int8_t rule, statistic;
    /* projection: WA_PROJECTION_COUNT and on = WA_BESIDE_LIST */
    int32_t layer, projection, row;
    double value, limit, excess;
} wa_encoding_worst;

/** Pure. NaN is never faithful. An unchecked figure is faithful, with rule NONE. */
wa_encoding_finding wa_encoding_judge(const wa_encoding_figure *figure, wa_encoder encoder);

/** What is wrong, one clause without layer, projection and row; for a finding that is not faithful.
 * Arena. */
WA_CHECKED wa_status wa_encoding_explain(const wa_encoding_figure *figure,
                                         const wa_encoding_finding *finding, wa_arena *arena,
                                         char **out, wa_error *err);

#endif
