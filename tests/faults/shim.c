/*
 * A preloaded library that makes the N-th system call of one kind fail, on one rank, among calls on
 * files below one directory: what a failing disk, a full quota or a lost mount does, at a moment of
 * the test's choosing.
 *
 *   WALKAUDIT_FAULT        KIND:N:CAUSE, e.g. pwrite:17:EIO; N counts from 1. KIND:N:short
 *                          transfers half of the bytes; KIND:N:move renames a file first, and all
 *                          calls work.
 *   WALKAUDIT_FAULT_MOVE   FROM:TO, for KIND:N:move: another program's work at that moment
 *   WALKAUDIT_FAULT_UNDER  absolute directory: only calls on files below it count
 *   WALKAUDIT_FAULT_RANK   rank of MPI_COMM_WORLD whose calls fail (default 0)
 *   WALKAUDIT_FAULT_MOUNT  number that statfs gives as the kind of the file system, on any rank
 *   WALKAUDIT_FAULT_COUNT  file to which each process appends "RANK KIND CALLS" lines when it ends
 *
 * Kinds are named in KINDS. The call before the N-th and the call after it work as ever.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

typedef enum kind {
    OPEN,
    CREATE, /* an open that may make the file */
    READ,
    WRITE,
    CLOSE,
    SYNC,
    TRUNCATE,
    RESERVE,
    MAP,
    RENAME,
    LINK,
    UNLINK,
    MKDIR,
    KIND_COUNT
} kind;
static const char *const KINDS[KIND_COUNT] = {"open", "create",   "read",    "write", "close",
                                              "sync", "truncate", "reserve", "map",   "rename",
                                              "link", "unlink",   "mkdir"};

/* What is planned, read from the environment at the first call. */
static struct {
    bool is_ready, is_ours, is_short, moves;
    int kind, cause;
    long at;
    char under[PATH_MAX], count_path[PATH_MAX];
    char rank[16];
} plan;
static long calls[KIND_COUNT];

static int cause_of(const char *name)
{
    static const struct {
        const char *name;
        int cause;
    } causes[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EACCES", EACCES},
                  {"EMFILE", EMFILE}, {"ENOMEM", ENOMEM}, {"ESTALE", ESTALE}, {"EINTR", EINTR},
                  {"EROFS", EROFS},   {"short", 0},       {"move", 0}};
    for (size_t i = 0; i < sizeof causes / sizeof causes[0]; i++)
        if (strcmp(causes[i].name, name) == 0)
            return causes[i].cause;
    fprintf(stderr, "shim: unknown cause '%s'\n", name);
    _exit(99);
}

static void read_plan(void)
{
    const char *fault = getenv("WALKAUDIT_FAULT"), *under = getenv("WALKAUDIT_FAULT_UNDER");
    const char *asked = getenv("WALKAUDIT_FAULT_RANK"), *own = getenv("OMPI_COMM_WORLD_RANK");
    const char *count = getenv("WALKAUDIT_FAULT_COUNT");
    char word[32] = "", cause[32] = "";
    plan.is_ready = true;
    plan.kind = -1;
    own = own == NULL ? "0" : own;
    snprintf(plan.rank, sizeof plan.rank, "%s", own);
    snprintf(plan.under, sizeof plan.under, "%s", under == NULL ? "" : under);
    snprintf(plan.count_path, sizeof plan.count_path, "%s", count == NULL ? "" : count);
    plan.is_ours = strcmp(asked == NULL ? "0" : asked, own) == 0;
    if (fault == NULL || !plan.is_ours)
        return;
    if (sscanf(fault, "%31[a-z]:%ld:%31s", word, &plan.at, cause) != 3) {
        fprintf(stderr, "shim: WALKAUDIT_FAULT '%s' is not KIND:N:CAUSE\n", fault);
        _exit(99);
    }
    for (int k = 0; k < KIND_COUNT; k++)
        if (strcmp(KINDS[k], word) == 0)
            plan.kind = k;
    if (plan.kind < 0) {
        fprintf(stderr, "shim: unknown kind '%s'\n", word);
        _exit(99);
    }
    plan.cause = cause_of(cause);
    plan.is_short = strcmp(cause, "short") == 0;
    plan.moves = strcmp(cause, "move") == 0;
}

static bool is_under(const char *path)
{
    size_t length = strlen(plan.under);
    return length > 0 && strncmp(path, plan.under, length) == 0 &&
           (path[length] == '/' || path[length] == '\0');
}

static bool fd_is_under(int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return false;
    path[length] = '\0';
    return is_under(path);
}

/* A relative name counts by the working directory. */
static bool path_is_under(int directory, const char *path)
{
    char full[PATH_MAX];
    if (path == NULL)
        return false;
    if (path[0] == '/')
        return is_under(path);
    if (directory != AT_FDCWD)
        return fd_is_under(directory);
    return getcwd(full, sizeof full) != NULL && is_under(full);
}

/* Not through this library's own rename, which would count. */
static void move_file(void)
{
    char from[PATH_MAX];
    const char *names = getenv("WALKAUDIT_FAULT_MOVE");
    const char *to = names == NULL ? NULL : strchr(names, ':');
    if (to == NULL ||
        snprintf(from, sizeof from, "%.*s", (int)(to - names), names) >= (int)sizeof from ||
        syscall(SYS_rename, from, to + 1) != 0) {
        fprintf(stderr, "shim: cannot move '%s': %s\n", names == NULL ? "" : names,
                strerror(errno));
        _exit(99);
    }
}

/* Count a call; true when it is the one to fail, with errno set. */
static bool fails(kind which)
{
    long now = __atomic_add_fetch(&calls[which], 1, __ATOMIC_RELAXED);
    if ((int)which != plan.kind || now != plan.at)
        return false;
    if (plan.moves) {
        int before = errno;
        move_file();
        errno = before;
        return false;
    }
    errno = plan.cause;
    return true;
}

static bool fd_fails(kind which, int fd)
{
    int before = errno;
    if (!plan.is_ready)
        read_plan();
    if (plan.under[0] == '\0' || !fd_is_under(fd)) {
        errno = before;
        return false;
    }
    errno = before;
    return fails(which);
}

static bool path_fails(kind which, int directory, const char *path)
{
    int before = errno;
    if (!plan.is_ready)
        read_plan();
    bool counts = plan.under[0] != '\0' && path_is_under(directory, path);
    errno = before;
    return counts && fails(which);
}

__attribute__((destructor)) static void report(void)
{
    if (!plan.is_ready || plan.count_path[0] == '\0')
        return;
    char text[512];
    int used = 0;
    for (int k = 0; k < KIND_COUNT; k++)
        used += snprintf(text + used, sizeof text - (size_t)used, "%s %s %ld\n", plan.rank,
                         KINDS[k], calls[k]);
    plan.under[0] = '\0';
    int fd = open(plan.count_path, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (fd >= 0 && write(fd, text, (size_t)used) == used)
        close(fd);
}

/* The function behind `name`, looked up once. */
#define REAL(type, name, ...)                                                                      \
    static type (*real)(__VA_ARGS__);                                                              \
    if (real == NULL)                                                                              \
    *(void **)&real = dlsym(RTLD_NEXT, name)

/* --- Opening: a variadic mode */

static kind open_kind(int flags)
{
    return (flags & O_CREAT) != 0 ? CREATE : OPEN;
}

#define OPEN_BODY(name)                                                                            \
    REAL(int, name, const char *, int, ...);                                                       \
    va_list args;                                                                                  \
    va_start(args, flags);                                                                         \
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;                 \
    va_end(args);                                                                                  \
    return path_fails(open_kind(flags), AT_FDCWD, path) ? -1 : real(path, flags, mode)

int open(const char *path, int flags, ...)
{
    OPEN_BODY("open");
}

int open64(const char *path, int flags, ...)
{
    OPEN_BODY("open64");
}

#define OPENAT_BODY(name)                                                                          \
    REAL(int, name, int, const char *, int, ...);                                                  \
    va_list args;                                                                                  \
    va_start(args, flags);                                                                         \
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;                 \
    va_end(args);                                                                                  \
    return path_fails(open_kind(flags), directory, path) ? -1 : real(directory, path, flags, mode)

int openat(int directory, const char *path, int flags, ...)
{
    OPENAT_BODY("openat");
}

int openat64(int directory, const char *path, int flags, ...)
{
    OPENAT_BODY("openat64");
}

/* --- Transfers: whole, or half of the bytes */

static size_t half(size_t size)
{
    return size > 1 ? size / 2 : size;
}

ssize_t read(int fd, void *to, size_t size)
{
    REAL(ssize_t, "read", int, void *, size_t);
    if (!fd_fails(READ, fd))
        return real(fd, to, size);
    return plan.is_short ? real(fd, to, half(size)) : -1;
}

ssize_t write(int fd, const void *from, size_t size)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    if (!fd_fails(WRITE, fd))
        return real(fd, from, size);
    return plan.is_short ? real(fd, from, half(size)) : -1;
}

#define PREAD_BODY(name)                                                                           \
    REAL(ssize_t, name, int, void *, size_t, off_t);                                               \
    if (!fd_fails(READ, fd))                                                                       \
        return real(fd, to, size, at);                                                             \
    return plan.is_short ? real(fd, to, half(size), at) : -1

ssize_t pread(int fd, void *to, size_t size, off_t at)
{
    PREAD_BODY("pread");
}

ssize_t pread64(int fd, void *to, size_t size, off64_t at)
{
    PREAD_BODY("pread64");
}

#define PWRITE_BODY(name)                                                                          \
    REAL(ssize_t, name, int, const void *, size_t, off_t);                                         \
    if (!fd_fails(WRITE, fd))                                                                      \
        return real(fd, from, size, at);                                                           \
    return plan.is_short ? real(fd, from, half(size), at) : -1

ssize_t pwrite(int fd, const void *from, size_t size, off_t at)
{
    PWRITE_BODY("pwrite");
}

ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at)
{
    PWRITE_BODY("pwrite64");
}

/* Of vectors, a short transfer is the first piece alone. */
#define VECTOR_BODY(name, which)                                                                   \
    REAL(ssize_t, name, int, const struct iovec *, int);                                           \
    if (!fd_fails(which, fd))                                                                      \
        return real(fd, pieces, count);                                                            \
    return plan.is_short ? real(fd, pieces, 1) : -1

ssize_t readv(int fd, const struct iovec *pieces, int count)
{
    VECTOR_BODY("readv", READ);
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    VECTOR_BODY("writev", WRITE);
}

#define PVECTOR_BODY(name, which)                                                                  \
    REAL(ssize_t, name, int, const struct iovec *, int, off_t);                                    \
    if (!fd_fails(which, fd))                                                                      \
        return real(fd, pieces, count, at);                                                        \
    return plan.is_short ? real(fd, pieces, 1, at) : -1

ssize_t preadv(int fd, const struct iovec *pieces, int count, off_t at)
{
    PVECTOR_BODY("preadv", READ);
}

ssize_t preadv64(int fd, const struct iovec *pieces, int count, off64_t at)
{
    PVECTOR_BODY("preadv64", READ);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t at)
{
    PVECTOR_BODY("pwritev", WRITE);
}

ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off64_t at)
{
    PVECTOR_BODY("pwritev64", WRITE);
}

/* --- What is done to an open file */

/* The descriptor is gone even when close fails (Linux). */
int close(int fd)
{
    REAL(int, "close", int);
    bool failed = fd_fails(CLOSE, fd);
    int cause = errno;
    int answer = real(fd);
    if (!failed)
        return answer;
    errno = cause;
    return -1;
}

int fsync(int fd)
{
    REAL(int, "fsync", int);
    return fd_fails(SYNC, fd) ? -1 : real(fd);
}

int fdatasync(int fd)
{
    REAL(int, "fdatasync", int);
    return fd_fails(SYNC, fd) ? -1 : real(fd);
}

int ftruncate(int fd, off_t size)
{
    REAL(int, "ftruncate", int, off_t);
    return fd_fails(TRUNCATE, fd) ? -1 : real(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    REAL(int, "ftruncate64", int, off64_t);
    return fd_fails(TRUNCATE, fd) ? -1 : real(fd, size);
}

/* Returns its cause and leaves errno alone. */
int posix_fallocate(int fd, off_t from, off_t size)
{
    REAL(int, "posix_fallocate", int, off_t, off_t);
    return fd_fails(RESERVE, fd) ? plan.cause : real(fd, from, size);
}

int posix_fallocate64(int fd, off64_t from, off64_t size)
{
    REAL(int, "posix_fallocate64", int, off64_t, off64_t);
    return fd_fails(RESERVE, fd) ? plan.cause : real(fd, from, size);
}

void *mmap(void *hint, size_t size, int protection, int flags, int fd, off_t at)
{
    REAL(void *, "mmap", void *, size_t, int, int, int, off_t);
    if (fd >= 0 && fd_fails(MAP, fd))
        return MAP_FAILED;
    return real(hint, size, protection, flags, fd, at);
}

/* --- Names */

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);
    return path_fails(RENAME, AT_FDCWD, to) ? -1 : real(from, to);
}

int renameat2(int from_directory, const char *from, int to_directory, const char *to,
              unsigned flags)
{
    REAL(int, "renameat2", int, const char *, int, const char *, unsigned);
    return path_fails(RENAME, to_directory, to)
               ? -1
               : real(from_directory, from, to_directory, to, flags);
}

int link(const char *from, const char *to)
{
    REAL(int, "link", const char *, const char *);
    return path_fails(LINK, AT_FDCWD, to) ? -1 : real(from, to);
}

int unlink(const char *path)
{
    REAL(int, "unlink", const char *);
    return path_fails(UNLINK, AT_FDCWD, path) ? -1 : real(path);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(int, "mkdir", const char *, mode_t);
    return path_fails(MKDIR, AT_FDCWD, path) ? -1 : real(path, mode);
}

/* Another kind of file system than the one that is there. */
static int plant_mount(const char *path, int answer, __fsword_t *kind)
{
    const char *mount = getenv("WALKAUDIT_FAULT_MOUNT");
    if (!plan.is_ready)
        read_plan();
    if (answer == 0 && mount != NULL && path_is_under(AT_FDCWD, path))
        *kind = (__fsword_t)strtol(mount, NULL, 0);
    return answer;
}

int statfs(const char *path, struct statfs *out)
{
    REAL(int, "statfs", const char *, struct statfs *);
    return plant_mount(path, real(path, out), &out->f_type);
}

int statfs64(const char *path, struct statfs64 *out)
{
    REAL(int, "statfs64", const char *, struct statfs64 *);
    return plant_mount(path, real(path, out), &out->f_type);
}
