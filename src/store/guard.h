/*
 * HDF5 1.10 crashes on some damaged files, and loops for ever on others: then the process ends with
 * one line that names the file, and code 3. POSIX only; private to src/store.
 */
#ifndef WALKAUDIT_STORE_GUARD_H
#define WALKAUDIT_STORE_GUARD_H

/** Before a file is read that may be damaged, and before reading on in one of several; always in the
 * same thread. The name is copied. */
void wa_guard_file(const char *path);
/**
 * Around what is asked of HDF5; a second enter before leave begins the time anew. In between
 * SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT of this thread, and ten seconds of its processor time
 * (a step reads some MiB), end the process. Cheap.
 */
void wa_guard_enter(void);
void wa_guard_leave(void);

#endif
