/*
 * A tokenizer.json is up to 33 MB of `vocab` and `merges` around a few kilobytes that say what to
 * do with them. A document tree of it takes over a second; so these two are cut out, parsed here
 * straight into tables, and only the rest becomes a tree.
 */
#include "model/tokenizer_scan.h"

typedef struct cursor {
    wa_bytes text;
    size_t at;
} cursor;

static void skip_space(cursor *c)
{
    while (c->at < c->text.size) {
        uint8_t byte = c->text.data[c->at];
        if (byte != ' ' && byte != '\n' && byte != '\r' && byte != '\t')
            break;
        c->at++;
    }
}

/* Takes `byte` if it comes next. */
static bool accept(cursor *c, char byte)
{
    if (c->at == c->text.size || c->text.data[c->at] != (uint8_t)byte)
        return false;
    c->at++;
    return true;
}

/* From behind the opening quote to behind the closing one. */
static bool skip_string(cursor *c, wa_text *raw, bool *escaped)
{
    const uint8_t *data = c->text.data;
    size_t start = c->at, at = start, size = c->text.size;
    bool found_escape = false;
    for (; at < size && data[at] != '"'; at++)
        if (data[at] == '\\') {
            found_escape = true;
            at++; /* whatever follows belongs to it */
        }
    *escaped = found_escape;
    if (at >= size) {
        c->at = size;
        return false;
    }
    *raw = (wa_text){(const char *)data + start, at - start};
    c->at = at + 1;
    return true;
}

/* --- Locating -------------------------------------------------------------------------------- */

/* Past one value; brackets are counted but not matched, since whoever parses it will see. */
static bool skip_value(cursor *c, wa_scan_span *span)
{
    size_t start = c->at, depth = 0;
    do {
        if (c->at >= c->text.size)
            return false;
        uint8_t byte = c->text.data[c->at++];
        if (byte == '"') {
            wa_text raw;
            bool escaped;
            if (!skip_string(c, &raw, &escaped))
                return false;
            span->strings++;
            if (raw.size > span->longest)
                span->longest = raw.size;
        } else if (byte == '{' || byte == '[') {
            depth++;
        } else if ((byte == '}' || byte == ']') && depth-- == 0) {
            return false;
        }
    } while (depth > 0);
    span->bytes = (wa_bytes){c->text.data + start, c->at - start};
    span->offset = start;
    return true;
}

/* Moves to the value of the next member of an object; false at its end or at anything unexpected.
 */
static bool next_member(cursor *c, wa_text *key)
{
    bool escaped;
    skip_space(c);
    if (accept(c, ','))
        skip_space(c);
    if (!accept(c, '"') || !skip_string(c, key, &escaped))
        return false;
    skip_space(c);
    if (!accept(c, ':'))
        return false;
    skip_space(c);
    return c->at < c->text.size;
}

/* Past a number or a word. */
static void skip_scalar(cursor *c)
{
    while (c->at < c->text.size && strchr(",}] \t\r\n", c->text.data[c->at]) == NULL)
        c->at++;
}

static bool starts_tree_or_string(const cursor *c)
{
    uint8_t byte = c->text.data[c->at];
    return byte == '{' || byte == '[' || byte == '"';
}

static void locate_in_model(cursor *c, wa_scan_spans *out)
{
    wa_text key;
    while (next_member(c, &key)) {
        wa_scan_span span = {0};
        if (!starts_tree_or_string(c)) {
            skip_scalar(c);
            continue;
        }
        bool is_tree = c->text.data[c->at] != '"';
        if (!skip_value(c, &span))
            return;
        if (is_tree && out->vocab.bytes.data == NULL && wa_text_equals(key, WA_TEXT("vocab")))
            out->vocab = span;
        if (is_tree && out->merges.bytes.data == NULL && wa_text_equals(key, WA_TEXT("merges")))
            out->merges = span;
    }
    accept(c, '}');
}

wa_scan_spans wa_scan_locate(wa_bytes document)
{
    wa_scan_spans out = {0};
    cursor c = {document, 0};
    wa_text key;
    skip_space(&c);
    if (!accept(&c, '{'))
        return out;
    while (next_member(&c, &key)) {
        wa_scan_span ignored = {0};
        if (wa_text_equals(key, WA_TEXT("model")) && accept(&c, '{'))
            locate_in_model(&c, &out);
        else if (!starts_tree_or_string(&c))
            skip_scalar(&c);
        else if (!skip_value(&c, &ignored))
            break;
    }
    return out;
}

/* Copies the document up to the span, then an empty value of its kind. */
static void copy_around(wa_bytes document, const wa_scan_span *span, size_t *from, char *to,
                        size_t *used)
{
    if (span->bytes.data == NULL)
        return;
    memcpy(to + *used, document.data + *from, span->offset - *from);
    *used += span->offset - *from;
    memcpy(to + *used, span->bytes.data[0] == '{' ? "{}" : "[]", 2);
    *used += 2;
    *from = span->offset + span->bytes.size;
}

wa_status wa_scan_rest(wa_bytes document, const wa_scan_spans *spans, wa_arena *arena,
                       wa_bytes *out, wa_error *err)
{
    bool vocab_first = spans->vocab.offset < spans->merges.offset;
    size_t size = document.size - spans->vocab.bytes.size - spans->merges.bytes.size + 4;
    size_t from = 0, used = 0;
    char *to;
    WA_TRY(wa_arena_take_raw(arena, size, 1, &to, err));
    copy_around(document, vocab_first ? &spans->vocab : &spans->merges, &from, to, &used);
    copy_around(document, vocab_first ? &spans->merges : &spans->vocab, &from, to, &used);
    memcpy(to + used, document.data + from, document.size - from);
    *out = (wa_bytes){(const uint8_t *)to, used + document.size - from};
    return WA_OK;
}

/* --- Parsing --------------------------------------------------------------------------------- */

typedef struct reader {
    cursor c;
    size_t base; /* offset of the span in the document */
    const char *name;
} reader;

static wa_status wrong(const reader *r, size_t at, const char *expected, wa_error *err)
{
    if (at >= r->c.text.size)
        return wa_fail(err, WA_E_FORMAT, "%s: byte %zu: found its end, expected %s", r->name,
                       r->base + at, expected);
    uint8_t found = r->c.text.data[at];
    if (found > 0x20 && found < 0x7f)
        return wa_fail(err, WA_E_FORMAT, "%s: byte %zu: found '%c', expected %s", r->name,
                       r->base + at, found, expected);
    return wa_fail(err, WA_E_FORMAT, "%s: byte %zu: found byte 0x%02x, expected %s", r->name,
                   r->base + at, found, expected);
}

static wa_status take_byte(reader *r, char byte, const char *expected, wa_error *err)
{
    skip_space(&r->c);
    return accept(&r->c, byte) ? WA_OK : wrong(r, r->c.at, expected, err);
}

/* Four hex digits at raw[at …]. */
static bool take_hex4(wa_text raw, size_t at, uint32_t *out)
{
    uint32_t value = 0;
    if (raw.size < at + 4)
        return false;
    for (size_t i = at; i < at + 4; i++) {
        char c = raw.data[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            value = value << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return false;
    }
    *out = value;
    return true;
}

/* The escape behind a backslash at raw[*at]; a surrogate pair counts as one. */
static bool take_escape(wa_text raw, size_t *at, uint32_t *code)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (*at == raw.size)
        return false;
    char kind = raw.data[(*at)++];
    if (kind != 'u') {
        const char *found = kind == '\0' ? NULL : strchr(names, kind);
        if (found != NULL)
            *code = (uint32_t)(unsigned char)values[found - names];
        return found != NULL;
    }
    if (!take_hex4(raw, *at, code))
        return false;
    *at += 4;
    if (*code < 0xd800 || *code > 0xdfff)
        return true;
    uint32_t low;
    if (*code > 0xdbff || raw.size - *at < 6 || raw.data[*at] != '\\' || raw.data[*at + 1] != 'u' ||
        !take_hex4(raw, *at + 2, &low) || low < 0xdc00 || low > 0xdfff)
        return false;
    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
    *at += 6;
    return true;
}

/* Writes at most raw.size bytes to `out`: an escape is never shorter than its character. */
static bool unescape(wa_text raw, char *out, size_t *size)
{
    size_t used = 0;
    for (size_t at = 0; at < raw.size;) {
        uint32_t code;
        if (raw.data[at] != '\\') {
            out[used++] = raw.data[at++];
            continue;
        }
        at++;
        if (!take_escape(raw, &at, &code))
            return false;
        used += wa_utf8_put(code, out + used);
    }
    *size = used;
    return true;
}

static bool has_control(wa_text raw)
{
    bool found = false;
    for (size_t i = 0; i < raw.size; i++)
        found |= (unsigned char)raw.data[i] < 0x20;
    return found;
}

/* A string, decoded to `out`, which has room for as many bytes as it has in the file. */
static wa_status take_string(reader *r, char *out, size_t *size, wa_error *err)
{
    WA_TRY(take_byte(r, '"', "a string", err));
    size_t start = r->c.at;
    wa_text raw;
    bool escaped;
    if (!skip_string(&r->c, &raw, &escaped))
        return wrong(r, r->c.at, "the end of a string", err);
    if (escaped) {
        if (!unescape(raw, out, size))
            return wa_fail(err, WA_E_FORMAT, "%s: bad escape in the string at byte %zu", r->name,
                           r->base + start);
    } else {
        memcpy(out, raw.data, raw.size);
        *size = raw.size;
    }
    if (has_control(raw) || wa_utf8_valid_size((wa_text){out, *size}) != *size)
        return wa_fail(err, WA_E_FORMAT,
                       "%s: string at byte %zu: found a control character or invalid UTF-8",
                       r->name, r->base + start);
    return WA_OK;
}

static wa_status take_id(reader *r, uint32_t *out, wa_error *err)
{
    skip_space(&r->c);
    size_t start = r->c.at;
    uint32_t value = 0;
    for (; r->c.at < r->c.text.size; r->c.at++) {
        uint8_t byte = r->c.text.data[r->c.at];
        if (byte < '0' || byte > '9')
            break;
        value = 10 * value + (uint32_t)(byte - '0');
        if (value > WA_VOCAB_MAX_ID)
            return wa_fail(err, WA_E_FORMAT, "%s: byte %zu: token id above %d", r->name,
                           r->base + start, WA_VOCAB_MAX_ID);
    }
    if (r->c.at == start)
        return wrong(r, start, "a token id, an integer of at least 0", err);
    *out = value;
    return WA_OK;
}

/* After an entry: true at another one, false at the end of the span. */
static wa_status take_more(reader *r, char close, bool *more, wa_error *err)
{
    skip_space(&r->c);
    *more = accept(&r->c, ',');
    if (*more)
        return WA_OK;
    if (!accept(&r->c, close))
        return wrong(r, r->c.at, close == '}' ? "',' or '}'" : "',' or ']'", err);
    if (r->c.at != r->c.text.size)
        return wrong(r, r->c.at, "nothing more", err);
    return WA_OK;
}

/* Opens the span; *more is false when it is empty. */
static wa_status open_span(reader *r, char open, char close, bool *more, wa_error *err)
{
    WA_TRY(take_byte(r, open, open == '{' ? "an object" : "an array", err));
    skip_space(&r->c);
    *more = !(r->c.at + 1 == r->c.text.size && accept(&r->c, close));
    return WA_OK;
}

wa_status wa_scan_vocab(const wa_scan_span *span, char *pool, size_t *used, wa_vocab_entry *entries,
                        size_t *count, wa_error *err)
{
    reader r = {{span->bytes, 0}, span->offset, "model.vocab"};
    size_t n = 0;
    bool more;
    WA_TRY(open_span(&r, '{', '}', &more, err));
    while (more) {
        size_t size = 0;
        uint32_t id = 0;
        WA_TRY(take_string(&r, pool + *used, &size, err));
        WA_TRY(take_byte(&r, ':', "':'", err));
        WA_TRY(take_id(&r, &id, err));
        entries[n++] = (wa_vocab_entry){id, (uint32_t)*used, (uint32_t)size};
        *used += size;
        WA_TRY(take_more(&r, '}', &more, err));
    }
    *count = n;
    return WA_OK;
}

/* "a b": exactly one space; it is closed up, so that the whole stands in one piece. */
static wa_status split_at_space(const reader *r, size_t rank, char *text, size_t *size,
                                size_t *split, wa_error *err)
{
    const char *space = memchr(text, ' ', *size);
    size_t left = space == NULL ? 0 : (size_t)(space - text);
    if (space == NULL || memchr(space + 1, ' ', *size - left - 1) != NULL)
        return wa_fail(err, WA_E_FORMAT,
                       "%s: merge %zu is '%.*s', expected two parts and one space", r->name, rank,
                       *size > 60 ? 60 : (int)*size, text);
    memmove(text + left, text + left + 1, *size - left - 1);
    *size -= 1;
    *split = left;
    return WA_OK;
}

static wa_status take_merge(reader *r, size_t rank, char *buffer, size_t *size, size_t *split,
                            wa_error *err)
{
    skip_space(&r->c);
    if (!accept(&r->c, '[')) {
        WA_TRY(take_string(r, buffer, size, err));
        return split_at_space(r, rank, buffer, size, split, err);
    }
    size_t right = 0;
    WA_TRY(take_string(r, buffer, split, err));
    WA_TRY(take_byte(r, ',', "','", err));
    WA_TRY(take_string(r, buffer + *split, &right, err));
    WA_TRY(take_byte(r, ']', "']'", err));
    *size = *split + right;
    return WA_OK;
}

wa_status wa_scan_merges(const wa_scan_span *span, const wa_vocab *vocab, char *buffer,
                         wa_merge *list, size_t *count, wa_error *err)
{
    reader r = {{span->bytes, 0}, span->offset, "model.merges"};
    wa_merge_text batch[WA_MERGE_BATCH];
    size_t done = 0, waiting = 0, used = 0;
    bool more;
    WA_TRY(open_span(&r, '[', ']', &more, err));
    while (more) {
        size_t size = 0, split = 0;
        WA_TRY(take_merge(&r, done + waiting, buffer + used, &size, &split, err));
        batch[waiting++] = (wa_merge_text){{buffer + used, size}, split};
        used += size;
        WA_TRY(take_more(&r, ']', &more, err));
        if (more && waiting < WA_MERGE_BATCH && used < WA_SCAN_BATCH_BYTES)
            continue;
        WA_TRY(wa_merges_resolve(vocab, done, batch, waiting, list + done, err));
        done += waiting;
        waiting = used = 0;
    }
    *count = done;
    return WA_OK;
}
