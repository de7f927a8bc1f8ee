/* The sample of the kernel check (sample.h). */
#include "measure/sample.h"

#include <stdint.h>

const char *wa_kernel_check_name(wa_kernel_check check)
{
    static const char *const names[] = {
        [WA_KERNEL_NONE] = "none", [WA_KERNEL_SAMPLE] = "sample", [WA_KERNEL_ALL] = "all"};
    return names[check];
}

/* The layers of one band, and how many of them each observation is checked at. */
typedef struct band {
    size_t index, first, width, taken;
} band;

/* Band b holds the layers from ceil(b L / bands) on: widths differ by one at most. */
static band band_of(size_t layer, size_t layers, size_t obs_count)
{
    size_t bands = layers < WA_SAMPLE_BANDS ? layers : WA_SAMPLE_BANDS;
    size_t index = layer * bands / layers;
    size_t first = (index * layers + bands - 1) / bands;
    size_t end = ((index + 1) * layers + bands - 1) / bands;
    size_t width = end - first;
    size_t taken = obs_count == 0 ? width : (WA_SAMPLE_LEAST * width + obs_count - 1) / obs_count;
    return (band){
        .index = index, .first = first, .width = width, .taken = taken < width ? taken : width};
}

/* splitmix64's finaliser */
static uint64_t mix(uint64_t v)
{
    v += 0x9e3779b97f4a7c15u;
    v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9u;
    v = (v ^ (v >> 27)) * 0x94d049bb133111ebu;
    return v ^ (v >> 31);
}

/*
 * Successive observations go through the layers of a band in turn, so that each layer gets its
 * share. As many of them as the band has layers begin at a layer that a hash says: a fault at every
 * second position, say, must not always meet the same layers. Where an observation takes several
 * layers these follow one another without a hash.
 */
bool wa_sample_has(wa_kernel_check check, size_t obs, size_t obs_count, size_t layer,
                   size_t layer_count)
{
    if (check != WA_KERNEL_SAMPLE)
        return check == WA_KERNEL_ALL;
    band b = band_of(layer, layer_count, obs_count);
    size_t at = layer - b.first;
    size_t begin = obs % b.width * b.taken % b.width;
    if (b.taken == 1)
        begin =
            (obs % b.width + mix((uint64_t)(obs / b.width) * WA_SAMPLE_BANDS + b.index) % b.width) %
            b.width;
    return (at + b.width - begin) % b.width < b.taken;
}

/* In each group of as many successive observations as the band has layers, every layer is taken
 * equally often. */
size_t wa_sample_before(wa_kernel_check check, size_t obs, size_t obs_count, size_t layer,
                        size_t layer_count)
{
    if (check != WA_KERNEL_SAMPLE)
        return check == WA_KERNEL_ALL ? obs : 0;
    band b = band_of(layer, layer_count, obs_count);
    size_t count = obs / b.width * b.taken;
    for (size_t other = obs / b.width * b.width; other < obs; other++)
        count += wa_sample_has(check, other, obs_count, layer, layer_count) ? 1 : 0;
    return count;
}

size_t wa_sample_most(wa_kernel_check check, size_t rows, size_t obs_count, size_t layer_count)
{
    if (check == WA_KERNEL_NONE || layer_count == 0)
        return 0;
    if (check == WA_KERNEL_ALL)
        return rows;
    size_t most = 0;
    for (size_t layer = 0; layer < layer_count; layer++) {
        band b = band_of(layer, layer_count, obs_count);
        size_t groups = rows / b.width + 2; /* whole ones, and a part of one at either end */
        size_t room = b.taken == 1 ? groups : rows;
        most = room > most ? room : most;
    }
    return most < rows ? most : rows;
}
