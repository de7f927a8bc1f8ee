/* Upper 95 % limits of means and shares over clusters. Pure. */
#ifndef WALKAUDIT_JUDGE_INTERVAL_H
#define WALKAUDIT_JUDGE_INTERVAL_H

/** I_x(a, b), the regularised incomplete beta function; a, b > 0, 0 <= x <= 1. Relative error about
 * 1e-12. */
double wa_beta_share(double x, double a, double b);

/** The value that Student's t with `freedom` >= 1 degrees of freedom exceeds with probability 5
 * %. */
double wa_t_upper(double freedom);

/**
 * Upper 95 % limit of a mean over `clusters` >= 3 that are skewed to the right: mean + (t +
 * skewness (2 t^2 + 1) / (6 sqrt(clusters))) error, Chen's (1995) correction of Student's t. t is
 * that of 98.5 %: a sample without the rare bad cluster knows neither its error nor its skewness,
 * and with 95 % the limit holds in 91 of 100 samples of ten (tests/unit/test_coverage.c).
 */
double wa_mean_upper(double mean, double error, double skewness, double clusters);

/** Positions that would tell as much about a share, were they independent: Korn and Graubard
 * (1998), at most `count`. */
double wa_effective_count(double share, double variance, double count, double clusters);

/** Clopper-Pearson: the share that makes at most share * count of `count` hits 5 % likely. 1 when
 * share is 1. */
double wa_share_upper(double share, double count);

#endif
