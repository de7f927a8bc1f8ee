/* Path external: run on tiles as our own kernels are; and by a shared library, loaded and asked for its kernel. */
#include "path/walk.h"
#include "walkaudit/external.h"

#include <dlfcn.h>
#include <unistd.h>
#include <math.h>

enum { LABEL_LIMIT = 100 };

/* An opened library, and what it gave. */
typedef struct library {
    void *handle;
    walkaudit_external_kernel kernel;
} library;

typedef int entry_point(const walkaudit_external_model *model, walkaudit_external_kernel *out);

/* dlerror's line may name the file, which the caller adds, and may end in a newline. */
static wa_status fail_load(wa_error *err, wa_status status, const char *what)
{
    const char *why = dlerror();
    return wa_fail(err, status, "%s: %.400s", what, why == NULL ? "no reason given" : why);
}

static wa_status run_library(const wa_external *external, const wa_external_rows *r, wa_error *err)
{
    const library *lib = external->context;
    int answer = lib->kernel.run(lib->kernel.context, r->layer, r->rows, r->hidden, r->x, r->y);
    if (answer != 0)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "the external kernel returned %d for %zu rows, expected 0; in library '%s'", answer,
                       r->rows, external->source);
    return WA_OK;
}

static void close_library(wa_external *external)
{
    library *lib = external->context;
    if (lib->kernel.close != NULL)
        lib->kernel.close(lib->kernel.context);
    dlclose(lib->handle);
}

/* A name without a slash would be looked for along the system's library path. */
static wa_status open_handle(const char *path, wa_arena *arena, void **out, wa_error *err)
{
    char *place;
    int fd;
    WA_TRY(wa_arena_print(arena, &place, err, "%s%s", strchr(path, '/') == NULL ? "./" : "", path));
    WA_TRY(wa_regular_open(place, &fd, err)); /* dlopen waits for a FIFO's writer */
    close(fd);
    *out = dlopen(place, RTLD_NOW | RTLD_LOCAL);
    return *out == NULL ? fail_load(err, WA_E_IO, "cannot load the library") : WA_OK;
}

static wa_status find_entry(void *handle, entry_point **out, wa_error *err)
{
    void *symbol = dlsym(handle, "walkaudit_external");
    if (symbol == NULL)
        return fail_load(err, WA_E_MISMATCH, "the library exports no function 'walkaudit_external'");
    memcpy(out, &symbol, sizeof symbol); /* POSIX: a pointer from dlsym may hold a function's address */
    return WA_OK;
}

static wa_status check_kernel(const walkaudit_external_kernel *kernel, wa_error *err)
{
    if (kernel->version != WALKAUDIT_EXTERNAL_VERSION)
        return wa_fail(err, WA_E_MISMATCH, "the library says version %d of walkaudit/external.h, expected %d",
                       kernel->version, WALKAUDIT_EXTERNAL_VERSION);
    if (kernel->run == NULL)
        return wa_fail(err, WA_E_MISMATCH, "the library gives no function 'run'");
    if (kernel->label != NULL && (kernel->label[0] == '\0' || strnlen(kernel->label, LABEL_LIMIT + 1) > LABEL_LIMIT))
        return wa_fail(err, WA_E_MISMATCH, "the library's label has %s bytes, expected 1 to %d",
                       kernel->label[0] == '\0' ? "no" : "more", LABEL_LIMIT);
    return WA_OK;
}

static wa_status ask_library(library *lib, const walkaudit_external_model *model, wa_error *err)
{
    entry_point *enter;
    WA_TRY(find_entry(lib->handle, &enter, err));
    int answer = enter(model, &lib->kernel);
    if (answer != 0)
        return wa_fail(err, WA_E_UNSUPPORTED, "walkaudit_external returned %d, expected 0", answer);
    return check_kernel(&lib->kernel, err);
}

static wa_status load(const walkaudit_external_model *model, const char *path, wa_arena *arena,
                      wa_external **out, wa_error *err)
{
    library *lib;
    wa_external *made;
    char *label;
    WA_TRY(wa_arena_take(arena, 1, sizeof *lib, &lib, err));
    WA_TRY(wa_arena_take(arena, 1, sizeof *made, &made, err));
    WA_TRY(open_handle(path, arena, &lib->handle, err));
    wa_status status = ask_library(lib, model, err);
    const char *said = status == WA_OK && lib->kernel.label != NULL ? lib->kernel.label : "external";
    if (status == WA_OK)
        status = wa_arena_copy(arena, said, strlen(said), &label, err);
    if (status != WA_OK) {
        dlclose(lib->handle);
        return status;
    }
    *made = (wa_external){
        .label = label, .source = path, .run = run_library, .close = close_library, .context = lib};
    *out = made;
    return WA_OK;
}

wa_status wa_external_load(const wa_case *which, const wa_model *model, const char *model_path,
                           const char *vindex_path, wa_arena *arena, wa_external **out, wa_error *err)
{
    walkaudit_external_model facts = {.model = model_path,
                                      .vindex = vindex_path,
                                      .name = which->name,
                                      .layers = model->layer_count,
                                      .hidden = model->hidden,
                                      .features = model->layer_count > 0 ? model->layers[0].up.rows : 0,
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

wa_status wa_external_tile(wa_walk *walk, wa_tile tile)
{
    const wa_external *external = walk->which->external;
    size_t hidden = walk->layer->hidden;
    for (size_t i = 0; i < walk->io_count; i++) {
        float *y = walk->io[i].y + tile.first * hidden;
        for (size_t h = 0; h < tile.rows * hidden; h++)
            y[h] = NAN;
        wa_external_rows rows = {.layer = walk->layer->layer,
                                 .first_obs = walk->io[i].first_obs + tile.first,
                                 .rows = tile.rows,
                                 .hidden = hidden,
                                 .x = walk->io[i].x + tile.first * hidden,
                                 .y = y};
        WA_TRY(external->run(external, &rows, walk->err));
    }
    return WA_OK;
}
