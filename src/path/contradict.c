/* Fields of index.json beside the payloads: an audit needs none of them, and another reader may. */
#include "path/path.h"

#include <math.h>
#include <string.h>

static wa_status compare_count(const char *key, size_t stored, size_t computed, const char *name,
                               wa_notes *notes, wa_error *err)
{
    if (stored == computed)
        return WA_OK;
    return wa_notes_add(notes, err, "vindex '%s': index.json has %s %zu, the model has %zu", name,
                        key, stored, computed);
}

/* Written as f32 or with a few digits by others, so equal to 1e-5. */
static wa_status compare_number(const char *key, double stored, double computed, const char *name,
                                wa_notes *notes, wa_error *err)
{
    if (fabs(stored - computed) <= 1e-5 * fabs(computed))
        return WA_OK;
    return wa_notes_add(notes, err, "vindex '%s': index.json has %s %g, the model has %g", name,
                        key, stored, computed);
}

wa_status wa_vindex_contradict(const wa_model *model, const wa_vindex *vindex, const char *name,
                               wa_notes *notes, wa_error *err)
{
    if (vindex->checkpoint != NULL) /* it has no index.json */
        return WA_OK;
    if (strcmp(vindex->family, model->family) != 0)
        WA_TRY(wa_notes_add(notes, err,
                            "vindex '%s': index.json has family '%s', the model is '%s'", name,
                            vindex->family, model->family));
    WA_TRY(compare_count("vocab_size", vindex->vocab, model->vocab, name, notes, err));
    WA_TRY(compare_count("intermediate_size", vindex->intermediate, model->intermediate, name,
                         notes, err));
    WA_TRY(compare_number("embed_scale", vindex->embed_scale, (double)model->embed_scale, name,
                          notes, err));
    if (vindex->rope_base == 0) /* no model_config */
        return WA_OK;
    return compare_number("rope_base", vindex->rope_base, model->rope_base, name, notes, err);
}
