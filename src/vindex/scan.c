/* Checksums of a vindex's files (V14), and payloads that hold the same projection (V16). */
#include "vindex/scan.h"
#include "base/digest.h"
#include "vindex/parts.h"

static wa_status verify_one(const wa_vindex *vindex, const wa_vindex_hash *hash, wa_arena *arena,
                            wa_vindex_checksum *out, wa_error *err)
{
    char *path, *found;
    *out = (wa_vindex_checksum){
        .file = hash->file, .expected = hash->hex, .state = WA_CHECKSUM_FILE_ABSENT};
    WA_TRY(wa_arena_print(arena, &path, err, "%s/%s", vindex->path, hash->file));
    if (!wa_file_exists(path))
        return WA_OK;
    WA_TRY(wa_arena_take(arena, WA_SHA256_HEX, 1, &found, err));
    wa_map map;
    WA_TRY(wa_map_open(path, &map, err));
    wa_status status = wa_digest_bytes(map.bytes, found, err);
    wa_map_close(&map);
    out->found = found;
    out->state = strcmp(found, hash->hex) == 0 ? WA_CHECKSUM_EQUAL : WA_CHECKSUM_DIFFERS;
    return status;
}

bool wa_vindex_has_checksum(const wa_vindex *vindex, const char *file)
{
    for (size_t i = 0; i < vindex->maps->hash_count; i++)
        if (strcmp(vindex->maps->hashes[i].file, file) == 0)
            return true;
    return false;
}

wa_status wa_vindex_verify_file(const wa_vindex *vindex, const char *file, wa_arena *arena,
                                wa_vindex_checksum *out, wa_error *err)
{
    const wa_vindex_maps *maps = vindex->maps;
    for (size_t i = 0; i < maps->hash_count; i++)
        if (strcmp(maps->hashes[i].file, file) == 0)
            return verify_one(vindex, &maps->hashes[i], arena, out, err);
    *out = (wa_vindex_checksum){.file = file, .state = WA_CHECKSUM_NONE};
    return WA_OK;
}

/* index.json cannot hold its own hash; every other listed file could. */
wa_status wa_vindex_verify(const wa_vindex *vindex, wa_arena *arena, wa_vindex_checksum **out,
                           size_t *count, wa_error *err)
{
    const wa_vindex_maps *maps = vindex->maps;
    wa_vindex_checksum *sums;
    size_t used = 0;
    WA_TRY(wa_arena_take(arena, maps->hash_count + vindex->file_count, sizeof *sums, &sums, err));
    for (size_t i = 0; i < maps->hash_count; i++)
        WA_TRY(verify_one(vindex, &maps->hashes[i], arena, &sums[used++], err));
    for (size_t i = 0; i < vindex->file_count; i++) {
        const char *name = vindex->files[i] + strlen(vindex->path) + 1;
        if (strcmp(name, "index.json") != 0 && !wa_vindex_has_checksum(vindex, name))
            sums[used++] = (wa_vindex_checksum){.file = name, .state = WA_CHECKSUM_NONE};
    }
    *out = sums;
    *count = used;
    return WA_OK;
}

/* Rows are decoded some at a time: of a transposed matrix one costs as much as many. */
enum { ROWS_AT_ONCE = 32 };

static void compare_layer(const wa_matrix *a, const wa_matrix *b, float *rows, size_t layer,
                          wa_vindex_difference *out)
{
    size_t cols = a->cols;
    float *other = rows + ROWS_AT_ONCE * cols;
    for (size_t first = 0; first < a->rows; first += ROWS_AT_ONCE) {
        size_t count = a->rows - first < ROWS_AT_ONCE ? a->rows - first : ROWS_AT_ONCE;
        wa_matrix_decode(a, first, count, rows);
        wa_matrix_decode(b, first, count, other);
        for (size_t r = 0; r < count; r++) {
            if (memcmp(rows + r * cols, other + r * cols, cols * sizeof *rows) == 0)
                continue;
            if (out->rows++ == 0) {
                out->first_layer = layer;
                out->first_row = first + r;
            }
        }
    }
}

static wa_status take_rows(const wa_vindex *vindex, wa_arena *arena, float **out, wa_error *err)
{
    size_t count;
    if (!wa_size_mul(2 * ROWS_AT_ONCE, vindex->hidden, &count))
        return wa_fail(err, WA_E_FORMAT, "%d rows of %zu elements overflow 64 bits",
                       2 * ROWS_AT_ONCE, vindex->hidden);
    return wa_arena_take_raw(arena, count, sizeof **out, out, err);
}

wa_status wa_vindex_compare(const wa_vindex *vindex, wa_projection projection, wa_payload a,
                            wa_payload b, wa_arena *arena, wa_vindex_difference *out, wa_error *err)
{
    wa_vindex_difference found = {0};
    float *rows;
    WA_TRY(take_rows(vindex, arena, &rows, err));
    for (size_t l = 0; l < vindex->layer_count; l++) {
        wa_matrix first, second;
        WA_TRY(wa_vindex_matrix(vindex, a, projection, l, &first, err));
        WA_TRY(wa_vindex_matrix(vindex, b, projection, l, &second, err));
        compare_layer(&first, &second, rows, l, &found);
    }
    *out = found;
    return WA_OK;
}

wa_status wa_vindex_compare_weights(const wa_vindex *vindex, wa_projection projection, wa_payload a,
                                    wa_arena *arena, wa_vindex_difference *out, wa_error *err)
{
    wa_vindex_difference found = {0};
    float *rows;
    WA_TRY(take_rows(vindex, arena, &rows, err));
    for (size_t l = 0; l < vindex->layer_count; l++) {
        wa_matrix first, second;
        if (!wa_vindex_weight(vindex, projection, l, &second))
            continue;
        WA_TRY(wa_vindex_matrix(vindex, a, projection, l, &first, err));
        compare_layer(&first, &second, rows, l, &found);
    }
    *out = found;
    return WA_OK;
}
