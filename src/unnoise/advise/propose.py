"""From a path to a recipe: what the data say, by rules that one can read, and what this machine can do in the time."""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from unnoise.advise import machine
from unnoise.advise.cost import Cost, measure
from unnoise.advise.survey import Survey, name_of, survey
from unnoise.config import UserError, build
from unnoise.data import SPLITS, Source
from unnoise.data.standard import standard
from unnoise.modality import Modality
from unnoise.recipe import NODES, TABLES, Recipe, override, resolve
from unnoise.train import TrainConfig

SECONDS = 3.0  # for which steps are measured
LOOKED = 2000  # training items whose deviation is measured
SHARE = 0.85  # of the time for steps; the rest is for held-out losses, samples, checkpoints and the start
MARKS = 8  # held-out losses along the way: enough to see where one turns
FILMS = 6  # times that samples are drawn along the way
DRAWN = 160  # training items that one drawing costs as much as: 16 samples of 30 questions, a third of a step each
BESIDE = 0.05  # of the time for held-out losses, and again for samples, at the most
ASKED = 32  # held-out items at the least, however slow
STEPS = 250  # fewer in the time asked for, and the network is halved: its steps cost a third
SAVING = 1.02  # of the time for steps: averages, logs and checkpoints beside them
START = 2.0  # seconds before the first step
LEAST = 20  # steps, however short the time


@dataclass(frozen=True)
class Found:
    """What rules may ask. Before the data are opened only kind, side, one_size, device and minutes are known."""

    kind: str  # "pictures", "array" (of any rank) or "rows" (points and tables)
    device: str
    minutes: float | int
    side: int = 0
    one_size: tuple[int, int] | None = None
    sides: tuple[int, ...] = ()  # the smallest and the largest side of the pictures
    total: int = 0  # items in all parts
    count: int = 0  # of the training part
    shape: tuple[int, ...] = ()  # of one encoded item
    labels: Mapping[str, int] = field(default_factory=dict[str, int])  # items of each, in all parts
    deviation: float | int = 0.0  # of encoded numbers about their overall mean
    bfloat16: bool = False  # in this machine's hardware
    patches: bool = False  # cut out of larger pictures

    @staticmethod
    def of(seen: Survey, device: str = "cpu", minutes: float | int = 10.0) -> "Found":
        """What is known of data before they are opened."""
        lengths = [length for size in seen.sides for length in size]
        ends = (min(lengths), max(lengths)) if lengths else ()
        return Found(seen.kind, device, minutes, seen.side, seen.one_size, ends)

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """The longest side of an item."""
        return max(self.shape[1:], default=0)

    @property
    def fast(self) -> bool:
        return self.device != "cpu"


@dataclass(frozen=True)
class Rule:
    """The first rule of a key that holds decides it."""

    key: str
    value: Any  # or a function of Found
    because: str
    when: Callable[[Found], bool] = lambda f: True


def _at_most(size: int) -> Callable[[Found], bool]:
    return lambda f: f.size <= size


def _rows(f: Found) -> bool:
    return f.kind == "rows"


RULES: tuple[Rule, ...] = (
    Rule("data.size", lambda f: list(f.one_size), "all have this size, small enough to be kept as it is",
         lambda f: f.one_size is not None and max(f.one_size) <= 40),
    Rule("data.size", lambda f: max(8, f.side // 4 * 4), "three in four are no larger, and enlarging adds nothing",
         lambda f: f.side < 32),
    Rule("data.size", 64, "a GPU and pictures large enough", lambda f: f.fast and f.side >= 64 and f.minutes >= 10),
    Rule("data.size", 64, "an hour and more, and pictures large enough", lambda f: f.side >= 64 and f.minutes >= 60),
    Rule("data.size", 32, "at twice the side a step takes four times as long, and more items are needed"),

    Rule("augment", {"kind": "warp"}, "few pictures: shown moved, turned and zoomed too, which the network is told of",
         lambda f: f.kind == "pictures" and f.count < 5000 and f.size > 12),
    Rule("augment", {"kind": "nothing"}, "items enough, or none that can be moved"),

    Rule("process.schedule", {"kind": "karras", "sigma_min": 0.005, "sigma_max": 20},
         "noise that covers items of few numbers", lambda f: f.kind != "pictures" and f.numbers <= 64),
    Rule("process.schedule", {"kind": "karras", "sigma_min": 0.01, "sigma_max": 20},
         "noise that covers items of few numbers, down to a level of grey", lambda f: f.numbers <= 200),
    Rule("process.schedule", {"kind": "karras", "sigma_min": 0.01, "sigma_max": 80},
         "noise that covers pictures and fields, down to a level of grey (Karras et al., 2022)"),

    Rule("net", lambda f: {"kind": "mlp", "width": 128, "depth": 4, "dropout": 0.1},
         "few rows: a small perceptron, with dropout", lambda f: _rows(f) and f.count < 2000),
    Rule("net", {"kind": "mlp", "width": 128, "depth": 4}, "points of the plane or of space: a small perceptron",
         lambda f: _rows(f) and f.numbers <= 3),
    Rule("net", {"kind": "mlp", "width": 256, "depth": 4}, "rows of numbers: a perceptron",
         lambda f: _rows(f) and f.numbers <= 32),
    Rule("net", {"kind": "mlp", "width": 512, "depth": 4}, "long rows: a wide perceptron", _rows),
    Rule("net", {"kind": "unet", "widths": [32, 64], "blocks": 1, "embed_width": 64},
         "items this small need two levels", _at_most(12)),
    Rule("net", {"kind": "unet", "widths": [64, 128, 256], "blocks": 2, "attention": [2, 3], "groups": 32},
         "a GPU trains a wide one in the same time", lambda f: f.fast and f.size <= 40),
    Rule("net", {"kind": "unet", "widths": [64, 128, 192, 256], "blocks": 2, "attention": [3, 4], "groups": 32},
         "a GPU trains a wide one in the same time", lambda f: f.fast),
    Rule("net", {"kind": "unet", "widths": [32, 64, 96], "blocks": 1, "dropout": 0.1},
         "three levels, with dropout, as the items are few", lambda f: f.size <= 40 and f.count < 500),
    Rule("net", {"kind": "unet", "widths": [32, 64, 96], "blocks": 1}, "three levels see all of an item", _at_most(40)),
    Rule("net", {"kind": "unet", "widths": [32, 64, 96, 128], "blocks": 1}, "four levels see all of an item"),

    Rule("target", lambda f: {"kind": "edm", "sigma_data": float(f"{max(f.deviation, 0.05):.2g}")},
         "answers of unit size at every noise; the data's deviation was measured"),

    Rule("objective.levels", {"kind": "log_normal", "mean": -0.4, "std": 1.6},
         "fine structure in few numbers: small noise counts", lambda f: _rows(f) and f.numbers <= 3),
    Rule("objective.levels", {"kind": "log_normal", "mean": -0.4, "std": 1.2},
         "standardised numbers", lambda f: f.kind != "pictures"),
    Rule("objective.levels", {"kind": "log_normal", "mean": -1.0, "std": 1.2}, "small pictures", _at_most(12)),
    Rule("objective.levels", {"kind": "log_normal", "mean": -1.2, "std": 1.2},
         "where pictures take shape (Karras et al., 2022)"),

    Rule("train.batch", lambda f: 1 << int(np.clip(math.log2(max(f.count, 2) / 8), 5, 10)),
         "about eight steps a pass, 32 to 1,024 rows a step", _rows),
    Rule("train.batch", 128, "keeps a GPU busy", lambda f: f.fast),
    Rule("train.batch", 32, "few items: more steps in the same time", lambda f: f.count < 500),
    Rule("train.batch", 64, "more is no faster on a processor"),

    Rule("train.lr", 4.0e-3, "large batches of rows", lambda f: _rows(f) and f.count >= 8192),
    Rule("train.lr", 2.0e-3, "small batches of rows, and small pictures", lambda f: _rows(f) or f.size <= 12),
    Rule("train.lr", 1.0e-3, "as the recipe `shapes`"),

    Rule("train.precision", "bfloat16", "this machine multiplies it in hardware, half as long and as well",
         lambda f: f.bfloat16 and not (_rows(f) and f.numbers <= 3)),
    Rule("train.precision", "float32", "points of few numbers are drawn finer, or no other is fast here"),

    Rule("sample", {"sampler": "dpmpp_2m", "steps": 40}, "fine structure", lambda f: _rows(f) and f.numbers <= 3),
    Rule("sample", {"sampler": "dpmpp_2m", "steps": 30}, "the second order at one question a step"),
)  # fmt: skip

# Training items, and what to expect of them: the first line that holds.
PICTURES = (
    (100, "{n} pictures: the model will know them by heart rather than learn what they share. Fine-tune a trained run "
          "(--from RUN), or collect about 1,000"),
    (1_000, "{n} pictures are few: samples will resemble single ones; watch the near-copies. More pictures help more "
            "than more time"),
    (10_000, "{n} pictures of one kind of thing are enough at this size; of many kinds they are few"),
    (math.inf, "{n} pictures are enough at this size: what is seen of them is set by the time"),
)  # fmt: skip
ROWS = (
    (200, "{n} rows: means, deviations and correlations will be right, finer structure not; more rows help most"),
    (2_000, "{n} rows show the main structure; rare combinations will be missing"),
    (math.inf, "{n} rows are enough for a law of {d} numbers"),
)
PASSES = {"pictures": (100, 20_000), "array": (100, 20_000), "rows": (100, 50_000)}  # most passes; items at the least
CHANGED = (300, 60_000)  # the same of pictures that are augmented: no pass shows them as the one before
GOOD = {"pictures": 200_000, "array": 200_000, "rows": 500_000}  # items by which such a network has learned
PATCHES = "data.kind=patches"  # the override that cuts pictures up
ROOM = 96  # pixels of a side from which on pictures can be cut into patches
RARE = 20  # items of a label below which it is drawn poorly


@dataclass(frozen=True)
class Reason:
    """Why a key of the recipe is what it is."""

    key: str
    value: Any
    because: str


@dataclass(frozen=True)
class Plan:
    """A recipe inferred from data, with its reasons, its cost (None: not measured) and what to expect of it."""

    recipe: Recipe
    found: Found
    said: tuple[str, ...]
    reasons: tuple[Reason, ...]
    expectation: tuple[str, ...]
    parameters: int
    cost: Cost | None = None

    @property
    def seconds(self) -> tuple[float, float, float] | None:
        """From start to end: by the median step, and by the fast and the slow quarter of steps."""
        return None if self.cost is None else seconds_of(self.recipe.train, self.cost)


def seconds_of(train: TrainConfig, cost: Cost) -> tuple[float, float, float]:
    """How long a training takes from start to end: by the median step, and by the fast and the slow quarter."""
    marks = train.items / train.validate_every if train.validate_every else 0.0
    films = train.items / train.sample_every if train.sample_every else 0.0
    asked = min(1.0, train.validate_items / cost.asked)
    rest = marks * asked * cost.validate + START

    def at(rate: float) -> float:
        return (train.items + films * DRAWN) / rate * SAVING + rest

    slow, fast = cost.spread
    return at(cost.rate), at(fast), at(slow)


def infer(path: str | Path, *overrides: str, minutes: float | int = 10.0, device: str = "cpu") -> Recipe:
    """The recipe for a folder, archive, array or table of one's own: what to train is told by the data alone.

    overrides: node.key=value, stronger than any rule; minutes: the time that training may take on `device`, measured
    by a few real steps.
    """
    return plan(path, overrides, minutes, device).recipe


def plan(
    path: str | Path,
    overrides: Sequence[str] = (),
    minutes: float | int = 10.0,
    device: str = "cpu",
    seconds: float | None = None,
    name: str | None = None,
) -> Plan:
    """The inferred recipe with its reasons. seconds: how long steps are measured, SECONDS if silent; 0: not at all."""
    if not 0 < minutes < math.inf:
        raise UserError(f"minutes of training are above 0, got {minutes:g}")
    seen = survey(path)
    named = name or name_of(path)
    found = Found.of(seen, device, minutes)
    nodes: dict[str, Any] = {"data": dict(seen.node)}
    reasons: list[Reason] = []
    if seen.kind == "pictures" and PATCHES in overrides:
        nodes["data"] = {"kind": "patches", "of": nodes["data"]["path"]}
        found = replace(found, patches=True)
    if seen.kind == "pictures":
        reasons += _apply(nodes, found, ("data.size",))
    forced = _given(overrides)
    wanted = override(nodes, [word for word in overrides if word.startswith("data.")])
    source: Source = build(Source, wanted["data"], TABLES, f"{named}: data")[0]
    modality = {**standard(source), **({"dequantise": True} if source.raw == "image" else {})}
    nodes["modality"] = modality
    found = _opened(found, source, modality, named)
    keys = [key for key in dict.fromkeys(rule.key for rule in RULES) if not key.startswith("data.")]
    reasons += _apply(nodes, found, keys)
    nodes["train"] |= {"items": found.count, "validate_every": found.count}  # until the rate is known
    made = resolve(named, override(nodes, overrides), given=source)
    _refuse_none(made)
    seconds = SECONDS if seconds is None else seconds
    cost = measure(made, device, seconds) if seconds > 0 else None
    widths = nodes["net"].get("widths", ())
    steps = math.inf if cost is None else cost.rate * minutes * 60 * SHARE / made.train.batch
    if steps < STEPS and widths and min(widths) >= 32 and not any(word.startswith("net") for word in forced):
        nodes["net"] |= {"widths": [width // 2 for width in widths]}
        reasons = [reason for reason in reasons if reason.key != "net"]
        reasons.append(Reason("net", nodes["net"], f"half as wide as usual, as the time allows {steps:.0f} steps else"))
        made = resolve(named, override(nodes, overrides), given=source)
        cost = measure(made, device, seconds)
    parameters = made.denoiser().net.parameter_count()
    train, because = _lengths(made.train, found, cost, forced, made.augment.width > 0)
    reasons.append(Reason("train.items", train.items, because))
    nodes["train"] |= {key: getattr(train, key) for key in _LENGTHS}
    made = replace(made, train=train, nodes={**made.nodes, "train": {**made.nodes["train"], **_plain(train)}})
    kept = tuple(reason for reason in reasons if not any(word.startswith(reason.key) for word in forced))
    said = (*seen.said, *getattr(source, "warnings", ()))
    if PATCHES in overrides:
        said += ("patches of the same picture overlap: they tell less than as many pictures would",)
    return Plan(made, found, said, kept, tuple(expectation(found, train, cost)), parameters, cost)


_LENGTHS = ("items", "warmup", "log_every", "validate_every", "validate_items", "sample_every", "checkpoint_every")


def choose_size(found: Found) -> Any:
    """The size at which pictures are seen: the first rule that holds."""
    nodes: dict[str, Any] = {}
    _apply(nodes, found, ("data.size",))
    return nodes["data"]["size"]


def _apply(nodes: dict[str, Any], found: Found, keys: Sequence[str]) -> list[Reason]:
    """Sets the keys by the first rule of each that holds."""
    reasons: list[Reason] = []
    for key in keys:
        rule = next(rule for rule in RULES if rule.key == key and rule.when(found))
        value = rule.value(found) if callable(rule.value) else deepcopy(rule.value)  # the table stays as it is
        node, _, inner = key.partition(".")
        if inner:
            nodes.setdefault(node, {})[inner] = value
        else:
            nodes[node] = value
        reasons.append(Reason(key, value, rule.because))
    return reasons


def _opened(found: Found, source: Source, modality: Mapping[str, Any], name: str) -> Found:
    """What the data themselves say, once they are read."""
    made, _ = build(Modality, dict(modality), TABLES, f"{name}: modality")
    items = source.split("train")
    few = np.unique(np.linspace(0, len(items) - 1, min(len(items), LOOKED)).astype(np.int64))
    x = made.encode(items.take(few)[0]).double().numpy()
    labels: dict[str, int] = {}
    if source.classes:
        parts = [source.split(part).cond["label"] for part in SPLITS]
        counts = np.bincount(np.concatenate(parts), minlength=len(source.classes))
        labels = dict(zip(source.classes, counts.tolist(), strict=True))
    kind = {"image": "pictures", "points": "rows"}.get(source.raw, "array")
    here = machine.machine()
    quick = here.bfloat16 if found.device == "cpu" else any(d.bfloat16 for d in here.devices)
    return replace(
        found,
        kind=kind,
        total=sum(len(source.split(part)) for part in SPLITS),
        count=len(items),
        shape=tuple(x.shape[1:]),
        labels=labels,
        deviation=float(x.std()),
        bfloat16=quick,
    )


def _lengths(
    train: TrainConfig, found: Found, cost: Cost | None, forced: Sequence[str], augmented: bool
) -> tuple[TrainConfig, str]:
    """Items by the time and by the amount of data, whichever is less; and all other lengths as shares of them."""
    passes, least = PASSES[found.kind] if not augmented else CHANGED
    most = max(passes * found.count, least)
    in_time = math.inf if cost is None else cost.rate * found.minutes * 60 * SHARE
    if any(word.startswith("train.items=") for word in forced):
        items, because = train.items, "as asked"
    elif in_time < most:
        time = f"{found.minutes:g} minute{'s allow' if found.minutes != 1 else ' allows'}"
        items, because = int(in_time), f"what {time} at {_rate(cost)} items a second"
    else:
        items, because = most, "more passes would be learned by heart"
    items = max(items, LEAST * train.batch)
    items = -(-items // train.batch) * train.batch
    spare = math.inf if cost is None else BESIDE * items / cost.rate  # seconds for each of the two
    once = max(cost.validate if cost else 0.0, 1e-9)
    marks = int(np.clip(spare / once, 2, MARKS))
    films = int(np.clip(spare / max(DRAWN / cost.rate if cost else 0.0, 1e-9), 0, FILMS))
    lengths = {
        "items": items,
        "warmup": min(10_000, items // 10),
        "log_every": max(train.batch, items // 50),
        "validate_every": max(train.batch, items // marks),
        "sample_every": items // films if found.kind == "pictures" and films else 0,
        "checkpoint_every": max(train.batch, items // 4),
        "validate_items": max(ASKED, int(train.validate_items * min(1.0, spare / (marks * once)))),
    }
    own = {word.partition("=")[0].removeprefix("train.") for word in forced}
    return replace(train, **{key: value for key, value in lengths.items() if key not in own - {"items"}}), because


def expectation(found: Found, train: TrainConfig, cost: Cost | None) -> list[str]:
    """What so much data and so long a training will bring, honestly: a sentence each."""
    table = ROWS if found.kind == "rows" else PICTURES
    text = next(text for limit, text in table if found.total < limit)
    if found.kind == "array" or found.patches:
        text = text.replace("pictures", "items" if found.kind == "array" else "patches")
    said = [text.format(n=f"{found.total:,}", d=found.numbers) + "."]
    if found.kind == "pictures" and found.total < 100 and found.side >= ROOM:
        said.append(f"Or learn what surfaces look like: {PATCHES} cuts them into thousands of patches.")
    rare = [name for name, count in found.labels.items() if count < RARE]
    if rare:
        few = ", ".join(rare[:4]) + (f" and {len(rare) - 4} more" if len(rare) > 4 else "")
        said.append(f"Labels with fewer than {RARE} items will be drawn poorly: {few}.")
    if train.items < 0.5 * GOOD[found.kind] and train.items < PASSES[found.kind][0] * found.count:
        need = "" if cost is None else f" (some {_minutes(GOOD[found.kind] / cost.rate / SHARE)} here)"
        first = "colours and coarse shapes" if found.kind == "pictures" else "the coarse structure"
        said.append(
            f"{train.items:,} items seen bring {first}; detail comes by about {GOOD[found.kind]:,}{need}."
        )  # fmt: skip
    return said


def _given(overrides: Sequence[str]) -> list[str]:
    """The overrides of nodes there are; what is wrong with others is told when they are applied."""
    return [word for word in overrides if word.partition(".")[0] in NODES]


def _refuse_none(recipe: Recipe) -> None:
    if recipe.facts().items < 1:
        raise UserError(f"{recipe.name} has no item left to train on")


def _plain(train: TrainConfig) -> dict[str, Any]:
    return {key: getattr(train, key) for key in _LENGTHS}


def _rate(cost: Cost | None) -> str:
    return "?" if cost is None else f"{cost.rate:,.0f}"


def _minutes(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.0f} h"


__all__ = ["RULES", "Found", "Plan", "Reason", "Rule", "choose_size", "expectation", "infer", "plan", "seconds_of"]
