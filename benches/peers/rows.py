"""The rows of the table."""

from dataclasses import dataclass

EVERY = ["onnxruntime", "openvino", "litert", "torch-x86", "torch-onednn", "torch-qnnpack"]


@dataclass
class Row:
    """One piece of work."""

    name: str
    kind: str
    title: str
    # how many times as fast as the best of the others it is to be; 0 where nothing is asked
    aim: float
    peers: list[str]
    # multiply-adds, where they are what counts
    work: int = 0


def linear(kind: str, m: int, n: int, k: int, aim: float, peers: list[str]) -> Row:
    titles = {
        "linear": "linear u8 x s8 -> u8",
        "dynamic": "dynamic linear",
        "fp16": "fp16-weight linear",
    }
    return Row(f"{kind}-{m}x{n}x{k}", kind, f"{titles[kind]} {m}x{n}x{k}", aim, peers, m * n * k)


def elementwise(kind: str, aim: float) -> Row:
    return Row(f"{kind}-56x56x64", kind, f"{kind} u8, 1x56x56x64", aim, EVERY)


def embedding(bits: int) -> Row:
    """Out of a table that no cache holds; other rows with every call."""
    return Row(
        f"embedding{bits}-1048576x32x40x64",
        f"embedding{bits}",
        f"embedding bag {bits}-bit, 32 x 40 x 64",
        1.3,
        ["torch-x86", "torch-qnnpack"],
    )


# what is measured from a cold start
COLD = "mobilenet_v2"
COLD_AIM = 4.0

DYNAMIC = ["onnxruntime", "torch-x86", "torch-onednn", "torch-qnnpack"]

ROWS = [
    Row("mobilenet_v2", "network", "MobileNetV2 1.0 224 int8", 2.0, EVERY),
    Row("mobilenet_v3", "network", "MobileNetV3-small 224 int8", 2.0, EVERY),
    Row("resnet18", "network", "ResNet18 224 int8", 1.3, EVERY),
    linear("linear", 1024, 1024, 1024, 1.3, EVERY),
    linear("linear", 1, 1000, 1280, 1.0, EVERY),
    linear("linear", 1, 4096, 4096, 1.0, EVERY),
    linear("linear", 3136, 64, 64, 1.3, EVERY),
    linear("dynamic", 128, 3072, 768, 1.3, DYNAMIC),
    linear("dynamic", 32, 1024, 1024, 1.3, DYNAMIC),
    linear("fp16", 128, 768, 768, 1.3, ["torch-x86"]),
    # so little work that the call is what takes the time
    linear("linear", 1, 16, 16, 0.0, EVERY),
    Row(
        "lstm-50x256x256",
        "lstm",
        "LSTM int8, 256/256, 50 steps",
        1.3,
        ["onnxruntime", "torch-x86", "torch-onednn", "torch-qnnpack"],
        50 * 4 * 256 * (256 + 256),
    ),
    embedding(8),
    embedding(4),
    elementwise("add", 3.0),
    elementwise("sigmoid", 3.0),
    elementwise("hardswish", 3.0),
]
