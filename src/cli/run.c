/* walkaudit run: the audit. The only verb that starts MPI. */
#include "base/launched.h"
#include "base/signals.h"
#include "cli/cli.h"
#include "cli/launch.h"
#include "cli/selection.h"
#include "engine/stage.h"
#include "report/table.h"
#include "run/sweep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    KEY_OUT = 256,
    KEY_RESUME,
    KEY_FRESH,
    KEY_ONLY_FAILED,
    KEY_MIXED,
    KEY_MAX_TIME,
    KEY_GRACE,
    KEY_MEMORY,
    KEY_HELP_JOB,
    KEY_DUMP
};
/* Seconds for what is in flight when the time is up: --grace replaces it. */
static const double GRACE = 60.0;

typedef struct arguments {
    const char *job;
    const char *dump; /* --reference-dump, relative to the working directory; NULL = none */
    wa_cli_settings settings;
    wa_cli_selection selection;
    bool help_job;
    double max_time; /* seconds; 0 = none */
    int ranks;       /* to be started by this command; 0 = this process is one, or all */
    wa_run_options options;
} arguments;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    arguments *args = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &args->selection;
        state->child_inputs[1] = &args->settings;
        return 0;
    case 'n':
        args->ranks = wa_cli_count("-n", arg, state);
        return 0;
    case KEY_OUT:
        args->options.out_file = arg;
        return 0;
    case KEY_DUMP:
        args->dump = arg;
        return 0;
    case KEY_RESUME: /* the default */
        return 0;
    case KEY_FRESH:
        args->options.fresh = true;
        return 0;
    case KEY_ONLY_FAILED:
        args->options.only_failed = true;
        return 0;
    case KEY_MIXED:
        args->options.mixed_cores = true;
        return 0;
    case KEY_MAX_TIME:
        args->max_time = wa_cli_duration("--max-time", arg, state);
        if (args->max_time == 0.0)
            argp_error(state, "--max-time: expected more than 0 s");
        return 0;
    case KEY_GRACE:
        args->options.grace = wa_cli_duration("--grace", arg, state);
        return 0;
    case KEY_MEMORY:
        args->options.memory = wa_cli_bytes("--memory", arg, state);
        return 0;
    case KEY_HELP_JOB:
        args->help_job = true;
        return 0;
    case 'v':
        args->options.verbose = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            argp_error(state, "unexpected argument '%s'", arg);
        args->job = arg;
        return 0;
    case ARGP_KEY_END:
        if (args->job == NULL && !args->help_job)
            argp_error(state, "expected a job file");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {.name = "ranks",
     .key = 'n',
     .arg = "N",
     .doc = "start N ranks on this machine, without mpirun"},
    {.name = "out", .key = KEY_OUT, .arg = "FILE", .doc = "result file (jobs of one audit)"},
    {.name = "reference-dump",
     .key = KEY_DUMP,
     .arg = "FILE",
     .doc = "compare the dense model with another implementation's dump (jobs of one audit)"},
    {.name = "resume", .key = KEY_RESUME, .doc = "resume an unfinished result (the default)"},
    {.name = "fresh", .key = KEY_FRESH, .doc = "compute anew, whatever is there"},
    {.name = "only-failed",
     .key = KEY_ONLY_FAILED,
     .doc = "run only audits whose last run failed: their .failed.json stands"},
    {.name = "mixed-cores",
     .key = KEY_MIXED,
     .doc = "with engine: blas, allow hosts with different OpenBLAS cores; the result says so"},
    {.name = "max-time",
     .key = KEY_MAX_TIME,
     .arg = "TIME",
     .doc = "begin no batch after so long, e.g. 3h30m; exit 75, resumable"},
    {.name = "grace",
     .key = KEY_GRACE,
     .arg = "TIME",
     .doc = "then, and after SIGUSR1, finish what fits into this time (60s)"},
    {.name = "memory",
     .key = KEY_MEMORY,
     .arg = "BYTES",
     .doc = "most that a rank takes beside the mapped files, e.g. 400M; more is exit 3"},
    {.name = "help-job", .key = KEY_HELP_JOB, .doc = "list every key of a job file"},
    {.name = "verbose",
     .key = 'v',
     .doc = "progress every second in a log too, and where each rank's time went"},
    {0}};

/* Words on lines of at most 80 columns, four blanks before each. */
static void print_indented(const char *text)
{
    enum { COLUMNS = 80, INDENT = 4 };
    int column = 0;
    while (*text != '\0') {
        int length = (int)strcspn(text, " ");
        bool fits = column > 0 && column + 1 + length <= COLUMNS;
        if (!fits && column > 0)
            putchar('\n');
        printf("%*s%.*s", fits ? 1 : INDENT, "", length, text);
        column = (fits ? column + 1 : INDENT) + length;
        text += length + (text[length] == ' ' ? 1 : 0);
    }
    putchar('\n');
}

static void print_job_keys(void)
{
    size_t count;
    const wa_job_key *keys = wa_job_keys(&count);
    for (size_t i = 0; i < count; i++) {
        /* in parentheses where it is computed */
        const char *fallback = keys[i].fallback;
        size_t length = strlen(fallback), out = fallback[0] == '(' ? 1 : 0;
        printf("%s  (%s%s%.*s)\n", keys[i].name, keys[i].type, length > 0 ? "; default: " : "",
               (int)(length - 2 * out), fallback + out);
        print_indented(keys[i].meaning);
    }
    puts("\nSections such as \"see Paths\" are those of jobs/README.md.");
}

/* The words of --set, and --reference-dump as one: paths of a job are relative to its file, this
 * one to where we are. */
static wa_status all_settings(const arguments *args, wa_arena *arena, const char *const **out,
                              size_t *count, wa_error *err)
{
    const char **words;
    char here[4096] = "", *word;
    WA_TRY(wa_arena_take(arena, args->settings.count + 1, sizeof *words, &words, err));
    for (*count = 0; *count < args->settings.count; (*count)++)
        words[*count] = args->settings.words[*count];
    *out = words;
    if (args->dump == NULL)
        return WA_OK;
    if (args->dump[0] != '/' && getcwd(here, sizeof here - 1) == NULL)
        return wa_fail(err, WA_E_IO, "cannot tell the working directory: %s", strerror(errno));
    WA_TRY(wa_arena_print(arena, &word, err, "audits[].reference_dump=%s%s%s", here,
                          here[0] == '\0' ? "" : "/", args->dump));
    words[(*count)++] = word;
    return WA_OK;
}

static wa_status open_job(const arguments *args, wa_arena *arena, wa_job **job, wa_error *err)
{
    const char *const *settings;
    size_t count;
    WA_TRY(all_settings(args, arena, &settings, &count, err));
    WA_TRY(wa_job_open(args->job, settings, count, arena, job, err));
    return wa_cli_check_out(args->options.out_file, *job, err);
}

static int run_on_ranks(const arguments *args, wa_comm *comm, wa_arena *arena)
{
    wa_error err = {.status = WA_OK};
    wa_job *job;
    wa_status status = wa_comm_agree(comm, open_job(args, arena, &job, &err), &err);
    if (status == WA_OK)
        return wa_run_job(comm, job, &args->options);
    return wa_comm_rank(comm) == 0 ? wa_error_print(&err) : wa_status_exit_code(status);
}

static const char *join_words(int argc, char **argv, wa_arena *arena)
{
    char *text = NULL;
    for (int i = 0; i < argc; i++)
        if (wa_arena_print(arena, &text, NULL, "%s%s%s", text == NULL ? "" : text,
                           text == NULL ? "" : " ", argv[i]) != WA_OK)
            return "";
    return text == NULL ? "" : text;
}

static const struct argp_child CHILDREN[] = {
    {.argp = &wa_cli_selection_parser}, {.argp = &wa_cli_settings_parser}, {0}};

const struct argp wa_cli_run_parser = {
    .options = OPTIONS,
    .children = CHILDREN,
    .parser = parse_option,
    .args_doc = "JOB.yaml",
    .doc = "Audit every (vindex, path) of a job against the dense model."};

/* A rank is asked to start ranks: one of them says so. */
static int refuse_launch(int ranks)
{
    wa_error err;
    const char *rank = getenv(wa_launched_by());
    (void)wa_fail(
        &err, WA_E_USAGE,
        "-n %d: a launcher has started this process already (%s is set); use one of the two", ranks,
        wa_launched_by());
    return rank != NULL && strcmp(rank, "0") == 0 ? wa_error_print(&err)
                                                  : wa_status_exit_code(WA_E_USAGE);
}

static int launch(int ranks, int argc, char **argv)
{
    wa_error err = {.status = WA_OK};
    wa_arena *arena;
    int code = 0;
    if (wa_arena_open("words", 0, &arena, &err) != WA_OK)
        return wa_error_print(&err);
    if (wa_cli_launch(ranks, argc, argv, arena, &code, &err) != WA_OK)
        code = wa_error_print(&err);
    wa_arena_close(arena);
    return code;
}

int wa_cli_run(int argc, char **argv)
{
    size_t parts_added = 0;
    wa_signals_hear_requests();
    double started = wa_clock();
    arguments args = {.job = NULL, .options = {.grace = GRACE, .parts_added = &parts_added}};
    /* Words are judged before MPI starts: a usage error is one message, not one per rank. */
    args.options.quiet = wa_cli_parse(&wa_cli_run_parser, argc, argv, &args);
    if (args.help_job) {
        print_job_keys();
        return 0;
    }
    if (args.ranks > 0 && !wa_cli_is_launched()) {
        if (wa_launched_by() != NULL)
            return refuse_launch(args.ranks);
        if (args.ranks > 1)
            return launch(args.ranks, argc, argv);
    }
    args.options.colour = wa_table_wants_colour();
    if (args.max_time != 0.0)
        args.options.deadline = started + args.max_time;
    wa_error err = {.status = WA_OK};
    wa_arena *arena;
    if (wa_arena_open("job", 0, &arena, &err) != WA_OK)
        return wa_error_print(&err);
    args.options.selection = args.selection.chosen;
    args.options.command_line = join_words(argc, argv, arena);
    wa_comm *comm;
    if (wa_comm_open(&argc, &argv, &comm, &err) != WA_OK) {
        int code = wa_error_print(&err);
        wa_arena_close(arena);
        return code;
    }
    wa_signals_guard();
    wa_signals_prepare(wa_comm_rank(comm) == 0);
    wa_signals_hear();
    int rank = wa_comm_rank(comm), code = 0;
    bool speaks;
    if (wa_cli_launch_began(args.ranks, rank, wa_comm_size(comm), &speaks, &err) == WA_OK)
        code = run_on_ranks(&args, comm, arena);
    else
        code = speaks ? wa_error_print(&err) : wa_status_exit_code(err.status);
    wa_signals_tell(code);
    wa_comm_close(comm);
    wa_arena_close(arena);
    return rank == 0 ? code : 0;
}
