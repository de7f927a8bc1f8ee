/* The owner lock of a parts directory: who computes this result, and is that process still there?
 */
#include "store/parts.h"

#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STALE_SECONDS = 60, BEAT_SECONDS = 5, LOCK_BYTES = 1024 };

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

static wa_status write_lock_text(char *out, size_t size, wa_error *err)
{
    char host[WA_HOST_BYTES];
    host_name(host);
    char state;
    const char *slurm = getenv("SLURM_JOB_ID");
    json_t *lock = json_pack("{s:s, s:I, s:I, s:s}", "host", host, "process", (json_int_t)getpid(),
                             "start", (json_int_t)start_time((long)getpid(), &state), "slurm_job",
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

/* Age of the heartbeat against `now`, a time of the same file system's clock. */
static void judge(const char *text, size_t length, double age, wa_owner *out)
{
    json_t *lock = json_loadb(text, length, 0, NULL);
    char host[WA_HOST_BYTES];
    host_name(host);
    copy_text(lock, "host", out->host, sizeof out->host);
    copy_text(lock, "slurm_job", out->slurm_job, sizeof out->slurm_job);
    out->process = (long)json_integer_value(json_object_get(lock, "process"));
    unsigned long long start =
        (unsigned long long)json_integer_value(json_object_get(lock, "start"));
    if (json_is_object(lock) && strcmp(host, out->host) == 0)
        out->alive = process_is_there(out->process, start);
    else
        out->alive = age < STALE_SECONDS;
    json_decref(lock);
}

/* now: the file system's time, or NULL for this machine's. */
static void look(const char *path, const struct timespec *now, wa_owner *out)
{
    *out = (wa_owner){.present = false};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
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

/*
 * Move a dead owner's lock out of the way. Between looking and renaming another process may have
 * put its own there: then what was moved is not what was judged, and goes back.
 */
static bool clear_dead(const char *path, const char *aside, const wa_owner *dead)
{
    struct stat info;
    if (rename(path, aside) != 0)
        return errno == ENOENT;
    bool right = stat(aside, &info) == 0 && info.st_ino == dead->inode;
    if (!right && link(aside, path) != 0)
        right = false;
    unlink(aside);
    return right;
}

static wa_status refuse(const char *path, const wa_owner *owner, wa_error *err)
{
    return wa_fail(err, WA_E_IO,
                   "another run is computing this result: host %s, process %ld%s%s; in file '%s'",
                   owner->host[0] == '\0' ? "unknown" : owner->host, owner->process,
                   owner->slurm_job[0] == '\0' ? "" : ", Slurm job ", owner->slurm_job, path);
}

/* Link the finished temporary to the lock's name; a dead owner's lock is cleared, a few times at
 * most. */
static wa_status link_in_place(const char *temporary, const char *path, wa_owner *before,
                               wa_error *err)
{
    enum { ATTEMPTS = 4 };
    char aside[WA_NAME_BYTES];
    struct stat info;
    int length = snprintf(aside, sizeof aside, "%s.dead.tmp", temporary);
    if (length < 0 || (size_t)length >= sizeof aside || stat(temporary, &info) != 0)
        return wa_fail(err, WA_E_IO, "cannot make lock '%s': %s", path, strerror(errno));
    wa_owner owner = {.present = false};
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (link(temporary, path) == 0)
            return WA_OK;
        if (errno != EEXIST)
            return wa_fail(err, WA_E_IO, "cannot make lock '%s': %s", path, strerror(errno));
        look(path, &info.st_mtim, &owner);
        if (owner.present && owner.alive)
            return refuse(path, &owner, err);
        if (owner.present && clear_dead(path, aside, &owner))
            *before = owner;
    }
    return refuse(path, &owner, err);
}

static wa_status write_temporary(const char *temporary, wa_lock *lock, wa_error *err)
{
    char text[LOCK_BYTES];
    WA_TRY(write_lock_text(text, sizeof text, err));
    WA_TRY(wa_temporary_create(temporary, &lock->fd, err));
    struct stat info;
    size_t length = strlen(text);
    if (write(lock->fd, text, length) != (ssize_t)length || fsync(lock->fd) != 0 ||
        fstat(lock->fd, &info) != 0)
        return wa_fail(err, WA_E_IO, "cannot write '%s': %s", temporary, strerror(errno));
    lock->device = info.st_dev;
    lock->inode = info.st_ino;
    return WA_OK;
}

wa_status wa_lock_take(const char *directory, wa_lock *out, wa_owner *before, wa_error *err)
{
    wa_lock lock = {.fd = -1};
    *before = (wa_owner){.present = false};
    char temporary[WA_NAME_BYTES];
    WA_TRY(wa_parts_join(directory, "lock", lock.path, err));
    WA_TRY(wa_temporary_name(lock.path, temporary, err));
    wa_status status = write_temporary(temporary, &lock, err);
    if (status == WA_OK)
        status = link_in_place(temporary, lock.path, before, err);
    unlink(temporary);
    if (status != WA_OK) {
        if (lock.fd >= 0)
            close(lock.fd);
        return status;
    }
    *out = lock;
    return WA_OK;
}

void wa_lock_beat(wa_lock *lock)
{
    struct timespec now;
    if (lock->fd < 0 || clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return;
    if (lock->beaten != 0 && now.tv_sec - lock->beaten < BEAT_SECONDS)
        return;
    lock->beaten = now.tv_sec;
    /* A heartbeat that cannot be written is no reason to stop computing. */
    if (futimens(lock->fd, NULL) != 0)
        lock->beaten = 0;
}

bool wa_lock_is_held(const wa_lock *lock)
{
    struct stat info;
    return lock->fd >= 0 && stat(lock->path, &info) == 0 && info.st_dev == lock->device &&
           info.st_ino == lock->inode;
}

void wa_lock_release(wa_lock *lock)
{
    if (lock->fd < 0)
        return;
    if (wa_lock_is_held(lock))
        unlink(lock->path);
    close(lock->fd);
    lock->fd = -1;
}
