#!/usr/bin/env bash
# Prepares the quickstart's text once: fetches it from a package and turns it into tokens under data/quickstart.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=data/quickstart
[ ! -e "$out/text.json" ] || exit 0
[ -x build/cpu-release/switchyard ] || { echo "[text] error: nothing is built here: run launch/setup.sh" >&2; exit 69; }
mkdir -p "$out"
launch/data/real_text.sh "$out/raw"
echo "[text] training a tokenizer and turning the text into tokens (about half a minute)"
build/cpu-release/switchyard prepare --input "$out/raw" --output "$out/text" --vocab-size 8192 \
  --validation-fraction 0.02
