#!/bin/bash
# A teacher, then five seeds of its students beside each other, then one report:
#
#   bash submit.sh WORKDIR --config=acdc --config.data.root=/data/ACDC
#
# The arguments after the folder are those of `kdmri run`, --config first. Options of
# sbatch for all jobs are in its variables: SBATCH_PARTITION=gpu SBATCH_GPUS_PER_TASK=1.

set -euo pipefail
job=$(dirname "$0")/run.sbatch
folder=$1
shift

submit() {
  sbatch --parsable --kill-on-invalid-dep=yes "$@"
}

teacher=$(submit "$job" "$@" --workdir="$folder/teacher" --stages=teacher)

run=("$@" --workdir="$folder/students" --config.seeds=5)
run+=(--config.stages.teacher.given="$folder/teacher/teacher")
seeds=$(submit --dependency="afterok:$teacher" --array=42-46 "$job" "${run[@]}")
report=$(submit --dependency="afterok:$seeds" "$job" "${run[@]}")
echo "jobs $teacher, $seeds, $report; the report: $folder/students/report/index.html"
