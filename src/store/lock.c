/* The owner lock of a parts directory: who computes this result, and is that process still there?
 */
#include "store/parts.h"
#include "store/store.h"

#include "base/bytes.h"
#include "base/json.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STALE_SECONDS = 60, BEAT_SECONDS = 5, LOCK_BYTES = 1024, WA_BOOT_BYTES = 64 };

/*
 * Start time of a process in clock ticks since boot (proc(5), field 22 of stat), 0 when there is no
 * such process or no /proc: tells a process from a later one that got its number. *state: field 3,
 * a letter; 0 when unknown.
 */
static unsigned long long start_time(long process, char *state)
{
    *state = '\0';
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", process);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    size_t got = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[got] = '\0';
    char *at = strrchr(line, ')'); /* the name before it may hold anything */
    if (at != NULL && at[1] == ' ')
        *state = at[2];
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at == NULL ? 0 : strtoull(at, NULL, 10);
}

static void host_name(char out[WA_HOST_BYTES])
{
    memset(out, 0, WA_HOST_BYTES);
    if (gethostname(out, WA_HOST_BYTES - 1) != 0)
        out[0] = '\0';
}

/* Which kernel, since which boot, and which numbering of its processes: "" where /proc does not
 * say. */
static void process_space(char boot[WA_BOOT_BYTES], char space[WA_BOOT_BYTES])
{
    memset(boot, 0, WA_BOOT_BYTES);
    memset(space, 0, WA_BOOT_BYTES);
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    if (file != NULL) {
        size_t got = fread(boot, 1, WA_BOOT_BYTES - 1, file);
        fclose(file);
        boot[got] = '\0';
        boot[strcspn(boot, "\n")] = '\0';
    }
    if (readlink("/proc/self/ns/pid", space, WA_BOOT_BYTES - 1) < 0)
        space[0] = '\0';
}

static wa_status write_lock_text(const char *run, char *out, size_t size, wa_error *err)
{
    char host[WA_HOST_BYTES], boot[WA_BOOT_BYTES], space[WA_BOOT_BYTES];
    host_name(host);
    process_space(boot, space);
    char state;
    const char *slurm = getenv("SLURM_JOB_ID");
    json_t *lock = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s}", "run", run, "host", host,
                             "boot", boot, "space", space, "process", (json_int_t)getpid(), "start",
                             (json_int_t)start_time((long)getpid(), &state), "slurm_job",
                             slurm == NULL ? "" : slurm);
    size_t length = lock == NULL ? 0 : json_dumpb(lock, out, size - 1, JSON_COMPACT);
    json_decref(lock);
    if (length == 0 || length >= size)
        return wa_fail(err, WA_E_INTERNAL, "cannot describe this process for its lock");
    out[length] = '\0';
    return WA_OK;
}

static bool process_is_there(long process, unsigned long long start)
{
    if (process <= 0 || (kill((pid_t)process, 0) != 0 && errno == ESRCH))
        return false;
    char state;
    unsigned long long now = start_time(process, &state);
    if (state == 'Z' || state == 'X')
        return false; /* it ended; mpirun, killed with it, has not fetched its exit code */
    return start == 0 || now == 0 || now == start;
}

static void copy_text(const json_t *lock, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(lock, key));
    snprintf(out, size, "%s", text == NULL ? "" : text);
}

/*
 * Age of the heartbeat against `now`, a time of the same file system's clock. Where the lock was
 * written under this boot of this kernel and its numbering of processes, the process itself is
 * asked: it is there, perhaps suspended, or it is not. Everywhere else, also in another container
 * of this very machine, only the heartbeat can tell.
 */
static void judge(const char *text, size_t length, double age, wa_owner *out)
{
    json_t *lock = json_loadb(text, length, 0, NULL);
    char boot[WA_BOOT_BYTES], space[WA_BOOT_BYTES], its_boot[WA_BOOT_BYTES],
        its_space[WA_BOOT_BYTES];
    process_space(boot, space);
    copy_text(lock, "host", out->host, sizeof out->host);
    copy_text(lock, "run", out->run, sizeof out->run);
    copy_text(lock, "slurm_job", out->slurm_job, sizeof out->slurm_job);
    copy_text(lock, "boot", its_boot, sizeof its_boot);
    copy_text(lock, "space", its_space, sizeof its_space);
    out->process = (long)json_integer_value(json_object_get(lock, "process"));
    unsigned long long start =
        (unsigned long long)json_integer_value(json_object_get(lock, "start"));
    bool can_ask = boot[0] != '\0' && space[0] != '\0' && strcmp(boot, its_boot) == 0 &&
                   strcmp(space, its_space) == 0;
    out->alive = can_ask ? process_is_there(out->process, start) : age < STALE_SECONDS;
    json_decref(lock);
}

/* now: the file system's time, or NULL for this machine's. */
static void look(const char *path, const struct timespec *now, wa_owner *out)
{
    *out = (wa_owner){.present = false};
    int fd;
    if (wa_regular_open(path, &fd, NULL) != WA_OK)
        return;
    char text[LOCK_BYTES];
    ssize_t length = read(fd, text, sizeof text);
    struct stat info;
    if (length >= 0 && fstat(fd, &info) == 0) {
        time_t then = now == NULL ? time(NULL) : now->tv_sec;
        out->present = true;
        out->inode = info.st_ino;
        judge(text, (size_t)length, difftime(then, info.st_mtim.tv_sec), out);
    }
    close(fd);
}

void wa_lock_look(const char *directory, wa_owner *out)
{
    char path[WA_NAME_BYTES];
    *out = (wa_owner){.present = false};
    if (wa_parts_join(directory, "lock", path, NULL) == WA_OK)
        look(path, NULL, out);
}

static wa_status refuse(const char *path, const wa_owner *owner, wa_error *err)
{
    return wa_fail(err, WA_E_BUSY,
                   "another run is computing this result: host %s, process %ld%s%s; in file '%s'",
                   owner->host[0] == '\0' ? "unknown" : owner->host, owner->process,
                   owner->slurm_job[0] == '\0' ? "" : ", Slurm job ", owner->slurm_job, path);
}

/* --- The guard: whoever puts a lock in place or takes it away holds the kernel's lock of this- */

/* The guard is held for some system calls only: who holds it for long is suspended, and not waited
 * for. 0 or the cause. */
static int lock_soon(int fd)
{
    enum { TRIES = 1000 };
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    int cause = 0;
    for (int i = 0; i < TRIES; i++) {
        cause = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
        if (cause != EWOULDBLOCK && cause != EINTR)
            break;
        nanosleep(&pause, NULL);
    }
    return cause;
}

/*
 * Open and lock "PATH.guard"; the kernel lets go when this process ends, however it ends. Whoever
 * removes a parts directory removes its guard while holding it, so a guard that was waited for is
 * used only where it still stands.
 */
static wa_status take_guard(const char *path, int *out, wa_error *err)
{
    char guard[WA_NAME_BYTES];
    WA_TRY(wa_path_print(guard, err, "%s.guard", path));
    for (;;) {
        int fd = open(guard, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (fd < 0)
            return wa_fail(err, WA_E_IO, "cannot open '%s': %s", guard, strerror(errno));
        int cause = lock_soon(fd);
        if (cause != 0) {
            close(fd);
            return wa_fail(err, WA_E_IO, "cannot lock '%s': %s", guard,
                           cause == EWOULDBLOCK ? "another process has held it for 10 s"
                                                : strerror(cause));
        }
        if (wa_file_is_at(guard, fd)) {
            *out = fd;
            return WA_OK;
        }
        close(fd);
    }
}

wa_status wa_lock_guard(const char *directory, int *out, wa_error *err)
{
    char path[WA_NAME_BYTES];
    WA_TRY(wa_parts_join(directory, "lock", path, err));
    return take_guard(path, out, err);
}

void wa_lock_unguard(int guard)
{
    close(guard);
}

/* Under the guard: refuse a living owner, and put the finished temporary in the place of a dead one
 * or of none. */
static wa_status put_in_place(const char *temporary, const char *path, wa_owner *before,
                              wa_error *err)
{
    struct stat info;
    if (stat(temporary, &info) != 0)
        return wa_fail(err, WA_E_IO, "cannot make lock '%s': %s", path, strerror(errno));
    look(path, &info.st_mtim, before);
    if (before->present && before->alive)
        return refuse(path, before, err);
    if (rename(temporary, path) != 0)
        return wa_fail(err, WA_E_IO, "cannot make lock '%s': %s", path, strerror(errno));
    return WA_OK;
}

static wa_status write_temporary(const char *temporary, wa_lock *lock, wa_error *err)
{
    char text[LOCK_BYTES];
    struct stat info;
    WA_TRY(write_lock_text(lock->run, text, sizeof text, err));
    WA_TRY(wa_temporary_create(temporary, &lock->fd, err));
    WA_TRY(wa_write_all(lock->fd, text, strlen(text), NULL, err));
    if (fsync(lock->fd) != 0 || fstat(lock->fd, &info) != 0)
        return wa_fail(err, WA_E_IO, "cannot write '%s': %s", temporary, strerror(errno));
    lock->device = info.st_dev;
    lock->inode = info.st_ino;
    return WA_OK;
}

static wa_status take(wa_lock *lock, const char *temporary, wa_owner *before, wa_error *err)
{
    int guard;
    WA_TRY(write_temporary(temporary, lock, err));
    WA_TRY(take_guard(lock->path, &guard, err));
    wa_status status = put_in_place(temporary, lock->path, before, err);
    wa_lock_unguard(guard);
    return status;
}

wa_status wa_run_id_draw(char out[WA_RUN_ID_BYTES], wa_error *err)
{
    unsigned char bytes[(WA_RUN_ID_BYTES - 1) / 2];
    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return wa_fail(err, WA_E_INTERNAL, "cannot draw a random number for this run");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return WA_OK;
}

/* --- The heart: a computation may take minutes in which it comes to nothing else --- */

/* A heartbeat that cannot be written is no reason to stop computing. */
static void *keep_beating(void *context)
{
    wa_lock *lock = context;
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    pthread_mutex_lock(&lock->mutex);
    while (!lock->ending) {
        next.tv_sec += BEAT_SECONDS;
        while (!lock->ending &&
               pthread_cond_timedwait(&lock->woken, &lock->mutex, &next) != ETIMEDOUT)
            continue;
        if (!lock->ending)
            (void)futimens(lock->fd, NULL);
        clock_gettime(CLOCK_MONOTONIC, &next);
    }
    pthread_mutex_unlock(&lock->mutex);
    return NULL;
}

static wa_status start_heart(wa_lock *lock, wa_error *err)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&lock->mutex, NULL);
    pthread_cond_init(&lock->woken, &attributes);
    pthread_condattr_destroy(&attributes);
    lock->ending = false;
    int refused = wa_thread_start(&lock->heart, NULL, keep_beating, lock);
    if (refused == 0)
        return WA_OK;
    pthread_cond_destroy(&lock->woken);
    pthread_mutex_destroy(&lock->mutex);
    return wa_fail(err, WA_E_MEMORY, "cannot start a thread: %s", strerror(refused));
}

static void stop_heart(wa_lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
    lock->ending = true;
    pthread_cond_signal(&lock->woken);
    pthread_mutex_unlock(&lock->mutex);
    pthread_join(lock->heart, NULL);
    pthread_cond_destroy(&lock->woken);
    pthread_mutex_destroy(&lock->mutex);
}

/* Unless it is another run's by now. */
static void take_away(wa_lock *lock)
{
    int guard = -1;
    if (take_guard(lock->path, &guard, NULL) == WA_OK) {
        if (wa_lock_is_held(lock))
            unlink(lock->path);
        wa_lock_unguard(guard);
    }
    close(lock->fd);
    lock->fd = -1;
}

wa_status wa_lock_take(const char *directory, wa_lock *out, wa_owner *before, wa_error *err)
{
    wa_lock lock = {.fd = -1};
    WA_TRY(wa_run_id_draw(lock.run, err));
    *before = (wa_owner){.present = false};
    char temporary[WA_NAME_BYTES];
    WA_TRY(wa_parts_join(directory, "lock", lock.path, err));
    WA_TRY(wa_temporary_name(lock.path, temporary, err));
    wa_status status = take(&lock, temporary, before, err);
    if (status != WA_OK) {
        if (lock.fd >= 0) {
            unlink(temporary);
            close(lock.fd);
        }
        return status;
    }
    *out = lock;
    status = start_heart(out, err);
    if (status != WA_OK)
        take_away(out);
    return status;
}

bool wa_lock_is_held(const wa_lock *lock)
{
    struct stat info;
    return lock->fd >= 0 && stat(lock->path, &info) == 0 && info.st_dev == lock->device &&
           info.st_ino == lock->inode;
}

wa_status wa_lock_check(const char *directory, const char *run, wa_error *err)
{
    char path[WA_NAME_BYTES];
    wa_owner owner;
    WA_TRY(wa_parts_join(directory, "lock", path, err));
    look(path, NULL, &owner);
    if (!owner.present)
        return wa_fail(err, WA_E_IO,
                       "this run no longer owns its result: the lock is gone; in file '%s'", path);
    if (strcmp(owner.run, run) != 0)
        return wa_fail(err, WA_E_BUSY,
                       "another run has taken over this result: host %s, process %ld; in file '%s'",
                       owner.host, owner.process, path);
    return WA_OK;
}

/* --- Publishing while nobody can take over --- */

static wa_status enter(void *context, wa_error *err)
{
    wa_passage *p = context;
    WA_TRY(wa_lock_guard(p->directory, &p->guard, err));
    wa_status status = wa_lock_check(p->directory, p->run, err);
    if (status != WA_OK)
        wa_lock_unguard(p->guard);
    return status;
}

static void leave(void *context)
{
    wa_lock_unguard(((wa_passage *)context)->guard);
}

wa_gate wa_lock_gate(wa_passage *passage)
{
    return (wa_gate){.enter = enter, .leave = leave, .context = passage};
}

void wa_lock_release(wa_lock *lock)
{
    if (lock->fd < 0)
        return;
    stop_heart(lock);
    take_away(lock);
}

void wa_lock_remove(wa_lock *lock, const char *directory)
{
    int guard = -1;
    char name[WA_NAME_BYTES];
    if (lock->fd < 0 || wa_path_print(name, NULL, "%s.guard", lock->path) != WA_OK ||
        take_guard(lock->path, &guard, NULL) != WA_OK)
        return;
    if (wa_lock_is_held(lock)) {
        unlink(lock->path);
        unlink(name);
        rmdir(directory);
    }
    wa_lock_unguard(guard);
    stop_heart(lock);
    close(lock->fd);
    lock->fd = -1;
}
