#!/usr/bin/env bash
# Feeds each reader of what comes from outside with anything that looks like it: ONNX files, saved plans,
# backend configs in JSON, arrays of NumPy. A crash, an answer that takes over 10 s or 2 GB of memory ends
# the run, and the input is left in fuzz/artifacts; what was found before stands in the packages' tests.
# The corpora begin with the models of the tests and, where target/models has them, pieces of trained ones.
#
#   fuzz/run.sh [SECONDS [TARGET...]]      600 seconds each, all targets
#
# Needs a nightly toolchain and a C++ compiler, for the sanitizer and libFuzzer (`rustup toolchain install
# nightly --profile minimal`; FUZZ_TOOLCHAIN names another one), and `cargo install cargo-fuzz`.
set -euo pipefail
cd "$(dirname "$0")"

toolchain=${FUZZ_TOOLCHAIN:-nightly}
seconds=${1:-600}
shift || true
targets=("$@")
((${#targets[@]})) || targets=(onnx plan config npy)

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
cargo "+$toolchain" fuzz build --dev --fuzz-dir .
"$CARGO_TARGET_DIR/$(rustc "+$toolchain" --print host-tuple)/debug/seeds"
failed=()
for target in "${targets[@]}"; do
    # inputs longer than the seeds show nothing more
    longest=65536
    [[ $target != config ]] || longest=16384
    [[ $target != npy ]] || longest=8192
    cargo "+$toolchain" fuzz run --dev --fuzz-dir . "$target" -- -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=2048 -max_len="$longest" -print_final_stats=1 || failed+=("$target")
done
if ((${#failed[@]})); then
    echo "found something: ${failed[*]}" >&2
    exit 1
fi
