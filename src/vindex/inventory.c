/* The inventory of a vindex directory: which names are known, and which known name an unknown one
 * resembles. */
#include "vindex/inventory.h"

#include "vindex/parts.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* X(name, what it is, payload): vindex-format.md 1 and larql-2026-08.md 1.1. A name that ends in
 * "/" is a directory. */
#define KNOWN_LIST(X)                                                                              \
    X("index.json", "configuration", true)                                                         \
    X("gate_vectors.bin", "gate rows", true)                                                       \
    X("up_features.bin", "up rows", true)                                                          \
    X("down_features.bin", "down rows", true)                                                      \
    X("interleaved.bin", "gate, up and down", true)                                                \
    X("interleaved_q4.bin", "gate, up and down, Q4_0", true)                                       \
    X("interleaved_kquant.bin", "gate, up and down, K-quants", true)                               \
    X("interleaved_kquant_manifest.json", "manifest of interleaved_kquant.bin", true)              \
    X("down_features_kquant.bin", "feature-major down, K-quant", true)                             \
    X("down_features_kquant_manifest.json", "manifest of down_features_kquant.bin", true)          \
    X("interleaved_q4k.bin", "gate, up and down, K-quants", true)                                  \
    X("interleaved_q4k_manifest.json", "manifest of interleaved_q4k.bin", true)                    \
    X("down_features_q4k.bin", "feature-major down, K-quant", true)                                \
    X("down_features_q4k_manifest.json", "manifest of down_features_q4k.bin", true)                \
    X("gate_vectors_fp4.bin", "FP4 gate", true)                                                    \
    X("gate_vectors_fp8.bin", "FP8 gate", true)                                                    \
    X("up_features_fp4.bin", "FP4 up", true)                                                       \
    X("up_features_fp8.bin", "FP8 up", true)                                                       \
    X("down_features_fp4.bin", "FP4 down", true)                                                   \
    X("down_features_fp8.bin", "FP8 down", true)                                                   \
    X("gate_vectors_q4.bin", "Q4_0 gate, which no walk path reads", false)                         \
    X("gate_vectors_f16.bin.bak", "left over from a conversion", false)                            \
    X("fp4_compliance.json", "report of the FP4 extraction", false)                                \
    X("embeddings.bin", "token embeddings", false)                                                 \
    X("tokenizer.json", "tokenizer", false)                                                        \
    X("tokenizer_config.json", "tokenizer", false)                                                 \
    X("special_tokens_map.json", "tokenizer", false)                                               \
    X("added_tokens.json", "tokenizer", false)                                                     \
    X("generation_config.json", "settings of text generation", false)                              \
    X("chat_template.jinja", "settings of text generation", false)                                 \
    X("config.json", "configuration of the model", false)                                          \
    X("down_meta.bin", "labels of features", false)                                                \
    X("down_meta.jsonl", "labels of features", false)                                              \
    X("relation_clusters.json", "labels of features", false)                                       \
    X("feature_clusters.jsonl", "labels of features", false)                                       \
    X("feature_labels.json", "labels of features", false)                                          \
    X("knn_store.bin", "store of edits", false)                                                    \
    X("memit_store.json", "store of edits", false)                                                 \
    X("attn_weights.bin", "attention", false)                                                      \
    X("attn_weights_q4k.bin", "attention", false)                                                  \
    X("attn_weights_q4k_manifest.json", "attention", false)                                        \
    X("attn_weights_kquant.bin", "attention", false)                                               \
    X("attn_weights_kquant_manifest.json", "attention", false)                                     \
    X("attn_weights_q8.bin", "attention", false)                                                   \
    X("attn_weights_q8_manifest.json", "attention", false)                                         \
    X("attn_weights_q4.bin", "attention", false)                                                   \
    X("attn_weights_q4_manifest.json", "attention", false)                                         \
    X("up_weights.bin", "FFN up of the weight tier", false)                                        \
    X("down_weights.bin", "FFN down of the weight tier", false)                                    \
    X("model_weights.bin", "weight tier of version 1", false)                                      \
    X("weight_manifest.json", "manifest of the weight tier", false)                                \
    X("norms.bin", "norms", false)                                                                 \
    X("lm_head.bin", "output matrix", false)                                                       \
    X("lm_head_q4.bin", "output matrix", false)                                                    \
    X("lm_head_kquant.bin", "output matrix", false)                                                \
    X("ple_weights.bin", "per-layer embeddings", false)                                            \
    X("router_weights.bin", "router of a mixture of experts", false)                               \
    X("experts_packed.bin", "experts of a mixture", false)                                         \
    X("layers/", "experts of a mixture", false)                                                    \
    X("bitnet/", "2-bit weights", false)                                                           \
    X(".extract_checkpoint.json", "mark of an interrupted extraction", false)                      \
    X("README.md", "for people", false)                                                            \
    X("LICENSE", "for people", false)                                                              \
    X(".gitattributes", "of a download", false)                                                    \
    X(".cache/", "of a download", false)

static const struct known {
    const char *name, *what;
    bool payload;
} KNOWN[] = {
/* clang-format off */
#define KNOWN_ROW(name, what, payload) {name, what, payload},
    /* clang-format on */
    KNOWN_LIST(KNOWN_ROW)
#undef KNOWN_ROW
};
enum { KNOWN_COUNT = sizeof KNOWN / sizeof KNOWN[0] };

/* --- Names */

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name);
    size_t e = strlen(end);
    return n > e && strcmp(name + n - e, end) == 0;
}

static const struct known *find_known(const char *name)
{
    for (size_t i = 0; i < KNOWN_COUNT; i++)
        if (strcmp(KNOWN[i].name, name) == 0)
            return &KNOWN[i];
    return NULL;
}

/* A file that index.json itself names. */
static bool is_fp4_file(const wa_vindex *vindex, const char *name)
{
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        if (vindex->maps->fp4[p].file != NULL && strcmp(vindex->maps->fp4[p].file, name) == 0)
            return true;
    return false;
}

/* A file that was read for what it decides, or a directory of such: "layers/". */
static bool is_listed(const wa_vindex *vindex, const char *name)
{
    size_t path = strlen(vindex->path) + 1, length = strlen(name);
    for (size_t i = 0; i < vindex->file_count; i++) {
        const char *listed = vindex->files[i] + path;
        if (strncmp(listed, name, length) == 0 &&
            (listed[length] == '\0' || name[length - 1] == '/'))
            return true;
    }
    return false;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

enum { NAME_MAX_COMPARED = 64, MOST_EDITS = 3 };

/* Letters to insert, remove or replace; two that changed places count two. Case and '-' for '_'
 * cost nothing. Names longer than any known one are far from all. */
static size_t edits(const char *a, const char *b)
{
    size_t row[NAME_MAX_COMPARED + 1];
    size_t width = strlen(b);
    if (width > NAME_MAX_COMPARED || strlen(a) > NAME_MAX_COMPARED)
        return SIZE_MAX;
    for (size_t j = 0; j <= width; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t corner = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < width; j++) {
            char letter = a[i] == '-' ? '_' : lower(a[i]);
            size_t replaced = corner + (letter == b[j] ? 0 : 1);
            size_t least = row[j] < row[j + 1] ? row[j] : row[j + 1];
            corner = row[j + 1];
            row[j + 1] = replaced < least + 1 ? replaced : least + 1;
        }
    }
    return row[width];
}

static bool is_there(const wa_vindex_entry *entries, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(entries[i].name, name) == 0)
            return true;
    return false;
}

/* The nearest payload that is not there: what is there cannot have been meant. */
static const char *find_like(const char *name, const wa_vindex_entry *entries, size_t count)
{
    const char *like = NULL;
    size_t least = MOST_EDITS + 1;
    for (size_t k = 0; k < KNOWN_COUNT; k++) {
        if (!KNOWN[k].payload || is_there(entries, count, KNOWN[k].name))
            continue;
        size_t distance = edits(name, KNOWN[k].name);
        if (distance < least) {
            least = distance;
            like = KNOWN[k].name;
        }
    }
    return like;
}

/* A K-quant file or its manifest by the name that the vindex does not use, since it has the other:
 * what it is, or NULL. larql-2026-08 1.1. */
static const char *other_generation(const wa_vindex *vindex, const char *name)
{
    static const char older[] = "older name, not read beside the newer one";
    static const char newer[] = "newer name, without its file";
    static const wa_payload both[] = {WA_PAYLOAD_INTERLEAVED_Q4K, WA_PAYLOAD_DOWN_FEATURES_Q4K};
    for (size_t i = 0; i < sizeof both / sizeof both[0]; i++) {
        const char *now = wa_payload_file(both[i]);
        size_t stem = strlen(now) - strlen("kquant.bin");
        bool is_old = strncmp(name, now, stem) == 0 && strncmp(name + stem, "q4k", 3) == 0;
        bool is_new = strncmp(name, now, stem) == 0 && strncmp(name + stem, "kquant", 6) == 0;
        bool reads_new = strcmp(wa_vindex_file(vindex, both[i]), now) == 0;
        if (is_old || is_new)
            return is_old && reads_new ? older : is_new && !reads_new ? newer : NULL;
    }
    return NULL;
}

static bool is_left_over(const char *name)
{
    return ends_with(name, ".tmp") || ends_with(name, ".bak");
}

static void classify(const wa_vindex *vindex, wa_vindex_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        wa_vindex_entry *entry = &entries[i];
        const struct known *known = find_known(entry->name);
        if (known != NULL) {
            const char *other = other_generation(vindex, entry->name);
            entry->what = other != NULL ? other : known->what;
            entry->payload = (known->payload && other == NULL) || is_listed(vindex, entry->name);
        } else if (is_fp4_file(vindex, entry->name)) {
            entry->what = "named by index.json: fp4";
            entry->payload = true;
        } else if (is_left_over(entry->name)) {
            entry->what = "left over";
        } else {
            entry->like = find_like(entry->name, entries, count);
        }
    }
}

/* --- Entries */

typedef struct listing {
    wa_vindex_entry *entries;
    size_t count, room;
    wa_arena *arena;
} listing;

/* "NAME", or "NAME/" of a directory. */
static wa_status keep_name(const listing *list, const char *directory, const char *name, char **out,
                           wa_error *err)
{
    char *path;
    WA_TRY(wa_arena_print(list->arena, &path, err, "%s/%s", directory, name));
    WA_TRY(wa_arena_print(list->arena, out, err, "%s%s", name, wa_dir_exists(path) ? "/" : ""));
    for (char *c = *out; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f || *c == ':') /* lists say "NAME: what it is" */
            *c = '?';
    return WA_OK;
}

static wa_status append(listing *list, const char *directory, const char *name, wa_error *err)
{
    char *kept;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return WA_OK;
    WA_TRY(wa_arena_grow(list->arena, &list->entries, list->count, &list->room,
                         sizeof *list->entries, err));
    WA_TRY(keep_name(list, directory, name, &kept, err));
    list->entries[list->count++] = (wa_vindex_entry){.name = kept};
    return WA_OK;
}

static wa_status read_names(listing *list, const char *directory, wa_error *err)
{
    DIR *stream = opendir(directory);
    if (stream == NULL)
        return wa_fail(err, WA_E_IO, "cannot list directory '%s': %s", directory, strerror(errno));
    wa_status status = WA_OK;
    errno = 0;
    for (struct dirent *at; status == WA_OK && (at = readdir(stream)) != NULL; errno = 0)
        status = append(list, directory, at->d_name, err);
    if (status == WA_OK && errno != 0)
        status =
            wa_fail(err, WA_E_IO, "cannot list directory '%s': %s", directory, strerror(errno));
    closedir(stream);
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const wa_vindex_entry *)a)->name, ((const wa_vindex_entry *)b)->name);
}

/* A checkpoint is the files that were opened; what else lies in its directory is the model's
 * affair. */
static wa_status list_checkpoint(const wa_vindex *vindex, listing *list, wa_error *err)
{
    for (size_t i = 0; i < vindex->file_count; i++) {
        const char *slash = strrchr(vindex->files[i], '/');
        WA_TRY(append(list, ".", slash == NULL ? vindex->files[i] : slash + 1, err));
        assert(list->entries != NULL);
        list->entries[i].what = "of the checkpoint";
        list->entries[i].payload = true;
    }
    return WA_OK;
}

wa_status wa_vindex_inventory(const wa_vindex *vindex, wa_arena *arena, wa_vindex_entry **out,
                              size_t *count, wa_error *err)
{
    listing list = {.arena = arena};
    bool is_vindex = vindex->checkpoint == NULL;
    WA_TRY(is_vindex ? read_names(&list, vindex->path, err) : list_checkpoint(vindex, &list, err));
    if (list.count > 0)
        qsort(list.entries, list.count, sizeof *list.entries, by_name);
    if (is_vindex)
        classify(vindex, list.entries, list.count);
    *out = list.entries;
    *count = list.count;
    return WA_OK;
}

wa_status wa_vindex_find_foreign(const char *path, wa_arena *arena, const char **out, wa_error *err)
{
    listing list = {.arena = arena};
    *out = NULL;
    WA_TRY(read_names(&list, path, err));
    if (list.count > 0)
        qsort(list.entries, list.count, sizeof *list.entries, by_name);
    for (size_t i = 0; i < list.count && *out == NULL; i++)
        if (find_known(list.entries[i].name) == NULL && !is_left_over(list.entries[i].name))
            *out = list.entries[i].name;
    return WA_OK;
}

/* "layer_07.weights" of one of `layers`, spelled as it is read? */
static bool is_layer_file(const char *name, size_t layers)
{
    char expected[40];
    unsigned layer;
    if (sscanf(name, "layer_%9u", &layer) != 1 || layer >= layers)
        return false;
    (void)snprintf(expected, sizeof expected, "layer_%02u.weights", layer);
    return strcmp(name, expected) == 0;
}

wa_status wa_vindex_layers_remark(wa_vindex_build *build, wa_error *err)
{
    listing list = {.arena = build->arena};
    char *path;
    size_t unread = 0;
    const char *first = NULL;
    WA_TRY(wa_vindex_file_path(build, "layers", &path, err));
    if (!wa_dir_exists(path)) /* damage, which its files have */
        return WA_OK;
    WA_TRY(read_names(&list, path, err));
    if (list.count > 0)
        qsort(list.entries, list.count, sizeof *list.entries, by_name);
    for (size_t i = 0; i < list.count; i++) {
        if (is_layer_file(list.entries[i].name, build->vindex->layer_count))
            continue;
        first = unread++ == 0 ? list.entries[i].name : first;
    }
    if (unread == 0)
        return WA_OK;
    return wa_vindex_remark(build, err, "entries of layers/ that no layer reads: %zu, '%s' first",
                            unread, first);
}
