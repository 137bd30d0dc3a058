#!/usr/bin/env bash
# EfficientNet-Lite0 from its export to a static binary: quantized, held against the float model, compiled in.
# Needs what `models.py fetch`, `export` and `data` make below target/models.
set -euo pipefail
cd "$(dirname "$0")/../.."
models=${1:-target/models}/lite0
out=${2:-target/lite0}
mkdir -p "$out"
qconfig() { cargo run --release --quiet -p qconfig-cli --bin qconfig -- "$@"; }

qconfig quantize "$models/raw.onnx" --data "$models/calibration.npy" -o "$out/lite0.plan"
qconfig compare "$models/raw.onnx" "$out/lite0.plan" --data "$models/evaluation.npy" \
    --labels "$models/evaluation_labels.npy"
qconfig run "$out/lite0.plan" --data "$models/evaluation.npy" --output "$out/logits.npy"
QCONFIG_PLAN="$PWD/$out/lite0.plan" QCONFIG_CLASSES="$PWD/$models/classes.txt" \
    QCONFIG_MEAN=127 QCONFIG_STD=128 QCONFIG_CROP=0.875 cargo photo
binary=${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-gnu/release/photo
ls -l "$binary" "$out/lite0.plan"
"$binary"
