/* Quantiles of more values than memory should hold: exact, from several passes over them. */
#ifndef WALKAUDIT_BASE_QUANTILE_STREAM_H
#define WALKAUDIT_BASE_QUANTILE_STREAM_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

enum { WA_QUANTILES_MOST = 3 };

typedef struct wa_quantile_stream wa_quantile_stream;

/** f [count], count <= WA_QUANTILES_MOST, 0 <= f <= 1. Arena: 3.5 MiB for three, however many
 * values there are. */
WA_CHECKED wa_status wa_quantile_stream_open(const double *f, size_t count, wa_arena *arena,
                                             wa_quantile_stream **out, wa_error *err);
/** One value of a pass; finite. Every pass has the same values, in any order. */
void wa_quantile_stream_add(wa_quantile_stream *stream, double value);
/** All values were added: is another pass needed? */
bool wa_quantile_stream_again(wa_quantile_stream *stream);
/** After the last pass: the f-quantiles by linear interpolation at f * (n - 1), as wa_quantile has
 * them; NaN when n = 0. out [count]. */
void wa_quantile_stream_finish(const wa_quantile_stream *stream, double *out);

#endif
