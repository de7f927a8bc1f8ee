/* Upper limits from the incomplete beta function: Student's t and Clopper-Pearson. */
#include "judge/interval.h"
#include "base/elementary.h"

#include <float.h>
#include <math.h>

/* Modified Lentz: a divisor that would be 0 becomes this. */
static double off_zero(double v)
{
    return fabs(v) < 1e-300 ? 1e-300 : v;
}

/* The continued fraction of I_x(a, b), DLMF 8.17.22; converges in about sqrt(max(a, b)) steps for
 * x < (a + 1)/(a + b + 2). */
static double fraction(double x, double a, double b)
{
    enum { STEPS = 1000000 };
    double c = 1.0;
    double d = 1.0 / off_zero(1.0 - (a + b) * x / (a + 1.0));
    double value = d;
    for (int i = 1; i < STEPS; i++) {
        double m = i;
        double even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / off_zero(1.0 + even * d);
        c = off_zero(1.0 + even / c);
        value *= c * d;
        double odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / off_zero(1.0 + odd * d);
        c = off_zero(1.0 + odd / c);
        value *= c * d;
        if (fabs(c * d - 1.0) < 4.0 * DBL_EPSILON)
            break;
    }
    return value;
}

/* ln B(a, b): the same at every step of a search, which would spend most of its time here. */
static double log_beta(double a, double b)
{
    return wa_log_gamma(a) + wa_log_gamma(b) - wa_log_gamma(a + b);
}

/* wa_beta_share with log_beta(a, b). */
static double share_of(double x, double a, double b, double log_of_beta)
{
    if (!(x > 0.0))
        return isnan(x) ? NAN : 0.0;
    if (x >= 1.0)
        return 1.0;
    double scale = wa_exp(a * wa_log(x) + b * wa_log1p(-x) - log_of_beta);
    if (x < (a + 1.0) / (a + b + 2.0))
        return scale * fraction(x, a, b) / a;
    return 1.0 - scale * fraction(1.0 - x, b, a) / b;
}

double wa_beta_share(double x, double a, double b)
{
    return share_of(x, a, b, log_beta(a, b));
}

/* Where a falling function of x passes below `level` between low and high: halved until no number
 * lies between. */
static double cross(double (*falling)(double x, const double *with), const double *with, double low,
                    double high, double level)
{
    for (;;) {
        double middle = low + (high - low) / 2.0;
        if (middle <= low || middle >= high)
            return high;
        if (falling(middle, with) > level)
            low = middle;
        else
            high = middle;
    }
}

/* P(T > t) = I_{v/(v + t^2)}(v/2, 1/2) / 2, t >= 0; with[] = v, log_beta. */
static double t_tail(double t, const double *with)
{
    return 0.5 * share_of(with[0] / (with[0] + t * t), with[0] / 2.0, 0.5, with[1]);
}

static double t_point(double freedom, double level)
{
    const double with[] = {freedom, log_beta(freedom / 2.0, 0.5)};
    /* with one degree of freedom: 6.31 at 5 %, 10.6 at 3 % */
    return cross(t_tail, with, 0.0, 16.0, level);
}

double wa_t_upper(double freedom)
{
    return t_point(freedom, 0.05);
}

double wa_mean_upper(double mean, double error, double skewness, double clusters)
{
    double t = t_point(clusters - 1.0, 0.015);
    return mean + (t + skewness * (2.0 * t * t + 1.0) / (6.0 * sqrt(clusters))) * error;
}

double wa_effective_count(double share, double variance, double count, double clusters)
{
    double effective = variance > 0.0 ? share * (1.0 - share) / variance : count;
    if (!(effective < count)) /* no spread between the clusters, or less than chance gives */
        effective = count;
    double t = wa_t_upper(count - 1.0) / wa_t_upper(clusters - 1.0);
    return effective * t * t;
}

/* P(at most hits | share): with[] = hits, count, log_beta. */
static double tail(double share, const double *with)
{
    return 1.0 - share_of(share, with[0] + 1.0, with[1] - with[0], with[2]);
}

double wa_share_upper(double share, double count)
{
    double hits = share * count;
    const double with[] = {hits, count, log_beta(hits + 1.0, count - hits)};
    return share < 1.0 ? cross(tail, with, share, 1.0, 0.05) : 1.0;
}
