/* Hashes of what the inner loops beside the products give, a line each; the same from every
 * instruction set.
 *
 * tests/CMakeLists.txt compiles it, with the sources of these loops, for several of them:
 * test_mathematics.py compares. */
#include "codec/codec.h"
#include "compute/dense.h"
#include "compute/kernel.h"
#include "measure/diff.h"
#include "measure/logits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 1031, VOCAB = 3001, BLOCKS = 9 }; /* no multiples of a vector */

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001B3); /* FNV-1a */
    return hash;
}

static void print_hash(const char *name, const void *data, size_t size)
{
    printf("%s %016llx\n", name,
           (unsigned long long)hash_bytes(UINT64_C(0xCBF29CE484222325), data, size));
}

/* Sums of three uniforms in [-scale, scale]: many small, some large. */
static void fill(float *out, size_t n, float scale, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        float sum = 0.0F;
        for (int k = 0; k < 3; k++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            sum += (float)(seed >> 40) * 0x1p-23F - 1.0F;
        }
        out[i] = sum / 3.0F * scale;
    }
}

static void probe_activations(void)
{
    static float gate[N], up[N], act[N];
    fill(gate, N, 12.0F, 1);
    fill(up, N, 2.0F, 2);
    const wa_activation all[] = {WA_SILU, WA_GELU_TANH, WA_GELU_ERF};
    for (size_t a = 0; a < sizeof all / sizeof all[0]; a++) {
        char name[32];
        snprintf(name, sizeof name, "gated %zu", a);
        wa_activate_gated(all[a], gate, up, act, N);
        print_hash(name, act, sizeof act);
        snprintf(name, sizeof name, "plain %zu", a);
        wa_activate(all[a], gate, act, N);
        print_hash(name, act, sizeof act);
        double of_ref[N];
        for (size_t i = 0; i < N; i++)
            of_ref[i] = wa_phi_ref(all[a], (double)gate[i]);
        snprintf(name, sizeof name, "phi_ref %zu", a);
        print_hash(name, of_ref, sizeof of_ref);
    }
}

static void probe_rows(void)
{
    static float x[N], w[N], y[N];
    fill(x, N, 3.0F, 3);
    fill(w, N, 1.0F, 4);
    float dot = wa_dot(x, w, N);
    print_hash("dot", &dot, sizeof dot);
    wa_axpy(0.37F, x, w, N);
    print_hash("axpy", w, sizeof w);
    wa_residual_add(w, x, N, 0.22F);
    print_hash("residual", w, sizeof w);
    wa_model model = {
        .norm_kind = WA_NORM_RMS, .norm_eps = 1e-6, .attn_scale = 0.07F, .attn_cap = 50.0F};
    wa_norm norm = {.weight = w, .bias = NULL};
    wa_norm_rows(&model, &norm, x, 1, N, y);
    print_hash("rms norm", y, sizeof y);
    model.norm_kind = WA_NORM_LAYER;
    norm.bias = x;
    wa_norm_rows(&model, &norm, x, 1, N, y);
    print_hash("layer norm", y, sizeof y);
    wa_diff diff = wa_diff_rows(x, w, N);
    const double figures[] = {diff.cos,
                              diff.rel_l2,
                              diff.l2,
                              diff.max_abs,
                              diff.one_minus_cos,
                              wa_norm2(x, N),
                              wa_relative_distance(x, w, y, N)};
    print_hash("diff", figures, sizeof figures);
    fill(y, N, 300.0F, 5);
    wa_softmax_row(&model, y, 3, N - 2, N, 0.5F);
    print_hash("softmax", y, sizeof y);
}

static void probe_logits(void)
{
    static float ref[VOCAB], near[VOCAB], far[VOCAB];
    fill(ref, VOCAB, 20.0F, 6);
    fill(near, VOCAB, 0.3F, 7);
    fill(far, VOCAB, 20.0F, 8);
    for (size_t i = 0; i < VOCAB; i++)
        near[i] += ref[i];
    const float *others[] = {near, far};
    for (size_t o = 0; o < 2; o++) {
        wa_logits a, b;
        wa_divergence slow, fast;
        wa_logits_start(&a, 5);
        wa_logits_start(&b, 5);
        wa_divergence_start(&slow);
        wa_divergence_start(&fast);
        wa_logits_add_fast(&a, ref, 0, VOCAB);
        wa_logits_add(&b, others[o], 0, VOCAB);
        wa_divergence_add(&slow, &a, &b, ref, others[o], 0, VOCAB);
        wa_divergence_add_fast(&fast, &a, &b, ref, others[o], 0, VOCAB);
        const double figures[] = {a.max,   a.sum,   b.sum,
                                  slow.kl, slow.js, slow.log_prob_of_ref_top1,
                                  fast.kl, fast.js, wa_logits_log_prob(&a, a.max)};
        print_hash(o == 0 ? "logits, near" : "logits, far", figures, sizeof figures);
    }
}

/* Encoding of every format that is written, and decoding of any bytes by all of them. */
static void probe_formats(void)
{
    for (int f = 0; f < WA_FORMAT_COUNT; f++) {
        const wa_format_info *info = wa_format_get((wa_format)f);
        size_t count = BLOCKS * info->block_elements;
        float values[BLOCKS * 256];
        uint8_t bytes[BLOCKS * 512];
        char name[48];
        fill(values, count, 0.4F, 9);
        if (info->encode != NULL) {
            info->encode(values, BLOCKS, bytes);
            snprintf(name, sizeof name, "encode %d", f);
            print_hash(name, bytes, BLOCKS * info->block_bytes);
        } else {
            memcpy(bytes, values,
                   count < BLOCKS * info->block_bytes ? count : BLOCKS * info->block_bytes);
        }
        info->decode(bytes, BLOCKS, values);
        for (size_t i = 0; i < count; i++)
            values[i] = isnan(values[i]) ? 0.0F : values[i];
        snprintf(name, sizeof name, "decode %d", f);
        print_hash(name, values, count * sizeof *values);
    }
}

int main(void)
{
    probe_activations();
    probe_rows();
    probe_logits();
    probe_formats();
    return 0;
}
