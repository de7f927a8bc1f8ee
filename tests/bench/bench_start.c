/* What MPI itself takes: starts, agrees once, ends. bench_audit.py times it beside whole runs. */
#include <mpi.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    int level;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    return EXIT_SUCCESS;
}
