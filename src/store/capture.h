/* Captures: FFN inputs and outputs that a job asks to keep, in files of their own beside the
 * result. Design 8. */
#ifndef WALKAUDIT_STORE_CAPTURE_H
#define WALKAUDIT_STORE_CAPTURE_H

#include "base/durable.h"
#include "job/plan.h"
#include "store/mark.h"

/* X(id, name in jobs and files, meaning) */
#define WA_CAPTURE_LIST(X)                                                                         \
    X(INPUT, "x", "FFN input of the dense model")                                                  \
    X(Y_REF, "y_ref", "output of the dense FFN for x")                                             \
    X(Y_WALK, "y_walk", "output of the case's FFN for x")

typedef enum wa_capture_tensor {
#define WA_CAPTURE_ENUM(id, name, meaning) WA_CAPTURE_##id,
    WA_CAPTURE_LIST(WA_CAPTURE_ENUM)
#undef WA_CAPTURE_ENUM
        WA_CAPTURE_TENSORS
} wa_capture_tensor;
const char *wa_capture_name(wa_capture_tensor tensor);

/** What is kept; the same on every rank. Without captures no tensor is. */
typedef struct wa_captures {
    bool tensor[WA_CAPTURE_TENSORS];
    const uint8_t *layer;   /* [layer_count] 1 = kept */
    const uint8_t *of_case; /* [case_count] 1 = its y_walk is kept */
    size_t layer_count, case_count, hidden;
} wa_captures;

/** Is anything kept at all? */
bool wa_captures_any(const wa_captures *captures);
size_t wa_captures_layers(const wa_captures *captures);
size_t wa_captures_cases(const wa_captures *captures);

/** Files end at multiples of so many layers, and where a stage ends. */
enum { WA_CAPTURE_BLOCK = 8, WA_CAPTURE_REFERENCE = -1 };

/**
 * One file: some layers of one part's prompts, of the reference (x, y_ref) or of one case (y_walk).
 * Its name says all of it, so that the files of any grid and batches, and of several runs with
 * different ones, fit together.
 */
typedef struct wa_capture_place {
    size_t first_prompt, prompt_count;
    /* both kept; what lies between is kept where the selection says so */
    size_t first_layer, last_layer;
    int which; /* WA_CAPTURE_REFERENCE or a case */
} wa_capture_place;

/** Does a file of the reference or of a case (`which`) hold this layer? */
bool wa_capture_is_kept(const wa_captures *captures, int which, size_t layer);
/** The last kept layer of the file that begins with `layer`, of a stage that ends before layer
 * `end`. */
size_t wa_capture_last_layer(const wa_captures *captures, size_t layer, size_t end);

/** Bytes of values and number of files of a whole job. False on overflow. */
bool wa_captures_forecast(const wa_captures *captures, const wa_plan *plan, size_t *bytes,
                          size_t *files);

/** A file being written: by one rank, layer by layer, final only when it is whole. */
typedef struct wa_capture_file wa_capture_file;

/** Where the captures of a begun job go: RESULT.h5.captures/NUMBER (wa_part_mark), which
 * wa_parts_open makes. A result shows those of its own folder alone, so that an old one keeps its
 * captures until the new one takes its name. Local. WA_E_IO: too long. */
WA_CHECKED wa_status wa_captures_folder(const char *result_path, int number,
                                        char out[WA_NAME_BYTES], wa_error *err);

/** The run that keeps captures, by which it is known whether it still owns the result. Borrowed. */
typedef struct wa_capture_owner {
    const char *result_path;
    const wa_part_mark *mark;
} wa_capture_owner;

/** Local. A file of that run's folder. The owner is borrowed, and memory of `arena`, until finish or
 * abandon. */
WA_CHECKED wa_status wa_capture_begin(const wa_capture_owner *owner, const wa_captures *captures,
                                      const wa_capture_place *place, size_t rows, wa_arena *arena,
                                      wa_capture_file **out, wa_error *err);
/** values [rows, hidden] f32 of a kept layer of the file. */
WA_CHECKED wa_status wa_capture_write(wa_capture_file *file, wa_capture_tensor tensor, size_t layer,
                                      const float *values, wa_error *err);
/** Close, seal, fsync, rename while the run owns its result, fsync of the directory. The file is
 * closed whatever is returned. Errors: WA_E_IO; WA_E_BUSY when another run has taken over. */
WA_CHECKED wa_status wa_capture_finish(wa_capture_file *file, wa_error *err);
void wa_capture_abandon(wa_capture_file *file);

#endif
