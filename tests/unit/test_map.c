/* Mapped files: what stands at their paths later on. */
#include "base/bytes.h"
#include "suite.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fwrite(text, 1, strlen(text), file), strlen(text));
    CU_ASSERT_EQUAL(fclose(file), 0);
}

/* Map a file of three bytes, look at what `change` makes of it. */
static wa_status check_after(void (*change)(const char *path), wa_error *err)
{
    static const char path[] = WA_TEST_BINARY_DIR "/mapped.txt";
    wa_map map;
    write_text(path, "one");
    WA_MUST(wa_map_open(path, &map, err), err);
    WA_MUST(wa_maps_check(err), err);
    change(path);
    wa_status status = wa_maps_check(err);
    wa_map_close(&map);
    wa_error later;
    WA_MUST(wa_maps_check(&later), &later); /* what is closed is asked no more */
    unlink(path);
    return status;
}

static void remove_it(const char *path)
{
    unlink(path);
}

static void replace_it(const char *path)
{
    write_text(WA_TEST_BINARY_DIR "/other.txt", "one");
    struct stat info;
    CU_ASSERT_EQUAL(stat(path, &info), 0);
    struct timespec times[] = {info.st_atim, info.st_mtim};
    CU_ASSERT_EQUAL(utimensat(AT_FDCWD, WA_TEST_BINARY_DIR "/other.txt", times, 0), 0);
    CU_ASSERT_EQUAL(rename(WA_TEST_BINARY_DIR "/other.txt", path), 0);
}

static void lengthen_it(const char *path)
{
    write_text(path, "three");
}

static void change_its_rights(const char *path)
{
    CU_ASSERT_EQUAL(chmod(path, 0600), 0);
}

static void what_is_no_longer_the_mapped_file_is_told(void)
{
    wa_error err;
    CU_ASSERT_EQUAL(check_after(remove_it, &err), WA_E_MISMATCH);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "is gone"));
    CU_ASSERT_EQUAL(check_after(replace_it, &err), WA_E_MISMATCH);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "another file"));
    CU_ASSERT_EQUAL(check_after(lengthen_it, &err), WA_E_MISMATCH);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "found 5 bytes, expected 3"));
    CU_ASSERT_EQUAL(check_after(change_its_rights, &err), WA_OK);
}

WA_SUITE("map", WA_CASE(what_is_no_longer_the_mapped_file_is_told))
