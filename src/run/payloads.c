/* Digests of stored payloads: rank 0 reads the old ones, all ranks take the new. Hashes of whole
 * files, likewise. */
#include "run/payloads.h"

#include "base/bytes.h"
#include "run/inputs.h"

static bool has_digests(const wa_parts *parts)
{
    return parts != NULL &&
           (wa_parts_get_state(parts) == WA_PARTS_FINISHED || wa_parts_encoding(parts) != NULL);
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
        status =
            wa_arena_take(arena, digests->count, sizeof *digests->checked, &digests->checked, err);
        if (status == WA_OK)
            status =
                wa_arena_take(arena, digests->count, sizeof *digests->high, &digests->high, err);
        if (status == WA_OK)
            status = wa_arena_take(arena, digests->count, sizeof *digests->low, &digests->low, err);
    }
    WA_TRY(wa_comm_agree(comm, status, err));
    WA_TRY(
        wa_comm_broadcast(comm, digests->checked, digests->count * sizeof *digests->checked, err));
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
static wa_status check_share(wa_comm *comm, const wa_audit *audit, const wa_payload_digests *then,
                             double *bytes, wa_error *err)
{
    size_t seen = 0;
    size_t ranks = (size_t)wa_comm_size(comm);
    *bytes = 0.0;
    for (size_t i = 0; i < then->count; i++) {
        if (then->checked[i] != 1 || seen++ % ranks != (size_t)wa_comm_rank(comm))
            continue;
        WA_TRY(wa_audit_check_payload(audit, then, i, bytes, err));
    }
    return WA_OK;
}

wa_status wa_run_check_payloads(wa_comm *comm, const wa_audit *audit, const char *result_path,
                                const wa_result_meta *meta, const wa_parts *parts, wa_run_log *log,
                                wa_arena *arena, wa_error *err)
{
    wa_payload_digests digests = {.count = 0};
    wa_status status = WA_OK;
    double start = wa_clock();
    double mine, bytes;
    if (has_digests(parts))
        status = wa_payload_digests_load(result_path, meta, wa_parts_encoding(parts), arena,
                                         &digests, err);
    WA_TRY(wa_comm_agree(comm, status, err));
    WA_TRY(share(comm, &digests, arena, err));
    if (digests.count == 0)
        return WA_OK;
    WA_TRY(wa_comm_agree(comm, check_share(comm, audit, &digests, &mine, err), err));
    WA_TRY(sum_bytes(comm, mine, arena, &bytes, err));
    if (wa_comm_rank(comm) == 0 && bytes == 0.0) {
        wa_run_log_line(log, "note: no stored payload has a digest to compare with: what is done "
                             "was computed without the encoding check");
        return WA_OK;
    }
    wa_run_log_line(log,
                    "stored payloads: %.1f MB read again in %.2f s, still the bytes that were "
                    "audited",
                    bytes / 1e6, wa_clock() - start);
    return WA_OK;
}

/* --- Whole files */

enum { HASH_BYTES = 80 }; /* "full:", 64 digits, NUL */
typedef struct hash_text {
    char text[HASH_BYTES]; /* of wa_fingerprint_file; with `quick` the SHA-256; "" = of none */
    int32_t checksum;
} hash_text;

/* A file that is read whole before anything is computed. */
static bool is_hashed(const wa_audit *audit, size_t i)
{
    return audit->job->fingerprint_full || audit->files[i].vindex >= 0;
}

/* Files up to the last that is hashed. With `quick` those of cases, which come last and may differ
 * from host to host, are none. */
static size_t count_hashed(const wa_audit *audit)
{
    size_t count = audit->file_count;
    while (count > 0 && !is_hashed(audit, count - 1))
        count--;
    return count;
}

/* Ranks [first, first + count) that share the files. */
typedef struct hash_team {
    size_t first, count;
} hash_team;

/* With `full` each host reads its own: its ranks are neighbours. */
static hash_team find_team(const wa_comm *comm, bool of_host)
{
    size_t ranks = (size_t)wa_comm_size(comm);
    if (!of_host)
        return (hash_team){.first = 0, .count = ranks};
    hash_team team = {.first = (size_t)wa_comm_rank(comm), .count = 1};
    while (team.first > 0 && wa_comm_share_host(comm, (int)team.first - 1, 2)) {
        team.first--;
        team.count++;
    }
    while (team.first + team.count < ranks &&
           wa_comm_share_host(comm, (int)(team.first + team.count) - 1, 2))
        team.count++;
    return team;
}

/* Who of a team reads which file: the sizes are the same on all ranks. */
static wa_status deal(const hash_team *team, const wa_audit *audit, size_t files, int32_t *rank_of,
                      wa_arena *arena, wa_error *err)
{
    int64_t *load;
    WA_TRY(wa_arena_take(arena, team->count, sizeof *load, &load, err));
    for (size_t i = 0; i < files; i++) {
        size_t least = 0;
        for (size_t r = 1; r < team->count; r++)
            least = load[r] < load[least] ? r : least;
        rank_of[i] = (int32_t)(team->first + least);
        load[least] += is_hashed(audit, i) ? audit->files[i].state.size : 0;
    }
    return WA_OK;
}

static wa_status hash_file(wa_audit *audit, size_t i, hash_text *out, wa_arena *arena,
                           wa_error *err)
{
    wa_input_file *file = &audit->files[i];
    char *full = NULL;
    if (audit->job->fingerprint_full)
        WA_TRY(wa_fingerprint_file(file->path, true, arena, &full, err));
    if (file->vindex >= 0)
        WA_TRY(wa_audit_take_checksum(audit, file, arena, err));
    const char *hash = full != NULL ? full : file->sum != NULL ? file->sum : "";
    if (strlen(hash) >= sizeof out->text)
        return wa_fail(err, WA_E_INTERNAL, "a hash of %zu characters", strlen(hash));
    memcpy(out->text, hash, strlen(hash) + 1);
    out->checksum = file->checksum;
    return WA_OK;
}

static wa_status hash_share(wa_comm *comm, wa_audit *audit, size_t files, const int32_t *rank_of,
                            hash_text *mine, wa_arena *arena, wa_error *err)
{
    for (size_t i = 0; i < files; i++)
        if (rank_of[i] == wa_comm_rank(comm) && is_hashed(audit, i))
            WA_TRY(hash_file(audit, i, &mine[i], arena, err));
    return WA_OK;
}

/* all [ranks][files], on rank 0. */
static wa_status keep_hashes(wa_audit *audit, size_t files, const int32_t *rank_of,
                             const hash_text *all, wa_error *err)
{
    for (size_t i = 0; i < files; i++) {
        char *copy;
        const hash_text *hash = &all[(size_t)rank_of[i] * files + i];
        audit->files[i].checksum = hash->checksum;
        audit->files[i].sum = NULL;
        if (hash->text[0] == '\0')
            continue;
        WA_TRY(wa_arena_copy(audit->arena, hash->text, strlen(hash->text), &copy, err));
        if (audit->job->fingerprint_full)
            audit->files[i].hash = copy;
        else
            audit->files[i].sum = copy;
    }
    return WA_OK;
}

/* Collective. What this rank's host has in its files is what rank 0's has. `all` as above. */
static wa_status compare_hashes(wa_comm *comm, const wa_audit *audit, size_t files,
                                const int32_t *rank_of, const hash_text *all, const hash_text *mine,
                                wa_arena *arena, wa_error *err)
{
    hash_text *first;
    wa_status status = wa_arena_take(arena, files, sizeof *first, &first, err);
    WA_TRY(wa_comm_agree(comm, status, err));
    for (size_t i = 0; i < files && all != NULL; i++)
        first[i] = all[(size_t)rank_of[i] * files + i];
    WA_TRY(wa_comm_broadcast(comm, first, files * sizeof *first, err));
    for (size_t i = 0; i < files && status == WA_OK; i++)
        if (mine[i].text[0] != '\0' && strcmp(mine[i].text, first[i].text) != 0)
            status = wa_run_fail_bytes(comm, &audit->files[i], err);
    return wa_comm_agree(comm, status, err);
}

static wa_status take_room(const wa_comm *comm, size_t files, int32_t **rank_of, hash_text **mine,
                           hash_text **all, wa_arena *arena, wa_error *err)
{
    size_t records;
    if (!wa_size_mul(files, (size_t)wa_comm_size(comm), &records))
        return wa_fail(err, WA_E_MEMORY, "%zu files times %d ranks overflow", files,
                       wa_comm_size(comm));
    *all = NULL;
    WA_TRY(wa_arena_take(arena, files, sizeof **rank_of, rank_of, err));
    WA_TRY(wa_arena_take(arena, files, sizeof **mine, mine, err));
    return wa_comm_rank(comm) == 0 ? wa_arena_take(arena, records, sizeof **all, all, err) : WA_OK;
}

wa_status wa_run_hash_inputs(wa_comm *comm, wa_audit *audit, wa_run_log *log, wa_arena *arena,
                             wa_error *err)
{
    int32_t *rank_of;
    hash_text *mine, *all;
    double start = wa_clock();
    WA_TRY(wa_comm_agree(comm, wa_audit_list_inputs(audit, err), err));
    WA_TRY(wa_run_compare_inputs(comm, audit, arena, err));
    size_t files = count_hashed(audit);
    if (files == 0)
        return WA_OK;
    WA_TRY(wa_comm_agree(comm, take_room(comm, files, &rank_of, &mine, &all, arena, err), err));
    hash_team team = find_team(comm, audit->job->fingerprint_full);
    wa_status status = deal(&team, audit, files, rank_of, arena, err);
    if (status == WA_OK)
        status = hash_share(comm, audit, files, rank_of, mine, arena, err);
    WA_TRY(wa_comm_agree(comm, status, err));
    WA_TRY(wa_comm_gather(comm, mine, files * sizeof *mine, all, err));
    if (team.count < (size_t)wa_comm_size(comm))
        WA_TRY(compare_hashes(comm, audit, files, rank_of, all, mine, arena, err));
    status = all == NULL ? WA_OK : keep_hashes(audit, files, rank_of, all, err);
    WA_TRY(wa_comm_agree(comm, status, err));
    if (audit->job->fingerprint_full)
        wa_run_log_line(log, "fingerprint: full: %zu files read in %.2f s", audit->file_count,
                        wa_clock() - start);
    return WA_OK;
}
