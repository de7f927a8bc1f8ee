#!/bin/sh
# The baselines:  sh jobs/baselines.sh WALKAUDIT [MPIRUN [RANKS]]
# Fetches both published models, writes a vindex of every format of each (about 1.5 GB a model), and audits them
# at every position of jobs/prompts/baseline.jsonl: all under the ladder of May 2026, whose cases the tables of
# doc/baselines.md have, and Q4_0 and K-quants under that of August. Results: results/baseline-smollm2.h5,
# -gemma3-270m.h5, results/august-smollm2.h5, -gemma3-270m.h5. Exits 0 only when all four audits do.
set -eu
walkaudit=${1:?WALKAUDIT, the program, is missing}
mpirun=${2:-mpirun}
ranks=${3:-2}
cd "$(dirname "$0")/.."

# As many ranks as wanted, also on fewer cores and as a container's root.
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

step() {
    echo "baselines: $*"
    "$@"
}

# extract MODEL NAME OPTIONS…
extract() {
    from=models/$1.gguf to=vindexes/$1-$2.vindex
    shift 2
    step "$walkaudit" extract "$from" "$to" --force "$@"
}

mkdir -p vindexes results
failed=0
for model in smollm2 gemma3-270m; do
    sh jobs/fetch.sh $model
    extract $model f32 --format f32
    extract $model f16 --format f16
    extract $model q4_0 --format q4_0
    extract $model q4k --format q4k --down q6k
    extract $model q4k-down4 --format q4k --down q4k
    for policy in a b c; do
        extract $model fp4$policy --format fp4 --fp4-policy $policy
    done
    for job in $model $model-2026-08; do
        step "$mpirun" -n "$ranks" "$walkaudit" run jobs/baselines/$job.yaml --fresh || failed=$?
    done
done
exit "$failed"
