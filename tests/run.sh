#!/usr/bin/env bash
# Set-up, build, all tests. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: tests/run.sh [--preset NAME] [--no-setup] [ctest options]

Sets up and builds what is missing (launch/setup.sh), then runs all tests. What follows goes to ctest: `-L unit` runs
one label (unit, mpi, slow, gpu), `-R NAME` tests by name.

  --preset NAME   default cpu-release; also cpu-debug, cpu-asan, cuda-release
  --no-setup      no packages and no download: build with what launch/setup.sh configured before
TEXT
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset=cpu-release setup=yes
while [ $# -gt 0 ]; do
  case $1 in
    -h|--help) usage; exit 0 ;;
    --preset)
      [ -n "${2:-}" ] || { echo "run.sh: --preset needs a name (see tests/run.sh --help)" >&2; exit 64; }
      preset=$2; shift 2 ;;
    --no-setup) setup=no; shift ;;
    *) break ;;
  esac
done
if [ "$setup" = yes ]; then
  launch/setup.sh --preset "$preset" --target all
else
  cmake --build --preset "$preset" --target all
fi
ctest --preset "$preset" -j 2 "$@"
