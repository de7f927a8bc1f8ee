/* The routing ladder of upstream's WalkFfn::forward (walk-paths 2.2, 2.3) as one table, walked top
 * down. */
#include "path/path.h"

/* Hit lists of at least this many features take the parallel loop (walk-paths 2.3, row d). */
enum { PARALLEL_HITS = 512 };

typedef const wa_ladder_facts facts;

/* "Full K": unset, or at least floor(8 F / 10) (walk-paths 2.1). F / 10 first, since 8 F may
 * overflow. */
static bool full_k(facts *f)
{
    size_t most = f->features / 10 * 8 + f->features % 10 * 8 / 10;
    return !f->k_is_set || f->k >= most;
}

static size_t hit_count(facts *f)
{
    if (!f->gate_scores)
        return 0;
    return f->k_is_set && f->k < f->features ? f->k : f->features;
}

/* Walk-paths 2.3, row a: the sparse walk declines unless some storage has rows. interleaved.bin does not
 * count. */
static bool sparse_has_rows(facts *f)
{
    return (f->up_matrix && f->down_matrix) || f->q4k_layer || f->has_fp4;
}

/* Steps 5 and 6 lead into the sparse walk; step 3 did so earlier and took rows e of it only. */
static bool enters_sparse(facts *f)
{
    return (f->overrides || f->k_is_set || f->has_fp4) && sparse_has_rows(f);
}

static bool no_features(facts *f)
{
    return f->features == 0;
}

static bool overridden_serial(facts *f)
{
    return f->overrides && sparse_has_rows(f) && f->rows_covered;
}

static bool cached(facts *f)
{
    return f->positions == 1 && f->l1_hit;
}

static bool gemv_full_k(facts *f)
{
    bool up = f->up_matrix || (f->q4k_layer && f->q4k_up_rows);
    bool down = f->down_matrix || (f->q4k_layer && f->q4k_down_rows);
    return enters_sparse(f) && !f->overrides && f->gated && full_k(f) && f->gate_scores && up &&
           down;
}

static bool parallel_loop(facts *f)
{
    return enters_sparse(f) && !f->overrides && f->gated && hit_count(f) >= PARALLEL_HITS &&
           !f->down_matrix && f->q4k_layer;
}

static bool parallel_panics(facts *f)
{
    return parallel_loop(f) && !f->up_matrix && !f->q4k_up_rows;
}

static bool all_parallel(facts *f)
{
    return parallel_loop(f) && !f->some_short_hits;
}

static bool serial(facts *f)
{
    return enters_sparse(f) && f->rows_covered;
}

static bool q4_batched(facts *f)
{
    return f->has_interleaved_q4 && f->backend_q4 && f->q4_layer && f->backend_q4_batched;
}

/* Upstream admits the backend here and then panics for want of the pair kernel; ours is a kernel
 * (Q10). */
static bool q4_cpu(facts *f)
{
    return f->has_interleaved_q4 && f->backend_q4 && f->q4_layer;
}

static bool interleaved(facts *f)
{
    return f->has_interleaved && f->interleaved_layer;
}

static bool three_files(facts *f)
{
    return f->gate_scores && f->up_matrix && f->down_matrix;
}

static bool full_mmap(facts *f)
{
    return f->has_full_mmap && three_files(f);
}

static bool dequant(facts *f)
{
    return f->has_interleaved_q4k && f->q4k_layer;
}

static bool dequant_panics(facts *f)
{
    return dequant(f) && !f->q4k_whole_blocks;
}

static bool exact(facts *f)
{
    return f->has_down_features && f->model_up && f->down_matrix;
}

/* Walk-paths 4.8: upstream's report calls this a fallthrough to full_mmap; the code uses the model's own
 * down. */
static bool exact_model_down(facts *f)
{
    return f->has_down_features && f->model_up;
}

static bool exact_without_model(facts *f)
{
    return f->has_down_features && three_files(f);
}

static bool exact_panics(facts *f)
{
    return f->has_down_features;
}

static bool override_selected(facts *f)
{
    return f->overrides || f->selected_override;
}

static bool always(facts *f)
{
    (void)f;
    return true;
}

/* First match wins. A step that declines is one whose predicate fails. */
static const struct rung {
    const char *step; /* row of walk-paths 2.2, letter of a row of walk-paths 2.3 */
    bool (*holds)(facts *f);
    wa_label label;
} LADDER[] = {
    {"1", no_features, WA_LABEL_ZERO_FEATURES_DENSE},
    {"3e", overridden_serial, WA_LABEL_SPARSE_SERIAL},
    {"4", cached, WA_LABEL_L1_CACHE_HIT},
    {"5-6b", gemv_full_k, WA_LABEL_SPARSE_GEMV_FULL_K},
    {"5-6d", parallel_panics, WA_LABEL_NONE},
    {"5-6d", all_parallel, WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN},
    {"5-6e", serial, WA_LABEL_SPARSE_SERIAL},
    {"7", q4_batched, WA_LABEL_INTERLEAVED_Q4_METAL},
    {"7", q4_cpu, WA_LABEL_INTERLEAVED_Q4_CPU},
    {"8", interleaved, WA_LABEL_INTERLEAVED},
    {"9", full_mmap, WA_LABEL_FULL_MMAP},
    {"10", dequant_panics, WA_LABEL_NONE},
    {"10", dequant, WA_LABEL_INTERLEAVED_Q4K_DEQUANT},
    {"11", exact, WA_LABEL_EXACT},
    {"11", exact_model_down, WA_LABEL_EXACT_MODEL_DOWN},
    {"11", exact_without_model, WA_LABEL_FULL_MMAP},
    {"11", exact_panics, WA_LABEL_NONE},
    {"12", override_selected, WA_LABEL_WEIGHTS_FALLBACK_OVERRIDE},
    {"12", always, WA_LABEL_WEIGHTS_FALLBACK_SPARSE},
};

wa_label wa_ladder_route(const wa_ladder_facts *f)
{
    const struct rung *rung = LADDER;
    while (!rung->holds(f))
        rung++; /* ends: the last row always holds */
    return rung->label;
}
