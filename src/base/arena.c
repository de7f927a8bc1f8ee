/* Arenas: chunks obtained from the system in large pieces and given back together. The only
 * file that calls the allocator. */
#define _GNU_SOURCE
#include "base/arena.h"
#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64, NAME_SIZE = 32 };
static const size_t CHUNK_BYTES = (size_t)256 << 10;

/* A chunk's payload follows its header at the next multiple of ALIGNMENT. */
typedef struct chunk {
    struct chunk *below; /* taken earlier */
    size_t size;         /* of the mapping, header included */
    size_t used;         /* header included */
} chunk;

struct wa_arena {
    chunk *top;
    size_t total; /* bytes of all mappings, its children's too */
    size_t high_water;
    size_t limit;
    wa_arena *parent; /* borrowed; its limit counts what this one holds too. NULL = none */
    size_t takes_until_failure; /* 0 = never */
    char name[NAME_SIZE];
};

static const size_t HEADER = (sizeof(chunk) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

wa_status wa_arena_open(const char *name, size_t limit, wa_arena **out, wa_error *err)
{
    wa_arena *arena = calloc(1, sizeof *arena);
    if (arena == NULL)
        return wa_fail(err, WA_E_MEMORY, "no memory for arena '%s'", name);
    arena->limit = limit;
    snprintf(arena->name, sizeof arena->name, "%s", name);
    *out = arena;
    return WA_OK;
}

wa_status wa_arena_open_within(wa_arena *parent, const char *name, wa_arena **out, wa_error *err)
{
    WA_TRY(wa_arena_open(name, 0, out, err));
    (*out)->parent = parent;
    return WA_OK;
}

static void pop_chunk(wa_arena *arena)
{
    chunk *top = arena->top;
    arena->top = top->below;
    for (wa_arena *a = arena; a != NULL; a = a->parent)
        a->total -= top->size;
    munmap(top, top->size);
}

void wa_arena_close(wa_arena *arena)
{
    if (arena == NULL)
        return;
    wa_arena_reset(arena);
    free(arena);
}

static wa_status push_chunk(wa_arena *arena, size_t payload, wa_error *err)
{
    size_t size;
    if (!wa_size_add(payload, HEADER + CHUNK_BYTES - 1, &size))
        return wa_fail(err, WA_E_MEMORY, "arena '%s': %zu bytes overflow", arena->name, payload);
    size = size / CHUNK_BYTES * CHUNK_BYTES;
    for (const wa_arena *a = arena; a != NULL; a = a->parent)
        if (a->limit != 0 && (a->total > a->limit || size > a->limit - a->total))
            return wa_fail(err, WA_E_MEMORY,
                           "arena '%s' needs %zu more bytes, holds %zu of %zu allowed", a->name,
                           size, a->total, a->limit);
    chunk *fresh = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED)
        return wa_fail(err, WA_E_MEMORY, "arena '%s': the system has no %zu bytes", arena->name,
                       size);
    *fresh = (chunk){.below = arena->top, .size = size, .used = HEADER};
    arena->top = fresh;
    for (wa_arena *a = arena; a != NULL; a = a->parent) {
        a->total += size;
        a->high_water = a->total > a->high_water ? a->total : a->high_water;
    }
    return WA_OK;
}

/* Text is packed without gaps: a result of a million positions holds as many short strings. */
static wa_status take_aligned(wa_arena *arena, size_t bytes, size_t alignment, void *out_pointer,
                              wa_error *err)
{
    if (arena->takes_until_failure > 0 && --arena->takes_until_failure == 0)
        return wa_fail(err, WA_E_MEMORY, "arena '%s': this take was asked to fail", arena->name);
    size_t start = 0;
    if (arena->top != NULL)
        start = (arena->top->used + alignment - 1) / alignment * alignment;
    if (arena->top == NULL || start > arena->top->size || bytes > arena->top->size - start) {
        WA_TRY(push_chunk(arena, bytes, err));
        start = arena->top->used; /* HEADER, a multiple of ALIGNMENT */
    }
    void *at = (char *)arena->top + start;
    arena->top->used = start + bytes;
    memcpy(out_pointer, &at, sizeof at);
    return WA_OK;
}

wa_status wa_arena_take_raw(wa_arena *arena, size_t count, size_t size, void *out_pointer,
                            wa_error *err)
{
    size_t bytes;
    if (!wa_size_mul(count, size, &bytes))
        return wa_fail(err, WA_E_MEMORY, "arena '%s': %zu x %zu bytes overflow", arena->name, count,
                       size);
    return take_aligned(arena, bytes, ALIGNMENT, out_pointer, err);
}

wa_status wa_arena_take(wa_arena *arena, size_t count, size_t size, void *out_pointer,
                        wa_error *err)
{
    void *at;
    WA_TRY(wa_arena_take_raw(arena, count, size, &at, err));
    memset(at, 0, count * size); /* released space is reused, so fresh pages are not enough */
    memcpy(out_pointer, &at, sizeof at);
    return WA_OK;
}

wa_status wa_arena_grow(wa_arena *arena, void *array_pointer, size_t count, size_t *room,
                        size_t size, wa_error *err)
{
    enum { FIRST = 16 };
    void *old, *wider;
    size_t more = FIRST;
    if (count < *room)
        return WA_OK;
    if (*room > 0 && !wa_size_mul(*room, 2, &more))
        return wa_fail(err, WA_E_MEMORY, "twice %zu elements overflow", *room);
    WA_TRY(wa_arena_take(arena, more, size, &wider, err));
    memcpy(&old, array_pointer, sizeof old);
    if (count > 0)
        memcpy(wider, old, count * size);
    memcpy(array_pointer, &wider, sizeof wider);
    *room = more;
    return WA_OK;
}

wa_status wa_arena_copy(wa_arena *arena, const char *text, size_t length, char **out, wa_error *err)
{
    char *at;
    size_t size;
    if (!wa_size_add(length, 1, &size))
        return wa_fail(err, WA_E_MEMORY, "string length overflows");
    WA_TRY(take_aligned(arena, size, 1, &at, err));
    memcpy(at, text, length);
    at[length] = '\0';
    *out = at;
    return WA_OK;
}

wa_status wa_arena_print(wa_arena *arena, char **out, wa_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        return wa_fail(err, WA_E_INTERNAL, "format '%s' cannot be printed", format);
    char *at;
    WA_TRY(take_aligned(arena, (size_t)length + 1, 1, &at, err));
    va_start(args, format);
    vsnprintf(at, (size_t)length + 1, format, args);
    va_end(args);
    *out = at;
    return WA_OK;
}

wa_mark wa_arena_mark(const wa_arena *arena)
{
    return (wa_mark){.chunk = arena->top, .used = arena->top == NULL ? 0 : arena->top->used};
}

void wa_arena_release(wa_arena *arena, wa_mark mark)
{
    while (arena->top != mark.chunk)
        pop_chunk(arena);
    if (arena->top != NULL)
        arena->top->used = mark.used;
}

void wa_arena_reset(wa_arena *arena)
{
    while (arena->top != NULL)
        pop_chunk(arena);
}

size_t wa_arena_used(const wa_arena *arena)
{
    return arena->total;
}

size_t wa_arena_high_water(const wa_arena *arena)
{
    return arena->high_water;
}

void wa_arena_fail_at(wa_arena *arena, size_t k)
{
    arena->takes_until_failure = k;
}
