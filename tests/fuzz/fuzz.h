/* What the fuzz targets share: a memory directory for readers that take a path, an arena, and what
 * a reader may answer. A target is one file fuzz_NAME.c with LLVMFuzzerTestOneInput. */
#ifndef WALKAUDIT_FUZZ_H
#define WALKAUDIT_FUZZ_H

#include "base/arena.h"
#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_PATH = 512, FUZZ_MEMORY = 256 << 20 };

/** A finding: libFuzzer keeps the input of a program that aborts. */
static inline void fuzz_require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

static inline char *fuzz_directory_text(void)
{
    static char directory[FUZZ_PATH];
    return directory;
}

static inline void fuzz_remove_directory(void)
{
    char command[FUZZ_PATH + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", fuzz_directory_text());
    (void)!system(command);
}

/** A directory of this process, in memory where there is such a place; removed at exit. */
static inline const char *fuzz_directory(void)
{
    char *directory = fuzz_directory_text();
    if (directory[0] != '\0')
        return directory;
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : ".";
    snprintf(directory, FUZZ_PATH, "%s/walkaudit-fuzz-XXXXXX", base);
    fuzz_require(mkdtemp(directory) != NULL, "no directory for the input");
    atexit(fuzz_remove_directory);
    return directory;
}

/** The path of `name` in that directory, in a buffer of FUZZ_PATH. */
static inline const char *fuzz_path(char *out, const char *name)
{
    int length = snprintf(out, FUZZ_PATH, "%s/%s", fuzz_directory(), name);
    fuzz_require(length > 0 && length < FUZZ_PATH, "path too long");
    return out;
}

static inline void fuzz_make_directory(const char *name)
{
    char path[FUZZ_PATH];
    fuzz_require(mkdir(fuzz_path(path, name), 0700) == 0, "mkdir");
}

static inline void fuzz_write(const char *name, const void *bytes, size_t size)
{
    char path[FUZZ_PATH];
    FILE *file = fopen(fuzz_path(path, name), "wb");
    bool written = file != NULL && fwrite(bytes, 1, size, file) == size;
    fuzz_require(written && fclose(file) == 0, "write");
}

/** `count` zero bytes: a payload whose values do not matter. */
static inline void fuzz_write_zeros(const char *name, size_t count)
{
    void *zeros = calloc(count + 1, 1);
    fuzz_require(zeros != NULL, "memory");
    fuzz_write(name, zeros, count);
    free(zeros);
}

/** Copy a file of the golden data. */
static inline void fuzz_write_golden(const char *name, const char *golden)
{
    wa_map map;
    wa_error err = {0};
    fuzz_require(wa_map_open(golden, &map, &err) == WA_OK, golden);
    fuzz_write(name, map.bytes.data, map.bytes.size);
    wa_map_close(&map);
}

static inline wa_arena *fuzz_arena(void)
{
    wa_arena *arena;
    wa_error err = {0};
    fuzz_require(wa_arena_open("fuzz", FUZZ_MEMORY, &arena, &err) == WA_OK, "arena");
    return arena;
}

/**
 * Bad data may be refused in one line, and that is all: no internal error, and no request of memory
 * that the input's size does not justify. Returns whether it was accepted.
 */
static inline bool fuzz_answer(wa_status status, const wa_error *err)
{
    if (status == WA_OK)
        return true;
    if (getenv("FUZZ_TALK") != NULL) /* when one looks at an input by hand */
        fprintf(stderr, "answer: %s\n", err->text);
    bool named = status != WA_E_INTERNAL && status != WA_E_MEMORY;
    bool one_line = err->text[0] != '\0' && strpbrk(err->text, "\r\n") == NULL;
    if (!named || !one_line || err->status != status)
        fprintf(stderr, "fuzz: status %d, error %d '%s'\n", (int)status, (int)err->status,
                err->text);
    fuzz_require(named, "an input is an internal error or takes all memory");
    fuzz_require(one_line, "the error is not one line");
    fuzz_require(err->status == status, "the error has another status");
    return false;
}

/** Every byte of a range is there: touched, so that a sanitizer or the kernel sees a bad one. */
static inline void fuzz_touch(wa_bytes bytes)
{
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < bytes.size; i++)
        sum = (uint8_t)(sum + bytes.data[i]);
}

#endif
