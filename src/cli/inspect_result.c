/* walkaudit inspect RESULT.h5: what it is of, and how its cases fared. */
#include "cli/inspect.h"

#include "judge/judgement.h"

static void print_cases(const wa_result *result, const wa_judgement *judgement, FILE *out)
{
    for (size_t c = 0; c < judgement->case_count; c++) {
        const wa_case *which = &result->meta.cases[c];
        const wa_case_judgement *it = &judgement->cases[c];
        fprintf(out, "case      %s (%s): %s, min cos %.9f, max rel_l2 %.3e\n", which->name,
                wa_bucket_name(which->bucket), wa_verdict_name(it->verdict.code),
                it->summary.all.min_cos.value, it->summary.all.max_rel_l2.value);
    }
}

static void print(const wa_result *result, const wa_judgement *judgement, FILE *out)
{
    const wa_result_meta *meta = &result->meta;
    const wa_dims *dims = &meta->dims;
    fprintf(out, "%s: result of walkaudit, format %d, written by %s\n", result->path,
            WA_LAYOUT_VERSION, meta->source);
    fprintf(out, "title     %s\njob       %s, audit %s\nmodel     %s (%s, semantics %s)\n",
            meta->title, meta->job_name, meta->audit_name, meta->model_path, meta->model_family,
            meta->semantics);
    fprintf(out, "bounds    %s\n", meta->bounds_name);
    fprintf(out, "extents   %zu cases, %zu layers, %zu observations, %zu prompts, %zu slots\n",
            dims->cases, dims->layers, dims->rows, dims->prompts, dims->slots);
    for (size_t v = 0; v < dims->vindexes; v++)
        fprintf(out, "vindex    %s: %s\n", meta->vindex_name[v], meta->vindex_path[v]);
    print_cases(result, judgement, out);
    for (size_t i = 0; i < meta->not_offered_count; i++)
        fprintf(out, "not run   %s:%s: %s\n", meta->vindex_name[meta->not_offered[i].vindex],
                meta->not_offered[i].path, meta->not_offered[i].reason);
}

wa_status wa_inspect_result(const char *path, wa_arena *arena, FILE *out, wa_error *err)
{
    wa_result *result;
    wa_judgement *judgement;
    WA_TRY(wa_result_open(path, arena, &result, err));
    WA_TRY(wa_result_close(result, wa_judgement_load(result, arena, &judgement, err), err));
    print(result, judgement, out);
    return WA_OK;
}
