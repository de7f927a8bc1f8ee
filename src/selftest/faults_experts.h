/* Faults that only a model with experts has: rows of the table in faults.c. */
#ifndef WALKAUDIT_SELFTEST_FAULTS_EXPERTS_H
#define WALKAUDIT_SELFTEST_FAULTS_EXPERTS_H

#include "selftest/faults.h"

/** FOUND where the model has experts; where some expert is reached by no prompt of the audits; where
 * the vindex stores routers. Else NONE. */
wa_fault_fate wa_fate_with_experts(const wa_bench *bench, const wa_bench_target *target);
wa_fault_fate wa_fate_with_idle(const wa_bench *bench, const wa_bench_target *target);
wa_fault_fate wa_fate_with_router(const wa_bench *bench, const wa_bench_target *target);

/** wa_fault.plant, in a layer with experts; of the target its expert counts alone. */
WA_CHECKED wa_status wa_plant_experts_exchanged(wa_plant *plant, const wa_bench_target *target,
                                                size_t layer, wa_error *err);
WA_CHECKED wa_status wa_plant_router_shifted(wa_plant *plant, const wa_bench_target *target,
                                             size_t layer, wa_error *err);

#endif
