/* The folders of capture files: RESULT.h5.captures/0, 1 …, one for each job that was begun. What may
 * stay in one, and which of them may. */
#include "store/capture_file.h"

#include "base/bytes.h"
#include "store/seal.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- Looking --- */

typedef struct keeper {
    const char *folder;
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
    WA_TRY(wa_parts_join(c->of.folder, name, path, err));
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
                           c->of.kept->first_prompt + c->of.kept->prompt_count - 1, c->of.folder);
        }
    }
    return WA_OK;
}

wa_status wa_captures_check(const char *folder, const wa_captures *captures, const wa_batch *part,
                            wa_arena *arena, wa_error *err)
{
    checker c = {.of = {.folder = folder, .kept = part, .count = 1}, .captures = captures};
    size_t flags;
    if (!wa_size_mul(captures->case_count + 1, captures->layer_count, &flags))
        return wa_fail(err, WA_E_UNSUPPORTED, "the number of captured layers overflows");
    wa_mark mark = wa_arena_mark(arena);
    wa_status status = wa_arena_take(arena, flags, sizeof *c.held, &c.held, err);
    if (status == WA_OK)
        status = wa_directory_visit(folder, check_file, &c, err);
    if (status == WA_OK)
        status = check_held(&c, err);
    wa_arena_release(arena, mark);
    return status;
}

/* --- Removing --- */

static bool is_capture(const char *name)
{
    wa_capture_place place;
    return wa_capture_parse(name, &place);
}

/* Remove what is ours and stands for no kept part. */
static wa_status remove_unless_kept(void *context, const char *name, wa_error *err)
{
    const keeper *k = context;
    wa_capture_place place;
    bool goes = wa_capture_parse(name, &place) ? wa_capture_part(&place, k->kept, k->count) == NULL
                                               : wa_temporary_is_of(name, is_capture);
    return goes ? wa_parts_remove_name(k->folder, name, err) : WA_OK;
}

wa_status wa_captures_prepare(const char *folder, const wa_result_meta *meta, const wa_batch *kept,
                              size_t kept_count, wa_error *err)
{
    keeper k = {.folder = folder, .kept = kept, .count = kept_count};
    size_t rows = meta->dims.rows, bytes;
    WA_TRY(wa_directory_visit(folder, remove_unless_kept, &k, err));
    for (size_t i = 0; i < kept_count; i++)
        rows -= kept[i].rows;
    WA_TRY(wa_directory_make(folder, err));
    if (!wa_captures_bytes(meta->captures, rows, &bytes))
        return wa_fail(err, WA_E_UNSUPPORTED, "the size of the captures overflows");
    return wa_space_check(folder, bytes, err);
}

/* --- Folders --- */

wa_status wa_captures_directory(const char *result_path, char out[WA_NAME_BYTES], wa_error *err)
{
    return wa_path_print(out, err, "%s.captures", result_path);
}

wa_status wa_captures_folder(const char *result_path, int number, char out[WA_NAME_BYTES],
                             wa_error *err)
{
    return wa_path_print(out, err, "%s.captures/%d", result_path, number);
}

int wa_captures_parse_folder(const char *name)
{
    char again[16];
    int number;
    if (sscanf(name, "%9d", &number) != 1 || number < 0)
        return WA_CAPTURES_NONE;
    snprintf(again, sizeof again, "%d", number);
    return strcmp(name, again) == 0 ? number : WA_CAPTURES_NONE;
}

/* Never through a link, which is not ours. Folders that hold other files stay. */
wa_status wa_captures_remove(const char *result_path, int number, wa_error *err)
{
    char directory[WA_NAME_BYTES], folder[WA_NAME_BYTES];
    struct stat info;
    if (number < 0 && number != WA_CAPTURES_BARE)
        return WA_OK;
    WA_TRY(wa_captures_directory(result_path, directory, err));
    if (number == WA_CAPTURES_BARE)
        WA_TRY(wa_path_print(folder, err, "%s", directory));
    else
        WA_TRY(wa_captures_folder(result_path, number, folder, err));
    if (lstat(folder, &info) != 0 || !S_ISDIR(info.st_mode))
        return WA_OK;
    keeper none = {.folder = folder};
    WA_TRY(wa_directory_visit(folder, remove_unless_kept, &none, err));
    rmdir(folder);
    rmdir(directory);
    return WA_OK;
}

wa_status wa_captures_free(const char *result_path, int *out, wa_error *err)
{
    char folder[WA_NAME_BYTES];
    struct stat info;
    for (int number = 0;; number++) {
        WA_TRY(wa_captures_folder(result_path, number, folder, err));
        if (lstat(folder, &info) == 0)
            continue;
        *out = number;
        return WA_OK;
    }
}
