/* One host may have a copy of its own, an old one or a damaged one: rank 0's fingerprint does not
 * tell. */
#include "run/inputs.h"

#include "base/opened.h"

typedef struct input_facts {
    int64_t size;
    wa_short_digest digest;
} input_facts;

/* The inputs of a rank. */
typedef struct input_list {
    uint64_t count, key_bytes;
    char *keys;         /* [key_bytes] each ends in a NUL, arena */
    input_facts *facts; /* [count], arena */
} input_list;

static wa_status take_room(input_list *list, wa_arena *arena, wa_error *err)
{
    WA_TRY(wa_arena_take(arena, list->key_bytes, 1, &list->keys, err));
    return wa_arena_take(arena, list->count, sizeof *list->facts, &list->facts, err);
}

static wa_status list_own(const wa_audit *audit, input_list *out, wa_arena *arena, wa_error *err)
{
    input_list list = {.count = audit->file_count};
    for (size_t i = 0; i < audit->file_count; i++)
        list.key_bytes += strlen(audit->files[i].key) + 1;
    WA_TRY(take_room(&list, arena, err));
    char *at = list.keys;
    for (size_t i = 0; i < audit->file_count; i++) {
        const wa_input_file *file = &audit->files[i];
        size_t length = strlen(file->key) + 1;
        memcpy(at, file->key, length);
        at += length;
        list.facts[i].size = file->state.size;
        WA_TRY(wa_opened_digest(file->path, &list.facts[i].digest, err));
    }
    *out = list;
    return WA_OK;
}

/* Collective. */
static wa_status share_first(wa_comm *comm, const input_list *own, input_list *out, wa_arena *arena,
                             wa_error *err)
{
    input_list first = *own;
    WA_TRY(wa_comm_broadcast(comm, &first.count, sizeof first.count, err));
    WA_TRY(wa_comm_broadcast(comm, &first.key_bytes, sizeof first.key_bytes, err));
    wa_status status = WA_OK;
    if (wa_comm_rank(comm) != 0)
        status = take_room(&first, arena, err);
    WA_TRY(wa_comm_agree(comm, status, err));
    WA_TRY(wa_comm_broadcast(comm, first.keys, first.key_bytes, err));
    WA_TRY(wa_comm_broadcast(comm, first.facts, first.count * sizeof *first.facts, err));
    *out = first;
    return WA_OK;
}

static bool has_key(const input_list *list, const char *key)
{
    const char *at = list->keys;
    for (uint64_t i = 0; i < list->count; i++, at += strlen(at) + 1)
        if (strcmp(at, key) == 0)
            return true;
    return false;
}

/* Two lists that differ in length, or at a place. */
static wa_status fail_names(const wa_comm *comm, const input_list *own, const input_list *first,
                            wa_error *err)
{
    const input_list *longer = own->count > first->count ? own : first;
    const input_list *other = longer == own ? first : own;
    const char *key = longer->keys;
    for (uint64_t i = 1; i < longer->count && has_key(other, key); i++)
        key += strlen(key) + 1;
    return wa_fail(
        err, WA_E_MISMATCH, "host '%.80s' reads other inputs than rank 0: '%.300s' is %s",
        wa_comm_host(comm), key, longer == own ? "there and not where rank 0 is" : "missing");
}

wa_status wa_run_fail_bytes(const wa_comm *comm, const wa_input_file *file, wa_error *err)
{
    return wa_fail(err, WA_E_MISMATCH,
                   "host '%.80s' reads other inputs than rank 0: '%.200s' has other bytes, though "
                   "as many; in file '%s'",
                   wa_comm_host(comm), file->key, file->path);
}

static wa_status compare(const wa_comm *comm, const wa_audit *audit, const input_list *own,
                         const input_list *first, wa_error *err)
{
    if (own->count != first->count || own->key_bytes != first->key_bytes ||
        memcmp(own->keys, first->keys, own->key_bytes) != 0)
        return fail_names(comm, own, first, err);
    for (uint64_t i = 0; i < own->count; i++) {
        const input_facts *here = &own->facts[i], *there = &first->facts[i];
        const wa_input_file *file = &audit->files[i];
        if (here->size != there->size)
            return wa_fail(err, WA_E_MISMATCH,
                           "host '%.80s' reads other inputs than rank 0: '%.200s' has %lld bytes, "
                           "for rank 0 %lld; in file '%s'",
                           wa_comm_host(comm), file->key, (long long)here->size,
                           (long long)there->size, file->path);
        if (here->digest.high != there->digest.high || here->digest.low != there->digest.low)
            return wa_run_fail_bytes(comm, file, err);
    }
    return WA_OK;
}

wa_status wa_run_compare_inputs(wa_comm *comm, const wa_audit *audit, wa_arena *arena,
                                wa_error *err)
{
    input_list own, first;
    if (wa_comm_size(comm) == 1)
        return WA_OK;
    WA_TRY(wa_comm_agree(comm, list_own(audit, &own, arena, err), err));
    WA_TRY(share_first(comm, &own, &first, arena, err));
    return wa_comm_agree(comm, compare(comm, audit, &own, &first, err), err);
}
