/* walkaudit: the table of verbs, and the only exit. */
#include "base/foreign.h"
#include "base/show.h"
#include "base/signals.h"
#include "base/spell.h"
#include "cli/cli.h"
#include "cli/manual.h"
#include "comm/comm.h"
#include "compute/kernel.h"
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const wa_cli_verb VERBS[] = {
/* clang-format off */
#define VERB(name, arguments, does) {#name, wa_cli_##name, &wa_cli_##name##_parser, arguments, does}
    /* clang-format on */
    VERB(run, "JOB.yaml", "audit; -n N starts N ranks on this machine"),
    VERB(plan, "JOB.yaml", "say what a run would do and take"),
    VERB(init, "MODEL VINDEX…", "print a job that audits these and runs as it is"),
    VERB(inspect, "PATH", "say what a model, vindex or result file holds"),
    VERB(extract, "MODEL OUT.vindex", "write a vindex from a model"),
    VERB(synth, "OUT", "write a random model with a tokenizer"),
    VERB(tokenize, "MODEL [TEXT]", "print token ids and pieces of a text"),
    VERB(verdict, "RESULT.h5", "judge a result again, perhaps by other bounds"),
    VERB(selftest, "[MODEL]", "plant faults in a vindex and say which are found"),
    VERB(status, "JOB.yaml|RESULT.h5", "say what is done and what is missing"),
#undef VERB
/* walkaudit-report's, which this program becomes. */
/* clang-format off */
#define VERB(name, arguments, does) {#name, wa_cli_report, NULL, arguments, does}
    /* clang-format on */
    VERB(report, "RESULT.h5… -o DIR", "write Markdown, JSON and HTML pages"),
    VERB(index, "DIR", "write one page over all results of a folder"),
    VERB(plot, "RESULT.h5… -o DIR", "draw figures of results as files"),
    VERB(diff, "OLD.h5 NEW.h5", "compare two results of a job"),
    VERB(worst, "RESULT.h5", "list the worst places, with their context"),
    VERB(collect, "DIR -o SWEEP.h5", "write one table of all cases of a folder"),
    VERB(tighten, "RESULT.h5…", "propose bounds a little above what results show"),
#undef VERB
};
enum { VERB_COUNT = sizeof VERBS / sizeof VERBS[0] };

static void print_help(FILE *out)
{
    fputs("usage: walkaudit VERB [ARGUMENTS]\n\n", out);
    for (int i = 0; i < VERB_COUNT; i++) {
        if (i > 0 && VERBS[i].parser == NULL && VERBS[i - 1].parser != NULL)
            fputs("\nFor readers of results (program walkaudit-report):\n", out);
        /* … is one column in three bytes */
        int wide = (int)(strlen(VERBS[i].arguments) - wa_show_width(VERBS[i].arguments));
        fprintf(out, "  %-9s %-*s%s\n", VERBS[i].name, 20 + wide, VERBS[i].arguments,
                VERBS[i].does);
    }
    fputs("\n`walkaudit help VERB` or `walkaudit VERB -h` says more about a verb;\n"
          "`walkaudit --version` prints versions.\n",
          out);
}

static void print_version(void)
{
    wa_blas blas = wa_blas_look();
    char mpi[128];
    wa_comm_library(mpi, sizeof mpi);
    printf("walkaudit %s\n%s\n%s\n%s core: %s\nMPI: %s\n", WALKAUDIT_VERSION, wa_store_library(),
           blas.config, blas.name, blas.core, mpi);
}

static int run_verb(const wa_cli_verb *which, int argc, char **argv)
{
    char name[64];
    snprintf(name, sizeof name, "walkaudit %s", which->name);
    argv[0] = name;
    argp_err_exit_status = wa_status_exit_code(WA_E_USAGE);
    wa_signals_guard();
    wa_store_prepare();
    return which->run(argc, argv);
}

static const wa_cli_verb *find_verb(const char *name)
{
    for (int i = 0; i < VERB_COUNT; i++)
        if (strcmp(name, VERBS[i].name) == 0)
            return &VERBS[i];
    const char *known[VERB_COUNT];
    char hint[WA_SPELL_HINT];
    for (int i = 0; i < VERB_COUNT; i++)
        known[i] = VERBS[i].name;
    wa_spell_hint(name, known, VERB_COUNT, hint);
    fprintf(stderr, "walkaudit: unknown verb '%s'%s\n", name, hint);
    return NULL;
}

static int help_on(const char *name)
{
    static char wish[] = "--help";
    char *words[] = {NULL, wish, NULL};
    const wa_cli_verb *verb = find_verb(name);
    return verb == NULL ? wa_status_exit_code(WA_E_USAGE) : run_verb(verb, 2, words);
}

static bool is_any(const char *word, const char *first, const char *second, const char *third)
{
    return strcmp(word, first) == 0 || strcmp(word, second) == 0 || strcmp(word, third) == 0;
}

/* At exit, so that it holds for every verb and for --help: what was asked for and cannot be written
 * is no success. */
static void check_output(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return;
    wa_signals_tell(wa_status_exit_code(WA_E_IO));
    fprintf(stderr, "walkaudit: cannot write the answer to stdout%s%s\n", errno == 0 ? "" : ": ",
            errno == 0 ? "" : strerror(errno));
    _exit(wa_status_exit_code(WA_E_IO));
}

int main(int argc, char **argv)
{
    if (atexit(check_output) != 0)
        return wa_status_exit_code(WA_E_INTERNAL);
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    /* What the build makes manual pages and completion of. */
    if (argc == 4 && strcmp(argv[1], "help") == 0 && strcmp(argv[2], "--document") == 0)
        return wa_cli_print_document(argv[3], VERBS, VERB_COUNT, stdout) && fflush(stdout) == 0
                   ? 0
                   : wa_status_exit_code(WA_E_USAGE);
    if (argc > 2 && strcmp(argv[1], "help") == 0)
        return help_on(argv[2]);
    if (is_any(argv[1], "--help", "-h", "help")) {
        print_help(stdout);
        return 0;
    }
    if (is_any(argv[1], "--version", "-V", "version")) {
        print_version();
        return 0;
    }
    const wa_cli_verb *verb = find_verb(argv[1]);
    int code = verb == NULL ? wa_status_exit_code(WA_E_USAGE) : run_verb(verb, argc - 1, argv + 1);
    wa_foreign_expect_exit(); /* a library may be left loaded */
    return code;
}
