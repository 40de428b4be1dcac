#!/usr/bin/env bash
# tests/run.sh [--preset NAME] [ctest options]: set-up, build, all tests. `tests/run.sh -L unit` runs one label (unit,
# mpi, slow, gpu); everything after the preset goes to ctest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=cpu-release
if [ "${1:-}" = --preset ]; then
  preset=${2:?--preset needs a name}
  shift 2
fi
launch/setup.sh --preset "$preset" --target all
ctest --preset "$preset" -j 2 "$@"
