/* The parts directory: names, cleaning up, space, the owner lock. POSIX only; private to src/store.
 */
#ifndef WALKAUDIT_STORE_PARTS_H
#define WALKAUDIT_STORE_PARTS_H

#include "base/durable.h"
#include "job/plan.h"
#include "store/mark.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

/** "RESULT.h5.parts". */
WA_CHECKED wa_status wa_parts_directory(const char *result_path, char out[WA_NAME_BYTES],
                                        wa_error *err);
/** Make it. A link in its place is refused, to wherever it leads. WA_E_IO. */
WA_CHECKED wa_status wa_parts_make_directory(const char *directory, wa_error *err);
/** "RESULT.h5.parts/prompts-000003-000007.h5": the first prompt of the part and its last. */
WA_CHECKED wa_status wa_part_name(const char *result_path, const wa_batch *range,
                                  char out[WA_NAME_BYTES], wa_error *err);
/** first_prompt and prompt_count from the name of a file in a parts directory; false when it is not
 * letter for letter a part's. */
bool wa_part_parse(const char *name, wa_batch *out);
/** "DIRECTORY/NAME". */
WA_CHECKED wa_status wa_parts_join(const char *directory, const char *name, char out[WA_NAME_BYTES],
                                   wa_error *err);
/** Remove DIRECTORY/NAME, which may be gone already. WA_E_IO. */
WA_CHECKED wa_status wa_parts_remove_name(const char *directory, const char *name, wa_error *err);
/** "DIRECTORY/run-K.json". */
WA_CHECKED wa_status wa_parts_run_name(const char *directory, size_t k, char out[WA_NAME_BYTES],
                                       wa_error *err);
/** One more than the largest K of a run-K.json in the directory; smaller ones may be missing. */
WA_CHECKED wa_status wa_parts_count_runs(const char *directory, size_t *out, wa_error *err);
/** Call `visit` for each entry but "." and "..", in no order, until it fails. A missing directory
 * is empty. */
typedef wa_status (*wa_visit)(void *context, const char *name, wa_error *err);
WA_CHECKED wa_status wa_directory_visit(const char *path, wa_visit visit, void *context,
                                        wa_error *err);
/** Remove the temporaries that writers left behind; under the lock. */
WA_CHECKED wa_status wa_parts_remove_stale(const char *directory, wa_error *err);
/** Remove every file of ours but the lock; under the lock. What others put there stays, and the
 * directory with it. */
WA_CHECKED wa_status wa_parts_remove_files(const char *directory, wa_error *err);

/** Is the result owed by a run with --fresh, and by one of the job of this text? Read only. */
typedef enum wa_owed { WA_OWED_NOT, WA_OWED_BY_THIS_JOB, WA_OWED_BY_ANOTHER } wa_owed;
wa_owed wa_owed_look(const char *result_path, const char *job_text);

/** Are `bytes` free on the file system of `path`? WA_E_IO: needs, has. */
WA_CHECKED wa_status wa_space_check(const char *path, size_t bytes, wa_error *err);
/**
 * Reserve `bytes` behind the end of a file, so that a full disk is seen before anything is written.
 * WA_E_IO: no space, quota. Closing the file through HDF5 cuts off what was not used.
 */
WA_CHECKED wa_status wa_space_reserve(const char *path, size_t bytes, wa_error *err);

/*
 * --- The owner lock: DIRECTORY/lock, renamed into place. Whoever puts it there or takes it away
 * holds the kernel's lock (flock) of DIRECTORY/lock.guard meanwhile, so that of two that take over
 * from a dead owner one wins --- */

typedef struct wa_lock {
    int fd; /* -1 = not held */
    dev_t device;
    ino_t inode;
    pthread_t heart;       /* a thread: renews the heartbeat, whatever the others are at */
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t woken;
    bool ending;
    char path[WA_NAME_BYTES];
    char run[WA_RUN_ID_BYTES]; /* drawn when it is taken; no two runs have the same */
} wa_lock;

/** Who holds a lock. */
typedef struct wa_owner {
    bool present, alive;
    char host[WA_HOST_BYTES], slurm_job[64], run[WA_RUN_ID_BYTES];
    long process;
    ino_t inode; /* of the lock that was looked at */
} wa_owner;

/**
 * Take the lock of a directory that exists. A dead owner's is taken over: *before tells whose. Dead
 * is, on the same boot of the same kernel and in the same PID namespace, whose process is gone;
 * anywhere else, whose heartbeat is a minute old. A thread of *out, which must stay where it is,
 * renews this one's every 5 s until wa_lock_release or wa_lock_remove. Errors: WA_E_BUSY, naming
 * a living owner or another that takes over; WA_E_IO, as on a file system without flock;
 * WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_lock_take(const char *directory, wa_lock *out, wa_owner *before,
                                  wa_error *err);
/** Take the guard of a directory that exists, and let it go: in between nobody takes its lock, gives
 * it up, or publishes under it. For some system calls only. WA_E_IO, as when another process has
 * held it for 10 s. */
WA_CHECKED wa_status wa_lock_guard(const char *directory, int *out, wa_error *err);
void wa_lock_unguard(int guard);
/** Is the lock file still ours? */
bool wa_lock_is_held(const wa_lock *lock);
/** Any rank. Does the lock of the directory still name this run? WA_E_IO, naming who took over. */
WA_CHECKED wa_status wa_lock_check(const char *directory, const char *run, wa_error *err);
/** Any rank. The gate by which everything of a run gets its final name: under the guard, so that
 * nobody can take over meanwhile, and only where the lock still names this run (errors of
 * wa_lock_guard and wa_lock_check). The passage is borrowed. */
typedef struct wa_passage {
    const char *directory, *run;
    int guard;
} wa_passage;
wa_gate wa_lock_gate(wa_passage *passage);
void wa_lock_release(wa_lock *lock);
/** Release it, and remove the directory that holds nothing else any more. */
void wa_lock_remove(wa_lock *lock, const char *directory);
/** Read only. present = false when there is none. */
void wa_lock_look(const char *directory, wa_owner *out);

#endif
