/* `walkaudit plan`: what a job would do on so many ranks, without computing it. */
#include "cli.h"
#include "grid.h"
#include "walkaudit/audit.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

enum { SETTINGS_LIMIT = 64, FEW_BATCHES = 4 };
static const size_t ARENA_BYTES = (size_t)4 << 30;

typedef struct request {
    const char *job;
    int ranks, nodes;
    size_t memory; /* per node; 0 = unknown */
    const char *settings[SETTINGS_LIMIT];
    size_t setting_count;
} request;

/* --- Words
 * ---------------------------------------------------------------------------------------- */

static int parse_count(const char *word, const char *what, struct argp_state *state)
{
    char *end;
    errno = 0;
    long value = strtol(word, &end, 10);
    if (errno != 0 || end == word || *end != '\0' || value < 1 || value > INT_MAX)
        argp_error(state, "--%s '%s', expected a number from 1", what, word);
    return (int)value;
}

/* Bytes, or a number with K, M, G or T for powers of 1024. */
static size_t parse_bytes(const char *word, struct argp_state *state)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long value = strtoull(word, &end, 10);
    const char *unit = *end == '\0' ? NULL : strchr(units, *end);
    unsigned shift = unit == NULL ? 0 : 10 * (unsigned)(unit - units + 1);
    bool whole = *end == '\0' || (unit != NULL && end[1] == '\0');
    if (errno != 0 || end == word || word[0] == '-' || !whole || value == 0 ||
        value > (SIZE_MAX >> shift))
        argp_error(state, "--mem '%s', expected bytes, or a number with K, M, G or T", word);
    return (size_t)value << shift;
}

static error_t take_option(int key, char *arg, struct argp_state *state)
{
    request *r = state->input;
    switch (key) {
    case 'n':
        r->ranks = parse_count(arg, "ranks", state);
        return 0;
    case 'N':
        r->nodes = parse_count(arg, "nodes", state);
        return 0;
    case 'm':
        r->memory = parse_bytes(arg, state);
        return 0;
    case 's':
        if (r->setting_count == SETTINGS_LIMIT)
            argp_error(state, "more than %d --set", SETTINGS_LIMIT);
        r->settings[r->setting_count++] = arg;
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

/* "1.5 GB": three digits are enough to judge by. */
static wa_status take_amount(double amount, const char *unit, wa_arena *arena, char **out,
                             wa_error *err)
{
    static const char *const prefixes[] = {"", "k", "M", "G", "T", "P", "E"};
    size_t at = 0;
    while (amount >= 999.5 && at + 1 < sizeof prefixes / sizeof prefixes[0]) {
        amount /= 1000.0;
        at++;
    }
    int digits = at == 0 || amount >= 99.95 ? 0 : amount >= 9.995 ? 1 : 2;
    return wa_arena_print(arena, out, err, "%.*f %s%s", digits, amount, prefixes[at], unit);
}

static void set_cell(wa_text_grid *grid, size_t row, size_t column, const char *text)
{
    grid->cells[row * grid->column_count + column].text = text;
}

/* --- Cases
 * ---------------------------------------------------------------------------------------- */

/* The files of a case, each once: "gate_vectors.bin, interleaved_q4k.bin"; "model" for its own
 * weights. */
static wa_status list_files(const wa_case *which, wa_arena *arena, const char **out, wa_error *err)
{
    char *list = NULL;
    const char *seen[WA_PROJECTION_COUNT];
    for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
        const wa_source *source = &which->source[p];
        seen[p] = source->from_model ? "model" : wa_payload_file(source->payload);
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

static wa_status print_cases(const wa_cases *cases, wa_arena *arena, wa_error *err)
{
    static const wa_grid_column columns[] = {
        {"case", false}, {"bucket", false}, {"kernel", false}, {"reads", false}};
    enum { COLUMNS = sizeof columns / sizeof columns[0] };
    wa_text_grid grid;
    WA_TRY(wa_text_grid_open(arena, columns, COLUMNS, cases->count, &grid, err));
    for (size_t c = 0; c < cases->count; c++) {
        const wa_case *which = &cases->items[c];
        const char *files;
        char *reason;
        WA_TRY(list_files(which, arena, &files, err));
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

/* --- The grid
 * ------------------------------------------------------------------------------------- */

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
    WA_TRY(take_amount((double)cost.mapped_bytes, "B", arena, &text, err));
    set_cell(grid, row, 2, text);
    WA_TRY(take_amount(cost.flops, "FLOP", arena, &text, err));
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
    printf("grid:    %d rank%s on %d node%s: %d group%s x %d stage%s x teams of %d; %d idle\n\n",
           ranks, ranks == 1 ? "" : "s", input->nodes, input->nodes == 1 ? "" : "s", grid->groups,
           grid->groups == 1 ? "" : "s", grid->stages, grid->stages == 1 ? "" : "s", grid->teams,
           grid->idle);
}

/* --- Sums
 * ----------------------------------------------------------------------------------------- */

/* Payload of every measured field (block.h); strings and HDF5's own structures come on top. */
static double result_bytes(const wa_dims *dims)
{
    const struct {
        char axis;
        size_t extent;
    } axes[] = {{'C', dims->cases},        {'L', dims->layers}, {'O', dims->rows},
                {'P', dims->prompts},      {'S', dims->slots},  {'V', dims->vindexes},
                {'J', WA_PROJECTION_COUNT}};
    double total = 0.0;
    for (int f = 0; f < WA_FIELD_COUNT; f++) {
        const wa_field_info *info = wa_field_get((wa_field)f);
        double bytes = (double)wa_type_size(info->type);
        for (size_t a = 0; a < sizeof axes / sizeof axes[0]; a++)
            bytes *= wa_axes_has(info->axes, axes[a].axis) ? (double)axes[a].extent : 1.0;
        total += bytes;
    }
    return total;
}

static wa_status print_sums(const wa_audit *audit, const wa_plan *plan, wa_arena *arena,
                            wa_error *err)
{
    char *memory, *size, *busiest, *path;
    wa_dims dims = wa_audit_dims(audit);
    WA_TRY(take_amount((double)plan->anonymous_bytes, "B", arena, &memory, err));
    WA_TRY(take_amount(result_bytes(&dims), "B", arena, &size, err));
    WA_TRY(take_amount(plan->flops_per_rank_max, "FLOP", arena, &busiest, err));
    WA_TRY(wa_audit_result_path(audit, NULL, &path, err));
    printf("memory:  %s per rank beside the mapped files\n", memory);
    printf("result:  %s, about %s\n", path, size);
    printf("load:    busiest rank %s, predicted utilisation %.0f %%\n", busiest,
           100.0 * plan->predicted_utilisation);
    return WA_OK;
}

static void print_warnings(const wa_plan *plan)
{
    if (plan->grid.idle > 0)
        fprintf(stderr, "walkaudit: warning: %d of %d ranks would be idle\n", plan->grid.idle,
                plan->grid.idle + plan->grid.used);
    if (plan->grid.groups > 1 || plan->grid.stages > 1)
        if (plan->batch_count < (size_t)(FEW_BATCHES * plan->grid.groups))
            fprintf(stderr,
                    "walkaudit: warning: %zu batch%s for %d group%s of %d stage%s; below %d per "
                    "group ranks wait for each other: smaller batch.rows or fewer ranks help\n",
                    plan->batch_count, plan->batch_count == 1 ? "" : "es", plan->grid.groups,
                    plan->grid.groups == 1 ? "" : "s", plan->grid.stages,
                    plan->grid.stages == 1 ? "" : "s", FEW_BATCHES);
}

/* --- One audit
 * ------------------------------------------------------------------------------------ */

static wa_status show(wa_audit *audit, const request *r, wa_arena *arena, wa_error *err)
{
    const wa_model *model = audit->model;
    wa_plan_input input;
    wa_plan *plan;
    WA_TRY(wa_audit_tokenize(audit, err));
    WA_TRY(wa_audit_plan_input(audit, r->nodes, r->memory, &input, err));
    WA_TRY(wa_plan_build(&input, r->ranks, arena, &plan, err));

    printf("audit %s\n", audit->request->name);
    printf("model:   %s (%s, %zu layers, hidden %zu, FFN %zu, vocabulary %zu), %s semantics\n",
           audit->request->model, model->family, model->layer_count, model->hidden,
           model->intermediate, model->vocab, wa_semantics_name(model->semantics));
    printf("prompts: %zu, %zu positions\n\n", audit->prompt_count, audit->obs_count);
    WA_TRY(print_cases(&audit->cases, arena, err));
    WA_TRY(print_not_offered(&audit->cases, audit->request, arena, err));
    print_grid(&input, plan, r->ranks);
    WA_TRY(print_seats(&input, plan, &audit->cases, arena, err));
    WA_TRY(print_sums(audit, plan, arena, err));
    if (fflush(stdout) != 0 || ferror(stdout))
        return wa_fail(err, WA_E_IO, "cannot write the plan to stdout");
    print_warnings(plan);
    return WA_OK;
}

static wa_status plan_audit(const wa_job *job, size_t index, const request *r, wa_error *err)
{
    wa_arena *arena;
    wa_audit *audit;
    WA_TRY(wa_arena_open("plan", ARENA_BYTES, &arena, err));
    wa_status status = wa_audit_open(job, index, arena, &audit, err);
    if (status == WA_OK) {
        status = show(audit, r, arena, err);
        wa_audit_close(audit);
        if (status != WA_OK)
            wa_note(err, "in audit '%s'", job->audits[index].name);
    }
    wa_arena_close(arena);
    return status;
}

/* An audit that cannot run does not hide the others; of several codes the worst counts (design 4).
 */
static int worse(int a, int b)
{
    static const int order[] = {4, 2, 3, 75, 1};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        if (a == order[i] || b == order[i])
            return order[i];
    return 0;
}

static int plan_job(const request *r, wa_arena *arena)
{
    wa_job *job;
    wa_error err = {0};
    if (wa_job_open(r->job, r->settings, r->setting_count, arena, &job, &err) != WA_OK)
        return wa_cli_fail(&err);
    int code = 0;
    for (size_t a = 0; a < job->audit_count; a++) {
        if (a > 0)
            putchar('\n');
        if (plan_audit(job, a, r, &err) != WA_OK)
            code = worse(code, wa_cli_fail(&err));
    }
    return code;
}

int wa_cli_plan(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {.name = "ranks", .key = 'n', .arg = "N", .doc = "Plan for N MPI ranks (1)"},
        {.name = "nodes", .key = 'N', .arg = "M", .doc = "on M nodes (1)"},
        {.name = "mem",
         .key = 'm',
         .arg = "BYTES",
         .doc = "Memory of a node, also as 64G; decides the stages. Without it: no limit"},
        {.name = "set",
         .key = 's',
         .arg = "KEY=VALUE",
         .doc = "Set a key of the job, as in batch.rows=64; may be repeated"},
        {0}};
    static const struct argp parser = {
        .options = options,
        .parser = take_option,
        .args_doc = "JOB.yaml",
        .doc = "Show what a job would do, without computing it: its cases and why others are none, "
               "batches, grid, what each rank maps and computes, memory, size of the result."};
    request r = {.ranks = 1, .nodes = 1};
    wa_arena *arena;
    wa_error err = {0};
    argp_err_exit_status = wa_status_exit_code(WA_E_USAGE);
    if (argp_parse(&parser, argc, argv, 0, NULL, &r) != 0)
        return wa_status_exit_code(WA_E_USAGE);
    if (wa_arena_open("job", ARENA_BYTES, &arena, &err) != WA_OK)
        return wa_cli_fail(&err);
    int code = plan_job(&r, arena);
    wa_arena_close(arena);
    return code;
}
