/* Opening an audit: model, vindexes, cases and prompts of one entry of a job. */
#include "engine/audit.h"

#include "base/foreign.h"
#include "base/spell.h"
#include "path/external.h"
#include "path/oracle.h"
#include "remote/remote.h"
#include "vindex/order.h"

#include <stdlib.h>

static wa_status take_model_notes(wa_audit *audit, wa_error *err)
{
    audit->warnings = (wa_notes){.arena = audit->arena};
    for (size_t i = 0; i < audit->model->note_count; i++)
        WA_TRY(wa_notes_add(&audit->warnings, err, "model: %s", audit->model->notes[i]));
    return WA_OK;
}

static wa_status open_vindex(wa_audit *audit, const wa_job_vindex *asked, wa_vindex **out,
                             wa_error *err)
{
    const wa_model_options options = {.semantics = audit->job->semantics,
                                      .allow_unread = audit->job->allow_unread};
    if (!asked->is_checkpoint)
        return wa_vindex_open(asked->path, audit->arena, out, err);
    WA_TRY(wa_vindex_open_checkpoint(asked->path, &options, audit->arena, out, err));
    for (size_t i = 0; i < (*out)->note_count; i++)
        if (wa_notes_add(&audit->warnings, err, "checkpoint %s: %s", asked->name,
                         (*out)->notes[i]) != WA_OK) {
            wa_vindex_close(*out);
            return err->status;
        }
    return WA_OK;
}

static wa_status open_vindexes(wa_audit *audit, wa_error *err)
{
    size_t count = audit->request->vindex_count;
    WA_TRY(wa_arena_take(audit->arena, count, sizeof *audit->vindexes, &audit->vindexes, err));
    for (size_t v = 0; v < count; v++) {
        WA_TRY(open_vindex(audit, &audit->request->vindexes[v], &audit->vindexes[v], err));
        audit->vindex_count = v + 1;
        if (wa_vindex_match(audit->model, audit->vindexes[v], err) != WA_OK)
            return wa_note(err, "model '%s' and vindex '%s'", audit->request->model,
                           audit->request->vindexes[v].path);
        WA_TRY(wa_vindex_settle_orders(audit->vindexes[v], audit->model, audit->arena, err));
        WA_TRY(wa_vindex_settle_experts(audit->vindexes[v], audit->model, audit->arena, err));
        WA_TRY(wa_vindex_contradict(audit->model, audit->vindexes[v],
                                    audit->request->vindexes[v].name, &audit->warnings, err));
    }
    return WA_OK;
}

static wa_status build_cases(wa_audit *audit, wa_error *err)
{
    wa_case_input *inputs;
    WA_TRY(wa_arena_take(audit->arena, audit->vindex_count, sizeof *inputs, &inputs, err));
    for (size_t v = 0; v < audit->vindex_count; v++) {
        const wa_job_vindex *asked = &audit->request->vindexes[v];
        bool own = asked->paths != NULL;
        inputs[v] =
            (wa_case_input){.name = asked->name,
                            .vindex = audit->vindexes[v],
                            .ladder = audit->job->ladder,
                            .requests = own ? asked->paths : audit->job->paths,
                            .request_count = own ? asked->path_count : audit->job->path_count,
                            .required = own,
                            .whole = asked->whole};
    }
    return wa_cases_build(inputs, audit->vindex_count, audit->model, audit->arena, &audit->cases,
                          err);
}

/* Every rank loads every kernel: which of them run where is decided later. */
static wa_status open_externals(wa_audit *audit, wa_error *err)
{
    const char *model = audit->request->model;
    WA_TRY(wa_arena_take(audit->arena, audit->cases.count, sizeof *audit->externals,
                         &audit->externals, err));
    for (size_t c = 0; c < audit->cases.count; c++) {
        wa_case *which = &audit->cases.items[c];
        const char *vindex = audit->request->vindexes[which->vindex].path;
        if (which->library == NULL || which->not_run != NULL)
            continue;
        WA_TRY(wa_external_load(which, audit->model, model, vindex, audit->arena,
                                &audit->externals[c], err));
        which->external = audit->externals[c];
        if (which->external->modes != 0)
            WA_TRY(wa_notes_add(&audit->warnings, err,
                                "case %s: loading its library changed %s of this process; put back",
                                which->name, wa_modes_text(which->external->modes)));
    }
    return WA_OK;
}

wa_status wa_audit_open_files(wa_audit *audit, wa_error *err)
{
    wa_dims dims = wa_audit_dims(audit);
    wa_served_options servers = {.seconds = audit->job->served_timeout,
                                 .retries = audit->job->served_retries,
                                 .prompts = audit->prompt_count};
    for (size_t p = 0; p < audit->prompt_count; p++)
        servers.longest =
            audit->prompt_rows[p] > servers.longest ? audit->prompt_rows[p] : servers.longest;
    for (size_t c = 0; c < audit->cases.count; c++) {
        wa_case *which = &audit->cases.items[c];
        const char *vindex = audit->request->vindexes[which->vindex].path;
        wa_external **external = &audit->externals[c];
        if (which->not_run == NULL && which->file != NULL)
            WA_TRY(wa_external_open_file(which, &dims, audit->model->hidden, audit->ids,
                                         audit->arena, external, err));
        if (which->not_run == NULL && which->command != NULL)
            WA_TRY(wa_external_start(which, audit->model, audit->request->model, vindex,
                                     audit->arena, external, err));
        if (which->not_run == NULL && which->url != NULL)
            WA_TRY(wa_external_connect(which, audit->model, &servers, audit->arena, external,
                                       &which->not_run, err));
        if (*external != NULL)
            which->external = *external;
    }
    if (audit->request->reference_dump == NULL)
        return WA_OK;
    const wa_dump_subject subject = {.semantics = wa_semantics_name(audit->job->semantics),
                                     .layers = audit->model->layer_count,
                                     .hidden = audit->model->hidden,
                                     .vocab = audit->model->vocab,
                                     .prompts = audit->prompt_count,
                                     .key = audit->prompt_key,
                                     .rows = audit->prompt_rows,
                                     .ids = audit->ids};
    return wa_dump_open(audit->request->reference_dump, &subject, audit->arena, &audit->dump, err);
}

static wa_status no_such_case(const wa_audit *audit, size_t place, const char *name, wa_error *err)
{
    const char **known;
    char hint[WA_SPELL_HINT];
    WA_TRY(wa_arena_take(audit->arena, audit->cases.count, sizeof *known, &known, err));
    for (size_t c = 0; c < audit->cases.count; c++)
        known[c] = audit->cases.items[c].name;
    wa_spell_hint(name, known, audit->cases.count, hint);
    return wa_fail(err, WA_E_JOB, "captures.cases[%zu]: no case is called '%s'%s", place, name,
                   hint);
}

static wa_status choose_cases(const wa_audit *audit, uint8_t *chosen, wa_error *err)
{
    const wa_job_captures *asked = &audit->job->captures;
    if (asked->case_count == 0)
        memset(chosen, 1, audit->cases.count);
    for (size_t i = 0; i < asked->case_count; i++) {
        size_t c = 0;
        while (c < audit->cases.count && strcmp(audit->cases.items[c].name, asked->cases[i]) != 0)
            c++;
        if (c == audit->cases.count)
            return no_such_case(audit, i, asked->cases[i], err);
        chosen[c] = 1;
    }
    return WA_OK;
}

static wa_status choose_layers(const wa_audit *audit, uint8_t *chosen, wa_error *err)
{
    const wa_job_captures *asked = &audit->job->captures;
    size_t layers = audit->model->layer_count;
    if (asked->layer_count == 0)
        memset(chosen, 1, layers);
    for (size_t i = 0; i < asked->layer_count; i++) {
        if ((uint64_t)asked->layers[i] >= layers)
            return wa_fail(
                err, WA_E_JOB,
                "captures.layers[%zu]: the model has no layer %lld, its layers are 0 to %zu", i,
                (long long)asked->layers[i], layers - 1);
        chosen[asked->layers[i]] = 1;
    }
    return WA_OK;
}

static wa_status choose_captures(wa_audit *audit, wa_error *err)
{
    const wa_job_captures *asked = &audit->job->captures;
    wa_captures *captures;
    uint8_t *cases, *layers;
    if (!asked->asked)
        return WA_OK;
    WA_TRY(wa_arena_take(audit->arena, 1, sizeof *captures, &captures, err));
    WA_TRY(wa_arena_take(audit->arena, audit->cases.count, 1, &cases, err));
    WA_TRY(wa_arena_take(audit->arena, audit->model->layer_count, 1, &layers, err));
    WA_TRY(choose_cases(audit, cases, err));
    WA_TRY(choose_layers(audit, layers, err));
    *captures = (wa_captures){.layer = layers,
                              .of_case = cases,
                              .layer_count = audit->model->layer_count,
                              .case_count = audit->cases.count,
                              .hidden = audit->model->hidden};
    for (size_t i = 0; i < asked->tensor_count; i++)
        for (int t = 0; t < WA_CAPTURE_TENSORS; t++)
            if (strcmp(asked->tensors[i], wa_capture_name((wa_capture_tensor)t)) == 0)
                captures->tensor[t] = true;
    audit->captures = captures;
    return WA_OK;
}

wa_status wa_audit_open(const wa_job *job, size_t index, wa_arena *arena, wa_audit **out,
                        wa_error *err)
{
    wa_audit *audit;
    WA_TRY(wa_arena_take(arena, 1, sizeof *audit, &audit, err));
    audit->job = job;
    audit->request = &job->audits[index];
    audit->arena = arena;
    const wa_model_options options = {.semantics = job->semantics,
                                      .allow_unread = job->allow_unread};
    wa_status status =
        wa_model_open_with(audit->request->model, &options, arena, &audit->model, err);
    if (status == WA_OK)
        status = take_model_notes(audit, err);
    if (status == WA_OK)
        status = open_vindexes(audit, err);
    if (status == WA_OK)
        status = build_cases(audit, err);
    if (status == WA_OK)
        status = open_externals(audit, err);
    if (status == WA_OK)
        status = choose_captures(audit, err);
    if (status != WA_OK) {
        wa_audit_close(audit);
        return wa_note(err, "in audit '%s'", audit->request->name);
    }
    *out = audit;
    return WA_OK;
}

void wa_audit_close(wa_audit *audit)
{
    if (audit == NULL)
        return;
    wa_tokenizer_close(audit->tokenizer);
    wa_dump_close(audit->dump);
    for (size_t c = 0; audit->externals != NULL && c < audit->cases.count; c++)
        wa_external_close(audit->externals[c]);
    for (size_t v = 0; v < audit->vindex_count; v++)
        wa_vindex_close(audit->vindexes[v]);
    wa_model_close(audit->model);
}

/* --- Prompts ---------------------------------------------------------------------------------- */

static wa_status prompt_ids(wa_audit *audit, const wa_prompt *prompt, const int32_t **ids,
                            size_t *count, wa_error *err)
{
    if (prompt->ids != NULL) {
        *ids = prompt->ids;
        *count = prompt->id_count;
    } else {
        int32_t *made;
        WA_TRY(wa_tokenizer_encode(audit->tokenizer, prompt->text, prompt->text_length,
                                   audit->arena, &made, count, err));
        *ids = made;
    }
    if (prompt->max_tokens != 0 && *count > prompt->max_tokens)
        *count = prompt->max_tokens;
    if (*count == 0)
        return wa_fail(err, WA_E_FORMAT, "the prompt has no tokens; expected at least one");
    for (size_t i = 0; i < *count; i++)
        if ((*ids)[i] < 0 || (size_t)(*ids)[i] >= audit->model->embedding.rows)
            return wa_fail(err, WA_E_FORMAT,
                           "token id %d at position %zu; the model has ids 0 to %zu",
                           (int)(*ids)[i], i, audit->model->embedding.rows - 1);
    return WA_OK;
}

static wa_status encode_prompts(wa_audit *audit, wa_error *err)
{
    const int32_t **parts;
    WA_TRY(wa_arena_take(audit->arena, audit->prompt_count, sizeof *parts, &parts, err));
    WA_TRY(wa_arena_take(audit->arena, audit->prompt_count, sizeof *audit->prompt_rows,
                         &audit->prompt_rows, err));
    for (size_t p = 0; p < audit->prompt_count; p++) {
        if (prompt_ids(audit, &audit->prompts[p], &parts[p], &audit->prompt_rows[p], err) != WA_OK)
            return wa_note(err, "in prompt '%s'", audit->prompts[p].key);
        audit->obs_count += audit->prompt_rows[p];
    }
    WA_TRY(wa_arena_take(audit->arena, audit->obs_count, sizeof *audit->ids, &audit->ids, err));
    size_t at = 0;
    for (size_t p = 0; p < audit->prompt_count; p++) {
        memcpy(audit->ids + at, parts[p], audit->prompt_rows[p] * sizeof *audit->ids);
        at += audit->prompt_rows[p];
    }
    return WA_OK;
}

wa_status wa_audit_token_text(const wa_audit *audit, int32_t id, wa_arena *arena, char **out,
                              wa_error *err)
{
    char *text = NULL;
    if (audit->tokenizer != NULL && audit->job->texts)
        WA_TRY(wa_tokenizer_text(audit->tokenizer, id, arena, &text, err));
    *out = text;
    if (text != NULL && text[0] != '\0')
        return WA_OK;
    *out = NULL;
    return wa_arena_print(arena, out, err, "#%d", (int)id);
}

/* Prompts of ids are computed without a tokenizer; only the texts of their tokens are lacking
 * then. */
static wa_status open_tokenizer(wa_audit *audit, wa_error *err)
{
    bool needed = false;
    for (size_t p = 0; p < audit->prompt_count; p++)
        needed = needed || audit->prompts[p].ids == NULL;
    wa_status status = wa_tokenizer_open(audit->request->model, &audit->tokenizer, err);
    if (status == WA_OK || status == WA_E_MEMORY || needed)
        return status;
    wa_error why = *err;
    *err = (wa_error){.status = WA_OK};
    audit->tokenizer = NULL;
    return wa_notes_add(&audit->warnings, err, "tokens have no texts, all prompts being ids: %s",
                        why.text);
}

/* A token's number means the same text in both, as far as both say: what only one of them has is
 * nobody's token. */
static wa_status match_ids(const wa_audit *audit, const char *name, const wa_tokenizer *theirs,
                           wa_error *err)
{
    size_t own_count = wa_tokenizer_id_count(audit->tokenizer),
           count = wa_tokenizer_id_count(theirs);
    count = wa_size_min(wa_size_min(own_count, count), audit->model->vocab);
    for (size_t id = 0; id < count; id++) {
        size_t length = 0, own_length = 0;
        const char *piece = wa_tokenizer_piece(theirs, (int32_t)id, &length);
        const char *own = wa_tokenizer_piece(audit->tokenizer, (int32_t)id, &own_length);
        if (piece != NULL && own != NULL &&
            (length != own_length || memcmp(piece, own, length) != 0))
            return wa_fail(
                err, WA_E_MISMATCH,
                "checkpoint '%s': token %zu is '%.*s' in '%s', expected '%.*s' as in '%s'", name,
                id, (int)length, piece, wa_tokenizer_source(theirs), (int)own_length, own,
                wa_tokenizer_source(audit->tokenizer));
    }
    return WA_OK;
}

/* Vocabularies of checkpoints whose logits are compared with the model's. */
static wa_status match_vocabularies(wa_audit *audit, wa_error *err)
{
    for (size_t c = 0; c < audit->cases.count; c++) {
        const wa_case *which = &audit->cases.items[c];
        if (which->stream == NULL || which->not_run != NULL)
            continue;
        const char *name = audit->request->vindexes[which->vindex].name;
        size_t vocab = which->stream->vocab;
        if (vocab > audit->model->vocab)
            WA_TRY(wa_notes_add(
                &audit->warnings, err,
                "checkpoint %s: %zu rows of its output matrix are ignored, the model has %zu", name,
                vocab - audit->model->vocab, audit->model->vocab));
        wa_tokenizer *theirs = NULL;
        wa_status status =
            audit->tokenizer == NULL ? WA_OK : wa_tokenizer_open(which->stream->path, &theirs, err);
        if (status == WA_E_MEMORY)
            return status;
        if (theirs == NULL) { /* nobody can say which text its ids mean */
            *err = (wa_error){.status = WA_OK};
            WA_TRY(wa_notes_add(
                &audit->warnings, err,
                "checkpoint %s: nothing tells whether its token ids are the model's", name));
            continue;
        }
        status = match_ids(audit, name, theirs, err);
        wa_tokenizer_close(theirs);
        WA_TRY(status);
    }
    return WA_OK;
}

wa_status wa_audit_tokenize(wa_audit *audit, wa_error *err)
{
    wa_prompt *prompts;
    WA_TRY(wa_prompts_open(audit->job, audit->arena, &prompts, &audit->prompt_count, err));
    audit->prompts = prompts;
    WA_TRY(open_tokenizer(audit, err));
    WA_TRY(match_vocabularies(audit, err));
    const char **key;
    WA_TRY(wa_arena_take(audit->arena, audit->prompt_count, sizeof *key, &key, err));
    for (size_t p = 0; p < audit->prompt_count; p++)
        key[p] = prompts[p].key;
    audit->prompt_key = key;
    return encode_prompts(audit, err);
}

/* --- Planning --------------------------------------------------------------------------------- */

/* Scores and weighted sum are operations of sgemm; a softmax of f64 exponentials takes as long as
 * so many of them per score (measured: 4096 rows of SmolLM2, 16 ns of CPU time a score beside sgemm
 * at 64 GFLOP/s). */
static const double SOFTMAX_OPERATIONS = 700.0;
/* Decoding and packing a matrix takes as long as the products of so many rows with it. Measured: 9
 * to 15 where one matrix is used over and over (tests/bench/bench_products.c), 20 to 33 in whole
 * runs, whose weights come from the page cache. */
static const double PACKING_ROWS = 24.0;

/* Of unlike layers those with experts count. */
static size_t dearest_layer(const wa_model *model)
{
    size_t first = wa_model_expert_layer(model);
    return first < model->layer_count ? first : 0;
}

static wa_experts_cost experts_cost(const wa_case *which, const wa_walk_layer *layer)
{
    return (wa_experts_cost){.flops_per_row = wa_case_expert_flops(which, layer, 1),
                             .bytes = wa_case_expert_bytes(which, layer)};
}

static size_t expert_layers(const wa_model *model)
{
    size_t count = 0;
    for (size_t l = 0; l < model->layer_count; l++)
        count += model->layers[l].experts != NULL ? 1 : 0;
    return count;
}

/* A stream of its own has attention, embedding and head of its own. */
static void add_stream(const wa_model *stream, size_t layer, wa_case_cost *cost)
{
    if (stream == NULL)
        return;
    cost->layer_bytes += wa_model_attention_bytes(stream, layer);
    cost->head_bytes = wa_model_head_bytes(stream);
}

static wa_status case_costs(const wa_audit *audit, wa_case_cost **out, wa_error *err)
{
    wa_case_cost *costs;
    const wa_case *before = NULL;
    wa_walk_layer layer, layer_before;
    WA_TRY(wa_arena_take(audit->arena, audit->cases.count, sizeof *costs, &costs, err));
    for (size_t c = 0; c < audit->cases.count; c++) {
        const wa_case *which = &audit->cases.items[c];
        if (which->not_run != NULL)
            continue;
        WA_TRY(wa_case_open_layer(which, audit->model, audit->vindexes[which->vindex],
                                  dearest_layer(audit->model), &layer, err));
        costs[c] = (wa_case_cost){
            .flops_per_row = wa_case_flops(which, &layer, 1),
            .oracle_numbers =
                wa_case_oracle(which) == NULL ? 0.0 : wa_case_flops(which, &layer, 1) / 2.0,
            .layer_bytes = wa_case_bytes(which, &layer),
            .experts = experts_cost(which, &layer),
            .repeats = before != NULL && wa_case_is_same(before, &layer_before, which, &layer)};
        add_stream(which->stream, dearest_layer(audit->model), &costs[c]);
        before = which;
        layer_before = layer;
    }
    *out = costs;
    return WA_OK;
}

wa_checked wa_audit_checked(const wa_audit *audit)
{
    return (wa_checked){.model = audit->model,
                        .vindexes = (const wa_vindex *const *)audit->vindexes,
                        .cases = audit->cases.items,
                        .vindex_count = audit->vindex_count,
                        .case_count = audit->cases.count};
}

/* What the encoding check takes: arrays by vindex, in the audit's arena. */
typedef struct checks_cost {
    wa_compared *compared; /* NULL: the job leaves it out */
    size_t memory;
} checks_cost;

static wa_status sum_checks(const wa_audit *audit, checks_cost *out, wa_error *err)
{
    const wa_checked of = wa_audit_checked(audit);
    if (!audit->job->encoding_check)
        return WA_OK;
    WA_TRY(wa_arena_take(audit->arena, audit->vindex_count, sizeof *out->compared, &out->compared,
                         err));
    for (size_t v = 0; v < audit->vindex_count; v++) {
        wa_checked_cost cost;
        WA_TRY(wa_checked_sum_costs(&of, v, &cost, err));
        out->compared[v] = (wa_compared){cost.numbers, cost.bytes};
        out->memory = cost.memory > out->memory ? cost.memory : out->memory;
    }
    return WA_OK;
}

wa_status wa_audit_plan_input(const wa_audit *audit, int nodes, size_t node_memory,
                              wa_plan_input *out, wa_error *err)
{
    const wa_model *model = audit->model;
    size_t q_width = model->q_heads * model->head_dim;
    size_t kv_width = model->kv_heads * model->head_dim;
    wa_case_cost *costs;
    checks_cost checks = {0};
    WA_TRY(case_costs(audit, &costs, err));
    WA_TRY(sum_checks(audit, &checks, err));
    wa_case dense = wa_case_dense();
    wa_walk_layer layer;
    size_t first = dearest_layer(model);
    WA_TRY(wa_case_open_layer(&dense, model, NULL, first, &layer, err));
    *out = (wa_plan_input){
        .layer_count = model->layer_count,
        .attention_flops_per_row = 4.0 * (double)(q_width + kv_width) * (double)model->hidden,
        .attention_flops_per_pair =
            (double)model->q_heads * (4.0 * (double)model->head_dim + SOFTMAX_OPERATIONS),
        .dense_flops_per_row = wa_case_flops(&dense, &layer, 1),
        .head_flops_per_row = 2.0 * (double)model->vocab * (double)model->hidden,
        .layer_bytes = wa_model_layer_bytes(model, first),
        .head_bytes = wa_model_head_bytes(model),
        .hidden = model->hidden,
        .intermediate = wa_model_widest_ffn(model),
        .expert_count = layer.experts != NULL ? layer.experts->count : 0,
        .expert_choices = layer.experts != NULL ? layer.experts->chosen : 0,
        .expert_layers = expert_layers(model),
        .experts = experts_cost(&dense, &layer),
        .kv_width = kv_width,
        .q_width = q_width,
        .vocab = model->vocab,
        .prompt_rows = audit->prompt_rows,
        .prompt_count = audit->prompt_count,
        .cases = costs,
        .case_count = audit->cases.count,
        .vindex_count = audit->vindex_count,
        .compared = checks.compared,
        .batch_rows = audit->job->batch_rows,
        .batches_are_fixed = audit->job->engine == WA_ENGINE_BLAS, /* its bits depend on them */
        .packing_rows = PACKING_ROWS,
        .logits_all = audit->job->logits_all,
        .kernel_check = audit->job->kernel_check,
        .check_memory = checks.memory,
        .stages = audit->job->grid_stages,
        .teams = audit->job->grid_teams,
        .spreading = audit->job->grid_experts,
        .nodes = nodes,
        .node_memory = node_memory,
    };
    return WA_OK;
}

wa_dims wa_audit_dims(const wa_audit *audit)
{
    size_t expert = wa_model_expert_layer(audit->model);
    size_t slots = audit->job->topk < audit->model->vocab ? audit->job->topk : audit->model->vocab;
    return (wa_dims){
        .cases = audit->cases.count,
        .layers = audit->model->layer_count,
        .rows = audit->obs_count,
        .prompts = audit->prompt_count,
        .slots = slots,
        .vindexes = audit->vindex_count,
        .choices =
            expert < audit->model->layer_count ? audit->model->layers[expert].experts->chosen : 0,
        .experts =
            expert < audit->model->layer_count ? audit->model->layers[expert].experts->count : 0,
        .logits_all = audit->job->logits_all};
}

wa_status wa_audit_result_path(const wa_audit *audit, const char *out_file, char **out,
                               wa_error *err)
{
    if (out_file != NULL)
        return wa_arena_copy(audit->arena, out_file, strlen(out_file), out, err);
    return wa_job_result_path(audit->job, audit->request, audit->arena, out, err);
}
