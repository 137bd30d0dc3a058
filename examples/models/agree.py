"""A quantized ONNX model run by qconfig and by ONNX Runtime: do they agree, end to end and layer by layer?

    cargo build --release -p qconfig-cli
    python examples/models/agree.py target/models/lite0/int8_qdq.onnx target/models/lite0/evaluation.npy --layers 4

qconfig makes a plan of the model with the model's own scales; `--plan` takes one that is there already, as of a
model that `qconfig quantize .. -o MODEL.onnx` wrote beside it:

    qconfig quantize target/models/lite0/raw.onnx --data target/models/lite0/calibration.npy -o ours.plan
    qconfig quantize target/models/lite0/raw.onnx --data target/models/lite0/calibration.npy -o ours.onnx
    python examples/models/agree.py ours.onnx target/models/lite0/evaluation.npy --plan ours.plan --layers 4

ONNX Runtime runs with `session.x64quantprecision`. A layer is what lies between an 8-bit value and those that it is
made of; it gets ONNX Runtime's own values, so that differences do not go on into the next.
"""

import argparse
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import peer

# where an operator of integers has the scale of its result; the zero point follows
RESULT = {"QuantizeLinear": 1, "QLinearConv": 6, "QLinearMatMul": 6, "QLinearAdd": 6, "QLinearMul": 6, "QGemm": 7,
          "QLinearConcat": 0}


def parameters(made: dict, value: str) -> list[str]:
    """Names of scale and zero point of an 8-bit value."""
    node = made[value]
    at = RESULT.get(node.op_type, 3 if node.op_type.startswith("QLinear") else None)
    return parameters(made, node.input[0]) if at is None else list(node.input[at : at + 2])


def layer(model: onnx.ModelProto, made: dict, inner: set, value: str):
    """The part of the model that makes a value of other 8-bit values, in floats outside, and those."""
    held = {t.name: t for t in model.graph.initializer}
    wanted, seen, parts, sources = [value], set(), set(), []
    while wanted:
        name = wanted.pop()
        if not name or name in seen or name in held:
            continue
        seen.add(name)
        if name != value and name in inner:
            sources.append(name)
        elif name not in made:
            return None  # an input of the whole model
        else:
            parts.add(made[name].output[0])
            wanted += made[name].input
    nodes = [n for n in model.graph.node if n.output and n.output[0] in parts]
    around = [helper.make_node("QuantizeLinear", [f"x{i}", *parameters(made, s)], [s]) for i, s in enumerate(sources)]
    nodes = around + nodes + [helper.make_node("DequantizeLinear", [value, *parameters(made, value)], ["y"])]
    used = {name for node in nodes for name in node.input}
    return nodes, sources, [t for name, t in held.items() if name in used]


def layers(args, model: onnx.ModelProto, data: np.ndarray, folder: Path) -> None:
    values = peer.values(args.model, data, "quantized", precise=True)
    made = {name: node for node in model.graph.node for name in node.output}
    held = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    inner = {name for name in values if name in made}
    pair = lambda name: [held[p] for p in parameters(made, name)]
    equal, every, most, worst, count, least = defaultdict(int), defaultdict(int), 0, "", 0, (1.0, "")
    for value in sorted(inner, key=lambda name: list(made).index(name)):
        found = layer(model, made, inner, value)
        if found is None or all(n.op_type in ("QuantizeLinear", "DequantizeLinear") for n in found[0]):
            continue
        nodes, sources, tensors = found
        inputs, options = [], []
        for i, source in enumerate(sources):
            scale, zero = pair(source)
            floats = scale * (values[source].astype(np.int32) - zero.astype(np.int32)).astype(np.float32)
            np.save(folder / f"x{i}.npy", floats)
            inputs.append(helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, [1, *floats.shape[1:]]))
            options += ["--data", f"x{i}={folder}/x{i}.npy" if len(sources) > 1 else f"{folder}/x{i}.npy"]
        graph = helper.make_graph(nodes, "layer", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], tensors)
        onnx.save(helper.make_model(graph, opset_imports=model.opset_import), folder / "layer.onnx")
        qconfig(args, "quantize", folder / "layer.onnx", "-o", folder / "layer.plan")
        qconfig(args, "run", folder / "layer.plan", *options, "-o", folder / "y.npy")
        scale, zero = pair(value)
        ours = np.rint(np.load(folder / "y.npy") / scale).astype(np.int32) + zero.astype(np.int32)
        apart = np.abs(ours.ravel() - values[value].astype(np.int32).ravel())
        kind = "+".join(n.op_type for n in nodes if n.op_type not in ("QuantizeLinear", "DequantizeLinear"))
        equal[kind] += int((apart == 0).sum())
        every[kind] += apart.size
        least = min(least, (float((apart == 0).mean()), value))
        count += 1
        if apart.max() > most:
            most, worst = int(apart.max()), value
    for kind in sorted(every):
        print(f"  {kind}: {equal[kind]} of {every[kind]} elements equal ({100 * equal[kind] / every[kind]:.4f} %)")
    print(f"{count} layers, {len(data)} samples: {100 * sum(equal.values()) / sum(every.values()):.4f} % equal, "
          f"at most {most} steps apart {worst}; the layer with the fewest: {100 * least[0]:.4f} % {least[1]}")


def qconfig(args, *words) -> None:
    subprocess.run([args.qconfig, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--plan", type=Path, help="a plan of the same model")
    parser.add_argument("--layers", type=int, default=0, metavar="N", help="layer by layer on N samples")
    parser.add_argument("--qconfig", default="target/release/qconfig", help="the command")
    args = parser.parse_args()
    model, data = onnx.load(args.model), np.load(args.data)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = args.plan or folder / "model.plan"
        if not args.plan:
            qconfig(args, "quantize", args.model, "-o", plan)
        qconfig(args, "run", plan, "--data", args.data, "-o", folder / "ours.npy")
        ours, theirs = np.load(folder / "ours.npy"), peer.run(peer.session(args.model, precise=True), data)[0]
        same = (ours.argmax(1) == theirs.argmax(1)).sum()
        last = [n for n in model.graph.node if n.op_type == "DequantizeLinear"][-1]
        held = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        steps = np.abs(np.rint((ours - theirs) / held[last.input[1]]))
        print(f"{args.model}: top-1 equal on {same} of {len(data)} samples; outputs: "
              f"{100 * (steps == 0).mean():.4f} % equal, at most {int(steps.max())} steps apart")
        if args.layers:
            layers(args, model, data[: args.layers], folder)


if __name__ == "__main__":
    main()
