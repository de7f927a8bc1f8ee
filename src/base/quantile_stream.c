/*
 * Radix selection. A double is read as an unsigned number that orders as doubles do; each pass
 * counts how often each value of its next 16 bits occurs after the bits that are known already, and
 * so finds 16 bits more of every wanted rank.
 */
#include "base/quantile_stream.h"

#include <math.h>
#include <string.h>

enum {
    DIGIT_BITS = 16,
    DIGITS = 1 << DIGIT_BITS,
    PASSES = 64 / DIGIT_BITS,
    RANKS_MOST = 2 * WA_QUANTILES_MOST
};

/* A wanted place in the order: a quantile needs two, interpolated. */
typedef struct rank {
    uint64_t at;    /* among the values that begin with `known` */
    uint64_t known; /* the first bits of the value */
    size_t count;   /* which counts are its own */
} rank;

struct wa_quantile_stream {
    double f[WA_QUANTILES_MOST], fraction[WA_QUANTILES_MOST];
    size_t quantiles;
    int pass;
    uint64_t n;
    rank ranks[RANKS_MOST];
    uint64_t known[RANKS_MOST]; /* [count_count] distinct ones of the ranks */
    size_t count_count;
    uint64_t (*counts)[DIGITS]; /* [2 * quantiles] */
};

static uint64_t key_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 63 != 0 ? ~bits : bits | (uint64_t)1 << 63;
}

static double value_of(uint64_t key)
{
    uint64_t bits = key >> 63 != 0 ? key & ~((uint64_t)1 << 63) : ~key;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

wa_status wa_quantile_stream_open(const double *f, size_t count, wa_arena *arena,
                                  wa_quantile_stream **out, wa_error *err)
{
    wa_quantile_stream *s;
    WA_TRY(wa_arena_take(arena, 1, sizeof *s, &s, err));
    WA_TRY(wa_arena_take(arena, 2 * count, sizeof *s->counts, &s->counts, err));
    memcpy(s->f, f, count * sizeof *f);
    s->quantiles = count;
    s->count_count = 1;
    *out = s;
    return WA_OK;
}

void wa_quantile_stream_add(wa_quantile_stream *stream, double value)
{
    uint64_t key = key_of(value);
    int low = 64 - DIGIT_BITS * (stream->pass + 1);
    uint64_t digit = key >> low & (DIGITS - 1);
    if (stream->pass == 0) {
        stream->n++;
        stream->counts[0][digit]++;
        return;
    }
    uint64_t known = key >> (low + DIGIT_BITS);
    for (size_t i = 0; i < stream->count_count; i++)
        if (stream->known[i] == known)
            stream->counts[i][digit]++;
}

/* After the first pass: the places of every quantile. */
static void place_ranks(wa_quantile_stream *s)
{
    for (size_t q = 0; q < s->quantiles; q++) {
        double place = s->f[q] * (double)(s->n - 1);
        uint64_t at = (uint64_t)place;
        if (at > s->n - 1)
            at = s->n - 1;
        s->fraction[q] = place - (double)at;
        s->ranks[2 * q] = (rank){.at = at};
        s->ranks[2 * q + 1] = (rank){.at = at + 1 < s->n ? at + 1 : at};
    }
}

static void find_digit(const wa_quantile_stream *s, rank *r)
{
    const uint64_t *counts = s->counts[r->count];
    uint64_t digit = 0;
    while (r->at >= counts[digit])
        r->at -= counts[digit++];
    r->known = r->known << DIGIT_BITS | digit;
}

/* Ranks that begin alike are counted together. */
static void share_counts(wa_quantile_stream *s)
{
    s->count_count = 0;
    for (size_t i = 0; i < 2 * s->quantiles; i++) {
        size_t at = 0;
        while (at < s->count_count && s->known[at] != s->ranks[i].known)
            at++;
        if (at == s->count_count)
            s->known[s->count_count++] = s->ranks[i].known;
        s->ranks[i].count = at;
    }
    memset(s->counts, 0, s->count_count * sizeof *s->counts);
}

bool wa_quantile_stream_again(wa_quantile_stream *stream)
{
    if (stream->n == 0)
        return false;
    if (stream->pass == 0)
        place_ranks(stream);
    for (size_t i = 0; i < 2 * stream->quantiles; i++)
        find_digit(stream, &stream->ranks[i]);
    share_counts(stream);
    return ++stream->pass < PASSES;
}

void wa_quantile_stream_finish(const wa_quantile_stream *stream, double *out)
{
    for (size_t q = 0; q < stream->quantiles; q++) {
        double below = value_of(stream->ranks[2 * q].known),
               above = value_of(stream->ranks[2 * q + 1].known);
        out[q] = stream->n == 0 ? NAN : below + stream->fraction[q] * (above - below);
    }
}
