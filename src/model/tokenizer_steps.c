/* Text steps: what normalisers and pre-tokenisers do to a piece of text. */
#include "model/tokenizer_parts.h"

#include <utf8proc.h>

wa_status wa_text_copy(wa_text text, wa_arena *arena, wa_text *out, wa_error *err)
{
    char *at;
    WA_TRY(wa_arena_take_raw(arena, text.size + 1, 1, &at, err));
    if (text.size > 0)
        memcpy(at, text.data, text.size);
    at[text.size] = '\0';
    *out = (wa_text){at, text.size};
    return WA_OK;
}

wa_status wa_text_replace(wa_text text, wa_text from, wa_text to, wa_arena *arena, wa_text *out,
                          wa_error *err)
{
    size_t hits = 0, grown, size;
    for (size_t at = wa_text_find(text, from, 0); at < text.size;
         at = wa_text_find(text, from, at + from.size))
        hits++;
    if (hits == 0) {
        *out = text;
        return WA_OK;
    }
    if (!wa_size_mul(hits, to.size, &grown) || !wa_size_add(grown, text.size, &size))
        return wa_fail(err, WA_E_MEMORY, "replacing %zu times in %zu bytes overflows", hits,
                       text.size);

    char *buffer;
    size_t used = 0, done = 0;
    WA_TRY(wa_arena_take_raw(arena, size, 1, &buffer, err));
    while (done < text.size) {
        size_t hit = wa_text_find(text, from, done);
        memcpy(buffer + used, text.data + done, hit - done);
        used += hit - done;
        done = hit;
        if (hit == text.size)
            break;
        if (to.size > 0)
            memcpy(buffer + used, to.data, to.size);
        used += to.size;
        done += from.size;
    }
    *out = (wa_text){buffer, used};
    return WA_OK;
}

static wa_status add_prefix(const wa_step *step, wa_piece in, wa_arena *arena, wa_text *out,
                            wa_error *err)
{
    bool has_it = step->when != WA_PREFIX_ALWAYS && wa_text_starts_with(in.text, step->to);
    bool elsewhere = step->when == WA_PREFIX_MISSING_AT_START && !in.starts_text;
    if (has_it || elsewhere) {
        *out = in.text;
        return WA_OK;
    }
    char *buffer;
    size_t size;
    if (!wa_size_add(in.text.size, step->to.size, &size))
        return wa_fail(err, WA_E_MEMORY, "a prefix for %zu bytes overflows", in.text.size);
    WA_TRY(wa_arena_take_raw(arena, size, 1, &buffer, err));
    if (step->to.size > 0)
        memcpy(buffer, step->to.data, step->to.size);
    memcpy(buffer + step->to.size, in.text.data, in.text.size);
    *out = (wa_text){buffer, size};
    return WA_OK;
}

/*
 * The byte-level alphabet (forward-pass.md 4.3): printable bytes stand for themselves, the other 68
 * for U+0100, U+0101, … in ascending order.
 */
static bool byte_is_itself(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

static uint32_t char_of_byte(unsigned byte)
{
    if (byte_is_itself(byte))
        return byte;
    if (byte <= 0x20)
        return 0x100 + byte;
    return byte == 0xad ? 0x143 : 0x121 + byte - 0x7f; /* 0x7f to 0xa0 follow the 33 low ones */
}

int wa_byte_of_char(uint32_t code)
{
    if (code < 0x100)
        return byte_is_itself(code) ? (int)code : -1;
    if (code <= 0x120)
        return (int)(code - 0x100);
    if (code <= 0x142)
        return (int)(code - 0x121 + 0x7f);
    return code == 0x143 ? 0xad : -1;
}

static wa_status spell_bytes(wa_text in, wa_arena *arena, wa_text *out, wa_error *err)
{
    char *buffer;
    size_t used = 0;
    WA_TRY(wa_arena_take_raw(arena, in.size, 2, &buffer, err)); /* the alphabet ends at U+0143 */
    for (size_t i = 0; i < in.size; i++)
        used += wa_utf8_put(char_of_byte((unsigned char)in.data[i]), buffer + used);
    *out = (wa_text){buffer, used};
    return WA_OK;
}

wa_status wa_step_run(const wa_step *step, wa_piece in, wa_arena *arena, wa_text *out,
                      wa_error *err)
{
    switch (step->kind) {
    case WA_STEP_REPLACE:
        return wa_text_replace(in.text, step->from, step->to, arena, out, err);
    case WA_STEP_PREFIX:
        return add_prefix(step, in, arena, out, err);
    case WA_STEP_NFC:
        return wa_nfc_run(in.text, arena, out, err);
    case WA_STEP_BYTES:
        return spell_bytes(in.text, arena, out, err);
    case WA_STEP_SPLIT:
        break;
    }
    return wa_fail(err, WA_E_INTERNAL, "a split is no step from one text to one");
}

/* --- Splitting ------------------------------------------------------------------------------- */

/* The stretch that waits for its neighbour, and where finished ones go. */
typedef struct splitter {
    const wa_step *step;
    const wa_piece *in;
    size_t start, end; /* waiting stretch */
    bool waiting;
    bool last_matched; /* was the latest stretch a match? */
    wa_piece_sink sink;
    void *context;
} splitter;

static wa_status flush(splitter *s, wa_error *err)
{
    bool empty = !s->waiting || s->start == s->end;
    s->waiting = false;
    if (empty)
        return WA_OK;
    return s->sink(s->context,
                   (wa_piece){.text = {s->in->text.data + s->start, s->end - s->start},
                              .starts_text = s->in->starts_text && s->start == 0},
                   err);
}

/* Does this stretch continue the waiting one? As in NormalizedString::split of Hugging Face's
 * library; a run of matches gives only its nearest one to the neighbour. */
static bool joins(const splitter *s, bool matched)
{
    switch (s->step->behavior) {
    case WA_SPLIT_MERGED_WITH_PREVIOUS:
        return matched && !s->last_matched;
    case WA_SPLIT_MERGED_WITH_NEXT:
        return !matched && s->last_matched;
    case WA_SPLIT_CONTIGUOUS:
        return matched == s->last_matched;
    case WA_SPLIT_ISOLATED:
    case WA_SPLIT_REMOVED:
        break;
    }
    return false;
}

static wa_status add_stretch(splitter *s, size_t start, size_t end, bool matched, wa_error *err)
{
    matched ^= s->step->invert;
    if (s->waiting && joins(s, matched)) {
        s->end = end;
    } else {
        WA_TRY(flush(s, err));
        s->start = start;
        s->end = end;
        s->waiting = !(matched && s->step->behavior == WA_SPLIT_REMOVED);
    }
    s->last_matched = matched;
    return WA_OK;
}

/* As Rust's char::is_numeric, which Digits uses: general category N. */
static bool is_numeric(uint32_t code)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
    return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
           category == UTF8PROC_CATEGORY_NO;
}

static void find_digit(wa_text text, size_t from, size_t *start, size_t *end)
{
    uint32_t code;
    size_t taken;
    for (size_t at = from; at < text.size; at += taken)
        if (wa_utf8_take(text, at, &code, &taken) && is_numeric(code)) {
            *start = at;
            *end = at + taken;
            return;
        }
    *start = *end = text.size + 1;
}

/* The next match at or after `from`; behind the text when there is none. */
static wa_status find_match(const wa_step *step, wa_text text, size_t from, wa_regex_run *run,
                            size_t *start, size_t *end, wa_error *err)
{
    if (step->regex != NULL)
        return wa_regex_find(step->regex, text, from, run, start, end, err);
    if (step->from.size == 0) {
        find_digit(text, from, start, end);
        return WA_OK;
    }
    size_t hit = wa_text_find(text, step->from, from);
    *start = hit < text.size ? hit : text.size + 1;
    *end = *start + (hit < text.size ? step->from.size : 0);
    return WA_OK;
}

wa_status wa_step_split(const wa_step *step, const wa_piece *in, wa_regex_run *run,
                        wa_piece_sink sink, void *context, wa_error *err)
{
    splitter s = {.step = step, .in = in, .sink = sink, .context = context};
    wa_text text = in->text;
    size_t done = 0, from = 0; /* `from` is ahead of `done` behind an empty match */
    while (from <= text.size) {
        size_t start = 0, end = 0;
        WA_TRY(find_match(step, text, from, run, &start, &end, err));
        if (start > text.size)
            break;
        if (start > done)
            WA_TRY(add_stretch(&s, done, start, false, err));
        WA_TRY(add_stretch(&s, start, end, true, err));
        done = from = end;
        if (start == end) {
            uint32_t code;
            size_t taken = 1;
            if (end < text.size)
                (void)wa_utf8_take(text, end, &code, &taken);
            from = end + taken;
        }
    }
    if (done < text.size)
        WA_TRY(add_stretch(&s, done, text.size, false, err));
    return flush(&s, err);
}
