/* What a plan costs. */
#include "cli/plan_sums.h"

#include "base/bytes.h"
#include "engine/pipeline.h"
#include "job/plan_checks.h"
#include "report/grid.h"

#include <math.h>
#include <stdio.h>

/* Below this many batches a group, ranks wait for each other (design 10). */
enum { FEW_BATCHES = 4 };

/* "1.5 GB": three digits are enough to judge by. */
wa_status wa_plan_amount(double amount, const char *unit, wa_arena *arena, char **out,
                         wa_error *err)
{
    static const char *const prefixes[] = {"", "k", "M", "G", "T", "P", "E"};
    size_t at = 0;
    while (amount >= 999.5 && at + 1 < sizeof prefixes / sizeof prefixes[0]) {
        amount /= 1000.0;
        at++;
    }
    int digits = at == 0 || amount >= 99.95 ? 0 : amount >= 9.995 ? 1 : 2;
    return wa_arena_print(arena, out, err, "%.*f %s%s", digits, amount, prefixes[at], unit);
}

/* --- Time ------------------------------------------------------------------------------------- */

/* Norms, activations, softmax, comparing, memory touched for the first time: what a run takes for
 * one second of products and packing. By tests/bench/bench_plan.py 1.0 to 1.26: doc/speed.md. */
static const double BESIDE_PRODUCTS = 1.1;

static double seconds_until_done(const wa_plan *plan, double rate)
{
    return BESIDE_PRODUCTS * plan->flops_until_done / rate;
}

/* --- Figures ---------------------------------------------------------------------------------- */

/* Payload of every measured field (block.h); strings and HDF5's own structures come on top. */
static double result_bytes(const wa_dims *dims)
{
    const wa_extents extents = {.dims = *dims};
    double total = 0.0;
    for (int f = 0; f < WA_FIELD_COUNT; f++) {
        const wa_layout *row = wa_layout_of_field((wa_field)f);
        size_t shape[WA_LAYOUT_RANK];
        double bytes = wa_layout_exists(row, &extents) ? (double)wa_layout_size(row) : 0.0;
        for (size_t d = wa_layout_shape(row, &extents, shape); d-- > 0;)
            bytes *= (double)shape[d];
        total += bytes;
    }
    return total;
}

static wa_status count_traffic(const wa_audit *audit, const wa_plan_input *input,
                               const wa_plan *plan, wa_arena *arena, wa_traffic *out, wa_error *err)
{
    wa_dims dims = wa_audit_dims(audit);
    size_t *lanes;
    WA_TRY(wa_arena_take(arena, (size_t)plan->grid.teams, sizeof *lanes, &lanes, err));
    for (int m = 0; m < plan->grid.teams; m++)
        lanes[m] = wa_plan_seat_cost(input, plan, 0, m).lanes;
    return wa_pipeline_traffic(plan, &dims, input->hidden, lanes, input->nodes, arena, out, err);
}

/* Share of a group's time that passes until its last stage has something to do. */
static double fill_of(const wa_plan *plan)
{
    double batches = (double)plan->batch_count / plan->grid.groups;
    return (plan->grid.stages - 1) / (batches + plan->grid.stages - 1);
}

static wa_status print_time(double seconds, wa_arena *arena, char **out, wa_error *err)
{
    if (seconds < 600.0)
        return wa_arena_print(arena, out, err, "%.3g s", seconds);
    if (seconds < 36000.0)
        return wa_arena_print(arena, out, err, "%.0f min", seconds / 60.0);
    return wa_arena_print(arena, out, err, "%.3g h", seconds / 3600.0);
}

/* Of computing, with both checks. */
static double whole_seconds(const wa_plan_figures *f)
{
    return f->seconds + f->kernel_check_seconds + f->encoding_check_seconds;
}

wa_status wa_plan_figures_take(const wa_audit *audit, const wa_plan_input *input,
                               const wa_plan *plan, wa_arena *arena, wa_plan_figures *f,
                               wa_error *err)
{
    wa_dims dims = wa_audit_dims(audit);
    if (f->given > 0.0)
        f->rate = (wa_plan_rate){.flops_per_second = f->given};
    else
        WA_TRY(wa_plan_rate_measure(input, plan, audit->job->engine, arena, &f->rate, err));
    f->seconds = seconds_until_done(plan, f->rate.flops_per_second);
    wa_check_costs checks = wa_plan_check_costs(input, plan, f->rate.flops_per_second);
    f->kernel_check_seconds = checks.kernel;
    f->encoding_check_seconds = checks.encoding;
    f->encoding_check_bytes = checks.encoding_bytes;
    f->fill = fill_of(plan);
    f->result_bytes = result_bytes(&dims);
    if (audit->captures != NULL &&
        !wa_captures_forecast(audit->captures, plan, &f->capture_bytes, &f->capture_files))
        return wa_fail(err, WA_E_UNSUPPORTED, "the size of the captures overflows");
    return count_traffic(audit, input, plan, arena, &f->traffic, err);
}

/* --- Printing --------------------------------------------------------------------------------- */

/* Where the rate is from. */
static wa_status tell_source(const wa_plan_rate *rate, wa_engine engine, wa_arena *arena,
                             char **out, wa_error *err)
{
    if (rate->threads == 0)
        return wa_arena_print(arena, out, err, "as given");
    if (rate->threads == 1)
        return wa_arena_print(arena, out, err, "measured here, engine %s", wa_engine_name(engine));
    return wa_arena_print(arena, out, err, "measured here, %d at once, engine %s", rate->threads,
                          wa_engine_name(engine));
}

wa_status wa_plan_print_sums(const wa_audit *audit, const wa_plan_input *input, const wa_plan *plan,
                             double flops_per_second, wa_arena *arena, wa_error *err)
{
    char *memory, *size, *busiest, *path, *time, *layers, *kernel, *encoding, *compared, *captures;
    char *source;
    wa_plan_figures f = {.given = flops_per_second};
    WA_TRY(wa_plan_figures_take(audit, input, plan, arena, &f, err));
    WA_TRY(wa_plan_amount((double)plan->anonymous_bytes, "B", arena, &memory, err));
    WA_TRY(wa_plan_amount(f.result_bytes, "B", arena, &size, err));
    WA_TRY(wa_plan_amount((double)f.capture_bytes, "B", arena, &captures, err));
    WA_TRY(wa_plan_amount(plan->flops_per_rank_max, "FLOP", arena, &busiest, err));
    WA_TRY(wa_audit_result_path(audit, NULL, &path, err));
    WA_TRY(print_time(whole_seconds(&f), arena, &time, err));
    WA_TRY(print_time(f.seconds, arena, &layers, err));
    WA_TRY(print_time(f.kernel_check_seconds, arena, &kernel, err));
    WA_TRY(print_time(f.encoding_check_seconds, arena, &encoding, err));
    WA_TRY(wa_plan_amount(f.encoding_check_bytes, "B", arena, &compared, err));
    WA_TRY(tell_source(&f.rate, audit->job->engine, arena, &source, err));
    printf(
        "memory:  %s per rank beside the mapped files, the vocabulary (rank 0) and the libraries\n",
        memory);
    printf("result:  %s, about %s\n", path, size);
    if (audit->captures != NULL)
        printf("captures: %s (%zu bytes of values) in %zu files\n", captures, f.capture_bytes,
               f.capture_files);
    printf("messages: %lld of %lld bytes in all, %lld bytes to rank 0\n",
           (long long)f.traffic.messages, (long long)f.traffic.bytes,
           (long long)f.traffic.bytes_to_root);
    printf("load:    busiest rank %s, predicted utilisation %.0f %%, %.0f %% of the time to fill "
           "the stages\n",
           busiest, 100.0 * plan->predicted_utilisation, 100.0 * f.fill);
    printf("time:    about %s of computing at %.1f GFLOP/s a rank (%s): layers and logits %s, "
           "kernel check %s, encoding check %s\n"
           "         starting, reading files and writing the result come on top\n",
           time, f.rate.flops_per_second / 1e9, source, layers, kernel, encoding);
    if (f.encoding_check_bytes > 0.0)
        printf("         the encoding check reads %s on the rank that compares most, once\n",
               compared);
    return WA_OK;
}

static wa_status fill_count(const wa_plan *plan, const wa_plan_figures *f, wa_text_grid *grid,
                            size_t row, wa_arena *arena, wa_error *err)
{
    char *cells[10];
    size_t at = 0;
    const wa_grid *g = &plan->grid;
    WA_TRY(wa_arena_print(arena, &cells[at++], err, "%d", g->used + g->idle));
    WA_TRY(
        wa_arena_print(arena, &cells[at++], err, "%d x %d x %d", g->groups, g->stages, g->teams));
    WA_TRY(wa_arena_print(arena, &cells[at++], err, "%d", g->idle));
    WA_TRY(wa_arena_print(arena, &cells[at++], err, "%.0f %%", 100.0 * f->fill));
    WA_TRY(
        wa_arena_print(arena, &cells[at++], err, "%.0f %%", 100.0 * plan->predicted_utilisation));
    WA_TRY(print_time(whole_seconds(f), arena, &cells[at++], err));
    WA_TRY(wa_arena_print(arena, &cells[at++], err, "%lld", (long long)f->traffic.messages));
    WA_TRY(wa_plan_amount((double)f->traffic.bytes, "B", arena, &cells[at++], err));
    WA_TRY(wa_plan_amount((double)f->traffic.bytes_to_root, "B", arena, &cells[at++], err));
    WA_TRY(wa_plan_amount((double)plan->anonymous_bytes, "B", arena, &cells[at++], err));
    for (size_t column = 0; column < at; column++)
        grid->cells[row * grid->column_count + column].text = cells[column];
    return WA_OK;
}

/* As many ranks a node as the largest number has, which has all nodes. */
static int nodes_of(const wa_plan_input *input, const int *ranks, size_t count, size_t i)
{
    int most = 1;
    for (size_t k = 0; k < count; k++)
        most = ranks[k] > most ? ranks[k] : most;
    int per_node = (most + input->nodes - 1) / input->nodes;
    return count == 1 ? input->nodes : (ranks[i] + per_node - 1) / per_node;
}

wa_status wa_plan_one_of(const wa_plan_input *input, const int *ranks, size_t count, size_t i,
                         wa_arena *arena, wa_plan_input *own, wa_plan **out, wa_error *err)
{
    *own = *input;
    own->nodes = nodes_of(input, ranks, count, i);
    return wa_plan_build(own, ranks[i], arena, out, err);
}

wa_status wa_plan_print_counts(const wa_audit *audit, const wa_plan_input *input, const int *ranks,
                               size_t count, double flops_per_second, bool quiet, wa_arena *arena,
                               wa_error *err)
{
    static const wa_grid_column columns[] = {{"ranks", true},     {"groups x stages x teams", true},
                                             {"idle", true},      {"fill", true},
                                             {"busy", true},      {"time", true},
                                             {"messages", true},  {"bytes", true},
                                             {"to rank 0", true}, {"memory", true}};
    enum { COLUMNS = sizeof columns / sizeof columns[0] };
    wa_plan_figures f = {.given = flops_per_second};
    wa_plan **plans;
    wa_text_grid grid;
    double least = INFINITY, most = 0.0;
    WA_TRY(wa_text_grid_open(arena, columns, COLUMNS, count, &grid, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *plans, &plans, err));
    for (size_t i = 0; i < count; i++) {
        wa_plan_input some;
        WA_TRY(wa_plan_one_of(input, ranks, count, i, arena, &some, &plans[i], err));
        WA_TRY(wa_plan_figures_take(audit, &some, plans[i], arena, &f, err));
        WA_TRY(fill_count(plans[i], &f, &grid, i, arena, err));
        least = fmin(least, f.rate.flops_per_second);
        most = fmax(most, f.rate.flops_per_second);
    }
    /* each number of ranks has its own */
    const wa_plan_rate any = {.threads = f.rate.threads > 0 ? 1 : 0};
    char *size, *rates, *source;
    WA_TRY(tell_source(&any, audit->job->engine, arena, &source, err));
    if (least < most)
        WA_TRY(wa_arena_print(arena, &rates, err, "%.1f to %.1f", least / 1e9, most / 1e9));
    else
        WA_TRY(wa_arena_print(arena, &rates, err, "%.1f", most / 1e9));
    WA_TRY(wa_plan_amount(f.result_bytes, "B", arena, &size, err));
    printf("%zu batches; times at %s GFLOP/s a rank (%s); result about %s\n\n",
           plans[0]->batch_count, rates, source, size);
    WA_TRY(wa_text_grid_print(&grid, stdout, false, arena, err));
    fflush(stdout);
    for (size_t i = 0; !quiet && i < count; i++)
        wa_plan_print_warnings(plans[i]);
    return WA_OK;
}

void wa_plan_print_warnings(const wa_plan *plan)
{
    if (plan->grid.idle > 0)
        fprintf(stderr, "walkaudit: warning: %d of %d ranks would be idle\n", plan->grid.idle,
                plan->grid.idle + plan->grid.used);
    if (plan->grid.groups > 1 || plan->grid.stages > 1)
        if (plan->batch_count < (size_t)(FEW_BATCHES * plan->grid.groups))
            fprintf(stderr,
                    "walkaudit: warning: %d ranks: %zu batch%s for %d group%s of %d stage%s; below "
                    "%d per "
                    "group ranks wait for each other: smaller batch.rows or fewer ranks help\n",
                    plan->grid.idle + plan->grid.used, plan->batch_count,
                    plan->batch_count == 1 ? "" : "es", plan->grid.groups,
                    plan->grid.groups == 1 ? "" : "s", plan->grid.stages,
                    plan->grid.stages == 1 ? "" : "s", FEW_BATCHES);
}
