/* Arenas: all memory of the program. One arena per lifetime (run, batch slot, verb). */
#ifndef WALKAUDIT_BASE_ARENA_H
#define WALKAUDIT_BASE_ARENA_H

#include "base/status.h"

/** A growing region that is freed as a whole. Not thread-safe. */
typedef struct wa_arena wa_arena;

/**
 * Make an arena.
 *
 * name   for messages, copied (at most 31 bytes kept)
 * limit  bytes it may hold in all; 0 = no limit
 */
WA_CHECKED wa_status wa_arena_open(const char *name, size_t limit, wa_arena **out, wa_error *err);

/** Make an arena whose bytes count towards the parent's limit as well. Close it before the
 * parent. */
WA_CHECKED wa_status wa_arena_open_within(wa_arena *parent, const char *name, wa_arena **out,
                                          wa_error *err);

/** Free everything taken from it, and the arena. NULL is allowed. */
void wa_arena_close(wa_arena *arena);

/**
 * Take `count * size` bytes, zeroed, aligned to 64. Owned by the arena. count * size = 0 gives a
 * valid pointer to nothing. Errors: WA_E_MEMORY (overflow, limit, machine), naming the arena.
 */
WA_CHECKED wa_status wa_arena_take(wa_arena *arena, size_t count, size_t size, void *out_pointer,
                                   wa_error *err);

/** As wa_arena_take, but the content is undefined; for large buffers that are written whole. */
WA_CHECKED wa_status wa_arena_take_raw(wa_arena *arena, size_t count, size_t size,
                                       void *out_pointer, wa_error *err);

/**
 * Room for one more element behind `count` of an array that grows: where there is none, twice as
 * many elements are taken and the old ones copied, whose space stays in the arena.
 *
 * array_pointer  address of the pointer to the elements; room  in and out: elements that there is
 *                space for; size  of one
 */
WA_CHECKED wa_status wa_arena_grow(wa_arena *arena, void *array_pointer, size_t count, size_t *room,
                                   size_t size, wa_error *err);

/** Copy a string of `length` bytes (no NUL inside needed) and end it with NUL. */
WA_CHECKED wa_status wa_arena_copy(wa_arena *arena, const char *text, size_t length, char **out,
                                   wa_error *err);

/** printf into the arena. */
WA_CHECKED wa_status wa_arena_print(wa_arena *arena, char **out, wa_error *err, const char *format,
                                    ...) WA_PRINTF(4, 5);

/** A point to return to. What was taken after it is gone after wa_arena_release. */
typedef struct wa_mark {
    void *chunk;
    size_t used;
} wa_mark;
wa_mark wa_arena_mark(const wa_arena *arena);
void wa_arena_release(wa_arena *arena, wa_mark mark);

/** Free all but keep the arena. */
void wa_arena_reset(wa_arena *arena);

/** Bytes held now, and the most ever held. */
size_t wa_arena_used(const wa_arena *arena);
size_t wa_arena_high_water(const wa_arena *arena);

/** Let the k-th take from now on (1 = the next) fail with WA_E_MEMORY; 0 = never. For fault
 * tests. */
void wa_arena_fail_at(wa_arena *arena, size_t k);

#endif
