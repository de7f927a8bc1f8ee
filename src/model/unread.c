/* What is stored and not read. A layer's tensors all take part in what the layer computes, but for
 * the few that the table of inert ones knows. */
#include "model/unread.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum fate { FATE_INERT, FATE_TOWER, FATE_HEAD, FATE_LATER, FATE_OTHER, FATE_REFUSED } fate;
enum { FATE_COUNT = FATE_REFUSED + 1 };

/* Of a layer, by the end of the name. None takes part in the computation: */
static const char *const inert_ends[] = {
    "attn.bias",             /* GPT-2: the causal mask, a buffer */
    "attn.masked_bias",      /* GPT-2: what the mask writes, a buffer */
    "attention.bias",        /* the same of old conversions */
    "attention.masked_bias", /* */
    "rotary_emb.inv_freq",   /* frequencies, which follow from the configuration */
    "attn_rot_embd.weight",  /* the same in old GGUF files */
    "rotary_emb.cos_cached", /* and tables made from them */
    "rotary_emb.sin_cached",
};

/* Outside the layers, by the whole name. */
static const char *const inert_names[] = {"rotary_emb.inv_freq", "rotary_emb_local.inv_freq",
                                          "rope.freqs"};
/* Those of them that hold the frequencies of full layers. */
static const char *const frequency_ends[] = {"rotary_emb.inv_freq", "rope.freqs"};

/* By the beginning of the stored or of the stripped name. */
static const struct {
    const char *prefix;
    fate fate;
} places[] = {
    {"vision_tower.", FATE_TOWER},
    {"vision_model.", FATE_TOWER},
    {"visual.", FATE_TOWER},
    {"vision_encoder.", FATE_TOWER},
    {"audio_tower.", FATE_TOWER},
    {"audio_model.", FATE_TOWER},
    {"image_newline", FATE_TOWER},
    {"multi_modal_projector.", FATE_TOWER},
    {"mm_projector.", FATE_TOWER},
    {"embed_vision.", FATE_TOWER},
    {"embed_audio.", FATE_TOWER},
    {"v.", FATE_TOWER},
    {"mm.", FATE_TOWER},
    {"mtp.", FATE_HEAD},
    {"mtp_", FATE_HEAD},
    {"nextn.", FATE_HEAD},
    {"nextn_", FATE_HEAD},
    {"medusa", FATE_HEAD},
    /* Known to change what the text decoder computes: */
    {"token_embd_norm.", FATE_REFUSED},
    {"embed_layernorm.", FATE_REFUSED},
    {"embed_norm.", FATE_REFUSED},
    {"word_embeddings_layernorm.", FATE_REFUSED},
    {"embedding_norm.", FATE_REFUSED},
    {"position_embd.", FATE_REFUSED},
    {"embed_positions.", FATE_REFUSED},
    {"position_embeddings.", FATE_REFUSED},
    {"token_types.", FATE_REFUSED},
    {"token_type_embeddings.", FATE_REFUSED},
    {"per_layer_", FATE_REFUSED},
    {"embed_tokens_per_layer.", FATE_REFUSED},
    {"altup_", FATE_REFUSED},
    {"project_in.", FATE_REFUSED},
    {"project_out.", FATE_REFUSED},
    {"embed_proj.", FATE_REFUSED},
    {"rope_freqs.", FATE_REFUSED},
    {"rope_factors_", FATE_REFUSED},
};

static bool begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

/* Is `with` the name's end, by whole words? */
static bool ends(const char *name, const char *with)
{
    size_t length = strlen(name);
    size_t tail = strlen(with);
    if (length < tail || strcmp(name + length - tail, with) != 0)
        return false;
    return length == tail || name[length - tail - 1] == '.'; /* "c_attn.bias" is no "attn.bias" */
}

/* The part of "layers.7.mlp.x" after the number, and the number; NULL = of no layer. */
static const char *after_layer(const char *name, const char *prefix, size_t *layer)
{
    if (!begins(name, prefix))
        return NULL;
    const char *digits = name + strlen(prefix);
    size_t length = strspn(digits, "0123456789");
    if (length == 0 || length > 9 || digits[length] != '.')
        return NULL;
    *layer = (size_t)strtoul(digits, NULL, 10);
    return digits + length + 1;
}

/* Beside a weight that is read, such as its scale or a bias: "lm_head.bias". */
static bool is_beside_weight(const wa_names *names, const char *name)
{
    for (int role = 0; role < WA_ROLE_ATTN_IN; role++) {
        size_t length = names->role[role] == NULL ? 0 : strlen(names->role[role]);
        if (length > 0 && strncmp(name, names->role[role], length) == 0 && name[length] == '.')
            return true;
    }
    return false;
}

static fate fate_of_layer(const char *rest)
{
    for (size_t i = 0; i < sizeof inert_ends / sizeof inert_ends[0]; i++)
        if (ends(rest, inert_ends[i]))
            return FATE_INERT;
    return begins(rest, "nextn.") || begins(rest, "mtp.") ? FATE_HEAD : FATE_REFUSED;
}

static fate fate_of(const wa_finder *finder, const wa_tensor_entry *entry)
{
    const wa_names *names = finder->config->names;
    size_t layer = 0;
    const char *rest = after_layer(entry->name, names->layer_prefix, &layer);
    if (rest != NULL)
        return layer < finder->config->facts.layer_count ? fate_of_layer(rest) : FATE_LATER;
    for (size_t i = 0; i < sizeof inert_names / sizeof inert_names[0]; i++)
        if (strcmp(entry->name, inert_names[i]) == 0)
            return FATE_INERT;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (begins(entry->name, places[i].prefix) ||
            (begins(entry->name, "model.") && begins(entry->name + 6, places[i].prefix)))
            return places[i].fate;
    return is_beside_weight(names, entry->name) ? FATE_REFUSED : FATE_OTHER;
}

/* --- stored frequencies --- */

static bool is_near(const float *stored, const double *formula, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)stored[i] - formula[i]) <= 0.01 * formula[i])) /* BF16 keeps 0.004 */
            return false;
    return true;
}

/* Stored frequencies are not read; where they follow neither from the base alone nor with the
 * scaling, one of the two places is wrong. */
static wa_status contradicts(const wa_finder *finder, const wa_tensor *tensor, bool *out,
                             wa_error *err)
{
    size_t count = finder->config->facts.rotary_dim / 2;
    float *stored;
    double *formula;
    *out = false;
    if (tensor->format == WA_FORMAT_COUNT || tensor->rank != 1 || tensor->shape[0] != count ||
        !wa_format_is_float(tensor->format) || !finder->config->rotates)
        return WA_OK;
    WA_TRY(wa_arena_take_raw(finder->arena, count, sizeof *stored, &stored, err));
    WA_TRY(wa_arena_take_raw(finder->arena, count, sizeof *formula, &formula, err));
    wa_format_get(tensor->format)->decode(tensor->data.data, count, stored);
    wa_config plain = *finder->config;
    wa_config_rope(&plain, WA_ROPE_FULL, formula);
    bool scaled = is_near(stored, formula, count);
    plain.scaling.kind = WA_SCALING_NONE;
    wa_config_rope(&plain, WA_ROPE_FULL, formula);
    *out = !scaled && !is_near(stored, formula, count);
    return WA_OK;
}

static bool holds_frequencies(const char *name)
{
    for (size_t i = 0; i < sizeof frequency_ends / sizeof frequency_ends[0]; i++)
        if (ends(name, frequency_ends[i]))
            return true;
    return false;
}

static wa_status note_frequencies(const wa_finder *finder, wa_notes *notes, wa_error *err)
{
    wa_listing wrong = {0};
    for (size_t i = 0; i < finder->table->count; i++) {
        const wa_tensor_entry *entry = &finder->table->entries[i];
        bool differs = false;
        wa_mark mark = wa_arena_mark(finder->arena);
        if (!finder->used[i] && holds_frequencies(entry->name) &&
            fate_of(finder, entry) == FATE_INERT)
            WA_TRY(contradicts(finder, entry->tensor, &differs, err));
        wa_arena_release(finder->arena, mark);
        if (differs)
            wa_listing_add(&wrong, entry->tensor->name);
    }
    if (wrong.count == 0)
        return WA_OK;
    return wa_notes_add(notes, err,
                        "stored rotation frequencies are not those of the configuration, which "
                        "are used: %s",
                        wa_listing_text(&wrong));
}

wa_status wa_unread_judge(const wa_finder *finder, wa_notes *notes, size_t *unread, wa_error *err)
{
    static const char *const meanings[FATE_COUNT] = {
        [FATE_TOWER] = "tensors of towers and projectors are not read",
        [FATE_HEAD] = "tensors of extra prediction heads are not read",
        [FATE_LATER] = "tensors of layers beyond the model's number are not read",
        [FATE_OTHER] = "tensors outside the text decoder's layers are not read",
    };
    wa_listing found[FATE_COUNT] = {0};
    for (size_t i = 0; i < finder->table->count; i++)
        if (!finder->used[i])
            wa_listing_add(&found[fate_of(finder, &finder->table->entries[i])],
                           finder->table->entries[i].tensor->name);
    for (int f = 0; f < FATE_COUNT; f++)
        if (meanings[f] != NULL && found[f].count > 0)
            WA_TRY(wa_notes_add(notes, err, "%s: %s", meanings[f], wa_listing_text(&found[f])));
    WA_TRY(note_frequencies(finder, notes, err));
    *unread = found[FATE_REFUSED].count;
    if (*unread == 0)
        return WA_OK;
    const char *names = wa_listing_text(&found[FATE_REFUSED]);
    if (!finder->config->allow_unread)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "the decoder has tensors that family '%s' does not read: %s (allow_unread: "
                       "true goes on without them)",
                       finder->config->family->family, names);
    return wa_notes_add(notes, err,
                        "allow_unread: tensors of the decoder are not read, so that this may not "
                        "be the model that its authors mean: %s",
                        names);
}
