/* Encoders on whole models: the bytes of quantised files that LARQL wrote from them. */
#include "model/model.h"
#include "vindex/vindex.h"

#include "golden.h"
#include "vindex_dirs.h"

/* What a file holds of each layer, one after the other (vindex-format.md 4). */
typedef struct piece {
    wa_projection projection;
    wa_format format;
    bool transposed; /* feature-major down: [I, H] */
} piece;

typedef struct larql_file {
    const char *model, *origin, *sha256;
    size_t count;
    piece pieces[3];
} larql_file;

#define Q4K_FILE(down)                                                                             \
    {                                                                                              \
        {WA_GATE, WA_FORMAT_Q4_K, false}, {WA_UP, WA_FORMAT_Q4_K, false},                          \
        {                                                                                          \
            WA_DOWN, down, false                                                                   \
        }                                                                                          \
    }
#define Q4K_DEFAULT Q4K_FILE(WA_FORMAT_Q6_K)
#define Q4K_DOWN4 Q4K_FILE(WA_FORMAT_Q4_K)
#define UP_FP4                                                                                     \
    {                                                                                              \
        {                                                                                          \
            WA_UP, WA_FORMAT_FP4, false                                                            \
        }                                                                                          \
    }
#define DOWN_FP4                                                                                   \
    {                                                                                              \
        {                                                                                          \
            WA_DOWN, WA_FORMAT_FP4, true                                                           \
        }                                                                                          \
    }
#define DOWN_FP8                                                                                   \
    {                                                                                              \
        {                                                                                          \
            WA_DOWN, WA_FORMAT_FP8, true                                                           \
        }                                                                                          \
    }
#define GATE_Q4                                                                                    \
    {                                                                                              \
        {                                                                                          \
            WA_GATE, WA_FORMAT_Q4_0, false                                                         \
        }                                                                                          \
    }
#define DOWN_Q6                                                                                    \
    {                                                                                              \
        {                                                                                          \
            WA_DOWN, WA_FORMAT_Q6_K, true                                                          \
        }                                                                                          \
    }

/* SHA-256 from the shared fixtures' FILES.tsv; `origin` is the path there below the model. Rows of
 * tiny-odd are padded (320 and 576 to multiples of 256). */
static const larql_file files[] = {
    {"tiny-qwen3", "q4k/vindex/interleaved_q4k.bin",
     "41739c85cdb896e337bd00dffc751fc274b95f7818b5dd6e060cbfa87b93da7f", 3, Q4K_DEFAULT},
    {"tiny-qwen3", "q4k-down4/vindex/interleaved_q4k.bin",
     "17d463f5cd601ca9e8201a76a6c9ca948221653f0ee37235b39e8d4e6b2760c6", 3, Q4K_DOWN4},
    {"tiny-qwen3", "q4k-fm/vindex/down_features_q4k.bin",
     "a82fa796708314b583450cb92b9790b57bb61ae317cf379d925287a13d553083", 1, DOWN_Q6},
    {"tiny-qwen3", "fp4a/vindex/up_features_fp4.bin",
     "64f0476675c60f7a7a9abcb91eee1cc9392c02bed3b01ff217f490b4251af5b4", 1, UP_FP4},
    {"tiny-qwen3", "fp4a/vindex/down_features_fp4.bin",
     "bd539655e5171039ca653dbb554e06405e35a70af63f469955080c90596a965b", 1, DOWN_FP4},
    {"tiny-qwen3", "fp4b/vindex/down_features_fp8.bin",
     "608a1d80525ee1000d557c5cf1221dbe3a2828ab0ff119475ebbf7efb2d9503e", 1, DOWN_FP8},
    {"tiny-qwen3", "legacy-q4/vindex/gate_vectors_q4.bin",
     "d124c54f015f2cfb10e60c03d63fe49e4fd4a9f3fd05bcb8a0b6d9f5e3f0cbbe", 1, GATE_Q4},
    {"tiny-odd", "q4k/vindex/interleaved_q4k.bin",
     "cee2d8feb1b29b2a1415d1d9e62de759b19e02fbe6f988bb3d6eb36c50097dc3", 3, Q4K_DEFAULT},
    {"tiny-odd", "q4k-down4/vindex/interleaved_q4k.bin",
     "9a6909d7b31c0d3e9e11d02c9a44af55a8683d858df5afb8231538ca79fc7f04", 3, Q4K_DOWN4},
    {"tiny-gemma3", "q4k/vindex/interleaved_q4k.bin",
     "29796804e278819b1463fcd4735017d5e0eff13dae29978021d9bfe073feb624", 3, Q4K_DEFAULT},
    {"tiny-gemma3", "fp4a/vindex/up_features_fp4.bin",
     "9cf2da1c3d03d9c92ddb961dcea58deac0693ef2ab54b967ff8d7c4fbdf18f0a", 1, UP_FP4},
    {"tiny-gemma3", "fp4a/vindex/down_features_fp4.bin",
     "c7713c756fac9d082796d97e1cd06785c9eb59275d31ca28d1c979bbed548536", 1, DOWN_FP4},
    {"tiny-gemma3", "fp4b/vindex/down_features_fp8.bin",
     "b3c65f78f861c26279ba90b2545a38ed4270e93c7fec1d7586f6bddcc34ea59d", 1, DOWN_FP8},
    {"tiny-llama", "q4k/vindex/interleaved_q4k.bin",
     "15fbec8134a1551b705f1fe3073cbdf4a43c6cd5cf98d1c631fe0a58efaaeb5c", 3, Q4K_DEFAULT},
    {"tiny-llama", "fp4a/vindex/up_features_fp4.bin",
     "63a8715b3d80ae5015a997fdec4e02e8663ee6e3d33db0701bfba43629a6092a", 1, UP_FP4},
    {"tiny-llama", "fp4b/vindex/down_features_fp8.bin",
     "09e829ec4e6e4d59c12135529e5719bfdb7aefee7b72147b7dda9e5e34192eee", 1, DOWN_FP8},
};

static void open_golden(const char *name, wa_arena *arena, wa_model **out)
{
    char golden[PATH_ROOM], dir[PATH_ROOM];
    wa_error err = {0};
    snprintf(golden, sizeof golden, "%s/models/%s", WA_GOLDEN, name);
    scratch_path(dir, "codec-model", name);
    copy_directory(golden, dir);
    if (!shell("gzip -dc '%s/model.safetensors.gz' > '%s/model.safetensors'", dir, dir))
        CU_FAIL_FATAL("gzip cannot unpack the golden model");
    WA_MUST(wa_model_open(dir, WA_SEMANTICS_LARQL_2026_05, arena, out, &err), &err);
}

static void transpose(const float *x, size_t rows, size_t cols, float *out)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            out[c * rows + r] = x[r * cols + c];
}

/* Appends one matrix as a file holds it; returns its bytes. `room` has twice its floats. */
static size_t encode_piece(const wa_layer *layer, const piece *what, float *room, uint8_t *out)
{
    const wa_matrix *const matrices[] = {&layer->gate, &layer->up, &layer->down};
    const wa_matrix *m = matrices[what->projection];
    size_t rows = what->transposed ? m->cols : m->rows;
    size_t cols = what->transposed ? m->rows : m->cols;
    size_t row_bytes = 0;
    float *turned = room + m->rows * m->cols;
    wa_matrix_decode(m, 0, m->rows, room);
    transpose(room, m->rows, m->cols, turned);
    CU_ASSERT(wa_row_bytes(what->format, cols, &row_bytes));
    wa_rows_encode(what->format, what->transposed ? turned : room, rows, cols, out);
    return rows * row_bytes;
}

static void compare_file(const larql_file *file, const wa_model *model, wa_arena *arena)
{
    wa_error err = {0};
    float *room;
    uint8_t *bytes;
    char hash[WA_SHA256_TEXT];
    size_t used = 0;
    size_t floats = model->hidden * model->intermediate;
    WA_MUST(wa_arena_take(arena, 2 * floats, sizeof *room, &room, &err), &err);
    WA_MUST(wa_arena_take(arena, 6 * floats * model->layer_count, 1, &bytes, &err), &err);
    for (size_t l = 0; l < model->layer_count; l++)
        for (size_t p = 0; p < file->count; p++)
            used += encode_piece(&model->layers[l], &file->pieces[p], room, bytes + used);
    wa_test_sha256(bytes, used, hash);
    if (strcmp(hash, file->sha256) != 0)
        fprintf(stderr, "    %s/%s: SHA-256 %s, LARQL's is %s\n", file->model, file->origin, hash,
                file->sha256);
    CU_ASSERT_STRING_EQUAL(hash, file->sha256);
}

static void whole_files_are_the_bytes_of_larql(void)
{
    static const char *const models[] = {"tiny-qwen3", "tiny-odd", "tiny-gemma3", "tiny-llama"};
    size_t compared = 0;
    for (size_t m = 0; m < sizeof models / sizeof models[0]; m++) {
        wa_error err = {0};
        wa_arena *arena;
        wa_model *model;
        WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
        open_golden(models[m], arena, &model);
        for (size_t f = 0; f < sizeof files / sizeof files[0]; f++)
            if (strcmp(files[f].model, models[m]) == 0) {
                compare_file(&files[f], model, arena);
                compared++;
            }
        wa_model_close(model);
        wa_arena_close(arena);
    }
    CU_ASSERT_EQUAL(compared, sizeof files / sizeof files[0]);
}

WA_SUITE("codec_larql", WA_CASE(whole_files_are_the_bytes_of_larql))
