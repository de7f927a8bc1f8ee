/* Added tokens: a sorted list searched by narrowing a range one byte at a time. */
#include "model/tokenizer_parts.h"

#include <stdlib.h>

static int compare_contents(const void *a, const void *b)
{
    const wa_added_token *x = a, *y = b;
    size_t common = x->content.size < y->content.size ? x->content.size : y->content.size;
    int order = memcmp(x->content.data, y->content.data, common);
    if (order != 0)
        return order;
    if (x->content.size != y->content.size)
        return x->content.size < y->content.size ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id); /* so that the result does not depend on qsort */
}

void wa_added_build(wa_added_token *list, size_t count, wa_added_set *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (list[i].content.size > 0)
            list[kept++] = list[i];
    if (kept > 1)
        qsort(list, kept, sizeof *list, compare_contents);

    *out = (wa_added_set){.list = list};
    for (size_t i = 0; i < kept; i++)
        if (i == 0 || !wa_text_equals(list[i].content, list[out->count - 1].content))
            list[out->count++] = list[i];
    size_t at = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        out->first[byte] = at;
        while (at < out->count && (unsigned char)list[at].content.data[0] == byte)
            at++;
    }
    out->first[256] = at;
}

/*
 * Narrows [*low, *high), whose contents share their first `depth` bytes, to those that have `byte`
 * next. A content that ends there sorts first and must have been dropped already.
 */
static void narrow(const wa_added_token *list, size_t depth, unsigned char byte, size_t *low,
                   size_t *high)
{
    size_t bounds[2];
    for (unsigned side = 0; side < 2; side++) {
        size_t from = *low, to = *high;
        while (from < to) {
            size_t middle = from + (to - from) / 2;
            if ((unsigned char)list[middle].content.data[depth] < byte + side)
                from = middle + 1;
            else
                to = middle;
        }
        bounds[side] = from;
    }
    *low = bounds[0];
    *high = bounds[1];
}

/* The longest token at text[at …], NULL if none. */
static const wa_added_token *longest_at(const wa_added_set *set, wa_text text, size_t at)
{
    const wa_added_token *found = NULL;
    unsigned char byte = (unsigned char)text.data[at];
    size_t low = set->first[byte], high = set->first[byte + 1];
    for (size_t depth = 1; low < high; depth++) {
        if (set->list[low].content.size == depth)
            found = &set->list[low++];
        if (at + depth == text.size)
            break;
        narrow(set->list, depth, (unsigned char)text.data[at + depth], &low, &high);
    }
    return found;
}

/* Start of the white space that ends at `end`, not before `floor`. */
static size_t space_before(wa_text text, size_t floor, size_t end)
{
    while (end > floor) {
        size_t start = end - 1;
        while (start > floor && ((unsigned char)text.data[start] & 0xc0) == 0x80)
            start--;
        uint32_t code;
        size_t taken;
        if (!wa_utf8_take(text, start, &code, &taken) || !wa_utf8_is_space(code))
            break;
        end = start;
    }
    return end;
}

static size_t space_after(wa_text text, size_t start)
{
    uint32_t code;
    size_t taken;
    while (start < text.size && wa_utf8_take(text, start, &code, &taken) && wa_utf8_is_space(code))
        start += taken;
    return start;
}

wa_cut wa_added_next(const wa_added_set *set, wa_text text, size_t from, size_t floor)
{
    for (size_t at = from; at < text.size && set->count > 0; at++) {
        const wa_added_token *token = longest_at(set, text, at);
        if (token == NULL)
            continue;
        size_t end = at + token->content.size;
        wa_cut cut = {token, at, end, end};
        if (token->strip_left)
            cut.start = at > floor ? space_before(text, floor, at) : floor;
        if (token->strip_right)
            cut.end = space_after(text, end);
        return cut;
    }
    return (wa_cut){NULL, text.size, text.size, text.size};
}
