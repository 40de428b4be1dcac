#!/usr/bin/env bash
# reference.sh PROGRAM [--write]: fails when the config reference in README.md is not what PROGRAM prints; --write puts
# it there.
set -euo pipefail
program=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

printed=$(mktemp)
trap 'rm -f "$printed"' EXIT
"$program" config --reference >"$printed"
[ "$(grep -cxF -e '<!-- reference: switchyard config --reference -->' -e '<!-- /reference -->' README.md)" -eq 2 ] ||
  { echo "README.md has lost the two marks of its config reference" >&2; exit 1; }

with_reference() {
  awk -v text="$printed" '
    /^<!-- \/reference -->$/ { inside = 0 }
    !inside { print }
    /^<!-- reference: / { inside = 1; while ((getline line < text) > 0) print line }' README.md
}

if [ "${2:-}" = --write ]; then
  with_reference >"$printed.md"
  cat "$printed.md" >README.md
  rm -f "$printed.md"
else
  with_reference | diff -u README.md - ||
    { echo "README.md's config reference is out of date: run tests/launch/cli/reference.sh $program --write" >&2; exit 1; }
fi
