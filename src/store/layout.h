/* The table of every root dataset of the result file: one row each, pure. Writer, reader and README
 * share it. */
#ifndef WALKAUDIT_STORE_LAYOUT_H
#define WALKAUDIT_STORE_LAYOUT_H

#include "measure/block.h"

/** Version of the layout: the root attribute walkaudit_format of a result, walkaudit_part of a part
 * and walkaudit_parts of a parts directory. A reader refuses every other. */
enum { WA_LAYOUT_VERSION = 5 };

/** `found` is WA_LAYOUT_VERSION, or WA_E_MISMATCH: both versions, and what to do about a `what` of
 * that version. */
WA_CHECKED wa_status wa_layout_check_version(const char *what, int64_t found, wa_error *err);

/** As wa_type, and variable-length UTF-8 strings. */
typedef enum wa_layout_type {
    WA_LAYOUT_F64 = WA_F64,
    WA_LAYOUT_I64 = WA_I64,
    WA_LAYOUT_I32 = WA_I32,
    WA_LAYOUT_I8 = WA_I8,
    WA_LAYOUT_TEXT
} wa_layout_type;

/** Which words an int8 enumeration stands for. */
typedef enum wa_layout_codes {
    WA_CODES_NONE,
    WA_CODES_LABEL,
    WA_CODES_OBS_STATUS,
    WA_CODES_BUCKET,
    WA_CODES_PATH,
    WA_CODES_PROJECTION,
    WA_CODES_PAYLOAD,
    WA_CODES_FORMAT,
    WA_CODES_BASIS,
    WA_CODES_YES,
    WA_CODES_ROUTING,
    WA_CODES_OWN /* those of the row itself */
} wa_layout_codes;

/** When a dataset is written: rank 0's skeleton, the collective copy, or rank 0's last pass. */
typedef enum wa_layout_origin {
    WA_ORIGIN_SCALE,    /* skeleton: 0, 1, 2 … and a dimension scale */
    WA_ORIGIN_META,     /* skeleton: known before computing */
    WA_ORIGIN_MEASURED, /* from the parts: along obs or prompt copied collectively; with V of the part
                           that has them, others summed or the largest (fold_hdf5.c) */
    WA_ORIGIN_TEXT,     /* last pass: decoded token ids */
    WA_ORIGIN_SUMMARY, /* judgement: derived from the others; rows that this table has not */
    WA_ORIGIN_RATE     /* the same, from logits at every position: only with `logits: all` */
} wa_layout_origin;

/**
 * One dataset. axes: one letter per dimension, slowest first: C case, L layer, O obs, A obs with
 * logits, P prompt, S slot, V vindex, Y payload, J projection, E place among the chosen experts, N
 * expert, T obs of a model with experts, X what is not offered.
 */
typedef struct wa_layout {
    const char *name, *axes;
    wa_layout_type type;
    wa_layout_codes codes;
    bool is_index; /* i32 that names something; see wa_layout_fill */
    wa_layout_origin origin;
    const char *unit, *long_name;
    const char *(*word)(int code); /* of WA_CODES_OWN: words of the codes below word_count */
    int word_count;
} wa_layout;

/** Further rows, which somebody else adds to a file: the i-th, NULL past the last. */
typedef const wa_layout *wa_layout_more(size_t i);

/** Extents of every axis letter. */
typedef struct wa_extents {
    wa_dims dims;
    size_t offers;
} wa_extents;

enum { WA_LAYOUT_RANK = 4, WA_CODES_MAX = 32 };

size_t wa_layout_count(void);
const wa_layout *wa_layout_at(size_t i);
/** The row of a name, NULL when there is none. */
const wa_layout *wa_layout_find(const char *name);
/** The row of a measured field. */
const wa_layout *wa_layout_of_field(wa_field field);
/** Fill value of an integer row: -1 for ids and indices, else 0. */
int wa_layout_fill(const wa_layout *row);
/** Is it in a file of these extents? Without `logits: all` nothing along A is, and no rate; without
 * experts nothing of them. */
bool wa_layout_exists(const wa_layout *row, const wa_extents *extents);
/** Does it run along observations or prompts? */
bool wa_layout_is_stream(const wa_layout *row);

/** Name of an axis letter's dimension scale. */
const char *wa_layout_scale(char axis);
size_t wa_layout_extent(const wa_extents *extents, char axis);
/** shape[rank]; returns the rank (0 to WA_LAYOUT_RANK). */
size_t wa_layout_shape(const wa_layout *row, const wa_extents *extents, size_t *shape);
/**
 * The box one unit of work covers, and the chunk of a dataset. Along observations or prompts: one
 * case, at most 16 layers and 8192 observations or prompts, all slots (1 MiB of f64 for [case,
 * layer, obs]); longer axes are cut into pieces of even size. All else is one box. Never 0, never
 * more than the shape.
 */
void wa_layout_box(const wa_layout *row, const size_t *shape, size_t *box);
/** Numbers are stored in chunks, each with a Fletcher32 checksum; strings, and what has no element,
 * contiguously. */
bool wa_layout_is_chunked(const wa_layout *row, const size_t *shape);
/** Integers of [.., layer, obs or prompt] are shuffled and deflated, before the checksum is
 * made. */
bool wa_layout_is_compressed(const wa_layout *row);
/** Bytes of one element in memory (a pointer for text). */
size_t wa_layout_size(const wa_layout *row);
/**
 * An upper bound of the file's bytes for the datasets along observations and prompts (streams), or
 * for all others: padded chunks, indexes and attributes included; strings are taken as 64 bytes
 * each. False on overflow.
 *
 * more  rows beside this table's own; NULL = none
 */
bool wa_layout_room(const wa_extents *extents, wa_layout_more *more, bool streams, size_t *out);

/** Words of an enumeration, values 0 … count-1 in order; returns the count. */
size_t wa_layout_words(const wa_layout *row, const char *words[WA_CODES_MAX]);

/** One Markdown table row per dataset, as in analysis/README.md: name, dimensions, type, unit,
 * meaning. */
int wa_layout_print_row(const wa_layout *row, char *out, size_t size);

#endif
