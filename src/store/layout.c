/* The dataset table of design section 8. */
#include "store/layout.h"

#include "base/bytes.h"
#include "measure/diff.h"
#include "measure/routing.h"
#include "path/encoding.h"
#include "vindex/vindex.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Measured fields: "WA_CLO" + 3 is the axis text. */
#define FIELD(id, axes_, type_, unit_, long_name_)                                                 \
    {.name = #id,                                                                                  \
     .axes = &(#axes_)[3],                                                                         \
     .type = (wa_layout_type)(type_),                                                              \
     .origin = WA_ORIGIN_MEASURED,                                                                 \
     .unit = unit_,                                                                                \
     .long_name = long_name_},
#define ROW(name_, axes_, type_, origin_, unit_, long_name_)                                       \
    {.name = name_,                                                                                \
     .axes = axes_,                                                                                \
     .type = WA_LAYOUT_##type_,                                                                    \
     .origin = WA_ORIGIN_##origin_,                                                                \
     .unit = unit_,                                                                                \
     .long_name = long_name_},
#define INDEX(name_, axes_, origin_, long_name_)                                                   \
    {.name = name_,                                                                                \
     .axes = axes_,                                                                                \
     .type = WA_LAYOUT_I32,                                                                        \
     .is_index = true,                                                                             \
     .origin = WA_ORIGIN_##origin_,                                                                \
     .unit = "1",                                                                                  \
     .long_name = long_name_},
#define CODE(name_, axes_, codes_, origin_, long_name_)                                            \
    {.name = name_,                                                                                \
     .axes = axes_,                                                                                \
     .type = WA_LAYOUT_I8,                                                                         \
     .codes = WA_CODES_##codes_,                                                                   \
     .origin = WA_ORIGIN_##origin_,                                                                \
     .unit = "1",                                                                                  \
     .long_name = long_name_},

static const wa_layout ROWS[] = {
    /* clang-format off */
    INDEX("case", "C", SCALE, "case")
    INDEX("layer", "L", SCALE, "layer")
    INDEX("obs", "O", SCALE, "observation: prompts laid end to end")
    INDEX("prompt", "P", SCALE, "prompt")
    INDEX("slot", "S", SCALE, "place in the top k")
    INDEX("choice", "E", SCALE, "place among the chosen experts")
    INDEX("expert", "N", SCALE, "number of an expert")
    INDEX("vindex", "V", SCALE, "vindex")
    CODE("payload", "Y", PAYLOAD, SCALE, "payload of a vindex")
    CODE("projection", "J", PROJECTION, SCALE, "projection of the FFN")
    INDEX("offer", "X", SCALE, "path that a vindex cannot run")

    ROW("case_name", "C", TEXT, META, "1", "name of the case")
    INDEX("case_vindex", "C", META, "vindex of the case")
    CODE("case_path", "C", PATH, META, "walk path of the case")
    INDEX("case_k", "C", META, "features taken per position; -1 = all")
    ROW("case_k_all_layers", "C", I32, META, "1", "layers whose FFN is no wider than the case's k: all their features are taken")
    CODE("case_bucket", "C", BUCKET, META, "which bounds apply, from the bytes really read")
    ROW("case_payload", "CJ", I8, META, "1",
        "payload from which the case reads the projection; -1 = the model's own weights")
    ROW("case_not_run", "C", TEXT, META, "1", "why the case could not run; empty where it ran")
    CODE("case_own_stream", "C", YES, META, "whether the case drives a residual stream of its own: else drift and logits do not apply")
    ROW("case_kernel", "C", TEXT, META, "1", "kernel that computes the case; of path external, as it calls itself")
    ROW("case_route", "C", TEXT, META, "1", "what LARQL would have run among all files of the vindex, and why nothing above it; judged by nothing")
    ROW("case_like", "C", TEXT, META, "1", "of path external: the path whose oracle judges its kernel; empty = none")
    ROW("case_kernel_tolerance", "C", F64, META, "1", "largest error of a kernel that is judged by another path's oracle, and distance of servers among themselves; NaN = the bounds' own")
    ROW("case_served", "C", TEXT, META, "1", "of path served: servers, how numbers travel, what they said of themselves and what nobody can know, as JSON; empty = no server")
    ROW("case_kernel_due", "C", I64, META, "1", "(layer, observation) pairs at which the kernel is to meet its oracle; 0 = KERNEL is not judged")
    ROW("case_kernel_own_due", "C", I64, META, "1", "the same on the case's own residual stream")
    ROW("vindex_name", "V", TEXT, META, "1", "name of the vindex in the job")
    ROW("vindex_path", "V", TEXT, META, "1", "path of the vindex")
    ROW("vindex_files", "V", TEXT, META, "1", "files of the vindex, one per line: read, not read and what it is, or unknown")
    ROW("vindex_lack", "V", TEXT, META, "1", "why no case of the vindex could run; empty where one could")
    CODE("vindex_left_out", "V", YES, META, "whether the vindex could run some path, but none that the job names")
    ROW("payload_file", "VY", TEXT, META, "1", "name of the payload's file in the vindex; empty where it has none")
    ROW("payload_order", "VY", TEXT, META, "1", "element order of Q6_K and Q4_0, a line for each projection (and layers); empty where a format has one order")
    ROW("prompt_key", "P", TEXT, META, "1", "key of the prompt")
    ROW("prompt_text", "P", TEXT, META, "1", "text of the prompt")
    ROW("prompt_rows", "P", I32, META, "1", "positions of the prompt")
    INDEX("obs_prompt", "O", META, "prompt of the observation")
    INDEX("obs_position", "O", META, "position within the prompt")
    INDEX("token_id", "O", META, "token id at the position")
    ROW("token_text", "O", TEXT, META, "1", "text of the token; #ID where there is none")
    ROW("layer_experts", "L", I32, META, "1", "experts of the layer; 0 = it has none")
    CODE("expected_label", "CL", LABEL, META, "kernel that the routing ladder names")
    ROW("row_err_nominal", "VYLJ", F64, META, "1",
        "nominal error of the stored format; NaN = no case reads it")
    ROW("not_offered", "X", TEXT, META, "1", "vindex:path: why it cannot run")
    INDEX("not_offered_vindex", "X", META, "vindex of the entry")
    CODE("not_offered_path", "X", PATH, META, "walk path of the entry")

    WA_FIELD_LIST(FIELD)

    ROW("ref_top1_text", "P", TEXT, TEXT, "1", "text of ref_top1_id")
    ROW("ref_topk_text", "PS", TEXT, TEXT, "1", "text of ref_topk_id")
    ROW("top1_text", "CP", TEXT, TEXT, "1", "text of top1_id")
    ROW("topk_text", "CPS", TEXT, TEXT, "1", "text of topk_id")
    /* clang-format on */
};

enum { ROW_COUNT = sizeof ROWS / sizeof ROWS[0], CHUNK_LAYERS = 16, CHUNK_STREAM = 8192 };

/* Who changes one of these changes shapes of datasets, and makes WA_LAYOUT_VERSION one more. */
_Static_assert(WA_LAYOUT_VERSION == 5 && WA_PAYLOAD_COUNT == 21 && WA_PROJECTION_COUNT == 3,
               "other extents are another version of the layout");

wa_status wa_layout_check_version(const char *what, int64_t found, wa_error *err)
{
    if (found == WA_LAYOUT_VERSION)
        return WA_OK;
    return wa_fail(err, WA_E_MISMATCH,
                   "%s of format %lld, this walkaudit reads format %d: run the job again, or use "
                   "the walkaudit that "
                   "wrote it",
                   what, (long long)found, WA_LAYOUT_VERSION);
}

size_t wa_layout_count(void)
{
    return ROW_COUNT;
}

const wa_layout *wa_layout_at(size_t i)
{
    assert(i < ROW_COUNT);
    return &ROWS[i];
}

const wa_layout *wa_layout_find(const char *name)
{
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (strcmp(ROWS[i].name, name) == 0)
            return &ROWS[i];
    return NULL;
}

const wa_layout *wa_layout_of_field(wa_field field)
{
    const wa_layout *row = wa_layout_find(wa_field_get(field)->name);
    assert(row != NULL);
    return row;
}

/* The enumeration of an int8 row. The field list gives type and axes; which words a field stands
 * for is said here. */
static wa_layout_codes codes_of(const wa_layout *row)
{
    static const struct {
        const char *name;
        wa_layout_codes codes;
    } fields[] = {{"label", WA_CODES_LABEL},
                  {"obs_status", WA_CODES_OBS_STATUS},
                  {"top1_match", WA_CODES_YES},
                  {"obs_top1_match", WA_CODES_YES},
                  {"row_err_checked", WA_CODES_YES},
                  {"row_err_format", WA_CODES_FORMAT},
                  {"row_err_basis", WA_CODES_BASIS},
                  {"routing_change", WA_CODES_ROUTING},
                  {"own_routing_change", WA_CODES_ROUTING}};
    if (row->origin != WA_ORIGIN_MEASURED)
        return row->codes;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (strcmp(fields[i].name, row->name) == 0)
            return fields[i].codes;
    return WA_CODES_NONE;
}

/* Of the measured i32 fields only the evaluation counts are counts. */
int wa_layout_fill(const wa_layout *row)
{
    static const char counted[] = "_evaluations";
    if (row->type != WA_LAYOUT_I32)
        return 0;
    if (row->origin != WA_ORIGIN_MEASURED)
        return row->is_index ? -1 : 0;
    size_t length = strlen(row->name), tail = sizeof counted - 1;
    return length > tail && strcmp(row->name + length - tail, counted) == 0 ? 0 : -1;
}

bool wa_layout_exists(const wa_layout *row, const wa_extents *extents)
{
    if (extents->dims.choices == 0 &&
        (strpbrk(row->axes, "ENT") != NULL || strcmp(row->name, "layer_experts") == 0))
        return false;
    return extents->dims.logits_all ||
           (row->origin != WA_ORIGIN_RATE && strchr(row->axes, 'A') == NULL);
}

bool wa_layout_is_stream(const wa_layout *row)
{
    return strpbrk(row->axes, "OATP") != NULL;
}

const char *wa_layout_scale(char axis)
{
    static const char letters[] = "CLOAPSVYJXENT";
    static const char *const names[] = {"case",   "layer",  "obs",     "obs",        "prompt",
                                        "slot",   "vindex", "payload", "projection", "offer",
                                        "choice", "expert", "obs"};
    const char *at = strchr(letters, axis);
    assert(axis != '\0' && at != NULL);
    return names[at - letters];
}

size_t wa_layout_extent(const wa_extents *extents, char axis)
{
    switch (axis) {
    case 'C':
        return extents->dims.cases;
    case 'L':
        return extents->dims.layers;
    case 'O':
        return extents->dims.rows;
    case 'A':
        return extents->dims.logits_all ? extents->dims.rows : 0;
    case 'T':
        return extents->dims.choices > 0 ? extents->dims.rows : 0;
    case 'P':
        return extents->dims.prompts;
    case 'S':
        return extents->dims.slots;
    case 'E':
        return extents->dims.choices;
    case 'N':
        return extents->dims.experts;
    case 'V':
        return extents->dims.vindexes;
    case 'Y':
        return WA_PAYLOAD_COUNT;
    case 'J':
        return WA_PROJECTION_COUNT;
    default:
        assert(axis == 'X');
        return extents->offers;
    }
}

size_t wa_layout_shape(const wa_layout *row, const wa_extents *extents, size_t *shape)
{
    size_t rank = strlen(row->axes);
    assert(rank >= 1 && rank <= WA_LAYOUT_RANK);
    for (size_t d = 0; d < rank; d++)
        shape[d] = wa_layout_extent(extents, row->axes[d]);
    return rank;
}

static size_t box_extent(char axis, size_t extent)
{
    size_t most = extent;
    if (axis == 'C' || axis == 'V' || axis == 'Y')
        most = 1;
    else if (axis == 'L')
        most = CHUNK_LAYERS;
    else if (strchr("OATP", axis) != NULL)
        most = CHUNK_STREAM;
    if (extent <= most)
        return extent > 0 ? extent : 1;
    /* As many pieces as `most` needs, but of even size: 34 layers are 3 x 12, not 3 x 16 with 14 of
     * them padding. */
    size_t pieces = (extent + most - 1) / most;
    return (extent + pieces - 1) / pieces;
}

void wa_layout_box(const wa_layout *row, const size_t *shape, size_t *box)
{
    bool whole = !wa_layout_is_stream(row);
    for (size_t d = 0; row->axes[d] != '\0'; d++)
        box[d] = whole && shape[d] > 0 ? shape[d] : box_extent(row->axes[d], shape[d]);
}

bool wa_layout_is_chunked(const wa_layout *row, const size_t *shape)
{
    for (size_t d = 0; row->axes[d] != '\0'; d++)
        if (shape[d] == 0)
            return false;
    return row->type != WA_LAYOUT_TEXT;
}

bool wa_layout_is_compressed(const wa_layout *row)
{
    return row->type != WA_LAYOUT_TEXT && row->type != WA_LAYOUT_F64 &&
           strchr(row->axes, 'L') != NULL && wa_layout_is_stream(row);
}

size_t wa_layout_size(const wa_layout *row)
{
    return row->type == WA_LAYOUT_TEXT ? sizeof(char *) : wa_type_size((wa_type)row->type);
}

/* Bytes of one dataset in the file: whole chunks, and what HDF5 adds to each chunk and dataset. */
static bool row_room(const wa_layout *row, const wa_extents *extents, size_t *out)
{
    enum { TEXT_BYTES = 64, CHUNK_BYTES = 128, DATASET_BYTES = 8192 };
    size_t shape[WA_LAYOUT_RANK] = {0}, box[WA_LAYOUT_RANK] = {0}, elements = 1, chunks = 1, bytes,
           extra;
    size_t rank = wa_layout_shape(row, extents, shape);
    bool chunked = wa_layout_is_chunked(row, shape);
    wa_layout_box(row, shape, box);
    for (size_t d = 0; d < rank; d++) {
        assert(box[d] > 0);
        size_t along = (shape[d] + box[d] - 1) / box[d];
        if (!wa_size_mul(elements, chunked ? along * box[d] : shape[d], &elements) ||
            !wa_size_mul(chunks, along, &chunks))
            return false;
    }
    size_t element = row->type == WA_LAYOUT_TEXT ? TEXT_BYTES : wa_layout_size(row);
    /* A compressed chunk is written twice, first with fill values, and may move when it grows. */
    if (wa_layout_is_compressed(row))
        element *= 2;
    if (!wa_size_mul(elements, element, &bytes) || !wa_size_mul(chunks, CHUNK_BYTES, &extra) ||
        !wa_size_add(bytes, extra, &bytes))
        return false;
    return wa_size_add(bytes, DATASET_BYTES, out);
}

static bool add_room(const wa_layout *row, const wa_extents *extents, bool streams, size_t *sum)
{
    size_t bytes;
    bool stream = row->origin == WA_ORIGIN_MEASURED && wa_layout_is_stream(row);
    if (!wa_layout_exists(row, extents) || stream != streams)
        return true;
    return row_room(row, extents, &bytes) && wa_size_add(*sum, bytes, sum);
}

bool wa_layout_room(const wa_extents *extents, wa_layout_more *more, bool streams, size_t *out)
{
    size_t sum = 1 << 20; /* groups, root attributes, free space that HDF5 keeps */
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (!add_room(&ROWS[i], extents, streams, &sum))
            return false;
    for (size_t i = 0; more != NULL && more(i) != NULL; i++)
        if (!add_room(more(i), extents, streams, &sum))
            return false;
    *out = sum;
    return true;
}

static size_t list_words(const char *words[WA_CODES_MAX], size_t count, const char *(*word)(int))
{
    assert(count <= WA_CODES_MAX);
    for (size_t i = 0; i < count; i++)
        words[i] = word((int)i);
    return count;
}

static const char *label_word(int code)
{
    return wa_label_text((wa_label)code);
}

static const char *status_word(int code)
{
    static const char *const words[] = {
#define STATUS_WORD(id, code_, meaning) [code_] = meaning,
        WA_OBS_STATUS_LIST(STATUS_WORD)
#undef STATUS_WORD
    };
    return words[code];
}

static const char *bucket_word(int code)
{
    return wa_bucket_name((wa_bucket)code);
}

static const char *path_word(int code)
{
    return wa_path_name((wa_path)code);
}

static const char *projection_word(int code)
{
    return wa_projection_name((wa_projection)code);
}

static const char *payload_word(int code)
{
    return wa_payload_name((wa_payload)code);
}

static const char *format_word(int code)
{
    if (code == WA_FORMAT_GGML_Q4_0) /* codes 11 and 13 are the older orders of vindexes */
        return "Q4_0_ggml";
    return code == WA_FORMAT_GGML_Q6_K ? "Q6_K_ggml" : wa_format_get((wa_format)code)->name;
}

static const char *basis_word(int code)
{
    return wa_encoding_basis_word((wa_encoding_basis)code);
}

static const char *routing_word(int code)
{
    static const char *const words[] = {
#define ROUTING_WORD(id, code_, meaning) [code_] = meaning,
        WA_ROUTING_CHANGE_LIST(ROUTING_WORD)
#undef ROUTING_WORD
    };
    return words[code];
}

static const char *yes_word(int code)
{
    return code == 0 ? "no" : "yes";
}

size_t wa_layout_words(const wa_layout *row, const char *words[WA_CODES_MAX])
{
    switch (codes_of(row)) {
    case WA_CODES_LABEL:
        return list_words(words, WA_LABEL_COUNT, label_word);
    case WA_CODES_OBS_STATUS:
        return list_words(words, WA_OBS_STATUS_COUNT, status_word);
    case WA_CODES_BUCKET:
        return list_words(words, WA_BUCKET_COUNT, bucket_word);
    case WA_CODES_PATH:
        return list_words(words, WA_PATH_COUNT, path_word);
    case WA_CODES_PROJECTION:
        return list_words(words, WA_PROJECTION_COUNT, projection_word);
    case WA_CODES_PAYLOAD:
        return list_words(words, WA_PAYLOAD_COUNT, payload_word);
    case WA_CODES_FORMAT:
        return list_words(words, WA_FORMAT_COUNT, format_word);
    case WA_CODES_BASIS:
        return list_words(words, WA_BASIS_COUNT, basis_word);
    case WA_CODES_YES:
        return list_words(words, 2, yes_word);
    case WA_CODES_ROUTING:
        return list_words(words, WA_ROUTING_CHANGE_COUNT, routing_word);
    case WA_CODES_OWN:
        return list_words(words, (size_t)row->word_count, row->word);
    case WA_CODES_NONE:
        break;
    }
    return 0;
}

int wa_layout_print_row(const wa_layout *row, char *out, size_t size)
{
    static const char *const types[] = {[WA_LAYOUT_F64] = "f64",
                                        [WA_LAYOUT_I64] = "i64",
                                        [WA_LAYOUT_I32] = "i32",
                                        [WA_LAYOUT_I8] = "i8",
                                        [WA_LAYOUT_TEXT] = "string"};
    char axes[64] = "";
    for (const char *axis = row->axes; *axis != '\0'; axis++) {
        if (axis != row->axes)
            strcat(axes, ", ");
        strcat(axes, wa_layout_scale(*axis)); /* four names of at most 10 letters */
    }
    /* A bar inside a table cell is written \| in Markdown. */
    char meaning[256];
    size_t used = 0;
    for (const char *at = row->long_name; *at != '\0' && used + 3 < sizeof meaning; at++) {
        if (*at == '|')
            meaning[used++] = '\\';
        meaning[used++] = *at;
    }
    meaning[used] = '\0';
    return snprintf(out, size, "| `%s` | [%s] | %s | %s | %s |", row->name, axes, types[row->type],
                    row->unit, meaning);
}
