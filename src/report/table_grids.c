/* The grids of the result table: how large the differences are, where, on what they were measured,
 * and rates over all positions. */
#include "base/elementary.h"
#include "base/show.h"
#include "report/grid.h"
#include "report/table_parts.h"

#include <math.h>
#include <string.h>

enum { KEY_COLUMNS = 14, TOKEN_COLUMNS = 14 };

/* --- Cells ------------------------------------------------------------------------------------ */

/* Text of others (keys, names) without what could break a line. */
wa_status wa_table_text(const wa_table *t, const char *text, size_t columns, const char **out)
{
    char *shown;
    WA_TRY(wa_show_text(text, columns, t->arena, &shown, t->err));
    *out = shown;
    return WA_OK;
}

static wa_status figure_text(const wa_table *t, double value, const char **out)
{
    char *text;
    WA_TRY(wa_arena_print(t->arena, &text, t->err, value == 0.0 ? "0" : "%.2e", value));
    *out = isnan(value) ? "NaN" : text;
    return WA_OK;
}

/* An extreme's figure; NULL when nothing was seen. */
wa_status wa_table_extreme(const wa_table *t, wa_extreme extreme, const char **out)
{
    *out = NULL;
    return extreme.layer < 0 ? WA_OK : figure_text(t, extreme.value, out);
}

/* A cosine is read by its nines. */
static wa_status cos_text(const wa_table *t, wa_extreme extreme, const char **out)
{
    char *text = NULL;
    if (extreme.layer >= 0)
        WA_TRY(wa_arena_print(t->arena, &text, t->err, "%.8f", extreme.value));
    *out = text;
    return WA_OK;
}

/* "L12 code/5 ' x'" */
wa_status wa_table_place(const wa_table *t, wa_extreme extreme, const char **out)
{
    *out = NULL;
    if (extreme.layer < 0 || extreme.value == 0.0) /* nothing differs: no place is worse */
        return WA_OK;
    const wa_result_meta *meta = &t->result->meta;
    const char *key;
    char *token;
    char *text;
    WA_TRY(wa_table_text(t, meta->prompt_key[meta->obs_prompt[extreme.obs]], KEY_COLUMNS, &key));
    WA_TRY(wa_show_token(meta->token_text[extreme.obs], TOKEN_COLUMNS, t->arena, &token, t->err));
    WA_TRY(wa_arena_print(t->arena, &text, t->err, "L%d %s/%d %s", extreme.layer, key,
                          meta->obs_position[extreme.obs], token));
    *out = text;
    return WA_OK;
}

/* The prompt with the largest |value|; a NaN is larger than any. prompts > 0. */
static size_t largest_prompt(const double *values, size_t prompts)
{
    size_t worst = 0;
    for (size_t p = 1; p < prompts; p++)
        if (!isnan(values[worst]) && !(fabs(values[p]) <= fabs(values[worst])))
            worst = p;
    return worst;
}

static wa_status prompt_figure(const wa_table *t, const double *values, const char **figure,
                               const char **key)
{
    const wa_result_meta *meta = &t->result->meta;
    *figure = NULL;
    *key = NULL;
    if (meta->dims.prompts == 0)
        return WA_OK;
    size_t worst = largest_prompt(values, meta->dims.prompts);
    WA_TRY(figure_text(t, fabs(values[worst]), figure));
    if (values[worst] == 0.0)
        return WA_OK;
    return wa_table_text(t, meta->prompt_key[worst], KEY_COLUMNS, key);
}

static wa_colour verdict_colour(wa_verdict_code code)
{
    if (code == WA_VERDICT_PASS)
        return WA_COLOUR_GOOD;
    return wa_verdict_is_success(code) ? WA_COLOUR_PLAIN : WA_COLOUR_BAD;
}

/* --- Grid 1: how large ------------------------------------------------------------------------ */

static wa_status fill_figures(const wa_table *t, size_t c, wa_grid_cell *row)
{
    const wa_result *r = t->result;
    size_t prompts = r->meta.dims.prompts;
    const char *key;
    char *text;
    WA_TRY(wa_table_text(t, r->meta.cases[c].name, 0, &row[0].text));
    row[1] = (wa_grid_cell){wa_verdict_name(t->judgement->cases[c].verdict.code),
                            verdict_colour(t->judgement->cases[c].verdict.code)};
    row[2].text = wa_bucket_name(r->meta.cases[c].bucket);
    if (!wa_table_has_run(t, c))
        return WA_OK;
    WA_TRY(cos_text(t, t->judgement->cases[c].summary.all.min_cos, &row[3].text));
    WA_TRY(wa_table_extreme(t, t->judgement->cases[c].summary.all.max_rel_l2, &row[4].text));
    WA_TRY(wa_table_extreme(t, t->judgement->cases[c].summary.all.max_eta, &row[5].text));
    if (!r->meta.cases[c].isolated) {
        WA_TRY(prompt_figure(t, r->prob_delta + c * prompts, &row[6].text, &key));
        WA_TRY(prompt_figure(t, r->kl + c * prompts, &row[7].text, &key));
    }
    WA_TRY(wa_arena_print(t->arena, &text, t->err, "%.1f", (double)r->bytes_read[c] / 1e6));
    row[8].text = text;
    WA_TRY(wa_arena_print(t->arena, &text, t->err, "%.2f", r->seconds[c]));
    row[9].text = text;
    return WA_OK;
}

wa_status wa_table_print_figures(const wa_table *t)
{
    static const wa_grid_column columns[] = {
        {"case", false},   {"verdict", false}, {"bucket", false}, {"min cos", true},
        {"rel_L2", true},  {"η", true},        {"|ΔP|", true},    {"KL", true},
        {"MB read", true}, {"seconds", true}};
    enum { COLUMNS = sizeof columns / sizeof columns[0] };
    wa_text_grid grid;
    WA_TRY(wa_text_grid_open(t->arena, columns, COLUMNS, wa_table_case_count(t), &grid, t->err));
    for (size_t c = 0; c < wa_table_case_count(t); c++)
        WA_TRY(fill_figures(t, c, grid.cells + c * COLUMNS));
    fputs("\nVerdicts, and the largest differences from the dense model\n", t->out);
    return wa_text_grid_print(&grid, t->out, t->colour, t->arena, t->err);
}

/* --- Grid 2: where ---------------------------------------------------------------------------- */

static wa_status fill_places(const wa_table *t, size_t c, wa_grid_cell *row)
{
    const wa_result *r = t->result;
    size_t prompts = r->meta.dims.prompts;
    const char *figure;
    WA_TRY(wa_table_text(t, r->meta.cases[c].name, 0, &row[0].text));
    if (!wa_table_has_run(t, c))
        return WA_OK;
    WA_TRY(wa_table_place(t, t->judgement->cases[c].summary.all.max_rel_l2, &row[1].text));
    WA_TRY(wa_table_place(t, t->judgement->cases[c].summary.all.max_eta, &row[2].text));
    if (r->meta.cases[c].isolated)
        return WA_OK;
    WA_TRY(prompt_figure(t, r->prob_delta + c * prompts, &figure, &row[3].text));
    return prompt_figure(t, r->kl + c * prompts, &figure, &row[4].text);
}

wa_status wa_table_print_places(const wa_table *t)
{
    static const wa_grid_column columns[] = {{"case", false},
                                             {"rel_L2 at layer prompt/position", false},
                                             {"η at", false},
                                             {"|ΔP| at", false},
                                             {"KL at", false}};
    enum { COLUMNS = sizeof columns / sizeof columns[0] };
    wa_text_grid grid;
    WA_TRY(wa_text_grid_open(t->arena, columns, COLUMNS, wa_table_case_count(t), &grid, t->err));
    for (size_t c = 0; c < wa_table_case_count(t); c++)
        WA_TRY(fill_places(t, c, grid.cells + c * COLUMNS));
    fputs("\nWhere they are\n", t->out);
    return wa_text_grid_print(&grid, t->out, t->colour, t->arena, t->err);
}

/* --- Grid 3: on what: labels, encoding, kernel ------------------------------------------------ */

static const char *known_label(int8_t code)
{
    return code >= 0 && code < WA_LABEL_COUNT ? wa_label_text((wa_label)code) : "unknown";
}

/* "full_mmap 90/90": of layers x prompts, how many carry the label expected of their layer. Layers
 * that expect different labels are said to be mixed. */
static wa_status label_cell(const wa_table *t, size_t c, const char **out)
{
    const wa_evidence *e = &t->judgement->cases[c].evidence;
    size_t right = 0;
    bool mixed = false;
    for (size_t l = 0; l < e->layers; l++) {
        mixed = mixed || e->expected_label[l] != e->expected_label[0];
        for (size_t p = 0; p < e->prompts; p++)
            right += e->label[l * e->prompts + p] == e->expected_label[l] ? 1 : 0;
    }
    char *text;
    WA_TRY(wa_arena_print(t->arena, &text, t->err, "%s %zu/%zu",
                          mixed ? "mixed" : known_label(e->layers > 0 ? e->expected_label[0] : 0),
                          right, e->layers * e->prompts));
    *out = text;
    return WA_OK;
}

/* The checked projection with the largest row error, NaN above all; layers * projections when none
 * was checked. */
static size_t worst_encoding(const wa_evidence *e)
{
    size_t count = e->layers * WA_PROJECTION_COUNT;
    size_t worst = count;
    for (size_t i = 0; e->encoding != NULL && i < count; i++) {
        if (!e->encoding[i].checked)
            continue;
        if (worst == count || (!isnan(e->encoding[worst].rows.max) &&
                               !(e->encoding[i].rows.max <= e->encoding[worst].rows.max)))
            worst = i;
    }
    return worst;
}

/* "L3 expert 17 gate row 5": a row of a case's figures, without the commas of sentences. */
static wa_status row_text(const wa_table *t, const wa_evidence *e, size_t layer, size_t which,
                          size_t rows, int32_t row, const char **out)
{
    char name[WA_ENCODING_PLACE_BYTES], *text;
    size_t to = 0;
    wa_encoding_name_row(which, e->layer_experts == NULL ? 0 : e->layer_experts[layer], rows, row,
                         name);
    for (size_t from = 0; name[from] != '\0'; from++)
        if (name[from] != ',')
            name[to++] = name[from];
    name[to] = '\0';
    WA_TRY(wa_arena_print(t->arena, &text, t->err, "L%zu %s", layer, name));
    *out = text;
    return WA_OK;
}

static wa_status encoding_cells(const wa_table *t, size_t c, wa_grid_cell *row)
{
    const wa_evidence *e = &t->judgement->cases[c].evidence;
    size_t worst = worst_encoding(e);
    if (worst == e->layers * WA_PROJECTION_COUNT)
        return WA_OK;
    const wa_encoding_figure *f = &e->encoding[worst];
    WA_TRY(figure_text(t, f->rows.p99, &row[0].text));
    WA_TRY(figure_text(t, f->rows.max, &row[1].text));
    if (f->rows.max == 0.0)
        return WA_OK;
    return row_text(t, e, worst / WA_PROJECTION_COUNT, worst % WA_PROJECTION_COUNT, f->rows.rows,
                    f->rows.worst_row, &row[2].text);
}

static bool is_worse(wa_extreme a, wa_extreme b)
{
    return a.layer >= 0 && (b.layer < 0 || a.value > b.value);
}

/* Of both streams. What is no number is stored as infinite, and so the largest. */
static wa_extreme worst_kernel(const wa_case_summary *s, bool *is_own)
{
    *is_own = is_worse(s->max_kernel_own, s->max_kernel);
    return *is_own ? s->max_kernel_own : s->max_kernel;
}

static wa_status fill_basis(const wa_table *t, size_t c, wa_grid_cell *row)
{
    WA_TRY(wa_table_text(t, t->result->meta.cases[c].name, 0, &row[0].text));
    if (!wa_table_has_run(t, c))
        return WA_OK;
    const wa_case_summary *s = &t->judgement->cases[c].summary;
    bool is_own;
    wa_extreme kernel = worst_kernel(s, &is_own);
    WA_TRY(label_cell(t, c, &row[1].text));
    WA_TRY(encoding_cells(t, c, &row[2]));
    WA_TRY(wa_table_extreme(t, kernel, &row[5].text));
    WA_TRY(wa_table_place(t, kernel, &row[6].text));
    if (!is_own || row[6].text == NULL)
        return WA_OK;
    char *text;
    WA_TRY(wa_arena_print(t->arena, &text, t->err, "%s own", row[6].text));
    row[6].text = text;
    return WA_OK;
}

/* "kernel: 312 of 702 pairs, every layer, both streams": the same for all cases that are checked,
 * but for the streams they have. */
static void print_coverage(const wa_table *t, int64_t pairs, const char *streams, const char *whose)
{
    const wa_dims *dims = &t->result->meta.dims;
    long long total = (long long)(dims->layers * dims->rows);
    fprintf(t->out, "kernel: %lld of %lld pairs, every layer, %s%s\n", (long long)pairs, total,
            streams, whose);
    if (pairs < total)
        fprintf(
            t->out,
            "        a fault in a share p of all pairs is missed with probability (1 - p)^%lld: "
            "%.2g for p = 2 %%\n",
            (long long)pairs, wa_pow(0.98, (double)pairs));
}

/* How many rows were compared where a case is nearest to its limit. */
static size_t rows_at(const wa_evidence *e, const wa_encoding_worst *at)
{
    bool own = at->projection < WA_PROJECTION_COUNT;
    return own && e->encoding != NULL
               ? e->encoding[(size_t)at->layer * WA_PROJECTION_COUNT + (size_t)at->projection]
                     .rows.rows
               : 0;
}

/* "encoding: q4k:sparse: another encoder's rows (foreign_limits): steps 0.503, limit 0.55, at L2 up
 * row 7": of cases that are held to limits, and how near they came. Those that hold LARQL's own
 * rows have nothing to tell. */
static wa_status print_encoding_limits(const wa_table *t)
{
    for (size_t c = 0; c < wa_table_case_count(t); c++) {
        const wa_encoding_worst *e = &t->judgement->cases[c].verdict.encoding;
        const char *name, *place;
        if (!wa_table_has_run(t, c) ||
            (e->rule != WA_ENCODING_RULE_FOREIGN && e->rule != WA_ENCODING_RULE_COMPENSATING))
            continue;
        WA_TRY(wa_table_text(t, t->result->meta.cases[c].name, 0, &name));
        WA_TRY(row_text(t, &t->judgement->cases[c].evidence, (size_t)e->layer,
                        (size_t)e->projection, rows_at(&t->judgement->cases[c].evidence, e), e->row,
                        &place));
        fprintf(t->out, "encoding: %s: another encoder's rows (%s): %s %.3g, limit %.3g, at %s\n",
                name, wa_encoding_rule_word((wa_encoding_rule)e->rule),
                wa_encoding_statistic_word((wa_encoding_statistic)e->statistic), e->value, e->limit,
                place);
    }
    return WA_OK;
}

wa_status wa_table_print_coverage(const wa_table *t)
{
    wa_table_print_experts_reached(t);
    WA_TRY(print_encoding_limits(t));
    const wa_result_meta *meta = &t->result->meta;
    int64_t both = 0, one = 0;
    for (size_t c = 0; c < wa_table_case_count(t) && meta->kernel_due != NULL; c++) {
        both = meta->kernel_own_due[c] > 0 ? meta->kernel_due[c] : both;
        one = meta->kernel_own_due[c] == 0 && meta->kernel_due[c] > 0 ? meta->kernel_due[c] : one;
    }
    if (both > 0)
        print_coverage(t, both, "both streams", "");
    if (one > 0)
        print_coverage(t, one, "the reference's stream", " (cases without one of their own)");
    for (size_t c = 0; c < wa_table_case_count(t); c++) {
        const char *name;
        if (meta->cases[c].like == NULL || !wa_table_has_run(t, c))
            continue;
        WA_TRY(wa_table_text(t, meta->cases[c].name, 0, &name));
        fprintf(t->out, "kernel: %s is held against the oracle of %s, within %g\n", name,
                meta->cases[c].like->name, meta->cases[c].kernel_tolerance);
    }
    if (both == 0 && one == 0)
        fputs("kernel: not checked\n", t->out);
    for (size_t c = 0; c < wa_table_case_count(t) && both + one > 0; c++) {
        const char *name;
        if (meta->kernel_due[c] > 0 || !wa_table_has_run(t, c))
            continue;
        WA_TRY(wa_table_text(t, meta->cases[c].name, 0, &name));
        fprintf(t->out, "kernel: not checked: %s\n", name);
    }
    return WA_OK;
}

wa_status wa_table_print_basis(const wa_table *t)
{
    static const wa_grid_column columns[] = {
        {"case", false}, {"label seen", false}, {"enc p99", true}, {"enc max", true},
        {"at", false},   {"kernel", true},      {"at", false}};
    enum { COLUMNS = sizeof columns / sizeof columns[0] };
    wa_text_grid grid;
    WA_TRY(wa_text_grid_open(t->arena, columns, COLUMNS, wa_table_case_count(t), &grid, t->err));
    for (size_t c = 0; c < wa_table_case_count(t); c++)
        WA_TRY(fill_basis(t, c, grid.cells + c * COLUMNS));
    fputs("\nWhat ran: kernel label, row error of the stored numbers, kernel against its oracle\n",
          t->out);
    return wa_text_grid_print(&grid, t->out, t->colour, t->arena, t->err);
}

/* --- Grid 4: rates over all positions --------------------------------------------------------- */

/* "1.00002 ± 0.00001"; one prompt tells nothing about the error. */
static wa_status rate_text(const wa_table *t, wa_rate rate, const char *format, const char **out)
{
    char value[32];
    char error[32] = "–";
    char *text;
    snprintf(value, sizeof value, format, rate.value);
    if (!isnan(rate.error))
        snprintf(error, sizeof error, format, rate.error);
    WA_TRY(wa_arena_print(t->arena, &text, t->err, "%s ± %s", value, error));
    *out = text;
    return WA_OK;
}

static wa_status fill_rates(const wa_table *t, size_t c, wa_grid_cell *row)
{
    const wa_rates *rates = t->judgement->cases[c].verdict.rates;
    char *text;
    WA_TRY(wa_table_text(t, t->result->meta.cases[c].name, 0, &row[0].text));
    if (rates == NULL)
        return WA_OK;
    WA_TRY(rate_text(t, rates->mean_kl, "%.2e", &row[1].text));
    WA_TRY(figure_text(t, rates->p99_kl.value, &row[2].text));
    WA_TRY(wa_arena_print(t->arena, &text, t->err, "%.2f %%", 100.0 * rates->flip_rate.value));
    row[3].text = text;
    WA_TRY(wa_arena_print(t->arena, &text, t->err, "%.2f %% > %g",
                          100.0 * rates->far_flip_rate.value, rates->flip_margin));
    row[4].text = text;
    return rate_text(t, rates->ppl_ratio, "%.6f", &row[5].text);
}

wa_status wa_table_print_rates(const wa_table *t)
{
    static const wa_grid_column columns[] = {{"case", false},          {"mean KL", true},
                                             {"p99 KL", true},         {"flips", true},
                                             {"outside margin", true}, {"PPL ratio", true}};
    enum { COLUMNS = sizeof columns / sizeof columns[0] };
    const wa_rates *any = NULL;
    for (size_t c = 0; c < wa_table_case_count(t); c++)
        any = t->judgement->cases[c].verdict.rates != NULL ? t->judgement->cases[c].verdict.rates
                                                           : any;
    if (any == NULL)
        return WA_OK;
    wa_text_grid grid;
    WA_TRY(wa_text_grid_open(t->arena, columns, COLUMNS, wa_table_case_count(t), &grid, t->err));
    for (size_t c = 0; c < wa_table_case_count(t); c++)
        WA_TRY(fill_rates(t, c, grid.cells + c * COLUMNS));
    fprintf(t->out,
            "\nNext tokens at all %lld positions, %lld distinct; ± standard error over %lld "
            "independent prompts "
            "of %lld\n",
            (long long)any->n_obs, (long long)any->n_distinct, (long long)any->n_clusters,
            (long long)any->n_prompts);
    return wa_text_grid_print(&grid, t->out, t->colour, t->arena, t->err);
}
