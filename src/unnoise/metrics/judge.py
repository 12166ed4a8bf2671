"""A classifier of one's own labels, trained once for a data set: features of what its classes differ in, and labels.

A Fréchet distance on Inception's features of X-ray pictures says how they differ in what tells dogs from aeroplanes. A
small network trained on the data's own labels reads what matters there; it is trained in seconds to a minute, always
the same way, and kept beside the decoded data.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import nn

from unnoise import files
from unnoise.config import UserError
from unnoise.data import Items, Source
from unnoise.metrics.weights import digest_of
from unnoise.reading import progress
from unnoise.reading.paths import cache_folder, found
from unnoise.rng import host
from unnoise.tensor import Float, Tensor

FORMAT, KIND = 1, "unnoise classifier"
FEATURES = 32
SIDE = 32  # larger pictures are reduced by area to at most this: what a class is shows there
EPOCHS, FEWEST, MOST = 30, 12_800, 25_600  # passes over the training part, within so many items seen
BATCH, RATE, DECAY = 128, 2e-3, 0.05
HELD_OUT = 2000  # items of the test part that the accuracy is counted on, at most
ENOUGH = 5000  # items that the scale of the input and of the features is taken of, at most


class JudgeNet(nn.Module):
    """Raw items (B, *shape) as float32 → features (B, 32) and logits (B, K).

    Pictures (C, H, W): five 3 × 3 convolutions at 32 to 128 channels, the first of every other pixel where there are
    many, with means of 2 × 2 between, then the mean over quarters. All else is flattened into a perceptron of two
    layers of 256. The input is standardised, each channel or number by its own; features are divided by one number
    such that their mean variance is 1.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, image: bool) -> None:
        super().__init__()
        self.image = image
        self.mean: Tensor
        self.deviation: Tensor
        self.scale: Tensor
        inner = (shape[0], 1, 1) if image else (int(np.prod(shape)),)
        self.register_buffer("mean", torch.zeros(inner))
        self.register_buffer("deviation", torch.ones(inner))
        self.register_buffer("scale", torch.ones(()))
        self.body = nn.Sequential(*(_pictures(shape[0], min(shape[1:])) if image else _numbers(inner[0])))
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, x: Float[Tensor, "B *shape"]) -> tuple[Float[Tensor, "B F"], Float[Tensor, "B K"]]:
        features = self.body((self.seen(x) - self.mean) / self.deviation)
        return features / self.scale, self.head(nn.functional.silu(features))

    def seen(self, x: Float[Tensor, "B *shape"]) -> Tensor:
        """What it looks at: large pictures reduced, all else in a row."""
        if not self.image:
            return x.flatten(1)
        factor = max(x.shape[2:]) / SIDE
        if factor <= 1:
            return x
        sides = [max(1, round(side / factor)) for side in x.shape[2:]]
        return nn.functional.interpolate(x, sides, mode="area")


def _pictures(channels: int, side: int) -> list[nn.Module]:
    layers, width = list[nn.Module](), channels
    stride = 2 if side >= SIDE // 2 else 1
    for outputs, halved in ((32, False), (32, True), (64, False), (64, True), (128, False)):
        layers += [nn.Conv2d(width, outputs, 3, stride, 1), nn.GroupNorm(8, outputs), nn.SiLU()]
        layers += [nn.AvgPool2d(2, ceil_mode=True)] if halved else []
        width, stride = outputs, 1
    return [*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, FEATURES)]


def _numbers(columns: int) -> list[nn.Module]:
    return [
        nn.Linear(columns, 256), nn.LayerNorm(256), nn.SiLU(),
        nn.Linear(256, 256), nn.LayerNorm(256), nn.SiLU(), nn.Linear(256, FEATURES),
    ]  # fmt: skip


@dataclass(frozen=True)
class Known:
    """What is told of a classifier: of which data, its classes and items' shape, and how often it is right."""

    source: str
    data: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    image: bool
    seen: int
    accuracy: float
    held_out: int

    @property
    def told(self) -> str:
        """In a sentence."""
        return (
            f"the classifier of {self.source} is right on {100 * self.accuracy:.1f} % of {self.held_out:,} held-out "
            f"items of {len(self.classes)} classes"
        )


class Judge:
    """Features (N, 32), labels and class probabilities of raw items (N, *shape)."""

    def __init__(self, net: JudgeNet, known: Known, device: str = "cpu", name: str = "classifier") -> None:
        self.name, self.digest, self.known = name, digest_of(net), known
        self.device = torch.device(device)
        self.net = net.to(self.device).eval().requires_grad_(False)

    def features(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """(N, 32)."""
        return self._run(raw)[0]

    def probabilities(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """(N, K), each row of sum 1."""
        logits = self._run(raw)[1]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def predict(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """(N,) the likeliest label."""
        return self._run(raw)[1].argmax(axis=1)

    @torch.no_grad()
    def _run(self, raw: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        if raw.shape[1:] != self.known.shape:
            raise UserError(f"the classifier reads items of the shape {self.known.shape}, got {raw.shape[1:]}")
        found: tuple[list[Tensor], list[Tensor]] = [], []
        for first in range(0, max(len(raw), 1), 1024):
            x = torch.from_numpy(np.asarray(raw[first : first + 1024], np.float32)).to(self.device)
            for kept, answer in zip(found, self.net(x), strict=True):
                kept.append(answer.cpu().double())
        return torch.cat(found[0]).numpy(), torch.cat(found[1]).numpy()


def judge_of(source: Source, device: str = "cpu") -> Judge:
    """The classifier of a source's labels: the one kept for these very data, or one trained now and kept."""
    if len(source.classes) < 2:
        has = "has no labels" if not source.classes else f"has the one label '{source.classes[0]}'"
        raise UserError(f"a classifier is trained on labels of two classes or more, and {source.name} {has}")
    split = getattr(source, "held_out", None), getattr(source, "seed", None)  # the same items, divided otherwise
    key = hashlib.sha256(repr((FORMAT, source.name, source.digest, *split)).encode()).hexdigest()[:40]
    path = cache_folder() / "classifiers" / f"{key}.safetensors"
    if path.exists():
        try:
            return opened(path, device)
        except UserError:  # damaged or of another version: it is made again
            pass
    net, known = trained(source)
    told = {"kind": KIND, "format": str(FORMAT), "known": json.dumps(asdict(known))}
    files.put(path, save({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, told))
    return Judge(net, known, device)


def opened(path: str | Path, device: str = "cpu") -> Judge:
    """A classifier from the file it was kept in."""
    place = found(str(path), "classifier")
    try:
        with safe_open(place, "pt") as file:
            told = file.metadata() or {}
        if told.get("kind") != KIND or told.get("format") != str(FORMAT):
            raise UserError(f"{place} holds no classifier that this version reads")
        facts: dict[str, Any] = json.loads(told["known"])
        facts |= {name: tuple(facts[name]) for name in ("classes", "shape")}
        known = Known(**facts)
        net = JudgeNet(known.shape, len(known.classes), known.image)
        net.load_state_dict(load(place.read_bytes()))
    except (SafetensorError, OSError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        raise UserError(f"{place} holds no classifier: {str(error).splitlines()[0]}") from None
    return Judge(net, known, device)


def trained(source: Source) -> tuple[JudgeNet, Known]:
    """A classifier of the training part, the same each time: AdamW 0.002 falling to 0, label smoothing 0.05."""
    train, test = source.split("train"), source.split("test")
    image, shape = source.raw == "image", tuple(train.items.shape[1:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = JudgeNet(shape, len(source.classes), image)
    rng = host("judge", source.digest)
    some = np.sort(rng.permutation(len(train))[:ENOUGH])
    _standardise(net, _batch(train, some)[0])
    seen = min(max(EPOCHS * len(train), FEWEST), MOST)
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    steps = seen // BATCH
    course = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min((step + 1) / 50, 1) * (1 - step / steps))
    order, place = rng.permutation(len(train)), 0
    for step in range(steps):
        if place + BATCH > len(order):
            order, place = np.concatenate([order[place:], rng.permutation(len(train))]), 0
        x, label = _batch(train, order[place : place + BATCH])
        place += BATCH
        loss = nn.functional.cross_entropy(net(x)[1], label, label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        course.step()
        if step % 10 == 0:
            progress.tell("training the classifier", step / steps, step * BATCH)
    net.eval().requires_grad_(False)
    progress.tell("training the classifier", 1.0, seen)
    features, _ = _answers(net, train, some)
    net.scale.copy_(features.var(dim=0).mean().sqrt().clamp(min=1e-6))
    rows = np.sort(rng.permutation(len(test))[:HELD_OUT])
    right = (_answers(net, test, rows)[1].argmax(dim=1).numpy() == test.cond["label"][rows]).mean()
    known = Known(source.name, source.digest, tuple(source.classes), shape, image, seen, float(right), len(rows))
    return net, known


def _batch(items: Items, rows: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    raw, cond = items.take(rows)
    return torch.from_numpy(np.asarray(raw, np.float32)), torch.from_numpy(np.asarray(cond["label"], np.int64))


def _standardise(net: JudgeNet, x: Tensor) -> None:
    """Mean and deviation of what the network sees, of a channel or of a number."""
    seen = net.seen(x)
    axes = (0, 2, 3) if net.image else (0,)
    net.mean.copy_(seen.mean(dim=axes).reshape(net.mean.shape))
    deviation = seen.std(dim=axes, correction=0).reshape(net.mean.shape)
    net.deviation.copy_(torch.where(deviation > 0, deviation, 1.0))


@torch.no_grad()
def _answers(net: JudgeNet, items: Items, rows: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    parts = [net(_batch(items, rows[i : i + 1024])[0]) for i in range(0, len(rows), 1024)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


__all__ = ["Judge", "JudgeNet", "Known", "judge_of", "opened", "trained"]
