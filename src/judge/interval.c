/* Upper limits from the incomplete beta function: Student's t and Clopper-Pearson. */
#include "judge/interval.h"

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

double wa_beta_share(double x, double a, double b)
{
    if (!(x > 0.0))
        return isnan(x) ? NAN : 0.0;
    if (x >= 1.0)
        return 1.0;
    double scale = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1.0) / (a + b + 2.0))
        return scale * fraction(x, a, b) / a;
    return 1.0 - scale * fraction(1.0 - x, b, a) / b;
}

/* Where a falling function of x passes below `level` between low and high: halved until no number
 * lies between. */
static double cross(double (*falling)(double x, const double *with), const double *with,
                    double low, double high, double level)
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

/* P(T > t) = I_{v/(v + t^2)}(v/2, 1/2) / 2, t >= 0. */
static double t_tail(double t, const double *freedom)
{
    return 0.5 * wa_beta_share(*freedom / (*freedom + t * t), *freedom / 2.0, 0.5);
}

static double t_point(double freedom, double level)
{
    return cross(t_tail, &freedom, 0.0, 16.0, level); /* with one degree of freedom: 6.31 at 5 %, 10.6 at 3 % */
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

/* P(at most hits | share): with[] = hits, count. */
static double tail(double share, const double *with)
{
    return 1.0 - wa_beta_share(share, with[0] + 1.0, with[1] - with[0]);
}

double wa_share_upper(double share, double count)
{
    const double with[] = {share * count, count};
    return share < 1.0 ? cross(tail, with, share, 1.0, 0.05) : 1.0;
}
