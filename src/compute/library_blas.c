/*
 * Which library is behind CBLAS. The loader decides it (Debian's alternatives, FlexiBLAS,
 * LD_LIBRARY_PATH), often another than the one at build time; so what goes beyond CBLAS is looked
 * up by name in the running process.
 */
#define _GNU_SOURCE /* dladdr */
#include "compute/kernel.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

typedef void function(void);

static function *find(const char *symbol)
{
    void *at = dlsym(RTLD_DEFAULT, symbol);
    function *out;
    memcpy(&out, &at, sizeof out); /* POSIX: a pointer from dlsym may hold a function's address */
    return out;
}

static int get_int(function *get)
{
    return ((int (*)(void))get)();
}

static void set_int(function *set, int value)
{
    ((void (*)(int))set)(value);
}

/* BLIS counts in its dim_t, 64 bits wide unless built otherwise; the low half of the register is
 * then the whole. */
static int get_dim(function *get)
{
    return (int)((long (*)(void))get)();
}

static void set_dim(function *set, int value)
{
    ((void (*)(long))set)(value);
}

/* FlexiBLAS comes first: it holds one of the others, and passes the number of threads on. */
static const struct library {
    const char *name, *get_threads, *set_threads;
    int (*get)(function *);
    void (*set)(function *, int);
} LIBRARIES[] = {
    {"FlexiBLAS", "flexiblas_get_num_threads", "flexiblas_set_num_threads", get_int, set_int},
    {"OpenBLAS", "openblas_get_num_threads", "openblas_set_num_threads", get_int, set_int},
    {"MKL", "MKL_Get_Max_Threads", "MKL_Set_Num_Threads", get_int, set_int},
    {"BLIS", "bli_thread_get_num_threads", "bli_thread_set_num_threads", get_dim, set_dim},
};

static const struct library *installed(void)
{
    for (size_t i = 0; i < sizeof LIBRARIES / sizeof LIBRARIES[0]; i++)
        if (find(LIBRARIES[i].set_threads) != NULL)
            return &LIBRARIES[i];
    return NULL;
}

/* Linux's name of the processor. Others have no such file, and a run on one kind of host needs
 * none. */
static void name_processor(char *out, size_t size)
{
    snprintf(out, size, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (file == NULL)
        return;
    char line[256];
    while (fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", strlen("model name")) != 0 || colon == NULL)
            continue;
        snprintf(out, size, "%s", colon + strspn(colon, ": \t"));
        out[strcspn(out, "\n")] = '\0';
        break;
    }
    (void)fclose(file);
}

/* The shared object that holds cblas_sgemm; "linked statically" where none does. */
static const char *file_name(void)
{
    void *gemm = dlsym(RTLD_DEFAULT, "cblas_sgemm");
    Dl_info info;
    if (gemm == NULL || dladdr(gemm, &info) == 0 || info.dli_fname == NULL)
        return "linked statically";
    const char *slash = strrchr(info.dli_fname, '/');
    return slash == NULL ? info.dli_fname : slash + 1;
}

static const char *text_of(const char *symbol)
{
    function *get = find(symbol);
    return get == NULL ? NULL : ((const char *(*)(void))get)();
}

wa_blas wa_blas_look(void)
{
    const struct library *library = installed();
    wa_blas out = {.name = library == NULL ? "BLAS" : library->name};
    const char *core = text_of("openblas_get_corename"), *config = text_of("openblas_get_config");
    if (core != NULL)
        snprintf(out.core, sizeof out.core, "%s", core);
    else
        name_processor(out.core, sizeof out.core);
    const char *version = text_of("bli_info_get_version_str");
    if (config != NULL)
        snprintf(out.config, sizeof out.config, "%s", config);
    else
        snprintf(out.config, sizeof out.config, "%s%s%s, %s", out.name, version == NULL ? "" : " ",
                 version == NULL ? "" : version, file_name());
    return out;
}

void wa_blas_set_threads(int threads)
{
    const struct library *library = installed();
    if (library != NULL)
        library->set(find(library->set_threads), threads);
}

int wa_blas_threads(void)
{
    const struct library *library = installed();
    function *get = library == NULL ? NULL : find(library->get_threads);
    return get == NULL ? 1 : library->get(get);
}

/* The largest buffer that OpenBLAS is built with. */
#define BUFFER_BYTES ((size_t)128 << 20)

wa_status wa_blas_check_room(wa_error *err)
{
    const struct library *library = installed();
    if (library == NULL || strcmp(library->name, "OpenBLAS") != 0)
        return WA_OK;
    void *room = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return wa_fail(err, WA_E_MEMORY,
                       "OpenBLAS needs %zu MB of address space, which the system refuses: %s; is "
                       "there a limit (ulimit -v, h_vmem)?",
                       BUFFER_BYTES / 1000000, strerror(errno));
    munmap(room, BUFFER_BYTES);
    return WA_OK;
}
