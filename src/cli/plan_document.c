/* walkaudit plan --json. */
#include "cli/plan_document.h"

#include "cli/document.h"

static json_t *cases_of(const wa_audit *audit)
{
    json_t *list = json_array();
    for (size_t c = 0; c < audit->cases.count; c++)
        json_array_append_new(list,
                              wa_cli_case(&audit->cases.items[c], audit->cases.items[c].name));
    return list;
}

static json_t *not_offered_of(const wa_audit *audit)
{
    json_t *list = json_array();
    for (size_t i = 0; i < audit->cases.not_offered_count; i++) {
        const wa_not_offered *item = &audit->cases.not_offered[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "vindex",
                                              audit->request->vindexes[item->vindex].name, "path",
                                              item->path, "reason", wa_json_text(item->reason)));
    }
    return list;
}

wa_status wa_plan_audit_object(const wa_audit *audit, json_t **out, wa_error *err)
{
    const wa_model *model = audit->model;
    char *result;
    WA_TRY(wa_audit_result_path(audit, NULL, &result, err));
    *out = json_pack("{s:s, s:o, s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:[]}", "audit",
                     audit->request->name, "model", wa_json_text(audit->request->model), "family",
                     model->family, "semantics", wa_semantics_name(model->semantics), "layers",
                     (json_int_t)model->layer_count, "prompts", (json_int_t)audit->prompt_count,
                     "positions", (json_int_t)audit->obs_count, "result", wa_json_text(result),
                     "cases", cases_of(audit), "not_offered", not_offered_of(audit), "plans");
    return *out == NULL ? wa_fail(err, WA_E_MEMORY, "no memory for the plan in JSON") : WA_OK;
}

void wa_plan_add_object(json_t *audit_object, const wa_audit *audit, const wa_plan *plan, int nodes,
                        const wa_plan_figures *figures)
{
    const wa_grid *g = &plan->grid;
    const wa_plan_figures *f = figures;
    json_t *object =
        json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I}", "ranks", g->used + g->idle,
                  "nodes", nodes, "groups", g->groups, "stages", g->stages, "teams", g->teams,
                  "idle", g->idle, "batches", (json_int_t)plan->batch_count, "batch_rows",
                  (json_int_t)plan->max_rows, "batch_prompts", (json_int_t)plan->max_prompts);
    const struct {
        const char *name;
        json_t *value;
    } figures_of[] = {
        {"experts", wa_json_text(wa_spreading_word(g->spread))},
        {"memory_bytes", json_integer((json_int_t)plan->anonymous_bytes)},
        {"result_bytes", wa_cli_number(f->result_bytes)},
        {"capture_bytes", json_integer((json_int_t)f->capture_bytes)},
        {"messages", json_integer((json_int_t)f->traffic.messages)},
        {"message_bytes", json_integer((json_int_t)f->traffic.bytes)},
        {"message_bytes_to_rank_0", json_integer((json_int_t)f->traffic.bytes_to_root)},
        {"busiest_rank_flop", wa_cli_number(plan->flops_per_rank_max)},
        {"utilisation", wa_cli_number(plan->predicted_utilisation)},
        {"fill", wa_cli_number(f->fill)},
        {"seconds", wa_cli_number(f->seconds)},
        {"kernel_check_seconds", wa_cli_number(f->kernel_check_seconds)},
        {"encoding_check_seconds", wa_cli_number(f->encoding_check_seconds)},
        {"encoding_check_bytes", wa_cli_number(f->encoding_check_bytes)},
        {"flop_per_second", wa_cli_number(f->rate.flops_per_second)},
        {"rate", wa_json_text(f->rate.threads > 0 ? wa_engine_name(audit->job->engine) : "given")}};
    for (size_t i = 0; i < sizeof figures_of / sizeof figures_of[0]; i++)
        json_object_set_new(object, figures_of[i].name, figures_of[i].value);
    json_array_append_new(json_object_get(audit_object, "plans"), object);
}
