/* Post-processors: which ids go around the encoding. */
#include "model/tokenizer_parts.h"

/* Ids of the special token a template item names. */
static wa_status find_special(const json_t *json, const char *name, const json_t **out,
                              wa_error *err)
{
    const json_t *special = json_object_get(json_object_get(json, "special_tokens"), name);
    const json_t *ids = json_object_get(special, "ids");
    if (!json_is_array(ids))
        return wa_fail(err, WA_E_FORMAT, "special_tokens['%s'].ids: found %s, expected an array",
                       name, wa_json_type_name(ids));
    *out = ids;
    return WA_OK;
}

static wa_status append(const json_t *ids, wa_ids *to, wa_error *err)
{
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *id = json_array_get(ids, i);
        json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < 0 || value > WA_VOCAB_MAX_ID)
            return wa_fail(err, WA_E_FORMAT,
                           "id of a special token: expected an integer in [0, %d]",
                           WA_VOCAB_MAX_ID);
        WA_TRY(wa_ids_append(to, (int32_t)value, err));
    }
    return WA_OK;
}

/* One item of `single`: a special token, or the encoding itself, which turns `before` to `after`.
 */
static wa_status read_item(const json_t *json, const json_t *item, wa_ids lists[2], bool *seen,
                           wa_error *err)
{
    const json_t *special = json_object_get(item, "SpecialToken"), *ids = NULL;
    const json_t *sequence = json_object_get(item, "Sequence");
    const char *name = NULL;
    if (!json_is_object(special) && !json_is_object(sequence))
        return wa_fail(err, WA_E_FORMAT, "item of 'single': expected SpecialToken or Sequence");
    WA_TRY(wa_json_string(special != NULL ? special : sequence, "id", &name, err));
    if (special != NULL) {
        WA_TRY(find_special(json, name, &ids, err));
        return append(ids, &lists[*seen ? 1 : 0], err);
    }
    if (*seen || strcmp(name, "A") != 0)
        return wa_fail(err, WA_E_UNSUPPORTED, "sequence '%s' in 'single', expected 'A' once", name);
    *seen = true;
    return WA_OK;
}

static wa_status append_list(wa_ids *to, const int32_t *ids, size_t count, wa_error *err)
{
    for (size_t i = 0; i < count; i++)
        WA_TRY(wa_ids_append(to, ids[i], err));
    return WA_OK;
}

static wa_status read_template(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    const json_t *single = json_object_get(json, "single");
    if (!json_is_array(single))
        return wa_fail(err, WA_E_FORMAT, "key 'single': found %s, expected an array",
                       wa_json_type_name(single));
    wa_ids lists[2] = {{.arena = t->arena}, {.arena = t->arena}};
    wa_ids after = {.arena = t->arena};
    bool seen = false;
    for (size_t i = 0; i < json_array_size(single); i++)
        WA_TRY(read_item(json, json_array_get(single, i), lists, &seen, err));
    if (!seen)
        return wa_fail(err, WA_E_UNSUPPORTED, "'single' has no sequence 'A'");

    /* Around what an earlier processor of the chain has put around the encoding. */
    WA_TRY(append_list(&lists[0], t->before, t->before_count, err));
    WA_TRY(append_list(&after, t->after, t->after_count, err));
    WA_TRY(append_list(&after, lists[1].list, lists[1].count, err));
    t->before = lists[0].list;
    t->before_count = lists[0].count;
    t->after = after.list;
    t->after_count = after.count;
    return WA_OK;
}

static wa_status read_sequence(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    const json_t *list = json_object_get(json, "processors");
    if (!json_is_array(list))
        return wa_fail(err, WA_E_FORMAT, "key 'processors': found %s, expected an array",
                       wa_json_type_name(list));
    for (size_t i = 0; i < json_array_size(list); i++)
        WA_TRY(wa_read_post_processor(json_array_get(list, i), t, err));
    return WA_OK;
}

wa_status wa_read_post_processor(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    static const wa_component table[] = {{"Sequence", read_sequence},
                                         {"TemplateProcessing", read_template},
                                         {"ByteLevel", NULL}}; /* trims offsets only */
    return wa_read_component("post-processor", json, table, sizeof table / sizeof table[0], t, err);
}
