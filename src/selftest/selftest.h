/* A test of the audit itself: faults are planted in copies of vindexes, and what finds them is
 * told. doc/selftest.md. */
#ifndef WALKAUDIT_SELFTEST_SELFTEST_H
#define WALKAUDIT_SELFTEST_SELFTEST_H

#include "base/arena.h"
#include "comm/comm.h"

#include <stdio.h>

typedef struct wa_selftest_options {
    const char *model; /* directory or GGUF; NULL = a synthetic one */
    bool experts;      /* the synthetic one has experts */
    /* copies go into a directory of its own in this one, which is removed at the end */
    const char *directory;
    const char *const *formats; /* [format_count] names, borrowed; NULL = all */
    size_t format_count;
    uint64_t seed;
    bool quick;      /* thresholds of each number format once */
    bool thresholds; /* no whole audits: of a large model they take minutes a format */
    bool markdown;   /* the tables of doc/selftest.md instead of columns */
    FILE *out;
} wa_selftest_options;

/** Names of the formats that can be chosen; NULL past the last. */
const char *wa_selftest_format_name(size_t i);

/**
 * Plant, look, print. On one rank. The same options give the same output. *sound: every fault that
 * must be found was, at its place, no threshold is above its limit, and nothing healthy was
 * accused.
 *
 * Errors: WA_E_USAGE (an unknown format), those of opening the model and of extracting, WA_E_IO,
 * WA_E_MEMORY, WA_E_NO_PROGRESS (a signal); the directory is removed all the same.
 */
WA_CHECKED wa_status wa_selftest_run(wa_comm *comm, const wa_selftest_options *options,
                                     wa_arena *arena, bool *sound, wa_error *err);

#endif
