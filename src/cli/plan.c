/* `walkaudit plan`: what a job would do on so many ranks, without computing it. */
#include "cli/cli.h"
#include "cli/document.h"
#include "cli/plan_document.h"
#include "cli/plan_sums.h"
#include "cli/selection.h"
#include "engine/audit.h"
#include "judge/verdict.h"
#include "report/grid.h"

#include <stdlib.h>

enum { COUNTS_LIMIT = 16 };
static const size_t ARENA_BYTES = (size_t)4 << 30;

typedef struct request {
    const char *job;
    int counts[COUNTS_LIMIT]; /* --ranks, ascending or not */
    size_t count_count;
    int nodes;
    double flops_per_second; /* of a rank; 0 = to be measured */
    size_t memory;           /* per node; 0 = unknown */
    wa_cli_settings settings;
    bool quiet;
    bool json;
    json_t *audits; /* with json: those planned so far */
} request;

/* --- Words ------------------------------------------------------------------------------------ */

/* "8" or "8,64,512". */
static void parse_counts(char *words, request *r, struct argp_state *state)
{
    char *rest = words;
    r->count_count = 0;
    for (char *word = strtok_r(words, ",", &rest); word != NULL;
         word = strtok_r(NULL, ",", &rest)) {
        if (r->count_count == COUNTS_LIMIT)
            argp_error(state, "--ranks: more than %d numbers", COUNTS_LIMIT);
        r->counts[r->count_count++] = wa_cli_count("--ranks", word, state);
    }
    if (r->count_count == 0)
        argp_error(state, "--ranks '', expected numbers from 1, as in 8 or 8,64,512");
}

static double parse_rate(const char *word, struct argp_state *state)
{
    char *end;
    double value = strtod(word, &end);
    if (end == word || *end != '\0' || !(value > 0.0 && value < 1e9))
        argp_error(state, "--gflops '%s', expected a number above 0", word);
    return value * 1e9;
}

static error_t take_option(int key, char *arg, struct argp_state *state)
{
    request *r = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &r->settings;
        return 0;
    case 'n':
        parse_counts(arg, r, state);
        return 0;
    case 'g':
        r->flops_per_second = parse_rate(arg, state);
        return 0;
    case 'N':
        r->nodes = wa_cli_count("--nodes", arg, state);
        return 0;
    case 'm':
        r->memory = wa_cli_bytes("--mem", arg, state);
        return 0;
    case 'j':
        r->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            argp_error(state, "unexpected argument '%s'", arg);
        r->job = arg;
        return 0;
    case ARGP_KEY_END:
        if (r->job == NULL)
            argp_error(state, "JOB.yaml is missing");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void set_cell(wa_text_grid *grid, size_t row, size_t column, const char *text)
{
    grid->cells[row * grid->column_count + column].text = text;
}

/* --- Cases ------------------------------------------------------------------------------------ */

/* The files of a case, each once: "gate_vectors.bin, interleaved_kquant.bin"; "model" for its own
 * weights. */
static wa_status list_files(const wa_audit *audit, const wa_case *which, wa_arena *arena,
                            const char **out, wa_error *err)
{
    char *list = NULL;
    const char *seen[WA_PROJECTION_COUNT];
    for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
        const wa_source *source = &which->source[p];
        seen[p] = source->from_model
                      ? "model"
                      : wa_vindex_file(audit->vindexes[which->vindex], source->payload);
        bool known = false;
        for (int q = 0; q < p; q++)
            known = known || strcmp(seen[q], seen[p]) == 0;
        if (!known)
            WA_TRY(wa_arena_print(arena, &list, err, "%s%s%s", list == NULL ? "" : list,
                                  list == NULL ? "" : ", ", seen[p]));
    }
    *out = list;
    return WA_OK;
}

static wa_status print_cases(const wa_audit *audit, wa_arena *arena, wa_error *err)
{
    const wa_cases *cases = &audit->cases;
    static const wa_grid_column columns[] = {
        {"case", false}, {"bucket", false}, {"kernel", false}, {"reads", false}};
    enum { COLUMNS = sizeof columns / sizeof columns[0] };
    wa_text_grid grid;
    WA_TRY(wa_text_grid_open(arena, columns, COLUMNS, cases->count, &grid, err));
    for (size_t c = 0; c < cases->count; c++) {
        const wa_case *which = &cases->items[c];
        const char *files;
        char *reason;
        WA_TRY(list_files(audit, which, arena, &files, err));
        if (which->not_run != NULL) {
            WA_TRY(wa_arena_print(arena, &reason, err, "NOT-RUN: %s", which->not_run));
            files = reason;
        }
        set_cell(&grid, c, 0, which->name);
        set_cell(&grid, c, 1, wa_bucket_name(which->bucket));
        set_cell(&grid, c, 2, wa_label_text(which->kernel));
        set_cell(&grid, c, 3, files);
    }
    WA_TRY(wa_text_grid_print(&grid, stdout, false, arena, err));
    putchar('\n');
    return WA_OK;
}

static wa_status print_not_offered(const wa_cases *cases, const wa_job_audit *audit,
                                   wa_arena *arena, wa_error *err)
{
    static const wa_grid_column columns[] = {
        {"vindex", false}, {"cannot run", false}, {"because", false}};
    enum { COLUMNS = sizeof columns / sizeof columns[0] };
    if (cases->not_offered_count == 0)
        return WA_OK;
    wa_text_grid grid;
    WA_TRY(wa_text_grid_open(arena, columns, COLUMNS, cases->not_offered_count, &grid, err));
    for (size_t i = 0; i < cases->not_offered_count; i++) {
        const wa_not_offered *item = &cases->not_offered[i];
        set_cell(&grid, i, 0, audit->vindexes[item->vindex].name);
        set_cell(&grid, i, 1, item->path);
        set_cell(&grid, i, 2, item->reason);
    }
    WA_TRY(wa_text_grid_print(&grid, stdout, false, arena, err));
    putchar('\n');
    return WA_OK;
}

/* --- The grid --------------------------------------------------------------------------------- */

static wa_status list_cases(const wa_plan *plan, const wa_cases *cases, int member, wa_arena *arena,
                            const char **out, wa_error *err)
{
    char *list = NULL;
    WA_TRY(wa_arena_print(arena, &list, err, "%s", member == 0 ? "dense" : ""));
    for (size_t c = 0; c < cases->count; c++)
        if (plan->case_member[c] == member)
            WA_TRY(wa_arena_print(arena, &list, err, "%s%s%s", list, list[0] == '\0' ? "" : ", ",
                                  cases->items[c].name));
    *out = list[0] == '\0' ? NULL : list;
    return WA_OK;
}

static wa_status fill_seat(wa_text_grid *grid, size_t row, const wa_plan_input *input,
                           const wa_plan *plan, const wa_cases *cases, wa_arena *arena,
                           wa_error *err)
{
    wa_seat seat = {.stage = (int)row / plan->grid.teams, .member = (int)row % plan->grid.teams};
    wa_seat_cost cost = wa_plan_seat_cost(input, plan, seat.stage, seat.member);
    char *text;
    const char *list;
    WA_TRY(wa_arena_print(arena, &text, err, "%d", wa_plan_rank(plan, 0, seat.stage, seat.member)));
    set_cell(grid, row, 0, text);
    WA_TRY(wa_arena_print(arena, &text, err, "%zu-%zu", plan->stage_start[seat.stage],
                          plan->stage_start[seat.stage + 1] - 1));
    set_cell(grid, row, 1, text);
    WA_TRY(wa_plan_amount((double)cost.mapped_bytes, "B", arena, &text, err));
    set_cell(grid, row, 2, text);
    WA_TRY(wa_plan_amount(cost.flops, "FLOP", arena, &text, err));
    set_cell(grid, row, 3, text);
    WA_TRY(list_cases(plan, cases, seat.member, arena, &list, err));
    set_cell(grid, row, 4, list);
    return WA_OK;
}

static wa_status print_seats(const wa_plan_input *input, const wa_plan *plan, const wa_cases *cases,
                             wa_arena *arena, wa_error *err)
{
    static const wa_grid_column columns[] = {
        {"rank", true}, {"layers", true}, {"maps", true}, {"computes", true}, {"lanes", false}};
    enum { COLUMNS = sizeof columns / sizeof columns[0] };
    size_t seats = (size_t)plan->grid.stages * (size_t)plan->grid.teams;
    wa_text_grid grid;
    WA_TRY(wa_text_grid_open(arena, columns, COLUMNS, seats, &grid, err));
    for (size_t row = 0; row < seats; row++)
        WA_TRY(fill_seat(&grid, row, input, plan, cases, arena, err));
    WA_TRY(wa_text_grid_print(&grid, stdout, false, arena, err));
    if (plan->grid.groups > 1)
        printf("The other %d groups do the same for other batches.\n", plan->grid.groups - 1);
    putchar('\n');
    return WA_OK;
}

static void print_grid(const wa_plan_input *input, const wa_plan *plan, int ranks)
{
    const wa_grid *grid = &plan->grid;
    printf("batches: %zu of at most %zu rows; really at most %zu rows and %zu prompts\n",
           plan->batch_count, input->batch_rows, plan->max_rows, plan->max_prompts);
    printf("grid:    %d rank%s on %d node%s: %d group%s x %d stage%s x teams of %d; %d idle\n",
           ranks, ranks == 1 ? "" : "s", input->nodes, input->nodes == 1 ? "" : "s", grid->groups,
           grid->groups == 1 ? "" : "s", grid->stages, grid->stages == 1 ? "" : "s", grid->teams,
           grid->idle);
    if (grid->spread)
        printf(
            "experts: spread over the %d ranks of a team; rows travel, about %.0f there and back, "
            "weights do not\n",
            grid->teams, plan->spread_rows);
    putchar('\n');
}

/* --- One audit -------------------------------------------------------------------------------- */

/* One audit on so many ranks of so many nodes. */
typedef struct place {
    int ranks, nodes;
} place;

static wa_status show_grid(const wa_audit *audit, const wa_plan_input *input, const wa_plan *plan,
                           const request *r, int ranks, wa_arena *arena, wa_error *err)
{
    print_grid(input, plan, ranks);
    WA_TRY(print_seats(input, plan, &audit->cases, arena, err));
    return wa_plan_print_sums(audit, input, plan, r->flops_per_second, arena, err);
}

/* The audit as an object of r->audits, with a plan for each number of ranks. */
static wa_status document(const wa_audit *audit, const wa_plan_input *input, const request *r,
                          place at, wa_arena *arena, wa_error *err)
{
    json_t *object;
    /* one of a sweep has a share of them */
    const int *ranks = r->count_count == 1 ? &at.ranks : r->counts;
    wa_plan_figures f = {.given = r->flops_per_second};
    WA_TRY(wa_plan_audit_object(audit, &object, err));
    json_array_append_new(r->audits, object);
    for (size_t i = 0; i < r->count_count; i++) {
        wa_plan_input some;
        wa_plan *plan;
        WA_TRY(wa_plan_one_of(input, ranks, r->count_count, i, arena, &some, &plan, err));
        WA_TRY(wa_plan_figures_take(audit, &some, plan, arena, &f, err));
        wa_plan_add_object(object, audit, plan, some.nodes, &f);
    }
    return WA_OK;
}

static wa_status show(wa_audit *audit, const request *r, place at, wa_arena *arena, wa_error *err)
{
    const wa_model *model = audit->model;
    wa_plan_input input;
    wa_plan *plan;
    WA_TRY(wa_audit_tokenize(audit, err));
    WA_TRY(wa_audit_plan_input(audit, at.nodes, r->memory, &input, err));
    if (r->json)
        return document(audit, &input, r, at, arena, err);
    WA_TRY(wa_plan_build(&input, at.ranks, arena, &plan, err));

    printf("audit %s\n", audit->request->name);
    printf("model:   %s (%s, %zu layers, hidden %zu, FFN %zu, vocabulary %zu), %s semantics\n",
           audit->request->model, model->family, model->layer_count, model->hidden,
           model->intermediate, model->vocab, wa_semantics_name(model->semantics));
    printf("prompts: %zu, %zu positions\n\n", audit->prompt_count, audit->obs_count);
    WA_TRY(print_cases(audit, arena, err));
    WA_TRY(print_not_offered(&audit->cases, audit->request, arena, err));
    if (r->count_count > 1)
        WA_TRY(wa_plan_print_counts(audit, &input, r->counts, r->count_count, r->flops_per_second,
                                    r->quiet, arena, err));
    else
        WA_TRY(show_grid(audit, &input, plan, r, at.ranks, arena, err));
    if (fflush(stdout) != 0 || ferror(stdout))
        return wa_fail(err, WA_E_IO, "cannot write the plan to stdout");
    if (r->count_count == 1 && !r->quiet)
        wa_plan_print_warnings(plan);
    return WA_OK;
}

static wa_status plan_audit(const wa_job *job, size_t index, const request *r, place at,
                            wa_error *err)
{
    wa_arena *arena;
    wa_audit *audit;
    WA_TRY(wa_arena_open("plan", ARENA_BYTES, &arena, err));
    wa_status status = wa_audit_open(job, index, arena, &audit, err);
    if (status == WA_OK) {
        status = show(audit, r, at, arena, err);
        wa_audit_close(audit);
        if (status != WA_OK)
            wa_note(err, "in audit '%s'", job->audits[index].name);
    }
    wa_arena_close(arena);
    return status;
}

/* --- The sweep -------------------------------------------------------------------------------- */

/* Times of every audit on every number of ranks; 0 for one that cannot be opened, as in a run. */
static wa_status take_times(const wa_job *job, const request *r, wa_arena *arena, double **out,
                            wa_error *err)
{
    int sizes[WA_SWEEP_SIZES];
    size_t width = wa_sweep_sizes(r->counts[0], sizes);
    double *times;
    WA_TRY(wa_arena_take(arena, job->audit_count * width, sizeof *times, &times, err));
    for (size_t a = 0; a < job->audit_count; a++) {
        wa_error ignored; /* told when its own plan is shown */
        wa_arena *own;
        wa_audit *audit;
        wa_plan_input input;
        WA_TRY(wa_arena_open("times", ARENA_BYTES, &own, err));
        if (wa_audit_open(job, a, own, &audit, &ignored) == WA_OK) {
            if (wa_audit_tokenize(audit, &ignored) != WA_OK ||
                wa_audit_plan_input(audit, r->nodes, r->memory, &input, &ignored) != WA_OK ||
                wa_sweep_times(&input, sizes, width, own, times + a * width, &ignored) != WA_OK)
                memset(times + a * width, 0, width * sizeof *times);
            wa_audit_close(audit);
        }
        wa_arena_close(own);
    }
    *out = times;
    return WA_OK;
}

static void print_sweep(const wa_job *job, const wa_sweep *sweep)
{
    char reason[256];
    wa_sweep_reason(sweep, reason, sizeof reason);
    printf("sweep:   %zu audits, %s\n", job->audit_count, reason);
    for (size_t s = 0; sweep->set_count > 1 && s < sweep->set_count; s++) {
        printf("         ranks %d to %d:", sweep->set_start[s], sweep->set_start[s + 1] - 1);
        for (size_t a = 0; a < job->audit_count; a++)
            if (sweep->audit_set[a] == s)
                printf(" %s", job->audits[a].name);
        putchar('\n');
    }
    putchar('\n');
}

/* Where an audit of the sweep runs. */
static place place_of(const request *r, const wa_sweep *sweep, size_t audit)
{
    if (sweep == NULL)
        return (place){r->counts[0], r->nodes};
    size_t set = sweep->audit_set[audit];
    int ranks = sweep->set_start[set + 1] - sweep->set_start[set];
    int per_node = (r->counts[0] + r->nodes - 1) / r->nodes;
    return (place){ranks, (ranks + per_node - 1) / per_node};
}

static wa_status plan_sweep(const wa_job *job, const request *r, wa_arena *arena, wa_sweep **out,
                            wa_error *err)
{
    double *times;
    *out = NULL;
    if (job->audit_count < 2 || r->counts[0] < 2 || r->count_count > 1)
        return WA_OK;
    WA_TRY(take_times(job, r, arena, &times, err));
    WA_TRY(wa_sweep_build(times, job->audit_count, r->counts[0], arena, out, err));
    if (!r->json)
        print_sweep(job, *out);
    return WA_OK;
}

/* An audit that cannot run does not hide the others; of several codes the gravest counts (design
 * 4). */
static wa_status plan_audits(const request *r, wa_arena *arena, int *exit_code, wa_error *err)
{
    wa_job *job;
    wa_sweep *sweep;
    wa_bounds *bounds;
    WA_TRY(wa_job_open(r->job, r->settings.words, r->settings.count, arena, &job, err));
    WA_TRY(wa_bounds_open(job->bounds, arena, &bounds, err)); /* a run would end at once */
    WA_TRY(plan_sweep(job, r, arena, &sweep, err));
    for (size_t a = 0; a < job->audit_count; a++) {
        wa_error own = {.status = WA_OK};
        if (a > 0 && !r->json)
            putchar('\n');
        if (plan_audit(job, a, r, place_of(r, sweep, a), &own) != WA_OK)
            *exit_code = wa_exit_code_graver(*exit_code, wa_error_print(&own));
    }
    return WA_OK;
}

static wa_status plan_job(void *words, wa_arena *arena, int *exit_code, wa_error *err)
{
    request *r = words;
    if (!r->json)
        return plan_audits(r, arena, exit_code, err);
    json_t *object = wa_cli_document("plan", 1);
    r->audits = json_array();
    json_object_set_new(object, "audits", r->audits);
    wa_status status = plan_audits(r, arena, exit_code, err);
    if (status == WA_OK) {
        json_object_set_new(object, "exit_code", json_integer(*exit_code));
        return wa_cli_print_json(object, err);
    }
    json_decref(object);
    return status;
}

static const struct argp_option OPTIONS[] = {
    {.name = "ranks",
     .key = 'n',
     .arg = "N[,N...]",
     .doc = "Plan for N MPI ranks (1); several numbers: compare them"},
    {.name = "nodes",
     .key = 'N',
     .arg = "M",
     .doc = "on M nodes (1); of several numbers of ranks, the largest has M"},
    {.name = "gflops",
     .key = 'g',
     .arg = "R",
     .doc = "Predict times for ranks of R GFLOP/s instead of measuring products here"},
    {.name = "mem",
     .key = 'm',
     .arg = "BYTES",
     .doc = "Memory of a node, also as 64G; decides the stages. Without it: no limit"},
    {.name = "json", .key = 'j', .doc = "Print the plan as JSON, schema walkaudit.plan"},
    {0}};

static const struct argp_child CHILDREN[] = {{.argp = &wa_cli_settings_parser}, {0}};

const struct argp wa_cli_plan_parser = {
    .options = OPTIONS,
    .children = CHILDREN,
    .parser = take_option,
    .args_doc = "JOB.yaml",
    .doc = "Show what a job would do, without computing it: its cases and why others are none, "
           "batches, grid, what each rank maps and computes, messages, memory, time, size of the "
           "result."};

int wa_cli_plan(int argc, char **argv)
{
    request r = {.counts = {1}, .count_count = 1, .nodes = 1};
    r.quiet = wa_cli_parse(&wa_cli_plan_parser, argc, argv, &r);
    return wa_cli_answer("job", ARENA_BYTES, plan_job, &r);
}
