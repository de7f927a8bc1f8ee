/* The tokenizer of synthetic models: a byte-level BPE, trained here on a page of text. */
#include "model/synth_parts.h"

#include "base/json.h"

#include <stdlib.h>

enum { BYTES = 256, MERGES = 320, IDS = BYTES + MERGES, SPECIALS = 2, BREAK = -1 };

static const char page[] =
    "A river is older than the bridges that cross it. The first bridge of the town was made of "
    "wood, and "
    "every spring the water took a part of it away. Then the people of the town built one of "
    "stone, with "
    "three arches, and the river had to find its way between them.\n"
    "The capital of a country is the city where its government meets. Paris is the capital of "
    "France, "
    "Rome is the capital of Italy, and Bern is the city where the council of Switzerland meets. "
    "Not every "
    "capital is the largest city of its country.\n"
    "On July 20, 1969 two people walked on the Moon for the first time, while a third stayed in "
    "orbit. The "
    "mission had landed with little fuel left; the commander had to fly over a field of rocks "
    "before there "
    "was a place to land. They were back on Earth on July 24.\n"
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return fibonacci(n - 1) + fibonacci(n "
    "- 2)\n"
    "for (size_t i = 0; i < count; i++)\n    sum += values[i] * weights[i];\n"
    "The sum of the numbers from 1 to 100 is 5050, since there are 50 pairs of 101. What is the "
    "sum of the "
    "numbers from 1 to 1000? There are 500 pairs, and each of them is 1001.\n"
    "When the wind comes from the north it is cold and clear; when it comes from the west it "
    "brings rain. "
    "The farmers know this, and they look at the clouds in the morning before they go to the "
    "fields.\n"
    "A model of language reads a text from left to right and says, at every place, which word may "
    "come next "
    "and how likely it is. It has never seen the text before, but it has seen others that are like "
    "it.\n";

typedef struct trainer {
    int symbols[2 * sizeof page]; /* ids of the page, words parted by BREAK */
    size_t symbol_count;
    const char *pieces[IDS];
    size_t piece_count;
    int left[MERGES], right[MERGES];
    size_t merge_count;
    uint16_t pairs[IDS][IDS]; /* how often two ids stand side by side */
} trainer;

/* The character that stands for a byte (GPT-2's bytes_to_unicode): itself when it is printable and
 * no space, else the next of U+0100 and following. */
static bool stands_for_itself(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) ||
           (byte >= 0xae && byte <= 0xff);
}

/* Pieces of single bytes in the order of their characters: first those that stand for themselves.
 */
static wa_status take_bytes(trainer *t, int *id_of_byte, wa_arena *arena, wa_error *err)
{
    unsigned next = 0x100;
    for (int pass = 0; pass < 2; pass++)
        for (unsigned byte = 0; byte < BYTES; byte++) {
            if (stands_for_itself(byte) != (pass == 0))
                continue;
            unsigned point = pass == 0 ? byte : next++;
            char utf8[2] = {(char)(0xc0 | point >> 6), (char)(0x80 | (point & 0x3f))};
            char plain = (char)point, *piece;
            WA_TRY(wa_arena_copy(arena, point < 0x80 ? &plain : utf8, point < 0x80 ? 1 : 2, &piece,
                                 err));
            id_of_byte[byte] = (int)t->piece_count;
            t->pieces[t->piece_count++] = piece;
        }
    return WA_OK;
}

static int class_of(char c)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter ? 1 : c >= '0' && c <= '9' ? 2 : c == ' ' ? 3 : c == '\n' ? 4 : 5;
}

/* Merges stay inside words: runs of one class, a space going with the word it precedes, digits
 * apart. */
static void split_page(trainer *t, const int *id_of_byte)
{
    for (size_t i = 0; i + 1 < sizeof page; i++) {
        int before = i == 0 ? 0 : class_of(page[i - 1]), here = class_of(page[i]);
        if ((before != here && before != 3) || here == 2)
            t->symbols[t->symbol_count++] = BREAK;
        t->symbols[t->symbol_count++] = id_of_byte[(unsigned char)page[i]];
    }
}

/* How often the pair that ends at symbol `i` stands side by side; NULL where a word begins. */
static uint16_t *count_at(trainer *t, size_t i)
{
    int a = t->symbols[i - 1], b = t->symbols[i];
    return a == BREAK || b == BREAK ? NULL : &t->pairs[a][b];
}

/* The pair that stands side by side most often; of equals the lower ids. False when none does
 * twice. */
static bool find_best_pair(trainer *t, int *left, int *right)
{
    const uint16_t *best = NULL;
    for (size_t i = 1; i < t->symbol_count; i++)
        if (count_at(t, i) != NULL)
            *count_at(t, i) = 0;
    for (size_t i = 1; i < t->symbol_count; i++)
        if (count_at(t, i) != NULL)
            ++*count_at(t, i);
    for (size_t i = 1; i < t->symbol_count; i++) {
        const uint16_t *count = count_at(t, i);
        /* addresses within the table are in the order of the ids */
        if (count != NULL &&
            (best == NULL || *count > *best || (*count == *best && count < best))) {
            best = count;
            *left = t->symbols[i - 1];
            *right = t->symbols[i];
        }
    }
    return best != NULL && *best > 1;
}

static int find_piece(const trainer *t, const char *piece)
{
    for (size_t i = 0; i < t->piece_count; i++)
        if (strcmp(t->pieces[i], piece) == 0)
            return (int)i;
    return BREAK;
}

static wa_status merge_pair(trainer *t, int left, int right, wa_arena *arena, wa_error *err)
{
    char *piece;
    WA_TRY(wa_arena_print(arena, &piece, err, "%s%s", t->pieces[left], t->pieces[right]));
    int id = find_piece(t, piece); /* two merges may lead to one piece */
    if (id == BREAK) {
        id = (int)t->piece_count;
        t->pieces[t->piece_count++] = piece;
    }
    t->left[t->merge_count] = left;
    t->right[t->merge_count] = right;
    t->merge_count++;
    size_t to = 0;
    for (size_t i = 0; i < t->symbol_count; i++) {
        bool here = i + 1 < t->symbol_count && t->symbols[i] == left && t->symbols[i + 1] == right;
        t->symbols[to++] = here ? id : t->symbols[i];
        i += here ? 1 : 0;
    }
    t->symbol_count = to;
    return WA_OK;
}

/* --- tokenizer.json --------------------------------------------------------------------------- */

/* Components as in Llama 3's published tokenizer; the numbers are the ids of <bos> and <eos>. */
static const char skeleton[] =
    "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": ["
    "{\"id\": %zu, \"content\": \"<bos>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": "
    "false, "
    "\"normalized\": false, \"special\": true}, "
    "{\"id\": %zu, \"content\": \"<eos>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": "
    "false, "
    "\"normalized\": false, \"special\": true}], "
    "\"normalizer\": null, \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": ["
    "{\"type\": \"Split\", \"pattern\": {\"Regex\": "
    "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}|"
    " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}, "
    "\"behavior\": \"Isolated\", \"invert\": false}, "
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
    "\"use_regex\": false}]}, "
    "\"post_processor\": {\"type\": \"TemplateProcessing\", "
    "\"single\": [{\"SpecialToken\": {\"id\": \"<bos>\", \"type_id\": 0}}, "
    "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], "
    "\"pair\": [{\"SpecialToken\": {\"id\": \"<bos>\", \"type_id\": 0}}, "
    "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "
    "{\"SpecialToken\": {\"id\": \"<bos>\", \"type_id\": 1}}, "
    "{\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}], "
    "\"special_tokens\": {\"<bos>\": {\"id\": \"<bos>\", \"ids\": [%zu], \"tokens\": "
    "[\"<bos>\"]}}}, "
    "\"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, "
    "\"use_regex\": true}, "
    "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
    "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false, "
    "\"byte_fallback\": false, \"ignore_merges\": false}}";

/* Vocabulary and merges into the skeleton; json_object_set_new takes its value over even when it
 * fails. */
static bool add_model(json_t *root, const trainer *t)
{
    json_t *model = json_object_get(root, "model"), *vocab = json_object(), *merges = json_array();
    bool fine = vocab != NULL && merges != NULL;
    for (size_t i = 0; fine && i < t->piece_count; i++)
        fine = json_object_set_new(vocab, t->pieces[i], json_integer((json_int_t)i)) == 0;
    for (size_t i = 0; fine && i < t->merge_count; i++)
        fine = json_array_append_new(
                   merges, json_pack("[ss]", t->pieces[t->left[i]], t->pieces[t->right[i]])) == 0;
    bool kept = json_object_set_new(model, "vocab", vocab) == 0;
    return (json_object_set_new(model, "merges", merges) == 0) && kept && fine;
}

static wa_status write_json(const trainer *t, wa_arena *arena, wa_synth_tokens *out, wa_error *err)
{
    char *frame, *copy;
    json_t *root;
    out->bos = t->piece_count;
    out->eos = t->piece_count + 1;
    out->count = t->piece_count + SPECIALS;
    WA_TRY(wa_arena_print(arena, &frame, err, skeleton, out->bos, out->eos, out->bos));
    WA_TRY(wa_json_parse((wa_bytes){(const uint8_t *)frame, strlen(frame)}, &root, err));
    char *text = add_model(root, t) ? json_dumps(root, JSON_INDENT(1)) : NULL;
    wa_json_close(root);
    if (text == NULL)
        return wa_fail(err, WA_E_MEMORY, "no memory for the tokenizer's JSON");
    wa_status status = wa_arena_copy(arena, text, strlen(text), &copy, err);
    free(text); /* Jansson's */
    out->json = copy;
    return status;
}

wa_status wa_synth_tokenizer(wa_arena *arena, wa_synth_tokens *out, wa_error *err)
{
    trainer *t;
    int id_of_byte[BYTES], left = 0, right = 0;
    WA_TRY(wa_arena_take(arena, 1, sizeof *t, &t, err));
    WA_TRY(take_bytes(t, id_of_byte, arena, err));
    split_page(t, id_of_byte);
    while (t->merge_count < MERGES && find_best_pair(t, &left, &right))
        WA_TRY(merge_pair(t, left, right, arena, err));
    return write_json(t, arena, out, err);
}
