/*
 * Your own FFN kernel in an audit: a shared library that exports one C function,
 * `walkaudit_external`.
 *
 *   paths: [{path: external, library: my_kernel.so, name: mine, bucket: quantized}]
 *
 * The audit loads the library on every rank (dlopen, RTLD_NOW | RTLD_LOCAL), calls the function
 * once per case, and then `run` twice at each layer for each prompt: on the dense model's FFN
 * inputs, and on those of the case's own residual stream. What it writes is compared as the outputs
 * of every other path are. This header stands alone.
 *
 * What a library changes of the process. Every call of its code (loading, `walkaudit_external`,
 * `run`, `close`) begins with the floating-point modes that a C program begins with: rounding to
 * nearest, no FTZ, no DAZ, no traps. They are put back after the call, and a warning says what
 * loading or `run` left changed. A kernel that wants FTZ, which the start-up code of -ffast-math
 * sets at loading, sets it in each call of `run`. The current directory, the locale ("C") and the
 * mask of new files are put back, too. The audit ends with code 3 and one line that names library,
 * case and layer when the library, or a thread of its own, crashes or calls abort, exit or
 * quick_exit (of a thread, when no other library is loaded); on Linux also when _exit or _Exit is
 * called within a call; and when a call closes file descriptors that were open before it was loaded
 * (of those below 1024, the first 256; the line is lost with standard error). A library that has
 * threads left after `close` stays loaded until the end of the run. Not caught are crashes of a
 * thread of its own that blocks their signals or has used up its stack; _exit by such a thread and
 * system calls that end the process (then there is no result, whatever the exit code); writes into
 * memory of the audit that is neither x nor y; changes of the environment and of limits; file
 * descriptors that it closes between calls, or puts others in the place of; and changes of what
 * signals do other than SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT.
 */
#ifndef WALKAUDIT_EXTERNAL_H
#define WALKAUDIT_EXTERNAL_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Raised when the structures below change; a library built for another version is refused. */
#define WALKAUDIT_EXTERNAL_VERSION 1

/** Of what the kernel is to compute the FFN. Borrowed for the call; copy what you keep. */
typedef struct walkaudit_external_model {
    const char *model;               /* path of the model: Hugging Face directory or GGUF file */
    const char *vindex;              /* directory of the vindex that the case stands under */
    const char *name;                /* of the case: "f16:mine" */
    size_t layers, hidden, features; /* features: rows of up at layer 0 */
    int gated;                       /* 0: up and down only */
    const char *activation;          /* "silu", "gelu_tanh" or "gelu_erf" */
} walkaudit_external_model;

/** What the library gives back. Zeroed before the call; memory and strings are yours and stay until
 * `close`. */
typedef struct walkaudit_external_kernel {
    int version; /* set it to WALKAUDIT_EXTERNAL_VERSION */
    /* what the kernel calls itself, UTF-8, at most 100 bytes; NULL = "external" */
    const char *label;
    void *context; /* handed to run and close */
    /**
     * y = FFN(x) at one layer, counted from 0: x [rows, hidden] f32, read only; y [rows, hidden]
     * f32, full of NaN, so that what is not written is seen. Both begin at a multiple of 64 bytes
     * and end at a page that nobody may touch, or fewer than 64 bytes before it. They are copies of
     * this call: to write into x or beside y ends the audit, and after the call nothing may touch
     * them. The rows are positions of one prompt, 1 or more. Rows are independent of each other,
     * and the answer must depend on nothing but x and layer: the same job gives the same bits on
     * any number of ranks only if your kernel does. Never called by two threads at once. Returns 0;
     * anything else ends the audit with a line that says the number.
     */
    int (*run)(void *context, size_t layer, size_t rows, size_t hidden, const float *x, float *y);
    void (*close)(void *context); /* may be NULL */
} walkaudit_external_kernel;

/** Exported by the library. Returns 0; anything else ends the audit with a line that says the
 * number. */
int walkaudit_external(const walkaudit_external_model *model, walkaudit_external_kernel *out);

#ifdef __cplusplus
}
#endif

#endif
