#!/usr/bin/python3
"""Where an audit's time goes, beside what the machine can do, measured in the same run.

usage: bench_audit.py BUILD_DIR JOB.yaml [--ranks 1,2] [--repeats 3] [--set KEY=VALUE ...]

BUILD_DIR holds walkaudit, tests/bench_limits and tests/bench_start (target bench). Each figure is the median of the repeats; every repeat
computes anew. Run by hand: nothing here passes or fails.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

PHASES = ["projections", "attention", "dense_ffn", "walk_ffn", "compare", "kernel_check",
          "encoding_check", "head", "wait", "gather", "write"]
LAYER_LOOP = ["projections", "attention", "dense_ffn", "walk_ffn", "compare"]


def environment():
    env = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMPI_MCA_rmaps_base_oversubscribe="1")
    if os.getuid() == 0:
        env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    return env


def start(ranks, *command):
    """What was answered, and how long it took by the clock."""
    command, begin = ["mpirun", "-q", "-n", str(ranks), *command], time.monotonic()
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=3600)
    return done, time.monotonic() - begin


def run_once(build, job, ranks, settings, out):
    command = [f"{build}/walkaudit", "run", job, "--fresh", "--out", out]
    for setting in settings:
        command += ["--set", setting]
    mpi_seconds = start(ranks, f"{build}/tests/bench_start")[1]
    done, process_seconds = start(ranks, *command)
    if done.returncode not in (0, 1) or not os.path.exists(out):
        sys.exit(f"{' '.join(command)} answered {done.returncode}:\n{done.stderr}")
    with h5py.File(out) as f:
        runs = f["run"]
        facts = dict(runs[sorted(runs, key=int)[-1]].attrs)
        facts["rows"] = f["token_id"].shape[0]
        facts["mpi_seconds"], facts["process_seconds"] = mpi_seconds, process_seconds
        facts["answers"] = sum(int(np.isfinite(f[name]).sum()) for name in ("kernel_rel_l2", "kernel_own_rel_l2"))
    return facts


def limits(build, rows, hidden, intermediate):
    text = subprocess.run([f"{build}/tests/bench_limits", str(rows), str(hidden), str(intermediate)],
                          env=environment(), capture_output=True, text=True, check=True).stdout
    return json.loads(text)


def median(facts, key):
    return statistics.median(float(f[key]) for f in facts)


def report(ranks, facts, machine):
    loop_seconds = sum(median(facts, f"seconds_{p}") for p in LAYER_LOOP)
    loop_flops = sum(median(facts, f"flops_{p}") for p in LAYER_LOOP)
    print(f"\n{ranks} rank(s), median of {len(facts)}; one core: sgemm peak {machine['sgemm_peak_gflops']} GFLOP/s, "
          f"sgemm at {facts[0]['rows']} rows {machine['sgemm_rows_gflops']} GFLOP/s, "
          f"reading {machine['read_gbps']} GB/s ({machine['core']})")
    print(f"{'phase':16} {'seconds':>9} {'GFLOP/s':>9} {'of rows':>8} {'GB/s':>8} {'of read':>8}   (sums over ranks)")
    for phase in PHASES:
        seconds = median(facts, f"seconds_{phase}")
        flops = median(facts, f"flops_{phase}") / max(seconds, 1e-9) / 1e9
        read = median(facts, f"bytes_{phase}") / max(seconds, 1e-9) / 1e9
        print(f"{phase:16} {seconds:9.3f} {flops:9.2f} {flops / machine['sgemm_rows_gflops']:8.2f} {read:8.2f} "
              f"{read / machine['read_gbps']:8.2f}")
    bound = loop_flops / machine["sgemm_rows_gflops"] / 1e9
    print(f"layer loop {loop_seconds:.3f} s, its FLOPs at the sgemm rate {bound:.3f} s: ratio {loop_seconds / bound:.2f}")
    print(f"wall {median(facts, 'wall_seconds'):.3f} s in the audit, anonymous memory per rank "
          f"{max(float(f['anonymous_bytes_per_rank_max']) for f in facts) / 1e6:.0f} MB")
    whole, mpi, audit = (median(facts, key) for key in ("process_seconds", "mpi_seconds", "wall_seconds"))
    print(f"whole process {whole:.3f} s: {mpi:.3f} s are MPI's own start and end, {audit:.3f} s the audit, "
          f"{whole - mpi - audit:.3f} s the rest (opening, assembling, judging)")
    report_checks(facts)


def report_checks(facts):
    """Shares are of the same run's layer loop, so that a busy machine does less to them."""
    for check in ("kernel_check", "encoding_check"):
        shares = [float(f[f"seconds_{check}"]) / sum(float(f[f"seconds_{p}"]) for p in LAYER_LOOP) for f in facts]
        seconds = median(facts, f"seconds_{check}")
        if seconds < 1e-3:  # switched off
            continue
        answers = facts[0]["answers"] if check == "kernel_check" else 0
        each = f", {1e6 * seconds / answers:.0f} us for each of {answers} answers (case, pair, stream)" if answers else ""
        print(f"{check}: {seconds:.3f} s, {100 * statistics.median(shares):.0f} % of the layer loop{each}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("job")
    parser.add_argument("--ranks", default="1,2")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shape", default="640,2048", help="hidden,intermediate of the model")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    hidden, intermediate = (int(x) for x in args.shape.split(","))
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "bench.h5")
        for ranks in (int(r) for r in args.ranks.split(",")):
            for checks in ("off", "on"):
                settings = args.set + ([] if checks == "on" else ["kernel_check=none", "encoding_check=none"])
                run_once(args.build, args.job, ranks, settings, out)  # warms the page cache
                facts = [run_once(args.build, args.job, ranks, settings, out) for _ in range(args.repeats)]
                print(f"\n=== checks of design 7 {checks}", end="")
                report(ranks, facts, limits(args.build, facts[0]["rows"], hidden, intermediate))


if __name__ == "__main__":
    main()
