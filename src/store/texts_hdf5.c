/* Texts of the token ids of a result, so that reports need no tokenizer. Serial, rank 0. */
#include "store/assemble.h"

#include "base/utf8.h"

#include <string.h>

enum { IDS_AT_ONCE = 1 << 16 };

typedef struct decoder {
    const wa_assembly_caller *caller;
    wa_arena *work; /* emptied after each box */
    int32_t *ids;   /* of one box */
    const char **out;
} decoder;

static wa_status decode(decoder *d, size_t count, wa_error *err)
{
    for (size_t i = 0; i < count; i++) {
        char *text = NULL;
        d->out[i] = "";
        if (d->ids[i] < 0)
            continue;
        WA_TRY(d->caller->text(d->caller->context, d->ids[i], d->work, &text, err));
        if (text != NULL)
            WA_TRY(wa_text_escape(text, d->work, &d->out[i], err));
    }
    return WA_OK;
}

/* Ids and texts of one pair of datasets: same shape, [prompt], [prompt, slot], with or without
 * [case] before it. */
typedef struct pair {
    const wa_layout *id_row, *text_row;
    wa_hid ids, texts;
    size_t cases, prompts, slots; /* 1 where the shape has no such axis */
    size_t prompt_axis;
} pair;

static wa_status decode_box(decoder *d, const pair *which, size_t first_case, size_t first,
                            size_t prompts, wa_error *err)
{
    wa_box box = {.start = {first_case}, .count = {1}};
    box.start[which->prompt_axis] = first;
    box.count[which->prompt_axis] = prompts;
    if (which->text_row->axes[which->prompt_axis + 1] != '\0')
        box.count[which->prompt_axis + 1] = which->slots;
    WA_TRY(wa_dataset_read(which->ids, which->id_row, &box, d->ids, err));
    WA_TRY(decode(d, prompts * which->slots, err));
    return wa_dataset_write(which->texts, which->text_row, &box, d->out, err);
}

static wa_status decode_boxes(decoder *d, const pair *which, wa_arena *arena, wa_error *err)
{
    if (which->cases == 0 || which->prompts == 0 || which->slots == 0)
        return WA_OK;
    size_t step = which->slots >= IDS_AT_ONCE ? 1 : IDS_AT_ONCE / which->slots;
    step = step < which->prompts ? step : which->prompts;
    WA_TRY(wa_arena_take(arena, step * which->slots, sizeof *d->ids, &d->ids, err));
    WA_TRY(wa_arena_take(arena, step * which->slots, sizeof *d->out, &d->out, err));
    for (size_t c = 0; c < which->cases; c++) {
        for (size_t p = 0; p < which->prompts; p += step) {
            size_t left = which->prompts - p;
            WA_TRY(decode_box(d, which, c, p, left < step ? left : step, err));
            wa_arena_reset(d->work);
        }
    }
    return WA_OK;
}

static wa_status decode_pair(wa_hid file, const wa_extents *x, const char *id_name,
                             const char *text_name, decoder *d, wa_arena *arena, wa_error *err)
{
    pair which = {.id_row = wa_layout_find(id_name),
                  .text_row = wa_layout_find(text_name),
                  .ids = -1,
                  .texts = -1,
                  .cases = 1,
                  .prompts = x->dims.prompts,
                  .slots = 1};
    if (which.text_row->axes[0] == 'C') {
        which.cases = x->dims.cases;
        which.prompt_axis = 1;
    }
    if (strchr(which.text_row->axes, 'S') != NULL)
        which.slots = x->dims.slots;
    WA_TRY(wa_dataset_create(file, which.text_row, x, err));
    wa_mark mark = wa_arena_mark(arena);
    wa_status status = wa_dataset_open(file, which.id_row, x, &which.ids, err);
    if (status == WA_OK)
        status = wa_dataset_open(file, which.text_row, x, &which.texts, err);
    if (status == WA_OK)
        status = decode_boxes(d, &which, arena, err);
    status = wa_dataset_close(which.ids, status, err);
    status = wa_dataset_close(which.texts, status, err);
    wa_arena_release(arena, mark);
    return status;
}

wa_status wa_assembly_texts(wa_hid file, const wa_extents *extents,
                            const wa_assembly_caller *caller, wa_arena *arena, wa_error *err)
{
    static const char *const pairs[][2] = {{"ref_top1_id", "ref_top1_text"},
                                           {"ref_topk_id", "ref_topk_text"},
                                           {"top1_id", "top1_text"},
                                           {"topk_id", "topk_text"}};
    decoder d = {.caller = caller};
    WA_TRY(wa_arena_open("texts", 0, &d.work, err));
    wa_status status = WA_OK;
    for (size_t i = 0; status == WA_OK && i < sizeof pairs / sizeof pairs[0]; i++)
        status = decode_pair(file, extents, pairs[i][0], pairs[i][1], &d, arena, err);
    wa_arena_close(d.work);
    return status;
}
