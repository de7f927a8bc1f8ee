/* Lines on what a kernel answers when the same x is put to it in another way. */
#include "report/table_parts.h"

#include <math.h>

/* A figure of one case, folded. */
typedef struct folded {
    size_t asked, differ, worst; /* worst: layer * prompts + prompt */
    double most;
} folded;

static folded fold(const wa_table *t, size_t c, const double *way)
{
    const wa_dims *dims = &t->result->meta.dims;
    size_t count = dims->layers * dims->prompts;
    folded f = {0};
    for (size_t i = 0; way != NULL && i < count; i++) {
        double value = way[c * count + i];
        if (isnan(value))
            continue;
        f.asked++;
        f.differ += value != 0.0;
        if (value > f.most) {
            f.most = value;
            f.worst = i;
        }
    }
    return f;
}

static wa_status print_way(const wa_table *t, size_t c, const char *what, const double *way)
{
    const wa_result_meta *meta = &t->result->meta;
    const char *name, *key;
    folded f = fold(t, c, way);
    if (f.asked == 0)
        return WA_OK;
    WA_TRY(wa_table_text(t, meta->cases[c].name, 0, &name));
    if (f.differ == 0) {
        fprintf(t->out, "%s: %s: the same bits (%zu compared)\n", name, what, f.asked);
        return WA_OK;
    }
    WA_TRY(wa_table_text(t, meta->prompt_key[f.worst % meta->dims.prompts], 40, &key));
    fprintf(t->out, "%s: %s: differs by at most %.2e, at L%zu %s (%zu of %zu differ)\n", name, what,
            f.most, f.worst / meta->dims.prompts, key, f.differ, f.asked);
    return WA_OK;
}

wa_status wa_table_print_ways(const wa_table *t)
{
    const wa_result *r = t->result;
    const struct {
        const char *what;
        const double *way;
    } ways[] = {{"one position at a time", r->decode},
                {"asked again", r->repeat},
                {"positions in the opposite order", r->order},
                {"one position alone", r->alone},
                {"another server", r->alike}};
    for (size_t c = 0; c < wa_table_case_count(t); c++)
        for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
            WA_TRY(print_way(t, c, ways[i].what, ways[i].way));
    return WA_OK;
}
