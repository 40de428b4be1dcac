#!/usr/bin/env bash
# make_checkpoint.sh PROGRAM VERSION: the checkpoint of step 4, and what the run did in all of its 6 steps, of two ranks
# of PROGRAM (build/cpu-release/switchyard) training tests/golden/checkpoint/config.yaml. v1 was
# written by commit c2912f7, the last of that version.
set -euo pipefail
program=$(realpath "$1")
golden=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/checkpoint
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$golden/../../support/mpirun.sh" 2 "$program" train "$golden/config.yaml" > /dev/null
mkdir -p "$golden/v$2"
cp -r golden/checkpoints/step-00000004 "$golden/v$2/"
cp golden/metrics.jsonl "$golden/metrics.jsonl"
