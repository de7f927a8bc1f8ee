/* The files of each format (vindex-format 3, 4, 9, larql-2026-08 5.1), and which models they can
 * hold. */
#include "vindex/extract_plan.h"

#include "vindex/experts.h"

#include <math.h>

static const char *const NAMES[WA_EXTRACT_FORMAT_COUNT] = {
#define FORMAT_NAME(id, name) name,
    WA_EXTRACT_FORMAT_LIST(FORMAT_NAME)
#undef FORMAT_NAME
};

static const struct {
    bool half_gate; /* the usual gate is f16 */
    bool any_gate;  /* `gate` may choose */
    bool ungated;   /* a model without gate can be written */
    bool dense;     /* a model without experts can be written */
    bool experts;   /* one with experts can, their matrices in: */
    wa_format of_experts;
} TRAITS[WA_EXTRACT_FORMAT_COUNT] = {
    [WA_EXTRACT_F32] = {.ungated = true,
                        .dense = true,
                        .experts = true,
                        .of_experts = WA_FORMAT_F32},
    [WA_EXTRACT_F16] = {.half_gate = true,
                        .ungated = true,
                        .dense = true,
                        .experts = true,
                        .of_experts = WA_FORMAT_F16},
    [WA_EXTRACT_INTERLEAVED] = {.ungated = true, .dense = true},
    [WA_EXTRACT_Q4_0] = {.any_gate = true,
                         .dense = true,
                         .experts = true,
                         .of_experts = WA_FORMAT_GGML_Q4_0},
    [WA_EXTRACT_Q4K] = {.half_gate = true,
                        .any_gate = true,
                        .dense = true,
                        .experts = true,
                        .of_experts = WA_FORMAT_Q4_K},
    [WA_EXTRACT_FP4] = {.any_gate = true,
                        .dense = true,
                        .experts = true,
                        .of_experts = WA_FORMAT_FP4},
    [WA_EXTRACT_BF16] = {.any_gate = true, .experts = true, .of_experts = WA_FORMAT_BF16},
    [WA_EXTRACT_Q6K] = {.half_gate = true,
                        .any_gate = true,
                        .experts = true,
                        .of_experts = WA_FORMAT_GGML_Q6_K},
};

const char *wa_extract_compat_name(wa_extract_compat compat)
{
    static const char *const names[] = {
#define COMPAT_NAME(id, name) [WA_EXTRACT_COMPAT_##id] = (name),
        WA_EXTRACT_COMPAT_LIST(COMPAT_NAME)
#undef COMPAT_NAME
    };
    return names[compat];
}

const char *wa_extract_format_name(wa_extract_format format)
{
    return NAMES[format];
}

wa_status wa_extract_format_parse(const char *name, wa_extract_format *out, wa_error *err)
{
    for (int i = 0; i < WA_EXTRACT_FORMAT_COUNT; i++) {
        if (strcmp(name, NAMES[i]) == 0) {
            *out = (wa_extract_format)i;
            return WA_OK;
        }
    }
#define FORMAT_WORD(id, word) " " word
    return wa_fail(err, WA_E_USAGE,
                   "unknown format '%s', expected one of" WA_EXTRACT_FORMAT_LIST(FORMAT_WORD),
                   name);
#undef FORMAT_WORD
}

wa_extract_options wa_extract_defaults(wa_extract_format format)
{
    return (wa_extract_options){
        .format = format, .policy = WA_FP4_POLICY_B, .fp4_threshold = 16.0, .fp4_floor = 0.99};
}

const wa_extract_part *wa_extract_part_of(const wa_extract_file *file, wa_projection projection,
                                          bool by_hidden)
{
    for (size_t p = 0; p < file->part_count; p++)
        if (file->parts[p].projection == projection && file->parts[p].by_hidden == by_hidden)
            return &file->parts[p];
    return NULL;
}

bool wa_extract_has_experts(const wa_model *model)
{
    return wa_model_expert_layer(model) < model->layer_count;
}

size_t wa_extract_entries(const wa_model *model, const wa_extract_options *options, size_t layer)
{
    const wa_experts *experts = model->layers[layer].experts;
    if (experts != NULL)
        return experts->count;
    return options->compat != WA_EXTRACT_COMPAT_NONE && wa_extract_has_experts(model) ? 0 : 1;
}

wa_expert wa_extract_entry(const wa_model *model, size_t layer, size_t entry)
{
    const wa_layer *l = &model->layers[layer];
    if (l->experts != NULL)
        return l->experts->experts[entry];
    return (wa_expert){
        .gate = *wa_extract_matrix(model, layer, WA_GATE), .up = l->up, .down = l->down};
}

const wa_matrix *wa_extract_matrix(const wa_model *model, size_t layer, wa_projection projection)
{
    const wa_layer *l = &model->layers[layer];
    if (l->experts != NULL)
        return wa_expert_matrix(&l->experts->experts[0], projection);
    const wa_matrix *all[WA_PROJECTION_COUNT] = {model->gated ? &l->gate : &l->up, &l->up,
                                                 &l->down};
    return all[projection];
}

static wa_status check_layers(const wa_model *model, wa_error *err)
{
    for (size_t l = 0; l < model->layer_count; l++) {
        size_t gates = wa_extract_matrix(model, l, WA_GATE)->rows;
        if (gates != model->intermediate || model->layers[l].up.rows != model->intermediate ||
            model->layers[l].down.cols != model->intermediate)
            return wa_fail(err, WA_E_UNSUPPORTED, "layer %zu has %zu features, the model %zu", l,
                           gates, model->intermediate);
    }
    return WA_OK;
}

/* Every layer has a gate, since all families with experts are gated. */
static wa_status check_experts(const wa_model *model, const wa_extract_options *options,
                               wa_error *err)
{
    if (!TRAITS[options->format].experts)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "experts have no place in an %s vindex; f32, f16, bf16, q4_0, q4k, q6k and "
                       "fp4 have one",
                       NAMES[options->format]);
    if (options->compat == WA_EXTRACT_COMPAT_LARQL_2026_05)
        return wa_fail(
            err, WA_E_UNSUPPORTED,
            "LARQL of May 2026 wrote no experts of such models (%s); it does since August",
            model->family);
    if (options->down_q4k || options->feature_major_down)
        return wa_fail(err, WA_E_USAGE,
                       "a file of experts has one format throughout, and no feature-major down");
    if (options->compat != WA_EXTRACT_COMPAT_NONE && options->format != WA_EXTRACT_Q4K &&
        options->format != WA_EXTRACT_Q6K)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "LARQL writes experts in Q4_K, and GPT-OSS's in Q6_K, not in %s",
                       NAMES[options->format]);
    return WA_OK;
}

static wa_status check_model(const wa_model *model, wa_extract_format format, wa_error *err)
{
    if (!TRAITS[format].dense)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "a vindex in %s is one of experts, and model '%s' has none", NAMES[format],
                       model->path);
    WA_TRY(check_layers(model, err));
    if (!model->gated && !TRAITS[format].ungated)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "model '%s' (%s) has no gate projection: upstream has no %s file of such a "
                       "model that its reader can use; f32, f16 and interleaved are written",
                       model->path, model->family, NAMES[format]);
    if (format == WA_EXTRACT_Q4_0 && model->hidden % 32 != 0)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "hidden size %zu, expected a multiple of 32: Q4_0 blocks would cross rows",
                       model->hidden);
    return WA_OK;
}

/* What upstream's converter refuses (vindex-format 4.6, U20), and numbers that decide nothing. */
static wa_status check_fp4(const wa_model *model, const wa_extract_options *options, wa_error *err)
{
    bool larql = options->compat != WA_EXTRACT_COMPAT_NONE;
    if (larql && model->hidden % 256 != 0)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "hidden size %zu, expected a multiple of 256: upstream has no padded FP4 "
                       "rows; without --compat they are written",
                       model->hidden);
    if (larql && options->gate == WA_EXTRACT_GATE_F16)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "an f16 gate: upstream makes FP4 vindexes from f32 ones only");
    if (!(options->fp4_threshold > 1.0 && isfinite(options->fp4_threshold)))
        return wa_fail(err, WA_E_USAGE, "compliance threshold %g, expected more than 1",
                       options->fp4_threshold);
    if (!(options->fp4_floor >= 0.0 && options->fp4_floor <= 1.0))
        return wa_fail(err, WA_E_USAGE, "compliance floor %g, expected 0 to 1", options->fp4_floor);
    return WA_OK;
}

static wa_status check_options(const wa_extract_options *options, bool experts, wa_error *err)
{
    bool q4k = options->format == WA_EXTRACT_Q4K;
    if (options->gate != WA_EXTRACT_GATE_USUAL && !TRAITS[options->format].any_gate)
        return wa_fail(err, WA_E_USAGE, "the gate of format %s has its own type: not to be chosen",
                       NAMES[options->format]);
    if (!q4k &&
        (options->down_q4k || options->feature_major_down || (options->drop_gate && !experts)))
        return wa_fail(err, WA_E_USAGE,
                       "down's type, a feature-major down and a dropped gate are of format q4k, "
                       "not %s",
                       NAMES[options->format]);
    return WA_OK;
}

wa_status wa_extract_check(const wa_model *model, const wa_extract_options *options, wa_error *err)
{
    bool experts = wa_extract_has_experts(model);
    WA_TRY(check_options(options, experts, err));
    if (experts)
        return check_experts(model, options, err);
    WA_TRY(check_model(model, options->format, err));
    return options->format == WA_EXTRACT_FP4 ? check_fp4(model, options, err) : WA_OK;
}

static wa_extract_file *add_file(wa_extract_plan *plan, const char *name)
{
    wa_extract_file *file = &plan->files[plan->file_count++];
    *file = (wa_extract_file){.name = name};
    return file;
}

static void add_part(wa_extract_file *file, wa_projection projection, wa_encoding encoding)
{
    file->parts[file->part_count++] =
        (wa_extract_part){.projection = projection, .encoding = encoding};
}

/* A file of one projection by features. */
static void add_features(wa_extract_plan *plan, wa_payload payload, wa_projection projection,
                         wa_encoding encoding)
{
    add_part(add_file(plan, wa_payload_file(payload)), projection, encoding);
}

/* Gate, up and down of a layer behind one another, all by features. */
static void add_interleaved(wa_extract_plan *plan, wa_payload payload, wa_format format)
{
    wa_extract_file *file = add_file(plan, wa_payload_file(payload));
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        add_part(file, (wa_projection)p, (wa_encoding){.format = format});
}

/* Of formats with two orders, the one in which LARQL wrote at that time. */
static wa_format ordered(const wa_extract_options *options, wa_format since)
{
    return options->compat == WA_EXTRACT_COMPAT_LARQL_2026_05 ? wa_format_other_order(since)
                                                              : since;
}

/* vindex-format 4.4: the stored down is W_down itself; a second file may hold it by features. */
static void add_q4k(wa_extract_plan *plan, const wa_extract_options *options)
{
    bool old = options->compat == WA_EXTRACT_COMPAT_LARQL_2026_05;
    wa_encoding q4k = {.format = WA_FORMAT_Q4_K};
    wa_encoding down = {.format = options->down_q4k ? WA_FORMAT_Q4_K
                                                    : ordered(options, WA_FORMAT_GGML_Q6_K)};
    wa_extract_file *file =
        add_file(plan, old ? "interleaved_q4k.bin" : wa_payload_file(WA_PAYLOAD_INTERLEAVED_Q4K));
    file->manifest = old ? "interleaved_q4k_manifest.json" : "interleaved_kquant_manifest.json";
    add_part(file, WA_GATE, q4k);
    add_part(file, WA_UP, q4k);
    add_part(file, WA_DOWN, down);
    file->parts[WA_DOWN].by_hidden = true;
    if (!options->feature_major_down)
        return;
    file = add_file(plan,
                    old ? "down_features_q4k.bin" : wa_payload_file(WA_PAYLOAD_DOWN_FEATURES_Q4K));
    file->manifest = old ? "down_features_q4k_manifest.json" : "down_features_kquant_manifest.json";
    file->pad_features = true;
    add_part(file, WA_DOWN, down);
}

/* Up and down as chosen; down tagged f16 is the f32 feature file (vindex-format 2.8). */
static void add_fp4(wa_extract_plan *plan, const wa_fp4_choice *fp4)
{
    for (int p = WA_UP; p < WA_PROJECTION_COUNT; p++) {
        bool blocks = wa_fp4_has_blocks(fp4[p].chosen);
        wa_format format = blocks ? wa_fp4_format(fp4[p].chosen) : WA_FORMAT_F32;
        add_part(add_file(plan, fp4[p].file), (wa_projection)p, (wa_encoding){.format = format});
    }
}

/* vindex-format 3: only the gate is ever f16 on disk; feature files are f32 files. */
static void add_payload(wa_extract_plan *plan, const wa_extract_options *options,
                        const wa_fp4_choice *fp4)
{
    wa_encoding feature = {.format = WA_FORMAT_F32, .via_f16 = options->format == WA_EXTRACT_F16};
    switch (options->format) {
    case WA_EXTRACT_F32:
    case WA_EXTRACT_F16:
        add_features(plan, WA_PAYLOAD_UP_FEATURES, WA_UP, feature);
        add_features(plan, WA_PAYLOAD_DOWN_FEATURES, WA_DOWN, feature);
        break;
    case WA_EXTRACT_INTERLEAVED:
        add_interleaved(plan, WA_PAYLOAD_INTERLEAVED, WA_FORMAT_F32);
        break;
    case WA_EXTRACT_Q4_0:
        add_interleaved(plan, WA_PAYLOAD_INTERLEAVED_Q4, ordered(options, WA_FORMAT_GGML_Q4_0));
        break;
    case WA_EXTRACT_Q4K:
        add_q4k(plan, options);
        break;
    case WA_EXTRACT_FP4:
        add_fp4(plan, fp4);
        break;
    case WA_EXTRACT_BF16: /* of experts only */
    case WA_EXTRACT_Q6K:
    case WA_EXTRACT_FORMAT_COUNT:
        break;
    }
}

wa_format wa_extract_gate_format(const wa_extract_options *options)
{
    bool half = options->gate == WA_EXTRACT_GATE_USUAL ? TRAITS[options->format].half_gate
                                                       : options->gate == WA_EXTRACT_GATE_F16;
    return half ? WA_FORMAT_F16 : WA_FORMAT_F32;
}

/* larql-2026-08 5.1: gate and up rows, then W_down, every row padded to 256. */
static void add_experts(wa_extract_plan *plan, const wa_extract_options *options)
{
    wa_extract_file *file = add_file(plan, "layers");
    file->by_layer = true;
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        add_part(file, (wa_projection)p,
                 (wa_encoding){.format = TRAITS[options->format].of_experts, .pads = true});
    file->parts[WA_DOWN].by_hidden = true;
}

wa_extract_plan wa_extract_plan_build(const wa_model *model, const wa_extract_options *options,
                                      const wa_fp4_choice *fp4)
{
    wa_extract_plan plan = {.gate_format = wa_extract_gate_format(options)};
    if (!options->drop_gate)
        add_features(&plan, WA_PAYLOAD_GATE, WA_GATE, (wa_encoding){.format = plan.gate_format});
    if (wa_extract_has_experts(model))
        add_experts(&plan, options);
    else
        add_payload(&plan, options, fp4);
    return plan;
}
