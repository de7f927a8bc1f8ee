/* What the result file says besides measured fields: names, tokens, formats, fingerprints. */
#include "engine/inputs.h"
#include "path/oracle.h"
#include "vindex/experts.h"

#include <math.h>

static wa_status escape_text(const wa_prompt *prompt, wa_arena *arena, const char **out,
                             wa_error *err)
{
    char *text;
    if (prompt->text == NULL) {
        *out = "";
        return WA_OK;
    }
    WA_TRY(wa_arena_take(arena, 2 * prompt->text_length + 1, 1, &text, err));
    size_t at = 0;
    for (size_t i = 0; i < prompt->text_length; i++) {
        if (prompt->text[i] == '\0') { /* HDF5 strings end at a NUL */
            text[at++] = '\\';
            text[at++] = '0';
        } else {
            text[at++] = prompt->text[i];
        }
    }
    *out = text;
    return WA_OK;
}

static wa_status fill_prompts(const wa_audit *audit, wa_result_meta *meta, wa_error *err)
{
    const char **key, **text;
    int32_t *rows;
    WA_TRY(wa_arena_take(audit->arena, audit->prompt_count, sizeof *key, &key, err));
    WA_TRY(wa_arena_take(audit->arena, audit->prompt_count, sizeof *text, &text, err));
    WA_TRY(wa_arena_take(audit->arena, audit->prompt_count, sizeof *rows, &rows, err));
    for (size_t p = 0; p < audit->prompt_count; p++) {
        key[p] = audit->prompts[p].key;
        rows[p] = (int32_t)audit->prompt_rows[p];
        text[p] = "";
        if (audit->job->texts)
            WA_TRY(escape_text(&audit->prompts[p], audit->arena, &text[p], err));
    }
    meta->prompt_key = key;
    meta->prompt_text = text;
    meta->prompt_rows = rows;
    return WA_OK;
}

static wa_status fill_tokens(const wa_audit *audit, wa_result_meta *meta, wa_error *err)
{
    const char **text;
    int32_t *prompt, *position;
    WA_TRY(wa_arena_take(audit->arena, audit->obs_count, sizeof *text, &text, err));
    WA_TRY(wa_arena_take(audit->arena, audit->obs_count, sizeof *prompt, &prompt, err));
    WA_TRY(wa_arena_take(audit->arena, audit->obs_count, sizeof *position, &position, err));
    size_t obs = 0;
    for (size_t p = 0; p < audit->prompt_count; p++)
        for (size_t row = 0; row < audit->prompt_rows[p]; row++, obs++) {
            char *made;
            WA_TRY(wa_audit_token_text(audit, audit->ids[obs], audit->arena, &made, err));
            text[obs] = made;
            prompt[obs] = (int32_t)p;
            position[obs] = (int32_t)row;
        }
    meta->token_id = audit->ids;
    meta->token_text = text;
    meta->obs_prompt = prompt;
    meta->obs_position = position;
    return WA_OK;
}

/* "Q4_1", or "Q4_1,Q8_0" when layers differ. */
static wa_status source_format(const wa_audit *audit, wa_projection projection, const char **out,
                               bool *requantised, wa_error *err)
{
    bool seen[WA_FORMAT_COUNT] = {false};
    char *text = NULL;
    for (size_t l = 0; l < audit->model->layer_count; l++) {
        const wa_layer *layer = &audit->model->layers[l];
        const wa_matrix *m = projection == WA_GATE ? &layer->gate
                             : projection == WA_UP ? &layer->up
                                                   : &layer->down;
        if (layer->experts != NULL) /* stored alike: the first stands for all */
            m = wa_expert_matrix(&layer->experts->experts[0], projection);
        if (m->rows == 0 || seen[m->format])
            continue;
        seen[m->format] = true;
        const wa_format_info *info = wa_format_get(m->format);
        *requantised = *requantised || wa_format_is_coarse(m->format);
        WA_TRY(wa_arena_print(audit->arena, &text, err, "%s%s%s", text == NULL ? "" : text,
                              text == NULL ? "" : ",", info->name));
    }
    *out = text == NULL ? "none" : text;
    return WA_OK;
}

static wa_status fill_cases(const wa_audit *audit, wa_result_meta *meta, wa_error *err)
{
    size_t layers = audit->model->layer_count;
    int8_t *expected;
    double *nominal;
    size_t per_payload = layers * WA_PROJECTION_COUNT;
    size_t nominal_count = audit->vindex_count * WA_PAYLOAD_COUNT * per_payload;
    WA_TRY(wa_arena_take(audit->arena, audit->cases.count * layers, 1, &expected, err));
    WA_TRY(wa_arena_take(audit->arena, nominal_count, sizeof *nominal, &nominal, err));
    for (size_t i = 0; i < nominal_count; i++)
        nominal[i] = NAN;
    for (size_t c = 0; c < audit->cases.count; c++) {
        const wa_case *which = &audit->cases.items[c];
        for (size_t l = 0; l < layers; l++)
            expected[c * layers + l] =
                (int8_t)(wa_case_serves(which, l) ? which->expected_label : WA_LABEL_NOT_SERVED);
        if (which->not_run != NULL)
            continue;
        for (size_t i = 0; i < WA_PAYLOAD_COUNT * per_payload; i++) {
            wa_payload payload = (wa_payload)(i / per_payload);
            wa_projection projection = (wa_projection)(i % WA_PROJECTION_COUNT);
            size_t layer = i % per_payload / WA_PROJECTION_COUNT;
            const wa_vindex *vindex = audit->vindexes[which->vindex];
            wa_matrix stored;
            if (!wa_case_reads_payload(which, payload, projection) ||
                wa_vindex_stack(vindex, payload, projection, layer) == 0)
                continue;
            WA_TRY(wa_vindex_stack_matrix(vindex, payload, projection, layer, 0, &stored, err));
            nominal[(size_t)which->vindex * WA_PAYLOAD_COUNT * per_payload + i] =
                wa_encoding_nominal(vindex, &stored);
        }
    }
    meta->expected_label = expected;
    meta->nominal_bound = nominal;
    meta->cases = audit->cases.items;
    meta->not_offered = audit->cases.not_offered;
    meta->not_offered_count = audit->cases.not_offered_count;
    return WA_OK;
}

static wa_status fill_layers(const wa_audit *audit, wa_result_meta *meta, wa_error *err)
{
    int32_t *experts;
    const wa_model *model = audit->model;
    WA_TRY(wa_arena_take(audit->arena, model->layer_count, sizeof *experts, &experts, err));
    for (size_t l = 0; l < model->layer_count; l++)
        experts[l] =
            model->layers[l].experts == NULL ? 0 : (int32_t)model->layers[l].experts->count;
    meta->layer_experts = experts;
    return WA_OK;
}

/* Pairs at which a case meets its oracle. */
static int64_t due_of(const wa_audit *audit, const wa_case *which)
{
    size_t pairs = 0, layers = audit->model->layer_count, obs = audit->obs_count;
    if (wa_case_oracle(which) == NULL)
        return 0;
    for (size_t l = 0; l < layers; l++)
        if (wa_case_serves(which, l))
            pairs += wa_sample_before(audit->job->kernel_check, obs, obs, l, layers);
    return (int64_t)pairs;
}

static wa_status fill_kernel_due(const wa_audit *audit, wa_result_meta *meta, wa_error *err)
{
    int64_t *due, *own;
    WA_TRY(wa_arena_take(audit->arena, audit->cases.count, sizeof *due, &due, err));
    WA_TRY(wa_arena_take(audit->arena, audit->cases.count, sizeof *own, &own, err));
    for (size_t c = 0; c < audit->cases.count; c++) {
        const wa_case *which = &audit->cases.items[c];
        due[c] = due_of(audit, which);
        own[c] = which->isolated ? 0 : due[c];
    }
    meta->kernel_due = due;
    meta->kernel_own_due = own;
    return WA_OK;
}

static wa_status fill_vindexes(const wa_audit *audit, wa_result_meta *meta, wa_error *err)
{
    const char **name, **path;
    WA_TRY(wa_arena_take(audit->arena, audit->vindex_count, sizeof *name, &name, err));
    WA_TRY(wa_arena_take(audit->arena, audit->vindex_count, sizeof *path, &path, err));
    for (size_t v = 0; v < audit->vindex_count; v++) {
        name[v] = audit->request->vindexes[v].name;
        path[v] = audit->request->vindexes[v].path;
    }
    meta->vindex_name = name;
    meta->vindex_path = path;
    return WA_OK;
}

static wa_status fill_warnings(const wa_audit *audit, wa_result_meta *meta, wa_error *err)
{
    char *text = NULL;
    for (size_t i = 0; i < audit->warnings.count; i++)
        WA_TRY(wa_arena_print(audit->arena, &text, err, "%s%s%s", text == NULL ? "" : text,
                              text == NULL ? "" : "\n", audit->warnings.items[i]));
    meta->warnings = text;
    meta->unread_tensors = audit->model->unread;
    meta->understood = audit->model->understood;
    meta->understood_count = audit->model->understood_count;
    return WA_OK;
}

wa_status wa_audit_meta(wa_audit *audit, const char *blas_core, wa_result_meta *out, wa_error *err)
{
    char *title;
    WA_TRY(wa_arena_print(audit->arena, &title, err, "walkaudit %s: %s", audit->job->name,
                          audit->request->name));
    wa_result_meta meta = {.title = title,
                           .source = "walkaudit " WALKAUDIT_VERSION " (" WALKAUDIT_COMMIT ")",
                           .job_name = audit->job->name,
                           .audit_name = audit->request->name,
                           .job_text = audit->job->text,
                           .model_path = audit->request->model,
                           .model_family = audit->model->family,
                           .semantics = wa_semantics_name(audit->job->semantics),
                           .bounds_name = audit->job->bounds,
                           .kernel_check = wa_kernel_check_name(audit->job->kernel_check),
                           .reference_dump = audit->request->reference_dump,
                           .dims = wa_audit_dims(audit),
                           .captures = audit->captures};
    WA_TRY(fill_warnings(audit, &meta, err));
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        WA_TRY(
            source_format(audit, (wa_projection)p, &meta.source_format[p], &meta.requantised, err));
    WA_TRY(fill_vindexes(audit, &meta, err));
    WA_TRY(wa_audit_reads(audit, &meta, err));
    WA_TRY(fill_prompts(audit, &meta, err));
    WA_TRY(fill_tokens(audit, &meta, err));
    WA_TRY(fill_cases(audit, &meta, err));
    WA_TRY(fill_layers(audit, &meta, err));
    WA_TRY(fill_kernel_due(audit, &meta, err));
    WA_TRY(wa_audit_fingerprint(audit, blas_core, &meta, err));
    *out = meta;
    return WA_OK;
}
