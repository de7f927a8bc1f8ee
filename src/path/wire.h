/*
 * How FFN inputs and outputs travel to and from a LARQL server: what of a number arrives. Pure.
 * larql-2026-08.md 4.4, 4.6 and 3.3.
 */
#ifndef WALKAUDIT_PATH_WIRE_H
#define WALKAUDIT_PATH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(id, name, tolerance): the largest error that a case on this wire may have against the oracle of
 * the path it is like, when the job states none. f32: f32 sums in another order. f16: outputs near
 * the middle of two f16 values. i8: the same of its 127 steps. Q8_K: where down is Q4_K, the server
 * rounds activations as well, which no x tells. */
#define WA_WIRE_LIST(X)                                                                            \
    X(NONE, "none", 0.0)                                                                           \
    X(F32, "f32", 1e-5)                                                                            \
    X(F16, "f16", 5e-4)                                                                            \
    X(I8, "i8", 1e-2)                                                                              \
    X(Q8K, "q8k", 3e-2)
typedef enum wa_wire {
#define WA_WIRE_ENUM(id, name, tolerance) WA_WIRE_##id,
    WA_WIRE_LIST(WA_WIRE_ENUM)
#undef WA_WIRE_ENUM
        WA_WIRE_COUNT
} wa_wire;
const char *wa_wire_name(wa_wire wire);
/** f32, f16, i8 or q8k; false for any other word. */
bool wa_wire_parse(const char *name, wa_wire *out);
double wa_wire_tolerance(wa_wire wire);

/** Bytes of one position of n values. q8k: n is a multiple of 256. */
size_t wa_wire_bytes(wa_wire wire, size_t n);
/** Positions [rows, n] to bytes, and what they say: [rows, n]. q8k is encoded only, and decoded as
 * q * d. */
void wa_wire_encode(wa_wire wire, const float *x, size_t rows, size_t n, uint8_t *out);
void wa_wire_decode(wa_wire wire, const uint8_t *in, size_t rows, size_t n, float *out);
/** One position as it arrives: out [n]; may be x. NONE and F32 change nothing. */
void wa_wire_deliver(wa_wire wire, const float *x, size_t n, float *out);
/** One position's true y [n] rounded as an answer on this wire rounds it, in place. */
void wa_wire_round(wa_wire wire, double *y, size_t n);

#endif
