/* Inner loops without BLAS: activations, dots, row updates. Same bits on every instruction set. */
#include "compute/kernel.h"
#include "base/bytes.h"
#include "base/elementary.h"

#include "codec/simd.h"

#include <math.h>

/* forward-pass.md 3.6: the f32 nearest 0.7978846 (bits 0x3F4C422A), not sqrtf(2/pi). */
static const float GELU_C = 0.7978846F;
static const float GELU_CUBE = 0.044715F;

/* As wa_limited, in f32. */
static inline float limited(float x, float limit, bool beyond)
{
    uint32_t bits, instead, all = 0 - (uint32_t)beyond;
    memcpy(&bits, &x, sizeof bits);
    memcpy(&instead, &limit, sizeof instead);
    bits = (instead & all) | (bits & ~all);
    memcpy(&x, &bits, sizeof x);
    return x;
}

/*
 * exp in f32 by range reduction to [-ln2/2, ln2/2] and the Taylor polynomial of degree 7, whose
 * remainder there is below 6e-9; with the rounding of seven steps the error stays under 2 ulp.
 * Arguments are clamped to where the result is a normal number. NaN passes through: no comparison
 * catches it, and NaN times any scale is NaN.
 */
static inline float exp_f32(float x)
{
    /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
    const float shift = 12582912.0F;
    x = limited(x, -87.0F, x < -87.0F);
    x = limited(x, 88.0F, x > 88.0F);
    float shifted = x * 1.44269504F + shift;
    float n = shifted - shift;
    /* ln 2 in two parts: the first has 15 bits, n at most 7 */
    float r = x - n * 0.693145751953125F;
    r = r - n * 1.42860682e-6F;
    float p = 1.0F / 5040.0F;
    p = p * r + 1.0F / 720.0F;
    p = p * r + 1.0F / 120.0F;
    p = p * r + 1.0F / 24.0F;
    p = p * r + 1.0F / 6.0F;
    p = p * r + 0.5F;
    p = p * r + 1.0F;
    p = p * r + 1.0F;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3F800000U; /* 2^n: the shift leaves the low 9 bits of n */
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

/* v * sigmoid(w). Both activations are this: silu(v) with w = v; tanh-GELU with w = 2u, since
 * (1 + tanh u)/2 = sigmoid(2u), which keeps its relative accuracy where 1 + tanh u cancels. */
static inline float times_sigmoid(float v, float w)
{
    return v / (1.0F + exp_f32(-w));
}

static inline float gelu_argument(float v)
{
    return 2.0F * (GELU_C * (v + GELU_CUBE * v * v * v));
}

static inline float phi_silu(float v)
{
    return times_sigmoid(v, v);
}

static inline float phi_gelu_tanh(float v)
{
    return times_sigmoid(v, gelu_argument(v));
}

static inline float phi_gelu_erf(float v)
{
    return 0.5F * v * (1.0F + (float)wa_erf((double)(v * 0.70710678F)));
}

static inline float phi_relu2(float v)
{
    float kept = v < 0.0F ? 0.0F : v; /* NaN stays */
    return kept * kept;
}

/* GPT-OSS: what the gate becomes, and what it is multiplied by. */
#define CLAMPED_AT 7.0F
#define CLAMPED_ALPHA 1.702F

static inline float phi_clamped(float v)
{
    float kept = v > CLAMPED_AT ? CLAMPED_AT : v; /* NaN stays */
    return times_sigmoid(kept, CLAMPED_ALPHA * kept);
}

static inline float clamped_up(float v)
{
    float low = v < -CLAMPED_AT ? -CLAMPED_AT : v;
    return (low > CLAMPED_AT ? CLAMPED_AT : low) + 1.0F;
}

float wa_phi(wa_activation activation, float v)
{
    switch (activation) {
    case WA_SILU:
        return phi_silu(v);
    case WA_GELU_TANH:
        return phi_gelu_tanh(v);
    case WA_GELU_ERF:
        return phi_gelu_erf(v);
    case WA_RELU2:
        return phi_relu2(v);
    case WA_CLAMPED_GLU:
        return phi_clamped(v);
    }
    return NAN;
}

static inline double ref_silu(double v)
{
    return v / (1.0 + wa_exp(-v));
}

/* 0.5 (1 + tanh u) = 1 / (1 + exp(-2u)), where nothing cancels below zero, and exp is five times
 * faster */
static inline double ref_gelu_tanh(double v)
{
    return v / (1.0 + wa_exp(-2.0 * (double)GELU_C * (v + 0.044715 * v * v * v)));
}

static inline double ref_gelu_erf(double v)
{
    return 0.5 * v * (1.0 + wa_erf(v / sqrt(2.0)));
}

static inline double ref_relu2(double v)
{
    return v < 0.0 ? 0.0 : v * v;
}

static inline double ref_clamped(double v)
{
    double kept = v > 7.0 ? 7.0 : v;
    return kept / (1.0 + wa_exp(-1.702 * kept));
}

double wa_phi_ref(wa_activation activation, double v)
{
    wa_phi_ref_all(activation, &v, 1);
    return v;
}

WA_CLONES static void ref_silu_all(double *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = ref_silu(values[i]);
}

WA_CLONES static void ref_gelu_tanh_all(double *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = ref_gelu_tanh(values[i]);
}

WA_CLONES static void ref_gelu_erf_all(double *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = ref_gelu_erf(values[i]);
}

WA_CLONES static void ref_relu2_all(double *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = ref_relu2(values[i]);
}

WA_CLONES static void ref_clamped_all(double *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = ref_clamped(values[i]);
}

void wa_phi_ref_all(wa_activation activation, double *values, size_t n)
{
    switch (activation) {
    case WA_SILU:
        ref_silu_all(values, n);
        return;
    case WA_GELU_TANH:
        ref_gelu_tanh_all(values, n);
        return;
    case WA_GELU_ERF:
        ref_gelu_erf_all(values, n);
        return;
    case WA_RELU2:
        ref_relu2_all(values, n);
        return;
    case WA_CLAMPED_GLU:
        ref_clamped_all(values, n);
        return;
    }
}

void wa_factor_ref_all(wa_activation activation, double *values, size_t n)
{
    for (size_t i = 0; activation == WA_CLAMPED_GLU && i < n; i++) {
        double low = values[i] < -7.0 ? -7.0 : values[i]; /* NaN stays */
        values[i] = (low > 7.0 ? 7.0 : low) + 1.0;
    }
}

WA_CLONES static void gated_silu(const float *gate, const float *up, float *act, size_t n)
{
    for (size_t i = 0; i < n; i++)
        act[i] = phi_silu(gate[i]) * up[i];
}

WA_CLONES static void gated_gelu_tanh(const float *gate, const float *up, float *act, size_t n)
{
    for (size_t i = 0; i < n; i++)
        act[i] = phi_gelu_tanh(gate[i]) * up[i];
}

WA_CLONES static void gated_gelu_erf(const float *gate, const float *up, float *act, size_t n)
{
    for (size_t i = 0; i < n; i++)
        act[i] = phi_gelu_erf(gate[i]) * up[i];
}

WA_CLONES static void gated_relu2(const float *gate, const float *up, float *act, size_t n)
{
    for (size_t i = 0; i < n; i++)
        act[i] = phi_relu2(gate[i]) * up[i];
}

WA_CLONES static void gated_clamped(const float *gate, const float *up, float *act, size_t n)
{
    for (size_t i = 0; i < n; i++)
        act[i] = phi_clamped(gate[i]) * clamped_up(up[i]);
}

void wa_activate_gated(wa_activation activation, const float *gate, const float *up, float *act,
                       size_t n)
{
    switch (activation) {
    case WA_SILU:
        gated_silu(gate, up, act, n);
        return;
    case WA_GELU_TANH:
        gated_gelu_tanh(gate, up, act, n);
        return;
    case WA_GELU_ERF:
        gated_gelu_erf(gate, up, act, n);
        return;
    case WA_RELU2:
        gated_relu2(gate, up, act, n);
        return;
    case WA_CLAMPED_GLU:
        gated_clamped(gate, up, act, n);
        return;
    }
}

WA_CLONES static void plain_silu(const float *up, float *act, size_t n)
{
    for (size_t i = 0; i < n; i++)
        act[i] = phi_silu(up[i]);
}

WA_CLONES static void plain_gelu_tanh(const float *up, float *act, size_t n)
{
    for (size_t i = 0; i < n; i++)
        act[i] = phi_gelu_tanh(up[i]);
}

WA_CLONES static void plain_gelu_erf(const float *up, float *act, size_t n)
{
    for (size_t i = 0; i < n; i++)
        act[i] = phi_gelu_erf(up[i]);
}

WA_CLONES static void plain_relu2(const float *up, float *act, size_t n)
{
    for (size_t i = 0; i < n; i++)
        act[i] = phi_relu2(up[i]);
}

WA_CLONES static void plain_clamped(const float *up, float *act, size_t n)
{
    for (size_t i = 0; i < n; i++)
        act[i] = phi_clamped(up[i]);
}

void wa_activate(wa_activation activation, const float *up, float *act, size_t n)
{
    switch (activation) {
    case WA_SILU:
        plain_silu(up, act, n);
        return;
    case WA_GELU_TANH:
        plain_gelu_tanh(up, act, n);
        return;
    case WA_GELU_ERF:
        plain_gelu_erf(up, act, n);
        return;
    case WA_RELU2:
        plain_relu2(up, act, n);
        return;
    case WA_CLAMPED_GLU:
        plain_clamped(up, act, n);
        return;
    }
}

WA_CLONES void wa_add_bias(float *y, size_t rows, size_t n, const float *bias)
{
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < n; i++)
            y[row * n + i] += bias[i];
}

/* A dot is 16 partial sums, folded in a fixed order: the bits do not depend on the vector width. */
enum { DOT_LANES = 16, DOTS_TOGETHER = 4 };

/* What is left after the last whole `body` products, and the fold. */
static inline float end_dot(float *lane, const float *x, const float *y, size_t body, size_t n)
{
    for (size_t i = body; i < n; i++)
        lane[i - body] += x[i] * y[i];
    for (size_t half = DOT_LANES / 2; half > 0; half /= 2)
        for (size_t k = 0; k < half; k++)
            lane[k] += lane[k + half];
    return lane[0];
}

WA_CLONES float wa_dot(const float *x, const float *y, size_t n)
{
    float lane[DOT_LANES] = {0};
    size_t body = n - n % DOT_LANES;
    for (size_t i = 0; i < body; i += DOT_LANES)
        for (size_t k = 0; k < DOT_LANES; k++)
            lane[k] += x[i + k] * y[i + k];
    return end_dot(lane, x, y, body, n);
}

/* dots[r] = wa_dot(rows + r * n, x, n) of four rows: each sum for itself, but x is loaded once, and
 * no sum waits for another. An array for each, since gcc 12 keeps one of two dimensions in
 * memory. */
WA_CLONES static void dot_rows(const float *restrict rows, const float *restrict x, size_t n,
                               float *restrict dots)
{
    const float *restrict w0 = rows, *restrict w1 = rows + n;
    const float *restrict w2 = rows + 2 * n, *restrict w3 = rows + 3 * n;
    float s0[DOT_LANES] = {0}, s1[DOT_LANES] = {0}, s2[DOT_LANES] = {0}, s3[DOT_LANES] = {0};
    size_t body = n - n % DOT_LANES;
    for (size_t i = 0; i < body; i += DOT_LANES) {
        for (size_t k = 0; k < DOT_LANES; k++) {
            s0[k] += w0[i + k] * x[i + k];
            s1[k] += w1[i + k] * x[i + k];
            s2[k] += w2[i + k] * x[i + k];
            s3[k] += w3[i + k] * x[i + k];
        }
    }
    dots[0] = end_dot(s0, w0, x, body, n);
    dots[1] = end_dot(s1, w1, x, body, n);
    dots[2] = end_dot(s2, w2, x, body, n);
    dots[3] = end_dot(s3, w3, x, body, n);
}

double wa_dot_ref(const float *x, const float *y, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)y[i];
    return sum;
}

/* Features [f, f + count) of one position; four that are all in use go together. */
static void dot_features(const float *rows, const float *x, size_t cols, float *y, size_t count)
{
    float dots[DOTS_TOGETHER] = {0.0F};
    bool all = count == DOTS_TOGETHER;
    for (size_t f = 0; f < count; f++)
        all = all && y[f] != 0.0F;
    if (all) {
        dot_rows(rows, x, cols, dots);
        memcpy(y, dots, sizeof dots);
        return;
    }
    for (size_t f = 0; f < count; f++)
        if (y[f] != 0.0F)
            y[f] = wa_dot(rows + f * cols, x, cols);
}

/* One pair with `height` decoded rows, those of features [first, first + height). Four rows meet
 * all positions before the next four: they stay in the first-level cache. */
static void dot_panel(const wa_operand *pair, size_t rows, size_t ldx, size_t ldy,
                      const float *panel, size_t cols, size_t first, size_t height)
{
    for (size_t f = 0; f < height; f += DOTS_TOGETHER)
        for (size_t row = 0; row < rows; row++)
            dot_features(panel + f * cols, pair->x + row * ldx, cols,
                         pair->y + row * ldy + first + f, wa_size_min(height - f, DOTS_TOGETHER));
}

void wa_dot_marked(const wa_matrix *w, size_t rows, size_t ldx, size_t ldy, const wa_operand *pairs,
                   size_t count, const wa_scratch *scratch)
{
    const float *in_place = wa_matrix_in_place(w);
    size_t most = WA_DOT_PANEL_BYTES / sizeof(float) / w->cols;
    most = most == 0 ? 1 : most;
    for (size_t first = 0; first < w->rows; first += most) {
        size_t height = wa_size_min(w->rows - first, most);
        const float *panel = in_place == NULL ? scratch->panel : in_place + first * w->cols;
        if (in_place == NULL)
            wa_matrix_decode(w, first, height, scratch->panel);
        for (size_t i = 0; i < count; i++)
            dot_panel(&pairs[i], rows, ldx, ldy, panel, w->cols, first, height);
    }
}

WA_CLONES void wa_axpy(float a, const float *x, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

size_t wa_tile_rows(size_t features)
{
    enum { UNIT = 64 };
    size_t rows = WA_TILE_BYTES / sizeof(float) / features / UNIT * UNIT;
    return rows == 0 ? UNIT : wa_size_min(rows, WA_TILE_ROWS);
}

wa_status wa_scratch_open(wa_arena *arena, size_t rows, size_t features, size_t longest_row,
                          wa_scratch *out, wa_error *err)
{
    const wa_isa *isa;
    WA_TRY(wa_isa_choose(&isa, err));
    wa_scratch scratch = {.engine = WA_ENGINE_WALKAUDIT,
                          .isa = isa,
                          .tile_rows = wa_size_min(rows, wa_tile_rows(features)),
                          .features = features,
                          .arena = arena};
    scratch.panel_floats = WA_PANEL_BYTES / sizeof(float);
    if (scratch.panel_floats < longest_row)
        scratch.panel_floats = longest_row;
    size_t act_floats;
    if (!wa_size_mul(scratch.tile_rows, features, &act_floats))
        return wa_fail(err, WA_E_MEMORY, "%zu rows of %zu features overflow", scratch.tile_rows,
                       features);
    WA_TRY(wa_arena_take_raw(arena, scratch.panel_floats, sizeof(float), &scratch.panel, err));
    WA_TRY(wa_arena_take_raw(arena, act_floats, sizeof(float), &scratch.act, err));
    WA_TRY(wa_arena_take_raw(arena, act_floats, sizeof(float), &scratch.up, err));
    *out = scratch;
    return WA_OK;
}
