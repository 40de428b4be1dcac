#!/usr/bin/env bash
# From a fresh machine to a running job on this one. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/train.sh [-n RANKS] [--no-setup] [CONFIG] [section.key=value ...]

Sets up and builds what is missing, prepares real text for the quickstart, then runs
  mpirun -n RANKS build/cpu-release/switchyard train CONFIG ...
in the repository's folder, to which paths in the config are relative.

  CONFIG       default configs/quickstart.yaml
  -n RANKS     default 4 where there are 4 cores, else 2
  --no-setup   use what launch/setup.sh built before: on a node without a network, or with a site's own packages

Ctrl-C or SIGTERM: the ranks finish their step, write a checkpoint and exit with 75; the same command goes on from there.
A second Ctrl-C ends them at once; what is left is the checkpoint before.
TEXT
}

say() { printf '[train] %s\n' "$*" >&2; }
misused() { say "error: $* (see launch/train.sh --help)"; exit 64; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
ranks=$([ "$cores" -ge 4 ] && echo 4 || echo 2)
config='' setup=yes overrides=()
again=launch/train.sh
[ $# -eq 0 ] || again+=$(printf ' %q' "$@")
while [ $# -gt 0 ]; do
  case $1 in
    -h|--help) usage; exit 0 ;;
    -n) [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || misused "-n needs a number of ranks"; ranks=$2; shift ;;
    --no-setup) setup=no ;;
    --dry-run) overrides+=("$1") ;;
    -*) misused "unknown option $1" ;;
    *=*) overrides+=("$1") ;;
    *) [ -z "$config" ] || misused "two configs: $config and $1"; config=$1 ;;
  esac
  shift
done
[ -n "$config" ] || config=$root/configs/quickstart.yaml
[ -e "$config" ] || [ ! -e "$root/$config" ] || config=$root/$config
[ -e "$config" ] || { say "error: no config $config"; exit 66; }
config=$(realpath --relative-base="$root" "$config")
cd "$root"

[ "$setup" = no ] || launch/setup.sh
[ -x build/cpu-release/switchyard ] || { say "error: nothing is built here: run launch/setup.sh"; exit 69; }
[ "$config" != configs/quickstart.yaml ] || launch/data/quickstart_text.sh

threads=$((cores / ranks))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((threads > 0 ? threads : 1))}
options=()
[ "$ranks" -le "$cores" ] || options+=(--oversubscribe --mca mpi_yield_when_idle 1)
[ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

job='' stops=0
stop() {
  [ -n "$job" ] || exit 75
  stops=$((stops + 1))
  if [ "$stops" -eq 1 ]; then
    say "stopping: the ranks finish their step and save (again: end at once)"
    kill -USR1 "$job" 2>/dev/null || true
  else
    kill -TERM "$job" 2>/dev/null || true
  fi
}
trap stop INT TERM
# In a session of its own mpirun does not see the terminal's Ctrl-C; it forwards SIGUSR1 to the ranks, which save.
setsid mpirun -n "$ranks" --bind-to none "${options[@]}" build/cpu-release/switchyard train "$config" \
  "${overrides[@]}" &
job=$!
while kill -0 "$job" 2>/dev/null; do
  wait "$job" || true  # returns also when a signal arrives
done
code=0
wait "$job" || code=$?
if [ "$code" -eq 138 ] && [ "$stops" -gt 0 ]; then  # SIGUSR1 came before the ranks listen for it
  say "stopped before the first step: there was nothing to save"
  code=75
fi
[ "$code" -ne 75 ] || say "go on with: $again"
exit "$code"
