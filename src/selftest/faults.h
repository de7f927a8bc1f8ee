/* Kinds of faults in a vindex. */
#ifndef WALKAUDIT_SELFTEST_FAULTS_H
#define WALKAUDIT_SELFTEST_FAULTS_H

#include "selftest/plant.h"

/* What must become of a fault. */
typedef enum wa_fault_fate {
    /* ENCODING, or NON-FINITE, at its place, in every case that reads it and no other */
    WA_FATE_FOUND,
    WA_FATE_REFUSED, /* the vindex does not open */
    WA_FATE_UNSEEN,  /* nothing can tell it from a healthy file */
    WA_FATE_NONE     /* there is no such fault in these files */
} wa_fault_fate;

/* Where a fault may be planted. */
typedef enum wa_fault_scope {
    WA_SCOPE_ANY,
    WA_SCOPE_EXPERTS, /* in a layer with experts */
    WA_SCOPE_IDLE,    /* in an expert that no prompt reaches */
    WA_SCOPE_ROUTER   /* in the router of a layer with experts, whatever the target */
} wa_fault_scope;

typedef struct wa_fault {
    const char *name, *meaning;
    /** What must become of it in a target; NONE where it cannot be planted. */
    wa_fault_fate (*fate)(const wa_bench *bench, const wa_bench_target *target);
    wa_status (*plant)(wa_plant *plant, const wa_bench_target *target, size_t layer, wa_error *err);
    wa_fault_scope scope;
} wa_fault;

/** NULL past the last. */
const wa_fault *wa_fault_at(size_t i);

#endif
