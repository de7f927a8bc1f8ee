/* Vocabulary and merges: strings in one pool, looked up in flat open-addressing tables. */
#ifndef WALKAUDIT_MODEL_TOKENIZER_VOCAB_H
#define WALKAUDIT_MODEL_TOKENIZER_VOCAB_H

#include "model/tokenizer_utf8.h"

/* The largest published vocabularies have 262144 tokens; a larger id is taken for damage before
 * anything is allocated for it. */
enum { WA_VOCAB_MAX_ID = (1 << 22) - 1 };

/** One token while a vocabulary is being built: its string is pool[offset, offset + size). */
typedef struct wa_vocab_entry {
    uint32_t id;
    uint32_t offset;
    uint32_t size;
} wa_vocab_entry;

/**
 * Slot of the string table. The hash decides most comparisons, and the place of the string is kept
 * here once more: a lookup costs two cache misses, and a million of them are made at opening.
 */
typedef struct wa_vocab_slot {
    uint32_t hash;
    uint32_t id_plus_one; /* 0 = empty */
    uint32_t offset;
    uint32_t size;
} wa_vocab_slot;

typedef struct wa_vocab {
    const char *pool;     /* arena; borrowed from the builder */
    uint32_t *offset;     /* arena [id_count] */
    uint32_t *size;       /* arena [id_count]; WA_VOCAB_NO_TOKEN = the id has no token */
    uint8_t *special;     /* arena [id_count]; 1 = special token */
    size_t id_count;      /* largest id + 1 */
    size_t longest;       /* bytes of the longest string in the table */
    wa_vocab_slot *slots; /* arena [mask + 1] */
    size_t mask;
    int32_t byte_id[256]; /* id of "<0x00>" … "<0xFF>", -1 = none */
} wa_vocab;

#define WA_VOCAB_NO_TOKEN UINT32_MAX

/** What wa_vocab_build starts from. */
typedef struct wa_vocab_source {
    const char *pool; /* must live as long as the vocabulary */
    const wa_vocab_entry *entries;
    size_t model_count; /* the first ones can be found by their string */
    size_t count; /* the others (added tokens) have an id and a string only; may repeat both */
    bool allow_repeats; /* of strings: the last one is found. Ids never repeat */
} wa_vocab_source;

/** Errors: WA_E_FORMAT (an id or a string twice, an id past WA_VOCAB_MAX_ID), WA_E_MEMORY. */
WA_CHECKED wa_status wa_vocab_build(const wa_vocab_source *source, wa_arena *arena, wa_vocab *out,
                                    wa_error *err);

/** Id of a token of the model, -1 when there is none. */
int32_t wa_vocab_find(const wa_vocab *vocab, wa_text text);

/** String of an id; data NULL when it has none. */
wa_text wa_vocab_text(const wa_vocab *vocab, int32_t id);

/** A merge; its rank is its place in the list. */
typedef struct wa_merge {
    uint32_t left;
    uint32_t right;
    uint32_t merged;
} wa_merge;

typedef struct wa_merges {
    const wa_merge *list; /* arena [count]; borrowed from the builder */
    size_t count;
    uint32_t *slots; /* arena [mask + 1]: rank + 1, 0 = empty */
    size_t mask;
} wa_merges;

/** Index a list of merges. The later of two equal pairs counts, as in Hugging Face's library. */
WA_CHECKED wa_status wa_merges_build(const wa_merge *list, size_t count, wa_arena *arena,
                                     wa_merges *out, wa_error *err);

/** A merge as written: text[0, split) and text[split, …). */
typedef struct wa_merge_text {
    wa_text text;
    size_t split;
} wa_merge_text;

/** So many merges are looked up together, so that their cache misses overlap. */
enum { WA_MERGE_BATCH = 32 };

/**
 * Look up `count` <= WA_MERGE_BATCH merges of rank `rank`, rank + 1, …
 * WA_E_FORMAT when a part or the whole of one is not in the vocabulary.
 */
WA_CHECKED wa_status wa_merges_resolve(const wa_vocab *vocab, size_t rank,
                                       const wa_merge_text *texts, size_t count, wa_merge *out,
                                       wa_error *err);

/** Does the pair merge? Then *rank and *merged say how. */
bool wa_merges_find(const wa_merges *merges, uint32_t left, uint32_t right, uint32_t *rank,
                    uint32_t *merged);

#endif
