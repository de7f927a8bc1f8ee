/*
 * Which (observation, layer) pairs the kernel check looks at. It follows from the pair and the
 * job's extents alone: batches, ranks and hosts change nothing, and every one of them is sampled.
 * Pure.
 */
#ifndef WALKAUDIT_MEASURE_SAMPLE_H
#define WALKAUDIT_MEASURE_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>

/** Words of the job key `kernel_check`. */
typedef enum wa_kernel_check { WA_KERNEL_NONE, WA_KERNEL_SAMPLE, WA_KERNEL_ALL } wa_kernel_check;
/** "none", "sample", "all". */
const char *wa_kernel_check_name(wa_kernel_check check);

/** The bands that a model's layers fall into; as many as there are layers where those are fewer. */
enum { WA_SAMPLE_BANDS = 8, WA_SAMPLE_LEAST = 8 };

/**
 * Is the pair checked? The same answer for the reference's stream and for a case's own.
 *
 * The layers fall into eighths. Each observation is checked at one layer at least of each eighth,
 * and each layer at WA_SAMPLE_LEAST observations at least, all when the job has no more: in a job
 * of few observations each is checked at more layers.
 *
 * obs < obs_count, layer < layer_count
 */
bool wa_sample_has(wa_kernel_check check, size_t obs, size_t obs_count, size_t layer,
                   size_t layer_count);

/** Observations before `obs`, at most obs_count, with wa_sample_has at a layer: successive ones of
 * a layer are numbered in turn. */
size_t wa_sample_before(wa_kernel_check check, size_t obs, size_t obs_count, size_t layer,
                        size_t layer_count);
/** The most observations of any layer among `rows` successive ones that wa_sample_has: what a batch
 * makes room for. */
size_t wa_sample_most(wa_kernel_check check, size_t rows, size_t obs_count, size_t layer_count);

#endif
