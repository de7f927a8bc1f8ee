/* Models made in memory: views of weights that a test gives, and the model around its layers. */
#ifndef WALKAUDIT_TEST_MADE_MODEL_H
#define WALKAUDIT_TEST_MADE_MODEL_H

#include "model/model.h"

/* weights [rows, cols], borrowed. */
static inline wa_matrix test_view(const float *weights, size_t rows, size_t cols)
{
    return (wa_matrix){.data = (const uint8_t *)weights,
                       .name = "made",
                       .format = WA_FORMAT_F32,
                       .rows = rows,
                       .cols = cols,
                       .row_bytes = cols * sizeof *weights};
}

/* A gated model of `count` layers, which stay the test's. */
static inline wa_model test_model(const char *family, wa_layer *layers, size_t count,
                                  size_t features, size_t hidden)
{
    return (wa_model){.path = "made-here",
                      .family = family,
                      .model_type = family,
                      .container = "safetensors",
                      .layer_count = count,
                      .hidden = hidden,
                      .intermediate = features,
                      .q_heads = 2,
                      .kv_heads = 1,
                      .head_dim = 2,
                      .vocab = 8,
                      .gated = true,
                      .embed_scale = 1,
                      .residual_multiplier = 1,
                      .logits_scale = 1,
                      .rope_base = 10000,
                      .layers = layers};
}

#endif
