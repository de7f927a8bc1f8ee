/* The result table: what a reader must know beside the grids, and what to type next. */
#include "base/launched.h"
#include "base/program.h"
#include "base/show.h"
#include "judge/reference.h"
#include "report/grid.h"
#include "report/modes.h"
#include "report/table_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROMPT_LINES = 12 };

size_t wa_table_case_count(const wa_table *t)
{
    return t->result->meta.dims.cases;
}

bool wa_table_has_run(const wa_table *t, size_t c)
{
    return t->judgement->cases[c].verdict.code != WA_VERDICT_NOT_RUN;
}

/* --- Head ------------------------------------------------------------------------------------- */

/* One a line, as the run said them. */
static void print_warnings(const char *warnings, FILE *out)
{
    while (warnings != NULL && warnings[0] != '\0') {
        size_t length = strcspn(warnings, "\n");
        fprintf(out, "warning: %.*s\n", (int)length, warnings);
        warnings += length + (warnings[length] == '\n');
    }
}

static wa_status print_modes(const wa_table *t)
{
    for (size_t c = 0; c < t->result->meta.dims.cases; c++) {
        char *warning;
        WA_TRY(wa_modes_warning(t->result, c, t->arena, &warning, t->err));
        if (warning != NULL)
            fprintf(t->out, "warning: %s\n", warning);
    }
    return WA_OK;
}

static void print_sources(const wa_table *t)
{
    const wa_result_meta *meta = &t->result->meta;
    fputs("FFN of the model:", t->out);
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        if (meta->source_format[p] != NULL && meta->source_format[p][0] != '\0')
            fprintf(t->out, "%s %s %s", p > 0 ? "," : "", wa_projection_name((wa_projection)p),
                    meta->source_format[p]);
    fputc('\n', t->out);
    if (meta->requantised)
        fputs("*requantised*: the vindexes are made from a model of 6 bits or fewer\n", t->out);
    print_warnings(meta->warnings, t->out);
    for (size_t c = 0; c < meta->dims.cases; c++)
        if (meta->cases[c].isolated)
            fprintf(t->out,
                    "%s answers given inputs only: drift, |ΔP|, KL, TOP-1 and RATE do not apply\n",
                    meta->cases[c].name);
}

/* A k that leaves nothing out measures what `k` absent measures, under a name that says
 * otherwise. */
static wa_status print_wide_k(const wa_table *t)
{
    const wa_result_meta *meta = &t->result->meta;
    for (size_t c = 0; c < meta->dims.cases; c++) {
        const wa_case *which = &meta->cases[c];
        const char *name;
        if (which->k == WA_K_ALL || which->k_all_layers == 0)
            continue;
        WA_TRY(wa_table_text(t, which->name, 0, &name));
        fprintf(t->out,
                "note: %s: k = %d takes all features of %zu of %zu layers, which are no wider\n",
                name, which->k, which->k_all_layers, meta->dims.layers);
    }
    return WA_OK;
}

/* A bound that holds at prompts this job has not is silent; a reader must know. */
static void print_absent_prompts(const wa_table *t)
{
    const wa_result_meta *meta = &t->result->meta;
    for (int b = 0; b < WA_BUCKET_COUNT; b++) {
        const wa_bound *bound = &t->judgement->bounds->bucket[b];
        for (size_t i = 0; i < bound->dp_prompt_count; i++) {
            bool found = false;
            for (size_t p = 0; p < meta->dims.prompts && !found; p++)
                found = strcmp(meta->prompt_key[p], bound->dp_prompts[i]) == 0;
            if (!found)
                fprintf(t->out,
                        "note: dp of bucket %s holds at prompt '%s', which is not in this job\n",
                        wa_bucket_name((wa_bucket)b), bound->dp_prompts[i]);
        }
    }
}

static wa_status print_head(const wa_table *t)
{
    const wa_result_meta *meta = &t->result->meta;
    const char *title;
    const char *model;
    WA_TRY(wa_table_text(t, meta->audit_name, 0, &title));
    WA_TRY(wa_table_text(t, meta->model_path, 0, &model));
    fprintf(t->out, "%s: %s (%s, semantics %s)\n", title, model, meta->model_family,
            meta->semantics);
    fprintf(t->out, "%zu layers, %zu prompts, %zu observations per layer; bounds: %s\n",
            meta->dims.layers, meta->dims.prompts, meta->dims.rows, t->judgement->bounds->name);
    print_sources(t);
    WA_TRY(print_modes(t));
    if (t->judgement->bounds->warning != NULL)
        fprintf(t->out, "warning: bounds %s: %s\n", t->judgement->bounds->name,
                t->judgement->bounds->warning);
    print_absent_prompts(t);
    WA_TRY(print_wide_k(t));
    return WA_OK;
}

/* --- Failures, equal cases, the reference ----------------------------------------------------- */

/* Of the cases that fail, or of those that do not, under a title of their own. */
static wa_status print_reasons(const wa_table *t, bool success, const char *title)
{
    bool any = false;
    for (size_t c = 0; c < wa_table_case_count(t); c++) {
        const wa_verdict *verdict = &t->judgement->cases[c].verdict;
        if (wa_verdict_is_success(verdict->code) != success || verdict->reason_count == 0)
            continue;
        const char *name;
        WA_TRY(wa_table_text(t, t->result->meta.cases[c].name, 0, &name));
        if (!any)
            fprintf(t->out, "\n%s\n", title);
        any = true;
        for (size_t i = 0; i < verdict->reason_count; i++)
            fprintf(t->out, "%s: %s: %s\n", name, wa_verdict_name(verdict->reason_codes[i]),
                    verdict->reasons[i]);
    }
    return WA_OK;
}

static bool are_equal(const wa_table *t, size_t a, size_t b)
{
    const wa_case_summary *first = &t->judgement->cases[a].summary,
                          *second = &t->judgement->cases[b].summary;
    return wa_table_has_run(t, a) && wa_table_has_run(t, b) &&
           memcmp(first->digest, second->digest, sizeof first->digest) == 0;
}

static bool is_first_of_group(const wa_table *t, size_t c)
{
    for (size_t b = 0; b < c; b++)
        if (are_equal(t, b, c))
            return false;
    return true;
}

static wa_status print_equal(const wa_table *t)
{
    bool any = false;
    for (size_t c = 0; c < wa_table_case_count(t); c++) {
        if (!is_first_of_group(t, c))
            continue;
        bool opened = false;
        for (size_t other = c + 1; other < wa_table_case_count(t); other++) {
            if (!are_equal(t, c, other))
                continue;
            const char *name;
            if (!opened) {
                WA_TRY(wa_table_text(t, t->result->meta.cases[c].name, 0, &name));
                fprintf(t->out, "equal bit for bit: %s", name);
            }
            opened = any = true;
            WA_TRY(wa_table_text(t, t->result->meta.cases[other].name, 0, &name));
            fprintf(t->out, " = %s", name);
        }
        if (opened)
            fputc('\n', t->out);
    }
    if (!any)
        fputs("equal bit for bit: no two cases\n", t->out);
    return WA_OK;
}

static wa_status fill_prompt(const wa_table *t, size_t p, wa_grid_cell *row)
{
    const wa_result *r = t->result;
    char *text;
    size_t ran = 0;
    size_t differ = 0;
    for (size_t c = 0; c < wa_table_case_count(t); c++) {
        bool says = wa_table_has_run(t, c) && !r->meta.cases[c].isolated; /* has a next token */
        ran += says ? 1 : 0;
        differ += says && r->top1_match[c * r->meta.dims.prompts + p] != 1 ? 1 : 0;
    }
    WA_TRY(wa_table_text(t, r->meta.prompt_key[p], 24, &row[0].text));
    WA_TRY(wa_show_token(r->ref_top1_text[p], 24, t->arena, &text, t->err));
    row[1].text = text;
    WA_TRY(wa_arena_print(t->arena, &text, t->err, "%.6f", r->ref_top1_prob[p]));
    row[2].text = text;
    WA_TRY(wa_arena_print(t->arena, &text, t->err, "%.3f", r->ref_margin[p]));
    row[3].text = text;
    WA_TRY(wa_arena_print(t->arena, &text, t->err, "%zu of %zu", differ, ran));
    row[4].text = text;
    return WA_OK;
}

/* A wrong model has no walk that could show it: its own text does. */
static wa_status print_perplexity(const wa_table *t)
{
    const wa_result *r = t->result;
    wa_perplexity perplexity =
        wa_perplexity_of(r->ref_nll, r->ref_nll_positions, r->meta.dims.prompts);
    const char *warning;
    if (perplexity.positions == 0)
        fputs("\ndense perplexity: no position of the prompts was measured\n", t->out);
    else
        fprintf(t->out, "\ndense perplexity: %.2f on %lld of the prompts' own tokens\n",
                perplexity.value, (long long)perplexity.positions);
    WA_TRY(wa_perplexity_warning(&perplexity, t->arena, &warning, t->err));
    if (warning != NULL)
        fprintf(t->out, "warning: %s\n", warning);
    if (t->judgement->drift_text == NULL)
        return WA_OK;
    fprintf(t->out, "reference%s: %s\n", t->judgement->drift.drifts ? ": " WA_REFERENCE_WORD : "",
            t->judgement->drift_text);
    return WA_OK;
}

static wa_status print_reference(const wa_table *t)
{
    static const wa_grid_column columns[] = {{"prompt", false},
                                             {"dense top-1", false},
                                             {"p", true},
                                             {"margin", true},
                                             {"cases that differ", true}};
    enum { COLUMNS = sizeof columns / sizeof columns[0] };
    const wa_result_meta *meta = &t->result->meta;
    size_t prompts = meta->dims.prompts;
    size_t shown = prompts < PROMPT_LINES ? prompts : PROMPT_LINES;
    wa_text_grid grid;
    WA_TRY(wa_text_grid_open(t->arena, columns, COLUMNS, shown, &grid, t->err));
    for (size_t p = 0; p < shown; p++)
        WA_TRY(fill_prompt(t, p, grid.cells + p * COLUMNS));
    fputs("\nThe dense model's next tokens\n", t->out);
    WA_TRY(wa_text_grid_print(&grid, t->out, t->colour, t->arena, t->err));
    if (shown < prompts)
        fprintf(t->out, "… and %zu more prompts in the file\n", prompts - shown);

    WA_TRY(print_perplexity(t));
    long long expected = (long long)(meta->dims.layers * prompts);
    fprintf(t->out, "dense FFN: %lld evaluations, %s %zu layers x %zu prompts\n",
            (long long)t->result->dense_evaluations,
            t->result->dense_evaluations == expected
                ? "one forward pass per prompt:"
                : "which is NOT one forward pass per prompt of",
            meta->dims.layers, prompts);
    return WA_OK;
}

static bool is_same_lack(const wa_not_offered *a, const wa_not_offered *b)
{
    return strcmp(a->path, b->path) == 0 && strcmp(a->reason, b->reason) == 0;
}

/* Of one vindex; -1 = of none. */
static bool is_lacking(const wa_result_meta *meta, const wa_not_offered *lack, int vindex)
{
    for (size_t i = 0; i < meta->not_offered_count; i++)
        if (meta->not_offered[i].vindex == vindex && is_same_lack(&meta->not_offered[i], lack))
            return true;
    return false;
}

/* For the same reason, of the same vindexes: one line says both. */
static bool is_told_with(const wa_result_meta *meta, const wa_not_offered *a,
                         const wa_not_offered *b)
{
    if (strcmp(a->reason, b->reason) != 0)
        return false;
    for (int v = -1; v < (int)meta->dims.vindexes; v++)
        if (is_lacking(meta, a, v) != is_lacking(meta, b, v))
            return false;
    return true;
}

/* The paths of a line, each once: "interleaved_kquant_native, interleaved_kquant_dequant". */
static void print_paths(const wa_table *t, size_t first)
{
    const wa_result_meta *meta = &t->result->meta;
    for (size_t i = first; i < meta->not_offered_count; i++) {
        bool is_new = is_told_with(meta, &meta->not_offered[i], &meta->not_offered[first]);
        for (size_t k = first; k < i && is_new; k++)
            is_new = !is_same_lack(&meta->not_offered[k], &meta->not_offered[i]);
        if (is_new)
            fprintf(t->out, "%s%s", i == first ? "not offered: " : ", ", meta->not_offered[i].path);
    }
}

/* One line per reason and the vindexes it holds of, with the paths. */
static wa_status print_lack(const wa_table *t, size_t first)
{
    const wa_result_meta *meta = &t->result->meta;
    const wa_not_offered *lack = &meta->not_offered[first];
    const char *reason;
    for (size_t i = 0; i < first; i++)
        if (is_told_with(meta, &meta->not_offered[i], lack))
            return WA_OK;
    WA_TRY(wa_table_text(t, lack->reason, 0, &reason));
    print_paths(t, first);
    fprintf(t->out, ": %s", reason);
    const char *before = " (";
    for (int v = 0; v < (int)meta->dims.vindexes; v++) {
        const char *name;
        if (!is_lacking(meta, lack, v))
            continue;
        WA_TRY(wa_table_text(t, meta->vindex_name[v], 0, &name));
        fprintf(t->out, "%s%s", before, name);
        before = ", ";
    }
    fputs(before[0] == ',' ? ")\n" : "\n", t->out);
    return WA_OK;
}

static wa_status print_not_offered(const wa_table *t)
{
    for (size_t i = 0; i < t->result->meta.not_offered_count; i++)
        WA_TRY(print_lack(t, i));
    return WA_OK;
}

/* --- End -------------------------------------------------------------------------------------- */

/* What a user would look at next: the vindex whose numbers are wrong, if any are; then the
 * report. */
static wa_status print_next(const wa_table *t)
{
    const wa_result_meta *meta = &t->result->meta;
    char *program, *command;
    WA_TRY(wa_program_word(t->arena, &program, t->err));
    for (size_t c = 0; c < wa_table_case_count(t); c++) {
        wa_verdict_code code = t->judgement->cases[c].verdict.code;
        int vindex = meta->cases[c].vindex;
        const char *word;
        if (wa_verdict_rank(code) > wa_verdict_rank(WA_VERDICT_ENCODING) || vindex < 0 ||
            (size_t)vindex >= meta->dims.vindexes)
            continue;
        WA_TRY(wa_show_word(meta->vindex_path[vindex], t->arena, &word, t->err));
        fprintf(t->out, "next: %s inspect %s\n", program, word);
        break;
    }
    WA_TRY(wa_program_report(t->result->path, t->arena, &command, t->err));
    fprintf(t->out, "next: %s\n", command);
    return WA_OK;
}

static wa_status print_end(const wa_table *t)
{
    size_t passed = 0;
    size_t measured = 0;
    size_t unchecked = 0;
    size_t not_run = 0;
    for (size_t c = 0; c < wa_table_case_count(t); c++) {
        passed += t->judgement->cases[c].verdict.code == WA_VERDICT_PASS ? 1 : 0;
        measured += t->judgement->cases[c].verdict.code == WA_VERDICT_MEASURED ? 1 : 0;
        unchecked += t->judgement->cases[c].verdict.code == WA_VERDICT_UNCHECKED ? 1 : 0;
        not_run += t->judgement->cases[c].verdict.code == WA_VERDICT_NOT_RUN ? 1 : 0;
    }
    size_t failed = wa_table_case_count(t) - passed - measured - unchecked;
    int code = t->judgement->exit_code;
    const char *meaning = "every case passes or is measured";
    char left[64] = "";
    if (unchecked > 0) {
        snprintf(left, sizeof left, "%zu unchecked, ", unchecked);
        meaning = "no case fails";
    }
    if (code != 0 && failed == 0 && wa_table_case_count(t) > 0)
        meaning = "no case of some vindex ran";
    else if (code != 0)
        meaning = wa_table_case_count(t) == not_run ? "no case ran" : "some case fails its verdict";
    if (code != 0 && failed == 0 && t->judgement->drift.drifts)
        meaning = "the reference drifts from its dump";
    fprintf(
        t->out,
        "\n%zu case%s: %zu pass, %zu measured (no bound for their bucket), %s%zu fail; exit code "
        "%d: %s\n",
        wa_table_case_count(t), wa_table_case_count(t) == 1 ? "" : "s", passed, measured, left,
        failed, code, meaning);
    return print_next(t);
}

static wa_status print_parts(const wa_table *t)
{
    WA_TRY(print_head(t));
    if (wa_table_case_count(t) > 0) {
        WA_TRY(wa_table_print_figures(t));
        WA_TRY(print_reasons(t, false, "Failures"));
        WA_TRY(print_reasons(t, true, "Unchecked"));
    }
    WA_TRY(wa_table_print_vindexes(t));
    if (wa_table_case_count(t) > 0) {
        WA_TRY(wa_table_print_places(t));
        WA_TRY(wa_table_print_basis(t));
        WA_TRY(wa_table_print_coverage(t));
        WA_TRY(wa_table_print_experts(t));
        WA_TRY(wa_table_print_ways(t));
        WA_TRY(wa_table_print_rates(t));
    }
    WA_TRY(print_reference(t));
    WA_TRY(print_equal(t));
    WA_TRY(print_not_offered(t));
    WA_TRY(print_end(t));
    if (fflush(t->out) != 0 || ferror(t->out))
        return wa_fail(t->err, WA_E_IO, "cannot write the table: %s", strerror(errno));
    return WA_OK;
}

wa_status wa_table_print(FILE *out, const wa_result *result, const wa_judgement *judgement,
                         bool colour, wa_error *err)
{
    wa_arena *arena;
    WA_TRY(wa_arena_open("table", 0, &arena, err));
    wa_table t = {.out = out,
                  .result = result,
                  .judgement = judgement,
                  .colour = colour,
                  .arena = arena,
                  .err = err};
    wa_status status = print_parts(&t);
    wa_arena_close(arena);
    return status;
}

/* NO_COLOR: https://no-color.org, any value but an empty one. */
bool wa_table_wants_colour(void)
{
    const char *refused = getenv("NO_COLOR");
    if (refused != NULL && refused[0] != '\0')
        return false;
    /* launchers hand their ranks a terminal, whatever their own output goes to */
    if (wa_launched_by() != NULL)
        return wa_launched_on_terminal(STDOUT_FILENO);
    return isatty(STDOUT_FILENO) != 0;
}
