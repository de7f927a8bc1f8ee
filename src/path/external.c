/* Path external: run on tiles as our own kernels are; and by a shared library, loaded and asked for
 * its kernel. */
#include "walkaudit/external.h"
#include "base/foreign.h"
#include "base/opened.h"
#include "path/external.h"
#include "path/walk.h"

#include <dlfcn.h>
#include <math.h>

enum { LABEL_LIMIT = 100 };

/* An opened library, and what it gave. */
typedef struct library {
    void *handle;
    walkaudit_external_kernel kernel;
    const char *what; /* "in library 'mine.so' of case 'f32:mine'", arena */
    wa_fence x, y;    /* what it is lent for a call */
} library;

typedef int entry_point(const walkaudit_external_model *model, walkaudit_external_kernel *out);

/* dlerror's line may name the file, which the caller adds, and may end in a newline. */
static wa_status fail_load(wa_error *err, wa_status status, const char *what)
{
    const char *why = dlerror();
    return wa_fail(err, status, "%s: %.400s", what, why == NULL ? "no reason given" : why);
}

/* By copies, so that it can harm neither what other cases compute with nor what they computed. */
static wa_status lend(library *lib, const wa_external_rows *r, size_t bytes, float **x, float **y,
                      wa_error *err)
{
    WA_TRY(wa_fence_place(&lib->x, bytes, x, err));
    WA_TRY(wa_fence_place(&lib->y, bytes, y, err));
    memcpy(*x, r->x, bytes);
    memcpy(*y, r->y, bytes);
    return wa_fence_lock(&lib->x, err);
}

static wa_status run_library(const wa_external *external, const wa_external_rows *r, wa_error *err)
{
    library *lib = external->context;
    size_t bytes = r->rows * r->hidden * sizeof *r->y; /* of a matrix in memory */
    float *x, *y;
    WA_TRY(lend(lib, r, bytes, &x, &y, err));
    wa_foreign_call call = {.what = lib->what, .layer = (long)r->layer, .x = &lib->x, .y = &lib->y};
    wa_foreign_enter(&call);
    int answer = lib->kernel.run(lib->kernel.context, r->layer, r->rows, r->hidden, x, y);
    int modes = wa_foreign_leave();
    wa_fence_side beside = wa_fence_check(&lib->y);
    if (beside != WA_FENCE_WHOLE)
        return wa_fail(err, WA_E_UNSUPPORTED, "the library wrote %s of y; in library '%s'",
                       beside == WA_FENCE_AFTER ? "past the end" : "before the start",
                       external->source);
    if (answer != 0)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "the external kernel returned %d for %zu rows, expected 0; in library '%s'",
                       answer, r->rows, external->source);
    memcpy(r->y, y, bytes);
    if (r->modes != NULL)
        *r->modes |= modes;
    return WA_OK;
}

/* A thread that it has left running would crash without its code: then that stays, and held. */
static void unload(library *lib)
{
    wa_foreign_call call = {.what = lib->what, .layer = -1};
    if (lib->handle != NULL && wa_foreign_has_threads())
        return;
    wa_foreign_enter(&call);
    if (lib->handle != NULL)
        dlclose(lib->handle);
    wa_foreign_leave();
    wa_foreign_release();
}

static void close_library(wa_external *external)
{
    library *lib = external->context;
    wa_foreign_call call = {.what = lib->what, .layer = -1};
    wa_foreign_enter(&call);
    if (lib->kernel.close != NULL)
        lib->kernel.close(lib->kernel.context);
    wa_foreign_leave();
    unload(lib);
    wa_opened_forget(lib);
    wa_fence_close(&lib->x);
    wa_fence_close(&lib->y);
}

/* A name without a slash would be looked for along the system's library path. */
static wa_status open_handle(library *lib, const char *path, wa_arena *arena, wa_error *err)
{
    char *place;
    WA_TRY(wa_arena_print(arena, &place, err, "%s%s", strchr(path, '/') == NULL ? "./" : "", path));
    WA_TRY(wa_opened_keep_path(lib, path, err)); /* dlopen would wait for a FIFO's writer */
    lib->handle = dlopen(place, RTLD_NOW | RTLD_LOCAL);
    if (lib->handle == NULL)
        return fail_load(err, WA_E_IO, "cannot load the library");
    if (!wa_opened_is_untouched(lib)) /* dlopen opened it by its name */
        return wa_fail(err, WA_E_MISMATCH, "the library was written or moved while it was loaded");
    return WA_OK;
}

static wa_status find_entry(void *handle, entry_point **out, wa_error *err)
{
    void *symbol = dlsym(handle, "walkaudit_external");
    if (symbol == NULL)
        return fail_load(err, WA_E_MISMATCH,
                         "the library exports no function 'walkaudit_external'");
    /* POSIX: a pointer from dlsym may hold a function's address */
    memcpy(out, &symbol, sizeof symbol);
    return WA_OK;
}

static wa_status check_kernel(const walkaudit_external_kernel *kernel, wa_error *err)
{
    if (kernel->version != WALKAUDIT_EXTERNAL_VERSION)
        return wa_fail(err, WA_E_MISMATCH,
                       "the library says version %d of walkaudit/external.h, expected %d",
                       kernel->version, WALKAUDIT_EXTERNAL_VERSION);
    if (kernel->run == NULL)
        return wa_fail(err, WA_E_MISMATCH, "the library gives no function 'run'");
    if (kernel->label != NULL &&
        (kernel->label[0] == '\0' || strnlen(kernel->label, LABEL_LIMIT + 1) > LABEL_LIMIT))
        return wa_fail(err, WA_E_MISMATCH, "the library's label has %s bytes, expected 1 to %d",
                       kernel->label[0] == '\0' ? "no" : "more", LABEL_LIMIT);
    return WA_OK;
}

static wa_status ask_library(library *lib, const walkaudit_external_model *model, wa_error *err)
{
    entry_point *enter;
    WA_TRY(find_entry(lib->handle, &enter, err));
    /* Written through memcpy, which the analyser does not follow. */
    /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage) */
    int answer = enter(model, &lib->kernel);
    if (answer != 0)
        return wa_fail(err, WA_E_UNSUPPORTED, "walkaudit_external returned %d, expected 0", answer);
    return check_kernel(&lib->kernel, err);
}

/* Loading runs its code as well: constructors, and those of -ffast-math change modes of
 * arithmetic. */
static wa_status open_library(library *lib, const walkaudit_external_model *model, const char *path,
                              wa_arena *arena, int *modes, wa_error *err)
{
    wa_foreign_call call = {.what = lib->what, .layer = -1};
    wa_foreign_prepare();
    wa_foreign_hold(lib->what);
    wa_foreign_enter(&call);
    wa_status status = open_handle(lib, path, arena, err);
    if (status == WA_OK)
        status = ask_library(lib, model, err);
    *modes = wa_foreign_leave();
    if (status != WA_OK) {
        unload(lib);
        wa_opened_forget(lib);
    }
    return status;
}

static wa_status load(const walkaudit_external_model *model, const char *path, wa_arena *arena,
                      wa_external **out, wa_error *err)
{
    library *lib;
    wa_external *made;
    char *label, *what;
    int modes;
    WA_TRY(wa_arena_take(arena, 1, sizeof *lib, &lib, err));
    WA_TRY(wa_arena_take(arena, 1, sizeof *made, &made, err));
    WA_TRY(wa_arena_print(arena, &what, err, "in library '%s' of case '%s'", path, model->name));
    lib->what = what;
    WA_TRY(open_library(lib, model, path, arena, &modes, err));
    const char *said = lib->kernel.label != NULL ? lib->kernel.label : "external";
    *made = (wa_external){
        .source = path, .run = run_library, .close = close_library, .context = lib, .modes = modes};
    wa_status status = wa_arena_copy(arena, said, strlen(said), &label, err);
    if (status != WA_OK) {
        close_library(made);
        return status;
    }
    made->label = label;
    *out = made;
    return WA_OK;
}

wa_status wa_external_load(const wa_case *which, const wa_model *model, const char *model_path,
                           const char *vindex_path, wa_arena *arena, wa_external **out,
                           wa_error *err)
{
    walkaudit_external_model facts = {.model = model_path,
                                      .vindex = vindex_path,
                                      .name = which->name,
                                      .layers = model->layer_count,
                                      .hidden = model->hidden,
                                      .features =
                                          model->layer_count > 0 ? model->layers[0].up.rows : 0,
                                      .gated = model->gated,
                                      .activation = wa_activation_name(model->activation)};
    if (load(&facts, which->library, arena, out, err) != WA_OK)
        return wa_note(err, "in library '%s' of case '%s'", which->library, which->name);
    return WA_OK;
}

void wa_external_close(wa_external *external)
{
    if (external != NULL)
        external->close(external);
}

/* Rows of one prompt, so that what the kernel sees together depends on no batch. */
static wa_status run_prompt(const wa_walk *walk, const wa_walk_io *io, size_t prompt, size_t start,
                            size_t end)
{
    const wa_external *external = walk->which->external;
    size_t hidden = walk->layer->hidden;
    wa_external_rows rows = {.layer = walk->layer->layer,
                             .first_obs = io->first_obs + start,
                             .prompt = io->first_prompt + prompt,
                             .rows = end - start,
                             .hidden = hidden,
                             .x = io->x + start * hidden,
                             .y = io->y + start * hidden,
                             .ways = io->ways == NULL ? NULL : &io->ways[prompt],
                             .modes = io->modes == NULL ? NULL : &io->modes[prompt]};
    for (size_t i = 0; i < rows.rows * hidden; i++)
        rows.y[i] = NAN;
    return external->run(external, &rows, walk->err);
}

/* The tile holds all rows: run.c. */
wa_status wa_external_tile(wa_walk *walk, wa_tile tile)
{
    const size_t whole[2] = {0, tile.rows};
    const wa_packing one = {.start = whole, .prompts = 1};
    for (size_t i = 0; i < walk->io_count; i++) {
        const wa_packing *packing = walk->io[i].packing == NULL ? &one : walk->io[i].packing;
        for (size_t p = 0; p < packing->prompts; p++)
            WA_TRY(run_prompt(walk, &walk->io[i], p, packing->start[p], packing->start[p + 1]));
    }
    return WA_OK;
}
