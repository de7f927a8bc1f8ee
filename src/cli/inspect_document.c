/* walkaudit inspect --json: what a model, a vindex or a result file is, as members of one
 * object. */
#include "cli/inspect.h"

#include "cli/document.h"
#include "judge/judgement.h"
#include "model/model.h"
#include "vindex/experts.h"
#include "vindex/flags.h"

#include <string.h>
#include <sys/stat.h>

static json_t *texts_of(const char *const *texts, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, wa_json_text(texts[i]));
    return list;
}

static json_t *files_of(const char *const *files, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        struct stat info;
        json_int_t bytes = stat(files[i], &info) == 0 ? (json_int_t)info.st_size : 0;
        json_array_append_new(
            list, json_pack("{s:o, s:I}", "path", wa_json_text(files[i]), "bytes", bytes));
    }
    return list;
}

/* Members that models and vindexes have in common. */
static void set_shape(json_t *object, size_t layers, size_t hidden, size_t intermediate,
                      size_t vocab)
{
    json_object_set_new(object, "layers", json_integer((json_int_t)layers));
    json_object_set_new(object, "hidden", json_integer((json_int_t)hidden));
    json_object_set_new(object, "intermediate", json_integer((json_int_t)intermediate));
    json_object_set_new(object, "vocabulary", json_integer((json_int_t)vocab));
}

/* Layers with experts, each by itself. */
static json_t *model_experts_of(const wa_model *model)
{
    json_t *list = json_array();
    for (size_t l = 0; l < model->layer_count; l++) {
        const wa_experts *experts = model->layers[l].experts;
        if (experts == NULL)
            continue;
        const wa_matrix *up = &experts->experts[0].up;
        json_array_append_new(list, json_pack("{s:I, s:I, s:I, s:I, s:I, s:s}", "layer",
                                              (json_int_t)l, "experts", (json_int_t)experts->count,
                                              "chosen", (json_int_t)experts->chosen, "features",
                                              (json_int_t)up->rows, "shared_features",
                                              (json_int_t)experts->shared.up.rows, "format",
                                              wa_format_get(up->format)->name));
    }
    return list;
}

wa_status wa_inspect_model_members(const char *path, wa_arena *arena, json_t *object, wa_error *err)
{
    const wa_model_options options = {.semantics = WA_SEMANTICS_NATIVE, .allow_unread = true};
    wa_model *model;
    WA_TRY(wa_model_open_with(path, &options, arena, &model, err));
    json_t *understood = json_object();
    for (size_t i = 0; i < model->understood_count; i++)
        json_object_set_new(understood, model->understood[i].name,
                            wa_json_text(model->understood[i].text));
    json_object_set_new(object, "kind", json_string("model"));
    json_object_set_new(object, "path", wa_json_text(model->path));
    json_object_set_new(object, "container", wa_json_text(model->container));
    json_object_set_new(object, "family", wa_json_text(model->family));
    json_object_set_new(object, "gated", json_boolean(model->gated));
    set_shape(object, model->layer_count, model->hidden, model->intermediate, model->vocab);
    json_object_set_new(object, "experts", model_experts_of(model));
    json_object_set_new(object, "understood", understood);
    json_object_set_new(object, "refused", json_boolean(model->unread > 0));
    json_object_set_new(object, "files", files_of(model->files, model->file_count));
    json_object_set_new(object, "notes", texts_of(model->notes, model->note_count));
    wa_model_close(model);
    return WA_OK;
}

static json_t *payloads_of(const wa_vindex *vindex)
{
    json_t *list = json_array();
    for (int p = 0; p < WA_PAYLOAD_COUNT; p++)
        if (vindex->present[p])
            json_array_append_new(list, json_pack("{s:s, s:b}", "file",
                                                  wa_vindex_file(vindex, (wa_payload)p), "readable",
                                                  vindex->readable[p] ? 1 : 0));
    return list;
}

/* Layers with a file of their own; one of a single entry holds a dense FFN, or one expert. */
static json_t *vindex_experts_of(const wa_vindex *vindex)
{
    json_t *list = json_array();
    for (size_t l = 0; l < vindex->layer_count; l++) {
        wa_layer_store store = wa_vindex_layer_store(vindex, l);
        if (store.entries == 0)
            continue;
        json_array_append_new(list, json_pack("{s:I, s:I, s:I, s:s, s:b, s:b, s:b, s:b}", "layer",
                                              (json_int_t)l, "experts", (json_int_t)store.entries,
                                              "features", (json_int_t)store.features, "format",
                                              store.format_name, "padded", store.unpadded ? 0 : 1,
                                              "router", store.has_router ? 1 : 0, "router_bias",
                                              store.has_router_bias ? 1 : 0, "biases",
                                              store.has_biases ? 1 : 0));
    }
    return list;
}

/* Names of cases of a vindex begin with "vindex:". */
static json_t *vindex_cases_of(const wa_cases *cases)
{
    json_t *list = json_array();
    for (size_t c = 0; c < cases->count; c++)
        json_array_append_new(list,
                              wa_cli_case(&cases->items[c], strchr(cases->items[c].name, ':') + 1));
    return list;
}

static json_t *not_offered_of(const wa_not_offered *items, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:s, s:o}", "path", items[i].path, "reason",
                                              wa_json_text(items[i].reason)));
    return list;
}

static wa_status set_vindex(const wa_vindex *vindex, wa_arena *arena, json_t *object, wa_error *err)
{
    wa_cases cases;
    wa_vindex_flags flags = wa_vindex_upstream_flags(vindex);
    WA_TRY(wa_inspect_list_cases(vindex, arena, &cases, err));
    json_object_set_new(object, "kind", json_string("vindex"));
    json_object_set_new(object, "path", wa_json_text(vindex->path));
    json_object_set_new(object, "model", wa_json_text(vindex->model));
    json_object_set_new(object, "family", wa_json_text(vindex->family));
    set_shape(object, vindex->layer_count, vindex->hidden, vindex->intermediate, vindex->vocab);
    json_object_set_new(object, "bucket", wa_json_text(wa_vindex_upstream_bucket(&flags)));
    json_object_set_new(object, "payloads", payloads_of(vindex));
    json_object_set_new(object, "experts", vindex_experts_of(vindex));
    json_object_set_new(object, "cases", vindex_cases_of(&cases));
    json_object_set_new(object, "not_offered",
                        not_offered_of(cases.not_offered, cases.not_offered_count));
    json_object_set_new(object, "files", files_of(vindex->files, vindex->file_count));
    json_object_set_new(object, "notes", texts_of(vindex->notes, vindex->note_count));
    return WA_OK;
}

wa_status wa_inspect_vindex_members(const char *path, wa_arena *arena, json_t *object,
                                    wa_error *err)
{
    wa_vindex *vindex;
    WA_TRY(wa_vindex_open(path, arena, &vindex, err));
    wa_status status = set_vindex(vindex, arena, object, err);
    wa_vindex_close(vindex);
    return status;
}

/* Layers with experts, and how many of these no row of the prompts chose. */
static json_t *result_experts_of(const wa_result *result)
{
    const wa_result_meta *meta = &result->meta;
    json_t *list = json_array();
    for (size_t l = 0; l < meta->dims.layers && result->expert_rows != NULL; l++) {
        if (meta->layer_experts[l] > 0)
            json_array_append_new(list,
                                  json_pack("{s:I, s:I, s:I}", "layer", (json_int_t)l, "experts",
                                            (json_int_t)meta->layer_experts[l], "never_chosen",
                                            (json_int_t)wa_result_never_chosen(result, l)));
    }
    return list;
}

wa_status wa_inspect_result_members(const char *path, wa_arena *arena, json_t *object,
                                    wa_error *err)
{
    wa_result *result;
    wa_judgement *judgement;
    WA_TRY(wa_result_open(path, arena, &result, err));
    WA_TRY(wa_result_close(result, wa_judgement_load(result, arena, &judgement, err), err));
    const wa_result_meta *meta = &result->meta;
    json_t *cases = json_array();
    for (size_t c = 0; c < judgement->case_count; c++)
        json_array_append_new(cases,
                              json_pack("{s:s, s:s, s:s}", "case", meta->cases[c].name, "bucket",
                                        wa_bucket_name(meta->cases[c].bucket), "verdict",
                                        wa_verdict_name(judgement->cases[c].verdict.code)));
    json_object_set_new(object, "kind", json_string("result"));
    json_object_set_new(object, "path", wa_json_text(result->path));
    json_object_set_new(object, "format", json_integer(WA_LAYOUT_VERSION));
    json_object_set_new(object, "source", wa_json_text(meta->source));
    json_object_set_new(object, "title", wa_json_text(meta->title));
    json_object_set_new(object, "job", wa_json_text(meta->job_name));
    json_object_set_new(object, "audit", wa_json_text(meta->audit_name));
    json_object_set_new(object, "model", wa_json_text(meta->model_path));
    json_object_set_new(object, "family", wa_json_text(meta->model_family));
    json_object_set_new(object, "bounds", wa_json_text(meta->bounds_name));
    json_object_set_new(object, "layers", json_integer((json_int_t)meta->dims.layers));
    json_object_set_new(object, "prompts", json_integer((json_int_t)meta->dims.prompts));
    json_object_set_new(object, "positions", json_integer((json_int_t)meta->dims.rows));
    json_object_set_new(object, "experts", result_experts_of(result));
    json_object_set_new(object, "cases", cases);
    json_object_set_new(object, "not_offered",
                        not_offered_of(meta->not_offered, meta->not_offered_count));
    return WA_OK;
}
