/* What a model is: family, shapes, how it was understood, the formats its weights are stored in. */
#include "cli/inspect.h"
#include "model/model.h"

#include <inttypes.h>
#include <sys/stat.h>

static void print_facts(const wa_model *model, FILE *out)
{
    fprintf(out, "model         %s (%s)\n", model->path, model->container);
    fprintf(out, "family        %s (model_type %s)%s\n", model->family, model->model_type,
            model->gated ? "" : ", FFN without gate");
    fprintf(out, "shape         %zu layers, hidden %zu, intermediate %zu, vocabulary %zu\n",
            model->layer_count, model->hidden, model->intermediate, model->vocab);
    fprintf(out, "attention     %zu query and %zu key/value heads of %zu\n", model->q_heads,
            model->kv_heads, model->head_dim);
    for (size_t i = 0; i < model->understood_count; i++)
        fprintf(out, "%-13s %s\n", model->understood[i].name, model->understood[i].text);
}

/* "name: F of N layers" for each format that a projection is stored in. */
static void print_formats(const char *name, const wa_matrix *const *layers, size_t count, FILE *out)
{
    size_t uses[WA_FORMAT_COUNT] = {0};
    for (size_t l = 0; l < count; l++)
        if (layers[l]->rows > 0)
            uses[layers[l]->format]++;
    fprintf(out, "  %-11s", name);
    for (size_t f = 0; f < WA_FORMAT_COUNT; f++)
        if (uses[f] > 0)
            fprintf(out, " %s (%zu of %zu layers)", wa_format_get((wa_format)f)->name, uses[f],
                    count);
    fputc('\n', out);
}

static wa_status print_all_formats(const wa_model *model, wa_arena *arena, FILE *out, wa_error *err)
{
    static const struct {
        const char *name;
        size_t offset; /* of the matrix in wa_layer */
    } projections[] = {{"q", offsetof(wa_layer, q)},       {"k", offsetof(wa_layer, k)},
                       {"v", offsetof(wa_layer, v)},       {"o", offsetof(wa_layer, o)},
                       {"gate", offsetof(wa_layer, gate)}, {"up", offsetof(wa_layer, up)},
                       {"down", offsetof(wa_layer, down)}};
    const wa_matrix **views;
    WA_TRY(wa_arena_take(arena, model->layer_count, sizeof *views, &views, err));
    fprintf(out, "stored as\n");
    fprintf(out, "  %-11s %s\n", "embedding", wa_format_get(model->embedding.format)->name);
    if (!model->tied)
        fprintf(out, "  %-11s %s\n", "output", wa_format_get(model->output.format)->name);
    for (size_t p = 0; p < sizeof projections / sizeof projections[0]; p++) {
        for (size_t l = 0; l < model->layer_count; l++)
            views[l] = (const wa_matrix *)(const void *)((const char *)&model->layers[l] +
                                                         projections[p].offset);
        if (views[0]->rows > 0)
            print_formats(projections[p].name, views, model->layer_count, out);
    }
    return WA_OK;
}

/* Experts of a layer are stored alike: the first one's formats stand for all. */
static wa_status print_expert_formats(const wa_model *model, wa_arena *arena, FILE *out,
                                      wa_error *err)
{
    static const struct {
        const char *name;
        size_t offset; /* of the matrix in wa_expert */
    } projections[] = {{"expert gate", offsetof(wa_expert, gate)},
                       {"expert up", offsetof(wa_expert, up)},
                       {"expert down", offsetof(wa_expert, down)}};
    const wa_matrix **views;
    WA_TRY(wa_arena_take(arena, model->layer_count, sizeof *views, &views, err));
    for (size_t p = 0; p < sizeof projections / sizeof projections[0]; p++) {
        size_t count = 0;
        for (size_t l = 0; l < model->layer_count; l++)
            if (model->layers[l].experts != NULL)
                views[count++] = (const wa_matrix *)(const void *)((const char *)&model->layers[l]
                                                                       .experts->experts[0] +
                                                                   projections[p].offset);
        if (count > 0)
            print_formats(projections[p].name, views, count, out);
    }
    return WA_OK;
}

static void print_notes(const wa_model *model, FILE *out)
{
    if (model->note_count > 0)
        fprintf(out, "notes\n");
    for (size_t i = 0; i < model->note_count; i++)
        fprintf(out, "  %s\n", model->notes[i]);
    if (model->unread > 0)
        fprintf(out, "  extract and run refuse this model unless allow_unread says otherwise\n");
}

static void print_files(const wa_model *model, FILE *out)
{
    uint64_t total = 0;
    fprintf(out, "files\n");
    for (size_t i = 0; i < model->file_count; i++) {
        struct stat info;
        uint64_t bytes = stat(model->files[i], &info) == 0 ? (uint64_t)info.st_size : 0;
        fprintf(out, "  %14" PRIu64 "  %s\n", bytes, model->files[i]);
        total += bytes;
    }
    fprintf(out, "  %14" PRIu64 "  in all\n", total);
}

wa_status wa_inspect_model(const char *path, wa_arena *arena, FILE *out, wa_error *err)
{
    const wa_model_options options = {.semantics = WA_SEMANTICS_NATIVE, .allow_unread = true};
    wa_model *model;
    WA_TRY(wa_model_open_with(path, &options, arena, &model, err));
    print_facts(model, out);
    wa_status status = print_all_formats(model, arena, out, err);
    if (status == WA_OK)
        status = print_expert_formats(model, arena, out, err);
    print_files(model, out);
    print_notes(model, out);
    wa_model_close(model);
    return status;
}
