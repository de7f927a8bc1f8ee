/* Path external by a program of its own: requests and answers of walkaudit/external_process.h. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "remote/remote.h"

#include "base/json.h"
#include "base/opened.h"
#include "base/show.h"
#include "path/external.h"
#include "remote/process.h"
#include "walkaudit/external_process.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static_assert(sizeof(walkaudit_request) == 40 && sizeof(walkaudit_answer) == 24, "no gaps");

enum { LABEL_BYTES = 100, TEXT_BYTES = 400 };

/* A started program. */
typedef struct program {
    wa_process process;
    const char *what; /* "in program 'python3 mine.py' of case 'f32:mine'", arena */
    wa_arena *arena;  /* of its texts */
} program;

/* What it is to compute. */
typedef struct subject {
    const wa_case *which;
    const wa_model *model;
    const char *model_path, *vindex_path;
} subject;

/* One request, and what its answer has room for. */
typedef struct exchange {
    walkaudit_request request;
    const void *sent;
    void *room;         /* for the answer's bytes */
    size_t least, most; /* bytes that an answer may have */
    size_t got;         /* out: bytes that it has */
} exchange;

/* Its own words, on one line. */
static wa_status fail_status(program *p, const walkaudit_answer *answer, double deadline,
                             wa_error *err)
{
    char text[TEXT_BYTES + 1] = "", *shown;
    if (answer->bytes > TEXT_BYTES)
        return wa_fail(err, WA_E_MISMATCH,
                       "the program answers status %d with %llu bytes, expected at most %d",
                       (int)answer->status, (unsigned long long)answer->bytes, TEXT_BYTES);
    WA_TRY(wa_process_receive(&p->process, text, (size_t)answer->bytes, deadline, err));
    wa_mark mark = wa_arena_mark(p->arena);
    WA_TRY(wa_show_token(text, 0, p->arena, &shown, err));
    wa_fail(err, WA_E_UNSUPPORTED, "the program answers status %d, expected 0%s%s",
            (int)answer->status, text[0] == '\0' ? "" : ": ", text[0] == '\0' ? "" : shown);
    wa_arena_release(p->arena, mark);
    return WA_E_UNSUPPORTED;
}

static wa_status check_answer(program *p, const exchange *e, const walkaudit_answer *answer,
                              double deadline, wa_error *err)
{
    if (answer->magic != WALKAUDIT_PROCESS_MAGIC)
        return wa_fail(err, WA_E_MISMATCH,
                       "the program's answer begins with 0x%08x, expected 0x%08x", answer->magic,
                       WALKAUDIT_PROCESS_MAGIC);
    if (answer->version != WALKAUDIT_PROCESS_VERSION)
        return wa_fail(err, WA_E_MISMATCH,
                       "the program says version %u of walkaudit/external_process.h, expected %d",
                       answer->version, WALKAUDIT_PROCESS_VERSION);
    if (answer->kind != e->request.kind)
        return wa_fail(err, WA_E_MISMATCH, "the program answers request kind %u, expected %u",
                       answer->kind, e->request.kind);
    if (answer->status != 0)
        return fail_status(p, answer, deadline, err);
    if (answer->bytes < e->least || answer->bytes > e->most)
        return wa_fail(err, WA_E_MISMATCH, "the program answers with %llu bytes, expected %s%zu",
                       (unsigned long long)answer->bytes, e->least == e->most ? "" : "at most ",
                       e->most);
    return WA_OK;
}

static wa_status converse(program *p, exchange *e, wa_error *err)
{
    walkaudit_answer answer;
    double deadline = wa_process_deadline(&p->process);
    e->request.magic = WALKAUDIT_PROCESS_MAGIC;
    e->request.version = WALKAUDIT_PROCESS_VERSION;
    WA_TRY(wa_process_send(&p->process, &e->request, sizeof e->request, deadline, err));
    WA_TRY(wa_process_send(&p->process, e->sent, (size_t)e->request.bytes, deadline, err));
    WA_TRY(wa_process_receive(&p->process, &answer, sizeof answer, deadline, err));
    WA_TRY(check_answer(p, e, &answer, deadline, err));
    e->got = (size_t)answer.bytes;
    return wa_process_receive(&p->process, e->room, e->got, deadline, err);
}

static wa_status run_program(const wa_external *external, const wa_external_rows *r, wa_error *err)
{
    program *p = external->context;
    size_t bytes = r->rows * r->hidden * sizeof *r->y; /* of a matrix in memory */
    exchange run = {.request = {.kind = WALKAUDIT_RUN,
                                .layer = (uint32_t)r->layer,
                                .rows = r->rows,
                                .hidden = r->hidden,
                                .bytes = bytes},
                    .sent = r->x,
                    .room = r->y,
                    .least = bytes,
                    .most = bytes};
    if (converse(p, &run, err) != WA_OK)
        return err->status == WA_E_STOPPED ? err->status
                                           : wa_note(err, "at layer %zu; %s", r->layer, p->what);
    return WA_OK;
}

static void close_program(wa_external *external)
{
    program *p = external->context;
    wa_process_close(&p->process);
    wa_opened_forget(p);
}

/* What it is to compute, as JSON; free with free(). It starts elsewhere, so that paths are made
 * absolute. */
static wa_status describe(const subject *s, char **out, wa_error *err)
{
    char *model_path = realpath(s->model_path, NULL), *vindex_path = realpath(s->vindex_path, NULL);
    const wa_model *model = s->model;
    json_int_t features = model->layer_count > 0 ? (json_int_t)model->layers[0].up.rows : 0;
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:I, s:b, s:s}", "model",
        model_path == NULL ? s->model_path : model_path, "vindex",
        vindex_path == NULL ? s->vindex_path : vindex_path, "name", s->which->name, "layers",
        (json_int_t)model->layer_count, "hidden", (json_int_t)model->hidden, "features", features,
        "gated", (int)model->gated, "activation", wa_activation_name(model->activation));
    *out = object == NULL ? NULL : json_dumps(object, JSON_COMPACT);
    wa_json_close(object);
    free(model_path);
    free(vindex_path);
    return *out == NULL ? wa_fail(err, WA_E_UNSUPPORTED,
                                  "a path is no UTF-8, and cannot be told to a program")
                        : WA_OK;
}

static wa_status greet(program *p, const subject *s, const char **label, wa_error *err)
{
    char *text, room[LABEL_BYTES + 1] = "";
    char *copy;
    WA_TRY(describe(s, &text, err));
    exchange hello = {.request = {.kind = WALKAUDIT_HELLO, .bytes = strlen(text)},
                      .sent = text,
                      .room = room,
                      .most = LABEL_BYTES};
    wa_status status = converse(p, &hello, err);
    free(text);
    WA_TRY(status);
    if (strlen(room) != hello.got)
        return wa_fail(err, WA_E_MISMATCH, "the program's label holds a NUL byte");
    WA_TRY(wa_arena_copy(p->arena, hello.got == 0 ? "external" : room,
                         hello.got == 0 ? 8 : hello.got, &copy, err));
    *label = copy;
    return WA_OK;
}

wa_status wa_external_command_files(const wa_case *which, wa_arena *arena,
                                    const char *out[WA_COMMAND_FILES], size_t *count, wa_error *err)
{
    char *words, *place, *rest = NULL;
    size_t found = 0;
    WA_TRY(wa_arena_copy(arena, which->command, strlen(which->command), &words, err));
    for (char *word = strtok_r(words, " \t\n", &rest); word != NULL && found < WA_COMMAND_FILES;
         word = strtok_r(NULL, " \t\n", &rest)) {
        struct stat facts;
        bool absolute = word[0] == '/';
        WA_TRY(wa_arena_print(arena, &place, err, "%s%s%s", absolute ? "" : which->directory,
                              absolute ? "" : "/", word));
        if (stat(place, &facts) == 0 && S_ISREG(facts.st_mode))
            out[found++] = place;
    }
    *count = found;
    return WA_OK;
}

/* Before it can read them. */
static wa_status keep_files(const program *p, const wa_case *which, wa_error *err)
{
    const char *files[WA_COMMAND_FILES];
    size_t count;
    WA_TRY(wa_external_command_files(which, p->arena, files, &count, err));
    for (size_t i = 0; i < count; i++)
        WA_TRY(wa_opened_keep_path(p, files[i], err));
    return WA_OK;
}

wa_status wa_external_start(const wa_case *which, const wa_model *model, const char *model_path,
                            const char *vindex_path, wa_arena *arena, wa_external **out,
                            wa_error *err)
{
    const subject s = {
        .which = which, .model = model, .model_path = model_path, .vindex_path = vindex_path};
    program *p;
    wa_external *made;
    char *what;
    WA_TRY(wa_arena_take(arena, 1, sizeof *p, &p, err));
    WA_TRY(wa_arena_take(arena, 1, sizeof *made, &made, err));
    WA_TRY(wa_arena_print(arena, &what, err, "in program '%s' of case '%s'", which->command,
                          which->name));
    *p = (program){.what = what, .arena = arena};
    *made = (wa_external){
        .source = which->command, .run = run_program, .close = close_program, .context = p};
    wa_status status = keep_files(p, which, err);
    if (status == WA_OK)
        status =
            wa_process_open(which->command, which->directory, which->timeout, &p->process, err);
    if (status == WA_OK)
        status = greet(p, &s, &made->label, err);
    if (status != WA_OK) {
        wa_process_kill(&p->process);
        wa_opened_forget(p);
        return wa_note(err, "%s", what);
    }
    *out = made;
    return WA_OK;
}
