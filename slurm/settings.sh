# What a site sets once; sourced by the other scripts, never run by itself. The variables may stand in the environment or in a
# file of assignments, which then counts:
#
#   WALKAUDIT_SITE                                           that file     ($WALKAUDIT_SLURM/site.sh, if there is one)
#   WALKAUDIT_ACCOUNT, WALKAUDIT_PARTITION, WALKAUDIT_MAIL   for submit.sh
#   WALKAUDIT_MODULES                                        loaded on the nodes, as in "gcc/13 openmpi"

: "${WALKAUDIT_SITE:=${WALKAUDIT_SLURM:-slurm}/site.sh}"
export WALKAUDIT_SITE
[ ! -r "$WALKAUDIT_SITE" ] || . "$WALKAUDIT_SITE"

# Only in a job: who submits needs no modules.
if [ -n "${WALKAUDIT_MODULES-}" ] && [ -n "${SLURM_JOB_ID-}" ]; then
    for script in /etc/profile.d/lmod.sh /etc/profile.d/z00_lmod.sh /etc/profile.d/modules.sh; do
        command -v module >/dev/null || [ ! -r "$script" ] || . "$script"
    done
    for name in $WALKAUDIT_MODULES; do
        if ! module load "$name"; then
            echo "slurm: cannot load module '$name' of WALKAUDIT_MODULES on $(uname -n)" >&2
            exit 2
        fi
    done
fi
