#!/usr/bin/env bash
# From a fresh machine to a running job on this one. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/train.sh [-n RANKS] [CONFIG] [section.key=value ...]

Sets up and builds what is missing, prepares real text for the quickstart, then runs
  mpirun -n RANKS build/cpu-release/switchyard train CONFIG ...
CONFIG defaults to configs/quickstart.yaml, RANKS to 4 where there are 4 cores, else 2.

Ctrl-C or SIGTERM: the ranks finish their step, write a checkpoint and exit with 75; the same command goes on from there.
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
ranks=$([ "$(nproc)" -ge 4 ] && echo 4 || echo 2)
case ${1:-} in
  -h|--help) usage; exit 0 ;;
  -n) ranks=${2:?-n needs a number}; shift 2 ;;
esac
config=configs/quickstart.yaml
if [ $# -gt 0 ] && [[ $1 != *=* ]]; then
  config=$1
  shift
fi

launch/setup.sh
[ "$config" != configs/quickstart.yaml ] || launch/data/quickstart_text.sh

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(($(nproc) / ranks > 0 ? $(nproc) / ranks : 1))}
options=()
[ "$ranks" -le "$(nproc)" ] || options+=(--oversubscribe --mca mpi_yield_when_idle 1)
[ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# In a session of its own mpirun does not see the terminal's Ctrl-C; it forwards SIGUSR1 to the ranks, which save.
setsid mpirun -n "$ranks" --bind-to none "${options[@]}" build/cpu-release/switchyard train "$config" "$@" &
job=$!
trap 'kill -USR1 "$job" 2>/dev/null || true' INT TERM
while true; do
  code=0
  wait "$job" || code=$?
  kill -0 "$job" 2>/dev/null || break  # wait also returns when a signal arrives
done
exit "$code"
