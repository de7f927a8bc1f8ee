/* The output head at work: which rows, streamed past which panels of the vocabulary (head.c), and
 * what is taken from them (head_store.c). Private to src/engine. */
#ifndef WALKAUDIT_ENGINE_HEAD_H
#define WALKAUDIT_ENGINE_HEAD_H

#include "engine/stage_private.h"
#include "measure/logits.h"

/* The reference's rows are the first lane here on every rank: the team gets them from its lead, and
 * the product has the same shape everywhere, so its logits have the same bits. */
typedef struct wa_head {
    wa_stage *stage;
    const wa_stage_batch *batch;
    /* logits at every row of the batch, or of those of the text; else at each prompt's last */
    bool all_rows;
    const size_t *row; /* [rows] the batch's rows that get logits, ascending */
    size_t rows;
    bool once;        /* no second pass: the reference alone */
    size_t lanes;     /* the reference, then own cases */
    const int *cases; /* [lanes - 1] */
    /* [lanes] whose final norm and output matrix; ids are the reference's */
    const wa_model *const *models;
    const float *y;             /* [lanes][rows][H] after the final norm */
    size_t tile;                /* rows that the vocabulary is streamed past at a time */
    size_t first, count;        /* those at hand */
    size_t panel_ids;           /* ids of one panel */
    float *panel;               /* [lanes][count][panel_ids] logits */
    float *kept;                /* every panel of the tile, when that is small enough; else NULL */
    wa_logits *logits;          /* [lanes][count] */
    wa_divergence *divergences; /* [lanes][count]; the reference's unused */
    int32_t *next;              /* [count] id of the prompt's next token, -1 = none */
    float *next_logit;          /* [lanes][count] its logit; NaN = none */
    wa_operand *operands;       /* [lanes] */
    /* [count] of the reference's logits from the dump's; NULL = there is no dump, or this is no
     * lead */
    wa_distance *apart;
    double *strip; /* [panel_ids] of the dump */
} wa_head;

/** Where a row of the tile at hand stands. */
typedef struct wa_head_place {
    size_t prompt, position; /* prompt of the batch */
    bool is_last;            /* of its prompt */
} wa_head_place;
wa_head_place wa_head_place_of(const wa_head *head, size_t i);

/** The tile's figures into the batch's block: next tokens of each prompt's last row, of all rows
 * where these get logits, the distance from a dump, and the text's surprise. */
void wa_head_store(const wa_head *head);
/** The same of rows that are looked at for the text only. */
void wa_head_store_text(const wa_head *head);

#endif
