/*
 * Calls into code that is not ours, in this process: what it does to the process is put back and
 * told. A crash, and `exit` in its midst, end the process with code 3 and one line that names it.
 */
#ifndef WALKAUDIT_BASE_FOREIGN_H
#define WALKAUDIT_BASE_FOREIGN_H

#include "base/fence.h"

/** Modes of floating-point arithmetic that a call left changed: bits of one number. */
enum {
    WA_MODE_ROUNDING = 1, /* direction of rounding */
    WA_MODE_FLUSH = 2,    /* subnormal numbers are taken or given as 0 (FTZ, DAZ) */
    WA_MODE_OTHER = 4     /* x87 precision, exceptions that trap */
};

/** "the rounding mode and FTZ or DAZ": bits in words; static. */
const char *wa_modes_text(int changed);

/** One call. Borrowed until wa_foreign_leave. */
typedef struct wa_foreign_call {
    const char *what;      /* "in library 'mine.so' of case 'f32:mine'" */
    long layer;            /* -1 = of none */
    const wa_fence *x, *y; /* lent for the call; NULL = nothing lent. x is locked */
} wa_foreign_call;

/** Before the first call, on the main thread. Registers what answers `exit` and `quick_exit`. */
void wa_foreign_prepare(void);
/**
 * Around each call, on the main thread; calls do not nest. Between the two, SIGSEGV, SIGBUS,
 * SIGFPE, SIGILL and SIGABRT, `exit`, `quick_exit` and, on Linux, `_exit` and `_Exit` end this
 * process with one line and code 3; so does leave, when a file descriptor was closed that was open
 * at wa_foreign_prepare. A child that the code forks is let alone. leave puts back the
 * modes of floating-point arithmetic, the handlers of those signals, and what wa_foreign_prepare
 * found: the current directory and the mask of new files; the locale is "C". It returns the bits of
 * the modes that it found changed.
 */
void wa_foreign_enter(const wa_foreign_call *call);
int wa_foreign_leave(void);
/**
 * Code that has been loaded may have threads, whose `exit` or crash nobody expects between calls
 * either: one line and code 3 while anything is held. A thread of ours that crashes is none of
 * them. On the main thread, from before the code is loaded until nothing is left of it; `what` is
 * copied.
 */
void wa_foreign_hold(const char *what);
void wa_foreign_release(void);
/** Are there threads now that are neither ours nor were there at the first wa_foreign_prepare? true
 * where that cannot be told. */
bool wa_foreign_has_threads(void);
/** From here on an exit is our own. */
void wa_foreign_expect_exit(void);

#endif
