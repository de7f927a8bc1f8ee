/*
 * Byte-pair encoding of one piece: symbols in a doubly linked list, mergeable neighbours in a heap
 * (forward-pass.md 4.4 and 4.6). O(n log n), since Gemma's piece is the whole text between
 * newlines. By rank: the pair's place in the list of merges. By score (SPM): the order of the token
 * it makes.
 */
#include "model/tokenizer_parts.h"

typedef struct symbol {
    uint32_t id;            /* by rank only */
    uint32_t start, size;   /* stretch of the piece; size 0 = merged away */
    int32_t previous, next; /* -1 = none */
} symbol;

/* Merge the symbol at `key`'s lower half with its right neighbour; the upper half is the rank. */
typedef struct candidate {
    uint64_t key;
    uint32_t merged;
} candidate;

typedef struct bpe {
    const wa_tokenizer *t;
    wa_text piece;
    symbol *symbols;
    size_t count;
    candidate *heap; /* smallest key first */
    size_t heap_count;
} bpe;

static void push(bpe *b, candidate fresh)
{
    size_t at = b->heap_count++;
    while (at > 0 && fresh.key < b->heap[(at - 1) / 2].key) {
        b->heap[at] = b->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    b->heap[at] = fresh;
}

static candidate pop(bpe *b)
{
    candidate top = b->heap[0], last = b->heap[--b->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < b->heap_count && b->heap[child + 1].key < b->heap[child].key)
            child++;
        if (child >= b->heap_count || last.key <= b->heap[child].key)
            break;
        b->heap[at] = b->heap[child];
        at = child;
    }
    b->heap[at] = last;
    return top;
}

/* Id of a stretch that scores let merge, -1 if it is no such token. */
static int32_t find_scored(const bpe *b, uint32_t start, uint32_t size)
{
    int32_t id = wa_vocab_find(&b->t->vocab, (wa_text){b->piece.data + start, size});
    return id >= 0 && b->t->order[id] != WA_ORDER_NEVER ? id : -1;
}

/* Does the symbol at `at` merge with its right neighbour? */
static bool find_pair(const bpe *b, int32_t at, candidate *out)
{
    const symbol *left = &b->symbols[at];
    if (left->size == 0 || left->next < 0)
        return false;
    const symbol *right = &b->symbols[left->next];
    uint32_t rank;
    if (b->t->is_spm) {
        int32_t id = find_scored(b, left->start, left->size + right->size);
        if (id < 0)
            return false;
        rank = b->t->order[id];
        out->merged = (uint32_t)id;
    } else if (!wa_merges_find(&b->t->merges, left->id, right->id, &rank, &out->merged)) {
        return false;
    }
    out->key = (uint64_t)rank << 32 | (uint32_t)at;
    return true;
}

static void push_pair(bpe *b, int32_t at)
{
    candidate fresh;
    if (at >= 0 && find_pair(b, at, &fresh))
        push(b, fresh);
}

static void merge_all(bpe *b)
{
    for (size_t i = 0; i < b->count; i++)
        push_pair(b, (int32_t)i);
    while (b->heap_count > 0) {
        candidate best = pop(b), now;
        int32_t at = (int32_t)(uint32_t)best.key;
        if (!find_pair(b, at, &now) || now.merged != best.merged)
            continue; /* one of the two has been merged since */
        symbol *left = &b->symbols[at], *right = &b->symbols[left->next];
        left->id = best.merged;
        left->size += right->size;
        left->next = right->next;
        right->size = 0;
        if (left->next >= 0)
            b->symbols[left->next].previous = at;
        push_pair(b, left->previous);
        push_pair(b, at);
    }
}

static void add_symbol(bpe *b, uint32_t id, size_t start, size_t size)
{
    int32_t at = (int32_t)b->count;
    b->symbols[b->count++] = (symbol){id, (uint32_t)start, (uint32_t)size, at - 1, -1};
    if (at > 0)
        b->symbols[at - 1].next = at;
}

/* Do all bytes have a token of their own? */
static bool has_byte_tokens(const wa_vocab *vocab, wa_text bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        if (vocab->byte_id[(unsigned char)bytes.data[i]] < 0)
            return false;
    return true;
}

/*
 * Characters to symbols: the character's token, else its bytes', else unk, else nothing. A pending
 * unk is written before the next known character only, past bytes; Hugging Face's library does so.
 */
static void split_to_known(bpe *b)
{
    const wa_tokenizer *t = b->t;
    size_t unk_size = 0, taken;
    for (size_t at = 0; at < b->piece.size; at += taken) {
        uint32_t code;
        (void)wa_utf8_take(b->piece, at, &code, &taken);
        wa_text text = {b->piece.data + at, taken};
        int32_t id = wa_vocab_find(&t->vocab, text);
        if (id < 0 && t->byte_fallback && has_byte_tokens(&t->vocab, text)) {
            for (size_t i = 0; i < taken; i++)
                add_symbol(b, (uint32_t)t->vocab.byte_id[(unsigned char)text.data[i]], at + i, 1);
            continue;
        }
        if (unk_size > 0 && (id >= 0 || !t->fuse_unk)) {
            add_symbol(b, (uint32_t)t->unk_id, at - unk_size, unk_size);
            unk_size = 0;
        }
        if (id >= 0)
            add_symbol(b, (uint32_t)id, at, taken);
        else if (t->unk_id >= 0)
            unk_size += taken;
    }
    if (unk_size > 0)
        add_symbol(b, (uint32_t)t->unk_id, b->piece.size - unk_size, unk_size);
}

static void split_to_characters(bpe *b)
{
    size_t taken;
    for (size_t at = 0; at < b->piece.size; at += taken) {
        uint32_t code;
        (void)wa_utf8_take(b->piece, at, &code, &taken);
        add_symbol(b, 0, at, taken);
    }
}

/* A symbol of SPM to ids: its token, else its bytes', else unk. */
static wa_status append_scored(const bpe *b, const symbol *s, wa_ids *ids, wa_error *err)
{
    int32_t id = find_scored(b, s->start, s->size);
    if (id >= 0)
        return wa_ids_append(ids, id, err);
    wa_text text = {b->piece.data + s->start, s->size};
    if (has_byte_tokens(&b->t->vocab, text)) {
        for (size_t i = 0; i < text.size; i++)
            WA_TRY(wa_ids_append(ids, b->t->vocab.byte_id[(unsigned char)text.data[i]], err));
        return WA_OK;
    }
    if (b->t->unk_id >= 0)
        return wa_ids_append(ids, b->t->unk_id, err);
    return wa_fail(err, WA_E_FORMAT,
                   "'%.*s' has no token, its bytes have none, and there is no "
                   "unknown token",
                   (int)text.size, text.data);
}

static wa_status run(bpe *b, wa_arena *scratch, wa_ids *ids, wa_error *err)
{
    /* A piece of n bytes has at most n symbols; at most n - 1 pairs at first and two more for each
     * of at most n - 1 merges. */
    WA_TRY(wa_arena_take_raw(scratch, b->piece.size, sizeof *b->symbols, &b->symbols, err));
    WA_TRY(wa_arena_take_raw(scratch, b->piece.size, 3 * sizeof *b->heap, &b->heap, err));
    if (b->t->is_spm)
        split_to_characters(b);
    else
        split_to_known(b);
    if (b->count == 0)
        return WA_OK; /* every character was dropped */
    merge_all(b);
    for (int32_t at = 0; at >= 0; at = b->symbols[at].next) {
        const symbol *s = &b->symbols[at];
        WA_TRY(b->t->is_spm ? append_scored(b, s, ids, err)
                            : wa_ids_append(ids, (int32_t)s->id, err));
    }
    return WA_OK;
}

wa_status wa_bpe_encode(const wa_tokenizer *tokenizer, wa_text piece, wa_arena *scratch,
                        wa_ids *ids, wa_error *err)
{
    if (piece.size > INT32_MAX)
        return wa_fail(err, WA_E_UNSUPPORTED, "a piece of %zu bytes, at most %d can be encoded",
                       piece.size, INT32_MAX);
    if (tokenizer->ignore_merges) {
        int32_t id = wa_vocab_find(&tokenizer->vocab, piece);
        if (id >= 0)
            return wa_ids_append(ids, id, err);
    }
    bpe b = {.t = tokenizer, .piece = piece};
    wa_mark mark = wa_arena_mark(scratch);
    wa_status status = run(&b, scratch, ids, err);
    wa_arena_release(scratch, mark);
    return status;
}
