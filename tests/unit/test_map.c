/* Mapped files: what stands at their paths later on. */
#define _DEFAULT_SOURCE /* mincore */
#include "base/opened.h"
#include "suite.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
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
    WA_MUST(wa_opened_check(err), err);
    change(path);
    wa_status status = wa_opened_check(err);
    wa_map_close(&map);
    wa_error later;
    WA_MUST(wa_opened_check(&later), &later); /* what is closed is asked no more */
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

/* The same of a file that is read and closed. */
static wa_status check_kept_after(void (*change)(const char *path), wa_error *err)
{
    static const char path[] = WA_TEST_BINARY_DIR "/kept.txt";
    static int one, other;
    wa_map map;
    write_text(path, "one");
    WA_MUST(wa_map_open(path, &map, err), err);
    WA_MUST(wa_opened_keep_map(&one, &map, err), err);
    wa_map_close(&map);
    WA_MUST(wa_opened_check(err), err);
    CU_ASSERT_TRUE(wa_opened_is_untouched(&one));
    const struct timespec tick = {.tv_nsec = 20000000}; /* the clock of files has ticked since */
    nanosleep(&tick, NULL);
    change(path);
    CU_ASSERT_FALSE(wa_opened_is_untouched(&one));
    CU_ASSERT_TRUE(wa_opened_is_untouched(&other));
    wa_opened_forget(&other);
    wa_status status = wa_opened_check(err);
    wa_opened_forget(&one);
    wa_error later;
    WA_MUST(wa_opened_check(&later), &later);
    unlink(path);
    return status;
}

static void edit_it_and_set_its_time_back(const char *path)
{
    struct stat info;
    CU_ASSERT_EQUAL(stat(path, &info), 0);
    write_text(path, "two");
    struct timespec times[] = {info.st_atim, info.st_mtim};
    CU_ASSERT_EQUAL(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void what_is_no_longer_the_file_that_was_read_is_told(void)
{
    wa_error err;
    CU_ASSERT_EQUAL(check_kept_after(remove_it, &err), WA_E_MISMATCH);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "is gone"));
    CU_ASSERT_EQUAL(check_kept_after(replace_it, &err), WA_E_MISMATCH);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "another file"));
    CU_ASSERT_EQUAL(check_kept_after(lengthen_it, &err), WA_E_MISMATCH);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "found 5 bytes, expected 3"));
    CU_ASSERT_EQUAL(check_kept_after(edit_it_and_set_its_time_back, &err), WA_E_MISMATCH);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "its time was set back"));
    CU_ASSERT_EQUAL(check_kept_after(change_its_rights, &err), WA_OK);
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

enum { COLD_PAGES = 1024, FIRST = 101, COUNT = 512 };

static size_t pages_there(const wa_map *map, size_t page, size_t first, size_t count)
{
    unsigned char there[COLD_PAGES];
    size_t sum = 0;
    CU_ASSERT_EQUAL_FATAL(
        mincore((void *)(uintptr_t)(map->bytes.data + first * page), count * page, there), 0);
    for (size_t i = 0; i < count; i++)
        sum += there[i] & 1;
    return sum;
}

/* A file of which no page is in memory, if the file system lets go of pages. */
static void write_cold(const char *path, size_t page)
{
    char *bytes = calloc(COLD_PAGES, page);
    FILE *file = fopen(path, "w");
    CU_ASSERT_FATAL(bytes != NULL && file != NULL);
    CU_ASSERT_EQUAL(fwrite(bytes, page, COLD_PAGES, file), COLD_PAGES);
    fflush(file);
    CU_ASSERT_EQUAL(fsync(fileno(file)), 0);
    CU_ASSERT_EQUAL(posix_fadvise(fileno(file), 0, 0, POSIX_FADV_DONTNEED), 0);
    fclose(file);
    free(bytes);
}

/* 2 MB, far more than one wish reads; from the middle of a page to the middle of another. */
static void what_is_expected_is_read_whole_and_nothing_else(void)
{
    static const char path[] = WA_TEST_BINARY_DIR "/cold.bin";
    const struct timespec moment = {.tv_nsec = 10000000};
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    wa_error err;
    wa_map map;
    write_cold(path, page);
    WA_MUST(wa_map_open(path, &map, &err), &err);
    if (pages_there(&map, page, 0, COLD_PAGES) > 0) {
        printf("(this file system keeps pages: not looked at) ");
        wa_map_close(&map);
        return;
    }
    wa_bytes_expect(
        (wa_bytes){.data = map.bytes.data + FIRST * page + page / 2, .size = (COUNT - 1) * page});
    for (int i = 0; i < 1000 && pages_there(&map, page, FIRST, COUNT) < COUNT; i++)
        nanosleep(&moment, NULL);
    CU_ASSERT_EQUAL(pages_there(&map, page, FIRST, COUNT), COUNT);
    CU_ASSERT_EQUAL(pages_there(&map, page, 0, FIRST), 0);
    CU_ASSERT_EQUAL(pages_there(&map, page, FIRST + COUNT, COLD_PAGES - FIRST - COUNT), 0);
    wa_bytes_expect((wa_bytes){.data = map.bytes.data, .size = 0});
    wa_bytes_expect((wa_bytes){.data = NULL, .size = 0});
    CU_ASSERT_EQUAL(pages_there(&map, page, 0, FIRST), 0);
    wa_map_close(&map);
    unlink(path);
}

WA_SUITE("map", WA_CASE(what_is_expected_is_read_whole_and_nothing_else),
         WA_CASE(what_is_no_longer_the_mapped_file_is_told),
         WA_CASE(what_is_no_longer_the_file_that_was_read_is_told))
