#!/usr/bin/env bash
# Runs the kernels' tests, and the runtime's, with AddressSanitizer, which sees every access outside a
# buffer: from Rust, from intrinsics, and from memory that was freed. Inline assembly it does not see; the
# guards of the tests' harness do.
#
#   tests/sanitize/asan.sh [cargo test selection] [-- libtest arguments]
#
# Without arguments: every test of qconfig-kernels and qconfig-runtime. Needs a nightly toolchain, as the
# sanitizer is not stable (`rustup toolchain install nightly --profile minimal`; ASAN_TOOLCHAIN names
# another one). QCONFIG_CASES lowers the number of random cases a test (200); QCONFIG_EDGES has the
# harness's buffers end where their memory does, so that a read beyond one is seen.
set -euo pipefail
cd "$(dirname "$0")/../.."

: "${QCONFIG_CASES:=200}"                   # random cases a test, at most
toolchain=${ASAN_TOOLCHAIN:-nightly}
target=$(rustc "+$toolchain" --print host-tuple)

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
((${#selection[@]})) || selection=(-p qconfig-kernels -p qconfig-runtime --lib --tests)

# Another compiler than the toolchain's, so another folder. A target of its own keeps the sanitizer out of
# build scripts and macros.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/asan QCONFIG_CASES QCONFIG_EDGES=1
# a thread pool that caught a panic forgets what it held, on purpose
export ASAN_OPTIONS="detect_leaks=0:${ASAN_OPTIONS:-}"
export RUSTFLAGS="-Zsanitizer=address -Cforce-frame-pointers=yes ${RUSTFLAGS:-}"
cargo "+$toolchain" test --target "$target" "${selection[@]}" -- "${arguments[@]}"
