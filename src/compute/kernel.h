/* Inner loops that the dense side and the paths share: matrix products over stored weights,
 * activations, dots. */
#ifndef WALKAUDIT_COMPUTE_KERNEL_H
#define WALKAUDIT_COMPUTE_KERNEL_H

#include "base/arena.h"
#include "codec/codec.h"
#include "compute/crew.h"
#include "model/model.h"

/* Decoded weights of engine blas, of the per-feature loops and of what turns a matrix: at most this
 * many bytes at a time. For blas the size is fixed, since the shape handed to BLAS decides its
 * bits; panels of our own products lie in the same buffer. */
enum { WA_PANEL_BYTES = 4 << 20 };
/* Rows that dot products read one by one are decoded in smaller panels, read again from the
 * second-level cache for every position. Free to change: a dot's bits depend on its row alone. */
enum { WA_DOT_PANEL_BYTES = 512 << 10 };
/* FFN activations are computed for at most this many rows at a time, fewer of a wide FFN:
 * wa_tile_rows. Each tile decodes the weights anew, so tall ones are faster. Free to change but for
 * engine blas. */
enum { WA_TILE_ROWS = 512, WA_TILE_BYTES = 12 << 20 };
/* With logits at all positions the vocabulary is streamed, in panels of this many ids, past at most
 * this many rows at a time: a panel of logits stays in the second-level cache. Rows are free to
 * change but for engine blas; ids are not, since the sums over a panel are folded before they are
 * added up. */
enum { WA_HEAD_ROWS = 256, WA_HEAD_IDS = 512 };
/* Logits of all lanes are kept between the two passes when they fit here; else they are made again,
 * with the same bits. */
enum { WA_HEAD_KEPT_BYTES = 32 << 20 };

/** Rows of a tile: WA_TILE_ROWS, or the multiple of 64, and at least 64, of which a buffer takes
 * WA_TILE_BYTES. features > 0. */
size_t wa_tile_rows(size_t features);

/** Who multiplies. `walkaudit`: our own products (isa.h says what an element is), whose bits depend
 * on nothing but x and W. `blas`: an installed CBLAS, whose bits depend on its core and on the
 * number of rows as well. */
typedef enum wa_engine { WA_ENGINE_WALKAUDIT, WA_ENGINE_BLAS } wa_engine;
/** The word of a job file. */
const char *wa_engine_name(wa_engine engine);

/** The inner loops of one instruction set (isa.h). */
typedef struct wa_isa wa_isa;
/** The fastest that this processor has, or the one that the environment variable WALKAUDIT_ISA
 * names: avx512, avx2, portable. Errors: WA_E_USAGE (another word), WA_E_UNSUPPORTED (this
 * processor has not got it). Local. */
WA_CHECKED wa_status wa_isa_choose(const wa_isa **out, wa_error *err);
const char *wa_isa_name(const wa_isa *isa);

/** Buffers of one rank's matrix products, made once and reused, and who multiplies. */
typedef struct wa_scratch {
    wa_engine engine; /* WA_ENGINE_WALKAUDIT; the owner may set it to the other */
    const wa_isa *isa;
    float *panel; /* WA_PANEL_BYTES, or one row when a row is longer */
    float *act;   /* [tile_rows, features]: gate, then the activations */
    float *up;    /* [tile_rows, features] */
    size_t panel_floats, tile_rows, features;
    wa_crew *crew;   /* borrowed; NULL, or set by the owner: who helps with products of ours */
    wa_arena *arena; /* for what only some kernels need (hit lists); released after each call */
} wa_scratch;

/**
 * rows: the most rows of a batch (tile_rows = min(rows, wa_tile_rows(features))); features: the
 * widest FFN; longest_row: the most columns of any matrix. Buffers live in `arena`. Errors:
 * WA_E_MEMORY, and those of wa_isa_choose.
 */
WA_CHECKED wa_status wa_scratch_open(wa_arena *arena, size_t rows, size_t features,
                                     size_t longest_row, wa_scratch *out, wa_error *err);

/** One operand pair of a product: x is read, y is written. */
typedef struct wa_operand {
    const float *x;
    float *y;
} wa_operand;

/** y = x . W^T, or by features y = x . W: of each operand pair, x [rows, W.cols] and y [rows,
 * W.rows], or x [rows, W.rows] and y [rows, W.cols]; ldx and ldy floats lie between their rows. y
 * overlaps no x. */
typedef struct wa_product {
    const wa_matrix *w;
    bool by_features;
    size_t rows, ldx, ldy;
    const wa_operand *pairs; /* [count] */
    size_t count;
} wa_product;

/** Run a product by the scratch's engine; W is decoded once for all pairs. Local, cannot fail. */
void wa_multiply(const wa_product *product, wa_scratch *scratch);
/** The two engines. */
void wa_multiply_own(const wa_product *product, wa_scratch *scratch);
void wa_multiply_blas(const wa_product *product, wa_scratch *scratch);

/**
 * y = x . W^T for each of `count` operand pairs: x [rows, W.cols] with leading dimension ldx, y
 * [rows, W.rows] with leading dimension ldy. Sums are cut after 64 products (short f32 sums lose
 * less): an element is off by at most (68 + cols/64) 2^-24 sum |x_i w_i|. bias [W.rows] or NULL is
 * added after.
 */
void wa_gemm_rows(const wa_matrix *w, size_t rows, size_t ldx, size_t ldy, const wa_operand *pairs,
                  size_t count, const float *bias, wa_scratch *scratch);

/**
 * y = x . W for feature-major W [F, H]: x [rows, F] with leading dimension ldx, y [rows, H]
 * contiguous, written whole.
 */
void wa_gemm_features(const wa_matrix *w, size_t rows, size_t ldx, const wa_operand *pairs,
                      size_t count, wa_scratch *scratch);

/**
 * The places of y that are not zero become dots (wa_dot) of their rows: y[row, f] = <W[f], x[row]>
 * for each of `count` operand pairs, x [rows, ldx], y [rows, ldy]; zeros stay. W is decoded once,
 * whoever asks. The row kernel of the per-feature loops.
 */
void wa_dot_marked(const wa_matrix *w, size_t rows, size_t ldx, size_t ldy, const wa_operand *pairs,
                   size_t count, const wa_scratch *scratch);

/** act[i] = phi(gate[i]) * up[i], n values; gate and act may be the same. forward-pass.md 3.6, f32,
 * same bits on every ISA. */
void wa_activate_gated(wa_activation activation, const float *gate, const float *up, float *act,
                       size_t n);
/** act[i] = phi(up[i]), in place allowed. */
void wa_activate(wa_activation activation, const float *up, float *act, size_t n);
/**
 * phi of one value, f32, and its f64 oracle with the same constants. For finite v >= -87 they
 * differ by at most, in units of u = 2^-24: silu 3 |phi|; gelu_tanh (4 + 3 |w|) |phi|, where w =
 * 2c(v + 0.044715 v^3) goes into the exponential; gelu_erf 4 |phi| + |v|. Below, |phi| stays under
 * |v| e^-87.
 */
float wa_phi(wa_activation activation, float v);
double wa_phi_ref(wa_activation activation, double v);
/** values[i] = wa_phi_ref(values[i]), n of them; same bits on every ISA. */
void wa_phi_ref_all(wa_activation activation, double *values, size_t n);
/** The factor that stands beside phi in a gated FFN, of n up scores, in place: themselves but for
 * the clamped unit. */
void wa_factor_ref_all(wa_activation activation, double *values, size_t n);

/** Add bias [n] to each of `rows` rows. */
void wa_add_bias(float *y, size_t rows, size_t n, const float *bias);

/** f32 dot product, 16 lanes folded in a fixed order; same bits on every ISA. Off its f64 oracle by
 * at most (n/16 + 6) 2^-24 sum |x_i y_i|. */
float wa_dot(const float *x, const float *y, size_t n);
double wa_dot_ref(const float *x, const float *y, size_t n);
/** y += a * x, n values. */
void wa_axpy(float a, const float *x, float *y, size_t n);

/** The CBLAS that the loader chose. A plain value. */
typedef struct wa_blas {
    const char *name; /* "OpenBLAS", "MKL", "BLIS", "FlexiBLAS"; "BLAS" for any other */
    /* what its bits depend on: OpenBLAS's core ("SkylakeX"), else the processor's model */
    char core[64];
    char config[192]; /* its version line, else the file that it is in */
} wa_blas;
/** Local, cannot fail. */
wa_blas wa_blas_look(void);
/** Threads of its products. Without effect, and 1, for a library that is none of those named
 * above. */
void wa_blas_set_threads(int threads);
int wa_blas_threads(void);
/** One product of [m,k] x [n,k]^T, for benchmarks and the start-up self-check. `isa`: of ours; BLAS
 * looks at none. */
typedef void wa_gemm_function(const wa_isa *isa, size_t m, size_t n, size_t k, const float *a,
                              const float *b, float *c);
wa_gemm_function wa_own_gemm, wa_blas_gemm;
/** The same in f64, as the oracle multiplies: c [m,n] = a [m,k] x b [k,n], or a [k,m]^T x b where
 * `turned`. */
typedef void wa_dgemm_function(bool turned, size_t m, size_t n, size_t k, const double *a,
                               const double *b, double *c);
wa_dgemm_function wa_blas_dgemm;
/** Small products of odd sizes against a plain f64 loop, exactly: the values are whole numbers.
 * WA_E_UNSUPPORTED names who multiplied, shape and place. Local, under a millisecond. */
WA_CHECKED wa_status wa_gemm_check(wa_engine engine, wa_gemm_function *gemm, const wa_isa *isa,
                                   wa_error *err);
/** Is there address space for what the installed library takes at its first product? OpenBLAS would
 * ask for it for ever. WA_E_MEMORY. Local. */
WA_CHECKED wa_status wa_blas_check_room(wa_error *err);
/** The same of f64 products, which are the oracle's truth. */
wa_status wa_dgemm_check(wa_dgemm_function *gemm, wa_error *err);

#endif
