/* Rings in shared memory: two counts decide, what was written and what each reader has dropped. */
#include "comm/ring.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* At the start of the memory, each count in a cache line of its own: the writer's, then one for
 * each reader. Messages follow. Counts only grow, so that a message's place is its number modulo
 * the depth. */
enum { LINE = 64 };
typedef struct counter {
    _Alignas(LINE) _Atomic uint64_t count;
} counter;

static size_t rounded(size_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

bool wa_ring_size(const wa_ring_shape *shape, size_t *out)
{
    size_t counters, messages;
    return shape->bytes <= SIZE_MAX - LINE &&
           wa_size_mul(rounded(shape->bytes), shape->depth, &messages) &&
           shape->readers < SIZE_MAX &&
           wa_size_mul(1 + shape->readers, sizeof(counter), &counters) &&
           wa_size_add(counters, messages, out) && *out <= INT64_MAX;
}

static counter *counters_of(const wa_ring *ring)
{
    return (counter *)(void *)ring->memory;
}

static uint8_t *message_at(const wa_ring *ring, uint64_t number)
{
    return ring->memory + (1 + ring->shape.readers) * sizeof(counter) +
           (size_t)(number % ring->shape.depth) * rounded(ring->shape.bytes);
}

/* --- Memory ----------------------------------------------------------------------------------- */

static wa_status map_ring(int fd, const char *name, wa_ring *out, wa_error *err)
{
    void *at = mmap(NULL, out->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return wa_fail(err, WA_E_MEMORY, "cannot map %zu bytes of shared memory '%s': %s",
                       out->size, name, strerror(errno));
    out->memory = at;
    return WA_OK;
}

static wa_status set_shape(const wa_ring_shape *shape, size_t reader, wa_ring *out, wa_error *err)
{
    *out = (wa_ring){.shape = *shape, .reader = reader};
    if (!wa_ring_size(shape, &out->size))
        return wa_fail(err, WA_E_MEMORY, "%zu messages of %zu bytes overflow", shape->depth,
                       shape->bytes);
    return WA_OK;
}

wa_status wa_ring_make(const char *name, const wa_ring_shape *shape, wa_ring *out, wa_error *err)
{
    WA_TRY(set_shape(shape, 0, out, err));
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        return wa_fail(err, WA_E_MEMORY, "cannot make shared memory '%s': %s", name,
                       strerror(errno));
    /* Without its pages at hand, a full /dev/shm would be a SIGBUS in the middle of a batch. */
    int refused = posix_fallocate(fd, 0, (off_t)out->size);
    wa_status status = WA_OK;
    if (refused != 0)
        status = wa_fail(err, WA_E_MEMORY, "no %zu bytes of shared memory: %s", out->size,
                         strerror(refused));
    if (status == WA_OK)
        status = map_ring(fd, name, out, err);
    close(fd);
    if (status != WA_OK) {
        wa_ring_unname(name);
        return status;
    }
    for (size_t i = 0; i <= shape->readers; i++)
        atomic_init(&counters_of(out)[i].count, 0);
    return WA_OK;
}

wa_status wa_ring_join(const char *name, const wa_ring_shape *shape, size_t reader, wa_ring *out,
                       wa_error *err)
{
    WA_TRY(set_shape(shape, reader, out, err));
    struct stat info;
    int fd = shm_open(name, O_RDWR, 0);
    if (fd < 0)
        return wa_fail(err, WA_E_MEMORY, "cannot open shared memory '%s': %s", name,
                       strerror(errno));
    wa_status status = WA_OK;
    if (fstat(fd, &info) != 0 || info.st_uid != geteuid() || info.st_size != (off_t)out->size)
        status = wa_fail(err, WA_E_MEMORY,
                         "shared memory '%s' is not the %zu bytes of this user that were expected",
                         name, out->size);
    if (status == WA_OK)
        status = map_ring(fd, name, out, err);
    close(fd);
    return status;
}

void wa_ring_unname(const char *name)
{
    shm_unlink(name);
}

void wa_ring_close(wa_ring *ring)
{
    if (ring->memory != NULL)
        munmap(ring->memory, ring->size);
    ring->memory = NULL;
}

/* --- Messages --------------------------------------------------------------------------------- */

uint8_t *wa_ring_board(const wa_ring *ring)
{
    return message_at(ring, 0);
}

/* A release by the one who changes a count, an acquire by the one who reads it: what was written
 * before the change is seen after it. Its own count a rank may read as it likes. */

uint8_t *wa_ring_claim(const wa_ring *ring)
{
    counter *counters = counters_of(ring);
    uint64_t written = atomic_load_explicit(&counters[0].count, memory_order_relaxed);
    for (size_t r = 0; r < ring->shape.readers; r++)
        if (written - atomic_load_explicit(&counters[1 + r].count, memory_order_acquire) >=
            ring->shape.depth)
            return NULL;
    return message_at(ring, written);
}

void wa_ring_publish(const wa_ring *ring)
{
    atomic_fetch_add_explicit(&counters_of(ring)[0].count, 1, memory_order_release);
}

const uint8_t *wa_ring_peek(const wa_ring *ring)
{
    counter *counters = counters_of(ring);
    uint64_t dropped =
        atomic_load_explicit(&counters[1 + ring->reader].count, memory_order_relaxed);
    if (atomic_load_explicit(&counters[0].count, memory_order_acquire) == dropped)
        return NULL;
    return message_at(ring, dropped);
}

void wa_ring_drop(const wa_ring *ring)
{
    atomic_fetch_add_explicit(&counters_of(ring)[1 + ring->reader].count, 1, memory_order_release);
}
