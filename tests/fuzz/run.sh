#!/bin/sh
# Run fuzz targets, SECONDS each, one after the other, on their committed seeds. Fails on the first finding; the
# input is kept in BUILD/findings, and `BUILD/fuzz_NAME FILE` shows it again.
#   run.sh SECONDS [BUILD [NAME ...]]     BUILD: where the targets are, build/fuzz/tests/fuzz if not given
set -eu
here=$(cd "$(dirname "$0")" && pwd)
seconds=$1
build=${2:-$here/../../build/fuzz/tests/fuzz}
if [ $# -gt 2 ]; then
    shift 2
else
    set -- $(cd "$here" && ls fuzz_*.c | sed 's/fuzz_\(.*\)\.c/\1/')
fi

mkdir -p "$build/findings"
corpus=$(mktemp -d)
log=$(mktemp)
trap 'rm -rf "$corpus" "$log"' EXIT
for name; do
    mkdir "$corpus/$name"
    seeds=$here/seeds/$name
    [ -d "$seeds" ] || seeds=
    if ! "$build/fuzz_$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -dict="$here/words.dict" -artifact_prefix="$build/findings/$name-" "$corpus/$name" $seeds >"$log" 2>&1; then
        tail -60 "$log" >&2
        echo "run.sh: a finding in $name; its input is in $build/findings" >&2
        exit 1
    fi
    echo "$name: $(sed -n 's/stat::number_of_executed_units: *//p' "$log") executions in $seconds s"
done
