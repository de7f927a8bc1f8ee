/* Group /captures of the result: its own scales, and virtual datasets over the capture files. */
#include "store/capture_file.h"

#include "store/assemble.h"
#include "store/result.h"
#include "store/types_hdf5.h"

#include <hdf5.h>
#include <hdf5_hl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Scales in the order of y_walk's dimensions; x and y_ref have all but the first. */
enum { CASE, LAYER, OBS, HIDDEN, SCALES };
static const char *const SCALE_NAMES[SCALES] = {"case", "layer", "obs", "hidden"};

typedef struct author {
    const char *result_path;
    const wa_result_meta *meta;
    const wa_part_list *list;
    wa_hid group;
    hid_t scale[SCALES];
    size_t extent[SCALES];
    hid_t creation[WA_CAPTURE_TENSORS]; /* virtual layout so far; -1 = not asked for */
    const char *prefix; /* "NAME.h5.captures/N/": relative to the result's directory */
    wa_arena *arena;
} author;

static size_t first_dimension(int tensor)
{
    return tensor == WA_CAPTURE_Y_WALK ? CASE : LAYER;
}

/* The how-manieth flag that is set, counted up to `at`. */
static size_t rank_of(const uint8_t *flags, size_t at)
{
    size_t rank = 0;
    for (size_t i = 0; i < at; i++)
        rank += flags[i] != 0;
    return rank;
}

/* --- Scales ---------------------------------------------------------------------------------- */

static wa_status add_attributes(hid_t dataset, const char *long_name, const char *unit,
                                wa_error *err)
{
    WA_TRY(wa_attribute_write_text(dataset, "long_name", long_name, err));
    return wa_attribute_write_text(dataset, "units", unit, err);
}

static hid_t new_creation(wa_ids *ids)
{
    hid_t creation = wa_ids_keep(ids, H5Pcreate(H5P_DATASET_CREATE));
    unsigned order = H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED;
    if (creation < 0 || H5Pset_attr_creation_order(creation, order) < 0 ||
        H5Pset_obj_track_times(creation, false) < 0)
        return -1;
    return creation;
}

static wa_status add_scale(author *a, wa_ids *ids, int which, const int32_t *values, wa_error *err)
{
    static const char *const meanings[SCALES] = {
        "index of the case at the root", "layer of the model", "observation, as at the root",
        "place in the hidden state"};
    hsize_t extent = a->extent[which];
    hid_t space = wa_ids_keep(ids, H5Screate_simple(1, &extent, NULL));
    hid_t creation = new_creation(ids);
    hid_t dataset = -1;
    if (space >= 0 && creation >= 0)
        dataset = wa_ids_keep(ids, H5Dcreate2(a->group, SCALE_NAMES[which], H5T_STD_I32LE, space,
                                              H5P_DEFAULT, creation, H5P_DEFAULT));
    if (dataset < 0 ||
        (extent > 0 &&
         H5Dwrite(dataset, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) ||
        H5DSset_scale(dataset, SCALE_NAMES[which]) < 0)
        return wa_hdf5_failed(err, WA_E_IO, "cannot make scale /captures", SCALE_NAMES[which]);
    a->scale[which] = dataset;
    return add_attributes(dataset, meanings[which], "1", err);
}

/* Indices of the flags that are set; without flags 0, 1, 2 … */
static wa_status list_indices(const author *a, const uint8_t *flags, size_t count,
                              const int32_t **out, wa_error *err)
{
    int32_t *list;
    size_t used = 0;
    WA_TRY(wa_arena_take(a->arena, count + 1, sizeof *list, &list, err));
    for (size_t i = 0; i < count; i++)
        if (flags == NULL || flags[i])
            list[used++] = (int32_t)i;
    *out = list;
    return WA_OK;
}

static wa_status add_scales(author *a, wa_ids *ids, wa_error *err)
{
    const wa_captures *captures = a->meta->captures;
    const struct {
        const uint8_t *flags;
        size_t count;
    } sources[SCALES] = {[CASE] = {captures->of_case, captures->case_count},
                         [LAYER] = {captures->layer, captures->layer_count},
                         [OBS] = {NULL, a->meta->dims.rows},
                         [HIDDEN] = {NULL, captures->hidden}};
    for (int s = captures->tensor[WA_CAPTURE_Y_WALK] ? CASE : LAYER; s < SCALES; s++) {
        const int32_t *values;
        WA_TRY(list_indices(a, sources[s].flags, sources[s].count, &values, err));
        WA_TRY(add_scale(a, ids, s, values, err));
    }
    return WA_OK;
}

/* --- Virtual datasets ------------------------------------------------------------------------ */

/* Which part of a tensor a file holds: the file's own dataset is [layers, rows, hidden]. */
static wa_status map_tensor(author *a, const wa_capture_place *place, const char *name, int tensor,
                            wa_error *err)
{
    const wa_captures *captures = a->meta->captures;
    const wa_batch *part = wa_capture_part(place, a->list->parts, a->list->count); /* it is_ours */
    wa_ids ids = {.count = 0};
    size_t first = rank_of(captures->layer, place->first_layer);
    hsize_t count[SCALES] = {1, rank_of(captures->layer, place->last_layer + 1) - first, part->rows,
                             captures->hidden};
    hsize_t start[SCALES] = {0, first, part->first_obs, 0}, extent[SCALES];
    if (place->which >= 0)
        start[CASE] = rank_of(captures->of_case, (size_t)place->which);
    for (int s = 0; s < SCALES; s++)
        extent[s] = a->extent[s];
    size_t d = first_dimension(tensor);
    char *path;
    WA_TRY(wa_arena_print(a->arena, &path, err, "%s%s", a->prefix, name));
    hid_t source = wa_ids_keep(&ids, H5Screate_simple(3, count + LAYER, NULL));
    hid_t target = wa_ids_keep(&ids, H5Screate_simple((int)(SCALES - d), extent + d, NULL));
    wa_status status = WA_OK;
    if (source < 0 || target < 0 ||
        H5Sselect_hyperslab(target, H5S_SELECT_SET, start + d, NULL, count + d, NULL) < 0 ||
        H5Pset_virtual(a->creation[tensor], target, path,
                       wa_capture_name((wa_capture_tensor)tensor), source) < 0)
        status = wa_hdf5_failed(err, WA_E_IO, "cannot map capture file", name);
    return wa_ids_close(&ids, status, err);
}

/* A file that the selection and the parts of this result can have made. */
static bool is_ours(const author *a, const wa_capture_place *place)
{
    const wa_captures *captures = a->meta->captures;
    return wa_capture_part(place, a->list->parts, a->list->count) != NULL &&
           place->first_layer <= place->last_layer && place->last_layer < captures->layer_count &&
           captures->layer[place->first_layer] && captures->layer[place->last_layer] &&
           (place->which < 0 ||
            ((size_t)place->which < captures->case_count && captures->of_case[place->which]));
}

typedef struct name_list {
    wa_arena *arena;
    const char **names;
    size_t count, room;
} name_list;

static wa_status add_name(void *context, const char *name, wa_error *err)
{
    name_list *list = context;
    wa_capture_place ignored;
    char *copy;
    if (!wa_capture_parse(name, &ignored))
        return WA_OK;
    WA_TRY(wa_arena_grow(list->arena, &list->names, list->count, &list->room, sizeof *list->names,
                         err));
    WA_TRY(wa_arena_copy(list->arena, name, strlen(name), &copy, err));
    list->names[list->count++] = copy;
    return WA_OK;
}

static int compare_names(const void *left, const void *right)
{
    const char *const *a = left, *const *b = right;
    return strcmp(*a, *b);
}

/* In order of their names, so that the same files give the same result. */
static wa_status map_files(author *a, wa_error *err)
{
    char folder[WA_NAME_BYTES];
    name_list list = {.arena = a->arena};
    WA_TRY(wa_captures_folder(a->result_path, a->list->mark.captures, folder, err));
    WA_TRY(wa_directory_visit(folder, add_name, &list, err));
    if (list.count > 0)
        qsort(list.names, list.count, sizeof *list.names, compare_names);
    for (size_t i = 0; i < list.count; i++) {
        wa_capture_place place;
        if (!wa_capture_parse(list.names[i], &place) || !is_ours(a, &place))
            continue;
        for (int t = 0; t < WA_CAPTURE_TENSORS; t++)
            if (a->creation[t] >= 0 && (place.which >= 0) == (t == WA_CAPTURE_Y_WALK))
                WA_TRY(map_tensor(a, &place, list.names[i], t, err));
    }
    return WA_OK;
}

static wa_status add_fill_attribute(hid_t dataset, wa_error *err)
{
    wa_ids ids = {.count = 0};
    float fill = NAN;
    hsize_t one = 1;
    hid_t space = wa_ids_keep(&ids, H5Screate_simple(1, &one, NULL));
    hid_t attribute = -1;
    wa_status status = WA_OK;
    if (space >= 0)
        attribute = wa_ids_keep(&ids, H5Acreate2(dataset, "_FillValue", H5T_IEEE_F32LE, space,
                                                 H5P_DEFAULT, H5P_DEFAULT));
    if (attribute < 0 || H5Awrite(attribute, H5T_NATIVE_FLOAT, &fill) < 0)
        status = wa_hdf5_failed(err, WA_E_IO, "cannot write attribute", "_FillValue");
    return wa_ids_close(&ids, status, err);
}

static wa_status create_virtual(const author *a, wa_ids *ids, int tensor, wa_error *err)
{
    static const char *const meanings[] = {
#define MEANING(id, name, meaning) meaning,
        WA_CAPTURE_LIST(MEANING)
#undef MEANING
    };
    const char *name = wa_capture_name((wa_capture_tensor)tensor);
    size_t d = first_dimension(tensor);
    hsize_t extent[SCALES];
    for (int s = 0; s < SCALES; s++)
        extent[s] = a->extent[s];
    hid_t space = wa_ids_keep(ids, H5Screate_simple((int)(SCALES - d), extent + d, NULL));
    hid_t dataset = -1;
    if (space >= 0)
        dataset = wa_ids_keep(ids, H5Dcreate2(a->group, name, H5T_IEEE_F32LE, space, H5P_DEFAULT,
                                              a->creation[tensor], H5P_DEFAULT));
    if (dataset < 0)
        return wa_hdf5_failed(err, WA_E_IO, "cannot create dataset /captures", name);
    WA_TRY(add_attributes(dataset, meanings[tensor], "activation", err));
    WA_TRY(add_fill_attribute(dataset, err));
    for (size_t s = d; s < SCALES; s++)
        if (H5DSattach_scale(dataset, a->scale[s], (unsigned)(s - d)) < 0)
            return wa_hdf5_failed(err, WA_E_IO, "cannot attach a scale to /captures", name);
    return WA_OK;
}

static wa_status add_datasets(author *a, wa_ids *ids, wa_error *err)
{
    float fill = NAN;
    for (int t = 0; t < WA_CAPTURE_TENSORS; t++) {
        a->creation[t] = a->meta->captures->tensor[t] ? new_creation(ids) : -1;
        if (a->meta->captures->tensor[t] &&
            (a->creation[t] < 0 || H5Pset_fill_value(a->creation[t], H5T_NATIVE_FLOAT, &fill) < 0))
            return wa_hdf5_failed(err, WA_E_INTERNAL, "cannot describe dataset",
                                  wa_capture_name((wa_capture_tensor)t));
    }
    WA_TRY(map_files(a, err));
    for (int t = 0; t < WA_CAPTURE_TENSORS; t++) {
        wa_ids own = {.count = 0};
        if (a->creation[t] >= 0)
            WA_TRY(wa_ids_close(&own, create_virtual(a, &own, t, err), err));
    }
    return WA_OK;
}

static wa_status write_group(author *a, wa_hid file, wa_error *err)
{
    wa_ids ids = {.count = 0}, scales = {.count = 0};
    hid_t creation = wa_ids_keep(&ids, H5Pcreate(H5P_GROUP_CREATE));
    unsigned order = H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED;
    if (creation >= 0 && H5Pset_attr_creation_order(creation, order) >= 0 &&
        H5Pset_link_creation_order(creation, order) >= 0 &&
        H5Pset_obj_track_times(creation, false) >= 0)
        a->group =
            wa_ids_keep(&ids, H5Gcreate2(file, "captures", H5P_DEFAULT, creation, H5P_DEFAULT));
    wa_status status = WA_OK;
    if (a->group < 0)
        status = wa_hdf5_failed(err, WA_E_IO, "cannot create group", "captures");
    if (status == WA_OK)
        status = add_scales(a, &scales, err);
    if (status == WA_OK)
        status = add_datasets(a, &ids, err);
    status = wa_ids_close(&scales, status, err);
    return wa_ids_close(&ids, status, err);
}

wa_status wa_assembly_captures(wa_hid file, const char *result_path, const wa_part_list *list,
                               const wa_result_meta *meta, wa_arena *arena, wa_error *err)
{
    if (meta->captures == NULL || !wa_captures_any(meta->captures))
        return WA_OK;
    char *prefix;
    size_t length;
    const char *name = wa_last_name(result_path, &length);
    WA_TRY(wa_arena_print(arena, &prefix, err, "%.*s.captures/%d/", (int)length, name,
                          list->mark.captures));
    author a = {.result_path = result_path,
                .meta = meta,
                .list = list,
                .group = -1,
                .extent = {wa_captures_cases(meta->captures), wa_captures_layers(meta->captures),
                           meta->dims.rows, meta->captures->hidden},
                .prefix = prefix,
                .arena = arena};
    return write_group(&a, file, err);
}

/* --- Which folder a result shows ------------------------------------------------------------- */

/* The first file that a virtual dataset is made of; false when there is none. */
static bool first_source(wa_hid file, const char *name, char out[WA_NAME_BYTES])
{
    wa_ids ids = {.count = 0};
    char path[64];
    size_t count = 0;
    snprintf(path, sizeof path, "captures/%s", name);
    out[0] = '\0';
    if (H5Lexists(file, "captures", H5P_DEFAULT) > 0 && H5Lexists(file, path, H5P_DEFAULT) > 0) {
        hid_t dataset = wa_ids_keep(&ids, H5Dopen2(file, path, H5P_DEFAULT));
        hid_t creation = dataset < 0 ? -1 : wa_ids_keep(&ids, H5Dget_create_plist(dataset));
        if (creation < 0 || H5Pget_layout(creation) != H5D_VIRTUAL ||
            H5Pget_virtual_count(creation, &count) < 0 || count == 0 ||
            H5Pget_virtual_filename(creation, 0, out, WA_NAME_BYTES) < 0)
            out[0] = '\0';
    }
    return wa_ids_close(&ids, WA_OK, NULL) == WA_OK && out[0] != '\0';
}

/* "NAME.h5.captures/N/prompts-…": N. */
static int folder_of(const char *source, const char *result_path)
{
    char own[WA_NAME_BYTES], number[WA_NAME_BYTES];
    wa_capture_place ignored;
    size_t length;
    const char *name = wa_last_name(result_path, &length);
    if (wa_path_print(own, NULL, "%.*s.captures/", (int)length, name) != WA_OK ||
        strncmp(source, own, strlen(own)) != 0)
        return WA_CAPTURES_UNKNOWN; /* it had another name when it was made */
    const char *rest = source + strlen(own), *slash = strchr(rest, '/');
    if (slash == NULL)
        return wa_capture_parse(rest, &ignored) ? WA_CAPTURES_BARE : WA_CAPTURES_UNKNOWN;
    snprintf(number, sizeof number, "%.*s", (int)(slash - rest), rest);
    int folder = wa_captures_parse_folder(number);
    return folder < 0 ? WA_CAPTURES_UNKNOWN : folder;
}

int wa_captures_shown(const char *result_path)
{
    char directory[WA_NAME_BYTES], source[WA_NAME_BYTES];
    wa_hid file;
    int shown = WA_CAPTURES_NONE;
    if (wa_captures_directory(result_path, directory, NULL) != WA_OK || !wa_dir_exists(directory) ||
        !wa_file_exists(result_path))
        return WA_CAPTURES_NONE; /* no folder to tell from others, or nothing that shows one */
    if (wa_result_file_open(result_path, &file, NULL) != WA_OK)
        return WA_CAPTURES_UNKNOWN;
    for (int t = 0; t < WA_CAPTURE_TENSORS && shown == WA_CAPTURES_NONE; t++)
        if (first_source(file, wa_capture_name((wa_capture_tensor)t), source))
            shown = folder_of(source, result_path);
    return wa_hdf5_close(file, WA_OK, NULL) == WA_OK ? shown : WA_CAPTURES_UNKNOWN;
}
