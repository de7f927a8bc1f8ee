/* Our own exp, log, sin and their like, against values of 106 bits made by mpmath, and where they
 * must be exact. */
#include "suite.h"

#include "base/elementary.h"

#include "golden.h"

static double sine(double x)
{
    double s, c;
    wa_sin_cos(x, &s, &c);
    return s;
}

static double cosine(double x)
{
    double s, c;
    wa_sin_cos(x, &s, &c);
    return c;
}

static double inline_exp(double x)
{
    return wa_exp(x);
}

static double inline_erf(double x)
{
    return wa_erf(x);
}

typedef struct one_argument {
    const char *name;
    double (*function)(double);
    double bound; /* ulp, as the header states it */
    size_t least; /* this many rows at least */
} one_argument;

static const one_argument FUNCTIONS[] = {
    {"exp", inline_exp, 0.7, 250},  {"expm1", wa_expm1, 1.0, 300}, {"log", wa_log, 0.51, 200},
    {"log1p", wa_log1p, 0.51, 300}, {"sin", sine, 0.8, 350},       {"cos", cosine, 0.8, 350},
    {"erf", inline_erf, 1.2, 350},
};
enum { FUNCTION_COUNT = sizeof FUNCTIONS / sizeof FUNCTIONS[0] };

/* A row of values.tsv. */
typedef struct table_row {
    char name[16];
    double x, y, high, low;
} table_row;

/* The next row of `text`, which moves on; false at the end. */
static bool next_row(char **text, table_row *out)
{
    while (**text == '#')
        *text = strchr(*text, '\n') + 1;
    if (**text == '\0')
        return false;
    char *field[5];
    for (int i = 0; i < 5; i++) {
        field[i] = *text;
        *text += strcspn(*text, "\t\n");
        CU_ASSERT_FATAL(**text != '\0');
        *(*text)++ = '\0';
    }
    snprintf(out->name, sizeof out->name, "%s", field[0]);
    out->x = strtod(field[1], NULL);
    out->y = field[2][0] == '-' && field[2][1] == '\0' ? 0.0 : strtod(field[2], NULL);
    out->high = strtod(field[3], NULL);
    out->low = strtod(field[4], NULL);
    return true;
}

static char *read_table(void)
{
    wa_bytes bytes = wa_test_read(WA_GOLDEN "/elementary/values.tsv");
    char *text = malloc(bytes.size + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = '\0';
    wa_test_free(bytes);
    return text;
}

/* How far `found` is from a row's value in units of the last of `digits` binary digits. */
static double error_of(double found, const table_row *row, int digits, int least)
{
    int exponent;
    frexp(row->high, &exponent);
    exponent = exponent - digits < least ? least : exponent - digits;
    double ulp = ldexp(1.0, exponent);
    return fabs((found - row->high) - row->low) / ulp;
}

static double f64_error(double found, const table_row *row)
{
    return error_of(found, row, 53, -1074);
}

static void errors_of_one_argument_stay_within_the_stated_ulp(void)
{
    double worst[FUNCTION_COUNT] = {0};
    size_t count[FUNCTION_COUNT] = {0};
    char *text = read_table();
    table_row row;
    for (char *at = text; next_row(&at, &row);)
        for (size_t f = 0; f < FUNCTION_COUNT; f++)
            if (strcmp(row.name, FUNCTIONS[f].name) == 0) {
                double error = f64_error(FUNCTIONS[f].function(row.x), &row);
                count[f]++;
                if (!(error <= worst[f]))
                    worst[f] = error;
                if (!(error <= FUNCTIONS[f].bound))
                    fprintf(stderr, "    %s(%a): off by %g ulp\n", row.name, row.x, error);
            }
    for (size_t f = 0; f < FUNCTION_COUNT; f++) {
        printf("\n    %s: at most %.3f ulp of %zu", FUNCTIONS[f].name, worst[f], count[f]);
        CU_ASSERT(worst[f] <= FUNCTIONS[f].bound);
        CU_ASSERT(count[f] >= FUNCTIONS[f].least);
    }
    free(text);
}

static void errors_of_tanh_pow_and_log_gamma_stay_within_their_bounds(void)
{
    double tanh_worst = 0.0, pow_worst = 0.0, gamma_worst = 0.0;
    size_t count = 0;
    char *text = read_table();
    table_row row;
    for (char *at = text; next_row(&at, &row);) {
        double tanh_error = 0.0, pow_error = 0.0, gamma_error = 0.0;
        if (strcmp(row.name, "tanh") == 0)
            tanh_error = error_of((double)wa_tanh_f32((float)row.x), &row, 24, -149);
        else if (strcmp(row.name, "pow") == 0)
            pow_error = f64_error(wa_pow(row.x, row.y), &row);
        else if (strcmp(row.name, "log_gamma") == 0)
            gamma_error =
                fabs((wa_log_gamma(row.x) - row.high) - row.low) / fmax(1.0, fabs(row.high));
        else
            continue;
        count++;
        tanh_worst = tanh_error <= tanh_worst ? tanh_worst : tanh_error;
        pow_worst = pow_error <= pow_worst ? pow_worst : pow_error;
        gamma_worst = gamma_error <= gamma_worst ? gamma_worst : gamma_error;
    }
    printf("\n    tanh %.4f ulp of f32, pow %.3f ulp, log_gamma %.2f x 2^-52", tanh_worst,
           pow_worst, gamma_worst * 0x1p52);
    CU_ASSERT(tanh_worst <= 0.501);
    CU_ASSERT(pow_worst <= 0.8);
    CU_ASSERT(gamma_worst <= 0x1p-52);
    CU_ASSERT(count >= 700);
    free(text);
}

static bool is_same(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static void ends_of_the_ranges_are_exact(void)
{
    CU_ASSERT(is_same(wa_exp(0.0), 1.0) && is_same(wa_exp(-0.0), 1.0));
    CU_ASSERT(is_same(wa_exp(INFINITY), INFINITY) && is_same(wa_exp(-INFINITY), 0.0));
    /* the last before infinity */
    CU_ASSERT(is_same(wa_exp(0x1.62e42fefa39efp+9), 0x1.fffffffffff2ap+1023));
    CU_ASSERT(is_same(wa_exp(0x1.62e42fefa39f0p+9), INFINITY));
    CU_ASSERT(is_same(wa_exp(-745.0), 0x1p-1074) && is_same(wa_exp(-745.2), 0.0));
    CU_ASSERT(is_same(wa_expm1(-0.0), -0.0) && is_same(wa_expm1(0x1p-1074), 0x1p-1074));
    CU_ASSERT(is_same(wa_expm1(INFINITY), INFINITY) && is_same(wa_expm1(-INFINITY), -1.0));
    CU_ASSERT(is_same(wa_log(1.0), 0.0) && is_same(wa_log(0.0), -INFINITY) &&
              is_same(wa_log(-0.0), -INFINITY));
    CU_ASSERT(is_same(wa_log(INFINITY), INFINITY) && isnan(wa_log(-1.0)));
    CU_ASSERT(is_same(wa_log1p(-0.0), -0.0) && is_same(wa_log1p(0x1p-1074), 0x1p-1074));
    CU_ASSERT(is_same(wa_log1p(-1.0), -INFINITY) && isnan(wa_log1p(-1.5)) &&
              is_same(wa_log1p(INFINITY), INFINITY));
    CU_ASSERT(is_same(wa_erf(-0.0), -0.0) && is_same(wa_erf(INFINITY), 1.0) &&
              is_same(wa_erf(-INFINITY), -1.0));
    CU_ASSERT(is_same(wa_erf(6.0), 1.0) && is_same(wa_erf(-1e300), -1.0));
    CU_ASSERT(wa_tanh_f32(20.0F) == 1.0F && wa_tanh_f32(-INFINITY) == -1.0F &&
              wa_tanh_f32(0x1p-149F) == 0x1p-149F);
    CU_ASSERT(wa_tanh_f32(-0.0F) == 0.0F && signbit(wa_tanh_f32(-0.0F)));
    CU_ASSERT(is_same(wa_pow(10.0, 3.0), 1000.0) && is_same(wa_pow(2.0, -1074.0), 0x1p-1074));
    CU_ASSERT(is_same(wa_pow(7.25, 0.0), 1.0) && is_same(wa_pow(1.0, -1e308), 1.0) &&
              is_same(wa_pow(0x1p-1074, 1.0), 0x1p-1074));
    CU_ASSERT(is_same(wa_pow(2.0, 1e300), INFINITY) && is_same(wa_pow(2.0, -1e300), 0.0));
    CU_ASSERT(isnan(wa_pow(0.0, 1.0)) && isnan(wa_pow(-2.0, 2.0)) && isnan(wa_pow(2.0, INFINITY)));
    CU_ASSERT(fabs(wa_log_gamma(1.0)) <= 0x1p-52 && isnan(wa_log_gamma(0.0)) &&
              isnan(wa_log_gamma(-1.5)));
    CU_ASSERT(is_same(sine(-0.0), -0.0) && is_same(cosine(0.0), 1.0) &&
              is_same(sine(0x1p-1074), 0x1p-1074));
    CU_ASSERT(isnan(sine(INFINITY)) && isnan(cosine(-INFINITY)));
}

static void nan_gives_nan(void)
{
    for (size_t f = 0; f < FUNCTION_COUNT; f++)
        CU_ASSERT(isnan(FUNCTIONS[f].function(NAN)));
    CU_ASSERT(isnan(wa_tanh_f32(NAN)) && isnan(wa_log_gamma(NAN)));
    CU_ASSERT(isnan(wa_pow(NAN, 1.0)) && isnan(wa_pow(1.0, NAN)));
}

/* Across every seam: steps of the range reduction, the change of formula, subnormal results. */
static void exp_log_erf_and_tanh_never_fall(void)
{
    static const double starts[] = {-745.2, -708.4, -40.0, -0.35, 0.34, 0.99999, 5.99, 20.0, 709.7};
    for (size_t s = 0; s < sizeof starts / sizeof starts[0]; s++) {
        size_t falls = 0;
        double x = starts[s];
        double step = 0x1p-17 * fmax(1.0, fabs(x));
        for (int i = 0; i < 4000; i++, x += step) {
            falls += wa_exp(x + step) < wa_exp(x);
            falls += wa_erf(x + step) < wa_erf(x);
            falls += wa_tanh_f32((float)(x + step)) < wa_tanh_f32((float)x);
            falls += x > 0.0 && wa_log(x + step) < wa_log(x);
        }
        CU_ASSERT_EQUAL(falls, 0);
    }
    size_t falls = 0;
    float x = 0x1p-9F * 0.9999F;
    for (int i = 0; i < 100000; i++) {
        float next = nextafterf(x, 1.0F);
        falls += wa_tanh_f32(next) < wa_tanh_f32(x);
        x = next;
    }
    CU_ASSERT_EQUAL(falls, 0);
}

WA_SUITE("elementary", WA_CASE(errors_of_one_argument_stay_within_the_stated_ulp),
         WA_CASE(errors_of_tanh_pow_and_log_gamma_stay_within_their_bounds),
         WA_CASE(ends_of_the_ranges_are_exact), WA_CASE(nan_gives_nan),
         WA_CASE(exp_log_erf_and_tanh_never_fall))
