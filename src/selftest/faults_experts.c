/* Faults that only a model with experts has. */
#include "selftest/faults_experts.h"

wa_fault_fate wa_fate_with_experts(const wa_bench *bench, const wa_bench_target *target)
{
    (void)target;
    return wa_bench_has_experts(bench) ? WA_FATE_FOUND : WA_FATE_NONE;
}

wa_fault_fate wa_fate_with_idle(const wa_bench *bench, const wa_bench_target *target)
{
    (void)target;
    for (size_t l = 0; bench->idle != NULL && l < bench->vindex->layer_count; l++)
        if (bench->idle[l] >= 0)
            return WA_FATE_FOUND;
    return WA_FATE_NONE;
}

wa_fault_fate wa_fate_with_router(const wa_bench *bench, const wa_bench_target *target)
{
    (void)target;
    return bench->router.which != NULL ? WA_FATE_FOUND : WA_FATE_NONE;
}

/* All three matrices of an expert and of the next. */
wa_status wa_plant_experts_exchanged(wa_plant *plant, const wa_bench_target *target, size_t layer,
                                     wa_error *err)
{
    (void)target;
    for (size_t i = 0; i < plant->bench->target_count; i++) {
        const wa_bench_target *one = &plant->bench->targets[i];
        wa_bench_target next = *one;
        wa_matrix stored;
        uint8_t *ones, *nexts;
        next.entry = one->entry + 1;
        WA_TRY(wa_plant_bytes(plant, one, layer, &stored, &ones, err));
        WA_TRY(wa_plant_bytes(plant, &next, layer, &stored, &nexts, err));
        WA_TRY(wa_plant_matrix(plant, one, layer, -1, nexts, err));
        WA_TRY(wa_plant_matrix(plant, &next, layer, -1, ones, err));
    }
    return WA_OK;
}

/* Each expert has the row of the next. */
wa_status wa_plant_router_shifted(wa_plant *plant, const wa_bench_target *target, size_t layer,
                                  wa_error *err)
{
    (void)target;
    wa_matrix stored;
    uint8_t *bytes;
    const wa_bench_target *router = &plant->bench->router;
    WA_TRY(wa_plant_bytes(plant, router, layer, &stored, &bytes, err));
    size_t rest = wa_matrix_bytes(&stored) - stored.row_bytes;
    memcpy(bytes, stored.data + stored.row_bytes, rest);
    memcpy(bytes + rest, stored.data, stored.row_bytes);
    return wa_plant_matrix(plant, router, layer, -1, bytes, err);
}
