/* Mappings between guard pages. The system says at once who leaves them; a pattern says it of the
 * last bytes that it cannot see. */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "base/fence.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PATTERN = 0xA5, ALIGNMENT = WA_FENCE_ALIGNMENT };

static unsigned char *inner_start(const wa_fence *fence)
{
    return fence->map + fence->page;
}

static unsigned char *inner_end(const wa_fence *fence)
{
    return inner_start(fence) + fence->inner;
}

/* Pages are aligned to more than a place is. */
static unsigned char *place_start(const wa_fence *fence)
{
    return inner_end(fence) - (fence->used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static wa_status map_inner(wa_fence *fence, size_t bytes, wa_error *err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), all;
    if (!wa_size_add(bytes, 4 * page, &all))
        return wa_fail(err, WA_E_MEMORY, "%zu bytes between guard pages overflow", bytes);
    size_t inner = (bytes + page - 1) / page * page;
    all = inner + 2 * page;
    unsigned char *map = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return wa_fail(err, WA_E_MEMORY, "the system has no %zu bytes between guard pages: %s",
                       bytes, strerror(errno));
    if (mprotect(map + page, inner, PROT_READ | PROT_WRITE) != 0) {
        wa_fail(err, WA_E_MEMORY, "the system has no %zu bytes between guard pages: %s", bytes,
                strerror(errno));
        munmap(map, all);
        return WA_E_MEMORY;
    }
    wa_fence_close(fence);
    *fence = (wa_fence){.map = map, .page = page, .inner = inner};
    return WA_OK;
}

/* From the page where the place begins. */
static wa_status protect(const wa_fence *fence, int protection, wa_error *err)
{
    size_t skipped = (size_t)(place_start(fence) - inner_start(fence)) / fence->page * fence->page;
    if (mprotect(inner_start(fence) + skipped, fence->inner - skipped, protection) != 0)
        return wa_fail(err, WA_E_INTERNAL, "cannot protect %zu bytes: %s", fence->inner - skipped,
                       strerror(errno));
    return WA_OK;
}

static size_t bytes_in_front(const wa_fence *fence)
{
    size_t front = (size_t)(place_start(fence) - inner_start(fence));
    return front < ALIGNMENT ? front : ALIGNMENT;
}

wa_status wa_fence_place(wa_fence *fence, size_t bytes, void *out_pointer, wa_error *err)
{
    if (fence->locked)
        WA_TRY(protect(fence, PROT_READ | PROT_WRITE, err));
    fence->locked = false;
    if (fence->map == NULL || fence->inner < bytes)
        WA_TRY(map_inner(fence, bytes == 0 ? 1 : bytes, err));
    fence->used = bytes;
    unsigned char *start = place_start(fence), *end = start + bytes;
    memset(start - bytes_in_front(fence), PATTERN, bytes_in_front(fence));
    memset(end, PATTERN, (size_t)(inner_end(fence) - end));
    memcpy(out_pointer, &start, sizeof start);
    return WA_OK;
}

wa_status wa_fence_lock(wa_fence *fence, wa_error *err)
{
    WA_TRY(protect(fence, PROT_READ, err));
    fence->locked = true;
    return WA_OK;
}

static bool is_pattern(const unsigned char *at, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (at[i] != PATTERN)
            return false;
    return true;
}

wa_fence_side wa_fence_check(const wa_fence *fence)
{
    const unsigned char *start = place_start(fence), *end = start + fence->used;
    size_t front = bytes_in_front(fence);
    if (!is_pattern(end, (size_t)(inner_end(fence) - end)))
        return WA_FENCE_AFTER;
    return is_pattern(start - front, front) ? WA_FENCE_WHOLE : WA_FENCE_BEFORE;
}

bool wa_fence_has(const wa_fence *fence, const void *address, wa_fence_side *out)
{
    uintptr_t at = (uintptr_t)address, start = (uintptr_t)fence->map;
    if (fence->map == NULL || at < start || at - start >= fence->inner + 2 * fence->page)
        return false;
    if (at - start < fence->page)
        *out = WA_FENCE_BEFORE;
    else
        *out = at - start - fence->page < fence->inner ? WA_FENCE_WHOLE : WA_FENCE_AFTER;
    return true;
}

void wa_fence_close(wa_fence *fence)
{
    if (fence->map != NULL)
        munmap(fence->map, fence->inner + 2 * fence->page);
    *fence = (wa_fence){.map = NULL};
}
