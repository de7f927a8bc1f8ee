/* Kernel faults are switched on by the environment, as for the tests of the kernel check. */
#include "selftest/kernels.h"

#ifndef WA_PLANT_FAULTS

wa_status wa_kernels_run(const wa_bench *bench, wa_kernel_outcome *outcomes, size_t *count,
                         wa_error *err)
{
    (void)bench, (void)outcomes, (void)err;
    *count = 0;
    return WA_OK;
}

#else

#include <stdio.h>
#include <stdlib.h>

typedef struct kernel_fault {
    const char *name, *meaning, *format, *keys;
    const char *only;                    /* the path that has it; NULL = every path */
    enum { ANY, WITHOUT, WITH } experts; /* of the model */
} kernel_fault;

static const kernel_fault FAULTS[] = {
    {"row-off-by-one", "a feature takes the up score of the next", "f32", "", NULL, WITHOUT},
    {"bf16-activations", "activations rounded to bf16", "f32", "", NULL, WITHOUT},
    {"erf-gelu", "another activation", "f32", "", NULL, WITHOUT},
    {"f16-sum", "the sum of the down product held in f16", "f32", "", NULL, WITHOUT},
    {"wrong-down-row", "a loop adds the down row of the hit before", "f32",
     ", \"paths\": [{\"path\": \"sparse_serial\"}]", "sparse_serial", WITHOUT},
    {"nibble-order", "neighbours of x change places", "q4_0", "", "interleaved_q4", WITHOUT},
    {"next-expert", "rows go through the experts after those chosen", "f32", "", NULL, WITH},
    {"expert-weights", "weights of the chosen sum to 1, or no longer do", "f32", "", NULL, WITH},
    {"expert-halves", "gate and up change places in every expert", "f32", "", NULL, WITH},
    {"expert-input", "experts take x before its norm", "f32", "", NULL, WITH},
    {"nibble-order", "neighbours of x change places", "q4k", "", "experts_q8k", WITH},
    {"q8-scale", "scales of x are a 128th of the maximum, not a 127th", "q4k", "", "experts_q8k",
     WITH},
    {"later-batches", "30 % in every batch but the first", "f32", "", NULL, ANY},
    {"own-stream", "30 % on the case's own stream only", "f32", "", NULL, ANY},
    {"between-rows", "30 % at positions between the first batch's first and last", "f32", "", NULL,
     ANY},
    {"share", "30 % at one of 50 pairs of position and layer, all of them checked", "f32",
     ", \"kernel_check\": \"all\"", NULL, ANY},
};

static bool is_at_layer(const wa_verdict *verdict, size_t layer)
{
    for (size_t i = 0; i < verdict->reason_count; i++) {
        const char *at = strstr(verdict->reasons[i], "layer ");
        if (verdict->reason_codes[i] == WA_VERDICT_KERNEL && at != NULL &&
            strtoul(at + 6, NULL, 10) == layer)
            return true;
    }
    return false;
}

static void look(const kernel_fault *fault, const wa_judgement *judgement, wa_kernel_outcome *o)
{
    for (size_t c = 0; c < judgement->case_count; c++) {
        const char *path = strchr(judgement->cases[c].evidence.case_name, ':');
        bool wrong = path != NULL && (fault->only == NULL ||
                                      strncmp(path + 1, fault->only, strlen(fault->only)) == 0);
        if (!wrong)
            continue;
        o->wrong++;
        o->found += is_at_layer(&judgement->cases[c].verdict, o->layer) ? 1 : 0;
    }
    o->holds = o->wrong > 0 && o->found == o->wrong;
}

static wa_status run_one(const wa_bench *bench, const kernel_fault *fault, wa_kernel_outcome *o,
                         wa_error *err)
{
    char layer[24], *name;
    const char *vindex = strrchr(bench->healthy, '/') + 1;
    snprintf(layer, sizeof layer, "%zu", o->layer);
    WA_TRY(wa_arena_print(bench->arena, &name, err, "%s-%s", bench->format.name, fault->name));
    wa_audits_job job = {.name = name, .vindexes = &vindex, .vindex_count = 1, .keys = fault->keys};
    const wa_judgement *judgement;
    if (setenv("WALKAUDIT_FAULT", fault->name, 1) != 0 ||
        setenv("WALKAUDIT_FAULT_LAYER", layer, 1) != 0)
        return wa_fail(err, WA_E_MEMORY, "no room for an environment variable");
    wa_status status = wa_audits_judge(bench, &job, &judgement, err);
    unsetenv("WALKAUDIT_FAULT");
    unsetenv("WALKAUDIT_FAULT_LAYER");
    WA_TRY(status);
    look(fault, judgement, o);
    return WA_OK;
}

wa_status wa_kernels_run(const wa_bench *bench, wa_kernel_outcome *outcomes, size_t *count,
                         wa_error *err)
{
    *count = 0;
    for (size_t i = 0; i < sizeof FAULTS / sizeof FAULTS[0]; i++) {
        wa_kernel_outcome *o = &outcomes[*count];
        bool fits =
            FAULTS[i].experts == ANY || (FAULTS[i].experts == WITH) == wa_bench_has_experts(bench);
        if (!fits || strcmp(FAULTS[i].format, bench->format.name) != 0)
            continue;
        *o = (wa_kernel_outcome){.fault = FAULTS[i].name,
                                 .meaning = FAULTS[i].meaning,
                                 .format = FAULTS[i].format,
                                 .layer = bench->vindex->layer_count - 1};
        WA_TRY(run_one(bench, &FAULTS[i], o, err));
        (*count)++;
    }
    return WA_OK;
}

#endif
