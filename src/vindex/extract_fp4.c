/* FP4 policies and the compliance floor (vindex-format 9). */
#include "vindex/extract_fp4.h"

static const char *const NAMES[] = {
#define PRECISION_NAME(id, name) [WA_FP4_PRECISION_##id] = name,
    WA_FP4_PRECISION_LIST(PRECISION_NAME)
#undef PRECISION_NAME
};
enum { PRECISION_COUNT = sizeof NAMES / sizeof NAMES[0] };

static const char *const FILES[WA_PROJECTION_COUNT][PRECISION_COUNT] = {
    [WA_GATE] =
        {[WA_FP4_PRECISION_F16] = "gate_vectors.bin", [WA_FP4_PRECISION_F32] = "gate_vectors.bin"},
    [WA_UP] = {[WA_FP4_PRECISION_FP4] = "up_features_fp4.bin",
               [WA_FP4_PRECISION_FP8] = "up_features_fp8.bin"},
    [WA_DOWN] = {[WA_FP4_PRECISION_FP4] = "down_features_fp4.bin",
                 [WA_FP4_PRECISION_FP8] = "down_features_fp8.bin",
                 [WA_FP4_PRECISION_F16] = "down_features.bin"},
};

/* What became of a projection, by the precision it got without being downgraded. */
static const char *const ACTIONS[PRECISION_COUNT] = {
    [WA_FP4_PRECISION_FP4] = "wrote_fp4",
    [WA_FP4_PRECISION_FP8] = "wrote_fp8_per_policy_default",
    [WA_FP4_PRECISION_F16] = "wrote_f16_per_policy_default",
    [WA_FP4_PRECISION_F32] = "linked_as_source_dtype",
};

static const wa_fp4_precision DOWN[] = {
    [WA_FP4_POLICY_A] = WA_FP4_PRECISION_FP4,
    [WA_FP4_POLICY_B] = WA_FP4_PRECISION_FP8,
    [WA_FP4_POLICY_C] = WA_FP4_PRECISION_F16,
};

const char *wa_fp4_precision_name(wa_fp4_precision precision)
{
    return NAMES[precision];
}

static wa_fp4_choice choose(const wa_extract_options *options, const wa_compliance *scan,
                            wa_projection projection, wa_fp4_precision policy)
{
    size_t layers = scan->layer_count;
    wa_bucket all = wa_bucket_merge(scan->rows.buckets + (size_t)projection * layers, layers);
    wa_fp4_choice choice = {
        .policy = policy,
        .chosen = policy,
        .share = (float)wa_bucket_share(&scan->rows, &all, (float)options->fp4_threshold),
        .action = ACTIONS[policy]};
    if (policy == WA_FP4_PRECISION_FP4 && choice.share < (float)options->fp4_floor) {
        choice.chosen = WA_FP4_PRECISION_FP8; /* always: vindex-format 3.8 */
        choice.action = "downgraded_fp4_to_fp8";
    }
    choice.file = FILES[projection][choice.chosen];
    return choice;
}

void wa_fp4_choose(const wa_extract_options *options, wa_format gate, const wa_compliance *scan,
                   wa_fp4_choice *out)
{
    wa_fp4_precision policy[WA_PROJECTION_COUNT] = {gate == WA_FORMAT_F16 ? WA_FP4_PRECISION_F16
                                                                          : WA_FP4_PRECISION_F32,
                                                    WA_FP4_PRECISION_FP4, DOWN[options->policy]};
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        out[p] = choose(options, scan, (wa_projection)p, policy[p]);
}

json_t *wa_fp4_index_object(const wa_model *model, const wa_extract_options *options,
                            const wa_fp4_choice *choices)
{
    json_t *projections = json_object();
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        json_object_set_new(projections, wa_projection_name((wa_projection)p),
                            json_pack("{s:s, s:s}", "precision", NAMES[choices[p].chosen], "file",
                                      choices[p].file));
    json_t *gate = json_pack("{s:f, s:f, s:s}", "threshold_ratio", options->fp4_threshold,
                             "min_compliant_fraction", options->fp4_floor, "fallback_precision",
                             NAMES[WA_FP4_PRECISION_FP8]);
    json_t *object = json_pack(
        "{s:i, s:i, s:i, s:s, s:s, s:s, s:o, s:o, s:s}", "fp4_format_version", 1, "block_elements",
        256, "sub_block_elements", WA_COMPLIANCE_CHUNK, "sub_block_scale_dtype", "fp8_e4m3",
        "block_scale_dtype", "fp8_e4m3", "value_encoding", "fp4_e2m1_mxfp4_nibble_order",
        "projections", projections, "compliance_gate", gate, "compliance_report", WA_FP4_REPORT);
    size_t padded;
    if (wa_pad256(model->hidden, &padded) && padded != model->hidden)
        json_object_set_new(object, "padded_hidden", json_integer((json_int_t)padded));
    return object;
}
