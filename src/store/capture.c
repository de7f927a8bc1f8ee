/* Captures: what is kept, how it is cut into files, what they are called. */
#include "store/capture_file.h"

#include "base/bytes.h"

#include <stdio.h>

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
bool wa_captures_bytes(const wa_captures *captures, size_t rows, size_t *out)
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
    return wa_captures_bytes(captures, plan->obs_count, bytes) &&
           wa_size_mul(contents, files_per_content(captures, plan), files) &&
           wa_size_mul(*files, plan->batch_count, files);
}

/* --- Names ----------------------------------------------------------------------------------- */

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
