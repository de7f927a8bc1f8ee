/* Cases: which paths a vindex is offered, under which name, label and bucket, and what a job may
 * not ask. */
#include "suite.h"

#include "path/evaluate.h"
#include "path/oracle.h"

#include "vindex/parts.h"

enum { LAYERS = 2, F = 600, H = 32 };

static wa_error err;

/* A model and a vindex of F features, made by hand; payloads are switched on by each test. */
typedef struct fixture {
    wa_arena *arena;
    wa_layer model_layers[LAYERS];
    wa_vindex_layer layers[LAYERS];
    wa_model model;
    wa_vindex_maps maps; /* zero: an fp4 object has all projections in FP4 */
    wa_vindex vindex;
    wa_cases cases;
} fixture;

static void open_fixture(fixture *x)
{
    *x = (fixture){.model = {.path = "model", .layer_count = LAYERS, .hidden = H, .gated = true},
                   .vindex = {.path = "vindex", .layer_count = LAYERS, .hidden = H}};
    WA_MUST(wa_arena_open("test", 0, &x->arena, &err), &err);
    for (size_t l = 0; l < LAYERS; l++) {
        x->model_layers[l].up.rows = F;
        x->layers[l].features = F;
    }
    x->model.layers = x->model_layers;
    x->vindex.layers = x->layers;
    x->vindex.maps = &x->maps;
}

static void put(fixture *x, wa_payload payload)
{
    x->vindex.present[payload] = true;
    x->vindex.readable[payload] = true;
}

static void put_features(fixture *x)
{
    put(x, WA_PAYLOAD_GATE);
    put(x, WA_PAYLOAD_UP_FEATURES);
    put(x, WA_PAYLOAD_DOWN_FEATURES);
}

static wa_status build(fixture *x, const wa_path_request *requests, size_t count, bool required)
{
    wa_case_input input = {.name = "v",
                           .vindex = &x->vindex,
                           .requests = requests,
                           .request_count = count,
                           .required = required};
    return wa_cases_build(&input, 1, &x->model, x->arena, &x->cases, &err);
}

static void build_default(fixture *x)
{
    WA_MUST(build(x, NULL, 0, false), &err);
}

/* The names of the cases, in order. */
static void check_names(const fixture *x, const char *const *names, size_t count)
{
    CU_ASSERT_EQUAL_FATAL(x->cases.count, count);
    for (size_t i = 0; i < count; i++)
        CU_ASSERT_STRING_EQUAL(x->cases.items[i].name, names[i]);
}

#define CHECK_NAMES(x, ...)                                                                        \
    do {                                                                                           \
        static const char *const names_[] = {__VA_ARGS__};                                         \
        check_names(x, names_, sizeof names_ / sizeof names_[0]);                                  \
    } while (0)

static const char *reason_of(const fixture *x, const char *path)
{
    for (size_t i = 0; i < x->cases.not_offered_count; i++)
        if (strcmp(x->cases.not_offered[i].path, path) == 0)
            return x->cases.not_offered[i].reason;
    return "offered";
}

#define CHECK_REASON(x, path, part) CU_ASSERT_PTR_NOT_NULL(strstr(reason_of(x, path), part))

static void feature_files_run_sparse_full_mmap_and_exact(void)
{
    fixture x;
    open_fixture(&x);
    put_features(&x);
    build_default(&x);
    CHECK_NAMES(&x, "v:sparse", "v:full_mmap", "v:exact");
    static const wa_label labels[] = {WA_LABEL_SPARSE_GEMV_FULL_K, WA_LABEL_FULL_MMAP,
                                      WA_LABEL_EXACT};
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(x.cases.items[i].kernel, labels[i]);
        CU_ASSERT_EQUAL(x.cases.items[i].expected_label, labels[i]);
        CU_ASSERT_EQUAL(x.cases.items[i].bucket, WA_BUCKET_EXACT);
        CU_ASSERT_PTR_NULL(x.cases.items[i].not_run);
        CU_ASSERT_EQUAL(x.cases.items[i].k, WA_K_ALL);
    }
    CU_ASSERT(x.cases.items[2].source[WA_GATE].from_model &&
              x.cases.items[2].source[WA_UP].from_model);
    CU_ASSERT_EQUAL(x.cases.items[2].source[WA_DOWN].payload, WA_PAYLOAD_DOWN_FEATURES);
    CHECK_REASON(&x, "interleaved", "interleaved.bin is missing");
    CHECK_REASON(&x, "interleaved_q4k", "interleaved_kquant.bin is missing");
    CHECK_REASON(&x, "fp4_storage", "missing");
    CU_ASSERT_EQUAL(x.cases.not_offered_count, 4);
    wa_arena_close(x.arena);
}

static void all_float_payloads_come_in_upstreams_order(void)
{
    fixture x;
    open_fixture(&x);
    put_features(&x);
    put(&x, WA_PAYLOAD_INTERLEAVED);
    build_default(&x);
    CHECK_NAMES(&x, "v:sparse", "v:interleaved", "v:full_mmap", "v:exact");
    CU_ASSERT_EQUAL(x.cases.items[1].expected_label, WA_LABEL_INTERLEAVED);
    CU_ASSERT_EQUAL(x.cases.items[2].expected_label,
                    WA_LABEL_FULL_MMAP); /* its mask hides interleaved */
    wa_arena_close(x.arena);
}

static void interleaved_alone_is_offered_no_sparse(void)
{
    fixture x;
    open_fixture(&x);
    put(&x, WA_PAYLOAD_GATE);
    put(&x, WA_PAYLOAD_INTERLEAVED);
    build_default(&x);
    CHECK_NAMES(&x, "v:interleaved");
    CHECK_REASON(&x, "sparse", "up_features.bin is missing");
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        CU_ASSERT_EQUAL(x.cases.items[0].source[p].payload, WA_PAYLOAD_INTERLEAVED);
    wa_arena_close(x.arena);
}

static void down_alone_is_offered_exact_only(void)
{
    fixture x;
    open_fixture(&x);
    put(&x, WA_PAYLOAD_GATE);
    put(&x, WA_PAYLOAD_DOWN_FEATURES);
    build_default(&x);
    CHECK_NAMES(&x, "v:exact");
    CHECK_REASON(&x, "sparse", "up_features.bin is missing");
    CHECK_REASON(&x, "full_mmap", "up_features.bin is missing");
    wa_arena_close(x.arena);
}

static void a_gate_alone_gives_no_case(void)
{
    fixture x;
    open_fixture(&x);
    put(&x, WA_PAYLOAD_GATE);
    build_default(&x);
    CU_ASSERT_EQUAL(x.cases.count, 0);
    CU_ASSERT_EQUAL(x.cases.not_offered_count, 7);
    wa_arena_close(x.arena);
}

/* Every case of a vindex: its sources, bucket and label. */
typedef struct expectation {
    const char *name;
    wa_payload gate, up, down;
    wa_bucket bucket;
    wa_label kernel;
} expectation;

#define FROM_MODEL WA_PAYLOAD_COUNT

static wa_payload source_of(const wa_case *item, wa_projection projection)
{
    return item->source[projection].from_model ? FROM_MODEL : item->source[projection].payload;
}

static void check_case(const wa_case *item, const expectation *e)
{
    CU_ASSERT_STRING_EQUAL(item->name, e->name);
    CU_ASSERT_EQUAL(source_of(item, WA_GATE), e->gate);
    CU_ASSERT_EQUAL(source_of(item, WA_UP), e->up);
    CU_ASSERT_EQUAL(source_of(item, WA_DOWN), e->down);
    CU_ASSERT_EQUAL(item->bucket, e->bucket);
    CU_ASSERT_EQUAL(item->kernel, e->kernel);
    CU_ASSERT_EQUAL(item->expected_label, e->kernel);
}

#define CHECK_CASES(x, ...)                                                                        \
    do {                                                                                           \
        const expectation list_[] = {__VA_ARGS__};                                                 \
        CU_ASSERT_EQUAL_FATAL((x)->cases.count, sizeof list_ / sizeof list_[0]);                   \
        for (size_t i_ = 0; i_ < (x)->cases.count; i_++)                                           \
            check_case(&(x)->cases.items[i_], &list_[i_]);                                         \
    } while (0)

#define GATE WA_PAYLOAD_GATE
#define UP WA_PAYLOAD_UP_FEATURES
#define DOWN WA_PAYLOAD_DOWN_FEATURES
#define Q4 WA_PAYLOAD_INTERLEAVED_Q4
#define Q4K WA_PAYLOAD_INTERLEAVED_Q4K
#define FM WA_PAYLOAD_DOWN_FEATURES_Q4K
#define FP4 WA_PAYLOAD_FP4

static void k_quants_run_the_products_and_the_dequantised_path(void)
{
    fixture x;
    open_fixture(&x);
    put(&x, GATE);
    put(&x, Q4K);
    put(&x, FM); /* the products read down as interleaved_q4k.bin has it */
    build_default(&x);
    CHECK_CASES(&x, {"v:sparse", GATE, Q4K, Q4K, WA_BUCKET_QUANTIZED, WA_LABEL_SPARSE_GEMV_FULL_K},
                {"v:interleaved_q4k", Q4K, Q4K, Q4K, WA_BUCKET_QUANTIZED,
                 WA_LABEL_INTERLEAVED_Q4K_DEQUANT});
    CHECK_REASON(&x, "exact", "down_features.bin is missing");
    wa_arena_close(x.arena);
}

static void loops_take_what_the_row_chain_finds_first(void)
{
    static const wa_path_request requests[] = {{.path = "sparse_serial", .k = WA_K_ALL},
                                               {.path = "sparse_serial", .k = 512},
                                               {.path = "sparse_parallel", .k = WA_K_ALL}};
    fixture x;
    open_fixture(&x);
    put(&x, GATE);
    put(&x, Q4K);
    WA_MUST(build(&x, requests, 3, true), &err);
    CHECK_CASES(
        &x, {"v:sparse_serial", GATE, Q4K, Q4K, WA_BUCKET_QUANTIZED, WA_LABEL_SPARSE_SERIAL},
        {"v:sparse_serial:k512", GATE, Q4K, Q4K, WA_BUCKET_APPROXIMATE, WA_LABEL_SPARSE_SERIAL},
        {"v:sparse_parallel", GATE, Q4K, Q4K, WA_BUCKET_QUANTIZED,
         WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN});
    put(&x, FM);
    WA_MUST(build(&x, requests, 1, true), &err);
    CHECK_CASES(&x,
                {"v:sparse_serial", GATE, Q4K, FM, WA_BUCKET_QUANTIZED, WA_LABEL_SPARSE_SERIAL});
    put(&x, FP4);
    WA_MUST(build(&x, requests, 1, true), &err);
    CHECK_CASES(&x, {"v:sparse_serial", GATE, FP4, FP4, WA_BUCKET_FP4, WA_LABEL_SPARSE_SERIAL});
    put(&x, UP);
    put(&x, DOWN);
    WA_MUST(build(&x, requests, 3, true), &err);
    CHECK_CASES(
        &x, {"v:sparse_serial", GATE, UP, DOWN, WA_BUCKET_EXACT, WA_LABEL_SPARSE_SERIAL},
        {"v:sparse_serial:k512", GATE, UP, DOWN, WA_BUCKET_APPROXIMATE, WA_LABEL_SPARSE_SERIAL},
        {"v:sparse_parallel", GATE, Q4K, Q4K, WA_BUCKET_QUANTIZED,
         WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN});
    wa_arena_close(x.arena);
}

/* x-q4k-and-down: up is Q4_K, so `sparse` is quantized whatever the flags say (Q16). */
static void a_bucket_is_the_worst_of_what_is_read(void)
{
    fixture x;
    open_fixture(&x);
    put(&x, GATE);
    put(&x, Q4K);
    put(&x, DOWN);
    build_default(&x);
    CHECK_CASES(
        &x, {"v:sparse", GATE, Q4K, DOWN, WA_BUCKET_QUANTIZED, WA_LABEL_SPARSE_GEMV_FULL_K},
        {"v:interleaved_q4k", Q4K, Q4K, Q4K, WA_BUCKET_QUANTIZED, WA_LABEL_INTERLEAVED_Q4K_DEQUANT},
        {"v:exact", FROM_MODEL, FROM_MODEL, DOWN, WA_BUCKET_EXACT, WA_LABEL_EXACT});
    wa_arena_close(x.arena);
}

/* A gate made of the K-quant gate again counts as what it is made of. */
static void a_remade_gate_is_quantized(void)
{
    static const wa_path_request requests[] = {{.path = "full_mmap", .k = WA_K_ALL}};
    fixture x;
    open_fixture(&x);
    put_features(&x);
    put(&x, Q4K);
    x.vindex.gate_is_remade = true;
    WA_MUST(build(&x, requests, 1, true), &err);
    CU_ASSERT_EQUAL(x.cases.items[0].bucket, WA_BUCKET_QUANTIZED);
    wa_arena_close(x.arena);
}

static void fp4_alone_is_walked_by_the_loop_under_both_names(void)
{
    fixture x;
    open_fixture(&x);
    put(&x, GATE);
    put(&x, FP4);
    build_default(&x);
    CHECK_CASES(&x, {"v:sparse", GATE, FP4, FP4, WA_BUCKET_FP4, WA_LABEL_SPARSE_SERIAL},
                {"v:fp4_storage", GATE, FP4, FP4, WA_BUCKET_FP4, WA_LABEL_SPARSE_SERIAL});
    wa_arena_close(x.arena);
}

/* x-fp4b-and-q4k: upstream judges Q4_K by the bounds of FP4, under both names. */
static void fp4_beside_k_quants_is_read_by_its_own_case_alone(void)
{
    fixture x;
    open_fixture(&x);
    put(&x, GATE);
    put(&x, FP4);
    put(&x, Q4K);
    build_default(&x);
    CHECK_CASES(&x, {"v:sparse", GATE, Q4K, Q4K, WA_BUCKET_QUANTIZED, WA_LABEL_SPARSE_GEMV_FULL_K},
                {"v:fp4_storage", GATE, FP4, FP4, WA_BUCKET_FP4, WA_LABEL_SPARSE_SERIAL},
                {"v:interleaved_q4k", Q4K, Q4K, Q4K, WA_BUCKET_QUANTIZED,
                 WA_LABEL_INTERLEAVED_Q4K_DEQUANT});
    wa_arena_close(x.arena);
}

static void q4_0_is_read_by_its_own_path_alone(void)
{
    fixture x;
    open_fixture(&x);
    put(&x, GATE);
    put(&x, Q4);
    build_default(&x);
    CHECK_CASES(&x,
                {"v:interleaved_q4", Q4, Q4, Q4, WA_BUCKET_QUANTIZED, WA_LABEL_INTERLEAVED_Q4_CPU});
    CHECK_REASON(&x, "sparse", "up_features.bin is missing; interleaved_kquant.bin is missing");
    wa_arena_close(x.arena);
}

static void an_unusable_file_is_named_with_its_reason(void)
{
    fixture x;
    open_fixture(&x);
    put(&x, GATE);
    x.vindex.unusable[Q4K] = "has no manifest";
    build_default(&x);
    CU_ASSERT_EQUAL(x.cases.count, 0);
    CHECK_REASON(&x, "interleaved_q4k", "interleaved_kquant.bin has no manifest");
    CHECK_REASON(&x, "sparse", "interleaved_kquant.bin has no manifest");
    wa_arena_close(x.arena);
}

/* x-fp4b-and-features: `sparse` reads the f32 files, and that decides label and bucket. */
static void fp4_beside_feature_files_leaves_sparse_exact(void)
{
    fixture x;
    open_fixture(&x);
    put_features(&x);
    put(&x, FP4);
    build_default(&x);
    CHECK_CASES(&x, {"v:sparse", GATE, UP, DOWN, WA_BUCKET_EXACT, WA_LABEL_SPARSE_GEMV_FULL_K},
                {"v:fp4_storage", GATE, FP4, FP4, WA_BUCKET_FP4, WA_LABEL_SPARSE_SERIAL},
                {"v:full_mmap", GATE, UP, DOWN, WA_BUCKET_EXACT, WA_LABEL_FULL_MMAP},
                {"v:exact", FROM_MODEL, FROM_MODEL, DOWN, WA_BUCKET_EXACT, WA_LABEL_EXACT});
    wa_arena_close(x.arena);
}

static void an_ungated_model_takes_the_loop_and_its_up_rows_from_the_gate_file(void)
{
    fixture x;
    open_fixture(&x);
    x.model.gated = false;
    put(&x, GATE);
    put(&x, DOWN); /* the sparse walk asks for both feature files */
    build_default(&x);
    CHECK_NAMES(&x, "v:exact");
    CHECK_REASON(&x, "sparse", "up_features.bin is missing");
    put(&x, UP);
    build_default(&x);
    CU_ASSERT_EQUAL(x.cases.items[0].kernel, WA_LABEL_SPARSE_SERIAL);
    CU_ASSERT_EQUAL(x.cases.items[0].expected_label, WA_LABEL_SPARSE_SERIAL);
    CU_ASSERT_EQUAL(x.cases.items[0].source[WA_UP].payload, WA_PAYLOAD_GATE);
    CU_ASSERT_EQUAL(x.cases.items[1].source[WA_UP].payload, WA_PAYLOAD_UP_FEATURES);
    wa_arena_close(x.arena);
}

static void zero_features_leave_every_case_not_run(void)
{
    fixture x;
    open_fixture(&x);
    x.layers[1].features = 0;
    build_default(&x);
    CHECK_NAMES(&x, "v:sparse"); /* always listed, so that the audit has a case that says why */
    CU_ASSERT_PTR_NOT_NULL_FATAL(x.cases.items[0].not_run);
    CU_ASSERT_PTR_NOT_NULL(strstr(x.cases.items[0].not_run, "layer 1"));
    put_features(&x);
    build_default(&x);
    for (size_t i = 0; i < 3; i++)
        CU_ASSERT_PTR_NOT_NULL(x.cases.items[i].not_run);
    wa_arena_close(x.arena);
}

static void a_finite_k_is_named_and_approximate(void)
{
    static const wa_path_request requests[] = {
        {.path = "sparse_serial", .k = 512},
        {.path = "sparse_serial", .k = WA_K_ALL},
        {.path = "sparse_serial", .k = F},
        {.path = "weights_fallback", .k = 64},
        {.path = "weights_fallback", .k = WA_K_ALL, .name = "same"},
    };
    static const wa_bucket buckets[] = {WA_BUCKET_APPROXIMATE, WA_BUCKET_EXACT, WA_BUCKET_EXACT,
                                        WA_BUCKET_APPROXIMATE, WA_BUCKET_APPROXIMATE};
    fixture x;
    open_fixture(&x);
    put_features(&x);
    WA_MUST(build(&x, requests, 5, true), &err);
    CHECK_NAMES(&x, "v:sparse_serial:k512", "v:sparse_serial", "v:sparse_serial:k600",
                "v:weights_fallback:k64", "v:same");
    for (size_t i = 0; i < 5; i++) {
        wa_label label = i < 3 ? WA_LABEL_SPARSE_SERIAL : WA_LABEL_WEIGHTS_FALLBACK_SPARSE;
        CU_ASSERT_EQUAL(x.cases.items[i].kernel, label);
        CU_ASSERT_EQUAL(x.cases.items[i].expected_label, label);
        CU_ASSERT_EQUAL(x.cases.items[i].bucket, buckets[i]);
        CU_ASSERT_EQUAL(x.cases.items[i].k_all_layers, i == 2 ? LAYERS : 0);
    }
    x.layers[1].features = 512; /* layers of different widths */
    WA_MUST(build(&x, requests, 1, true), &err);
    CU_ASSERT_EQUAL(x.cases.items[0].k_all_layers, 1);
    CU_ASSERT_EQUAL(x.cases.items[0].bucket, WA_BUCKET_APPROXIMATE);
    wa_arena_close(x.arena);
}

/* What it claims to compute is what it reads; the kernel that runs stays its own. */
static void an_external_kernel_reads_what_it_is_like(void)
{
    static const wa_path_request requests[] = {
        {.path = "external", .k = WA_K_ALL, .library = "l.so", .name = "plain"},
        {.path = "external", .k = 512, .library = "l.so", .name = "a", .like = "sparse_serial"},
        {.path = "external",
         .k = WA_K_ALL,
         .library = "l.so",
         .name = "b",
         .like = "exact",
         .kernel_tolerance = 0.1},
        {.path = "sparse_serial", .k = 512},
    };
    fixture x;
    open_fixture(&x);
    put_features(&x);
    WA_MUST(build(&x, requests, 4, true), &err);
    const wa_case *c = x.cases.items;
    CU_ASSERT_PTR_NULL(wa_case_oracle(&c[0]));
    CU_ASSERT(c[0].source[WA_GATE].from_model && c[0].kernel_tolerance == 0.0);
    CU_ASSERT_EQUAL(memcmp(c[1].source, c[3].source, sizeof c[1].source), 0);
    CU_ASSERT_EQUAL(wa_case_oracle(&c[1])->kernel, WA_LABEL_SPARSE_SERIAL);
    CU_ASSERT_EQUAL(wa_case_oracle(&c[1])->k, 512);
    CU_ASSERT_EQUAL(c[1].kernel_tolerance, WA_FOREIGN_TOLERANCE);
    CU_ASSERT(c[2].source[WA_GATE].from_model && !c[2].source[WA_DOWN].from_model);
    CU_ASSERT_EQUAL(c[2].kernel_tolerance, 0.1);
    for (size_t i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(c[i].kernel, WA_LABEL_EXTERNAL);
    CU_ASSERT_PTR_EQUAL(wa_case_oracle(&c[3]), &c[3]);
    wa_arena_close(x.arena);
}

static void check_refused(wa_path_request request, bool required, const char *part)
{
    fixture x;
    open_fixture(&x);
    put_features(&x);
    CU_ASSERT_EQUAL(build(&x, &request, 1, required), WA_E_JOB);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, part));
    wa_arena_close(x.arena);
}

static void a_job_is_told_what_it_cannot_ask(void)
{
    check_refused((wa_path_request){.path = "nonsense", .k = WA_K_ALL}, false, "nonsense");
    check_refused((wa_path_request){.path = "dense", .k = WA_K_ALL}, false, "dense");
    check_refused((wa_path_request){.path = "external", .k = WA_K_ALL}, false,
                  "one of library, file and command");
    check_refused(
        (wa_path_request){.path = "external", .k = WA_K_ALL, .library = "l.so", .bucket = "good"},
        false, "'good'");
    check_refused(
        (wa_path_request){.path = "external", .k = WA_K_ALL, .library = "l.so", .like = "external"},
        false, "like 'external' is no walk path");
    check_refused((wa_path_request){.path = "external", .k = 5, .library = "l.so", .like = "exact"},
                  false, "k = 5");
    check_refused((wa_path_request){.path = "external", .k = 5, .library = "l.so"}, false,
                  "needs like");
    check_refused(
        (wa_path_request){
            .path = "external", .k = WA_K_ALL, .library = "l.so", .like = "interleaved"},
        true, "like 'interleaved': interleaved.bin is missing");
    check_refused((wa_path_request){.path = "full_mmap", .k = WA_K_ALL, .like = "exact"}, false,
                  "external");
    check_refused((wa_path_request){.path = "sparse", .k = 5}, false, "k = 5");
    check_refused((wa_path_request){.path = "sparse_serial", .k = 0}, false, "at least 1");
    check_refused((wa_path_request){.path = "full_mmap", .k = WA_K_ALL, .bucket = "exact"}, false,
                  "external");
    check_refused((wa_path_request){.path = "interleaved", .k = WA_K_ALL}, true,
                  "interleaved.bin is missing");
    check_refused((wa_path_request){.path = "interleaved", .k = WA_K_ALL}, false,
                  "interleaved.bin is missing");
    check_refused((wa_path_request){.path = "sparse_parallel", .k = 600}, false, "missing");
}

static void a_path_of_the_job_must_run_on_one_vindex_and_no_more(void)
{
    static const wa_path_request requests[] = {{.path = "interleaved", .k = WA_K_ALL},
                                               {.path = "exact", .k = WA_K_ALL}};
    fixture a, b;
    open_fixture(&a);
    open_fixture(&b);
    put_features(&a);
    put(&b, WA_PAYLOAD_GATE);
    put(&b, WA_PAYLOAD_INTERLEAVED);
    const wa_case_input inputs[] = {
        {.name = "f", .vindex = &a.vindex, .requests = requests, .request_count = 2},
        {.name = "i", .vindex = &b.vindex, .requests = requests, .request_count = 2},
    };
    WA_MUST(wa_cases_build(inputs, 2, &a.model, a.arena, &a.cases, &err), &err);
    CHECK_NAMES(&a, "f:exact", "i:interleaved");
    CU_ASSERT(a.cases.items[0].vindex == 0 && a.cases.items[1].vindex == 1);
    CU_ASSERT_EQUAL(a.cases.not_offered_count, 2);
    CHECK_REASON(&a, "exact", "down_features.bin is missing");
    wa_arena_close(a.arena);
    wa_arena_close(b.arena);
}

static void a_name_used_twice_is_refused(void)
{
    static const wa_path_request requests[] = {
        {.path = "exact", .k = WA_K_ALL}, {.path = "full_mmap", .k = WA_K_ALL, .name = "exact"}};
    fixture x;
    open_fixture(&x);
    put_features(&x);
    CU_ASSERT_EQUAL(build(&x, requests, 2, false), WA_E_JOB);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "'v:exact'"));
    wa_arena_close(x.arena);
}

static void a_vindex_of_another_model_is_named_with_both_numbers(void)
{
    fixture x;
    open_fixture(&x);
    WA_MUST(wa_vindex_match(&x.model, &x.vindex, &err), &err);
    x.layers[0].features = 0; /* nothing to compare */
    WA_MUST(wa_vindex_match(&x.model, &x.vindex, &err), &err);
    x.layers[1].features = F - 1;
    CU_ASSERT_EQUAL(wa_vindex_match(&x.model, &x.vindex, &err), WA_E_MISMATCH);
    CU_ASSERT(strstr(err.text, "599") != NULL && strstr(err.text, "600") != NULL);
    x.vindex.hidden = H + 1;
    CU_ASSERT_EQUAL(wa_vindex_match(&x.model, &x.vindex, &err), WA_E_MISMATCH);
    CU_ASSERT(strstr(err.text, "33") != NULL && strstr(err.text, "32") != NULL);
    x.vindex.layer_count = 1;
    CU_ASSERT_EQUAL(wa_vindex_match(&x.model, &x.vindex, &err), WA_E_MISMATCH);
    wa_arena_close(x.arena);
}

static void paths_have_the_names_of_job_files(void)
{
    static const char *const names[] = {"sparse",           "sparse_serial",   "sparse_parallel",
                                        "fp4_storage",      "interleaved_q4",  "interleaved",
                                        "full_mmap",        "interleaved_q4k", "exact",
                                        "weights_fallback", "external"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        wa_path path;
        CU_ASSERT_FATAL(wa_path_parse(names[i], &path));
        CU_ASSERT_STRING_EQUAL(wa_path_name(path), names[i]);
    }
    wa_path path;
    CU_ASSERT(!wa_path_parse("dense", &path) && !wa_path_parse("", &path));
    CU_ASSERT_STRING_EQUAL(wa_bucket_name(WA_BUCKET_QUANTIZED), "quantized");
}

/* The healthy vindex of the malformed fixtures: 2 layers of 16 features, H 32, f32. */
static void a_layer_is_opened_as_its_case_reads_it(void)
{
    static const wa_path_request requests[] = {{.path = "exact", .k = WA_K_ALL},
                                               {.path = "sparse_serial", .k = 4},
                                               {.path = "weights_fallback", .k = 4}};
    static const uint8_t weights[16 * 32 * 4];
    const wa_matrix rows = {.data = weights,
                            .name = "w",
                            .format = WA_FORMAT_F32,
                            .rows = 16,
                            .cols = 32,
                            .row_bytes = 128};
    wa_matrix down = rows;
    down.rows = 32;
    down.cols = 16;
    down.row_bytes = 64;
    fixture x;
    open_fixture(&x);
    wa_vindex *vindex;
    WA_MUST(wa_vindex_open(WA_GOLDEN "/malformed/vindex/ok", x.arena, &vindex, &err), &err);
    for (size_t l = 0; l < LAYERS; l++)
        x.model_layers[l] = (wa_layer){.gate = rows, .up = rows, .down = down};
    WA_MUST(wa_vindex_match(&x.model, vindex, &err), &err);
    wa_case_input input = {.name = "v", .vindex = vindex, .requests = requests, .request_count = 3};
    WA_MUST(wa_cases_build(&input, 1, &x.model, x.arena, &x.cases, &err), &err);

    wa_walk_layer l;
    WA_MUST(wa_case_open_layer(&x.cases.items[0], &x.model, vindex, 1, &l, &err), &err);
    CU_ASSERT(l.gate.data == weights && l.up.data == weights && l.down.data != weights);
    CU_ASSERT(l.down_is_feature_major && l.select.rows == 0 && l.layer == 1 && l.features == 16);
    WA_MUST(wa_case_open_layer(&x.cases.items[1], &x.model, vindex, 1, &l, &err), &err);
    CU_ASSERT(l.gate.data != weights && l.select.data == l.gate.data && l.up.data != weights);
    WA_MUST(wa_case_open_layer(&x.cases.items[2], &x.model, vindex, 1, &l, &err), &err);
    CU_ASSERT(l.down.data == weights && !l.down_is_feature_major && l.select.rows == 16);
    wa_case dense = wa_case_dense();
    WA_MUST(wa_case_open_layer(&dense, &x.model, NULL, 0, &l, &err), &err);
    CU_ASSERT(l.gate.data == weights && l.select.rows == 0);

    x.model_layers[1].up.cols = 31;
    CU_ASSERT_EQUAL(wa_case_open_layer(&dense, &x.model, NULL, 1, &l, &err), WA_E_MISMATCH);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "16 x 31"));
    CU_ASSERT_EQUAL(wa_case_open_layer(&dense, &x.model, NULL, 2, &l, &err), WA_E_INTERNAL);
    CU_ASSERT_EQUAL(wa_case_open_layer(&x.cases.items[1], &x.model, NULL, 0, &l, &err),
                    WA_E_INTERNAL);
    wa_vindex_close(vindex);
    wa_arena_close(x.arena);
}

static void every_failing_take_is_reported(void)
{
    fixture x;
    open_fixture(&x);
    put_features(&x);
    wa_status status = WA_E_MEMORY;
    for (size_t k = 1; status != WA_OK; k++) {
        wa_arena_fail_at(x.arena, k);
        status = build(&x, NULL, 0, false);
        CU_ASSERT(status == WA_OK || status == WA_E_MEMORY);
        CU_ASSERT_FATAL(k < 50);
    }
    wa_arena_close(x.arena);
}

WA_SUITE("cases", WA_CASE(feature_files_run_sparse_full_mmap_and_exact),
         WA_CASE(all_float_payloads_come_in_upstreams_order),
         WA_CASE(interleaved_alone_is_offered_no_sparse), WA_CASE(down_alone_is_offered_exact_only),
         WA_CASE(a_gate_alone_gives_no_case),
         WA_CASE(k_quants_run_the_products_and_the_dequantised_path),
         WA_CASE(loops_take_what_the_row_chain_finds_first),
         WA_CASE(a_bucket_is_the_worst_of_what_is_read), WA_CASE(a_remade_gate_is_quantized),
         WA_CASE(fp4_alone_is_walked_by_the_loop_under_both_names),
         WA_CASE(fp4_beside_k_quants_is_read_by_its_own_case_alone),
         WA_CASE(q4_0_is_read_by_its_own_path_alone),
         WA_CASE(an_unusable_file_is_named_with_its_reason),
         WA_CASE(fp4_beside_feature_files_leaves_sparse_exact),
         WA_CASE(an_ungated_model_takes_the_loop_and_its_up_rows_from_the_gate_file),
         WA_CASE(zero_features_leave_every_case_not_run),
         WA_CASE(a_finite_k_is_named_and_approximate),
         WA_CASE(an_external_kernel_reads_what_it_is_like),
         WA_CASE(a_job_is_told_what_it_cannot_ask),
         WA_CASE(a_path_of_the_job_must_run_on_one_vindex_and_no_more),
         WA_CASE(a_name_used_twice_is_refused),
         WA_CASE(a_vindex_of_another_model_is_named_with_both_numbers),
         WA_CASE(paths_have_the_names_of_job_files),
         WA_CASE(a_layer_is_opened_as_its_case_reads_it), WA_CASE(every_failing_take_is_reported))
