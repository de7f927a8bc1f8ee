/* ENCODING of a verdict: whether what a case reads is the model's, and whether all of it was
 * looked at. */
#include "judge/verdict_parts.h"

#include <math.h>

/* A place of what was compared: which of a layer's figures. */
typedef struct figure_at {
    size_t layer, which; /* projection, or WA_PROJECTION_COUNT + place among the others */
} figure_at;

static size_t figure_count(const wa_evidence *e)
{
    return e->layers *
           (size_t)(WA_PROJECTION_COUNT + (e->encoding_beside != NULL ? WA_BESIDE_COUNT : 0));
}

static figure_at place_of(const wa_evidence *e, size_t i)
{
    size_t each = figure_count(e) / e->layers;
    return (figure_at){.layer = i / each, .which = i % each};
}

/* NULL: nothing was compared at all. */
static const wa_encoding_figure *figure_of(const wa_evidence *e, figure_at at)
{
    if (at.which < WA_PROJECTION_COUNT)
        return e->encoding == NULL ? NULL : &e->encoding[at.layer * WA_PROJECTION_COUNT + at.which];
    return &e->encoding_beside[at.layer * WA_BESIDE_COUNT + at.which - WA_PROJECTION_COUNT];
}

static int32_t experts_of(const wa_evidence *e, size_t layer)
{
    return e->layer_experts == NULL ? 0 : e->layer_experts[layer];
}

static wa_encoding_worst worst_of(figure_at at, const wa_encoding_finding *found)
{
    return (wa_encoding_worst){.rule = (int8_t)found->rule,
                               .statistic = (int8_t)found->statistic,
                               .layer = (int32_t)at.layer,
                               .projection = (int32_t)at.which,
                               .row = found->row,
                               .value = found->value,
                               .limit = found->limit,
                               .excess = found->excess};
}

static wa_status complain_encoding(wa_judge *j, figure_at at, const wa_encoding_finding *finding,
                                   size_t broken)
{
    const wa_encoding_figure *f = figure_of(j->evidence, at);
    char *what;
    char row[WA_ENCODING_PLACE_BYTES];
    WA_TRY(wa_encoding_explain(f, finding, j->arena, &what, j->err));
    wa_encoding_name_row(at.which, experts_of(j->evidence, at.layer), f->rows.rows, finding->row,
                         row);
    return wa_judge_complain(j, WA_VERDICT_ENCODING,
                             "layer %zu, %s: %s (%s in %s; projections broken: %zu)", at.layer, row,
                             what, wa_format_get(f->format)->name, f->file, broken);
}

/* The worst of what the case reads. */
wa_status wa_judge_encoding(wa_judge *j)
{
    const wa_evidence *e = j->evidence;
    size_t broken = 0;
    figure_at at = {0};
    wa_encoding_finding worst = {.excess = -1.0};
    for (size_t i = 0; i < figure_count(e); i++) {
        const wa_encoding_figure *figure = figure_of(e, place_of(e, i));
        if (figure == NULL)
            continue;
        wa_encoding_finding found = wa_encoding_judge(figure, j->bounds->encoder);
        broken += found.faithful ? 0 : 1;
        if (figure->checked && found.excess > worst.excess) {
            worst = found;
            at = place_of(e, i);
        }
    }
    if (worst.excess >= 0.0)
        j->encoding = worst_of(at, &worst);
    return broken == 0 ? WA_OK : complain_encoding(j, at, &worst, broken);
}

/* --- UNCHECKED -------------------------------------------------------------------------------- */

/* Must it have been compared? */
static bool is_due(const wa_evidence *e, figure_at at)
{
    bool experts = experts_of(e, at.layer) > 0;
    if (wa_judge_is_absent(e, at.layer))
        return false;
    if (at.which >= WA_PROJECTION_COUNT) {
        wa_due due = e->due_beside[at.which - WA_PROJECTION_COUNT];
        return due == WA_DUE_ALWAYS || (due == WA_DUE_WITH_EXPERTS && experts);
    }
    return e->reads[at.which] && (experts || !e->reads_experts_alone);
}

/* Every payload that the case reads, at every layer; or it may hold another model's rows. */
wa_status wa_judge_encoding_was_seen(wa_judge *j)
{
    const wa_evidence *e = j->evidence;
    size_t read = 0;
    size_t unseen = 0;
    figure_at first = {0};
    for (size_t i = 0; i < figure_count(e); i++) {
        figure_at at = place_of(e, i);
        const wa_encoding_figure *figure = figure_of(e, at);
        if (!is_due(e, at))
            continue;
        read++;
        if (figure != NULL && figure->checked)
            continue;
        if (unseen++ == 0)
            first = at;
    }
    if (unseen == 0)
        return WA_OK;
    char name[WA_ENCODING_PLACE_BYTES];
    wa_encoding_name_row(first.which, 0, 0, -1, name);
    return wa_judge_complain(
        j, WA_VERDICT_UNCHECKED,
        "its stored rows were not compared with the model's: layer %zu, %s (%zu of %zu "
        "that it reads)",
        first.layer, name, unseen, read);
}
