/* Results that are finished: judged again, stored anew, looked at. */
#include "run/judged.h"

#include "run/failure.h"

#include <string.h>

/* --- Judging --- */

/* Is the stored judgement this one? All figures follow from observations and bounds, so verdicts
 * and bounds tell. */
static wa_status is_stored(const wa_judged *it, wa_arena *arena, bool *out, wa_error *err)
{
    wa_bounds *before;
    char *own, *stored;
    wa_judgement *judgement;
    wa_error ignored = {.status = WA_OK};
    *out = false;
    if (wa_judgement_load(it->result, arena, &judgement, &ignored) != WA_OK)
        return WA_OK; /* whatever stands there, it is no judgement that could stay */
    WA_TRY(wa_judgement_bounds(it->result, arena, &before, err));
    WA_TRY(wa_bounds_store(before, arena, &stored, err));
    WA_TRY(wa_bounds_store(it->judgement->bounds, arena, &own, err));
    *out = strcmp(own, stored) == 0;
    for (size_t c = 0; *out && c < judgement->case_count; c++)
        *out = strcmp(judgement->cases[c].reasons, it->judgement->cases[c].reasons) == 0 &&
               judgement->cases[c].code == it->judgement->cases[c].code;
    return WA_OK;
}

static wa_status judge_open(const wa_judge_order *order, wa_arena *arena, wa_judged *out,
                            wa_error *err)
{
    const wa_bounds *bounds = order->bounds;
    wa_bounds *before;
    if (bounds == NULL) {
        WA_TRY(wa_judgement_bounds(out->result, arena, &before, err));
        bounds = before;
    }
    WA_TRY(wa_judge(out->result, bounds, arena, &out->judgement, err));
    WA_TRY(is_stored(out, arena, &out->was_stored, err));
    out->stored = out->was_stored;
    return WA_OK;
}

typedef struct revision {
    const wa_judge_order *order;
    wa_arena *arena;
    wa_judged *judged;
} revision;

/* Another result may have the name since it was judged: what gets a judgement is what is judged
 * here. */
static wa_status judge_copy(void *context, wa_result *result, bool *changed, wa_error *err)
{
    const revision *r = context;
    *r->judged = (wa_judged){.result = result};
    WA_TRY(judge_open(r->order, r->arena, r->judged, err));
    *changed = !r->judged->stored;
    if (*changed)
        WA_TRY(wa_judgement_store(r->judged->judgement, result, r->arena, err));
    r->judged->stored = true;
    return WA_OK;
}

wa_status wa_judge_file(const char *path, const wa_judge_order *order, wa_arena *arena,
                        wa_judged *out, wa_error *err)
{
    wa_judged judged = {.result = NULL};
    wa_mark mark = wa_arena_mark(arena);
    WA_TRY(wa_result_open(path, arena, &judged.result, err));
    WA_TRY(wa_result_close(judged.result, judge_open(order, arena, &judged, err), err));
    if (order->store && !judged.stored) {
        revision r = {.order = order, .arena = arena, .judged = &judged};
        wa_arena_release(arena, mark);
        WA_TRY(wa_result_change(path, judge_copy, &r, arena, err));
    }
    *out = judged;
    return WA_OK;
}

/* --- Looking --- */

wa_status wa_judged_look(const char *path, wa_arena *arena, wa_judged_state *out, wa_error *err)
{
    wa_judged_state state = {.exit_code = 3};
    wa_run_failure failed;
    WA_TRY(wa_result_check(path, arena, &state.result, err));
    WA_TRY(wa_run_failure_read(path, arena, &failed, err));
    bool begun = state.result.prompts > 0 || state.result.owed;
    if (begun)
        state.exit_code = state.result.finished ? 0 : wa_status_exit_code(WA_E_STOPPED);
    state.resumable = begun && !state.result.finished;
    if (failed.reason != NULL && !state.result.owner_alive) {
        state.failure = failed.reason;
        state.failure_code = failed.exit_code;
        state.exit_code = wa_exit_code_graver(state.exit_code, failed.exit_code);
        state.resumable = state.resumable && failed.exit_code == wa_status_exit_code(WA_E_STOPPED);
    }
    *out = state;
    return WA_OK;
}

wa_status wa_judged_status(const char *path, wa_arena *arena, wa_judged_state *out, wa_error *err)
{
    wa_judged_state state;
    wa_result *result;
    wa_judgement *judgement;
    WA_TRY(wa_judged_look(path, arena, &state, err));
    if (state.result.finished) {
        WA_TRY(wa_result_open(path, arena, &result, err));
        WA_TRY(wa_result_close(result, wa_judgement_load(result, arena, &judgement, err), err));
        state.case_code = judgement->exit_code;
        state.exit_code = wa_exit_code_graver(state.exit_code, state.case_code);
        for (size_t c = 0; c < judgement->case_count; c++)
            state.unchecked += judgement->cases[c].verdict.code == WA_VERDICT_UNCHECKED ? 1 : 0;
        for (size_t v = 0; v < result->meta.dims.vindexes; v++)
            state.unaudited += judgement->vindexes[v].code == WA_VERDICT_UNAUDITED ? 1 : 0;
    }
    *out = state;
    return WA_OK;
}
