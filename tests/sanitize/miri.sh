#!/usr/bin/env bash
# Runs with Miri what Miri can run: the runtime's arena, plans and memory, and every kernel against its
# formula at the scalar level. Miri has few vector instructions and no inline assembly, so QCONFIG_ISA holds
# the tests to the reference; asan.sh beside this file is for the others.
#
#   tests/sanitize/miri.sh
#
# Needs Miri: `rustup component add miri rust-src --toolchain nightly` (MIRI_TOOLCHAIN names another one).
# QCONFIG_CASES lowers the number of random cases a test (2: Miri is some thousand times slower).
set -euo pipefail
cd "$(dirname "$0")/../.."

toolchain=${MIRI_TOOLCHAIN:-nightly}
export QCONFIG_CASES=${QCONFIG_CASES:-2} QCONFIG_ISA=scalar
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/miri
# the tests ask the environment for the two above
export MIRIFLAGS="-Zmiri-disable-isolation ${MIRIFLAGS:-}"

# thousands of damaged files, and threads that spin against the clock, are not for an interpreter
cargo "+$toolchain" miri test -p qconfig-runtime --lib --test builder -- --skip hostile --skip pool
cargo "+$toolchain" miri test -p qconfig-kernels --tests -- formula definition --skip large
