#!/usr/bin/env bash
# run.sh PROGRAM INPUTS SEED FOLDER: tries INPUTS inputs, made from the committed corpus and from those in FOLDER, where
# inputs that reach new code are added. A crash, a hang of 10 s, a leak, or memory beyond the limits ends it with another
# code than 0; the input then lies in the working directory. MAX_LENGTH: of an input, in bytes, default 65536.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$1 inputs=$2 seed=$3 folder=$4
name=$(basename "$program")
name=${name#fuzz_}
dictionary=()
[ ! -e "$here/$name.dict" ] || dictionary=(-dict="$here/$name.dict")
mkdir -p "$folder"
ulimit -c 0
exec "$program" -runs="$inputs" -seed="$seed" -max_len="${MAX_LENGTH:-65536}" -timeout=10 -rss_limit_mb=1024 -print_final_stats=0 \
  "${dictionary[@]}" "$folder" "$here/corpus/$name"
