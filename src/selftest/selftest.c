/* From a model to tables: formats one after another, each in a directory that goes when it is
 * done. */
#include "selftest/selftest.h"

#include "base/durable.h"
#include "base/staging.h"
#include "model/synth.h"
#include "selftest/show.h"

#include <errno.h>
#include <unistd.h>

/* --- What to test ----------------------------------------------------------------------------- */

/* Without a choice, every format of such models. */
static bool is_chosen(const wa_bench *bench, const wa_bench_format *format)
{
    const wa_selftest_options *options = bench->options;
    for (size_t i = 0; i < options->format_count; i++)
        if (strcmp(options->formats[i], format->name) == 0)
            return true;
    bool fits = wa_bench_has_experts(bench) ? format->experts : format->dense;
    return options->format_count == 0 && fits;
}

static wa_status check_formats(const wa_selftest_options *options, wa_error *err)
{
    for (size_t i = 0; i < options->format_count; i++) {
        char names[256] = "";
        bool known = false;
        for (size_t f = 0; wa_selftest_format_name(f) != NULL; f++) {
            size_t used = strlen(names);
            snprintf(names + used, sizeof names - used, "%s%s", f == 0 ? "" : ", ",
                     wa_selftest_format_name(f));
            known = known || strcmp(options->formats[i], wa_selftest_format_name(f)) == 0;
        }
        if (!known)
            return wa_fail(err, WA_E_USAGE, "format '%s', expected some of: %s",
                           options->formats[i], names);
    }
    return WA_OK;
}

/* Float weights: no two formats store them alike. Wide enough for padding: 256 is one block. So many
 * experts that the prompts of the audits do not reach all. */
static wa_status make_model(wa_bench *bench, const char **words, wa_error *err)
{
    wa_synth_options synth = {
        .family = "llama", .shape = "tiny", .seed = bench->options->seed, .dtype = WA_FORMAT_F32};
    wa_synth_report report;
    char *path, *text, with[64] = "";
    if (bench->options->experts) {
        synth.family = "qwen3_moe";
        synth.layers = 3;
        synth.experts = 24;
        synth.chosen = 2;
        synth.features = 64;
        snprintf(with, sizeof with, "\n--layers %zu --experts %zu --chosen %zu --features %zu",
                 synth.layers, synth.experts, synth.chosen, synth.features);
    }
    WA_TRY(wa_arena_print(bench->arena, &path, err, "%s/model", bench->directory));
    WA_TRY(wa_synth(path, &synth, bench->arena, &report, err));
    WA_TRY(wa_arena_print(bench->arena, &text, err,
                          "`synth --family %s --shape tiny --dtype f32 --seed %llu%s`",
                          synth.family, (unsigned long long)synth.seed, with));
    bench->model_path = "model"; /* beside the job */
    *words = text;
    wa_model *model;
    WA_TRY(wa_model_open(path, WA_SEMANTICS_NATIVE, bench->arena, &model, err));
    bench->model = model;
    return WA_OK;
}

static wa_status open_model(wa_bench *bench, const char **words, wa_error *err)
{
    const char *given = bench->options->model;
    char *path;
    if (given == NULL)
        return make_model(bench, words, err);
    char here[WA_NAME_BYTES] = "";
    if (given[0] != '/' && getcwd(here, sizeof here) == NULL)
        return wa_fail(err, WA_E_IO, "cannot tell the working directory: %s", strerror(errno));
    WA_TRY(wa_arena_print(bench->arena, &path, err, "%s%s%s", here, here[0] == '\0' ? "" : "/",
                          given));
    const char *slash = strrchr(path, '/');
    bench->model_path = path;
    *words = slash + 1;
    wa_model *model;
    WA_TRY(wa_model_open(path, WA_SEMANTICS_NATIVE, bench->arena, &model, err));
    bench->model = model;
    return WA_OK;
}

/* --- One format ------------------------------------------------------------------------------- */

/* Has such a matrix been measured: the same projection, made the same way? In quick runs a number
 * format is measured once. */
static bool is_measured(const wa_selftest_findings *f, const wa_bench *bench,
                        const wa_bench_target *target)
{
    for (size_t i = 0; i < f->threshold_count; i++) {
        const wa_bench_target *other = &f->thresholds[i].threshold.target;
        bool alike = other->format == target->format && other->source == target->source;
        if (alike && (bench->options->quick || other->projection == target->projection))
            return true;
    }
    return false;
}

static wa_status measure(const wa_bench *bench, const wa_bench_target *target,
                         wa_selftest_findings *f, wa_error *err)
{
    bool blocks = wa_format_get(target->format)->encode != NULL;
    if (is_measured(f, bench, target))
        return WA_OK;
    for (int e = WA_BENCH_OURS; e <= (blocks ? WA_BENCH_OTHER : WA_BENCH_OURS); e++) {
        if (f->threshold_count == WA_SELFTEST_MATRICES)
            return wa_fail(err, WA_E_INTERNAL, "more than %d matrices", WA_SELFTEST_MATRICES);
        f->thresholds[f->threshold_count].format = bench->format.name;
        WA_TRY(wa_search(bench, target, (wa_bench_encoder)e,
                         &f->thresholds[f->threshold_count].threshold, err));
        f->threshold_count++;
    }
    for (size_t i = 0; i < f->bits_count; i++)
        if (f->bits[i].bits.target.format == target->format &&
            f->bits[i].bits.target.source == target->source)
            return WA_OK;
    f->bits[f->bits_count].format = bench->format.name;
    WA_TRY(wa_bits_run(bench, target, &f->bits[f->bits_count].bits, err));
    f->bits_count++;
    return WA_OK;
}

/* What is kept of outcomes outlives the format's arena. */
static wa_status keep_outcomes(wa_bench *bench, wa_arena *arena, wa_selftest_findings *f,
                               wa_error *err)
{
    size_t at = f->format_count - 1;
    wa_outcome *outcomes = NULL;
    WA_TRY(wa_arena_take(arena, WA_AUDITS_MOST, sizeof *outcomes, &outcomes, err));
    WA_TRY(wa_audits_run(bench, outcomes, &f->outcome_count[at], err));
    for (size_t i = 0; i < f->outcome_count[at]; i++) {
        char *reason;
        if (outcomes[i].reason == NULL)
            continue;
        WA_TRY(wa_arena_copy(arena, outcomes[i].reason, strlen(outcomes[i].reason), &reason, err));
        outcomes[i].reason = reason;
    }
    f->outcomes[at] = outcomes;
    return WA_OK;
}

static wa_status test_format(wa_bench *bench, const wa_bench_format *format, wa_arena *arena,
                             wa_selftest_findings *f, wa_error *err)
{
    size_t kernels;
    wa_error why = {.status = WA_OK};
    wa_status status = wa_bench_open(bench, format, &why);
    if (status == WA_E_UNSUPPORTED) { /* ungated models have no block formats */
        char *notes;
        WA_TRY(wa_arena_print(arena, &notes, err, "%sNot tested: %s: %s\n", f->notes, format->name,
                              why.text));
        f->notes = notes;
        return WA_OK;
    }
    if (status != WA_OK) {
        if (err != NULL)
            *err = why;
        return status;
    }
    f->formats[f->format_count++] = format->name;
    for (size_t t = 0; t < bench->target_count; t++)
        WA_TRY(measure(bench, &bench->targets[t], f, err));
    if (bench->options->thresholds)
        return WA_OK;
    WA_TRY(keep_outcomes(bench, arena, f, err));
    WA_TRY(wa_kernels_run(bench, f->kernels + f->kernel_count, &kernels, err));
    f->kernel_count += kernels;
    return WA_OK;
}

/* In an arena and a directory of its own: copies of a large model's vindex are many gigabytes. */
static wa_status test_apart(const wa_bench *general, const wa_bench_format *format, wa_arena *arena,
                            wa_selftest_findings *f, wa_error *err)
{
    wa_bench bench = *general;
    char *inside;
    WA_TRY(wa_arena_print(arena, &inside, err, "%s/%s", general->directory, format->name));
    bench.directory = inside;
    if (general->options->model == NULL)
        bench.model_path = "../model";
    WA_TRY(wa_directory_make(inside, err));
    WA_TRY(wa_arena_open("format", 0, &bench.arena, err));
    wa_status status = test_format(&bench, format, arena, f, err);
    wa_bench_close(&bench);
    wa_arena_close(bench.arena);
    wa_staging_abandon(&(wa_staging){.temp_path = inside});
    return status;
}

/* --- All of it -------------------------------------------------------------------------------- */

static wa_status test_all(wa_bench *bench, wa_arena *arena, bool *sound, wa_error *err)
{
    wa_selftest_findings *findings;
    wa_bench_format format;
    WA_TRY(wa_arena_take(arena, 1, sizeof *findings, &findings, err));
    findings->notes = "";
    WA_TRY(open_model(bench, &findings->model, err));
    wa_status status = WA_OK;
    for (size_t i = 0; status == WA_OK && wa_bench_format_at(i, &format); i++)
        if (is_chosen(bench, &format))
            status = test_apart(bench, &format, arena, findings, err);
    if (status == WA_OK)
        status = wa_selftest_show(findings, bench->options, sound, err);
    return status;
}

wa_status wa_selftest_run(wa_comm *comm, const wa_selftest_options *options, wa_arena *arena,
                          bool *sound, wa_error *err)
{
    char *wanted;
    wa_staging place;
    WA_TRY(check_formats(options, err));
    WA_TRY(wa_arena_print(arena, &wanted, err, "%s/walkaudit-selftest", options->directory));
    WA_TRY(wa_staging_open(wanted, false, arena, &place, err));
    wa_bench bench = {
        .options = options, .comm = comm, .directory = place.temp_path, .arena = arena};
    wa_status status = test_all(&bench, arena, sound, err);
    if (bench.model != NULL)
        wa_model_close((wa_model *)bench.model);
    wa_staging_abandon(&place);
    return status;
}
