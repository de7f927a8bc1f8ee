/* Path external by a file: outputs that somebody computed for the x of an earlier result. */
#include "base/opened.h"
#include "measure/diff.h"
#include "path/external.h"
#include "store/foreign.h"
#include "store/guard.h"
#include "store/store.h"

#include <hdf5.h>
#include <math.h>

/* An opened file. */
typedef struct answers {
    wa_hid file, y_walk;
    const double *x_norm; /* [layers, obs], arena; NULL = the file has none */
    size_t obs;
} answers;

/* The same model on another BLAS core or with other batches rounds otherwise: 1e-7 of a norm at
 * layer 0, more further on. Other weights or semantics are farther off. */
static const double NORM_TOLERANCE = 1e-4;

static wa_status check_ids(wa_hid file, const int32_t *ids, size_t obs, wa_arena *arena,
                           wa_error *err)
{
    int32_t *found;
    WA_TRY(wa_arena_take(arena, obs, sizeof *found, &found, err));
    WA_TRY(wa_foreign_read(file, "token_id", false, &obs, 1, found, err));
    for (size_t i = 0; i < obs; i++)
        if (found[i] != ids[i])
            return wa_fail(err, WA_E_MISMATCH,
                           "it answers other prompts: token_id[%zu] is %d, the job's is %d", i,
                           (int)found[i], (int)ids[i]);
    return WA_OK;
}

/* Are these the rows that were answered? A NaN is not. */
static wa_status check_norms(const answers *a, const wa_external_rows *r, wa_error *err)
{
    for (size_t i = 0; a->x_norm != NULL && i < r->rows; i++) {
        double norm = wa_norm2(r->x + i * r->hidden, r->hidden);
        double told = a->x_norm[r->layer * a->obs + r->first_obs + i];
        if (!(fabs(norm - told) <= NORM_TOLERANCE * norm))
            return wa_fail(
                err, WA_E_MISMATCH,
                "it answers another x: x_norm at observation %zu is %.9g, of this run %.9g",
                r->first_obs + i, told, norm);
    }
    return WA_OK;
}

static wa_status run_file(const wa_external *external, const wa_external_rows *r, wa_error *err)
{
    const answers *a = external->context;
    wa_guard_file(external->source);
    wa_ids ids = {.count = 0};
    hsize_t start[3] = {r->layer, r->first_obs, 0}, count[3] = {1, r->rows, r->hidden};
    hid_t memory = wa_ids_keep(&ids, H5Screate_simple(3, count, NULL));
    hid_t space = wa_ids_keep(&ids, H5Dget_space(a->y_walk));
    wa_status status = check_norms(a, r, err);
    if (status == WA_OK &&
        (memory < 0 || space < 0 ||
         H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) < 0 ||
         H5Dread(a->y_walk, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, r->y) < 0))
        status = wa_hdf5_failed(err, WA_E_FORMAT, "cannot read dataset", "y_walk");
    if (status != WA_OK)
        status = wa_note(err, "in file '%s'", external->source);
    return wa_ids_close(&ids, status, err);
}

static void close_answers(wa_external *external)
{
    answers *a = external->context;
    wa_opened_forget(a);
    H5Dclose(a->y_walk);
    if (wa_hdf5_close(a->file, WA_OK, NULL) != WA_OK)
        a->file = -1; /* it was only read */
}

static wa_status take_norms(answers *a, const wa_dims *dims, wa_arena *arena, wa_error *err)
{
    size_t shape[2] = {dims->layers, dims->rows}, count;
    double *norms;
    a->obs = dims->rows;
    wa_guard_enter();
    bool there = H5Lexists(a->file, "x_norm", H5P_DEFAULT) > 0;
    wa_guard_leave();
    if (!there)
        return WA_OK;
    if (!wa_size_mul(dims->layers, dims->rows, &count))
        return wa_fail(err, WA_E_MEMORY, "%zu layers of %zu observations overflow", dims->layers,
                       dims->rows);
    WA_TRY(wa_arena_take(arena, count, sizeof *norms, &norms, err));
    WA_TRY(wa_foreign_read(a->file, "x_norm", true, shape, 2, norms, err));
    a->x_norm = norms;
    return WA_OK;
}

static wa_status check_file(answers *a, const wa_dims *dims, size_t hidden, const int32_t *ids,
                            wa_arena *arena, wa_error *err)
{
    size_t shape[3] = {dims->layers, dims->rows, hidden};
    WA_TRY(check_ids(a->file, ids, dims->rows, arena, err));
    WA_TRY(take_norms(a, dims, arena, err));
    WA_TRY(wa_foreign_open(a->file, "y_walk", true, shape, 3, &a->y_walk, err));
    return wa_hdf5_check_reads(a->file, err);
}

wa_status wa_external_open_file(const wa_case *which, const wa_dims *dims, size_t hidden,
                                const int32_t *ids, wa_arena *arena, wa_external **out,
                                wa_error *err)
{
    wa_hdf5_quiet();
    answers *a;
    wa_external *made;
    WA_TRY(wa_arena_take(arena, 1, sizeof *a, &a, err));
    WA_TRY(wa_arena_take(arena, 1, sizeof *made, &made, err));
    wa_status status = wa_hdf5_open(which->file, false, &a->file, err);
    if (status == WA_OK) {
        status = wa_hdf5_keep(a->file, a, which->file, err);
        if (status == WA_OK)
            status = check_file(a, dims, hidden, ids, arena, err);
        if (status != WA_OK)
            status = wa_hdf5_close(a->file, status, err);
    }
    if (status != WA_OK) {
        wa_opened_forget(a);
        return wa_note(err, "in file '%s' of case '%s'", which->file, which->name);
    }
    *made = (wa_external){.label = "external:file",
                          .source = which->file,
                          .run = run_file,
                          .close = close_answers,
                          .context = a};
    *out = made;
    return WA_OK;
}
