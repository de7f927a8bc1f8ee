/*
 * Your own FFN kernel in an audit, as a program in any language: what it reads and writes.
 *
 *   paths: [{path: external, command: "python3 my_kernel.py", name: mine, bucket: quantized}]
 *
 * The audit starts the command once on every rank and for every such case, by `sh -c` in the
 * directory of the job file. Requests come on file descriptor 3, answers go to file descriptor 4.
 * Standard input is empty; standard output and standard error both go to the audit's standard
 * error. A request is a walkaudit_request and `bytes` bytes behind it, an answer is a
 * walkaudit_answer and `bytes` bytes behind it; each request is answered before the next one
 * comes. Numbers are in the order of the machine (both run on one), without gaps. At the end of
 * file descriptor 3 the program should exit; it has two seconds.
 *
 * HELLO is the first request. Behind it stands a JSON object of what the kernel is to compute:
 *   {"model": path, "vindex": path, "name": "f16:mine", "layers": 26, "hidden": 2560,
 *    "features": 10240, "gated": true, "activation": "silu" | "gelu_tanh" | "gelu_erf"}
 * (features: rows of up at layer 0; paths as the job gives them, absolute). The answer's bytes are
 * what the kernel calls itself, UTF-8, at most 100 bytes; none = "external".
 *
 * RUN asks for y = FFN(x) at one layer: behind the request stands x [rows, hidden] f32, behind the
 * answer y [rows, hidden] f32. The rows are consecutive positions of one prompt.
 * They are independent of each other, and the answer must depend on nothing but x and layer: the
 * same job gives the same bits on any number of ranks only if your kernel does.
 *
 * An answer whose status is not 0 ends the audit with code 3 and one line; its bytes, at most 400,
 * are then text for that line. So does a program that ends, or that does not answer within
 * `timeout` seconds of the path's entry in the job (default 300). It is then killed, with all
 * processes of its group. This header stands alone.
 */
#ifndef WALKAUDIT_EXTERNAL_PROCESS_H
#define WALKAUDIT_EXTERNAL_PROCESS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WALKAUDIT_PROCESS_MAGIC 0x41554157u /* "WAUA" in memory */
/** Raised when the structures below change; a program that answers with another is refused. */
#define WALKAUDIT_PROCESS_VERSION 1

enum { WALKAUDIT_HELLO = 1, WALKAUDIT_RUN = 2 };
enum { WALKAUDIT_REQUESTS = 3, WALKAUDIT_ANSWERS = 4 }; /* file descriptors */

/** 40 bytes; Python: struct.Struct("=4I3Q"). */
typedef struct walkaudit_request {
    uint32_t magic, version;
    uint32_t kind;         /* WALKAUDIT_HELLO or WALKAUDIT_RUN */
    uint32_t layer;        /* of RUN, from 0 */
    uint64_t rows, hidden; /* of RUN */
    uint64_t bytes;        /* that follow */
} walkaudit_request;

/** 24 bytes; Python: struct.Struct("=3IiQ"). */
typedef struct walkaudit_answer {
    uint32_t magic, version;
    uint32_t kind;  /* of the request */
    int32_t status; /* 0; anything else ends the audit */
    uint64_t bytes; /* that follow */
} walkaudit_answer;

#ifdef __cplusplus
}
#endif

#endif
