/*
 * ffn_given_x MODEL ROWS <X >Y: the FFN of each layer of a model on given inputs, as the dense case
 * computes it. X and Y are f32 [layer, ROWS, hidden]: whatever comes before the FFN has no part in
 * Y. Exit code 1, and one line on standard error, where it cannot be had.
 */
#include "path/evaluate.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct rows {
    size_t count;
    float *x, *y; /* [count, hidden] */
} rows;

static wa_status run_layer(const wa_model *model, size_t layer, const rows *r, wa_scratch *scratch,
                           wa_error *err)
{
    size_t values = r->count * model->hidden;
    if (fread(r->x, sizeof *r->x, values, stdin) != values)
        return wa_fail(err, WA_E_IO, "X ends in layer %zu of %zu", layer, model->layer_count);
    const wa_case dense = wa_case_dense();
    const wa_walk_io io = {.x = r->x, .y = r->y};
    wa_walk_layer weights;
    wa_label label;
    WA_TRY(wa_case_open_layer(&dense, model, NULL, layer, &weights, err));
    WA_TRY(wa_case_run(&dense, &weights, r->count, &io, 1, scratch, &label, err));
    if (fwrite(r->y, sizeof *r->y, values, stdout) != values)
        return wa_fail(err, WA_E_IO, "Y cannot be written");
    return WA_OK;
}

static wa_status run_layers(const wa_model *model, size_t count, wa_arena *arena, wa_error *err)
{
    size_t features = wa_model_widest_ffn(model);
    size_t longest = features > model->hidden ? features : model->hidden;
    rows r = {.count = count};
    wa_scratch scratch;
    WA_TRY(wa_scratch_open(arena, count, features, longest, &scratch, err));
    WA_TRY(wa_arena_take(arena, count * model->hidden, sizeof *r.x, &r.x, err));
    WA_TRY(wa_arena_take(arena, count * model->hidden, sizeof *r.y, &r.y, err));
    for (size_t layer = 0; layer < model->layer_count; layer++)
        WA_TRY(run_layer(model, layer, &r, &scratch, err));
    return fflush(stdout) == 0 ? WA_OK : wa_fail(err, WA_E_IO, "Y cannot be written");
}

static wa_status run(const char *path, size_t count, wa_error *err)
{
    wa_arena *arena;
    wa_model *model;
    WA_TRY(wa_arena_open("ffn", 0, &arena, err));
    wa_status status = wa_model_open(path, WA_SEMANTICS_NATIVE, arena, &model, err);
    if (status == WA_OK) {
        status = run_layers(model, count, arena, err);
        wa_model_close(model);
    }
    wa_arena_close(arena);
    return status;
}

int main(int argc, char **argv)
{
    wa_error err;
    unsigned long count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    if (count == 0) {
        (void)fputs("usage: ffn_given_x MODEL ROWS <X >Y\n", stderr);
        return 1;
    }
    if (run(argv[1], count, &err) == WA_OK)
        return 0;
    (void)fprintf(stderr, "ffn_given_x: %s\n", err.text);
    return 1;
}
