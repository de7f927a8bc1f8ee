/* Captures: what is kept, how it is cut into files, what they are called, and which of them may
 * stay. */
#include "store/capture_file.h"

#include "base/bytes.h"
#include "store/seal.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

const char *wa_capture_name(wa_capture_tensor tensor)
{
    static const char *const names[WA_CAPTURE_TENSORS] = {
#define NAME(id, name, meaning) [WA_CAPTURE_##id] = name,
        WA_CAPTURE_LIST(NAME)
#undef NAME
    };
    return names[tensor];
}

/* --- What is kept ---------------------------------------------------------------------------- */

bool wa_captures_any(const wa_captures *captures)
{
    for (int t = 0; t < WA_CAPTURE_TENSORS; t++)
        if (captures->tensor[t])
            return true;
    return false;
}

static size_t count_set(const uint8_t *flags, size_t count)
{
    size_t set = 0;
    for (size_t i = 0; i < count; i++)
        set += flags[i] != 0;
    return set;
}

size_t wa_captures_layers(const wa_captures *captures)
{
    return count_set(captures->layer, captures->layer_count);
}

size_t wa_captures_cases(const wa_captures *captures)
{
    return count_set(captures->of_case, captures->case_count);
}

bool wa_capture_is_kept(const wa_captures *captures, int which, size_t layer)
{
    if (!captures->layer[layer])
        return false;
    if (which == WA_CAPTURE_REFERENCE)
        return captures->tensor[WA_CAPTURE_INPUT] || captures->tensor[WA_CAPTURE_Y_REF];
    return captures->tensor[WA_CAPTURE_Y_WALK] && captures->of_case[which];
}

size_t wa_capture_last_layer(const wa_captures *captures, size_t layer, size_t end)
{
    size_t block_end = (layer / WA_CAPTURE_BLOCK + 1) * WA_CAPTURE_BLOCK;
    size_t last = layer;
    for (size_t l = layer; l < end && l < block_end; l++)
        if (captures->layer[l])
            last = l;
    return last;
}

/* Files of one part and one content. */
static size_t files_per_content(const wa_captures *captures, const wa_plan *plan)
{
    size_t files = 0;
    for (int s = 0; s < plan->grid.stages; s++)
        for (size_t l = plan->stage_start[s]; l < plan->stage_start[s + 1]; l++)
            if (captures->layer[l]) {
                l = wa_capture_last_layer(captures, l, plan->stage_start[s + 1]);
                files++;
            }
    return files;
}

/* Layers kept, over all contents: each is [rows, hidden] of f32. */
static bool values_bytes(const wa_captures *captures, size_t rows, size_t *out)
{
    size_t slabs = captures->tensor[WA_CAPTURE_Y_WALK] ? wa_captures_cases(captures) : 0;
    slabs += captures->tensor[WA_CAPTURE_INPUT];
    slabs += captures->tensor[WA_CAPTURE_Y_REF];
    return wa_size_mul(slabs, wa_captures_layers(captures), &slabs) &&
           wa_size_mul(slabs, rows, &slabs) && wa_size_mul(slabs, captures->hidden, &slabs) &&
           wa_size_mul(slabs, sizeof(float), out);
}

bool wa_captures_forecast(const wa_captures *captures, const wa_plan *plan, size_t *bytes,
                          size_t *files)
{
    bool reference = captures->tensor[WA_CAPTURE_INPUT] || captures->tensor[WA_CAPTURE_Y_REF];
    size_t contents = (reference ? 1 : 0) +
                      (captures->tensor[WA_CAPTURE_Y_WALK] ? wa_captures_cases(captures) : 0);
    return values_bytes(captures, plan->obs_count, bytes) &&
           wa_size_mul(contents, files_per_content(captures, plan), files) &&
           wa_size_mul(*files, plan->batch_count, files);
}

/* --- Names ----------------------------------------------------------------------------------- */

wa_status wa_captures_directory(const char *result_path, char out[WA_NAME_BYTES], wa_error *err)
{
    int length = snprintf(out, WA_NAME_BYTES, "%s.captures", result_path);
    if (length < 0 || length >= WA_NAME_BYTES)
        return wa_fail(err, WA_E_IO, "path is too long: '%.200s…', at most %d bytes", result_path,
                       WA_NAME_BYTES - 1);
    return WA_OK;
}

void wa_capture_file_name(const wa_capture_place *place, char out[WA_HOST_BYTES])
{
    char content[32] = "reference";
    if (place->which >= 0)
        snprintf(content, sizeof content, "case-%04d", place->which);
    snprintf(out, WA_HOST_BYTES, "prompts-%06zu-%06zu-layers-%04zu-%04zu-%s.h5",
             place->first_prompt, place->first_prompt + place->prompt_count - 1, place->first_layer,
             place->last_layer, content);
}

bool wa_capture_parse(const char *name, wa_capture_place *out)
{
    wa_capture_place place = {.which = WA_CAPTURE_REFERENCE};
    char again[WA_HOST_BYTES];
    int at = 0;
    size_t last;
    if (sscanf(name, "prompts-%9zu-%9zu-layers-%9zu-%9zu-%n", &place.first_prompt, &last,
               &place.first_layer, &place.last_layer, &at) != 4 ||
        at == 0 || last < place.first_prompt)
        return false;
    place.prompt_count = last - place.first_prompt + 1;
    if (sscanf(name + at, "case-%9d", &place.which) != 1)
        place.which = WA_CAPTURE_REFERENCE;
    wa_capture_file_name(&place, again); /* what is not written alike is not ours */
    if (strcmp(name, again) != 0)
        return false;
    *out = place;
    return true;
}

/* --- The directory --------------------------------------------------------------------------- */

typedef struct keeper {
    const char *directory;
    const wa_batch *kept; /* [count], ascending */
    size_t count;
} keeper;

const wa_batch *wa_capture_part(const wa_capture_place *place, const wa_batch *parts, size_t count)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (parts[middle].first_prompt < place->first_prompt)
            low = middle + 1;
        else
            high = middle;
    }
    bool is_there = low < count && parts[low].first_prompt == place->first_prompt &&
                    parts[low].prompt_count == place->prompt_count;
    return is_there ? &parts[low] : NULL;
}

/* Where the flags of the reference begin, or those of a case: one for each layer. */
static uint8_t *flags_of(uint8_t *flags, const wa_captures *captures, int which)
{
    return flags + (size_t)(which - WA_CAPTURE_REFERENCE) * captures->layer_count;
}

typedef struct checker {
    keeper of; /* one part */
    const wa_captures *captures;
    uint8_t *held; /* [1 + case_count][layer_count] 1 = a file holds it */
} checker;

static wa_status check_file(void *context, const char *name, wa_error *err)
{
    const checker *c = context;
    const wa_captures *captures = c->captures;
    char path[WA_NAME_BYTES];
    wa_capture_place place;
    bool sealed;
    if (!wa_capture_parse(name, &place) || wa_capture_part(&place, c->of.kept, c->of.count) == NULL)
        return WA_OK;
    if (place.which < (int)captures->case_count)
        for (size_t l = place.first_layer; l <= place.last_layer && l < captures->layer_count; l++)
            flags_of(c->held, captures, place.which)[l] = 1;
    WA_TRY(wa_parts_join(c->of.directory, name, path, err));
    WA_TRY(wa_seal_check(path, &sealed, err));
    return sealed ? WA_OK
                  : wa_fail(err, WA_E_FORMAT,
                            "no digest at the end of capture file '%s': damaged, or changed by "
                            "another program",
                            path);
}

static wa_status check_held(const checker *c, wa_error *err)
{
    const wa_captures *captures = c->captures;
    for (int which = WA_CAPTURE_REFERENCE; which < (int)captures->case_count; which++) {
        const uint8_t *held = flags_of(c->held, captures, which);
        for (size_t l = 0; l < captures->layer_count; l++) {
            if (held[l] != 0 || !wa_capture_is_kept(captures, which, l))
                continue;
            char content[32] = "the reference";
            if (which >= 0)
                snprintf(content, sizeof content, "case %d", which);
            return wa_fail(err, WA_E_FORMAT,
                           "no capture file holds layer %zu of %s for prompts %zu to %zu; in "
                           "directory '%s'",
                           l, content, c->of.kept->first_prompt,
                           c->of.kept->first_prompt + c->of.kept->prompt_count - 1,
                           c->of.directory);
        }
    }
    return WA_OK;
}

wa_status wa_captures_check(const char *result_path, const wa_captures *captures,
                            const wa_batch *part, wa_arena *arena, wa_error *err)
{
    char directory[WA_NAME_BYTES];
    checker c = {.of = {.directory = directory, .kept = part, .count = 1}, .captures = captures};
    size_t flags;
    if (!wa_size_mul(captures->case_count + 1, captures->layer_count, &flags))
        return wa_fail(err, WA_E_UNSUPPORTED, "the number of captured layers overflows");
    WA_TRY(wa_captures_directory(result_path, directory, err));
    wa_mark mark = wa_arena_mark(arena);
    wa_status status = wa_arena_take(arena, flags, sizeof *c.held, &c.held, err);
    if (status == WA_OK)
        status = wa_directory_visit(directory, check_file, &c, err);
    if (status == WA_OK)
        status = check_held(&c, err);
    wa_arena_release(arena, mark);
    return status;
}

/* Remove what is ours and stands for no kept part. */
static wa_status remove_unless_kept(void *context, const char *name, wa_error *err)
{
    const keeper *k = context;
    char path[WA_NAME_BYTES];
    wa_capture_place place;
    size_t length = strlen(name);
    bool temporary =
        strncmp(name, "prompts-", 8) == 0 && length > 4 && strcmp(name + length - 4, ".tmp") == 0;
    if (!temporary && !wa_capture_parse(name, &place))
        return WA_OK;
    if (!temporary && wa_capture_part(&place, k->kept, k->count) != NULL)
        return WA_OK;
    WA_TRY(wa_parts_join(k->directory, name, path, err));
    if (unlink(path) != 0 && errno != ENOENT)
        return wa_fail(err, WA_E_IO, "cannot remove '%s': %s", path, strerror(errno));
    return WA_OK;
}

wa_status wa_captures_prepare(const char *result_path, const wa_result_meta *meta,
                              const wa_batch *kept, size_t kept_count, wa_error *err)
{
    char directory[WA_NAME_BYTES];
    bool any = meta->captures != NULL && wa_captures_any(meta->captures);
    keeper k = {.directory = directory, .kept = kept, .count = any ? kept_count : 0};
    WA_TRY(wa_captures_directory(result_path, directory, err));
    WA_TRY(wa_directory_visit(directory, remove_unless_kept, &k, err));
    if (!any) {
        rmdir(directory); /* stays when somebody keeps other files there */
        return WA_OK;
    }
    size_t rows = meta->dims.rows, bytes;
    for (size_t i = 0; i < kept_count; i++)
        rows -= kept[i].rows;
    WA_TRY(wa_directory_make(directory, err));
    if (!values_bytes(meta->captures, rows, &bytes))
        return wa_fail(err, WA_E_UNSUPPORTED, "the size of the captures overflows");
    return wa_space_check(directory, bytes, err);
}
