/* Layers with experts: which ones prompts reached, which ones cases chose, and what that cost. */
#include "report/grid.h"
#include "report/table_parts.h"

#include <string.h>

enum { NAMED_EXPERTS = 12 };

/* Of all layers. */
typedef struct reached {
    size_t experts, never;
} reached;

static int64_t rows_of(const wa_table *t, size_t layer, size_t expert)
{
    return t->result->expert_rows[layer * t->result->meta.dims.experts + expert];
}

static reached count_reached(const wa_table *t)
{
    const wa_result_meta *meta = &t->result->meta;
    reached all = {0};
    for (size_t l = 0; l < meta->dims.layers; l++) {
        all.experts += (size_t)meta->layer_experts[l];
        all.never += wa_result_never_chosen(t->result, l);
    }
    return all;
}

/* ": layer 0: 3, 17; layer 2: 40 and 5 more" */
static void name_never(const wa_table *t, size_t never)
{
    const wa_result_meta *meta = &t->result->meta;
    size_t named = 0;
    for (size_t l = 0; l < meta->dims.layers; l++) {
        bool any = false;
        for (size_t e = 0; e < (size_t)meta->layer_experts[l] && named < NAMED_EXPERTS; e++) {
            if (rows_of(t, l, e) != 0)
                continue;
            if (any)
                fprintf(t->out, ", %zu", e);
            else
                fprintf(t->out, "%s layer %zu: %zu", named == 0 ? ":" : ";", l, e);
            any = true;
            named++;
        }
    }
    if (named < never)
        fprintf(t->out, " and %zu more", never - named);
}

void wa_table_print_experts_reached(const wa_table *t)
{
    if (t->result->expert_rows == NULL)
        return;
    reached all = count_reached(t);
    if (all.never == 0) {
        fprintf(t->out, "experts: these prompts chose each of %zu\n", all.experts);
        return;
    }
    fprintf(t->out, "experts: %zu of %zu were never chosen by these prompts", all.never,
            all.experts);
    name_never(t, all.never);
    fputs("\n         their stored numbers are compared all the same; no kernel ran with them\n",
          t->out);
}

/* --- Grid: what cases chose ------------------------------------------------------------------- */

/* Does it say which experts it chose? */
static bool tells(const wa_table *t, size_t c)
{
    return wa_table_has_run(t, c) && t->judgement->cases[c].summary.routing.max_same.layer >= 0;
}

/* (layer, observation) pairs in layers with experts. */
static size_t pair_count(const wa_table *t)
{
    const wa_result_meta *meta = &t->result->meta;
    size_t layers = 0;
    for (size_t l = 0; l < meta->dims.layers; l++)
        layers += meta->layer_experts[l] > 0 ? 1 : 0;
    return layers * meta->dims.rows;
}

static wa_status flips_text(const wa_table *t, int64_t flips, const char **out)
{
    char *text;
    WA_TRY(wa_arena_print(t->arena, &text, t->err, "%lld of %zu", (long long)flips, pair_count(t)));
    *out = text;
    return WA_OK;
}

/* "41 of 60": of the experts that rows of the case went through, those at whose rows the check
 * looked. */
static wa_status met_text(const wa_table *t, size_t c, const char **out)
{
    const wa_dims *dims = &t->result->meta.dims;
    size_t met = 0, used = 0, count = dims->layers * dims->experts;
    char *text;
    for (size_t i = 0; i < count; i++) {
        int64_t rows = t->result->own_expert_rows[c * count + i] + t->result->expert_rows[i];
        used += rows > 0 ? 1 : 0;
        met += rows > 0 && t->result->expert_kernel_rows[c * count + i] > 0 ? 1 : 0;
    }
    WA_TRY(wa_arena_print(t->arena, &text, t->err, "%zu of %zu", met, used));
    *out = text;
    return WA_OK;
}

static wa_status fill_experts(const wa_table *t, size_t c, wa_grid_cell *row)
{
    const wa_routing_summary *routing = &t->judgement->cases[c].summary.routing;
    WA_TRY(wa_table_text(t, t->result->meta.cases[c].name, 0, &row[0].text));
    if (!tells(t, c))
        return WA_OK;
    WA_TRY(flips_text(t, routing->flips, &row[1].text));
    if (!t->result->meta.cases[c].isolated)
        WA_TRY(flips_text(t, routing->own_flips, &row[2].text));
    WA_TRY(wa_table_extreme(t, routing->max_same, &row[3].text));
    WA_TRY(wa_table_extreme(t, routing->max_other, &row[4].text));
    WA_TRY(wa_table_place(t, routing->max_other, &row[5].text));
    return met_text(t, c, &row[6].text);
}

wa_status wa_table_print_experts(const wa_table *t)
{
    static const wa_grid_column columns[] = {
        {"case", false},      {"other experts", true}, {"own stream", true}, {"same experts", true},
        {"others add", true}, {"at", false},           {"checked", true}};
    enum { COLUMNS = sizeof columns / sizeof columns[0] };
    wa_text_grid grid;
    if (t->result->expert_rows == NULL)
        return WA_OK;
    WA_TRY(wa_text_grid_open(t->arena, columns, COLUMNS, wa_table_case_count(t), &grid, t->err));
    for (size_t c = 0; c < wa_table_case_count(t); c++)
        WA_TRY(fill_experts(t, c, grid.cells + c * COLUMNS));
    fputs("\nExperts: rows that a router sent to others than the dense model's; rel_L2 by the same "
          "experts, and what others add\n",
          t->out);
    return wa_text_grid_print(&grid, t->out, t->colour, t->arena, t->err);
}
