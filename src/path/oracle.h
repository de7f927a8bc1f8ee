/* Products of the oracle: stored rows against groups of eight positions, f64, sums in index order.
 * Private to src/path. */
#ifndef WALKAUDIT_PATH_ORACLE_H
#define WALKAUDIT_PATH_ORACLE_H

#include "path/path.h"

/** Space for a few decoded rows. */
typedef struct wa_oracle_panel {
    float *decoded; /* [rows, longest], arena */
    double *wide;   /* the same as f64, arena */
} wa_oracle_panel;

WA_CHECKED wa_status wa_oracle_panel_open(wa_arena *arena, size_t longest, wa_oracle_panel *out,
                                          wa_error *err);
/** Row f of a matrix as f64, until the next call with this panel. */
const double *wa_oracle_row(const wa_matrix *matrix, size_t f, wa_oracle_panel *panel);

/*
 * Positions come in groups of eight. [groups][n][8] holds n values of each group's positions.
 */
/** out [groups][w.rows][8] = sum over i ascending of w[row][i] * in[g][i][8]; in [groups][w.cols][8]. */
void wa_oracle_rows(const wa_matrix *w, const double *in, double *out, size_t groups,
                    wa_oracle_panel *panel);
/** out [groups][w.cols][8] += sum over f ascending of act[g][f][8] * w[f][h]; act [groups][w.rows][8]. */
void wa_oracle_features(const wa_matrix *w, const double *act, double *out, size_t groups,
                        wa_oracle_panel *panel);
/** act [n][8]: what lies at or below the floor becomes zero; NaN stays. */
void wa_oracle_drop(double *act, size_t n, double floor);
/** The same products, where a weight that no position uses (act 0) is left alone, even a NaN. */
void wa_oracle_rows_used(const wa_matrix *w, const double *in, double *out, size_t groups,
                         wa_oracle_panel *panel);
void wa_oracle_features_used(const wa_matrix *w, const double *act, double *out, size_t groups,
                             wa_oracle_panel *panel);

#endif
