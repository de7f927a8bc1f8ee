/* The number formats of LARQL's serving protocol. */
#include "path/wire.h"

#include "codec/codec.h"

#include <math.h>
#include <string.h>

enum { BLOCK = WA_Q8_K_BLOCK, GROUP = WA_Q8_K_GROUP, I8_HEAD = 8 };

const char *wa_wire_name(wa_wire wire)
{
    static const char *const names[] = {
#define WIRE_NAME(id, name, tolerance) [WA_WIRE_##id] = (name),
        WA_WIRE_LIST(WIRE_NAME)
#undef WIRE_NAME
    };
    return names[wire];
}

bool wa_wire_parse(const char *name, wa_wire *out)
{
    for (int wire = WA_WIRE_NONE + 1; wire < WA_WIRE_COUNT; wire++)
        if (strcmp(name, wa_wire_name((wa_wire)wire)) == 0) {
            *out = (wa_wire)wire;
            return true;
        }
    return false;
}

double wa_wire_tolerance(wa_wire wire)
{
    static const double tolerances[] = {
#define WIRE_TOLERANCE(id, name, tolerance) [WA_WIRE_##id] = (tolerance),
        WA_WIRE_LIST(WIRE_TOLERANCE)
#undef WIRE_TOLERANCE
    };
    return tolerances[wire];
}

size_t wa_wire_bytes(wa_wire wire, size_t n)
{
    switch (wire) {
    case WA_WIRE_F16:
        return n * sizeof(uint16_t);
    case WA_WIRE_I8:
        return I8_HEAD + n;
    case WA_WIRE_Q8K:
        return n + n / BLOCK * (sizeof(float) + BLOCK / GROUP * sizeof(int16_t));
    default:
        return n * sizeof(float);
    }
}

/* NaN where a value is: then nothing finite arrives of the row. */
static float amax_of(const float *x, size_t n)
{
    float amax = 0.0F;
    for (size_t i = 0; i < n; i++)
        amax = isnan(x[i]) || isnan(amax) ? NAN : fmaxf(amax, fabsf(x[i]));
    return amax;
}

/* --- i8: scale, zero point 0, one byte a value --- */

static float i8_scale(const float *x, size_t n)
{
    float amax = amax_of(x, n);
    return amax == 0.0F ? 1.0F : amax / 127.0F;
}

static float i8_step(float value, float scale)
{
    return roundf(fminf(fmaxf(value / scale, -127.0F), 127.0F));
}

static void encode_i8(const float *x, size_t n, uint8_t *out)
{
    float head[2] = {i8_scale(x, n), 0.0F};
    memcpy(out, head, sizeof head);
    for (size_t i = 0; i < n; i++)
        out[I8_HEAD + i] = (uint8_t)(int8_t)i8_step(x[i], head[0]);
}

static void decode_i8(const uint8_t *in, size_t n, float *out)
{
    float head[2];
    memcpy(head, in, sizeof head);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(int8_t)in[I8_HEAD + i] * head[0];
}

/* --- Q8_K: all q, then all d, then all sums (larql-2026-08.md 3.3) --- */

static void encode_q8k(const float *x, size_t n, uint8_t *out)
{
    size_t blocks = n / BLOCK;
    uint8_t *scales = out + n, *sums = scales + blocks * sizeof(float);
    for (size_t b = 0; b < blocks; b++) {
        int8_t q[BLOCK];
        float d = wa_q8_k_round(x + b * BLOCK, q);
        memcpy(out + b * BLOCK, q, sizeof q);
        memcpy(scales + b * sizeof d, &d, sizeof d);
        for (size_t g = 0; g < BLOCK / GROUP; g++) {
            int16_t sum = 0;
            for (size_t i = 0; i < GROUP; i++)
                sum = (int16_t)(sum + q[g * GROUP + i]);
            memcpy(sums + (b * (BLOCK / GROUP) + g) * sizeof sum, &sum, sizeof sum);
        }
    }
}

static void decode_q8k(const uint8_t *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        float d;
        memcpy(&d, in + n + i / BLOCK * sizeof d, sizeof d);
        out[i] = (float)(int8_t)in[i] * d;
    }
}

/* --- All of them --- */

static void encode_f16(const float *x, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half = wa_f32_to_f16(x[i]);
        memcpy(out + i * sizeof half, &half, sizeof half);
    }
}

void wa_wire_encode(wa_wire wire, const float *x, size_t rows, size_t n, uint8_t *out)
{
    size_t bytes = wa_wire_bytes(wire, n);
    for (size_t r = 0; r < rows; r++, x += n, out += bytes) {
        if (wire == WA_WIRE_F16)
            encode_f16(x, n, out);
        else if (wire == WA_WIRE_I8)
            encode_i8(x, n, out);
        else if (wire == WA_WIRE_Q8K)
            encode_q8k(x, n, out);
        else
            memcpy(out, x, bytes);
    }
}

void wa_wire_decode(wa_wire wire, const uint8_t *in, size_t rows, size_t n, float *out)
{
    size_t bytes = wa_wire_bytes(wire, n);
    for (size_t r = 0; r < rows; r++, in += bytes, out += n) {
        if (wire == WA_WIRE_F16)
            wa_f16_decode(in, n, out);
        else if (wire == WA_WIRE_I8)
            decode_i8(in, n, out);
        else if (wire == WA_WIRE_Q8K)
            decode_q8k(in, n, out);
        else
            memcpy(out, in, bytes);
    }
}

void wa_wire_deliver(wa_wire wire, const float *x, size_t n, float *out)
{
    if (wire == WA_WIRE_F16) {
        for (size_t i = 0; i < n; i++)
            out[i] = wa_f16_to_f32(wa_f32_to_f16(x[i]));
    } else if (wire == WA_WIRE_I8) {
        float scale = i8_scale(x, n);
        for (size_t i = 0; i < n; i++)
            out[i] = i8_step(x[i], scale) * scale;
    } else if (wire == WA_WIRE_Q8K) {
        for (size_t b = 0; b < n / BLOCK; b++) {
            int8_t q[BLOCK];
            float d = wa_q8_k_round(x + b * BLOCK, q);
            for (size_t i = 0; i < BLOCK; i++)
                out[b * BLOCK + i] = (float)q[i] * d;
        }
    } else if (out != x) {
        memcpy(out, x, n * sizeof *x);
    }
}

/* An answer is f32 before it is rounded further. */
void wa_wire_round(wa_wire wire, double *y, size_t n)
{
    if (wire == WA_WIRE_F16) {
        for (size_t i = 0; i < n; i++)
            y[i] = (double)wa_f16_to_f32(wa_f32_to_f16((float)y[i]));
    } else if (wire == WA_WIRE_I8) {
        float amax = 0.0F;
        for (size_t i = 0; i < n; i++)
            amax = fmaxf(amax, fabsf((float)y[i]));
        float scale = amax == 0.0F ? 1.0F : amax / 127.0F;
        for (size_t i = 0; i < n; i++)
            y[i] = isnan(y[i]) ? y[i] : (double)(i8_step((float)y[i], scale) * scale);
    }
}
