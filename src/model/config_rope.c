/* RoPE of config.json: which object counts, what its keys mean, and what stands beside it. */
#include "model/config_json.h"

#include <math.h>

static const json_t *object_or_null(const json_t *object, const char *key)
{
    const json_t *value = object == NULL ? NULL : json_object_get(object, key);
    return json_is_object(value) ? value : NULL;
}

/* --- the object --- */

/* An object of the configuration; NULL when absent, null or empty. */
static wa_status take_object(const json_t *text, const char *key, const json_t **out, wa_error *err)
{
    const json_t *value = json_object_get(text, key);
    *out = NULL;
    if (value == NULL || json_is_null(value))
        return WA_OK;
    if (!json_is_object(value))
        return wa_fail(err, WA_E_FORMAT, "key '%s': found %s, expected an object", key,
                       wa_json_type_name(value));
    *out = json_object_size(value) == 0 ? NULL : value;
    return WA_OK;
}

static wa_status find_object(const json_t *text, const json_t **out, wa_error *err)
{
    const json_t *old;
    const json_t *parameters;
    WA_TRY(take_object(text, "rope_scaling", &old, err));
    WA_TRY(take_object(text, "rope_parameters", &parameters, err));
    if (old != NULL && parameters != NULL && !json_equal(old, parameters))
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "'rope_scaling' and 'rope_parameters' are both given and differ");
    *out = old != NULL ? old : parameters;
    return WA_OK;
}

/* --- bases --- */

/* First of several places that has the number. */
static wa_status first_number(const json_t *const places[], const char *const keys[], size_t count,
                              double fallback, double *out, wa_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (wa_json_is_given(places[i], keys[i]))
            return wa_json_f64_or(places[i], keys[i], fallback, out, err);
    *out = fallback;
    return WA_OK;
}

/* As LARQL reads them (S10): a flat rope_parameters is not seen. */
static wa_status read_larql_bases(const wa_json_reader *r, wa_model *facts, wa_error *err)
{
    const wa_family *family = r->config->family;
    const json_t *parameters = object_or_null(r->text, "rope_parameters");
    const json_t *const full[] = {object_or_null(parameters, "full_attention"), r->text};
    const json_t *const local[] = {object_or_null(parameters, "sliding_attention"), r->text};
    const char *const full_keys[] = {"rope_theta", "rope_theta"};
    const char *const local_keys[] = {"rope_theta", "rope_local_base_freq"};
    WA_TRY(first_number(full, full_keys, 2, family->larql_rope_base, &facts->rope_base, err));
    if (family->local_rope_base == 0)
        return WA_OK;
    return first_number(local, local_keys, 2, family->local_rope_base, &facts->rope_local_base,
                        err);
}

/* The number of the object; where the configuration has another one beside it, that is told. */
static wa_status read_base(const wa_json_reader *r, const json_t *object, const char *beside,
                           double fallback, double *out, wa_error *err)
{
    const json_t *const places[] = {object, r->text};
    const char *const keys[] = {"rope_theta", beside};
    WA_TRY(first_number(places, keys, 2, fallback, out, err));
    if (!wa_json_is_given(object, "rope_theta") || !wa_json_is_given(r->text, beside))
        return WA_OK;
    double other;
    WA_TRY(wa_json_f64_or(r->text, beside, *out, &other, err));
    if (other == *out)
        return WA_OK;
    return wa_notes_add(&r->config->notes, err,
                        "'rope_theta' %g of the RoPE object is used, '%s' %g beside it is not",
                        *out, beside, other);
}

/* --- scaling --- */

static wa_status require_number(const json_t *object, const char *key, double *out, wa_error *err)
{
    WA_TRY(wa_json_f64_or(object, key, NAN, out, err));
    if (!wa_json_is_given(object, key))
        return wa_fail(err, WA_E_FORMAT, "key '%s' of the RoPE scaling is missing", key);
    return wa_config_positive(key, *out, err);
}

/* Positions before the scaling: the configuration's own number, else the object's, else what it was
 * trained with. */
static wa_status read_original_positions(const json_t *text, const json_t *object, double *out,
                                         wa_error *err)
{
    static const char KEY[] = "original_max_position_embeddings";
    if (wa_json_is_given(text, KEY))
        return require_number(text, KEY, out, err);
    if (!wa_json_is_given(object, KEY) && wa_json_is_given(text, "max_position_embeddings"))
        return require_number(text, "max_position_embeddings", out, err);
    return require_number(object, KEY, out, err);
}

static wa_status read_llama3(const json_t *text, const json_t *object, wa_rope_scaling *scaling,
                             wa_error *err)
{
    WA_TRY(require_number(object, "low_freq_factor", &scaling->low_freq_factor, err));
    WA_TRY(require_number(object, "high_freq_factor", &scaling->high_freq_factor, err));
    WA_TRY(read_original_positions(text, object, &scaling->original_positions, err));
    if (scaling->low_freq_factor >= scaling->high_freq_factor)
        return wa_fail(err, WA_E_FORMAT, "'low_freq_factor' %g is not below 'high_freq_factor' %g",
                       scaling->low_freq_factor, scaling->high_freq_factor);
    return WA_OK;
}

static bool is_one_of(const char *key, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(words[i], key) == 0)
            return true;
    return false;
}

/* Keys that the type has no use for: two layouts of one object share them, so they are told. */
static wa_status note_other_keys(const wa_json_reader *r, const json_t *object,
                                 wa_scaling_kind kind, wa_error *err)
{
    static const char *const always[] = {"rope_type",         "type",
                                         "rope_theta",        "partial_rotary_factor",
                                         "full_attention",    "sliding_attention",
                                         "finetuned"};
    static const char *const llama3[] = {"low_freq_factor", "high_freq_factor",
                                         "original_max_position_embeddings"};
    wa_listing others = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        bool used = is_one_of(key, always, sizeof always / sizeof always[0]) ||
                    (kind != WA_SCALING_NONE && strcmp(key, "factor") == 0) ||
                    (kind == WA_SCALING_LLAMA3 && is_one_of(key, llama3, 3));
        if (!used && !json_is_null(value))
            wa_listing_add(&others, key);
    }
    if (others.count == 0)
        return WA_OK;
    return wa_notes_add(&r->config->notes, err, "keys of the RoPE object that are not used: %s",
                        wa_listing_text(&others));
}

/*
 * One object {rope_type or (old) type, factor, …}. `dynamic` (unchanged up to
 * max_position_embeddings, undefined for us beyond) is refused with yarn and longrope: a model has
 * no place for a length limit, and silence beyond it would be wrong.
 */
static wa_status read_scaling(const wa_json_reader *r, const json_t *object,
                              wa_rope_scaling *scaling, wa_error *err)
{
    const char *type;
    double fraction;
    const char *key = wa_json_is_given(object, "rope_type") ? "rope_type" : "type";
    WA_TRY(wa_json_string_or(object, key, "default", &type, err));
    WA_TRY(wa_json_f64_or(object, "partial_rotary_factor", 1, &fraction, err));
    if (fraction != 1)
        return wa_fail(err, WA_E_UNSUPPORTED, "'partial_rotary_factor' is %g, only 1 is computed",
                       fraction);
    if (strcmp(type, "default") != 0 && strcmp(type, "linear") != 0 && strcmp(type, "llama3") != 0)
        return wa_fail(err, WA_E_UNSUPPORTED, "RoPE scaling '%.100s' is not computed", type);
    if (strcmp(type, "default") != 0) {
        WA_TRY(require_number(object, "factor", &scaling->factor, err));
        scaling->kind = strcmp(type, "linear") == 0 ? WA_SCALING_LINEAR : WA_SCALING_LLAMA3;
    }
    if (scaling->kind == WA_SCALING_LLAMA3)
        WA_TRY(read_llama3(r->text, object, scaling, err));
    return note_other_keys(r, object, scaling->kind, err);
}

/* Gemma 3 has one object for each kind of layer, or (old) one for full layers only. */
static wa_status read_sliding(const wa_json_reader *r, const json_t *object, wa_model *facts,
                              wa_error *err)
{
    wa_rope_scaling local = {0};
    if (object != NULL)
        WA_TRY(read_scaling(r, object, &local, err));
    if (local.kind != WA_SCALING_NONE)
        return wa_fail(err, WA_E_UNSUPPORTED, "RoPE scaling of sliding layers is not computed");
    double fallback = r->config->family->local_rope_base;
    if (fallback == 0)
        return WA_OK;
    return read_base(r, object, "rope_local_base_freq", fallback, &facts->rope_local_base, err);
}

wa_status wa_config_rope_json(const wa_json_reader *r, wa_error *err)
{
    wa_model *facts = &r->config->facts;
    const json_t *object;
    if (!r->native) /* S2: scaling is parsed, never applied */
        return read_larql_bases(r, facts, err);
    WA_TRY(find_object(r->text, &object, err));
    const json_t *full = object_or_null(object, "full_attention");
    const json_t *sliding = object_or_null(object, "sliding_attention");
    if (full == NULL && sliding == NULL)
        full = object; /* flat */
    WA_TRY(read_base(r, full, "rope_theta", r->config->family->rope_base, &facts->rope_base, err));
    if (full != NULL)
        WA_TRY(read_scaling(r, full, &r->config->scaling, err));
    return read_sliding(r, sliding, facts, err);
}
