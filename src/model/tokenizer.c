/* Tokenizers as their users see them: open, encode, look up. */
#include "model/tokenizer_parts.h"

#include "model/split.h"

#include <dirent.h>

/* --- Opening --------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

/* The one GGUF file of a directory without tokenizer.json; of a split one the first part, which has
 * the vocabulary. */
static wa_status find_gguf(const char *path, wa_arena *arena, char **out, wa_error *err)
{
    DIR *directory = opendir(path);
    if (directory == NULL)
        return wa_fail(err, WA_E_IO, "cannot read directory '%s'", path);
    size_t found = 0;
    wa_status status = WA_OK;
    for (struct dirent *entry = readdir(directory); entry != NULL && status == WA_OK;
         entry = readdir(directory))
        if (ends_with(entry->d_name, ".gguf")) {
            char *name;
            status = wa_arena_print(arena, &name, err, "%s/%s", path, entry->d_name);
            if (status == WA_OK)
                status = wa_split_part(name, 1, arena, &name, err);
            found += status == WA_OK && (found == 0 || strcmp(*out, name) != 0);
            *out = status == WA_OK ? name : *out;
        }
    closedir(directory);
    if (status == WA_OK && found != 1)
        return wa_fail(err, WA_E_FORMAT,
                       "directory '%s' holds no tokenizer.json and %zu GGUF files, expected one",
                       path, found);
    return status;
}

static wa_status find_source(const char *path, wa_arena *arena, char **out, wa_error *err)
{
    if (!wa_dir_exists(path))
        return wa_split_part(path, 1, arena, out, err);
    WA_TRY(wa_arena_print(arena, out, err, "%s/tokenizer.json", path));
    return wa_file_exists(*out) ? WA_OK : find_gguf(path, arena, out, err);
}

static bool is_gguf(wa_bytes file)
{
    return file.size >= 4 && memcmp(file.data, "GGUF", 4) == 0;
}

/* A tokenizer.json beside a GGUF file wins: it says more than the vocabulary inside. */
static wa_status find_beside(const char *path, wa_arena *arena, char **out, wa_error *err)
{
    const char *slash = strrchr(path, '/');
    size_t directory = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    char *beside;
    WA_TRY(wa_arena_print(arena, &beside, err, "%.*stokenizer.json", (int)directory, path));
    *out = wa_file_exists(beside) ? beside : NULL;
    return WA_OK;
}

static wa_status read_source(wa_tokenizer *t, wa_error *err)
{
    wa_map map;
    char *beside = NULL;
    WA_TRY(wa_map_open(t->source, &map, err));
    wa_status status = is_gguf(map.bytes) ? find_beside(t->source, t->arena, &beside, err) : WA_OK;
    if (status == WA_OK && beside != NULL) {
        wa_map_close(&map);
        t->source = beside;
        WA_TRY(wa_map_open(t->source, &map, err));
    }
    if (status == WA_OK)
        status = is_gguf(map.bytes) ? wa_tokenizer_read_gguf(map.bytes, t, err)
                                    : wa_tokenizer_read_json(map.bytes, t, err);
    wa_map_close(&map);
    return status == WA_OK ? WA_OK : wa_note(err, "in tokenizer '%s'", t->source);
}

wa_status wa_tokenizer_open(const char *path, wa_tokenizer **out, wa_error *err)
{
    wa_arena *arena;
    wa_tokenizer *t = NULL;
    WA_TRY(wa_arena_open("tokenizer", 0, &arena, err));
    wa_status status = wa_arena_take(arena, 1, sizeof *t, &t, err);
    if (status != WA_OK) {
        wa_arena_close(arena);
        return status;
    }
    t->arena = arena;
    t->unk_id = -1;
    status = find_source(path, arena, &t->source, err);
    if (status == WA_OK)
        status = read_source(t, err);
    if (status != WA_OK) {
        wa_tokenizer_close(t);
        return status;
    }
    *out = t;
    return WA_OK;
}

void wa_tokenizer_close(wa_tokenizer *tokenizer)
{
    if (tokenizer == NULL)
        return;
    for (size_t i = 0; i < tokenizer->splitters.count; i++)
        wa_regex_close(tokenizer->splitters.list[i].regex);
    wa_arena_close(tokenizer->arena);
}

/* --- Encoding -------------------------------------------------------------------------------- */

wa_status wa_ids_append(wa_ids *ids, int32_t id, wa_error *err)
{
    if (ids->count == ids->capacity) {
        size_t capacity = ids->capacity == 0 ? 16 : 2 * ids->capacity;
        int32_t *list;
        WA_TRY(wa_arena_take_raw(ids->arena, capacity, sizeof *list, &list, err));
        if (ids->count > 0)
            memcpy(list, ids->list, ids->count * sizeof *list);
        ids->list = list;
        ids->capacity = capacity;
    }
    ids->list[ids->count++] = id;
    return WA_OK;
}

typedef struct encoding {
    const wa_tokenizer *t;
    wa_arena *scratch; /* given back as the recursion returns */
    wa_regex_run *run;
    wa_ids ids; /* in an arena of their own, since they outlive the marks in `scratch` */
} encoding;

/* Where the pieces of a split go on. */
typedef struct next_step {
    encoding *e;
    size_t index;
} next_step;

static wa_status run_splitters(encoding *e, size_t index, wa_piece piece, wa_error *err);

static wa_status take_piece(void *context, wa_piece piece, wa_error *err)
{
    const next_step *next = context;
    return run_splitters(next->e, next->index, piece, err);
}

/* From step `index` on, then the model; recursion as deep as there are steps. */
static wa_status run_splitters(encoding *e, size_t index, wa_piece piece, wa_error *err)
{
    if (piece.text.size == 0)
        return WA_OK;
    if (index == e->t->splitters.count)
        return wa_bpe_encode(e->t, piece.text, e->scratch, &e->ids, err);
    const wa_step *step = &e->t->splitters.list[index];
    if (step->kind == WA_STEP_SPLIT) {
        next_step next = {e, index + 1};
        return wa_step_split(step, &piece, e->run, take_piece, &next, err);
    }
    wa_mark mark = wa_arena_mark(e->scratch);
    wa_status status = wa_step_run(step, piece, e->scratch, &piece.text, err);
    if (status == WA_OK)
        status = run_splitters(e, index + 1, piece, err);
    wa_arena_release(e->scratch, mark);
    return status;
}

typedef wa_status (*fragment_sink)(encoding *e, wa_piece fragment, wa_error *err);

/*
 * Cuts added tokens out; what lies between them goes on. A token within the white space that the
 * one before it swallowed is found all the same, as in Hugging Face's library; it counts unless it
 * swallows white space on its left too and so is left with nothing.
 */
static wa_status cut_added(encoding *e, const wa_added_set *set, wa_piece piece, fragment_sink sink,
                           wa_error *err)
{
    size_t done = 0, from = 0;
    wa_cut cut;
    do {
        cut = wa_added_next(set, piece.text, from, done);
        if (done < cut.start) {
            wa_text gap = {piece.text.data + done, cut.start - done};
            WA_TRY(sink(e, (wa_piece){gap, piece.starts_text && done == 0}, err));
        }
        if (cut.start < cut.end)
            WA_TRY(wa_ids_append(&e->ids, cut.token->id, err));
        done = cut.end;
        from = cut.next;
    } while (cut.token != NULL);
    return WA_OK;
}

static wa_status split_fragment(encoding *e, wa_piece fragment, wa_error *err)
{
    return run_splitters(e, 0, fragment, err);
}

static wa_status normalize_fragment(encoding *e, wa_piece fragment, wa_error *err)
{
    const wa_steps *steps = &e->t->normalizers;
    wa_mark mark = wa_arena_mark(e->scratch);
    wa_status status = WA_OK;
    for (size_t i = 0; i < steps->count && status == WA_OK && fragment.text.size > 0; i++)
        status = wa_step_run(&steps->list[i], fragment, e->scratch, &fragment.text, err);
    if (status == WA_OK)
        status = cut_added(e, &e->t->normalized, fragment, split_fragment, err);
    wa_arena_release(e->scratch, mark);
    return status;
}

static wa_status encode(encoding *e, wa_text text, wa_error *err)
{
    const wa_tokenizer *t = e->t;
    bool has_regex = false;
    char *pin; /* keeps the first chunk, which pieces would else take and give back one by one */
    WA_TRY(wa_arena_take_raw(e->scratch, 1, 1, &pin, err));
    for (size_t i = 0; i < t->splitters.count; i++)
        has_regex |= t->splitters.list[i].regex != NULL;
    if (has_regex)
        WA_TRY(wa_regex_run_open(e->ids.arena, &e->run, err));
    if (has_regex)
        WA_TRY(wa_regex_check_known(text, e->run, err));
    for (size_t i = 0; i < t->before_count; i++)
        WA_TRY(wa_ids_append(&e->ids, t->before[i], err));
    WA_TRY(cut_added(e, &t->raw, (wa_piece){text, true}, normalize_fragment, err));
    for (size_t i = 0; i < t->after_count; i++)
        WA_TRY(wa_ids_append(&e->ids, t->after[i], err));
    return WA_OK;
}

/* Encodes in two arenas of its own; the caller's gets the ids alone. */
static wa_status encode_apart(const wa_tokenizer *t, wa_text text, wa_arena *arena, int32_t **ids,
                              size_t *count, wa_error *err)
{
    encoding e = {.t = t};
    int32_t *list;
    WA_TRY(wa_arena_open("token ids", 0, &e.ids.arena, err));
    wa_status status = wa_arena_open("tokenizing", 0, &e.scratch, err);
    if (status == WA_OK)
        status = encode(&e, text, err);
    if (status == WA_OK)
        status = wa_arena_take_raw(arena, e.ids.count, sizeof *list, &list, err);
    if (status == WA_OK) {
        if (e.ids.count > 0)
            memcpy(list, e.ids.list, e.ids.count * sizeof *list);
        *ids = list;
        *count = e.ids.count;
    }
    wa_regex_run_close(e.run);
    wa_arena_close(e.scratch);
    wa_arena_close(e.ids.arena);
    return status;
}

wa_status wa_tokenizer_encode(const wa_tokenizer *tokenizer, const char *text, size_t length,
                              wa_arena *arena, int32_t **ids, size_t *count, wa_error *err)
{
    wa_text whole = {text, length};
    size_t valid = wa_utf8_valid_size(whole);
    if (valid < length)
        return wa_fail(err, WA_E_FORMAT,
                       "text to encode: invalid UTF-8 at byte %zu of %zu (0x%02x)", valid, length,
                       (unsigned)(unsigned char)text[valid]);
    return encode_apart(tokenizer, whole, arena, ids, count, err);
}

/* --- Looking up ------------------------------------------------------------------------------ */

wa_status wa_tokenizer_text(const wa_tokenizer *tokenizer, int32_t id, wa_arena *arena, char **out,
                            wa_error *err)
{
    wa_text text = wa_vocab_text(&tokenizer->vocab, id), repaired = {NULL, 0};
    if (text.data != NULL && !wa_tokenizer_is_special(tokenizer, id))
        WA_TRY(wa_decoders_run(&tokenizer->decoders, text, arena, &text, err));
    WA_TRY(wa_utf8_repair(text, arena, &repaired, err));
    return wa_arena_copy(arena, repaired.data, repaired.size, out, err);
}

const char *wa_tokenizer_piece(const wa_tokenizer *tokenizer, int32_t id, size_t *length)
{
    wa_text text = wa_vocab_text(&tokenizer->vocab, id);
    *length = text.size;
    return text.data;
}

bool wa_tokenizer_is_special(const wa_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && (size_t)id < tokenizer->vocab.id_count && tokenizer->vocab.special[id] != 0;
}

size_t wa_tokenizer_id_count(const wa_tokenizer *tokenizer)
{
    return tokenizer->vocab.id_count;
}

const char *wa_tokenizer_warning(const wa_tokenizer *tokenizer)
{
    return tokenizer->warning;
}

const char *wa_tokenizer_source(const wa_tokenizer *tokenizer)
{
    return tokenizer->source;
}
