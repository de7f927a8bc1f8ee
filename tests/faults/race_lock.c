#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
/*
 * race_lock DIRECTORY ATTEMPTS: processes that fight for one owner lock, and die holding it or let
 * it go. Never may two own it at once. Prints how many attempts, how many owned; exit code 1 on a
 * violation.
 */
#include "store/parts.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 4 };

typedef struct shared {
    atomic_long owners, owned, violations;
} shared;

/* In a process of its own: try, own for a moment, and end without or with letting go. */
static void attempt(const char *directory, shared *all, unsigned chance)
{
    wa_lock lock;
    wa_owner before;
    if (wa_lock_take(directory, &lock, &before, NULL) != WA_OK)
        return;
    if (atomic_fetch_add(&all->owners, 1) != 0 || !wa_lock_is_held(&lock))
        atomic_fetch_add(&all->violations, 1);
    atomic_fetch_add(&all->owned, 1);
    for (unsigned i = 0; i < chance % 2000; i++)
        atomic_load(&all->owners);
    if (!wa_lock_is_held(&lock))
        atomic_fetch_add(&all->violations, 1);
    atomic_fetch_sub(&all->owners, 1);
    if (chance % 2 == 0)
        wa_lock_release(&lock);
}

static void work(const char *directory, shared *all, long attempts, unsigned seed)
{
    for (long i = 0; i < attempts; i++) {
        seed = seed * 1664525U + 1013904223U;
        pid_t child = fork();
        if (child == 0) {
            attempt(directory, all, seed >> 8);
            _exit(0);
        }
        int how;
        if (child < 0 || waitpid(child, &how, 0) != child || how != 0)
            atomic_fetch_add(&all->violations, 1);
    }
}

int main(int argc, char **argv)
{
    long attempts = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (attempts < WORKERS) {
        fprintf(stderr, "usage: race_lock DIRECTORY ATTEMPTS\n");
        return 2;
    }
    wa_error err;
    if (wa_directory_make(argv[1], &err) != WA_OK)
        return wa_error_print(&err);
    shared *all =
        mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return 2;
    for (int w = 0; w < WORKERS; w++)
        if (fork() == 0) {
            work(argv[1], all, attempts / WORKERS, (unsigned)w + 1);
            _exit(0);
        }
    while (wait(NULL) > 0)
        ;
    printf("%ld attempts, %ld owned, %ld violations\n", attempts / WORKERS * WORKERS,
           atomic_load(&all->owned), atomic_load(&all->violations));
    return atomic_load(&all->violations) != 0 || atomic_load(&all->owned) == 0;
}
