/* Digests of stored payloads: rank 0 reads the old ones, all ranks take the new. */
#include "run/payloads.h"

static bool has_done(const wa_parts *parts)
{
    return parts != NULL && (wa_parts_get_state(parts) == WA_PARTS_FINISHED || wa_parts_is_done(parts, 0));
}

/* Rank 0's to all: three arrays of one length, which follows from the axes. */
static wa_status share(wa_comm *comm, wa_payload_digests *digests, wa_arena *arena, wa_error *err)
{
    int64_t count = (int64_t)digests->count;
    WA_TRY(wa_comm_broadcast(comm, &count, sizeof count, err));
    if (count == 0) {
        digests->count = 0;
        return WA_OK;
    }
    wa_status status = WA_OK;
    if (wa_comm_rank(comm) != 0) {
        digests->count = (size_t)count;
        status = wa_arena_take(arena, digests->count, sizeof *digests->checked, &digests->checked, err);
        if (status == WA_OK)
            status = wa_arena_take(arena, digests->count, sizeof *digests->high, &digests->high, err);
        if (status == WA_OK)
            status = wa_arena_take(arena, digests->count, sizeof *digests->low, &digests->low, err);
    }
    WA_TRY(wa_comm_agree(comm, status, err));
    WA_TRY(wa_comm_broadcast(comm, digests->checked, digests->count * sizeof *digests->checked, err));
    WA_TRY(wa_comm_broadcast(comm, digests->high, digests->count * sizeof *digests->high, err));
    return wa_comm_broadcast(comm, digests->low, digests->count * sizeof *digests->low, err);
}

static wa_status sum_bytes(wa_comm *comm, double mine, wa_arena *arena, double *out, wa_error *err)
{
    double *all = NULL;
    wa_status status = WA_OK;
    size_t ranks = (size_t)wa_comm_size(comm);
    if (wa_comm_rank(comm) == 0)
        status = wa_arena_take(arena, ranks, sizeof *all, &all, err);
    WA_TRY(wa_comm_agree(comm, status, err));
    WA_TRY(wa_comm_gather(comm, &mine, sizeof mine, all, err));
    *out = 0.0;
    for (size_t r = 0; all != NULL && r < ranks; r++)
        *out += all[r];
    return WA_OK;
}

/* Every so many-th is this rank's. */
static wa_status check_share(wa_comm *comm, const wa_audit *audit, const wa_payload_digests *then, wa_parts *parts,
                             double *bytes, wa_error *err)
{
    size_t seen = 0;
    size_t ranks = (size_t)wa_comm_size(comm);
    *bytes = 0.0;
    for (size_t i = 0; i < then->count; i++) {
        if (then->checked[i] != 1 || seen++ % ranks != (size_t)wa_comm_rank(comm))
            continue;
        WA_TRY(wa_audit_check_payload(audit, then, i, bytes, err));
        if (parts != NULL)
            wa_parts_beat(parts);
    }
    return WA_OK;
}

wa_status wa_run_check_payloads(wa_comm *comm, const wa_audit *audit, const char *result_path,
                                const wa_result_meta *meta, wa_parts *parts, wa_run_log *log,
                                wa_arena *arena, wa_error *err)
{
    wa_payload_digests digests = {.count = 0};
    wa_status status = WA_OK;
    double start = wa_clock();
    double mine, bytes;
    if (has_done(parts))
        status = wa_payload_digests_load(result_path, meta, wa_parts_get_state(parts) == WA_PARTS_FINISHED, arena,
                                         &digests, err);
    WA_TRY(wa_comm_agree(comm, status, err));
    WA_TRY(share(comm, &digests, arena, err));
    if (digests.count == 0)
        return WA_OK;
    WA_TRY(wa_comm_agree(comm, check_share(comm, audit, &digests, parts, &mine, err), err));
    WA_TRY(sum_bytes(comm, mine, arena, &bytes, err));
    wa_run_log_line(log, "stored payloads: %.1f MB read again in %.2f s, the bytes that were audited", bytes / 1e6,
                    wa_clock() - start);
    return WA_OK;
}
