#!/usr/bin/env bash
# runtime <- parallel <- layers <- launch: fails when an #include points the other way, or when layers includes MPI or
# NCCL.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
include='#[[:space:]]*include[[:space:]]*[<"]'
bad=$(
  grep -rnE "$include(parallel|layers|launch|tests)/" runtime || true
  grep -rnE "$include(layers|launch|tests)/" parallel || true
  grep -rnE "$include(launch|tests)/" layers || true
  grep -rnE "${include}tests/" launch || true
  grep -rnE "$include(mpi|nccl)\.h[>\"]" layers launch parallel || true
)
[ -z "$bad" ] && { echo "includes: every arrow points down"; exit 0; }
printf 'includes: these point the wrong way\n%s\n' "$bad" >&2
exit 1
