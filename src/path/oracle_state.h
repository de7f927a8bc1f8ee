/* What the oracle is made of: its state and how evaluations stand in it (oracle.c), products of
 * stored rows and columns of evaluations in f64 by BLAS's dgemm (oracle_blas.c), layers with experts
 * (oracle_experts.c), and what rounding does to a comparison (oracle_rounding.c). Private to
 * src/path. */
#ifndef WALKAUDIT_PATH_ORACLE_STATE_H
#define WALKAUDIT_PATH_ORACLE_STATE_H

#include "path/oracle.h"

enum {
    /* stored rows decoded at a time, at most: dgemm packs the evaluations anew for each panel */
    WA_ORACLE_PANEL_ROWS = 64,
    WA_ORACLE_PANEL_VALUES = 1 << 20, /* and this many values, but 8 rows at least */
    WA_ORACLE_PANEL_LEAST = 8
};

/** A choice that differs from ours only among scores closer than this times |x||w| is as good as
 * ours. */
#define WA_ORACLE_TIE 1e-6

/** Space for a few decoded rows. */
typedef struct wa_oracle_panel {
    float *decoded;    /* [rows, longest], arena */
    double *wide;      /* [rows, longest] the same as f64, arena */
    const float *rows; /* the rows at hand, in place or decoded */
    size_t width;      /* seats of a group; set by the owner before each call */
} wa_oracle_panel;

WA_CHECKED wa_status wa_oracle_panel_open(wa_arena *arena, size_t longest, wa_oracle_panel *out,
                                          wa_error *err);
/** The values that it has room for, each once as f32 and once as f64; rows of up to 2^28. */
size_t wa_oracle_panel_values(size_t longest);
/**
 * Does the oracle decode a format by the decoder that runs, not by the reference? Where an element
 * has so few patterns that a test compares the two on every one of them (test_oracle.c): plain
 * floats, and blocks of one f16 scale.
 */
bool wa_oracle_decodes_fast(wa_format format);

/** Row f of a matrix as f64, until the next call with this panel. */
const double *wa_oracle_row(const wa_matrix *matrix, size_t f, wa_oracle_panel *panel);

/*
 * Evaluations stand in groups of panel->width: [groups][n][width] holds n values of each. Every
 * group is a dgemm of its own, whose shape the weights and the width decide; so what stands in one
 * seat of a group has the same bits whatever stands in the others.
 */
/** out [groups][w.rows][width] = sum over i of w[row][i] * in[g][i][seat]; in
 * [groups][w.cols][width]. */
void wa_oracle_rows(const wa_matrix *w, const double *in, double *out, size_t groups,
                    wa_oracle_panel *panel);
/** out [groups][w.cols][width] += sum over f of act[g][f][seat] * w[f][h]; act
 * [groups][w.rows][width]. */
void wa_oracle_features(const wa_matrix *w, const double *act, double *out, size_t groups,
                        wa_oracle_panel *panel);
/** act [n]: what lies at or below the floor becomes zero; NaN stays. */
void wa_oracle_drop(double *act, size_t n, double floor);
/** The same products, where a weight that an evaluation does not use (act 0) is left alone, even a
 * NaN. */
void wa_oracle_rows_used(const wa_matrix *w, const double *in, double *out, size_t groups,
                         wa_oracle_panel *panel);
void wa_oracle_features_used(const wa_matrix *w, const double *act, double *out, size_t groups,
                             wa_oracle_panel *panel);

/** The oracle of a stage. Arrays of [groups][n][width] hold a value for each seat. */
struct wa_oracle {
    wa_arena *arena;                               /* what it was opened in: used within a call */
    size_t columns, longest_hidden, most_features; /* seats that fit, and of what sizes */
    /* Of the call: */
    const wa_case *which;
    const wa_walk_layer *layer;
    size_t count;       /* features an evaluation uses */
    bool ranked;        /* else all are used */
    size_t width, room; /* seats of a group, and groups that fit */
    /* Of the evaluations under way: */
    size_t groups, rows;
    size_t *row, *place; /* [columns]: which row of the call's, and group * width + seat */
    size_t taken[WA_ORACLE_WIDEST]; /* groups in which a seat is taken */
    double *x;                      /* [groups][H][width] as the gate and up products take it */
    /* [groups][F][width] of the ranking rows, when some are ranked; where activations are rounded,
     * what the other integer would change an activation by, 0 = it is no tie */
    double *scores;
    double *act;  /* [groups][F][width] gate, then activations */
    double *up;   /* [groups][F][width] */
    double *y;    /* [groups][H][width] */
    double *norm; /* [groups * o->width] |x| */
    wa_oracle_panel panel;
    bool *done;      /* [most_rows] of the call's rows */
    size_t *same_as; /* [most_rows] the first of them that is the same evaluation, perhaps itself */
    size_t most_rows;
    double flops;                            /* of all calls */
    bool *used;                              /* [F]: in the hit list of the evaluation at hand */
    int32_t *own;                            /* [count] */
    double *key;                             /* [F] |score| of the evaluation at hand */
    double *gate_norm, *up_norm, *down_norm; /* [F] of each feature's stored rows */
    double *rest, *column;                   /* [H] */
};

/** Where the values of one place begin in an array of [groups][n][width]; they stand `width`
 * apart. */
static inline size_t wa_oracle_start(const wa_oracle *o, size_t place, size_t n)
{
    return place / o->width * n * o->width + place % o->width;
}

/** An activation so near the middle of two integers that f32 sums decide. */
typedef struct wa_tie {
    size_t row, feature; /* of the call, of the FFN */
    double step;         /* what the other integer adds to the activation, times the row's weight */
    const wa_matrix *down; /* of the FFN, borrowed from the layer */
    bool is_taken;         /* the other integer stands for it */
} wa_tie;
typedef struct wa_ties {
    wa_tie *items; /* [room], arena */
    size_t count, room;
} wa_ties;

/** What wa_oracle_run is asked for, and where it notes what it left open. */
typedef struct wa_oracle_call {
    wa_oracle *oracle;
    const wa_case *which;
    const wa_walk_layer *layer;
    size_t rows, width;
    const float *x;      /* [rows, H] */
    const size_t *seats; /* [rows], NULL = the row's number */
    const int32_t *hits; /* of the kernel, NULL = none; with experts [rows, chosen] its choice */
    wa_ties *ties;       /* grows where activations are rounded, one FFN after the other */
    wa_oracle_panel *panel;
    wa_arena *arena; /* released by the caller */
} wa_oracle_call;

/** Norms of the rows that give a feature's gate score, its up score and its output, which
 * wa_oracle_resolution and wa_oracle_round_activations read. */
void wa_oracle_take_norms(wa_oracle *o);
/**
 * The size of y below which f32 sums cannot tell it from another: rounding shifts each score by
 * about |x||row|, and the shifts of the features used add up as their outputs do. With many
 * features y is larger than a 64th of this; with a few it may cancel to less, and be off by more
 * than KERNEL's limit although nothing is wrong.
 */
double wa_oracle_resolution(const wa_oracle *o, size_t place);
/** Activations to Q8_K by exact scales; in o->scores what the other integer would add where f32
 * sums may take it. */
void wa_oracle_round_activations(wa_oracle *o);
/** Those, of the rows under way, numbered as in the call. Errors: WA_E_MEMORY. */
WA_CHECKED wa_status wa_oracle_note_ties(const wa_oracle_call *call, wa_error *err);
/** Rows that were not evaluated, since they equal another, have its ties; those from `first` on.
 * Errors: WA_E_MEMORY. */
WA_CHECKED wa_status wa_oracle_repeat_ties(const wa_oracle_call *call, size_t first, wa_error *err);
/** Of each tie of a row the integer that leaves y [hidden] nearer to the kernel's. One that went
 * unseen behind another is found once that one is settled, so they are gone through until none
 * changes. No other fault goes away by it: it may change y by these columns alone, each once. */
void wa_oracle_settle_ties(wa_oracle *o, wa_ties *ties, size_t row, size_t hidden,
                           const float *theirs, double *y);

/**
 * y [rows, H] of a layer with experts. The kernel's choice of a row stands where it differs from
 * ours among ties only; weights are ours. A row with a logit that is no number is NaN. Errors:
 * WA_E_MEMORY, and those of wa_oracle_ffn.
 */
WA_CHECKED wa_status wa_oracle_experts(const wa_oracle_call *call, double *y, wa_error *err);

/** y of a layer without experts, or of one of a layer's FFNs; least may be NULL. Errors: those of
 * wa_oracle_run. */
WA_CHECKED wa_status wa_oracle_ffn(const wa_oracle_call *call, double *y, double *least,
                                   wa_error *err);

#endif
