/* The table of faults, and how each is planted. Most change the model's weights and write them with
 * the format's own encoder. */
#include "selftest/faults_experts.h"

#include "base/durable.h"

#include <math.h>

/* A file of a vindex that no walk path reads. */
static const char SIDE_FILE[] = "tokenizer.json";

/* --- Planting by weights ---------------------------------------------------------------------- */

/* Changes weights [rows, cols] of a stored matrix; those of rows outside [first, first + count)
 * stay as they are. */
typedef void change(wa_plant *plant, float *weights, size_t rows, size_t cols, size_t row);

typedef struct edit {
    change *weights; /* NULL = none */
    wa_bench_encoder encoder;
    bool whole; /* all rows are written again, else the one that is given */
} edit;

static wa_status plant_weights(wa_plant *plant, const wa_bench_target *target, size_t layer,
                               size_t row, const edit *how, wa_error *err)
{
    wa_matrix stored;
    uint8_t *bytes;
    float *weights;
    WA_TRY(wa_plant_bytes(plant, target, layer, &stored, &bytes, err));
    WA_TRY(wa_bench_rows(plant->bench, target, layer, &weights, err));
    if (how->weights != NULL)
        how->weights(plant, weights, stored.rows, stored.cols, row);
    size_t first = how->whole ? 0 : row, count = how->whole ? stored.rows : 1;
    WA_TRY(wa_bench_encode(plant->bench, target, how->encoder, weights + first * stored.cols, count,
                           &stored, bytes + first * stored.row_bytes, err));
    return wa_plant_matrix(plant, target, layer, how->whole ? -1 : (int)row, bytes, err);
}

/* A row that is not all zeros. */
static wa_status choose_row(wa_plant *plant, const wa_bench_target *target, size_t layer,
                            size_t *out, wa_error *err)
{
    wa_matrix stored;
    float *row;
    WA_TRY(wa_bench_stored(plant->bench, target, layer, &stored, err));
    WA_TRY(wa_arena_take_raw(plant->bench->arena, stored.cols, sizeof *row, &row, err));
    for (size_t tries = 0; tries < stored.rows; tries++) {
        *out = (size_t)(wa_bench_draw(&plant->draws) %
                        (stored.rows - 1)); /* the row after it is there, too */
        wa_matrix_decode(&stored, *out, 1, row);
        for (size_t c = 0; c < stored.cols; c++)
            if (row[c] != 0.0F)
                return WA_OK;
    }
    return WA_OK;
}

static void scale_row(float *weights, size_t cols, size_t row, float by)
{
    for (size_t c = 0; c < cols; c++)
        weights[row * cols + c] *= by;
}

static void change_row(wa_plant *plant, float *weights, size_t rows, size_t cols, size_t row)
{
    (void)plant, (void)rows;
    scale_row(weights, cols, row, 1.34F);
}

static void negate_row(wa_plant *plant, float *weights, size_t rows, size_t cols, size_t row)
{
    (void)plant, (void)rows;
    scale_row(weights, cols, row, -1.0F);
}

static void clear_row(wa_plant *plant, float *weights, size_t rows, size_t cols, size_t row)
{
    (void)plant, (void)rows;
    memset(weights + row * cols, 0, cols * sizeof *weights);
}

static void scale_some(wa_plant *plant, float *weights, size_t rows, size_t cols, size_t row)
{
    (void)plant, (void)row;
    for (size_t r = 0; r < rows; r += 50)
        scale_row(weights, cols, r, 0.67F);
}

static void scale_all(wa_plant *plant, float *weights, size_t rows, size_t cols, size_t row)
{
    (void)plant, (void)row;
    for (size_t r = 0; r < rows; r++)
        scale_row(weights, cols, r, 1.05F);
}

static void exchange_columns(wa_plant *plant, float *weights, size_t rows, size_t cols, size_t row)
{
    (void)plant, (void)row;
    for (size_t i = 0; i < rows; i++)
        for (size_t c = 0; c + 1 < cols; c += 2) {
            float swap = weights[i * cols + c];
            weights[i * cols + c] = weights[i * cols + c + 1];
            weights[i * cols + c + 1] = swap;
        }
}

static void swap_rows(float *weights, size_t cols, size_t a, size_t b)
{
    for (size_t c = 0; c < cols; c++) {
        float swap = weights[a * cols + c];
        weights[a * cols + c] = weights[b * cols + c];
        weights[b * cols + c] = swap;
    }
}

static void exchange_pairs(wa_plant *plant, float *weights, size_t rows, size_t cols, size_t row)
{
    (void)plant, (void)row;
    for (size_t r = 0; r + 1 < rows; r += 2)
        swap_rows(weights, cols, r, r + 1);
}

static void permute_rows(wa_plant *plant, float *weights, size_t rows, size_t cols, size_t row)
{
    (void)row;
    for (size_t r = rows - 1; r > 0; r--)
        swap_rows(weights, cols, r, (size_t)(wa_bench_draw(&plant->draws) % (r + 1)));
}

static void add_noise(wa_plant *plant, float *weights, size_t rows, size_t cols, size_t row)
{
    (void)row;
    double square = 0.0;
    for (size_t i = 0; i < rows * cols; i++)
        square += (double)weights[i] * (double)weights[i];
    double sigma = 0.05 * sqrt(square / (double)(rows * cols));
    for (size_t i = 0; i < rows * cols; i++)
        weights[i] = (float)((double)weights[i] + sigma * wa_bench_normal(&plant->draws));
}

#define ONE_ROW(name, function)                                                                    \
    static wa_status name(wa_plant *plant, const wa_bench_target *target, size_t layer,            \
                          wa_error *err)                                                           \
    {                                                                                              \
        size_t row = 0;                                                                            \
        WA_TRY(choose_row(plant, target, layer, &row, err));                                       \
        edit how = {.weights = (function), .encoder = WA_BENCH_OURS};                              \
        return plant_weights(plant, target, layer, row, &how, err);                                \
    }
#define ALL_ROWS(name, function, by)                                                               \
    static wa_status name(wa_plant *plant, const wa_bench_target *target, size_t layer,            \
                          wa_error *err)                                                           \
    {                                                                                              \
        edit how = {.weights = (function), .encoder = (by), .whole = true};                        \
        return plant_weights(plant, target, layer, 0, &how, err);                                  \
    }
ONE_ROW(plant_row_scaled, change_row)
ONE_ROW(plant_row_negated, negate_row)
ONE_ROW(plant_row_zero, clear_row)
ALL_ROWS(plant_rows_scaled, scale_some, WA_BENCH_OURS)
ALL_ROWS(plant_matrix_scaled, scale_all, WA_BENCH_OURS)
ALL_ROWS(plant_columns, exchange_columns, WA_BENCH_OURS)
ALL_ROWS(plant_permuted, permute_rows, WA_BENCH_OURS)
ALL_ROWS(plant_truncating, NULL, WA_BENCH_TRUNCATING)

/* The same features change places in gate, up and down: the FFN computes what it did, but no
 * feature is where its number says. */
static wa_status plant_features(wa_plant *plant, const wa_bench_target *target, size_t layer,
                                wa_error *err)
{
    (void)target;
    for (size_t i = 0; i < plant->bench->target_count; i++) {
        const wa_bench_target *each = &plant->bench->targets[i];
        bool by_columns = each->projection == WA_DOWN && !each->turned;
        edit how = {.weights = by_columns ? exchange_columns : exchange_pairs,
                    .encoder = WA_BENCH_OURS,
                    .whole = true};
        WA_TRY(plant_weights(plant, each, layer, 0, &how, err));
    }
    return WA_OK;
}

static wa_status plant_revision(wa_plant *plant, const wa_bench_target *target, size_t layer,
                                wa_error *err)
{
    (void)target;
    edit how = {.weights = add_noise, .encoder = WA_BENCH_OURS, .whole = true};
    size_t layers[] = {layer, layer == 0 ? 1 : layer - 1};
    for (size_t i = 0; i < plant->bench->target_count; i++)
        for (size_t l = 0; l < 2; l++)
            WA_TRY(plant_weights(plant, &plant->bench->targets[i], layers[l], 0, &how, err));
    return WA_OK;
}

/* --- Planting by bytes ------------------------------------------------------------------------ */

/* Where a block has its outermost scale. */
static size_t scale_place(wa_format format)
{
    switch (format) {
    case WA_FORMAT_Q6_K:
    case WA_FORMAT_GGML_Q6_K:
        return 208;
    case WA_FORMAT_FP4:
        return 136;
    case WA_FORMAT_FP8:
        return 256;
    default: /* Q4_0, Q4_K, and a float value is its own */
        return 0;
    }
}

static float read_scale(wa_format format, const uint8_t *at)
{
    float value;
    uint32_t wide = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 24;
    if (format != WA_FORMAT_F32 && format != WA_FORMAT_BF16)
        return wa_f16_to_f32((uint16_t)(at[0] | at[1] << 8));
    memcpy(&value, format == WA_FORMAT_F32 ? at : (const uint8_t *)&wide, sizeof value);
    return value;
}

static void write_scale(wa_format format, uint8_t *at, float value)
{
    uint16_t half = format == WA_FORMAT_BF16 ? wa_f32_to_bf16(value) : wa_f32_to_f16(value);
    if (format == WA_FORMAT_F32)
        memcpy(at, &value, sizeof value);
    else
        memcpy(at, &half, sizeof half);
}

/* By 0.7, or as near as eight bits allow: four of the eight codes of an octave. */
static void shrink_scale(wa_format format, uint8_t *block)
{
    uint8_t *at = block + scale_place(format);
    if (format == WA_FORMAT_FP4 || format == WA_FORMAT_FP8)
        *at = *at > 4 ? (uint8_t)(*at - 4) : 0;
    else
        write_scale(format, at, 0.7F * read_scale(format, at));
}

static void spoil_scale(wa_format format, uint8_t *block)
{
    uint8_t *at = block + scale_place(format);
    if (format == WA_FORMAT_FP4 || format == WA_FORMAT_FP8)
        *at = 0x7f;
    else
        write_scale(format, at, NAN);
}

typedef void spoil(wa_format format, uint8_t *block);

static wa_status plant_block(wa_plant *plant, const wa_bench_target *target, size_t layer,
                             spoil *how, wa_error *err)
{
    wa_matrix stored;
    uint8_t *bytes;
    size_t row = 0;
    const wa_format_info *info = wa_format_get(target->format);
    WA_TRY(wa_plant_bytes(plant, target, layer, &stored, &bytes, err));
    WA_TRY(choose_row(plant, target, layer, &row, err));
    uint8_t *at = bytes + row * stored.row_bytes;
    float block[256];
    bool has_values = false;
    /* a block of zeros has no scale to spoil */
    while (!has_values && at < bytes + (row + 1) * stored.row_bytes) {
        info->decode(at, 1, block);
        for (size_t i = 0; i < info->block_elements; i++)
            has_values = has_values || block[i] != 0.0F;
        at += has_values ? 0 : info->block_bytes;
    }
    how(target->format, at);
    return wa_plant_matrix(plant, target, layer, (int)row, bytes, err);
}

static wa_status plant_scale(wa_plant *plant, const wa_bench_target *target, size_t layer,
                             wa_error *err)
{
    return plant_block(plant, target, layer, shrink_scale, err);
}

static wa_status plant_not_number(wa_plant *plant, const wa_bench_target *target, size_t layer,
                                  wa_error *err)
{
    return plant_block(plant, target, layer, spoil_scale, err);
}

static wa_status plant_scales(wa_plant *plant, const wa_bench_target *target, size_t layer,
                              wa_error *err)
{
    wa_matrix stored;
    uint8_t *bytes;
    size_t step = wa_format_get(target->format)->block_bytes;
    WA_TRY(wa_plant_bytes(plant, target, layer, &stored, &bytes, err));
    for (size_t at = 0; at + step <= wa_matrix_bytes(&stored); at += step)
        shrink_scale(target->format, bytes + at);
    return wa_plant_matrix(plant, target, layer, -1, bytes, err);
}

static wa_status plant_exchanged(wa_plant *plant, const wa_bench_target *target, size_t layer,
                                 wa_error *err)
{
    wa_matrix stored;
    uint8_t *bytes;
    size_t row = 0;
    WA_TRY(wa_plant_bytes(plant, target, layer, &stored, &bytes, err));
    WA_TRY(choose_row(plant, target, layer, &row, err));
    memcpy(bytes + row * stored.row_bytes, stored.data + (row + 1) * stored.row_bytes,
           stored.row_bytes);
    memcpy(bytes + (row + 1) * stored.row_bytes, stored.data + row * stored.row_bytes,
           stored.row_bytes);
    WA_TRY(wa_plant_note(plant, target, layer, (int)row + 1, err));
    return wa_plant_matrix(plant, target, layer, (int)row, bytes, err);
}

/* All bytes move up by so many; what is pushed out comes in again at the end. */
static wa_status rotate(wa_plant *plant, const wa_bench_target *target, size_t layer, size_t by,
                        wa_error *err)
{
    wa_matrix stored;
    uint8_t *bytes;
    WA_TRY(wa_plant_bytes(plant, target, layer, &stored, &bytes, err));
    size_t size = wa_matrix_bytes(&stored);
    memcpy(bytes, stored.data + by, size - by);
    memcpy(bytes + size - by, stored.data, by);
    return wa_plant_matrix(plant, target, layer, -1, bytes, err);
}

static wa_status plant_shifted(wa_plant *plant, const wa_bench_target *target, size_t layer,
                               wa_error *err)
{
    wa_matrix stored;
    WA_TRY(wa_bench_stored(plant->bench, target, layer, &stored, err));
    return rotate(plant, target, layer, stored.row_bytes, err);
}

static wa_status plant_offset(wa_plant *plant, const wa_bench_target *target, size_t layer,
                              wa_error *err)
{
    return rotate(plant, target, layer, wa_format_get(target->format)->block_bytes, err);
}

static wa_status plant_layers(wa_plant *plant, const wa_bench_target *target, size_t layer,
                              wa_error *err)
{
    wa_matrix one, two;
    uint8_t *ones, *twos;
    size_t other = layer == 0 ? 1 : layer - 1;
    WA_TRY(wa_plant_bytes(plant, target, layer, &one, &ones, err));
    WA_TRY(wa_plant_bytes(plant, target, other, &two, &twos, err));
    if (wa_matrix_bytes(&one) != wa_matrix_bytes(&two))
        return WA_OK; /* a dense layer among such with experts: not planted */
    WA_TRY(wa_plant_matrix(plant, target, layer, -1, twos, err));
    return wa_plant_matrix(plant, target, other, -1, ones, err);
}

/* Another projection whose matrix takes the same bytes. */
static const wa_bench_target *partner_of(const wa_bench *bench, const wa_bench_target *target)
{
    for (size_t i = 0; i < bench->target_count; i++) {
        const wa_bench_target *other = &bench->targets[i];
        if (other->projection != target->projection && other->format == target->format &&
            target->projection != WA_DOWN && other->projection != WA_DOWN)
            return other;
    }
    return NULL;
}

static wa_status plant_projections(wa_plant *plant, const wa_bench_target *target, size_t layer,
                                   wa_error *err)
{
    const wa_bench_target *other = partner_of(plant->bench, target);
    wa_matrix one, two;
    uint8_t *ones, *twos;
    WA_TRY(wa_plant_bytes(plant, target, layer, &one, &ones, err));
    WA_TRY(wa_plant_bytes(plant, other, layer, &two, &twos, err));
    WA_TRY(wa_plant_matrix(plant, target, layer, -1, twos, err));
    return wa_plant_matrix(plant, other, layer, -1, ones, err);
}

static wa_status plant_cut(wa_plant *plant, const wa_bench_target *target, size_t layer,
                           wa_error *err)
{
    wa_matrix stored;
    WA_TRY(wa_bench_stored(plant->bench, target, layer, &stored, err));
    return wa_plant_cut(plant, stored.name, stored.row_bytes, err);
}

/* --- Faults that nothing can tell ------------------------------------------------------------- */

static float half_value(bool wide, uint16_t half)
{
    const uint8_t bytes[2] = {(uint8_t)half, (uint8_t)(half >> 8)};
    return read_scale(wide ? WA_FORMAT_BF16 : WA_FORMAT_F16, bytes);
}

/* The half beside the model's weight on its other side, f16 or bf16; rounding to it is as lawful as
 * to the nearest. */
static bool find_neighbour(const wa_bench_target *target, const float *weights, size_t count,
                           uint8_t *bytes)
{
    size_t step = wa_format_get(target->format)->block_bytes;
    bool wide = target->format == WA_FORMAT_BF16;
    for (size_t i = 0; i < count; i++) {
        uint16_t half = wide ? wa_f32_to_bf16(weights[i]) : wa_f32_to_f16(weights[i]);
        float nearest = half_value(wide, half);
        bool normal = fabsf(weights[i]) > 0x1p-13F && nearest != weights[i];
        if (!normal)
            continue;
        half = (uint16_t)(fabsf(nearest) > fabsf(weights[i]) ? half - 1 : half + 1);
        write_scale(target->format, bytes + i * step, half_value(wide, half));
        return true;
    }
    return false;
}

static wa_status plant_neighbour(wa_plant *plant, const wa_bench_target *target, size_t layer,
                                 wa_error *err)
{
    wa_matrix stored;
    uint8_t *bytes;
    float *weights;
    size_t row = 0;
    WA_TRY(wa_plant_bytes(plant, target, layer, &stored, &bytes, err));
    WA_TRY(wa_bench_rows(plant->bench, target, layer, &weights, err));
    WA_TRY(choose_row(plant, target, layer, &row, err));
    (void)find_neighbour(target, weights + row * stored.cols, stored.cols,
                         bytes + row * stored.row_bytes);
    return wa_plant_matrix(plant, target, layer, (int)row, bytes, err);
}

/* Stored weights beyond the matrix's width. */
static wa_status plant_padding(wa_plant *plant, const wa_bench_target *target, size_t layer,
                               wa_error *err)
{
    wa_matrix stored;
    uint8_t *bytes;
    const wa_format_info *info = wa_format_get(target->format);
    WA_TRY(wa_plant_bytes(plant, target, layer, &stored, &bytes, err));
    wa_matrix padded = stored;
    padded.cols = stored.row_bytes / info->block_bytes * info->block_elements;
    float *row, *wide;
    WA_TRY(wa_bench_rows(plant->bench, target, layer, &row, err));
    WA_TRY(wa_arena_take(plant->bench->arena, padded.cols, sizeof *wide, &wide, err));
    memcpy(wide, row, stored.cols * sizeof *wide);
    for (size_t c = stored.cols; c < padded.cols; c++)
        wide[c] = wide[stored.cols - 1];
    WA_TRY(wa_bench_encode(plant->bench, target, WA_BENCH_OURS, wide, 1, &padded, bytes, err));
    return wa_plant_matrix(plant, target, layer, 0, bytes, err);
}

static wa_status plant_side_file(wa_plant *plant, const wa_bench_target *target, size_t layer,
                                 wa_error *err)
{
    (void)target, (void)layer;
    return wa_plant_write(plant, SIDE_FILE, 0, " ", 1, err);
}

/* --- The table -------------------------------------------------------------------------------- */

static bool has_blocks(const wa_bench_target *target)
{
    return wa_format_get(target->format)->encode != NULL;
}

static bool has_halves(const wa_bench_target *target)
{
    return target->format == WA_FORMAT_F16 || target->format == WA_FORMAT_BF16 ||
           (!has_blocks(target) && target->source != WA_BENCH_DIRECT);
}

static wa_fault_fate always(const wa_bench *bench, const wa_bench_target *target)
{
    (void)bench, (void)target;
    return WA_FATE_FOUND;
}

static wa_fault_fate with_layers(const wa_bench *bench, const wa_bench_target *target)
{
    (void)target;
    return bench->vindex->layer_count > 1 ? WA_FATE_FOUND : WA_FATE_NONE;
}

static wa_fault_fate with_partner(const wa_bench *bench, const wa_bench_target *target)
{
    return partner_of(bench, target) != NULL ? WA_FATE_FOUND : WA_FATE_NONE;
}

static wa_fault_fate unless_half(const wa_bench *bench, const wa_bench_target *target)
{
    (void)bench;
    return has_halves(target) ? WA_FATE_UNSEEN : WA_FATE_FOUND;
}

static wa_fault_fate refused(const wa_bench *bench, const wa_bench_target *target)
{
    (void)bench, (void)target;
    return WA_FATE_REFUSED;
}

static wa_fault_fate half_only(const wa_bench *bench, const wa_bench_target *target)
{
    (void)bench;
    return has_halves(target) ? WA_FATE_UNSEEN : WA_FATE_NONE;
}

static wa_fault_fate padded_only(const wa_bench *bench, const wa_bench_target *target)
{
    wa_matrix stored;
    const wa_format_info *info = wa_format_get(target->format);
    wa_error ignored = {.status = WA_OK};
    if (wa_bench_stored(bench, target, 0, &stored, &ignored) != WA_OK)
        return WA_FATE_NONE;
    return stored.row_bytes / info->block_bytes * info->block_elements > stored.cols
               ? WA_FATE_UNSEEN
               : WA_FATE_NONE;
}

static wa_fault_fate with_side_file(const wa_bench *bench, const wa_bench_target *target)
{
    char path[WA_NAME_BYTES];
    (void)target;
    bool fits = wa_path_print(path, NULL, "%s/%s", bench->healthy, SIDE_FILE) == WA_OK;
    return fits && wa_file_exists(path) ? WA_FATE_UNSEEN : WA_FATE_NONE;
}

const wa_fault *wa_fault_at(size_t i)
{
    static const wa_fault table[] = {
        {"row-scaled", "one row × 1.34", always, plant_row_scaled, WA_SCOPE_ANY},
        {"rows-scaled", "every 50th row × 0.67", always, plant_rows_scaled, WA_SCOPE_ANY},
        {"matrix-scaled", "every row × 1.05", always, plant_matrix_scaled, WA_SCOPE_ANY},
        {"row-negated", "one row with its signs changed", always, plant_row_negated, WA_SCOPE_ANY},
        {"row-zero", "one row of zeros", always, plant_row_zero, WA_SCOPE_ANY},
        {"scale", "one scale (or one value) × 0.7", always, plant_scale, WA_SCOPE_ANY},
        {"scales", "every scale (or value) × 0.7", always, plant_scales, WA_SCOPE_ANY},
        {"not-a-number", "one scale (or one value) that is no number", always, plant_not_number,
         WA_SCOPE_ANY},
        {"rows-exchanged", "two neighbouring rows exchanged", always, plant_exchanged,
         WA_SCOPE_ANY},
        {"rows-shifted", "every row holds the next one", always, plant_shifted, WA_SCOPE_ANY},
        {"offset", "read from one block (or value) too far on", always, plant_offset, WA_SCOPE_ANY},
        {"rows-permuted", "rows of one matrix in another order", always, plant_permuted,
         WA_SCOPE_ANY},
        {"features-permuted", "features exchanged alike in gate, up and down", always,
         plant_features, WA_SCOPE_ANY},
        {"columns-exchanged", "neighbouring weights exchanged, as in another nibble order", always,
         plant_columns, WA_SCOPE_ANY},
        {"layers-exchanged", "the matrix of the layer before, and the other way round", with_layers,
         plant_layers, WA_SCOPE_ANY},
        {"gate-up-exchanged", "gate and up exchanged", with_partner, plant_projections,
         WA_SCOPE_ANY},
        {"truncating", "an encoder that takes the level below", unless_half, plant_truncating,
         WA_SCOPE_ANY},
        {"other-revision", "weights that were trained on: 5 % of noise, two layers", with_layers,
         plant_revision, WA_SCOPE_ANY},
        {"cut", "the file ends a row early", refused, plant_cut, WA_SCOPE_ANY},
        {"other-neighbour", "a 16-bit value on the other side of the weight", half_only,
         plant_neighbour, WA_SCOPE_ANY},
        {"padding", "weights beyond the end of a padded row", padded_only, plant_padding,
         WA_SCOPE_ANY},
        {"side-file", "a file that no path reads", with_side_file, plant_side_file, WA_SCOPE_ANY},
        {"idle-row", "one row × 1.34 of an expert that no prompt reaches", wa_fate_with_idle,
         plant_row_scaled, WA_SCOPE_IDLE},
        {"experts-exchanged", "an expert and the next exchanged", wa_fate_with_experts,
         wa_plant_experts_exchanged, WA_SCOPE_EXPERTS},
        {"router-shifted", "every row of the router holds the next one", wa_fate_with_router,
         wa_plant_router_shifted, WA_SCOPE_ROUTER},
    };
    return i < sizeof table / sizeof table[0] ? &table[i] : NULL;
}
