/* What the best loop of FMAs does on one core. */
#ifndef WALKAUDIT_BENCH_PEAK_H
#define WALKAUDIT_BENCH_PEAK_H

/** GFLOP/s of f32 FMAs with the vectors of an instruction set as WALKAUDIT_ISA names them, the best
 * of many short runs, so that other work on the machine lowers it least. 0 where it is not known
 * (portable; a processor without FMA). */
double peak_rate(const char *isa);

/** Runs that loop once, some milliseconds. Returns its GFLOP; 0 where peak_rate is not known. */
double peak_run(const char *isa);

#endif
