#!/usr/bin/env bash
# Runs the kernels' tests for AArch64 under qemu's user mode, once for each level; see README.md beside
# this file.
#
#   tests/emulate/aarch64.sh [cargo test selection] [-- libtest arguments]
#
# Without arguments: every test of qconfig-kernels.
set -euo pipefail
cd "$(dirname "$0")/../.."

: "${QCONFIG_CASES:=200}"                                   # random cases a test, at most
: "${EMULATE_LEVELS:=scalar neon neondot neoni8mm}"         # what QCONFIG_ISA is set to
rustc=${EMULATE_RUSTC:-/usr/bin/rustc}                      # with the standard library of the target
target=aarch64-unknown-linux-gnu

selection=() arguments=()
while (($#)); do
    if [[ $1 == -- ]]; then
        shift
        arguments=("$@")
        break
    fi
    selection+=("$1")
    shift
done
((${#selection[@]})) || selection=(-p qconfig-kernels --lib --tests)

ready() {
    command -v qemu-aarch64-static aarch64-linux-gnu-gcc >/dev/null &&
        [[ -n $(find "$("$rustc" --print sysroot 2>/dev/null)/lib/rustlib/$target/lib" -name 'libstd-*.rlib' 2>/dev/null) ]]
}
if ! ready; then
    root=()
    ((EUID == 0)) || root=(sudo)
    export DEBIAN_FRONTEND=noninteractive
    "${root[@]}" dpkg --add-architecture arm64
    "${root[@]}" apt-get update -q
    "${root[@]}" apt-get install -qy --no-install-recommends \
        rustc-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
fi
ready || { echo "missing: a cross toolchain or qemu (see tests/emulate/README.md)" >&2; exit 2; }

# The smallest CPU that has a level: an instruction beyond it is an illegal one.
cpu() {
    case $1 in
        scalar | neon) echo cortex-a53 ;;
        neondot) echo cortex-a76 ;;
        *) echo max ;;
    esac
}

# Another compiler than the toolchain's, so another folder. Static binaries: a dynamic loader under qemu
# mixes the cross C library with the one that `ld.so.cache` names.
export RUSTC=$rustc CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/aarch64
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static"
export QCONFIG_CASES
for level in $EMULATE_LEVELS; do
    echo "== $level on $(cpu "$level")"
    QCONFIG_ISA=$level \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -cpu $(cpu "$level")" \
        cargo test --target "$target" "${selection[@]}" -- "${arguments[@]}"
done
