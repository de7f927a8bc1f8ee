#!/bin/bash
# sbatch, with what your site wants on every job: account, partition and mail, as slurm/README.md says. From any directory:
#
#   slurm/submit.sh --nodes=4 --ntasks-per-node=16 slurm/audit.sbatch jobs/mine.yaml
#
# Options given here win over the site's. In bash, since other shells do not hand on the function `module` to the job.
set -eu
WALKAUDIT_SLURM=$(cd "$(dirname "$0")" && pwd)
export WALKAUDIT_SLURM
. "$WALKAUDIT_SLURM/settings.sh"
exec sbatch ${WALKAUDIT_ACCOUNT:+"--account=$WALKAUDIT_ACCOUNT"} ${WALKAUDIT_PARTITION:+"--partition=$WALKAUDIT_PARTITION"} \
    ${WALKAUDIT_MAIL:+"--mail-user=$WALKAUDIT_MAIL" --mail-type=END,FAIL,REQUEUE} "$@"
