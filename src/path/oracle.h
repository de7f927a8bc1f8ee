/* The oracle: what a case should have answered, by its defined arithmetic in f64. */
#ifndef WALKAUDIT_PATH_ORACLE_H
#define WALKAUDIT_PATH_ORACLE_H

#include "path/evaluate.h"

/** The case whose oracle judges it: itself, or what it is like. NULL: a case that cannot run, or a
 * kernel of which nobody but the user knows what numbers it reads and what it means to do. */
const wa_case *wa_case_oracle(const wa_case *which);

/*
 * The oracle: the path's defined arithmetic on its own stored numbers, reference decoder (or one
 * that a test proves equal to it), f64 products by BLAS's dgemm.
 * For finite K it chooses its own hits in f64; a hit list of the kernel that differs only among
 * scores closer than 1e-6*|x||g| is taken instead (a tie is no defect).
 *
 * The last bits of a dgemm may depend on its shape and on the place in it. So every product has one
 * shape, which follows from the weights and from a width that the caller names, and the caller
 * names a seat for each row: one of `width` seats, numbers beyond are taken modulo. Same row, same
 * width and seat: same bits, in whatever company and order. Rows of successive seats share a
 * product, so a caller deals them in turn. Seats that stay empty cost as much as the others;
 * products that are narrow cost more for each seat.
 */
enum { WA_ORACLE_WIDEST = 48 };
/** The width for so many evaluations with the same weights: as few products as can be, as even as
 * can be. At most WA_ORACLE_WIDEST. */
size_t wa_oracle_width(size_t evaluations);
typedef struct wa_oracle wa_oracle;

/** Space for calls of at most `rows` rows, `hidden` values and `features` features; arena. */
WA_CHECKED wa_status wa_oracle_open(wa_arena *arena, size_t rows, size_t hidden, size_t features,
                                    wa_oracle **out, wa_error *err);
/** What wa_oracle_open takes, without lists that are small beside it. */
size_t wa_oracle_bytes(size_t rows, size_t hidden, size_t features);

/**
 * Local. y out: [rows, hidden] f64.
 *
 * x      [rows, hidden] f32
 * width  1 to WA_ORACLE_WIDEST
 * seats  [rows]; NULL = the row's number
 * hits   [rows, wa_case_hit_count] of the kernel, or NULL; in a layer with experts [rows, chosen]
 *        those that it chose
 * theirs [rows, hidden] y of the kernel, or NULL. Only where activations are rounded
 *        (wa_case_rounds_activations) is it looked at: of those so near the middle of two integers
 *        that f32 sums decide, the integer that brings y nearer to it is taken
 * least  NULL, or out: [rows] the size of y below which f32 arithmetic cannot be held to a relative
 *        error, since y cancels: for finite K, else 0
 *
 * Several rows decode the weights once, as long as they fit into the space. Rows of one seat that
 * are equal bit for bit (in x and what is looked at of hits) are evaluated once. Errors:
 * WA_E_UNSUPPORTED (a case that does not run), WA_E_INTERNAL (space too small).
 */
WA_CHECKED wa_status wa_oracle_run(wa_oracle *oracle, const wa_case *which,
                                   const wa_walk_layer *layer, size_t rows, const float *x,
                                   size_t width, const size_t *seats, const int32_t *hits,
                                   const float *theirs, double *y, double *least, wa_error *err);
/** Multiply-adds times two of all evaluations so far, as wa_case_flops counts them. */
double wa_oracle_flops(const wa_oracle *oracle);

#endif
