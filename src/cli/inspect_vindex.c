/* What a vindex is, what it can run, and what is wrong with its values. */
#include "cli/inspect.h"
#include "path/path.h"
#include "vindex/experts.h"
#include "vindex/flags.h"
#include "vindex/inventory.h"
#include "vindex/order.h"
#include "vindex/scan.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static void print_features(const wa_vindex *vindex, FILE *out)
{
    size_t least = SIZE_MAX, most = 0;
    for (size_t l = 0; l < vindex->layer_count; l++) {
        size_t features = vindex->layers[l].features;
        least = features < least ? features : least;
        most = features > most ? features : most;
    }
    if (least == most)
        fprintf(out, "features      %zu in every layer\n", most);
    else
        fprintf(out, "features      %zu to %zu by layer\n", least, most);
}

static void print_facts(const wa_vindex *vindex, FILE *out)
{
    fprintf(out, "vindex        %s\n", vindex->path);
    fprintf(out, "made from     %s (family %s, level %s)\n", vindex->model, vindex->family,
            vindex->extract_level);
    fprintf(out, "format        VINDEX2, as LARQL's states of May to August 2026 write it\n");
    fprintf(out, "shape         %zu layers, hidden %zu, intermediate %zu, vocabulary %zu\n",
            vindex->layer_count, vindex->hidden, vindex->intermediate, vindex->vocab);
    print_features(vindex, out);
    fprintf(out, "gate          %s\n", wa_format_get(vindex->gate_format)->name);
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        if (vindex->source_format[p] != NULL)
            fprintf(out, "source        %s was %s\n", wa_projection_name((wa_projection)p),
                    vindex->source_format[p]);
}

static void print_payloads(const wa_vindex *vindex, FILE *out)
{
    fprintf(out, "payloads\n");
    for (int p = 0; p < WA_PAYLOAD_COUNT; p++)
        if (vindex->present[p])
            fprintf(out, "  %-26s %s%s\n", wa_vindex_file(vindex, (wa_payload)p),
                    p == WA_PAYLOAD_GATE && vindex->gate_is_remade
                        ? "not read; re-made from the interleaved K-quant file"
                        : wa_payload_meaning((wa_payload)p),
                    vindex->readable[p] ? "" : " (not readable: see notes)");
    fprintf(out, "files\n");
    for (size_t i = 0; i < vindex->file_count; i++) {
        struct stat info;
        uint64_t bytes = stat(vindex->files[i], &info) == 0 ? (uint64_t)info.st_size : 0;
        fprintf(out, "  %14" PRIu64 "  %s\n", bytes, vindex->files[i]);
    }
}

static bool are_alike(const wa_layer_store *a, const wa_layer_store *b)
{
    return a->entries == b->entries && a->features == b->features &&
           a->format_name == b->format_name && a->unpadded == b->unpadded &&
           a->has_router == b->has_router && a->has_router_bias == b->has_router_bias &&
           a->has_biases == b->has_biases;
}

static void print_store(const wa_layer_store *store, FILE *out)
{
    if (store->entries == 1)
        fprintf(out, "one FFN of %zu features, %s", store->features, store->format_name);
    else
        fprintf(out, "%zu experts of %zu features, %s", store->entries, store->features,
                store->format_name);
    if (store->unpadded)
        fprintf(out, ", rows not padded to 256, as LARQL wrote in May 2026");
    fprintf(out, "; %s",
            store->has_router     ? "router"
            : store->entries == 1 ? "no router"
                                  : "no router, which is the model's then");
    fprintf(out, "%s%s\n", store->has_router_bias ? ", its bias" : "",
            store->has_biases ? ", biases of experts" : "");
}

/* Layers that are alike in one line. */
static void print_experts(const wa_vindex *vindex, FILE *out)
{
    if (wa_vindex_expert_layer(vindex) == vindex->layer_count)
        return;
    fprintf(out, "experts\n");
    for (size_t first = 0, next; first < vindex->layer_count; first = next) {
        const wa_layer_store store = wa_vindex_layer_store(vindex, first);
        bool alike = true;
        for (next = first + 1; next < vindex->layer_count && alike; next += alike ? 1 : 0) {
            const wa_layer_store other = wa_vindex_layer_store(vindex, next);
            alike = are_alike(&store, &other);
        }
        if (next - first == 1)
            fprintf(out, "  layer %zu: ", first);
        else
            fprintf(out, "  layers %zu-%zu: ", first, next - 1);
        if (store.entries == 0)
            fprintf(out, "no file\n");
        else
            print_store(&store, out);
    }
}

/* What no walk path reads, and what nobody knows. */
static wa_status print_inventory(const wa_vindex *vindex, wa_arena *arena, FILE *out, wa_error *err)
{
    wa_vindex_entry *entries;
    size_t count;
    bool any = false;
    WA_TRY(wa_vindex_inventory(vindex, arena, &entries, &count, err));
    for (size_t i = 0; i < count; i++) {
        const wa_vindex_entry *e = &entries[i];
        if (e->payload)
            continue;
        if (!any)
            fprintf(out, "beside them\n");
        any = true;
        if (e->what != NULL)
            fprintf(out, "  not read: %s (%s)\n", e->name, e->what);
        else
            fprintf(out, "  unknown file: %s%s%s\n", e->name, e->like == NULL ? "" : ", like ",
                    e->like == NULL ? "" : e->like);
    }
    return WA_OK;
}

/* From the bytes alone: whoever has the model learns more from an audit. */
static wa_status print_orders(const wa_vindex *vindex, wa_arena *arena, FILE *out, wa_error *err)
{
    bool any = false;
    for (int p = 0; p < WA_PAYLOAD_COUNT; p++) {
        const char *text;
        WA_TRY(wa_vindex_guess_orders(vindex, (wa_payload)p, arena, &text, err));
        if (text[0] != '\0' && !any)
            fprintf(out, "element orders\n");
        any = any || text[0] != '\0';
        while (*text != '\0') {
            int length = (int)strcspn(text, "\n");
            fprintf(out, "  %s, %.*s\n", wa_vindex_file(vindex, (wa_payload)p), length, text);
            text += length + (text[length] == '\n' ? 1 : 0);
        }
    }
    return WA_OK;
}

static void print_flags(const wa_vindex *vindex, FILE *out)
{
    wa_vindex_flags flags = wa_vindex_upstream_flags(vindex);
    fprintf(out, "flags upstream would set\n");
#define PRINT_FLAG(field) fprintf(out, "  %-26s %s\n", #field, flags.field ? "true" : "false");
    WA_VINDEX_FLAG_LIST(PRINT_FLAG)
#undef PRINT_FLAG
    fprintf(out, "bucket        %s, as upstream calls it\n", wa_vindex_upstream_bucket(&flags));
}

/* Cases need a model's shape; a vindex alone tells as much of it as the table of paths asks for. */
wa_status wa_inspect_list_cases(const wa_vindex *vindex, wa_arena *arena, wa_cases *out,
                                wa_error *err)
{
    wa_model shape = {.path = vindex->model,
                      .family = vindex->family,
                      .layer_count = vindex->layer_count,
                      .hidden = vindex->hidden,
                      .intermediate = vindex->intermediate,
                      .vocab = vindex->vocab,
                      .gated = true};
    wa_case_input input = {.name = "vindex", .vindex = vindex, .ladder = WA_LADDER_DEFAULT};
    WA_TRY(wa_arena_take(arena, shape.layer_count, sizeof *shape.layers, &shape.layers, err));
    for (size_t l = 0; l < shape.layer_count; l++) {
        shape.layers[l].gate = (wa_matrix){.rows = shape.intermediate, .cols = shape.hidden};
        shape.layers[l].up = shape.layers[l].gate;
        shape.layers[l].down = (wa_matrix){.rows = shape.hidden, .cols = shape.intermediate};
    }
    return wa_cases_build(&input, 1, &shape, arena, out, err);
}

static wa_status print_cases(const wa_vindex *vindex, wa_arena *arena, FILE *out, wa_error *err)
{
    wa_cases cases;
    WA_TRY(wa_inspect_list_cases(vindex, arena, &cases, err));
    fprintf(out, "cases it can run with a gated model\n");
    for (size_t i = 0; i < cases.count; i++) {
        const wa_case *which = &cases.items[i];
        const char *name = strchr(which->name, ':') + 1; /* "vindex:NAME" */
        if (which->not_run != NULL)
            fprintf(out, "  %-26s NOT-RUN: %s\n", name, which->not_run);
        else
            fprintf(out, "  %-26s bucket %s, label %s\n", name, wa_bucket_name(which->bucket),
                    wa_label_text(which->kernel));
    }
    if (cases.count == 0)
        fprintf(out, "  none\n");
    for (size_t i = 0; i < cases.not_offered_count; i++)
        fprintf(out, "  not offered: %s: %s\n", cases.not_offered[i].path,
                cases.not_offered[i].reason);
    return WA_OK;
}

/* Where a value stands, whichever way its matrix lies. */
static void print_place(const wa_vindex *vindex, wa_payload payload, wa_projection projection,
                        const wa_nonfinite *first, FILE *out)
{
    bool by_feature = projection != WA_DOWN || wa_payload_down_is_feature_major(
                                                   wa_vindex_serving(vindex, payload, projection));
    fprintf(out, "feature %zu, element %zu\n", by_feature ? first->first_row : first->first_col,
            by_feature ? first->first_col : first->first_row);
}

/* Sum over the layers of one projection; the first place is that of the first layer with any. */
static wa_status scan_projection(const wa_vindex *vindex, wa_payload payload,
                                 wa_projection projection, float *row, FILE *out, wa_error *err)
{
    wa_nonfinite first = {0};
    size_t total = 0, first_layer = 0;
    for (size_t l = 0; l < vindex->layer_count; l++) {
        wa_matrix matrix;
        WA_TRY(wa_vindex_matrix(vindex, payload, projection, l, &matrix, err));
        wa_nonfinite found = wa_matrix_nonfinite(&matrix, row);
        if (total == 0 && found.count > 0) {
            first = found;
            first_layer = l;
        }
        total += found.count;
    }
    fprintf(out, "  %s, %s: ", wa_vindex_file(vindex, payload), wa_projection_name(projection));
    if (total == 0) {
        fprintf(out, "all finite\n");
        return WA_OK;
    }
    fprintf(out, "%zu non-finite values, first at layer %zu, ", total, first_layer);
    print_place(vindex, payload, projection, &first, out);
    return WA_OK;
}

/* A projection served by another payload is scanned there; a re-made gate is scanned as served,
 * since f16 turns what is large into infinities. */
static bool is_scanned(const wa_vindex *vindex, wa_payload payload, wa_projection projection)
{
    if (!vindex->present[payload] || !vindex->readable[payload] ||
        !wa_payload_holds(payload, projection))
        return false;
    return payload == WA_PAYLOAD_GATE || wa_vindex_serving(vindex, payload, projection) == payload;
}

/* Sum over all experts of all layers; the first place is that of the first expert with any. */
static wa_status scan_experts(const wa_vindex *vindex, wa_projection projection, float *row,
                              FILE *out, wa_error *err)
{
    wa_nonfinite first = {0};
    size_t total = 0, at_layer = 0, at_expert = 0;
    for (size_t l = 0; l < vindex->layer_count; l++) {
        const wa_layer_store store = wa_vindex_layer_store(vindex, l);
        for (size_t e = 0; e < store.entries; e++) {
            wa_expert expert;
            WA_TRY(wa_vindex_expert(vindex, l, e, &expert, err));
            wa_nonfinite found = wa_matrix_nonfinite(wa_expert_matrix(&expert, projection), row);
            if (total == 0 && found.count > 0) {
                first = found;
                at_layer = l;
                at_expert = e;
            }
            total += found.count;
        }
    }
    fprintf(out, "  experts, %s: ", wa_projection_name(projection));
    if (total == 0)
        fprintf(out, "all finite\n");
    else
        fprintf(out,
                "%zu non-finite values, first at layer %zu, expert %zu, row %zu, element %zu\n",
                total, at_layer, at_expert, first.first_row, first.first_col);
    return WA_OK;
}

static wa_status print_values(const wa_vindex *vindex, wa_arena *arena, FILE *out, wa_error *err)
{
    size_t widest = vindex->hidden; /* a row of down [H, F] has a value for each feature */
    for (size_t l = 0; l < vindex->layer_count; l++) {
        size_t features = wa_vindex_layer_store(vindex, l).features;
        widest = vindex->layers[l].features > widest ? vindex->layers[l].features : widest;
        widest = features > widest ? features : widest;
    }
    float *row;
    WA_TRY(wa_arena_take(arena, widest, sizeof *row, &row, err));
    fprintf(out, "values\n");
    for (int p = 0; p < WA_PAYLOAD_COUNT; p++)
        for (int q = 0; q < WA_PROJECTION_COUNT; q++)
            if (is_scanned(vindex, (wa_payload)p, (wa_projection)q))
                WA_TRY(scan_projection(vindex, (wa_payload)p, (wa_projection)q, row, out, err));
    for (int q = 0; q < WA_PROJECTION_COUNT && wa_vindex_expert_layer(vindex) < vindex->layer_count;
         q++)
        WA_TRY(scan_experts(vindex, (wa_projection)q, row, out, err));
    return WA_OK;
}

static void print_difference(const char *one, const char *other, wa_projection projection,
                             const wa_vindex_difference *found, FILE *out)
{
    if (found->rows > 0)
        fprintf(out, "  %s and %s: %zu rows of %s differ, first at layer %zu, feature %zu\n", one,
                other, found->rows, wa_projection_name(projection), found->first_layer,
                found->first_row);
}

/* V16: copies of a projection in float files should be equal, the weight tier's too (U14). */
static wa_status print_copies(const wa_vindex *vindex, wa_arena *arena, FILE *out, wa_error *err)
{
    static const wa_payload singles[WA_PROJECTION_COUNT] = {WA_PAYLOAD_GATE, WA_PAYLOAD_UP_FEATURES,
                                                            WA_PAYLOAD_DOWN_FEATURES};
    for (int q = 0; q < WA_PROJECTION_COUNT; q++) {
        wa_projection p = (wa_projection)q;
        bool single = vindex->present[singles[p]] && !(p == WA_GATE && vindex->gate_is_remade);
        bool interleaved = vindex->present[WA_PAYLOAD_INTERLEAVED];
        wa_payload one = single ? singles[p] : WA_PAYLOAD_INTERLEAVED;
        wa_vindex_difference found;
        if (single && interleaved) {
            WA_TRY(wa_vindex_compare(vindex, p, one, WA_PAYLOAD_INTERLEAVED, arena, &found, err));
            print_difference(wa_payload_file(one), wa_payload_file(WA_PAYLOAD_INTERLEAVED), p,
                             &found, out);
        }
        if (p != WA_GATE && (single || interleaved)) {
            WA_TRY(wa_vindex_compare_weights(vindex, p, one, arena, &found, err));
            print_difference(wa_payload_file(one),
                             p == WA_UP ? "up_weights.bin" : "down_weights.bin", p, &found, out);
        }
    }
    return WA_OK;
}

static void print_notes(const wa_vindex *vindex, FILE *out)
{
    if (vindex->note_count > 0)
        fprintf(out, "notes\n");
    for (size_t i = 0; i < vindex->note_count; i++)
        fprintf(out, "  %s\n", vindex->notes[i]);
}

static wa_status print_checksums(const wa_vindex *vindex, wa_arena *arena, FILE *out, wa_error *err)
{
    static const char *const words[] = {[WA_CHECKSUM_EQUAL] = "equal",
                                        [WA_CHECKSUM_DIFFERS] = "DIFFERS",
                                        [WA_CHECKSUM_FILE_ABSENT] = "file absent",
                                        [WA_CHECKSUM_NONE] = "no checksum recorded"};
    wa_vindex_checksum *sums;
    size_t count;
    const wa_vindex_checksum *bad = NULL;
    WA_TRY(wa_vindex_verify(vindex, arena, &sums, &count, err));
    fprintf(out, "checksums\n");
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "  %-28s %s\n", sums[i].file, words[sums[i].state]);
        if (bad == NULL && sums[i].state == WA_CHECKSUM_DIFFERS)
            bad = &sums[i];
    }
    if (bad != NULL)
        return wa_fail(err, WA_E_FORMAT,
                       "file '%s' has SHA-256 %s, index.json says %s; in vindex '%s'", bad->file,
                       bad->found, bad->expected, vindex->path);
    return WA_OK;
}

static wa_status print_all(const wa_vindex *vindex, bool checksums, wa_arena *arena, FILE *out,
                           wa_error *err)
{
    print_facts(vindex, out);
    print_payloads(vindex, out);
    print_experts(vindex, out);
    WA_TRY(print_inventory(vindex, arena, out, err));
    WA_TRY(print_orders(vindex, arena, out, err));
    print_flags(vindex, out);
    print_notes(vindex, out);
    WA_TRY(print_cases(vindex, arena, out, err));
    WA_TRY(print_values(vindex, arena, out, err));
    WA_TRY(print_copies(vindex, arena, out, err));
    if (wa_vindex_check_fp4_scales(vindex, err) != WA_OK)
        return wa_note(err, "in vindex '%s'", vindex->path);
    return checksums ? print_checksums(vindex, arena, out, err) : WA_OK;
}

wa_status wa_inspect_vindex(const char *path, bool checksums, wa_arena *arena, FILE *out,
                            wa_error *err)
{
    wa_vindex *vindex;
    WA_TRY(wa_vindex_open(path, arena, &vindex, err));
    wa_status status = print_all(vindex, checksums, arena, out, err);
    wa_vindex_close(vindex);
    return status;
}
