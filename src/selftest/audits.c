/* One job for all faults of a format, run in this process on one rank. */
#include "selftest/audits.h"

#include "base/durable.h"
#include "path/evaluate.h"
#include "run/audit.h"
#include "run/judged.h"

#include <stdio.h>
#include <unistd.h>

/* --- A job ------------------------------------------------------------------------------------ */

/* More positions a prompt, which is a batch, than the kernel check of early versions looked at. */
enum { PROMPTS = 3, TOKENS = 12 };

static wa_status write_text(const wa_bench *bench, const char *name, const char *end,
                            const char *text, wa_error *err)
{
    char path[WA_NAME_BYTES];
    WA_TRY(wa_path_print(path, err, "%s/%s%s", bench->directory, name, end));
    return wa_file_write(path, text, strlen(text), err);
}

static wa_status write_prompts(const wa_bench *bench, const char *name, wa_error *err)
{
    char *text = "";
    uint64_t draws = bench->options->seed;
    size_t most = bench->model->vocab < 256 ? bench->model->vocab : 256;
    for (int p = 0; p < PROMPTS; p++) {
        WA_TRY(
            wa_arena_print(bench->arena, &text, err, "%s{\"key\": \"p%d\", \"ids\": [", text, p));
        for (int i = 0; i < TOKENS; i++)
            WA_TRY(wa_arena_print(bench->arena, &text, err, "%s%s%d", text, i == 0 ? "" : ", ",
                                  (int)(wa_bench_draw(&draws) % most)));
        WA_TRY(wa_arena_print(bench->arena, &text, err, "%s]}\n", text));
    }
    return write_text(bench, name, ".jsonl", text, err);
}

static wa_status write_job(const wa_bench *bench, const wa_audits_job *job, wa_error *err)
{
    char *text;
    WA_TRY(wa_arena_print(bench->arena, &text, err,
                          "{\"name\": \"%s\", \"ladder\": \"%s\", \"prompts\": {\"file\": "
                          "\"%s.jsonl\"}, \"result\": \".\", \"batch\": {\"rows\": %d}%s,\n"
                          "\"audits\": [{\"name\": \"audit\", \"model\": \"%s\", \"vindexes\": [\n",
                          job->name, wa_ladder_word((wa_ladder)WA_BENCH_LADDER), job->name, TOKENS,
                          job->keys, bench->model_path));
    for (size_t v = 0; v < job->vindex_count; v++)
        WA_TRY(wa_arena_print(bench->arena, &text, err,
                              "%s%s{\"name\": \"v%zu\", \"path\": \"%s\"}", text,
                              v == 0 ? "" : ",\n", v, job->vindexes[v]));
    WA_TRY(wa_arena_print(bench->arena, &text, err, "%s]}]}\n", text));
    return write_text(bench, job->name, ".yaml", text, err);
}

static wa_status run_job(const wa_bench *bench, const wa_audits_job *job, const wa_judgement **out,
                         const char **result_path, wa_error *err)
{
    char path[WA_NAME_BYTES], *result;
    wa_job *opened;
    wa_judged judged;
    size_t parts = 0;
    WA_TRY(wa_bench_heed(err));
    WA_TRY(write_prompts(bench, job->name, err));
    WA_TRY(write_job(bench, job, err));
    WA_TRY(wa_path_print(path, err, "%s/%s.yaml", bench->directory, job->name));
    WA_TRY(wa_job_open(path, NULL, 0, bench->arena, &opened, err));
    wa_run_options options = {.parts_added = &parts, .command_line = "selftest", .quiet = true};
    wa_run_voice voice = {.prefix = ""};
    wa_error verdict = {.status = WA_OK}; /* that there are faults is no failure here */
    wa_status status = wa_run_audit(bench->comm, opened, 0, &options, &voice, &verdict);
    if (status != WA_OK && status != WA_E_VERDICT) {
        if (err != NULL)
            *err = verdict;
        return status;
    }
    WA_TRY(wa_job_result_path(opened, &opened->audits[0], bench->arena, &result, err));
    wa_judge_order stored = {.store = false};
    WA_TRY(wa_judge_file(result, &stored, bench->arena, &judged, err));
    *out = judged.judgement;
    if (result_path != NULL)
        *result_path = result;
    return WA_OK;
}

wa_status wa_audits_judge(const wa_bench *bench, const wa_audits_job *job, const wa_judgement **out,
                          wa_error *err)
{
    return run_job(bench, job, out, NULL, err);
}

/* --- Experts that no prompt reaches ----------------------------------------------------------- */

static wa_status take_idle(wa_bench *bench, const wa_result *result, wa_error *err)
{
    const int64_t *rows;
    const wa_dims *dims = &result->meta.dims;
    WA_TRY(result->access.read(result->access.context, wa_layout_find("expert_rows"), bench->arena,
                               &rows, err));
    WA_TRY(wa_arena_take(bench->arena, dims->layers, sizeof *bench->idle, &bench->idle, err));
    for (size_t l = 0; l < dims->layers; l++) {
        const wa_experts *experts = bench->model->layers[l].experts;
        bench->idle[l] = -1;
        for (size_t e = 0; experts != NULL && e < experts->count; e++)
            if (rows[l * dims->experts + e] == 0)
                bench->idle[l] = (int32_t)e;
    }
    return WA_OK;
}

/* The audits have the same prompts, and the routers of the reference are the model's. */
static wa_status find_idle(wa_bench *bench, wa_error *err)
{
    const char *healthy = strrchr(bench->healthy, '/') + 1, *path;
    const wa_judgement *ignored;
    wa_result *result;
    char *name;
    if (!wa_bench_has_experts(bench))
        return WA_OK;
    WA_TRY(wa_arena_print(bench->arena, &name, err, "%s-idle", bench->format.name));
    wa_audits_job job = {.name = name, .vindexes = &healthy, .vindex_count = 1, .keys = ""};
    WA_TRY(run_job(bench, &job, &ignored, &path, err));
    WA_TRY(wa_result_open(path, bench->arena, &result, err));
    return wa_result_close(result, take_idle(bench, result, err), err);
}

/* --- Planting --------------------------------------------------------------------------------- */

/* A copy that does not open stays out of the job: it would refuse the others. */
static wa_status try_open(const wa_bench *bench, wa_outcome *outcome, wa_error *err)
{
    wa_arena *arena;
    wa_vindex *vindex;
    wa_error why = {.status = WA_OK};
    char *reason;
    WA_TRY(wa_arena_open("planted", 0, &arena, err));
    outcome->refused = wa_vindex_open(outcome->plant.path, arena, &vindex, &why) != WA_OK;
    if (!outcome->refused)
        wa_vindex_close(vindex);
    wa_arena_close(arena);
    if (!outcome->refused)
        return WA_OK;
    WA_TRY(wa_arena_copy(bench->arena, why.text, strlen(why.text), &reason, err));
    outcome->reason = reason;
    return WA_OK;
}

/* Faults go round the targets, so that each matrix has its share; those come first where they must
 * be found. */
static const wa_bench_target *choose_target(const wa_bench *bench, const wa_fault *fault,
                                            size_t first, wa_fault_fate *fate)
{
    const wa_bench_target *chosen = NULL;
    *fate = WA_FATE_NONE;
    for (size_t t = 0; t < bench->target_count && *fate != WA_FATE_FOUND; t++) {
        const wa_bench_target *target = &bench->targets[(first + t) % bench->target_count];
        wa_fault_fate now = fault->fate(bench, target);
        if (now == WA_FATE_NONE || (chosen != NULL && now != WA_FATE_FOUND))
            continue;
        chosen = target;
        *fate = now;
    }
    return chosen;
}

/* The first layer from `first`, one of them, on that the fault may be planted in. */
static size_t choose_layer(const wa_bench *bench, const wa_fault *fault,
                           const wa_bench_target *target, size_t first)
{
    size_t layers = bench->vindex->layer_count;
    for (size_t i = 0; i < layers; i++) {
        size_t layer = first + i < layers ? first + i : first + i - layers;
        bool fits = fault->scope == WA_SCOPE_ANY ||
                    (fault->scope == WA_SCOPE_IDLE ? bench->idle[layer] >= 0
                                                   : wa_bench_stack(bench, target, layer) > 1);
        if (fits)
            return layer;
    }
    return first;
}

static void mean_expert(wa_bench *bench, size_t expert)
{
    for (size_t t = 0; t < bench->target_count; t++)
        bench->targets[t].entry = expert;
}

static wa_status plant_one(const wa_bench *bench, size_t i, wa_outcome *out, bool *planted,
                           wa_error *err)
{
    const wa_fault *fault = wa_fault_at(i);
    wa_fault_fate fate;
    wa_bench *own; /* whose targets mean one expert */
    WA_TRY(wa_arena_take(bench->arena, 1, sizeof *own, &own, err));
    *own = *bench;
    const wa_bench_target *target = choose_target(own, fault, i, &fate);
    *planted = target != NULL;
    if (target == NULL)
        return WA_OK;
    wa_outcome outcome = {.fault = fault,
                          .format = bench->format.name,
                          .where = fault->scope == WA_SCOPE_ROUTER
                                       ? "router"
                                       : wa_projection_name(target->projection),
                          .expected = fate};
    WA_TRY(wa_plant_open(own, fault->name, &outcome.plant, err));
    size_t layer =
        choose_layer(bench, fault, target, (i + bench->options->seed) % bench->vindex->layer_count);
    mean_expert(own, fault->scope == WA_SCOPE_IDLE ? (size_t)bench->idle[layer]
                                                   : i + bench->options->seed);
    wa_mark mark = wa_arena_mark(bench->arena);
    WA_TRY(fault->plant(&outcome.plant, target, layer, err));
    wa_arena_release(bench->arena, mark);
    *planted = outcome
                   .plant
                   /* weights that are bf16 values stay what they are when they are cut to bf16 */
                   .differs;
    if (!*planted)
        return WA_OK;
    WA_TRY(try_open(bench, &outcome, err));
    *out = outcome;
    return WA_OK;
}

/* --- Reading verdicts ------------------------------------------------------------------------- */

/* "layer 3, up, row 17: …" or "layer 3, expert 5, up, row 17: …", the row where there is one. The
 * gate file of an ungated model is read as gate and as up. */
static bool names_place(const char *reason, const wa_planted *place, bool gated)
{
    const wa_bench_target *target = &place->target;
    size_t layer, expert = place->entry;
    char name[16];
    int row = -1;
    bool one =
        sscanf(reason, "layer %zu, expert %zu, %15[a-z], row %d", &layer, &expert, name, &row) >= 3;
    if (!one) {
        expert = place->entry;
        if (sscanf(reason, "layer %zu, %15[a-z], row %d", &layer, name, &row) < 2)
            return false;
    }
    bool up_as_gate =
        !gated && target->projection == WA_UP && strcmp(name, wa_projection_name(WA_GATE)) == 0;
    const char *own =
        target->payload == WA_PAYLOAD_ROUTER ? "router" : wa_projection_name(target->projection);
    return (int)layer == place->layer && expert == place->entry &&
           (up_as_gate || strcmp(name, own) == 0) &&
           (row < 0 || place->row < 0 || row == place->row);
}

static bool is_at_place(const char *reason, const wa_plant *plant)
{
    for (size_t i = 0; i < plant->planted_count; i++)
        if (names_place(reason, &plant->planted[i], plant->bench->model->gated))
            return true;
    return false;
}

/* Does a case read such rows, under whichever name? */
static wa_status reads_target(const wa_bench *bench, const wa_case *which,
                              const wa_bench_target *target, bool *out, wa_error *err)
{
    wa_matrix stored, own;
    if (wa_payload_is_of_experts(target->payload)) {
        *out = *out || wa_case_reads_payload(which, target->payload, target->projection);
        return WA_OK;
    }
    WA_TRY(wa_bench_stored(bench, target, 0, &stored, err));
    for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
        if (which->source[p].from_model || wa_payload_is_of_experts(which->source[p].payload))
            continue;
        WA_TRY(wa_case_stored(which, bench->vindex, (wa_projection)p, 0, &own, err));
        *out = *out || own.data == stored.data;
    }
    return WA_OK;
}

/* Does the case of this path read something planted? */
static wa_status reads_planted(const wa_bench *bench, const wa_plant *plant, const char *case_name,
                               bool *out, wa_error *err)
{
    const char *path = strchr(case_name, ':');
    *out = false;
    for (size_t c = 0; path != NULL && c < bench->cases.count; c++) {
        const wa_case *which = &bench->cases.items[c];
        const char *its_path = strchr(which->name, ':');
        if (which->not_run != NULL || its_path == NULL || strcmp(its_path, path) != 0)
            continue;
        for (size_t i = 0; i < plant->planted_count; i++)
            WA_TRY(reads_target(bench, which, &plant->planted[i].target, out, err));
    }
    return WA_OK;
}

static const char *find_reason(const wa_verdict *verdict)
{
    for (size_t i = 0; i < verdict->reason_count; i++)
        if (verdict->reason_codes[i] == WA_VERDICT_ENCODING)
            return verdict->reasons[i];
    return NULL;
}

static wa_status look_at_case(const wa_bench *bench, const wa_case_judgement *judged, wa_outcome *o,
                              bool *seen, wa_error *err)
{
    bool reads;
    const char *reason = find_reason(&judged->verdict);
    WA_TRY(reads_planted(bench, &o->plant, judged->evidence.case_name, &reads, err));
    if (!reads) {
        o->accused = o->accused || reason != NULL;
        return WA_OK;
    }
    o->found = (*seen ? o->found : true) && reason != NULL;
    o->at_place = (*seen ? o->at_place : true) && reason != NULL && is_at_place(reason, &o->plant);
    if (!*seen || wa_verdict_rank(judged->verdict.code) < wa_verdict_rank(o->verdict))
        o->verdict = judged->verdict.code;
    if (o->reason == NULL)
        o->reason = reason;
    *seen = true;
    return WA_OK;
}

static wa_status look(const wa_bench *bench, const wa_judgement *judgement, int vindex,
                      wa_outcome *o, wa_error *err)
{
    bool seen = false;
    o->verdict = WA_VERDICT_PASS;
    for (size_t c = 0; c < judgement->case_count; c++)
        if (judgement->meta->cases[c].vindex == vindex)
            WA_TRY(look_at_case(bench, &judgement->cases[c], o, &seen, err));
    return WA_OK;
}

static bool is_as_expected(const wa_outcome *o)
{
    switch (o->expected) {
    case WA_FATE_REFUSED:
        return o->refused;
    case WA_FATE_FOUND:
        return !o->refused && o->found && o->at_place && !o->accused;
    default:
        return !o->refused && !o->found && !o->accused;
    }
}

wa_status wa_audits_run(wa_bench *bench, wa_outcome *outcomes, size_t *count, wa_error *err)
{
    const char *vindexes[WA_AUDITS_MOST];
    size_t of_vindex[WA_AUDITS_MOST], opened = 0;
    *count = 0;
    WA_TRY(find_idle(bench, err));
    outcomes[(*count)++] = (wa_outcome){.format = bench->format.name,
                                        .plant = {.bench = bench, .path = bench->healthy},
                                        .expected = WA_FATE_UNSEEN};
    for (size_t i = 0; wa_fault_at(i) != NULL; i++) {
        bool planted;
        WA_TRY(wa_bench_heed(err));
        if (*count == WA_AUDITS_MOST)
            return wa_fail(err, WA_E_INTERNAL, "more than %d kinds of faults", WA_AUDITS_MOST);
        WA_TRY(plant_one(bench, i, &outcomes[*count], &planted, err));
        *count += planted ? 1 : 0;
    }
    for (size_t i = 0; i < *count; i++) {
        if (outcomes[i].refused)
            continue;
        vindexes[opened] = strrchr(outcomes[i].plant.path, '/') + 1;
        of_vindex[opened++] = i;
    }
    wa_audits_job job = {
        .name = bench->format.name, .vindexes = vindexes, .vindex_count = opened, .keys = ""};
    const wa_judgement *judgement;
    WA_TRY(wa_audits_judge(bench, &job, &judgement, err));
    for (size_t v = 0; v < opened; v++)
        WA_TRY(look(bench, judgement, (int)v, &outcomes[of_vindex[v]], err));
    for (size_t i = 0; i < *count; i++)
        outcomes[i].holds = is_as_expected(&outcomes[i]);
    return WA_OK;
}
