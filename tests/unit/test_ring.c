/* Rings in shared memory, between processes as between ranks. */
#include "comm/ring.h"

#include "suite.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READERS = 3, DEPTH = 4, NUMBERS = 97, MESSAGES = 2000 };

static const wa_ring_shape SHAPE = {
    .depth = DEPTH, .bytes = NUMBERS * sizeof(uint32_t), .readers = READERS};

static const char *own_name(void)
{
    static char name[WA_RING_NAME];
    snprintf(name, sizeof name, "/walkaudit-test-%ld", (long)getpid());
    return name;
}

static uint32_t word(size_t message, size_t at)
{
    return (uint32_t)(message * 2654435761U + at * 40503U);
}

/* In a child: every message in order and whole, at a pace of its own. 0 = so it was. */
static int read_all(const char *name, size_t reader)
{
    wa_ring ring;
    wa_error err;
    if (wa_ring_join(name, &SHAPE, reader, &ring, &err) != WA_OK)
        return 1;
    for (size_t m = 0; m < MESSAGES; m++) {
        const uint8_t *bytes;
        while ((bytes = wa_ring_peek(&ring)) == NULL)
            sched_yield();
        for (size_t round = 0; round <= reader; round++) /* it stays until it is dropped */
            for (size_t i = 0; i < NUMBERS; i++) {
                uint32_t found;
                memcpy(&found, bytes + i * sizeof found, sizeof found);
                if (found != word(m, i))
                    return 2;
            }
        wa_ring_drop(&ring);
    }
    bool more = wa_ring_peek(&ring) != NULL;
    wa_ring_close(&ring);
    return more ? 3 : 0;
}

static void every_reader_gets_every_message_whole_and_in_order(void)
{
    const char *name = own_name();
    wa_ring ring;
    wa_error err;
    WA_MUST(wa_ring_make(name, &SHAPE, &ring, &err), &err);
    pid_t children[READERS];
    fflush(NULL);
    for (size_t r = 0; r < READERS; r++)
        if ((children[r] = fork()) == 0)
            _exit(read_all(name, r));
    for (size_t m = 0; m < MESSAGES; m++) {
        uint8_t *room;
        while ((room = wa_ring_claim(&ring)) == NULL)
            sched_yield();
        for (size_t i = 0; i < NUMBERS; i++) {
            uint32_t value = word(m, i);
            memcpy(room + i * sizeof value, &value, sizeof value);
        }
        wa_ring_publish(&ring);
    }
    for (size_t r = 0; r < READERS; r++) {
        int status = -1;
        CU_ASSERT(waitpid(children[r], &status, 0) == children[r]);
        CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    wa_ring_unname(name);
    wa_ring_close(&ring);
}

static void the_writer_waits_for_the_slowest_reader(void)
{
    const char *name = own_name();
    wa_ring writer, reader[READERS];
    wa_error err;
    WA_MUST(wa_ring_make(name, &SHAPE, &writer, &err), &err);
    for (size_t r = 0; r < READERS; r++)
        WA_MUST(wa_ring_join(name, &SHAPE, r, &reader[r], &err), &err);
    wa_ring_unname(name);
    for (size_t m = 0; m < DEPTH; m++) {
        CU_ASSERT_FATAL(wa_ring_claim(&writer) != NULL);
        wa_ring_publish(&writer);
    }
    for (size_t r = 0; r < READERS; r++) {
        CU_ASSERT(wa_ring_claim(&writer) == NULL); /* nobody before has made room for all */
        CU_ASSERT(wa_ring_peek(&reader[r]) != NULL);
        wa_ring_drop(&reader[r]);
    }
    CU_ASSERT(wa_ring_claim(&writer) != NULL);
    for (size_t r = 0; r < READERS; r++)
        wa_ring_close(&reader[r]);
    wa_ring_close(&writer);
    CU_ASSERT(writer.memory == NULL);
}

static void what_cannot_be_shared_is_refused_and_leaves_nothing(void)
{
    const char *name = own_name();
    const wa_ring_shape vast = {.depth = 1 << 20, .bytes = (size_t)1 << 40, .readers = 1};
    const wa_ring_shape endless = {.depth = SIZE_MAX / 2, .bytes = 4096, .readers = 1};
    wa_ring ring;
    wa_error err;
    size_t size;
    CU_ASSERT(!wa_ring_size(&endless, &size));
    CU_ASSERT(wa_ring_make(name, &endless, &ring, &err) == WA_E_MEMORY);
    CU_ASSERT(wa_ring_make(name, &vast, &ring, &err) == WA_E_MEMORY);
    /* the name is gone again */
    CU_ASSERT(wa_ring_join(name, &SHAPE, 0, &ring, &err) == WA_E_MEMORY);

    WA_MUST(wa_ring_make(name, &SHAPE, &ring, &err), &err);
    wa_ring other;
    CU_ASSERT(wa_ring_make(name, &SHAPE, &other, &err) == WA_E_MEMORY); /* it is somebody's */
    wa_ring_shape deeper = SHAPE;
    deeper.depth++;
    CU_ASSERT(wa_ring_join(name, &deeper, 0, &other, &err) == WA_E_MEMORY);
    CU_ASSERT(strstr(err.text, "expected") != NULL);
    wa_ring_unname(name);
    wa_ring_close(&ring);
    CU_ASSERT(wa_ring_join(name, &SHAPE, 0, &ring, &err) == WA_E_MEMORY);
}

WA_SUITE("ring", WA_CASE(every_reader_gets_every_message_whole_and_in_order),
         WA_CASE(the_writer_waits_for_the_slowest_reader),
         WA_CASE(what_cannot_be_shared_is_refused_and_leaves_nothing))
