#!/usr/bin/env bash
# Takes a machine to a built switchyard. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/setup.sh [options]

Installs what is missing (Debian or Ubuntu packages, LibTorch) and builds. Run it again at any time: what is done is
skipped, a download that broke off is continued.

  --preset NAME      CMake preset to build (default cpu-release; also cpu-debug, cpu-asan, cuda-release)
  --target NAME      what to build (default switchyard; all builds the tests too)
  --libtorch DIR     use this LibTorch (the folder that holds include/ and lib/) instead of the cached one; the build
                     folder remembers it
  --no-packages      do not touch system packages: another distribution, a site's own MPI, or no root. CMake then says
                     what it cannot find; point it with CMAKE_PREFIX_PATH and MPI_HOME. launch/train.sh --no-setup
                     and tests/run.sh --no-setup then use what was built.
  --prepare-only     install packages and LibTorch, do not build (do this on a login node; nodes without a network
                     then only need --no-packages)
  -h, --help         this text

The preset cuda-release also needs what this script does not install: the CUDA toolkit 13 (nvcc, cuBLAS) and NCCL. It
compiles and links with the cached LibTorch; to run, LibTorch's CUDA half wants more libraries, which a full
`pip install torch==2.11.0` brings: give --libtorch VENV/lib/python3.*/site-packages/torch. The end of the build says so.

LibTorch goes to ${XDG_CACHE_HOME:-~/.cache}/switchyard and is shared by all clones. The binary finds its libraries
through RPATHs: no environment variable is needed at run time.
Exit codes: 0 done, 64 usage, 69 something is missing and could not be installed.
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
preset=cpu-release target=switchyard libtorch='' packages=yes build=yes
say() { printf '[setup] %s\n' "$*"; }
fail() { printf '[setup] error: %s\n' "$*" >&2; exit 69; }
misused() { printf '[setup] error: %s (see launch/setup.sh --help)\n' "$*" >&2; exit 64; }

while [ $# -gt 0 ]; do
  case $1 in
    --preset|--target|--libtorch)
      [ -n "${2:-}" ] || misused "$1 needs a value"
      case $1 in
        --preset) preset=$2 ;;
        --target) target=$2 ;;
        --libtorch) libtorch=$(realpath -m "$2") ;;
      esac
      shift 2 ;;
    --no-packages) packages=no; shift ;;
    --prepare-only) build=no; shift ;;
    -h|--help) usage; exit 0 ;;
    *) misused "unknown option $1" ;;
  esac
done
cd "$root"
grep -q "\"configurePreset\": \"$preset\"" CMakePresets.json || misused "no preset $preset in CMakePresets.json"

# Versions: those of Debian 12; the code also compiles against the newer ones of Debian 13 and Ubuntu 24.04.
debian_packages=(
  g++ cmake ninja-build ccache git clang-format python3 python3-pip unzip procps   # tools
  libopenmpi-dev openmpi-bin                                       # MPI
  libabsl-dev                                                      # status, strings, containers
  libdnnl-dev                                                      # matrix products on CPU
  libyaml-cpp-dev nlohmann-json3-dev libcli11-dev                  # configs, manifests, command line
  libsentencepiece-dev zlib1g-dev libxxhash-dev                    # tokenizers, gzip text, checksums
  libgtest-dev libgmock-dev                                        # tests
)

# For the fuzzers, which the tests build where clang with libFuzzer is there.
add_fuzzer_packages() {
  if apt-cache show libclang-rt-dev >/dev/null 2>&1; then
    debian_packages+=(clang libclang-rt-dev)
  else
    say "no package libclang-rt-dev is known here: without clang and its libFuzzer the fuzzers are not built"
  fi
}

install_packages() {
  command -v dpkg-query >/dev/null || fail "this is not a Debian or Ubuntu: install the equivalents of
  ${debian_packages[*]}
and run launch/setup.sh --no-packages"
  [ "$target" != all ] || add_fuzzer_packages
  local missing=() package
  for package in "${debian_packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  local prefix=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null && sudo -n true 2>/dev/null || fail "packages are missing and this user may not install them; ask for
  apt-get install -y --no-install-recommends ${missing[*]}"
    prefix=(sudo)
  fi
  say "installing ${missing[*]}"
  "${prefix[@]}" apt-get update -q >/dev/null || fail "apt-get update failed: no network? (see --no-packages)"
  "${prefix[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${missing[@]}" \
    >/dev/null || fail "apt-get could not install ${missing[*]}"
}

# The CUDA build of LibTorch serves both presets; without a CUDA toolkit it needs these two small wheels beside it.
wheels=(
  torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl
  7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a
  nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
  7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
  nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl
  4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
)

install_libtorch() {
  local known
  known=$(sed -n 's/^SWITCHYARD_LIBTORCH:[A-Z]*=//p' "build/$preset/CMakeCache.txt" 2>/dev/null || true)
  if [[ $known != */switchyard/libtorch-* && -e $known/lib/libtorch_cpu.so ]]; then  # given with --libtorch before
    libtorch=$known
    return
  fi
  [ -n "${XDG_CACHE_HOME:-}${HOME:-}" ] || fail "neither XDG_CACHE_HOME nor HOME is set: set one, or give --libtorch DIR"
  local cache=${XDG_CACHE_HOME:-$HOME/.cache}/switchyard tool
  local home=$cache/libtorch-2.11.0
  libtorch=$home/torch
  [ ! -e "$home/complete" ] || return 0
  for tool in python3 unzip flock; do
    command -v "$tool" >/dev/null || fail "fetching LibTorch needs $tool: install it, or give --libtorch DIR"
  done
  mkdir -p "$cache" && [ -w "$cache" ] || fail "cannot write $cache: set XDG_CACHE_HOME, or give --libtorch DIR"
  exec 9>"$cache/lock"
  flock 9  # another clone may be at it
  if [ ! -e "$home/complete" ]; then
    say "fetching LibTorch 2.11.0 (530 MiB, once per user) into $home"
    local staging=$cache/staging i
    rm -rf "$staging" && mkdir -p "$staging"
    for ((i = 0; i < ${#wheels[@]}; i += 2)); do
      local wheel=$cache/${wheels[i]}
      [ -e "$wheel" ] || python3 "$root/launch/fetch_wheel.py" "${wheels[i]}" "${wheels[i + 1]}" "$wheel" ||
        fail "LibTorch is not complete: run launch/setup.sh again, or give --libtorch DIR"
      unzip -q -o "$wheel" 'torch/include/*' 'torch/lib/*' 'nvidia/*' -d "$staging" 2>/dev/null || [ $? -eq 11 ] ||
        fail "cannot unpack $wheel (disk full?)"
    done
    touch "$staging/complete"
    rm -rf "$home"
    mv "$staging" "$home"
    for ((i = 0; i < ${#wheels[@]}; i += 2)); do rm -f "$cache/${wheels[i]}"; done
  fi
  exec 9>&-
}

check_cuda() {
  local nvcc
  nvcc=$(command -v nvcc || command -v /usr/local/cuda/bin/nvcc) || fail "preset $preset needs the CUDA toolkit 13 with nvcc and cuBLAS, and NCCL; with NVIDIA's
repository: apt-get install cuda-toolkit-13-0 libnccl-dev"
  export CUDACXX=${CUDACXX:-$nvcc}
}

# What the program would look for in vain when it starts.
report_missing_libraries() {
  local missing
  missing=$(ldd "build/$preset/switchyard" 2>/dev/null | awk '/not found/ { print $1 }' | sort -u | tr '\n' ' ')
  [ -z "$missing" ] || say "built, but to run here it lacks ${missing}(see launch/setup.sh --help)"
}

case $preset in cuda-*) check_cuda ;; esac
[ "$packages" = no ] || install_packages
[ -n "$libtorch" ] || install_libtorch
[ -e "$libtorch/lib/libtorch_cpu.so" ] || fail "no lib/libtorch_cpu.so in $libtorch"
[ "$build" = yes ] || { say "ready to build"; exit 0; }

say "building $target with preset $preset"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cmake --preset "$preset" -DSWITCHYARD_LIBTORCH="$libtorch" >"$log" 2>&1 ||
  { cat "$log" >&2; fail "CMake could not configure"; }
cmake --build --preset "$preset" --target "$target" || fail "the build stopped; the lines above say where"
say "built build/$preset"
case $preset in cuda-*) report_missing_libraries ;; esac
