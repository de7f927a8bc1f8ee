/* One printer of rows for both forms, and what goes into them. */
#include "selftest/show.h"

#include <math.h>
#include <stdarg.h>

enum { COLUMNS_MOST = 16, CELL = 96 };

typedef struct table {
    FILE *out;
    bool markdown;
    size_t columns;
    int widths[COLUMNS_MOST]; /* of the form in columns */
} table;

/* Columns are counted in characters, of which a × has two bytes. */
static int shown_width(const char *text)
{
    int n = 0;
    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void print_row(const table *t, const char *const *cells)
{
    for (size_t i = 0; i < t->columns; i++) {
        if (t->markdown)
            fprintf(t->out, "| %s ", cells[i]);
        else
            fprintf(t->out, "  %s%*s", cells[i],
                    i + 1 == t->columns ? 0 : t->widths[i] - shown_width(cells[i]), "");
    }
    fputs(t->markdown ? "|\n" : "\n", t->out);
}

static void print_head(const table *t, const char *title, const char *const *cells)
{
    fprintf(t->out, t->markdown ? "### %s\n\n" : "%s\n", title);
    print_row(t, cells);
    for (size_t i = 0; t->markdown && i < t->columns; i++)
        fputs("|---", t->out);
    if (t->markdown)
        fputs("|\n", t->out);
}

static table open_table(const wa_selftest_options *options, size_t columns, const int *widths)
{
    table t = {.out = options->out, .markdown = options->markdown, .columns = columns};
    memcpy(t.widths, widths, columns * sizeof *widths);
    return t;
}

/* --- Faults ----------------------------------------------------------------------------------- */

static const char *fate_word(const wa_outcome *o)
{
    if (o->refused)
        return "refused";
    if (o->accused)
        return "FALSE ALARM";
    if (!o->found)
        return o->expected == WA_FATE_UNSEEN ? "not seen" : "NOT FOUND";
    return o->at_place ? wa_verdict_name(o->verdict) : "WRONG PLACE";
}

static const wa_outcome *outcome_of(const wa_selftest_findings *f, size_t format,
                                    const wa_fault *fault)
{
    for (size_t i = 0; i < f->outcome_count[format]; i++)
        if (f->outcomes[format][i].fault == fault)
            return &f->outcomes[format][i];
    return NULL;
}

static void fault_row(const wa_selftest_findings *f, const table *t, const wa_fault *fault)
{
    char text[WA_SELFTEST_FORMATS][CELL];
    const char *cells[COLUMNS_MOST];
    cells[0] = fault == NULL ? "healthy" : fault->meaning;
    for (size_t i = 0; i < f->format_count; i++) {
        const wa_outcome *o = outcome_of(f, i, fault);
        if (o == NULL)
            snprintf(text[i], CELL, "–");
        else if (fault == NULL)
            snprintf(text[i], CELL, "%s", o->holds ? "clear" : "FALSE ALARM");
        else if (o->plant.planted_count == 0)
            snprintf(text[i], CELL, "%s", fate_word(o));
        else
            snprintf(text[i], CELL, "%s: %s%s", o->where, fate_word(o), o->holds ? "" : " (!)");
        cells[i + 1] = text[i];
    }
    print_row(t, cells);
}

static void show_faults(const wa_selftest_findings *f, const wa_selftest_options *options)
{
    int widths[COLUMNS_MOST] = {60};
    const char *heads[COLUMNS_MOST] = {"fault"};
    for (size_t i = 0; i < f->format_count; i++) {
        widths[i + 1] = 20;
        heads[i + 1] = f->formats[i];
    }
    table t = open_table(options, f->format_count + 1, widths);
    print_head(&t, "Faults in a vindex, by whole audits", heads);
    fault_row(f, &t, NULL);
    for (size_t i = 0; wa_fault_at(i) != NULL; i++)
        fault_row(f, &t, wa_fault_at(i));
    fputc('\n', t.out);
}

/* --- Thresholds ------------------------------------------------------------------------------- */

static void print_error(double e, double limit, bool excused, char *out)
{
    char text[32];
    if (isnan(e))
        snprintf(text, sizeof text, "none up to 1");
    else if (e < 1.5e-5)
        snprintf(text, sizeof text, "≤ 1e-5");
    else
        snprintf(text, sizeof text, "%.2g", e);
    bool within = !isfinite(limit) || e <= limit * 1.0000001;
    snprintf(out, CELL, "%s%s", text, within ? "" : excused ? " (grid)" : " (!)");
}

static void show_thresholds(const wa_selftest_findings *f, const wa_selftest_options *options)
{
    static const int widths[] = {13, 6, 6, 9, 9, 14, 14, 14, 14};
    static const char *const heads[] = {"format",         "matrix",          "stored",
                                        "encoder",        "own error",       "one row, scale",
                                        "one row, noise", "all rows, scale", "all rows, noise"};
    table t = open_table(options, sizeof heads / sizeof heads[0], widths);
    print_head(&t, "The smallest relative error that is found", heads);
    for (size_t i = 0; i < f->threshold_count; i++) {
        const wa_threshold *at = &f->thresholds[i].threshold;
        char own[CELL], text[WA_SEARCH_EXTENTS * WA_SEARCH_KINDS][CELL];
        const char *cells[COLUMNS_MOST] = {
            f->thresholds[i].format, wa_projection_name(at->target.projection),
            wa_format_get(at->target.format)->name,
            at->encoder == WA_BENCH_OURS ? "extract's" : "another", own};
        snprintf(own, sizeof own, "%.2g%s", at->own, at->accused ? " (accused!)" : "");
        for (int x = 0; x < WA_SEARCH_EXTENTS; x++)
            for (int k = 0; k < WA_SEARCH_KINDS; k++) {
                print_error(at->found[x][k], wa_search_limit(at, (wa_search_extent)x),
                            wa_search_on_grid(at), text[x * WA_SEARCH_KINDS + k]);
                cells[5 + x * WA_SEARCH_KINDS + k] = text[x * WA_SEARCH_KINDS + k];
            }
        print_row(&t, cells);
    }
    fputc('\n', t.out);
}

/* --- Bits and kernels ------------------------------------------------------------------------- */

static size_t count_missed(const wa_bits *bits)
{
    return bits->bits - bits->found - bits->idle - bits->lawful;
}

static void show_bits(const wa_selftest_findings *f, const wa_selftest_options *options)
{
    static const int widths[] = {13, 6, 6, 6, 6, 11, 15, 6, 11, 14};
    static const char *const heads[] = {"format",      "matrix",      "stored",          "bits",
                                        "found",       "least found", "change no value", "lawful",
                                        "most lawful", "missed"};
    table t = open_table(options, sizeof heads / sizeof heads[0], widths);
    print_head(&t, "Every bit of a block, flipped alone", heads);
    for (size_t i = 0; i < f->bits_count; i++) {
        const wa_bits *b = &f->bits[i].bits;
        char text[7][CELL];
        size_t numbers[] = {b->bits, b->found, b->idle, b->lawful, count_missed(b)};
        for (size_t n = 0; n < 5; n++)
            snprintf(text[n], CELL, "%zu%s", numbers[n], n == 4 && numbers[n] > 0 ? " (!)" : "");
        snprintf(text[5], CELL, "%.2g", b->least_found);
        snprintf(text[6], CELL, "%.2g", b->most_lawful);
        const char *cells[] = {f->bits[i].format,
                               wa_projection_name(b->target.projection),
                               wa_format_get(b->target.format)->name,
                               text[0],
                               text[1],
                               text[5],
                               text[2],
                               text[3],
                               text[6],
                               text[4]};
        print_row(&t, cells);
    }
    fputc('\n', t.out);
}

static void show_kernels(const wa_selftest_findings *f, const wa_selftest_options *options)
{
    static const int widths[] = {60, 8, 12, 12};
    static const char *const heads[] = {"fault", "format", "wrong cases", "KERNEL, at the layer"};
    table t = open_table(options, sizeof heads / sizeof heads[0], widths);
    if (f->kernel_count == 0)
        return;
    print_head(&t, "Faults in the kernels, by whole audits", heads);
    for (size_t i = 0; i < f->kernel_count; i++) {
        const wa_kernel_outcome *o = &f->kernels[i];
        char wrong[CELL], found[CELL];
        snprintf(wrong, sizeof wrong, "%zu", o->wrong);
        snprintf(found, sizeof found, "%zu%s", o->found, o->holds ? "" : " (!)");
        const char *cells[] = {o->meaning, o->format, wrong, found};
        print_row(&t, cells);
    }
    fputc('\n', t.out);
}

/* --- The end ---------------------------------------------------------------------------------- */

static size_t count_broken(const wa_selftest_findings *f, FILE *out)
{
    size_t broken = 0;
    for (size_t i = 0; i < f->format_count; i++)
        for (size_t k = 0; k < f->outcome_count[i]; k++) {
            const wa_outcome *o = &f->outcomes[i][k];
            if (o->holds)
                continue;
            broken++;
            fprintf(out, "%s, %s: %s%s%s\n", o->format,
                    o->fault == NULL ? "healthy" : o->fault->name, fate_word(o),
                    o->reason == NULL ? "" : ": ", o->reason == NULL ? "" : o->reason);
        }
    for (size_t i = 0; i < f->threshold_count; i++)
        if (!wa_search_holds(&f->thresholds[i].threshold)) {
            broken++;
            fprintf(out,
                    "%s, %s: a threshold is above its limit, or the healthy matrix was accused\n",
                    f->thresholds[i].format,
                    wa_projection_name(f->thresholds[i].threshold.target.projection));
        }
    for (size_t i = 0; i < f->bits_count; i++)
        if (count_missed(&f->bits[i].bits) > 0) {
            broken++;
            fprintf(out, "%s, %s: a flipped bit changes the row by %.2g and is not found\n",
                    f->bits[i].format, wa_projection_name(f->bits[i].bits.target.projection),
                    f->bits[i].bits.most_missed);
        }
    for (size_t i = 0; i < f->kernel_count; i++)
        if (!f->kernels[i].holds) {
            broken++;
            fprintf(out, "%s, kernel fault %s: %zu of %zu cases\n", f->kernels[i].format,
                    f->kernels[i].fault, f->kernels[i].found, f->kernels[i].wrong);
        }
    return broken;
}

wa_status wa_selftest_show(const wa_selftest_findings *findings, const wa_selftest_options *options,
                           bool *sound, wa_error *err)
{
    FILE *out = options->out;
    fprintf(out, "Model: %s.\n%s\n", findings->model, findings->notes);
    if (!options->thresholds)
        show_faults(findings, options);
    show_thresholds(findings, options);
    show_bits(findings, options);
    show_kernels(findings, options);
    size_t broken = count_broken(findings, out);
    *sound = broken == 0;
    if (broken == 0)
        fputs("Everything that must be found was found at its place, and nothing healthy was "
              "accused.\n",
              out);
    if (fflush(out) != 0 || ferror(out))
        return wa_fail(err, WA_E_IO, "cannot write the tables");
    return WA_OK;
}
