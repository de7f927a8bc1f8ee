/* What N cores do at once of what one does alone, by the clock: they share a clock's budget, caches
 * and memory, and two of them may be threads of one core. Started like an audit (mpirun -n N
 * bench_cores), so that ranks are bound as an audit's are. JSON on stdout: FMAs and reading memory,
 * each with the rate of rank 0 alone, then the slowest, the median and the sum of all at once. */
#include "peak.h"
#include "rates.h"

#include <mpi.h>
#include <stdio.h>

enum { MEGABYTES = 128, TRIES = 3 };

/* Waits without a core of its own: a rank that spins would take half of another's. */
static void meet(void)
{
    MPI_Request request;
    MPI_Ibarrier(MPI_COMM_WORLD, &request);
    for (int done = 0; !done;) {
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
        MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    }
}

/* Units done by one try; about half a second of them. */
static double fmas(void *isa)
{
    double gflop = 0.0;
    for (int i = 0; i < 100; i++)
        gflop += peak_run(isa);
    return gflop;
}

static double reading(void *floats)
{
    static volatile float sink;
    size_t half = (size_t)MEGABYTES << 17;
    for (int i = 0; i < 20; i++)
        sink = sink + wa_dot(floats, (float *)floats + half, half);
    return 20.0 * 8e-9 * (double)half;
}

/* Rates of `work`, which returns the units that it did; on rank 0 as JSON. */
static void measure(const char *name, double (*work)(void *), void *data, int rank, int ranks,
                    double *all)
{
    double alone = 0.0;
    for (int t = 0; rank == 0 && t < TRIES; t++) {
        double start = MPI_Wtime();
        double rate = work(data) / (MPI_Wtime() - start);
        alone = rate > alone ? rate : alone;
    }
    meet();
    double start = MPI_Wtime();
    double units = 0.0;
    for (int t = 0; t < TRIES; t++)
        units += work(data);
    double mine = units / (MPI_Wtime() - start);
    MPI_Gather(&mine, 1, MPI_DOUBLE, all, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    meet();
    if (rank != 0)
        return;
    double sum = 0.0;
    for (int r = 0; r < ranks; r++)
        sum += all[r];
    qsort(all, (size_t)ranks, sizeof *all, by_value);
    printf("\"%s\": {\"alone\": %.2f, \"slowest\": %.2f, \"median\": %.2f, \"sum\": %.2f, "
           "\"cores\": %.2f}",
           name, alone, all[0], all[ranks / 2], sum, alone > 0.0 ? sum / alone : 0.0);
}

int main(int argc, char **argv)
{
    int rank, ranks, level;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_SINGLE, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    size_t floats = (size_t)MEGABYTES << 18;
    double *all = malloc((size_t)ranks * sizeof *all);
    float *data = malloc(floats * sizeof *data);
    wa_error err;
    const wa_isa *isa;
    if (all == NULL || data == NULL || wa_isa_choose(&isa, &err) != WA_OK)
        MPI_Abort(MPI_COMM_WORLD, 3);
    for (size_t i = 0; i < floats; i++)
        data[i] = (float)(i % 1021) * 1e-3F - 0.5F;
    meet();
    if (rank == 0)
        printf("{\"ranks\": %d, \"isa\": \"%s\", ", ranks, wa_isa_name(isa));
    measure("fma_gflops", fmas, (void *)wa_isa_name(isa), rank, ranks, all);
    if (rank == 0)
        printf(", ");
    measure("read_gbps", reading, data, rank, ranks, all);
    if (rank == 0)
        printf("}\n");
    free(data);
    free(all);
    MPI_Finalize();
    return EXIT_SUCCESS;
}
