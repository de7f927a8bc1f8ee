/* Element orders of Q6_K and Q4_0: told apart by the model matrix by matrix, by the bytes where
 * those tell, and said (larql-2026-08.md 1.4). */
#include "suite.h"
#include "vindex/extract.h"
#include "vindex/order.h"
#include "vindex/vindex.h"
#include "vindex_dirs.h"

#include <math.h>

static const char BEFORE[] = "order of before August 2026: LARQL since then reads this as noise";

typedef struct subject {
    char path[PATH_ROOM];
    wa_arena *arena;
    wa_model *model;
    wa_vindex *vindex; /* NULL = closed */
} subject;

/* A model in a format, feature-major down too. */
static void open_model(subject *s, const char *model, wa_extract_format format, const char *name)
{
    char path[PATH_ROOM];
    wa_error err = {0};
    wa_extract_options options = wa_extract_defaults(format);
    options.feature_major_down = format == WA_EXTRACT_Q4K;
    options.force = true;
    *s = (subject){.vindex = NULL};
    unpack_model("order-model", model, path);
    scratch_path(s->path, "order", name);
    WA_MUST(wa_arena_open("test", 0, &s->arena, &err), &err);
    WA_MUST(wa_model_open(path, WA_SEMANTICS_NATIVE, s->arena, &s->model, &err), &err);
    WA_MUST(wa_extract(s->model, s->path, &options, &err), &err);
}

static void open_subject(subject *s, wa_extract_format format, const char *name)
{
    open_model(s, "tiny-qwen3", format, name);
}

static void reopen(subject *s, bool settle)
{
    wa_error err = {0};
    wa_vindex_close(s->vindex);
    WA_MUST(wa_vindex_open(s->path, s->arena, &s->vindex, &err), &err);
    if (settle)
        WA_MUST(wa_vindex_settle_orders(s->vindex, s->model, s->arena, &err), &err);
}

static void close_subject(subject *s)
{
    wa_vindex_close(s->vindex);
    wa_model_close(s->model);
    wa_arena_close(s->arena);
}

static wa_matrix matrix_of(const subject *s, wa_payload payload, wa_projection projection,
                           size_t layer)
{
    wa_error err = {0};
    wa_matrix matrix = {0};
    WA_MUST(wa_vindex_matrix(s->vindex, payload, projection, layer, &matrix, &err), &err);
    return matrix;
}

static const char *told(const subject *s, wa_payload payload)
{
    wa_error err = {0};
    const char *text = "";
    WA_MUST(wa_vindex_tell_orders(s->vindex, payload, s->arena, &text, &err), &err);
    return text;
}

static const char *guessed(const subject *s, wa_payload payload)
{
    wa_error err = {0};
    const char *text = "";
    WA_MUST(wa_vindex_guess_orders(s->vindex, payload, s->arena, &text, &err), &err);
    return text;
}

/* How rows of a matrix are rewritten. */
typedef enum rewriting { OTHER_ORDER, SHUFFLED } rewriting;

/* Of `layer`, in the file: rows first, first + step and so on in the other order, or with their
 * blocks' codes moved by one place, so that no order fits. The file is that of the vindex as
 * opened. */
static void rewrite(const subject *s, wa_payload payload, wa_projection projection, size_t layer,
                    size_t first, size_t step, rewriting how)
{
    char path[2 * PATH_ROOM];
    uint64_t offset;
    static uint8_t packed[4096];
    static float row[4096];
    wa_matrix m = matrix_of(s, payload, projection, layer);
    CU_ASSERT_FATAL(wa_vindex_offset(s->vindex, &m, &offset));
    snprintf(path, sizeof path, "%s/%s", s->path, wa_vindex_file(s->vindex, payload));
    FILE *file = fopen(path, "r+b");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_FATAL(m.row_bytes <= sizeof packed && m.cols <= 4000);
    for (size_t r = first; r < m.rows; r += step) {
        wa_matrix_decode(&m, r, 1, row);
        if (how == SHUFFLED) {
            float front = row[0];
            memmove(row, row + 1, (m.cols - 1) * sizeof *row);
            row[m.cols - 1] = front;
        }
        wa_rows_encode(how == SHUFFLED ? m.format : wa_format_other_order(m.format), row, 1, m.cols,
                       packed);
        fseek(file, (long)(offset + r * m.row_bytes), SEEK_SET);
        CU_ASSERT_EQUAL_FATAL(fwrite(packed, 1, m.row_bytes, file), m.row_bytes);
    }
    fclose(file);
}

/* Bring a whole payload into ggml's order, whatever it has. */
static void make_planar(subject *s, wa_payload payload)
{
    for (size_t l = 0; l < s->vindex->layer_count; l++)
        for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
            wa_format format = wa_payload_holds(payload, (wa_projection)p)
                                   ? matrix_of(s, payload, (wa_projection)p, l).format
                                   : WA_FORMAT_F32;
            if (wa_format_other_order(format) != format && !wa_format_is_ggml_order(format))
                rewrite(s, payload, (wa_projection)p, l, 0, 1, OTHER_ORDER);
        }
}

/* Largest distance of a stored row from the model's, over the model's norm, of down [H, F] of a
 * layer. */
static double worst_row(const subject *s, size_t layer)
{
    static float stored[4096], own[4096];
    wa_matrix m = matrix_of(s, WA_PAYLOAD_INTERLEAVED_Q4K, WA_DOWN, layer);
    double worst = 0.0;
    for (size_t r = 0; r < m.rows; r++) {
        double difference = 0.0, norm = 0.0;
        wa_matrix_decode(&m, r, 1, stored);
        wa_matrix_decode(&s->model->layers[layer].down, r, 1, own);
        for (size_t c = 0; c < m.cols; c++) {
            difference += pow((double)stored[c] - (double)own[c], 2);
            norm += pow((double)own[c], 2);
        }
        worst = fmax(worst, sqrt(difference / norm));
    }
    return worst;
}

static void both_orders_are_told_by_the_model(void)
{
    static const wa_payload payloads[] = {WA_PAYLOAD_INTERLEAVED_Q4K, WA_PAYLOAD_DOWN_FEATURES_Q4K};
    char line[200];
    subject s;
    open_subject(&s, WA_EXTRACT_Q4K, "kquants");
    reopen(&s, true);
    for (size_t i = 0; i < 2; i++)
        make_planar(&s, payloads[i]);
    reopen(&s, true);
    for (size_t i = 0; i < 2; i++) {
        CU_ASSERT_STRING_EQUAL(told(&s, payloads[i]), "down: Q6_K, order since August 2026");
        CU_ASSERT_EQUAL(matrix_of(&s, payloads[i], WA_DOWN, 0).format, WA_FORMAT_GGML_Q6_K);
    }
    CU_ASSERT(worst_row(&s, 0) < 0.05);

    for (size_t i = 0; i < 2; i++)
        for (size_t l = 0; l < s.vindex->layer_count; l++)
            rewrite(&s, payloads[i], WA_DOWN, l, 0, 1, OTHER_ORDER);
    reopen(&s, false); /* nobody asked the model: August's */
    CU_ASSERT_STRING_EQUAL(told(&s, WA_PAYLOAD_INTERLEAVED_Q4K), "");
    CU_ASSERT(worst_row(&s, 0) > 1.0);
    reopen(&s, true);
    snprintf(line, sizeof line, "down: Q6_K, %s", BEFORE);
    for (size_t i = 0; i < 2; i++) {
        CU_ASSERT_STRING_EQUAL(told(&s, payloads[i]), line);
        CU_ASSERT_EQUAL(matrix_of(&s, payloads[i], WA_DOWN, 1).format, WA_FORMAT_Q6_K);
    }
    CU_ASSERT(worst_row(&s, 1) < 0.05);
    CU_ASSERT_STRING_EQUAL(told(&s, WA_PAYLOAD_GATE), "");
    close_subject(&s);
}

/* All three of an interleaved Q4_0 file, turned down included; and what only has one order has none
 * to tell. */
static void q4_0_is_told_by_the_model_alone(void)
{
    subject s;
    open_subject(&s, WA_EXTRACT_Q4_0, "q4_0");
    reopen(&s, true);
    make_planar(&s, WA_PAYLOAD_INTERLEAVED_Q4);
    reopen(&s, true);
    CU_ASSERT_STRING_EQUAL(
        told(&s, WA_PAYLOAD_INTERLEAVED_Q4),
        "gate: Q4_0, order since August 2026\nup: Q4_0, order since August 2026\n"
        "down: Q4_0, order since August 2026");
    rewrite(&s, WA_PAYLOAD_INTERLEAVED_Q4, WA_DOWN, 1, 0, 1, OTHER_ORDER);
    rewrite(&s, WA_PAYLOAD_INTERLEAVED_Q4, WA_UP, 0, 0, 1, OTHER_ORDER);
    reopen(&s, true);
    CU_ASSERT_EQUAL(matrix_of(&s, WA_PAYLOAD_INTERLEAVED_Q4, WA_DOWN, 1).format, WA_FORMAT_Q4_0);
    CU_ASSERT_EQUAL(matrix_of(&s, WA_PAYLOAD_INTERLEAVED_Q4, WA_DOWN, 0).format,
                    WA_FORMAT_GGML_Q4_0);
    CU_ASSERT_EQUAL(matrix_of(&s, WA_PAYLOAD_INTERLEAVED_Q4, WA_UP, 0).format, WA_FORMAT_Q4_0);
    CU_ASSERT_PTR_NOT_NULL(strstr(told(&s, WA_PAYLOAD_INTERLEAVED_Q4),
                                  "up, layer 0: Q4_0, order of before August 2026"));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(told(&s, WA_PAYLOAD_INTERLEAVED_Q4), "gate: Q4_0, order since August 2026"));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(guessed(&s, WA_PAYLOAD_INTERLEAVED_Q4), "down: Q4_0, order not told by the bytes"));
    close_subject(&s);
}

/* Half of the rows in either order, and rows that fit in none. */
static void a_matrix_without_a_majority_is_undecided_and_counts_as_augusts(void)
{
    subject s;
    open_subject(&s, WA_EXTRACT_Q4K, "undecided");
    reopen(&s, true);
    make_planar(&s, WA_PAYLOAD_INTERLEAVED_Q4K);
    reopen(&s, true);
    rewrite(&s, WA_PAYLOAD_INTERLEAVED_Q4K, WA_DOWN, 0, 0, 1, SHUFFLED);
    wa_matrix half = matrix_of(&s, WA_PAYLOAD_INTERLEAVED_Q4K, WA_DOWN, 1);
    CU_ASSERT(half.rows >= 32);
    for (size_t r = 0; r < half.rows / 2; r++)
        rewrite(&s, WA_PAYLOAD_INTERLEAVED_Q4K, WA_DOWN, 1, r, half.rows, OTHER_ORDER);
    reopen(&s, true);
    for (size_t l = 0; l < 2; l++)
        CU_ASSERT_EQUAL(matrix_of(&s, WA_PAYLOAD_INTERLEAVED_Q4K, WA_DOWN, l).format,
                        WA_FORMAT_GGML_Q6_K);
    CU_ASSERT_EQUAL(s.vindex->layer_count, 2);
    CU_ASSERT_STRING_EQUAL(told(&s, WA_PAYLOAD_INTERLEAVED_Q4K),
                           "down: Q6_K, order undecided, since neither fits the model: read in "
                           "that since August 2026");
    close_subject(&s);
}

/* Zero in the model where `zero` says so; the copy is to be freed. */
static float *blank(wa_matrix *m, bool (*zero)(size_t row, size_t col))
{
    float *copy = malloc(m->rows * m->cols * sizeof *copy);
    wa_matrix_decode(m, 0, m->rows, copy);
    for (size_t at = 0; at < m->rows * m->cols; at++)
        if (zero(at / m->cols, at % m->cols))
            copy[at] = 0.0F;
    m->format = WA_FORMAT_F32;
    m->data = (const uint8_t *)copy;
    m->row_bytes = m->cols * sizeof *copy;
    return copy;
}

/* Of 768 rows a sixteenth is 48, and a band of turned ones 32: all are zero but those that lie
 * behind the first band of each stretch. */
static bool is_before_row_32_of_48(size_t row, size_t col)
{
    (void)col;
    return row % 48 < 32;
}

static bool is_before_column_64_of_96(size_t row, size_t col)
{
    (void)row;
    return col % 96 < 64;
}

static void rows_of_zeros_are_passed_over(void)
{
    subject s;
    open_model(&s, "tiny-llama", WA_EXTRACT_Q4_0, "zeros");
    wa_layer *layer = &s.model->layers[1];
    CU_ASSERT_EQUAL_FATAL(layer->gate.rows, 768);
    float *gate = blank(&layer->gate, is_before_row_32_of_48),
          *down = blank(&layer->down, is_before_column_64_of_96);
    reopen(&s, true);
    CU_ASSERT_STRING_EQUAL(
        told(&s, WA_PAYLOAD_INTERLEAVED_Q4),
        "gate: Q4_0, order since August 2026\nup: Q4_0, order since August 2026\n"
        "down: Q4_0, order since August 2026");
    close_subject(&s);
    free(gate);
    free(down);
}

static void the_bytes_of_q6_k_tell_without_a_model(void)
{
    subject s;
    open_subject(&s, WA_EXTRACT_Q4K, "bytes");
    reopen(&s, true);
    make_planar(&s, WA_PAYLOAD_INTERLEAVED_Q4K);
    reopen(&s, false);
    CU_ASSERT_STRING_EQUAL(guessed(&s, WA_PAYLOAD_INTERLEAVED_Q4K),
                           "down: Q6_K, order since August 2026, by the bytes");
    rewrite(&s, WA_PAYLOAD_INTERLEAVED_Q4K, WA_DOWN, 0, 0, 1, OTHER_ORDER);
    reopen(&s, false);
    CU_ASSERT_PTR_NOT_NULL(strstr(guessed(&s, WA_PAYLOAD_INTERLEAVED_Q4K),
                                  "down, layer 0: Q6_K, order of before August 2026, by the "
                                  "bytes: LARQL since then reads this as noise"));
    CU_ASSERT_STRING_EQUAL(guessed(&s, WA_PAYLOAD_GATE), "");
    close_subject(&s);
}

/* The detector's own figures, larql-2026-08.md 9: 400 blocks of bell-shaped weights. */
static void the_share_of_full_groups_is_that_of_the_document(void)
{
    enum { BLOCKS = 400, BLOCK = 256, BYTES = 210 };
    static float x[BLOCKS * BLOCK];
    static uint8_t bytes[2][BLOCKS * BYTES];
    static const wa_format orders[2] = {WA_FORMAT_GGML_Q6_K, WA_FORMAT_Q6_K};
    static const double shares[2] = {0.579, 0.588}; /* read in the other order */
    uint32_t state = 7;
    for (size_t i = 0; i < BLOCKS * BLOCK; i++) {
        double sum = -6.0;
        for (int k = 0; k < 12; k++) {
            state = state * 1664525U + 1013904223U;
            sum += (double)(state >> 8) * 0x1p-24;
        }
        x[i] = (float)(0.03 * sum);
    }
    for (size_t written = 0; written < 2; written++) {
        wa_rows_encode(orders[written], x, BLOCKS, BLOCK, bytes[written]);
        for (size_t read = 0; read < 2; read++) {
            size_t counted = 0;
            double full =
                (double)wa_q6_k_full_groups(orders[read], bytes[written], BLOCKS, &counted);
            CU_ASSERT_EQUAL(counted, 16 * BLOCKS);
            CU_ASSERT(written == read ? full == (double)counted
                                      : fabs(full / (double)counted - shares[written]) < 0.02);
        }
    }
    memset(bytes, 0, sizeof bytes);
    size_t counted = 0;
    CU_ASSERT_EQUAL(wa_q6_k_full_groups(WA_FORMAT_Q6_K, bytes[0], BLOCKS, &counted), 0);
    CU_ASSERT_EQUAL(counted, 0);
}

WA_SUITE("vindex_order", WA_CASE(both_orders_are_told_by_the_model),
         WA_CASE(q4_0_is_told_by_the_model_alone),
         WA_CASE(a_matrix_without_a_majority_is_undecided_and_counts_as_augusts),
         WA_CASE(rows_of_zeros_are_passed_over), WA_CASE(the_bytes_of_q6_k_tell_without_a_model),
         WA_CASE(the_share_of_full_groups_is_that_of_the_document))
