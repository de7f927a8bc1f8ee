/* What a tokenizer is made of: added tokens, text steps, a model, a template and decoders. */
#ifndef WALKAUDIT_MODEL_TOKENIZER_PARTS_H
#define WALKAUDIT_MODEL_TOKENIZER_PARTS_H

#include "base/json.h"
#include "model/tokenizer.h"
#include "model/tokenizer_regex.h"
#include "model/tokenizer_vocab.h"

/** "▁", U+2581: what SentencePiece writes for a space. */
#define WA_SPACE_MARK "\xe2\x96\x81"

/** A stretch of text on its way through the steps. */
typedef struct wa_piece {
    wa_text text;
    bool starts_text; /* nothing of the whole text stands before it */
} wa_piece;

/* --- Text steps: normalisers and pre-tokenisers, taken apart into five elementary kinds ------- */

typedef enum wa_step_kind {
    WA_STEP_REPLACE, /* every `from` by `to` */
    WA_STEP_PREFIX,  /* `to` in front, as `when` says */
    WA_STEP_NFC,     /* canonical composition */
    WA_STEP_BYTES,   /* each byte by its character of the byte-level alphabet */
    WA_STEP_SPLIT    /* cut at matches; the only kind that makes several pieces of one */
} wa_step_kind;

typedef enum wa_prefix_when {
    WA_PREFIX_ALWAYS,
    WA_PREFIX_MISSING,
    WA_PREFIX_MISSING_AT_START
} wa_prefix_when;

/** What a split looks for: the regex if not NULL, else `from` if not empty, else numeric
 * characters. */
typedef enum wa_split_behavior {
    WA_SPLIT_ISOLATED,
    WA_SPLIT_REMOVED,
    WA_SPLIT_MERGED_WITH_PREVIOUS,
    WA_SPLIT_MERGED_WITH_NEXT,
    WA_SPLIT_CONTIGUOUS
} wa_split_behavior;

typedef struct wa_step {
    wa_step_kind kind;
    wa_text from; /* arena */
    wa_text to;   /* arena */
    wa_prefix_when when;
    wa_split_behavior behavior;
    bool invert;     /* what is between the matches counts as the matches */
    wa_regex *regex; /* owned by the tokenizer */
} wa_step;

/** More steps than any known tokenizer has, and a bound for the recursion over them. */
enum { WA_MAX_STEPS = 32 };

typedef struct wa_steps {
    wa_step list[WA_MAX_STEPS];
    size_t count;
} wa_steps;

/** Run a step of any kind but WA_STEP_SPLIT; the result is the input or in the arena. */
WA_CHECKED wa_status wa_step_run(const wa_step *step, wa_piece in, wa_arena *arena, wa_text *out,
                                 wa_error *err);

/** Called with each piece of a split, in order; empty ones are left out. */
typedef wa_status (*wa_piece_sink)(void *context, wa_piece piece, wa_error *err);

/** Run a WA_STEP_SPLIT. */
WA_CHECKED wa_status wa_step_split(const wa_step *step, const wa_piece *in, wa_regex_run *run,
                                   wa_piece_sink sink, void *context, wa_error *err);

/** Canonical composition (NFC) of valid UTF-8; arena, or `text` itself when it is ASCII. */
WA_CHECKED wa_status wa_nfc_run(wa_text text, wa_arena *arena, wa_text *out, wa_error *err);

/** Byte of a character of the byte-level alphabet, -1 if it is none. */
int wa_byte_of_char(uint32_t code);

/* --- Added tokens --------------------------------------------------------------------------------
 */

typedef struct wa_added_token {
    wa_text content; /* as matched; arena */
    int32_t id;
    bool strip_left;  /* swallows white space before it */
    bool strip_right; /* swallows white space behind it */
} wa_added_token;

typedef struct wa_added_set {
    wa_added_token *list; /* arena; sorted by content, without repeats and empty contents */
    size_t count;
    size_t first[257]; /* tokens whose content starts with byte b: [first[b], first[b + 1]) */
} wa_added_set;

/** Sort and index `list` in place. */
void wa_added_build(wa_added_token *list, size_t count, wa_added_set *out);

/** A cut: text[start, end) is `token`, what lies between two cuts is none. */
typedef struct wa_cut {
    const wa_added_token *token; /* NULL: no further one; start = end = text.size */
    size_t start;
    size_t end;
    size_t
        next; /* where to look for the next one: before `end` if the token swallows white space */
} wa_cut;

/**
 * The next added token at or after `from`: leftmost, longest there. White space is swallowed down
 * to `floor`, the end of the cut before.
 */
wa_cut wa_added_next(const wa_added_set *set, wa_text text, size_t from, size_t floor);

/* --- Decoders ------------------------------------------------------------------------------------
 */

typedef enum wa_decoder_kind {
    WA_DECODE_BYTE_LEVEL,
    WA_DECODE_REPLACE,
    WA_DECODE_BYTE_FALLBACK,
    WA_DECODE_STRIP,
    WA_DECODE_FUSE
} wa_decoder_kind;

typedef struct wa_decoder {
    wa_decoder_kind kind;
    wa_text from, to;   /* arena; replace: every `from` by `to`; strip: `from` is one character */
    size_t start, stop; /* strip: at most so many copies at either end */
} wa_decoder;

typedef struct wa_decoders {
    wa_decoder list[WA_MAX_STEPS];
    size_t count;
} wa_decoders;

/** Decode one token alone; the result may hold broken UTF-8. */
WA_CHECKED wa_status wa_decoders_run(const wa_decoders *decoders, wa_text token, wa_arena *arena,
                                     wa_text *out, wa_error *err);

/* --- The whole -----------------------------------------------------------------------------------
 */

struct wa_tokenizer {
    wa_arena *arena; /* owned; holds this struct and all below but the regexes */
    char *source;
    char *warning; /* NULL = none */
    wa_vocab vocab;

    wa_added_set raw;        /* matched against the text */
    wa_added_set normalized; /* matched against normalised fragments */
    wa_steps normalizers;    /* no splits */
    wa_steps splitters;

    bool is_spm;      /* merge by score; else by rank */
    wa_merges merges; /* by rank only */
    uint32_t *order;  /* by score only: [vocab.id_count], smaller merges first */
    int32_t unk_id;   /* -1 = none */
    bool fuse_unk;
    bool byte_fallback;
    bool ignore_merges;

    int32_t *before, *after; /* template: ids around the encoding */
    size_t before_count, after_count;
    wa_decoders decoders;
};

/** In `order`: a token that no merge may make. */
#define WA_ORDER_NEVER UINT32_MAX

/** Ids of one encoding, growing. */
typedef struct wa_ids {
    wa_arena *arena; /* borrowed */
    int32_t *list;
    size_t count, capacity;
} wa_ids;

WA_CHECKED wa_status wa_ids_append(wa_ids *ids, int32_t id, wa_error *err);

/** Encode one piece with the tokenizer's model. `scratch` is left as it was. */
WA_CHECKED wa_status wa_bpe_encode(const wa_tokenizer *tokenizer, wa_text piece, wa_arena *scratch,
                                   wa_ids *ids, wa_error *err);

/** Fill a tokenizer, whose arena is set, from a tokenizer.json or from a GGUF file. */
WA_CHECKED wa_status wa_tokenizer_read_json(wa_bytes document, wa_tokenizer *tokenizer,
                                            wa_error *err);
WA_CHECKED wa_status wa_tokenizer_read_gguf(wa_bytes file, wa_tokenizer *tokenizer, wa_error *err);

/* --- Reading components of a tokenizer.json (null is allowed for each) ------------------------ */

/** A type of component and its reader; NULL: it changes nothing here. */
typedef struct wa_component {
    const char *type;
    wa_status (*read)(const json_t *json, wa_tokenizer *t, wa_error *err);
} wa_component;

/** Read a component by its type. WA_E_UNSUPPORTED, naming it, when the table has no such type. */
WA_CHECKED wa_status wa_read_component(const char *kind, const json_t *json,
                                       const wa_component *table, size_t count, wa_tokenizer *t,
                                       wa_error *err);

WA_CHECKED wa_status wa_read_normalizer(const json_t *json, wa_tokenizer *t, wa_error *err);
WA_CHECKED wa_status wa_read_pre_tokenizer(const json_t *json, wa_tokenizer *t, wa_error *err);
WA_CHECKED wa_status wa_read_post_processor(const json_t *json, wa_tokenizer *t, wa_error *err);
WA_CHECKED wa_status wa_read_decoder(const json_t *json, wa_tokenizer *t, wa_error *err);

/** Regular expressions that have been compared with Hugging Face's library. */
extern const char WA_REGEX_GPT2[], WA_REGEX_QWEN2[], WA_REGEX_LLAMA3[];

/** Add a step; WA_E_UNSUPPORTED past WA_MAX_STEPS. */
WA_CHECKED wa_status wa_steps_add(wa_steps *steps, wa_step step, wa_error *err);
WA_CHECKED wa_status wa_decoders_add(wa_decoders *decoders, wa_decoder decode, wa_error *err);

/** Add a split by `pattern`; a pattern that is not a tested one leaves a warning. */
WA_CHECKED wa_status wa_steps_add_regex(wa_tokenizer *t, wa_text pattern,
                                        wa_split_behavior behavior, bool invert, wa_error *err);

/** Add the byte-level steps: an optional space in front, the optional GPT-2 split, the mapping. */
WA_CHECKED wa_status wa_steps_add_byte_level(wa_tokenizer *t, bool add_space, bool use_regex,
                                             wa_error *err);

/** Copy a text into the arena. */
WA_CHECKED wa_status wa_text_copy(wa_text text, wa_arena *arena, wa_text *out, wa_error *err);

/** Replace every `from` (not empty) in `text` by `to`; arena, or `text` itself when there is none.
 */
WA_CHECKED wa_status wa_text_replace(wa_text text, wa_text from, wa_text to, wa_arena *arena,
                                     wa_text *out, wa_error *err);

#endif
