/* A made-up job and made-up parts whose every value follows from its place;
 * tests/mpi/test_assemble.py knows the rule. */
#ifndef WALKAUDIT_TEST_STORE_FAKE_H
#define WALKAUDIT_TEST_STORE_FAKE_H

#include "store/store.h"

#include <stdio.h>
#include <string.h>

enum { FAKE_CASES = 2, FAKE_SLOTS = 3, FAKE_VINDEXES = 2, FAKE_PROMPTS_MAX = 16 };

/** Positions of each prompt, how many prompts, and how many prompts each part takes. */
typedef struct fake_shape {
    size_t layers;
    size_t prompt_rows[FAKE_PROMPTS_MAX], prompts;
    size_t part_prompts[FAKE_PROMPTS_MAX], parts;
} fake_shape;

static inline wa_status fake_cases(wa_arena *arena, wa_result_meta *meta, wa_error *err)
{
    wa_case *cases;
    int8_t *expected;
    WA_TRY(wa_arena_take(arena, FAKE_CASES, sizeof *cases, &cases, err));
    WA_TRY(wa_arena_take(arena, FAKE_CASES * meta->dims.layers, 1, &expected, err));
    cases[0] = (wa_case){.name = "a:interleaved",
                         .vindex = 0,
                         .path = WA_PATH_INTERLEAVED,
                         .k = WA_K_ALL,
                         .bucket = WA_BUCKET_EXACT};
    cases[1] = (wa_case){.name = "b:sparse_serial:k5",
                         .vindex = 1,
                         .path = WA_PATH_SPARSE_SERIAL,
                         .k = 5,
                         .bucket = WA_BUCKET_APPROXIMATE};
    cases[1].source[WA_UP].from_model = true;
    memset(expected, WA_LABEL_ZERO_FEATURES_DENSE, FAKE_CASES * meta->dims.layers);
    meta->cases = cases;
    meta->expected_label = expected;
    return WA_OK;
}

static inline wa_status fake_observations(const fake_shape *shape, wa_arena *arena,
                                          wa_result_meta *meta, wa_error *err)
{
    int32_t *rows, *prompt, *position, *id;
    const char **key, **text, **token;
    WA_TRY(wa_arena_take(arena, shape->prompts, sizeof *rows, &rows, err));
    WA_TRY(wa_arena_take(arena, shape->prompts, sizeof *key, &key, err));
    WA_TRY(wa_arena_take(arena, shape->prompts, sizeof *text, &text, err));
    WA_TRY(wa_arena_take(arena, meta->dims.rows, sizeof *prompt, &prompt, err));
    WA_TRY(wa_arena_take(arena, meta->dims.rows, sizeof *position, &position, err));
    WA_TRY(wa_arena_take(arena, meta->dims.rows, sizeof *id, &id, err));
    WA_TRY(wa_arena_take(arena, meta->dims.rows, sizeof *token, &token, err));
    for (size_t p = 0, o = 0; p < shape->prompts; p++) {
        char *name;
        WA_TRY(wa_arena_print(arena, &name, err, "prompt %zu", p));
        key[p] = name;
        text[p] = "caf\xc3\xa9";
        rows[p] = (int32_t)shape->prompt_rows[p];
        for (size_t i = 0; i < shape->prompt_rows[p]; i++, o++) {
            prompt[o] = (int32_t)p;
            position[o] = (int32_t)i;
            id[o] = i == 0 ? 1 : (int32_t)(o % 50);
            token[o] = "\xff"; /* no UTF-8: must arrive as \xFF in letters */
        }
    }
    meta->prompt_rows = rows;
    meta->prompt_key = key;
    meta->prompt_text = text;
    meta->obs_prompt = prompt;
    meta->obs_position = position;
    meta->token_id = id;
    meta->token_text = token;
    return WA_OK;
}

/* Without a mark. */
static inline wa_status fake_list(const fake_shape *shape, const wa_dims *dims, wa_arena *arena,
                                  wa_part_list *out, wa_error *err)
{
    wa_batch *parts;
    WA_TRY(wa_arena_take(arena, shape->parts, sizeof *parts, &parts, err));
    for (size_t b = 0, p = 0, o = 0; b < shape->parts; b++) {
        parts[b] =
            (wa_batch){.first_prompt = p, .prompt_count = shape->part_prompts[b], .first_obs = o};
        for (size_t i = 0; i < shape->part_prompts[b]; i++)
            parts[b].rows += shape->prompt_rows[p + i];
        p += parts[b].prompt_count;
        o += parts[b].rows;
    }
    *out = (wa_part_list){.dims = *dims, .parts = parts, .count = shape->parts};
    return WA_OK;
}

static inline wa_status fake_meta(const fake_shape *shape, wa_arena *arena, wa_result_meta *out,
                                  wa_error *err)
{
    static const char *const paths[FAKE_VINDEXES] = {"vindexes/a.vindex", "vindexes/b.vindex"};
    static const char *const names[FAKE_VINDEXES] = {"a", "b"};
    static const char *const files[FAKE_VINDEXES] = {"index.json: read",
                                                     "index.json: read\nx: unknown"};
    static const char *const lack[FAKE_VINDEXES] = {"", ""};
    static const int8_t left_out[FAKE_VINDEXES] = {0, 0};
    static const wa_not_offered offers[] = {
        {.vindex = 1, .path = "exact", .reason = "no down_features.bin"},
        {.vindex = 0, .path = WA_PATH_KQUANT_DEQUANT, .reason = "no manifest: none"}};
    static const wa_fingerprint_item items[] = {{.key = "model", .value = "quick:00"},
                                                {.key = "prompts", .value = "sha256:11"}};
    wa_result_meta meta = {.title = "made up",
                           .source = "walkaudit test",
                           .job_name = "job",
                           .audit_name = "audit",
                           .job_text = "name: job\n",
                           .model_path = "models/m.gguf",
                           .model_family = "llama",
                           .semantics = "native",
                           .bounds_name = "default",
                           .vindex_path = paths,
                           .vindex_name = names,
                           .vindex_files = files,
                           .vindex_lack = lack,
                           .vindex_left_out = left_out,
                           .source_format = {"F32", "F32", "Q4_0"},
                           .requantised = true,
                           .not_offered = offers,
                           .not_offered_count = 2,
                           .fingerprint = items,
                           .fingerprint_count = 2};
    meta.dims = (wa_dims){.cases = FAKE_CASES,
                          .layers = shape->layers,
                          .prompts = shape->prompts,
                          .slots = FAKE_SLOTS,
                          .choices = 3,
                          .experts = 4,
                          .vindexes = FAKE_VINDEXES,
                          .logits_all = true};
    for (size_t p = 0; p < shape->prompts; p++)
        meta.dims.rows += shape->prompt_rows[p];
    double *nominal;
    WA_TRY(wa_arena_take(arena,
                         FAKE_VINDEXES * WA_PAYLOAD_COUNT * shape->layers * WA_PROJECTION_COUNT,
                         sizeof *nominal, &nominal, err));
    meta.nominal_bound = nominal;
    WA_TRY(fake_cases(arena, &meta, err));
    WA_TRY(fake_observations(shape, arena, &meta, err));
    *out = meta;
    return WA_OK;
}

/*
 * Element n of field f in the whole job's order: f64 (f + 1) + n / 1024, exact in binary; i64 and
 * i32 (f + n) % 101; i8 n % 2. Fields along no prompt and no observation are the same in every part.
 */
static inline void fake_set(void *at, wa_type type, int field, size_t n)
{
    if (type == WA_F64) {
        double value = (double)(field + 1) + (double)n / 1024;
        memcpy(at, &value, sizeof value);
    } else if (type == WA_I64) {
        int64_t value = (int64_t)(((size_t)field + n) % 101);
        memcpy(at, &value, sizeof value);
    } else if (type == WA_I32) {
        int32_t value = (int32_t)(((size_t)field + n) % 101);
        memcpy(at, &value, sizeof value);
    } else {
        *(int8_t *)at = (int8_t)(n % 2);
    }
}

/* Split an axis string around its stream axis: elements before, along and after it. */
static inline void fake_split(const wa_dims *dims, const wa_field_info *info, size_t *outer,
                              size_t *along, size_t *inner)
{
    bool by_obs = wa_axes_has(info->axes, 'O') || wa_axes_has(info->axes, 'A') ||
                  wa_axes_has(info->axes, 'T'),
         by_prompt = wa_axes_has(info->axes, 'P');
    *outer = (wa_axes_has(info->axes, 'C') ? dims->cases : 1) *
             (wa_axes_has(info->axes, 'L') ? dims->layers : 1) *
             (wa_axes_has(info->axes, 'V') ? dims->vindexes : 1) *
             (wa_axes_has(info->axes, 'Y') ? WA_PAYLOAD_COUNT : 1);
    *along = by_obs ? dims->rows : by_prompt ? dims->prompts : 1;
    *inner = (wa_axes_has(info->axes, 'S') ? dims->slots : 1) *
             (wa_axes_has(info->axes, 'E') ? dims->choices : 1) *
             (wa_axes_has(info->axes, 'N') ? dims->experts : 1) *
             (wa_axes_has(info->axes, 'J') ? WA_PROJECTION_COUNT : 1);
}

static inline wa_status fake_block(const wa_dims *job, const wa_batch *b, wa_arena *arena,
                                   wa_block *out, wa_error *err)
{
    wa_dims dims = *job;
    dims.rows = b->rows;
    dims.prompts = b->prompt_count;
    WA_TRY(wa_block_open(arena, dims, out, err));
    for (int f = 0; f < WA_FIELD_COUNT; f++) {
        const wa_field_info *info = wa_field_get((wa_field)f);
        size_t outer, along, inner, job_outer, job_along, job_inner;
        fake_split(&dims, info, &outer, &along, &inner);
        fake_split(job, info, &job_outer, &job_along, &job_inner);
        bool by_obs = wa_axes_has(info->axes, 'O') || wa_axes_has(info->axes, 'A') ||
                      wa_axes_has(info->axes, 'T');
        size_t first = by_obs ? b->first_obs : wa_axes_has(info->axes, 'P') ? b->first_prompt : 0;
        for (size_t i = 0; i < outer * along * inner; i++) {
            size_t n =
                (i / inner / along * job_along + first + i / inner % along) * inner + i % inner;
            fake_set((char *)out->field[f] + i * wa_type_size(info->type), info->type, f, n);
        }
    }
    return WA_OK;
}

#endif
