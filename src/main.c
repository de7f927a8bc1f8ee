/* walkaudit: the table of verbs, and the only exit. */
#include "base/signals.h"
#include "cli/cli.h"
#include "compute/kernel.h"
#include "comm/comm.h"
#include "store/store.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *arguments;
    const char *does;
} verb;

static const verb VERBS[] = {
    {"run", wa_cli_run, "JOB.yaml", "the audit; start it with mpirun or srun (one rank needs neither)"},
    {"plan", wa_cli_plan, "JOB.yaml", "cases, batches, grid, memory and result size, without computing"},
    {"inspect", wa_cli_inspect, "PATH", "what a model, GGUF, vindex or result file is"},
    {"extract", wa_cli_extract, "MODEL OUT.vindex", "write a vindex from a model"},
    {"synth", wa_cli_synth, "OUT", "write a random but realistic model with tokenizer"},
    {"tokenize", wa_cli_tokenize, "MODEL [TEXT]", "token ids and pieces of a text"},
    {"verdict", wa_cli_verdict, "RESULT.h5", "judge a finished result again, perhaps with other bounds"},
    {"selftest", wa_cli_selftest, "[MODEL]", "plant faults in copies of a vindex, and see which are found"},
    {"status", wa_cli_status, "RESULT.h5", "what is done and what is missing"},
};
enum { VERB_COUNT = sizeof VERBS / sizeof VERBS[0] };

static void print_help(FILE *out)
{
    fputs("usage: walkaudit VERB [ARGUMENTS]\n\n", out);
    for (int i = 0; i < VERB_COUNT; i++)
        fprintf(out, "  %-9s %-17s %s\n", VERBS[i].name, VERBS[i].arguments, VERBS[i].does);
    fputs("\nEvery verb has --help. `walkaudit --version` prints versions.\n", out);
}

static void print_version(void)
{
    wa_blas blas = wa_blas_look();
    char mpi[128];
    wa_comm_library(mpi, sizeof mpi);
    printf("walkaudit %s\n%s\n%s\n%s core: %s\nMPI: %s\n", WALKAUDIT_VERSION, wa_store_library(), blas.config,
           blas.name, blas.core, mpi);
}

static int run_verb(const verb *which, int argc, char **argv)
{
    char name[64];
    snprintf(name, sizeof name, "walkaudit %s", which->name);
    argv[0] = name;
    argp_err_exit_status = wa_status_exit_code(WA_E_USAGE);
    wa_signals_guard();
    wa_store_prepare();
    return which->run(argc, argv);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        print_version();
        return 0;
    }
    for (int i = 0; i < VERB_COUNT; i++)
        if (strcmp(argv[1], VERBS[i].name) == 0)
            return run_verb(&VERBS[i], argc - 1, argv + 1);
    fprintf(stderr, "walkaudit: unknown verb '%s'; walkaudit --help lists them\n", argv[1]);
    return 2;
}
