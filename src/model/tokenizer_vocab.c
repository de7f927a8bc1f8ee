/* Vocabulary and merges as flat hash tables with linear probing, at most half full. */
#include "model/tokenizer_vocab.h"

#include <stdio.h>

static const uint64_t MIX = 0x9e3779b97f4a7c15u; /* 2^64 / golden ratio, odd */

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * MIX;
    return hash ^ hash >> 29;
}

static uint32_t hash_text(wa_text text)
{
    uint64_t hash = text.size;
    size_t at = 0;
    for (; text.size - at >= 8; at += 8)
        hash = mix(hash, wa_load_u64(text.data + at));
    uint64_t tail = 0;
    memcpy(&tail, text.data + at, text.size - at);
    hash = mix(mix(hash, tail), 0);
    return (uint32_t)(hash >> 32);
}

/* The smallest power of two that leaves half of the slots empty. */
static size_t slot_count(size_t count)
{
    size_t slots = 16;
    while (slots < 2 * count)
        slots *= 2;
    return slots;
}

wa_text wa_vocab_text(const wa_vocab *vocab, int32_t id)
{
    if (id < 0 || (size_t)id >= vocab->id_count || vocab->size[id] == WA_VOCAB_NO_TOKEN)
        return (wa_text){NULL, 0};
    return (wa_text){vocab->pool + vocab->offset[id], vocab->size[id]};
}

/* The slot that holds `text`, else the empty one where it belongs. */
static wa_vocab_slot *find_slot(const wa_vocab *vocab, wa_text text, uint32_t hash)
{
    size_t at = hash & vocab->mask;
    while (vocab->slots[at].id_plus_one != 0) {
        const wa_vocab_slot *slot = &vocab->slots[at];
        if (slot->hash == hash &&
            wa_text_equals((wa_text){vocab->pool + slot->offset, slot->size}, text))
            break;
        at = (at + 1) & vocab->mask;
    }
    return &vocab->slots[at];
}

int32_t wa_vocab_find(const wa_vocab *vocab, wa_text text)
{
    if (text.size > vocab->longest)
        return -1;
    return (int32_t)find_slot(vocab, text, hash_text(text))->id_plus_one - 1;
}

static wa_status take_tables(const wa_vocab_source *source, wa_arena *arena, wa_vocab *vocab,
                             wa_error *err)
{
    for (size_t i = 0; i < source->count; i++) {
        uint32_t id = source->entries[i].id;
        if (id > WA_VOCAB_MAX_ID)
            return wa_fail(err, WA_E_FORMAT, "token id %u, at most %d are expected", (unsigned)id,
                           WA_VOCAB_MAX_ID);
        if (id >= vocab->id_count)
            vocab->id_count = (size_t)id + 1;
    }
    WA_TRY(wa_arena_take_raw(arena, vocab->id_count, sizeof *vocab->offset, &vocab->offset, err));
    WA_TRY(wa_arena_take_raw(arena, vocab->id_count, sizeof *vocab->size, &vocab->size, err));
    WA_TRY(wa_arena_take(arena, vocab->id_count, 1, &vocab->special, err));
    size_t slots = slot_count(source->model_count);
    WA_TRY(wa_arena_take(arena, slots, sizeof *vocab->slots, &vocab->slots, err));
    vocab->mask = slots - 1;
    for (size_t i = 0; i < vocab->id_count; i++)
        vocab->size[i] = WA_VOCAB_NO_TOKEN;
    return WA_OK;
}

/* printf's precision for a text that goes into a message. */
static int shown(size_t size)
{
    return size > 60 ? 60 : (int)size;
}

static wa_status place_entry(wa_vocab *vocab, const wa_vocab_entry *entry, bool in_model,
                             wa_error *err)
{
    wa_text old = wa_vocab_text(vocab, (int32_t)entry->id);
    wa_text fresh = {vocab->pool + entry->offset, entry->size};
    if (old.data != NULL && !in_model && wa_text_equals(old, fresh))
        return WA_OK; /* an added token that the model has too */
    if (old.data != NULL)
        return wa_fail(err, WA_E_FORMAT, "token id %u belongs to '%.*s' and to '%.*s'",
                       (unsigned)entry->id, shown(old.size), old.data, shown(fresh.size),
                       fresh.data);
    vocab->offset[entry->id] = entry->offset;
    vocab->size[entry->id] = entry->size;
    return WA_OK;
}

static wa_status insert(wa_vocab *vocab, uint32_t id, bool allow_repeats, wa_error *err)
{
    wa_text text = wa_vocab_text(vocab, (int32_t)id);
    uint32_t hash = hash_text(text);
    wa_vocab_slot *slot = find_slot(vocab, text, hash);
    if (slot->id_plus_one != 0 && !allow_repeats)
        return wa_fail(err, WA_E_FORMAT, "token '%.*s' has two ids: %u and %u", shown(text.size),
                       text.data, (unsigned)(slot->id_plus_one - 1), (unsigned)id);
    *slot = (wa_vocab_slot){hash, id + 1, vocab->offset[id], vocab->size[id]};
    if (text.size > vocab->longest)
        vocab->longest = text.size;
    return WA_OK;
}

static void find_bytes(wa_vocab *vocab)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", byte);
        vocab->byte_id[byte] = wa_vocab_find(vocab, (wa_text){name, 6});
    }
}

wa_status wa_vocab_build(const wa_vocab_source *source, wa_arena *arena, wa_vocab *out,
                         wa_error *err)
{
    wa_vocab vocab = {.pool = source->pool};
    WA_TRY(take_tables(source, arena, &vocab, err));
    for (size_t i = 0; i < source->count; i++) {
        WA_TRY(place_entry(&vocab, &source->entries[i], i < source->model_count, err));
        if (i < source->model_count)
            WA_TRY(insert(&vocab, source->entries[i].id, source->allow_repeats, err));
    }
    find_bytes(&vocab);
    *out = vocab;
    return WA_OK;
}

static size_t pair_slot(const wa_merges *merges, uint32_t left, uint32_t right)
{
    uint64_t hash = mix(0, (uint64_t)left << 32 | right);
    size_t at = (size_t)(hash >> 20) & merges->mask;
    while (merges->slots[at] != 0) {
        const wa_merge *merge = &merges->list[merges->slots[at] - 1];
        if (merge->left == left && merge->right == right)
            break;
        at = (at + 1) & merges->mask;
    }
    return at;
}

wa_status wa_merges_build(const wa_merge *list, size_t count, wa_arena *arena, wa_merges *out,
                          wa_error *err)
{
    size_t slots = slot_count(count);
    wa_merges merges = {.list = list, .count = count, .mask = slots - 1};
    WA_TRY(wa_arena_take(arena, slots, sizeof *merges.slots, &merges.slots, err));
    for (size_t rank = 0; rank < count; rank++)
        merges.slots[pair_slot(&merges, list[rank].left, list[rank].right)] = (uint32_t)rank + 1;
    *out = merges;
    return WA_OK;
}

bool wa_merges_find(const wa_merges *merges, uint32_t left, uint32_t right, uint32_t *rank,
                    uint32_t *merged)
{
    uint32_t found = merges->slots[pair_slot(merges, left, right)];
    if (found == 0)
        return false;
    *rank = found - 1;
    *merged = merges->list[found - 1].merged;
    return true;
}

/* Left part, right part, whole. */
static wa_text merge_part(const wa_merge_text *merge, size_t part)
{
    wa_text text = merge->text;
    if (part == 0)
        return (wa_text){text.data, merge->split};
    return part == 1 ? (wa_text){text.data + merge->split, text.size - merge->split} : text;
}

static wa_status unknown_part(const wa_merge_text *merge, size_t rank, size_t part, wa_error *err)
{
    wa_text left = merge_part(merge, 0), right = merge_part(merge, 1);
    wa_text unknown = merge_part(merge, part);
    return wa_fail(err, WA_E_FORMAT,
                   "merge %zu ('%.*s' + '%.*s') refers to an unknown token: '%.*s' is not in the "
                   "vocabulary",
                   rank, shown(left.size), left.data, shown(right.size), right.data,
                   shown(unknown.size), unknown.data);
}

wa_status wa_merges_resolve(const wa_vocab *vocab, size_t rank, const wa_merge_text *texts,
                            size_t count, wa_merge *out, wa_error *err)
{
    uint32_t hash[WA_MERGE_BATCH][3];
    for (size_t i = 0; i < count; i++)
        for (size_t part = 0; part < 3; part++) {
            hash[i][part] = hash_text(merge_part(&texts[i], part));
            __builtin_prefetch(&vocab->slots[hash[i][part] & vocab->mask]);
        }
    for (size_t i = 0; i < count; i++)
        for (size_t part = 0; part < 3; part++)
            __builtin_prefetch(vocab->pool + vocab->slots[hash[i][part] & vocab->mask].offset);

    for (size_t i = 0; i < count; i++) {
        uint32_t id[3];
        for (size_t part = 0; part < 3; part++) {
            uint32_t found =
                find_slot(vocab, merge_part(&texts[i], part), hash[i][part])->id_plus_one;
            if (found == 0)
                return unknown_part(&texts[i], rank + i, part, err);
            id[part] = found - 1;
        }
        out[i] = (wa_merge){id[0], id[1], id[2]};
    }
    return WA_OK;
}
