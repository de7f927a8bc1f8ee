/* Decoding one token alone: its string through the decoder's steps (forward-pass.md 4.5). */
#include "model/tokenizer_parts.h"

/* Characters to bytes; a token with any other character keeps its own bytes. */
static wa_status from_byte_level(wa_text in, wa_arena *arena, wa_text *out, wa_error *err)
{
    char *buffer;
    size_t used = 0, taken;
    WA_TRY(wa_arena_take_raw(arena, in.size, 1, &buffer, err));
    *out = in;
    for (size_t at = 0; at < in.size; at += taken) {
        uint32_t code = 0;
        int byte = wa_utf8_take(in, at, &code, &taken) ? wa_byte_of_char(code) : -1;
        if (byte < 0)
            return WA_OK;
        buffer[used++] = (char)byte;
    }
    *out = (wa_text){buffer, used};
    return WA_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* "<0x0A>" to its byte, which alone is broken UTF-8 from 0x80 on. */
static wa_status from_byte_name(wa_text in, wa_arena *arena, wa_text *out, wa_error *err)
{
    *out = in;
    if (in.size != 6 || memcmp(in.data, "<0x", 3) != 0 || in.data[5] != '>')
        return WA_OK;
    int high = hex_digit(in.data[3]), low = hex_digit(in.data[4]);
    if (high < 0 || low < 0)
        return WA_OK;
    char byte = (char)(high << 4 | low);
    return wa_text_copy((wa_text){&byte, 1}, arena, out, err);
}

static wa_text strip(const wa_decoder *decode, wa_text in)
{
    size_t size = decode->from.size;
    for (size_t i = 0; i < decode->start && wa_text_starts_with(in, decode->from); i++)
        in = (wa_text){in.data + size, in.size - size};
    for (size_t i = 0; i < decode->stop && in.size >= size; i++) {
        if (memcmp(in.data + in.size - size, decode->from.data, size) != 0)
            break;
        in.size -= size;
    }
    return in;
}

static wa_status run_one(const wa_decoder *decode, wa_text in, wa_arena *arena, wa_text *out,
                         wa_error *err)
{
    *out = in;
    switch (decode->kind) {
    case WA_DECODE_BYTE_LEVEL:
        return from_byte_level(in, arena, out, err);
    case WA_DECODE_REPLACE:
        return wa_text_replace(in, decode->from, decode->to, arena, out, err);
    case WA_DECODE_BYTE_FALLBACK:
        return from_byte_name(in, arena, out, err);
    case WA_DECODE_STRIP:
        *out = strip(decode, in);
        return WA_OK;
    case WA_DECODE_FUSE:
        return WA_OK; /* joins tokens; there is one */
    }
    return wa_fail(err, WA_E_INTERNAL, "decoder step %d is unknown", (int)decode->kind);
}

wa_status wa_decoders_run(const wa_decoders *decoders, wa_text token, wa_arena *arena, wa_text *out,
                          wa_error *err)
{
    wa_text text = token;
    for (size_t i = 0; i < decoders->count; i++)
        WA_TRY(run_one(&decoders->list[i], text, arena, &text, err));
    *out = text;
    return WA_OK;
}
