/* Which instruction set products use: the widest that is here, or the one that WALKAUDIT_ISA
 * names. */
#include "compute/isa.h"
#include "compute/kernel.h"

#include <stdlib.h>

const wa_isa *wa_isa_at(size_t i)
{
    const wa_isa *known[] = {wa_isa_avx512(), wa_isa_avx2(), wa_isa_portable()};
    for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
        if (known[k] != NULL && i-- == 0)
            return known[k];
    return NULL;
}

static wa_status refuse(const char *name, bool is_known, wa_error *err)
{
    return wa_fail(err, is_known ? WA_E_UNSUPPORTED : WA_E_USAGE,
                   "WALKAUDIT_ISA is '%.32s', which %s; expected avx512, avx2, portable or nothing",
                   name, is_known ? "this processor has not" : "is no instruction set known here");
}

wa_status wa_isa_choose(const wa_isa **out, wa_error *err)
{
    const char *name = getenv("WALKAUDIT_ISA");
    bool is_named = name != NULL && name[0] != '\0', is_known = false;
    const wa_isa *isa;
    for (size_t i = 0; (isa = wa_isa_at(i)) != NULL; i++) {
        if (is_named && strcmp(name, isa->name) != 0)
            continue;
        is_known = true;
        if (!isa->is_here())
            continue;
        *out = isa;
        return WA_OK;
    }
    return refuse(name, is_known, err);
}

const char *wa_isa_name(const wa_isa *isa)
{
    return isa->name;
}
