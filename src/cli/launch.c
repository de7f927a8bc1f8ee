/* One command for several ranks: find the launcher, give it what it needs, wait, hand signals
 * on. */
#include "cli/launch.h"

#include "base/launched.h"
#include "base/signals.h"
#include "comm/comm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The mark file has WA_LAUNCH_BEGUN of each rank 0 that has begun (several where the launcher belongs
 * to another MPI), and the exit code of the first of them: the last one counts. */
enum { PLACE_BYTES = 4096, COULD_NOT_EXEC = 127, MARK_BYTES = 1024 };

/* The launcher of each MPI, to be found in PATH. */
typedef struct launcher {
    const char *library; /* how MPI_Get_library_version begins */
    const char *program; /* Debian's name, where several MPIs are installed */
} launcher;

static const launcher LAUNCHERS[] = {
    {"Open MPI", "mpiexec.openmpi"}, {"MPICH", "mpiexec.mpich"}, {"", "mpiexec"}};

bool wa_cli_is_launched(void)
{
    return getenv(WA_LAUNCH_MARK) != NULL;
}

wa_status wa_cli_launch_began(int ranks, int rank, int size, bool *speaks, wa_error *err)
{
    static const char begun = WA_LAUNCH_BEGUN;
    const char *mark = getenv(WA_LAUNCH_MARK);
    int file = mark != NULL && rank == 0 ? open(mark, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
    *speaks = file >= 0 && write(file, &begun, 1) == 1 && lseek(file, 0, SEEK_CUR) == 1;
    if (*speaks)
        wa_signals_tell_in(file);
    else if (file >= 0)
        (void)close(file);
    if (mark == NULL || size == ranks)
        return WA_OK;
    return wa_fail(err, WA_E_IO,
                   "-n %d: the launcher belongs to another MPI: it started processes that do not "
                   "know each other; "
                   "WALKAUDIT_MPIEXEC may name this one's",
                   ranks);
}

static const launcher *find_launcher(void)
{
    char library[128];
    const launcher *which = LAUNCHERS;
    wa_comm_library(library, sizeof library);
    while (strncmp(library, which->library, strlen(which->library)) != 0)
        which++;
    return which;
}

/* Open MPI 4 and 5 by their variables, which others do not read. What the user has set stays. */
static void allow_open_mpi(int ranks)
{
    static const char *const as_root[] = {
        "OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "PRTE_ALLOW_RUN_AS_ROOT",
        "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM"};
    for (size_t i = 0; geteuid() == 0 && i < sizeof as_root / sizeof as_root[0]; i++)
        setenv(as_root[i], "1", 0);
    /* as -q: without its ten lines about an exit code other than 0 */
    setenv("OMPI_MCA_orte_execute_quiet", "1", 0);
    if (getenv("SLURM_JOB_ID") != NULL) /* the allocation says how many fit */
        return;
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 0);
    setenv("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe", 0);
    if (ranks > sysconf(_SC_NPROCESSORS_ONLN))
        setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
}

static void tell_terminals(void)
{
    char terminals[3] = "";
    size_t count = 0;
    for (int descriptor = STDOUT_FILENO; descriptor <= STDERR_FILENO; descriptor++)
        if (isatty(descriptor))
            terminals[count++] = (char)('0' + descriptor);
    setenv(WA_LAUNCH_TERMINALS, terminals, 1);
    char columns[24];
    snprintf(columns, sizeof columns, "%zu", wa_terminal_columns(STDOUT_FILENO));
    setenv(WA_LAUNCH_COLUMNS, columns, 1);
}

static wa_status make_mark(wa_arena *arena, char **out, wa_error *err)
{
    const char *directory = getenv("TMPDIR");
    directory = directory == NULL || directory[0] == '\0' ? "/tmp" : directory;
    WA_TRY(wa_arena_print(arena, out, err, "%s/walkaudit-launch-XXXXXX", directory));
    int file = mkstemp(*out);
    if (file < 0)
        return wa_fail(err, WA_E_IO, "cannot make a file in '%s': %s", directory, strerror(errno));
    (void)close(file);
    setenv(WA_LAUNCH_MARK, *out, 1);
    return WA_OK;
}

/* LAUNCHER -n RANKS PROGRAM run WORD… */
static wa_status list_words(int ranks, int argc, char **argv, wa_arena *arena, char ***out,
                            wa_error *err)
{
    char **words, *own;
    size_t at = 1; /* the launcher's name comes when it is known */
    WA_TRY(wa_arena_take(arena, (size_t)argc + 8, sizeof *words, &words, err));
    WA_TRY(wa_arena_take(arena, PLACE_BYTES, 1, &own, err));
    if (readlink("/proc/self/exe", own, PLACE_BYTES - 1) < 0)
        return wa_fail(err, WA_E_IO, "cannot tell where this program is: /proc/self/exe: %s",
                       strerror(errno));
    WA_TRY(wa_arena_copy(arena, "-n", 2, &words[at++], err));
    WA_TRY(wa_arena_print(arena, &words[at++], err, "%d", ranks));
    words[at++] = own;
    words[at++] = strrchr(argv[0], ' ') + 1; /* of "walkaudit run" */
    for (int i = 1; i < argc; i++)
        words[at++] = argv[i];
    *out = words;
    return WA_OK;
}

/* WALKAUDIT_MPIEXEC, else the one that fits the library, the one that CMake found, any. Returns
 * only when there is none. */
static void become_launcher(const launcher *which, char **words)
{
    char built_with[] = WALKAUDIT_MPIEXEC, any[] = "mpiexec", by_name[64];
    char *chosen = getenv("WALKAUDIT_MPIEXEC");
    snprintf(by_name, sizeof by_name, "%s", which->program);
    char *const places[] = {by_name, built_with, any};
    if (chosen != NULL && chosen[0] != '\0') {
        words[0] = chosen;
        execvp(chosen, words);
        return;
    }
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        words[0] = places[i];
        execvp(places[i], words);
    }
}

/* What rank 0 has said so far. */
typedef struct answer {
    bool began, resumable, ended;
    int code; /* when it ended */
} answer;

static answer read_mark(const char *mark)
{
    char text[MARK_BYTES];
    answer said = {.began = false};
    int file = open(mark, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read(file, text, sizeof text);
    said.began = length > 0;
    for (ssize_t i = 0; i < length; i++)
        if (text[i] == WA_LAUNCH_RESUMABLE) {
            said.resumable = true;
        } else if (text[i] != WA_LAUNCH_BEGUN) {
            said.ended = true;
            said.code = (unsigned char)text[i];
        }
    if (file >= 0)
        (void)close(file);
    return said;
}

static void fill_signals(sigset_t *set)
{
    static const int heard[] = {SIGCHLD, SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    sigemptyset(set);
    for (size_t i = 0; i < sizeof heard / sizeof heard[0]; i++)
        sigaddset(set, heard[i]);
}

/* Signals go on to the launcher, but not those of a terminal, which it has got itself. It loses, or
 * dies of, SIGUSR1 and SIGUSR2 while it has no ranks: these are held until there are some. held: one
 * that came before; 0 = none */
static int wait_for(pid_t child, const sigset_t *signals, const char *mark, int held)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    int state = 0;
    for (pid_t ended = 0; ended != child;) {
        siginfo_t info;
        int number = held == 0 ? sigwaitinfo(signals, &info) : sigtimedwait(signals, &info, &pause);
        if (number == SIGCHLD)
            ended = waitpid(child, &state, WNOHANG);
        else if ((number == SIGUSR1 || number == SIGUSR2) && info.si_code <= 0)
            held = number;
        else if (number > 0 && info.si_code <= 0) /* sent by a process */
            kill(child, number);
        if (held != 0 && ended != child && read_mark(mark).began) {
            kill(child, held);
            held = 0;
        }
    }
    return WIFSIGNALED(state) ? 128 + WTERMSIG(state) : WEXITSTATUS(state);
}

static wa_status start_and_wait(const launcher *which, char **words, const char *mark,
                                int *exit_code, wa_error *err)
{
    sigset_t signals, before;
    struct sigaction plain = {.sa_handler = SIG_DFL};
    fill_signals(&signals);
    sigaction(SIGCHLD, &plain, NULL); /* whoever started this process may have it ignored */
    sigprocmask(SIG_BLOCK, &signals, &before);
    pid_t child = fork();
    if (child == 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        /* A rank that reads nothing needs no terminal: in the background it would be stopped. */
        if (freopen("/dev/null", "r", stdin) != NULL)
            become_launcher(which, words);
        _exit(COULD_NOT_EXEC);
    }
    if (child < 0)
        return wa_fail(err, WA_E_IO, "cannot start a process: %s", strerror(errno));
    *exit_code = wait_for(child, &signals, mark, wa_signals_heard());
    sigprocmask(SIG_SETMASK, &before, NULL);
    return WA_OK;
}

static wa_status say_what_failed(int ranks, int code, wa_error *err)
{
    const char *chosen = getenv("WALKAUDIT_MPIEXEC");
    const char *name = chosen != NULL && chosen[0] != '\0' ? chosen : "mpiexec";
    if (code == COULD_NOT_EXEC)
        return wa_fail(err, WA_E_IO,
                       "-n %d: cannot start '%s'; WALKAUDIT_MPIEXEC may name MPI's launcher", ranks,
                       name);
    return wa_fail(err, WA_E_IO,
                   "-n %d: the launcher ended with %d before rank 0 had begun; `mpirun -n %d "
                   "walkaudit run …` shows why",
                   ranks, code, ranks);
}

/* 1 is never passed on: launchers say it of failures of their own. */
static bool is_ours(int code)
{
    static const int codes[] = {
#define EXIT_CODE(status, exit_code, meaning) exit_code,
        WA_STATUS_LIST(EXIT_CODE)
#undef EXIT_CODE
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i] == code)
            return code > 1;
    return false;
}

/* A rank was killed, or the launcher was. */
static wa_status say_what_ended(int ranks, int code, const answer *said, wa_error *err)
{
    char how[64];
    if (code > 128)
        snprintf(how, sizeof how, "%d, as after signal %d", code, code - 128);
    else
        snprintf(how, sizeof how, "%d", code);
    if (said->ended)
        return wa_fail(err, WA_E_MPI, "-n %d: the launcher ended with %s, though rank 0 with 0",
                       ranks, how);
    return wa_fail(err, said->resumable ? WA_E_STOPPED : WA_E_NO_PROGRESS,
                   "-n %d: the launcher ended with %s, and rank 0 without a word: %s", ranks, how,
                   said->resumable ? "run the job again, and it resumes" : "no batch was done");
}

/* What all this comes to. A launcher that got SIGTERM, or a rank that was killed, has a code of its
 * own. */
static wa_status conclude(int ranks, const answer *said, int *exit_code, wa_error *err)
{
    int code = *exit_code;
    if (!said->began && code != 0)
        return say_what_failed(ranks, code, err);
    if (said->code != 0)
        *exit_code = said->code;
    else if (code != 0 ? !is_ours(code) : said->began && !said->ended)
        return say_what_ended(ranks, code, said, err);
    return WA_OK;
}

wa_status wa_cli_launch(int ranks, int argc, char **argv, wa_arena *arena, int *exit_code,
                        wa_error *err)
{
    const launcher *which = find_launcher();
    char **words, *mark;
    WA_TRY(list_words(ranks, argc, argv, arena, &words, err));
    WA_TRY(make_mark(arena, &mark, err));
    allow_open_mpi(ranks);
    tell_terminals();
    wa_status status = start_and_wait(which, words, mark, exit_code, err);
    answer said = read_mark(mark);
    unlink(mark);
    return status == WA_OK ? conclude(ranks, &said, exit_code, err) : status;
}
