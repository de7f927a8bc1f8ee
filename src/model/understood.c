/* A model's facts as lines of text, one function a line. */
#include "model/understood.h"

#include <stdio.h>
#include <string.h>

/* What the lines are made from. */
typedef struct source {
    const wa_config *config;
    const wa_model *model;
    wa_arena *arena;
} source;

static wa_status scaling_text(const wa_config *config, wa_arena *arena, char **out, wa_error *err)
{
    const wa_rope_scaling *scaling = &config->scaling;
    if (config->rope_divisors != NULL)
        return wa_arena_print(arena, out, err, "frequencies divided by rope_freqs.weight");
    if (scaling->kind == WA_SCALING_LINEAR)
        return wa_arena_print(arena, out, err, "linear scaling by %g", scaling->factor);
    if (scaling->kind == WA_SCALING_LLAMA3)
        return wa_arena_print(arena, out, err,
                              "llama3 scaling by %g, low %g, high %g, from %g positions",
                              scaling->factor, scaling->low_freq_factor, scaling->high_freq_factor,
                              scaling->original_positions);
    if (scaling->kind == WA_SCALING_YARN)
        return wa_arena_print(
            arena, out, err, "yarn scaling by %g, betas %g and %g, %s, from %g positions, times %g",
            scaling->factor, scaling->beta_fast, scaling->beta_slow,
            scaling->truncate ? "truncated" : "not truncated", scaling->original_positions,
            scaling->attention_factor);
    if (scaling->kind == WA_SCALING_LONGROPE)
        return wa_arena_print(arena, out, err,
                              "longrope scaling, other factors beyond %g positions, times %g",
                              scaling->original_positions, scaling->attention_factor);
    return wa_arena_print(arena, out, err, "no scaling");
}

/* Which layers a list is of. */
typedef bool layer_test(const wa_layer *layer);

static bool has_window(const wa_layer *layer)
{
    return layer->window > 0;
}

static bool is_unrotated(const wa_layer *layer)
{
    return layer->rope_freq == NULL;
}

static size_t count_layers(const wa_model *model, layer_test *test)
{
    size_t count = 0;
    for (size_t l = 0; l < model->layer_count; l++)
        count += test(&model->layers[l]);
    return count;
}

/* "0 to 4, 6 to 10, …" of the layers that pass. */
static void list_layers(const wa_model *model, layer_test *test, char *text, size_t room)
{
    size_t used = 0;
    for (size_t l = 0; l < model->layer_count && used + 40 < room; l++) {
        if (!test(&model->layers[l]))
            continue;
        size_t last = l;
        while (last + 1 < model->layer_count && test(&model->layers[last + 1]))
            last++;
        int more = last == l ? snprintf(text + used, room - used, "%s%zu", used > 0 ? ", " : "", l)
                             : snprintf(text + used, room - used, "%s%zu to %zu",
                                        used > 0 ? ", " : "", l, last);
        used += more > 0 ? (size_t)more : 0;
        l = last;
    }
    if (used + 40 >= room)
        (void)snprintf(text + used, room - used, ", …");
}

/* Which dimensions and which layers are rotated. */
static void reach_text(const source *s, char *text, size_t room)
{
    const wa_model *model = s->model;
    char layers[400] = "";
    int used = model->rotary_dim == model->head_dim
                   ? snprintf(text, room, "all %zu dimensions of a head", model->head_dim)
                   : snprintf(text, room, "the first %zu of %zu dimensions of a head",
                              model->rotary_dim, model->head_dim);
    if (count_layers(model, is_unrotated) == 0)
        return;
    list_layers(model, is_unrotated, layers, sizeof layers);
    (void)snprintf(text + used, room - (size_t)used, "; no rotation in layers %s", layers);
}

static wa_status rope_text(const source *s, char **out, wa_error *err)
{
    const wa_model *model = s->model;
    char *scaling;
    char reach[500];
    if (!s->config->rotates)
        return wa_arena_print(s->arena, out, err, "none; a table of %zu positions is added",
                              model->positions.rows);
    WA_TRY(scaling_text(s->config, s->arena, &scaling, err));
    reach_text(s, reach, sizeof reach);
    if (model->rope_local_base > 0)
        return wa_arena_print(s->arena, out, err,
                              "full layers: base %g, %s; sliding layers: base %g, no scaling; %s",
                              model->rope_base, scaling, model->rope_local_base, reach);
    return wa_arena_print(s->arena, out, err, "base %g, %s; %s", model->rope_base, scaling, reach);
}

static wa_status windows_text(const source *s, char **out, wa_error *err)
{
    const wa_model *model = s->model;
    char layers[400] = "";
    size_t count = count_layers(model, has_window);
    if (count == 0)
        return wa_arena_print(s->arena, out, err, "none");
    list_layers(model, has_window, layers, sizeof layers);
    return wa_arena_print(s->arena, out, err, "%zu positions in %zu of %zu layers: %s",
                          model->sliding_window, count, model->layer_count, layers);
}

static wa_status norms_text(const source *s, char **out, wa_error *err)
{
    const wa_layer *layer = &s->model->layers[0];
    bool rms = s->model->norm_kind == WA_NORM_RMS;
    static const char *const blocks[] = {[WA_BLOCKS_PRE] = "before attention and FFN",
                                         [WA_BLOCKS_SANDWICH] =
                                             "before attention and FFN, and on the output of both",
                                         [WA_BLOCKS_POST] = "on the output of attention and FFN"};
    const char *heads =
        s->model->wide_qk_norm ? "; q and k over all heads at once" : "; q and k of each head";
    return wa_arena_print(s->arena, out, err, "%s, eps %g%s; %s%s", rms ? "RMS" : "LayerNorm",
                          s->model->norm_eps,
                          s->config->family->norm_offset != 0 ? ", scaled by 1 + weight" : "",
                          blocks[s->config->family->blocks], layer->q_norm != NULL ? heads : "");
}

static wa_status biases_text(const source *s, char **out, wa_error *err)
{
    const wa_layer *layer = &s->model->layers[0];
    const struct {
        const char *name;
        const float *bias;
    } biases[] = {{"q", layer->q_bias},      {"k", layer->k_bias},       {"v", layer->v_bias},
                  {"o", layer->o_bias},      {"gate", layer->gate_bias}, {"up", layer->up_bias},
                  {"down", layer->down_bias}};
    char text[64] = "";
    for (size_t i = 0, used = 0; i < sizeof biases / sizeof biases[0]; i++) {
        if (biases[i].bias == NULL)
            continue;
        int more =
            snprintf(text + used, sizeof text - used, "%s%s", used > 0 ? ", " : "", biases[i].name);
        used += more > 0 ? (size_t)more : 0;
    }
    bool ffn = layer->up_bias != NULL || layer->down_bias != NULL;
    bool experts = layer->experts != NULL && layer->experts->router_bias != NULL;
    return wa_arena_print(s->arena, out, err, "%s%s%s", text[0] == '\0' ? "none" : text,
                          experts ? "; router and experts" : "",
                          ffn ? "; those of the FFN are the model's in every case, since a vindex "
                                "holds none"
                              : "");
}

static wa_status scales_text(const source *s, char **out, wa_error *err)
{
    const wa_model *model = s->model;
    return wa_arena_print(s->arena, out, err,
                          "attention %.9g, embedding %.9g, residual %.9g, logits %.9g",
                          (double)model->attn_scale, (double)model->embed_scale,
                          (double)model->residual_multiplier, (double)model->logits_scale);
}

static wa_status caps_text(const source *s, char **out, wa_error *err)
{
    const wa_model *model = s->model;
    char attention[40] = "none";
    char final[40] = "none";
    if (model->attn_cap != 0)
        (void)snprintf(attention, sizeof attention, "%g", (double)model->attn_cap);
    if (model->final_cap != 0)
        (void)snprintf(final, sizeof final, "%g", (double)model->final_cap);
    return wa_arena_print(s->arena, out, err, "attention %s, final %s%s", attention, final,
                          model->layers[0].sinks != NULL ? "; a sink in the softmax of every head"
                                                         : "");
}

static bool has_experts(const wa_layer *layer)
{
    return layer->experts != NULL;
}

static wa_status experts_text(const source *s, char **out, wa_error *err)
{
    const wa_expert_shape *shape = &s->config->experts;
    char layers[400] = "", shared[64] = "";
    size_t count = count_layers(s->model, has_experts);
    list_layers(s->model, has_experts, layers, sizeof layers);
    if (shape->shared_features > 0)
        (void)snprintf(shared, sizeof shared, ", a shared one of %zu features by a gate",
                       shape->shared_features);
    return wa_arena_print(
        s->arena, out, err,
        "%s, gated; experts: %zu of %zu features, %zu chosen, weights %s%s; in %zu of %zu layers: "
        "%s",
        wa_activation_name(s->model->activation), shape->count, shape->features, shape->chosen,
        shape->renormalised ? "that sum to 1" : "as the softmax over all has them", shared, count,
        s->model->layer_count, layers);
}

static wa_status ffn_text(const source *s, char **out, wa_error *err)
{
    if (wa_model_expert_layer(s->model) < s->model->layer_count)
        return experts_text(s, out, err);
    return wa_arena_print(s->arena, out, err, "%s, %s", wa_activation_name(s->model->activation),
                          s->model->gated ? "gated" : "no gate");
}

static wa_status output_text(const source *s, char **out, wa_error *err)
{
    bool against = !s->model->tied && s->config->tie == WA_TIE_YES;
    return wa_arena_print(s->arena, out, err, "%s%s",
                          s->model->tied ? "tied to the embedding" : "its own matrix",
                          against ? ", though the configuration ties it" : "");
}

wa_status wa_understood_build(const wa_config *config, wa_arena *arena, wa_model *model,
                              wa_error *err)
{
    static const struct {
        const char *name;
        wa_status (*print)(const source *s, char **out, wa_error *err);
    } lines[] = {{"rope", rope_text},     {"windows", windows_text}, {"norms", norms_text},
                 {"biases", biases_text}, {"scales", scales_text},   {"caps", caps_text},
                 {"ffn", ffn_text},       {"output", output_text}};
    enum { COUNT = sizeof lines / sizeof lines[0] };
    const source s = {.config = config, .model = model, .arena = arena};
    wa_model_fact *facts;
    WA_TRY(wa_arena_take(arena, COUNT, sizeof *facts, &facts, err));
    for (size_t i = 0; i < COUNT; i++) {
        char *text;
        WA_TRY(lines[i].print(&s, &text, err));
        facts[i] = (wa_model_fact){.name = lines[i].name, .text = text};
    }
    model->understood = facts;
    model->understood_count = COUNT;
    return WA_OK;
}
