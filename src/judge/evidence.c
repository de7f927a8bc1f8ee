/* Evidence for one case's verdict, taken from the arrays of a result. */
#include "judge/evidence.h"

#include "path/evaluate.h"

static wa_encoding_figure figure_of(const wa_row_errors *e, size_t at, const char *file,
                                    double nominal)
{
    return (wa_encoding_figure){.checked = true,
                                .file = file,
                                .format = (wa_format)e->format[at],
                                .nominal_bound = nominal,
                                .rows = {.p50 = e->p50[at],
                                         .p99 = e->p99[at],
                                         .max = e->max[at],
                                         .worst_row = e->worst[at],
                                         .nonfinite = (size_t)e->nonfinite[at],
                                         .basis = (wa_encoding_basis)e->basis[at],
                                         .rows = (size_t)e->rows[at],
                                         .unequal = (size_t)e->unequal[at],
                                         .unequal_error = e->unequal_error[at],
                                         .unequal_row = e->unequal_row[at],
                                         .steps = e->steps[at],
                                         .steps_row = e->steps_row[at],
                                         .ratio = e->ratio[at],
                                         .gain = e->gain[at],
                                         .row_gain = e->row_gain[at],
                                         .row_gain_row = e->row_gain_row[at],
                                         .row_ratio = e->row_ratio[at],
                                         .row_ratio_row = e->row_ratio_row[at],
                                         .part_ratio = e->expert_ratio[at],
                                         .part_ratio_row = e->expert_ratio_row[at]}};
}

static bool reads(const wa_case *which, wa_projection projection)
{
    wa_payload ignored;
    return wa_case_reads(which, projection, &ignored);
}

static const char *file_of(const wa_result_meta *meta, size_t owner, wa_payload payload)
{
    bool named = meta->payload_file != NULL && meta->payload_file[owner][0] != '\0';
    return named ? meta->payload_file[owner] : wa_payload_file(payload);
}

/* What was compared of a projection in a payload at a layer; unchecked where nothing was. */
static void fill_figure(const wa_result *result, size_t vindex, wa_payload payload,
                        size_t projection, size_t layer, wa_encoding_figure *out)
{
    size_t owner = vindex * WA_PAYLOAD_COUNT + (size_t)payload;
    size_t at = (owner * result->meta.dims.layers + layer) * WA_PROJECTION_COUNT + projection;
    if (result->row_errors.checked[at] != 0)
        *out = figure_of(&result->row_errors, at, file_of(&result->meta, owner, payload),
                         result->meta.nominal_bound[at]);
}

/* Only the payloads that the case reads are evidence against it, where it is asked. */
static void fill_encoding(const wa_result *result, const wa_case *which, const int8_t *expected,
                          wa_encoding_figure *out)
{
    for (size_t layer = 0; layer < result->meta.dims.layers; layer++) {
        for (size_t p = 0; p < WA_PROJECTION_COUNT; p++) {
            wa_payload payload;
            if (expected[layer] != WA_LABEL_NOT_SERVED &&
                wa_case_reads(which, (wa_projection)p, &payload))
                fill_figure(result, (size_t)which->vindex, payload, p, layer,
                            &out[layer * WA_PROJECTION_COUNT + p]);
        }
    }
}

static bool reads_beside(const wa_case *which, size_t place)
{
    return wa_case_reads_payload(which, wa_beside_payload(place),
                                 (wa_projection)(place % WA_PROJECTION_COUNT));
}

/* Every layer has attention, and every router has rows; whether there is a bias, a norm, or a gate
 * of a shared expert, its file alone says. */
static wa_due due_of(const wa_result_meta *meta, const wa_case *which, size_t place)
{
    wa_payload payload = wa_beside_payload(place);
    size_t owner = (size_t)which->vindex * WA_PAYLOAD_COUNT + payload;
    bool there = meta->payload_file != NULL && meta->payload_file[owner][0] != '\0',
         first = place % WA_PROJECTION_COUNT == WA_GATE;
    if (!there)
        return WA_DUE_NEVER;
    if (wa_payload_is_of_model(payload))
        return payload == WA_PAYLOAD_ATTENTION || (payload == WA_PAYLOAD_ATTENTION_OUT && first)
                   ? WA_DUE_ALWAYS
                   : WA_DUE_NEVER;
    return payload != WA_PAYLOAD_ROUTER || first ? WA_DUE_WITH_EXPERTS : WA_DUE_NEVER;
}

/* Router and shared expert of layers with experts; what else a checkpoint has. */
static wa_status fill_beside(const wa_result *result, const wa_case *which, wa_arena *arena,
                             wa_evidence *out, wa_error *err)
{
    const wa_result_meta *meta = &result->meta;
    wa_encoding_figure *figures = NULL;
    wa_payload own;
    if (meta->layer_experts != NULL && meta->dims.choices > 0) {
        out->layer_experts = meta->layer_experts;
        out->reads_experts_alone =
            wa_case_reads(which, WA_UP, &own) && wa_payload_is_of_experts(own);
    }
    for (size_t place = 0; place < WA_BESIDE_COUNT; place++) {
        if (!reads_beside(which, place))
            continue;
        if (figures == NULL)
            WA_TRY(wa_arena_take(arena, meta->dims.layers * WA_BESIDE_COUNT, sizeof *figures,
                                 &figures, err));
        out->due_beside[place] = due_of(meta, which, place);
        for (size_t layer = 0; layer < meta->dims.layers; layer++)
            fill_figure(result, (size_t)which->vindex, wa_beside_payload(place),
                        place % WA_PROJECTION_COUNT, layer,
                        &figures[layer * WA_BESIDE_COUNT + place]);
    }
    out->encoding_beside = figures;
    return WA_OK;
}

/* What the run said; else a case that ran has the label of a kernel somewhere. */
static const char *not_run_reason(const wa_case *which, const int8_t *label, size_t count)
{
    if (which->not_run != NULL)
        return which->not_run;
    bool none = true, empty = count > 0;
    for (size_t i = 0; i < count; i++) {
        none = none && label[i] == WA_LABEL_NONE;
        empty = empty && label[i] == WA_LABEL_ZERO_FEATURES_DENSE;
    }
    if (none)
        return "no kernel ran at any layer";
    return empty ? "the vindex has no features at any layer" : NULL;
}

/* Every position of the case, with logits: all. */
static wa_status fill_rate_rows(const wa_result *r, size_t which, wa_arena *arena,
                                const wa_rate_rows **out, wa_error *err)
{
    wa_rate_rows *rows;
    size_t first = which * r->meta.dims.rows;
    *out = NULL;
    if (!r->meta.dims.logits_all || r->meta.cases[which].isolated)
        return WA_OK;
    WA_TRY(wa_arena_take(arena, 1, sizeof *rows, &rows, err));
    *rows = (wa_rate_rows){.obs = r->meta.dims.rows,
                           .obs_prompt = r->meta.obs_prompt,
                           .token_id = r->meta.token_id,
                           .kl = r->obs_kl + first,
                           .top1_match = r->obs_top1_match + first,
                           .top1_gap = r->obs_top1_gap + first,
                           .ref_next_logprob = r->obs_ref_next_logprob,
                           .next_logprob = r->obs_next_logprob + first};
    *out = rows;
    return WA_OK;
}

wa_status wa_evidence_build(const wa_result *result, size_t which, wa_arena *arena,
                            wa_case_judgement *out, wa_error *err)
{
    const wa_result_meta *meta = &result->meta;
    const wa_dims *dims = &meta->dims;
    const wa_case *it = &meta->cases[which];
    wa_encoding_figure *encoding;
    WA_TRY(
        wa_arena_take(arena, dims->layers * WA_PROJECTION_COUNT, sizeof *encoding, &encoding, err));
    fill_encoding(result, it, meta->expected_label + which * dims->layers, encoding);
    const int8_t *labels = result->label + which * dims->layers * dims->prompts;
    out->evidence = (wa_evidence){
        .case_name = it->name,
        .not_run_reason = not_run_reason(it, labels, dims->layers * dims->prompts),
        .bucket = it->bucket,
        .isolated = it->isolated,
        .layers = dims->layers,
        .prompts = dims->prompts,
        .topk = dims->slots,
        .label = labels,
        .expected_label = meta->expected_label + which * dims->layers,
        .encoding = encoding,
        .reads = {reads(it, WA_GATE), reads(it, WA_UP), reads(it, WA_DOWN)},
        .summary = &out->summary,
        .kernel_tolerance = it->kernel_tolerance,
        .repeat =
            result->repeat == NULL ? NULL : result->repeat + which * dims->layers * dims->prompts,
        .alike =
            result->alike == NULL ? NULL : result->alike + which * dims->layers * dims->prompts,
        .kernel_due = meta->kernel_due[which],
        .kernel_own_due = meta->kernel_own_due[which],
        .prompt_key = meta->prompt_key,
        .obs_prompt = meta->obs_prompt,
        .obs_position = meta->obs_position,
        .token_text = meta->token_text,
        .top1_gap = result->top1_gap + which * dims->prompts,
        .top1_match = result->top1_match + which * dims->prompts,
        .prob_delta = result->prob_delta + which * dims->prompts,
        .kl = result->kl + which * dims->prompts,
        .top1_text = result->top1_text + which * dims->prompts,
        .ref_top1_text = result->ref_top1_text};
    WA_TRY(fill_beside(result, it, arena, &out->evidence, err));
    return fill_rate_rows(result, which, arena, &out->evidence.rate_rows, err);
}
