# What the batch scripts share; sourced by them, never run by itself.
#
#   $tasks                    tasks of the allocation, each a rank
#   launch JOB OPTION…        one walkaudit on all tasks of the allocation, warned of the time limit
#   finish JOB OPTION…        requeue this job if that helps, else exit with what the result files say
#
# Environment, all optional:
#   WALKAUDIT                    the program (walkaudit)
#   WALKAUDIT_LAUNCHER           srun, mpirun or mpiexec, perhaps as mpirun.mpich              (srun)
#   WALKAUDIT_LAUNCHER_OPTIONS   more words for the launcher
#   WALKAUDIT_MPI                srun's --mpi=…, which fits the MPI: pmix, pmi2, cray_shasta   (pmix)
#   WALKAUDIT_SLURM              where this file is                                            (slurm)
#   WALKAUDIT_BIND               what each rank is bound to: cores, sockets, none …            (cores)
# and those of settings.sh.

settings=${WALKAUDIT_SLURM:-slurm}/settings.sh
if [ ! -r "$settings" ]; then
    echo "slurm: '$settings' not found in $PWD: WALKAUDIT_SLURM names the folder that holds it and launch.sh" >&2
    exit 2
fi
. "$settings"
: "${WALKAUDIT:=walkaudit}" "${WALKAUDIT_LAUNCHER:=srun}" "${WALKAUDIT_BIND:=cores}" "${WALKAUDIT_MPI:=pmix}"
cpus=${SLURM_CPUS_PER_TASK:-1}
# Slurm sets the count only where one was asked for; otherwise there is a task on each node.
tasks=${SLURM_NTASKS:-${SLURM_JOB_NUM_NODES:-1}}
# The job file's `threads` is what counts; this keeps other OpenBLAS programs and the default in line.
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-$cpus}"

case ${WALKAUDIT_LAUNCHER##*/} in
# srun does not inherit --cpus-per-task of sbatch since Slurm 22.05.
srun) step="$WALKAUDIT_LAUNCHER --mpi=$WALKAUDIT_MPI --cpus-per-task=$cpus --cpu-bind=$WALKAUDIT_BIND" ;;
# mpirun takes hosts and rank count from Slurm. Without -q: that would suppress Open MPI's errors too.
mpirun* | mpiexec*)
    case $("$WALKAUDIT_LAUNCHER" --version 2>&1) in
    *HYDRA* | *Intel*) step="$WALKAUDIT_LAUNCHER -bind-to ${WALKAUDIT_BIND%s}" ;; # MPICH and its kin
    *) step="$WALKAUDIT_LAUNCHER --map-by slot:PE=$cpus --bind-to ${WALKAUDIT_BIND%s}" ;;
    esac
    ;;
*)
    echo "launch.sh: WALKAUDIT_LAUNCHER is '$WALKAUDIT_LAUNCHER', expected srun, mpirun or mpiexec" >&2
    exit 2
    ;;
esac
step="$step ${WALKAUDIT_LAUNCHER_OPTIONS-}"

for program in "$WALKAUDIT" "${step%% *}"; do
    if ! command -v "$program" >/dev/null; then
        echo "slurm: program '$program' not found on $(uname -n): load its module or set PATH before submitting; WALKAUDIT" \
            "names walkaudit itself" >&2
        exit 2
    fi
done

# The batch shell alone gets Slurm's early warning (--signal=B:USR1@…); the ranks must have it. kill -TERM on srun would
# kill the step at once, so its ranks are told by scancel.
pass_on() {
    echo "slurm: SIG$1 at $(date +%T); told the ranks to stop where they can go on later" >&2
    case ${WALKAUDIT_LAUNCHER##*/} in
    srun) scancel --signal="$1" "$SLURM_JOB_ID" ;;
    *) kill -"$1" "$child" ;;
    esac
}

# ask QUESTION JOB OPTION…: walkaudit status, '' being a question too, of the results that `run JOB OPTION…` writes. Of run's
# options it takes those that say which these are; the patterns hold the abbreviations that run takes.
ask() {
    question=$1 job=$2 left=$(($# - 2))
    shift 2
    while [ "$left" -gt 0 ]; do
        word=$1
        shift
        left=$((left - 1))
        case $word in
        --s*=* | --ou*=* | --au*=* | --ar*=* | -s?*) set -- "$@" "$word" ;;
        -s | --s* | --ou* | --au* | --ar*)
            if [ "$left" -gt 0 ]; then
                set -- "$@" "$word" "$1"
                shift
                left=$((left - 1))
            fi
            ;;
        esac
    done
    "$WALKAUDIT" status $question "$job" "$@"
}

# Finished prompts of the audits that this task is to run: the measure of progress.
prompts_done() {
    ask --prompts "$@" 2>/dev/null || echo 0
}

# --fresh begins anew, whatever is there: so nothing of it is progress yet, and a job that was requeued goes on without that word
# where there is something to go on with.
launch() {
    fresh=
    for word; do
        shift
        case $word in
        --fr*) fresh=--fresh ;;
        *) set -- "$@" "$word" ;;
        esac
    done
    if [ -n "$fresh" ] && [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && ask --resumable "$@" >/dev/null 2>&1; then
        echo "slurm: resuming what this job began, without --fresh" >&2
    elif [ -n "$fresh" ]; then
        before=0
        set -- "$@" "$fresh"
    fi
    trap 'pass_on USR1' USR1
    trap 'pass_on TERM' TERM
    $step "$WALKAUDIT" run "$@" &
    child=$!
    # wait returns early for each signal.
    code=0
    wait "$child" || code=$?
    while kill -0 "$child" 2>/dev/null; do
        code=0
        wait "$child" || code=$?
    done
    trap - USR1 TERM
}

# srun answers 0 on a node that was lost, and both it and mpirun have codes of their own: the files know better. But where they
# tell of no failure, that of the run counts.
finish() {
    state=0
    ask '' "$@" || state=$?
    echo "slurm: the run answered $code, the result files say $state"
    if ask --resumable "$@" >/dev/null 2>&1; then
        after=$(prompts_done "$@")
        if [ "$after" -gt "$before" ]; then
            echo "slurm: $((after - before)) prompts further, more to do: requeued"
            # Ends this script; the job starts again under the same id and goes on.
            scontrol requeue "$SLURM_JOB_ID" && sleep 60
        fi
        echo "slurm: more to do, but no batch was finished: not requeued; give it more --time" >&2
    fi
    [ "$state" -ne 0 ] || state=$code
    exit "$state"
}
