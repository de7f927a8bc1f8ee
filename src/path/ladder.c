/* The routing ladders of upstream's WalkFfn::forward, of May (walk-paths 2.2, 2.3) and of August
 * 2026 (larql-2026-08 2.1), as one table, walked top down. */
#include "path/ladder.h"

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

/* Walk-paths 2.3, row a: the sparse walk declines unless some storage has rows. interleaved.bin
 * does not count. */
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

/* Walk-paths 4.8: upstream's report calls this a fallthrough to full_mmap; the code uses the
 * model's own down. */
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

static bool native(facts *f)
{
    return dequant(f) && f->gated && f->kquant_whole_rows;
}

/* August: a sparse walk that declines under overrides leaves rungs 2 to 9 untried. (Its base_delta
 * needs overrides and feature-major K-quants, which LARQL's audit never forwards: no facts of ours
 * lead there.) */
static bool overridden(facts *f)
{
    return f->overrides;
}

enum { MAY = 1 << WA_LADDER_2026_05, AUGUST = 1 << WA_LADDER_2026_08, BOTH = MAY | AUGUST };

/* First match wins. A step that declines is one whose predicate fails. Columns: row of walk-paths
 * 2.2 with the letter of a row of walk-paths 2.3; whose ladder has it; and what is said where it is
 * passed over, NULL = nothing. */
static const struct rung {
    const char *step;
    int of;
    bool (*holds)(facts *f);
    wa_label label;
    const char *name, *lack;
} LADDER[] = {
    {"1", BOTH, no_features, WA_LABEL_ZERO_FEATURES_DENSE, NULL, NULL},
    {"3e", BOTH, overridden_serial, WA_LABEL_SPARSE_SERIAL, NULL, NULL},
    {"3", AUGUST, overridden, WA_LABEL_WEIGHTS_FALLBACK_OVERRIDE, NULL, NULL},
    {"4", BOTH, cached, WA_LABEL_L1_CACHE_HIT, NULL, NULL},
    {"5-6b", BOTH, gemv_full_k, WA_LABEL_SPARSE_GEMV_FULL_K, NULL, NULL},
    {"5-6d", BOTH, parallel_panics, WA_LABEL_NONE, NULL, NULL},
    {"5-6d", BOTH, all_parallel, WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN, NULL, NULL},
    {"5-6e", BOTH, serial, WA_LABEL_SPARSE_SERIAL, "sparse",
     "neither a K nor FP4 storage, or rows are missing"},
    {"6a", AUGUST, native, WA_LABEL_INTERLEAVED_KQUANT_NATIVE, "interleaved_kquant:native",
     "no K-quants of whole blocks of a gated FFN"},
    {"7", BOTH, q4_batched, WA_LABEL_INTERLEAVED_Q4_METAL, NULL, NULL},
    {"7", BOTH, q4_cpu, WA_LABEL_INTERLEAVED_Q4_CPU, "interleaved_q4",
     "no Q4_0 file or no backend that takes it"},
    {"8", BOTH, interleaved, WA_LABEL_INTERLEAVED, "interleaved", "no f32 interleaved file"},
    {"9", BOTH, full_mmap, WA_LABEL_FULL_MMAP, "full_mmap",
     "gate, up or down features are missing"},
    {"10", BOTH, dequant_panics, WA_LABEL_NONE, NULL, NULL},
    {"10", MAY, dequant, WA_LABEL_INTERLEAVED_Q4K_DEQUANT, "interleaved_q4k:dequant",
     "no K-quants"},
    {"10", AUGUST, dequant, WA_LABEL_INTERLEAVED_KQUANT_DEQUANT, "interleaved_kquant:dequant",
     "no K-quants"},
    {"11", BOTH, exact, WA_LABEL_EXACT, NULL, NULL},
    {"11", BOTH, exact_model_down, WA_LABEL_EXACT_MODEL_DOWN, NULL, NULL},
    {"11", BOTH, exact_without_model, WA_LABEL_FULL_MMAP, NULL, NULL},
    {"11", BOTH, exact_panics, WA_LABEL_NONE, "exact", "no down features"},
    {"12", BOTH, override_selected, WA_LABEL_WEIGHTS_FALLBACK_OVERRIDE, NULL, NULL},
    {"12", BOTH, always, WA_LABEL_WEIGHTS_FALLBACK_SPARSE, NULL, NULL},
};

static bool takes(const struct rung *rung, facts *f)
{
    return (rung->of & 1 << f->ladder) != 0 && rung->holds(f);
}

wa_label wa_ladder_route(const wa_ladder_facts *f)
{
    const struct rung *rung = LADDER;
    while (!takes(rung, f))
        rung++; /* ends: the last row always holds */
    return rung->label;
}

wa_status wa_ladder_explain(const wa_ladder_facts *f, wa_arena *arena, const char **out,
                            wa_error *err)
{
    wa_label label = wa_ladder_route(f);
    char *text;
    WA_TRY(wa_arena_print(arena, &text, err, "%s: selected",
                          label == WA_LABEL_NONE ? "panic" : wa_label_text(label)));
    for (const struct rung *rung = LADDER; !takes(rung, f); rung++)
        if (rung->name != NULL && (rung->of & 1 << f->ladder) != 0)
            WA_TRY(wa_arena_print(arena, &text, err, "%s; %s skipped: %s", text, rung->name,
                                  rung->lack));
    *out = text;
    return WA_OK;
}
