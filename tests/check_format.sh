#!/usr/bin/env bash
# Fails when clang-format would change a source file; names the files and the command that mends them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mapfile -t files < <(git ls-files -- '*.h' '*.cpp' '*.cu')
wrong=$(clang-format --dry-run "${files[@]}" 2>&1 | sed -n 's/^\([^: ]*\):.*Wclang-format.*/\1/p' | sort -u)
[ -z "$wrong" ] && { echo "format: ${#files[@]} files are clean"; exit 0; }
printf 'format: run clang-format -i on\n%s\n' "$wrong" >&2
exit 1
