/* RoPE of config.json: which object counts, what its keys mean, and what stands beside it. */
#include "base/elementary.h"
#include "model/config_json.h"
#include "model/key_rules.h"

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

/* As LARQL reads them (S10): a flat rope_parameters is not seen before August 2026. */
static wa_status read_larql_bases(const wa_json_reader *r, wa_model *facts, wa_error *err)
{
    const wa_family *family = r->config->family;
    const json_t *parameters = object_or_null(r->text, "rope_parameters");
    const json_t *const full[] = {object_or_null(parameters, "full_attention"),
                                  r->august ? parameters : NULL, r->text};
    const json_t *const local[] = {object_or_null(parameters, "sliding_attention"), r->text};
    const char *const full_keys[] = {"rope_theta", "rope_theta", "rope_theta"};
    const char *const local_keys[] = {"rope_theta", family->local_rope_key};
    WA_TRY(first_number(full, full_keys, 3, family->larql_rope_base, &facts->rope_base, err));
    if (family->local_rope_key == NULL)
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

static wa_status require_positions(const json_t *object, const char *key, double *out,
                                   wa_error *err)
{
    WA_TRY(require_number(object, key, out, err));
    return wa_config_positions(key, *out, err);
}

/* Positions before the scaling: the configuration's own number, else the family's, else the
 * object's, else what it was trained with. */
static wa_status read_original_positions(const wa_json_reader *r, const json_t *object, double *out,
                                         wa_error *err)
{
    static const char KEY[] = "original_max_position_embeddings";
    *out = r->config->family->original_positions;
    if (wa_json_is_given(r->text, KEY))
        return require_positions(r->text, KEY, out, err);
    if (*out != 0)
        return WA_OK;
    if (!wa_json_is_given(object, KEY) && wa_json_is_given(r->text, "max_position_embeddings"))
        return require_positions(r->text, "max_position_embeddings", out, err);
    return require_positions(object, KEY, out, err);
}

static wa_status read_llama3(const wa_json_reader *r, const json_t *object,
                             wa_rope_scaling *scaling, wa_error *err)
{
    WA_TRY(require_number(object, "factor", &scaling->factor, err));
    WA_TRY(require_number(object, "low_freq_factor", &scaling->low_freq_factor, err));
    WA_TRY(require_number(object, "high_freq_factor", &scaling->high_freq_factor, err));
    WA_TRY(read_original_positions(r, object, &scaling->original_positions, err));
    if (scaling->low_freq_factor >= scaling->high_freq_factor)
        return wa_fail(err, WA_E_FORMAT, "'low_freq_factor' %g is not below 'high_freq_factor' %g",
                       scaling->low_freq_factor, scaling->high_freq_factor);
    return WA_OK;
}

static wa_status read_linear(const wa_json_reader *r, const json_t *object,
                             wa_rope_scaling *scaling, wa_error *err)
{
    (void)r;
    return require_number(object, "factor", &scaling->factor, err);
}

/* yarn and longrope: a factor that is absent is how much longer the model's texts have become. */
static wa_status read_stretch(const wa_json_reader *r, const json_t *object,
                              wa_rope_scaling *scaling, wa_error *err)
{
    double positions;
    WA_TRY(read_original_positions(r, object, &scaling->original_positions, err));
    if (wa_json_is_given(object, "factor"))
        return require_number(object, "factor", &scaling->factor, err);
    WA_TRY(require_positions(r->text, "max_position_embeddings", &positions, err));
    scaling->factor = positions / scaling->original_positions;
    return WA_OK;
}

static double yarn_scale(double factor, double weight)
{
    return factor <= 1 ? 1 : 0.1 * weight * wa_log(factor) + 1;
}

/* What cosines and sines are multiplied by where nobody says it. */
static wa_status read_yarn_amplitude(const json_t *object, wa_rope_scaling *scaling, wa_error *err)
{
    double mscale, all;
    WA_TRY(wa_json_f64_or(object, "mscale", 0, &mscale, err));
    WA_TRY(wa_json_f64_or(object, "mscale_all_dim", 0, &all, err));
    scaling->attention_factor = mscale != 0 && all != 0 ? yarn_scale(scaling->factor, mscale) /
                                                              yarn_scale(scaling->factor, all)
                                                        : yarn_scale(scaling->factor, 1);
    return WA_OK;
}

static wa_status read_yarn(const wa_json_reader *r, const json_t *object, wa_rope_scaling *scaling,
                           wa_error *err)
{
    WA_TRY(read_stretch(r, object, scaling, err));
    WA_TRY(read_yarn_amplitude(object, scaling, err));
    WA_TRY(wa_json_f64_or(object, "attention_factor", scaling->attention_factor,
                          &scaling->attention_factor, err));
    WA_TRY(wa_config_positive("attention_factor", scaling->attention_factor, err));
    WA_TRY(wa_json_f64_or(object, "beta_fast", 32, &scaling->beta_fast, err));
    WA_TRY(wa_json_f64_or(object, "beta_slow", 1, &scaling->beta_slow, err));
    WA_TRY(wa_config_positive("beta_fast", scaling->beta_fast, err));
    WA_TRY(wa_config_positive("beta_slow", scaling->beta_slow, err));
    return wa_json_bool_or(object, "truncate", true, &scaling->truncate, err);
}

/* One divisor for each pair. */
static wa_status read_factors(const wa_json_reader *r, const json_t *object, const char *key,
                              const double **out, wa_error *err)
{
    const json_t *list = json_object_get(object, key);
    size_t count = r->config->facts.rotary_dim / 2;
    double *factors;
    if (!json_is_array(list) || json_array_size(list) != count)
        return wa_fail(err, WA_E_FORMAT,
                       "key '%s' of the RoPE scaling: found %s of %zu, expected an array of %zu, "
                       "one a pair of dimensions",
                       key, list == NULL ? "nothing" : wa_json_type_name(list),
                       json_array_size(list), count);
    WA_TRY(wa_arena_take(r->arena, count, sizeof *factors, &factors, err));
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        factors[i] = json_is_number(item) ? json_number_value(item) : NAN;
        WA_TRY(wa_config_positive(key, factors[i], err));
    }
    *out = factors;
    return WA_OK;
}

static wa_status read_longrope(const wa_json_reader *r, const json_t *object,
                               wa_rope_scaling *scaling, wa_error *err)
{
    if (r->config->family->local_rope_key != NULL)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "RoPE scaling 'longrope' beside sliding layers with a base of their own is "
                       "not computed");
    WA_TRY(read_stretch(r, object, scaling, err));
    double growth = wa_log(scaling->factor) / wa_log(scaling->original_positions);
    double fallback = scaling->factor <= 1 ? 1 : sqrt(1 + growth);
    WA_TRY(wa_json_f64_or(object, "attention_factor", fallback, &scaling->attention_factor, err));
    WA_TRY(wa_config_positive("attention_factor", scaling->attention_factor, err));
    WA_TRY(read_factors(r, object, "short_factor", &scaling->short_factors, err));
    return read_factors(r, object, "long_factor", &scaling->long_factors, err);
}

/* What a type reads, and the keys that it reads. First match counts. */
static const struct scaling_type {
    const char *name;
    const char *family; /* NULL = every one */
    wa_scaling_kind kind;
    wa_status (*read)(const wa_json_reader *r, const json_t *object, wa_rope_scaling *scaling,
                      wa_error *err);
    const char *keys; /* split by ' ' */
} types[] = {
    {"default", NULL, WA_SCALING_NONE, NULL, ""},
    {"linear", NULL, WA_SCALING_LINEAR, read_linear, "factor"},
    {"llama3", NULL, WA_SCALING_LLAMA3, read_llama3,
     "factor low_freq_factor high_freq_factor original_max_position_embeddings"},
    {"longrope", NULL, WA_SCALING_LONGROPE, read_longrope,
     "factor attention_factor short_factor long_factor original_max_position_embeddings"},
    {"su", "phi3", WA_SCALING_LONGROPE, read_longrope, /* Phi's older names of it */
     "factor attention_factor short_factor long_factor original_max_position_embeddings"},
    {"yarn", "phi3", WA_SCALING_LONGROPE, read_longrope,
     "factor attention_factor short_factor long_factor original_max_position_embeddings"},
    {"yarn", NULL, WA_SCALING_YARN, read_yarn,
     "factor attention_factor beta_fast beta_slow mscale mscale_all_dim truncate "
     "original_max_position_embeddings"},
};

/* NULL: none of that name. */
static const struct scaling_type *find_type(const wa_json_reader *r, const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, name) == 0 &&
            (types[i].family == NULL || strcmp(types[i].family, r->config->family->family) == 0))
            return &types[i];
    return NULL;
}

static wa_status refuse_type(const char *name, wa_error *err)
{
    bool dynamic = strcmp(name, "dynamic") == 0;
    return wa_fail(err, WA_E_UNSUPPORTED, "RoPE scaling '%.100s' is not computed%s", name,
                   dynamic
                       ? ": beyond max_position_embeddings its frequencies follow the length of "
                         "the longest text seen so far, so that a prompt has no values of its own"
                       : "");
}

/* Keys that the type has no use for: two layouts of one object share them, so they are told. */
static wa_status note_other_keys(const wa_json_reader *r, const json_t *object, const char *used,
                                 wa_error *err)
{
    static const char always[] = "rope_type type rope_theta partial_rotary_factor full_attention "
                                 "sliding_attention finetuned";
    wa_listing others = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (!wa_key_has_word(always, ' ', key) && !wa_key_has_word(used, ' ', key) &&
            !json_is_null(value))
            wa_listing_add(&others, key);
    }
    if (others.count == 0)
        return WA_OK;
    return wa_notes_add(&r->config->notes, err, "keys of the RoPE object that are not used: %s",
                        wa_listing_text(&others));
}

/* One object {rope_type or (old) type, factor, …}. */
static wa_status read_scaling(const wa_json_reader *r, const json_t *object,
                              wa_rope_scaling *scaling, wa_error *err)
{
    const char *name;
    const char *key = wa_json_is_given(object, "rope_type") ? "rope_type" : "type";
    WA_TRY(wa_json_string_or(object, key, "default", &name, err));
    const struct scaling_type *type = find_type(r, name);
    if (type == NULL)
        return refuse_type(name, err);
    scaling->kind = type->kind;
    if (type->read != NULL)
        WA_TRY(type->read(r, object, scaling, err));
    return note_other_keys(r, object, type->keys, err);
}

/* The part of a head that is rotated: the object's number, else that beside it, else the
 * family's. */
static wa_status read_rotary_dim(const wa_json_reader *r, const json_t *object, wa_error *err)
{
    static const char KEY[] = "partial_rotary_factor";
    wa_model *facts = &r->config->facts;
    double usual = r->config->family->rotated;
    double fraction;
    const json_t *place = wa_json_is_given(object, KEY) ? object : r->text;
    WA_TRY(wa_json_f64_or(place, KEY, usual == 0 ? 1 : usual, &fraction, err));
    if (usual == 0 && fraction != 1)
        return wa_fail(err, WA_E_UNSUPPORTED, "'%s' is %g, only 1 is computed", KEY, fraction);
    WA_TRY(wa_config_positive(KEY, fraction, err));
    if (fraction > 1)
        return wa_fail(err, WA_E_FORMAT, "'%s' is %g, expected at most 1", KEY, fraction);
    facts->rotary_dim = (size_t)((double)facts->head_dim * fraction);
    return WA_OK;
}

/* Gemma 3 has one object for each kind of layer, or (old) one for full layers only. */
static wa_status read_sliding(const wa_json_reader *r, const json_t *object, wa_model *facts,
                              wa_error *err)
{
    wa_rope_scaling local = {0};
    const wa_family *family = r->config->family;
    if (object != NULL)
        WA_TRY(read_scaling(r, object, &local, err));
    if (local.kind != WA_SCALING_NONE)
        return wa_fail(err, WA_E_UNSUPPORTED, "RoPE scaling of sliding layers is not computed");
    if (family->local_rope_key == NULL)
        return WA_OK;
    return read_base(r, object, family->local_rope_key, family->local_rope_base,
                     &facts->rope_local_base, err);
}

/* S2 since August 2026: linear of Gemma 3, whose sliding layers are never scaled; llama3 of Llama;
 * yarn where it says what was before; all else is passed over. */
static bool larql_scales(const wa_json_reader *r, const json_t *object, const char *name)
{
    if (strcmp(name, "linear") == 0)
        return r->config->family->local_rope_key != NULL;
    if (strcmp(name, "llama3") == 0)
        return strncmp(r->config->facts.model_type, "llama", strlen("llama")) == 0;
    return strcmp(name, "yarn") == 0 &&
           wa_json_is_given(object, "original_max_position_embeddings");
}

/* Of yarn the amplitude follows from the factor and the two mscales, whatever 'attention_factor'
 * says. */
static wa_status read_larql_scaling(const wa_json_reader *r, wa_rope_scaling *scaling,
                                    wa_error *err)
{
    const json_t *object;
    const char *name;
    WA_TRY(find_object(r->text, &object, err));
    const json_t *full = object_or_null(object, "full_attention");
    object = full != NULL ? full : object;
    if (object == NULL)
        return WA_OK;
    WA_TRY(wa_json_string_or(object, wa_json_is_given(object, "rope_type") ? "rope_type" : "type",
                             "default", &name, err));
    if (!larql_scales(r, object, name))
        return WA_OK;
    WA_TRY(read_scaling(r, object, scaling, err));
    return scaling->kind == WA_SCALING_YARN ? read_yarn_amplitude(object, scaling, err) : WA_OK;
}

/*
 * The two layouts of 'rope_parameters' belong to two kinds of families. Where sliding layers have a
 * base of their own the classes read one object for each kind of layer and pass over what is flat;
 * the others read flat keys and pass over such objects, or fail. 'rope_scaling' is always flat.
 */
static wa_status check_layout(const wa_json_reader *r, const json_t *object, wa_error *err)
{
    const wa_family *family = r->config->family;
    const json_t *old;
    WA_TRY(take_object(r->text, "rope_scaling", &old, err));
    bool by_kind = object_or_null(object, "full_attention") != NULL ||
                   object_or_null(object, "sliding_attention") != NULL;
    bool is_read_by_kind = old == NULL && family->local_rope_key != NULL;
    if (object == NULL || by_kind == is_read_by_kind)
        return WA_OK;
    const char *key = old != NULL ? "rope_scaling" : "rope_parameters";
    if (by_kind)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "'%s' has an object for each kind of layer, which the classes of family "
                       "'%s' do not read there; expected keys without such objects",
                       key, family->family);
    return wa_fail(err, WA_E_UNSUPPORTED,
                   "'%s' has no 'full_attention' or 'sliding_attention', and the classes of family "
                   "'%s' read nothing else of it",
                   key, family->family);
}

wa_status wa_config_rope_json(const wa_json_reader *r, wa_error *err)
{
    wa_model *facts = &r->config->facts;
    const json_t *object;
    facts->rotary_dim = facts->head_dim;
    if (!r->native) { /* S2: before August 2026 scaling is parsed, never applied */
        WA_TRY(read_larql_bases(r, facts, err));
        return r->august ? read_larql_scaling(r, &r->config->scaling, err) : WA_OK;
    }
    WA_TRY(find_object(r->text, &object, err));
    if (object == NULL && r->config->family->needs_rope_object)
        return wa_fail(
            err, WA_E_UNSUPPORTED,
            "neither 'rope_parameters' nor 'rope_scaling' is given, where the classes of "
            "family '%s' assume a scaling",
            r->config->family->family);
    WA_TRY(check_layout(r, object, err));
    const json_t *full = object_or_null(object, "full_attention");
    const json_t *sliding = object_or_null(object, "sliding_attention");
    if (full == NULL && sliding == NULL)
        full = object; /* flat */
    WA_TRY(read_base(r, full, "rope_theta", r->config->family->rope_base, &facts->rope_base, err));
    WA_TRY(read_rotary_dim(r, full, err));
    if (full != NULL)
        WA_TRY(read_scaling(r, full, &r->config->scaling, err));
    return read_sliding(r, sliding, facts, err);
}
