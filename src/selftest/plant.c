/* Copies of a vindex: links, broken where something is written. */
#include "selftest/plant.h"

#include "base/durable.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static wa_status fail_io(const char *what, const char *path, wa_error *err)
{
    return wa_fail(err, WA_E_IO, "cannot %s '%s': %s", what, path, strerror(errno));
}

static wa_status copy_file(const char *source, const char *path, wa_error *err)
{
    int from = open(source, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return fail_io("open", source, err);
    int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    wa_status status = to < 0 ? fail_io("create", path, err) : wa_copy_all(from, to, err);
    if (to >= 0 && close(to) != 0 && status == WA_OK)
        status = fail_io("write", path, err);
    close(from);
    return status == WA_OK ? WA_OK : wa_note(err, "copying '%s'", source);
}

/* File systems without hard links get a copy. */
static wa_status link_file(const char *source, const char *path, wa_error *err)
{
    return link(source, path) == 0 ? WA_OK : copy_file(source, path, err);
}

static wa_status link_folder(const char *source, const char *path, wa_error *err);

/* One entry of a folder: a file, or a folder with files. */
static wa_status link_entry(const char *source, const char *path, wa_error *err)
{
    struct stat info;
    if (stat(source, &info) != 0)
        return fail_io("find", source, err);
    return S_ISDIR(info.st_mode) ? link_folder(source, path, err) : link_file(source, path, err);
}

static wa_status link_entries(DIR *list, const char *source, const char *path, wa_error *err)
{
    for (struct dirent *entry = readdir(list); entry != NULL; entry = readdir(list)) {
        char from[WA_NAME_BYTES], to[WA_NAME_BYTES];
        if (entry->d_name[0] == '.')
            continue;
        WA_TRY(wa_path_print(from, err, "%s/%s", source, entry->d_name));
        WA_TRY(wa_path_print(to, err, "%s/%s", path, entry->d_name));
        WA_TRY(link_entry(from, to, err));
    }
    return WA_OK;
}

static wa_status link_folder(const char *source, const char *path, wa_error *err)
{
    if (mkdir(path, 0777) != 0)
        return fail_io("make", path, err);
    DIR *list = opendir(source);
    if (list == NULL)
        return fail_io("list", source, err);
    wa_status status = link_entries(list, source, path, err);
    closedir(list);
    return status;
}

wa_status wa_plant_open(const wa_bench *bench, const char *name, wa_plant *out, wa_error *err)
{
    wa_plant plant = {.bench = bench, .name = name, .draws = bench->options->seed};
    char *path;
    for (const char *c = name; *c != '\0'; c++) /* each fault has draws of its own */
        plant.draws = plant.draws * 31 + (uint64_t)(unsigned char)*c;
    WA_TRY(wa_arena_print(bench->arena, &path, err, "%s/%s.%s", bench->directory,
                          bench->format.name, name));
    plant.path = path;
    WA_TRY(link_folder(bench->healthy, path, err));
    *out = plant;
    return WA_OK;
}

/* A file of the copy that is no longer the healthy one, to write to. */
static wa_status open_own(const wa_plant *plant, const char *file, int *out, wa_error *err)
{
    char path[WA_NAME_BYTES], own[WA_NAME_BYTES];
    struct stat info;
    WA_TRY(wa_path_print(path, err, "%s/%s", plant->path, file));
    if (stat(path, &info) != 0)
        return fail_io("find", path, err);
    if (info.st_nlink > 1) {
        WA_TRY(wa_path_print(own, err, "%s.own", path));
        WA_TRY(copy_file(path, own, err));
        if (rename(own, path) != 0)
            return fail_io("rename", own, err);
    }
    *out = open(path, O_RDWR | O_CLOEXEC);
    return *out < 0 ? fail_io("open", path, err) : WA_OK;
}

wa_status wa_plant_write(wa_plant *plant, const char *file, uint64_t offset, const void *bytes,
                         size_t size, wa_error *err)
{
    int fd;
    WA_TRY(open_own(plant, file, &fd, err));
    plant->differs = true;
    wa_status status = WA_OK;
    if (lseek(fd, (off_t)offset, SEEK_SET) < 0)
        status = fail_io("seek in", file, err);
    if (status == WA_OK)
        status = wa_write_all(fd, bytes, size, NULL, err);
    if (close(fd) != 0 && status == WA_OK)
        status = fail_io("write", file, err);
    return status;
}

wa_status wa_plant_cut(wa_plant *plant, const char *file, uint64_t bytes, wa_error *err)
{
    int fd;
    struct stat info;
    WA_TRY(open_own(plant, file, &fd, err));
    plant->differs = true;
    wa_status status = WA_OK;
    if (fstat(fd, &info) != 0 || ftruncate(fd, info.st_size - (off_t)bytes) != 0)
        status = fail_io("cut", file, err);
    close(fd);
    return status;
}

wa_status wa_plant_note(wa_plant *plant, const wa_bench_target *target, size_t layer, int row,
                        wa_error *err)
{
    size_t stack = wa_bench_stack(plant->bench, target, layer);
    if (plant->planted_count == WA_PLANTED_MOST)
        return wa_fail(err, WA_E_INTERNAL, "more than %d planted matrices", WA_PLANTED_MOST);
    plant->planted[plant->planted_count++] =
        (wa_planted){.target = *target,
                     .layer = (int)layer,
                     .row = row,
                     .entry = stack == 0 ? 0 : target->entry % stack};
    return WA_OK;
}

wa_status wa_plant_matrix(wa_plant *plant, const wa_bench_target *target, size_t layer, int row,
                          const uint8_t *bytes, wa_error *err)
{
    wa_matrix stored;
    uint64_t offset;
    WA_TRY(wa_bench_stored(plant->bench, target, layer, &stored, err));
    if (memcmp(bytes, stored.data, wa_matrix_bytes(&stored)) == 0)
        return WA_OK;
    if (!wa_vindex_offset(plant->bench->vindex, &stored, &offset))
        return wa_fail(err, WA_E_INTERNAL, "%s: its rows lie in no file", stored.name);
    WA_TRY(wa_plant_note(plant, target, layer, row, err));
    return wa_plant_write(plant, stored.name, offset, bytes, wa_matrix_bytes(&stored), err);
}

wa_status wa_plant_bytes(const wa_plant *plant, const wa_bench_target *target, size_t layer,
                         wa_matrix *stored, uint8_t **out, wa_error *err)
{
    WA_TRY(wa_bench_stored(plant->bench, target, layer, stored, err));
    WA_TRY(wa_arena_take_raw(plant->bench->arena, wa_matrix_bytes(stored), 1, out, err));
    memcpy(*out, stored->data, wa_matrix_bytes(stored));
    return WA_OK;
}
