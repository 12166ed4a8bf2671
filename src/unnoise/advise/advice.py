"""What a run's own numbers say went wrong with it, and which flags would change that.

Every finding names the figures that it rests on. The thresholds stand in one table, each with its reason.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from unnoise.run import Run
from unnoise.train import TrainConfig

Row: TypeAlias = Mapping[str, Any]

RISE = 0.03  # of the held-out loss above its least: the questions are the same each time, so 1 % is already no chance
GAP = 0.25  # of the training loss below the held-out one: what a network knows by heart, not by law
FALL = 0.04  # of the loss over the last doubling of items: digits, trained until nothing is gained, fall by 0.02
STEADY = 0.015  # a smaller fall tells as much where it is no smaller than the doubling's before: there is no floor yet
STEPS = 500  # below so many optimiser steps nothing has been learned that the first minutes would not undo
SKIPPED = 0.01  # of steps without a finite gradient: a few at the start are a matter of course in half precision
SPIKE = 5.0  # of a tick's mean gradient norm over the median: one step in eighty must then have been 400 times as large
CLEAR = 2.0  # standard deviations of one draw: the gap at which a measure tells samples from real items
PLAIN = 4.0  # and at which it tells them plainly
EPOCHS = 20  # passes over the data below which knowing it by heart is not yet possible


@dataclass(frozen=True)
class Finding:
    """One thing that the numbers say: its name, the sentence for people, the figures, and the flags that change it."""

    name: str  # overfitting, memorised, unstable, too short, weak, unfinished, fine
    sentence: str
    figures: Mapping[str, float | int] = field(default_factory=dict[str, float | int])
    change: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Plain words and numbers."""
        return {
            "name": self.name,
            "sentence": self.sentence,
            "figures": {name: float(value) for name, value in self.figures.items()},
            "change": list(self.change),
        }


@dataclass(frozen=True, eq=False)
class Story:
    """What is known of a run: its history, how it was to train, its data's size and what was measured.

    rows: records of metrics.jsonl; count: items of the training part, 0 where unknown or without end;
    nodes: the resolved recipe; measures: rows of metrics.json by name; descends: whether shares of its loss
    mean anything.
    """

    rows: Sequence[Row]
    train: TrainConfig
    count: int = 0
    nodes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    measures: Mapping[str, Row] = field(default_factory=dict[str, Row])
    descends: bool = True

    @property
    def items(self) -> int:
        """Items seen."""
        return int(self.rows[-1]["items"]) if self.rows else 0

    @property
    def loss(self) -> tuple[np.ndarray, np.ndarray]:
        """(items, training loss) of the records that have one."""
        return _columns([(row["items"], row.get("loss")) for row in self.rows])

    @property
    def held(self) -> tuple[np.ndarray, np.ndarray]:
        """(items, held-out loss) of the first average."""
        return _columns([(row["items"], _first(row["held_out"])["mean"]) for row in self.rows if row.get("held_out")])

    @property
    def epochs(self) -> float:
        """Passes over the training part; 0 where its size is unknown."""
        return self.items / self.count if self.count else 0.0


def advise(run: Run) -> list[Finding]:
    """The findings of a run, the most serious first; a single "fine" where there is nothing to mend."""
    return judge(story(run))


def story(run: Run) -> Story:
    """What a run folder knows of itself."""
    recipe = run.recipe
    return Story(
        run.history, recipe.train, _count(run), recipe.nodes, _measures(run), descends=recipe.objective.descends
    )


def judge(told: Story) -> list[Finding]:
    """Findings from numbers alone. An overfitted run is not told to train longer, whatever its training loss does."""
    if not told.rows:
        return [Finding("unfinished", "Nothing is known yet: no record was written.", {}, ("--resume",))]
    found = [_unstable(told), _overfitting(told), _memorised(told)]
    if not any(found):
        found.append(_short(told))
    if not any(found):
        found.append(_weak(told))
    found.append(_unfinished(told))
    return [finding for finding in found if finding is not None] or [_fine(told)]


def _unstable(told: Story) -> Finding | None:
    items, loss = told.loss
    skipped = max((int(row.get("skipped") or 0) for row in told.rows), default=0)
    share = skipped / max(1, -(-told.items // told.train.batch))
    logged = [row for row in told.rows if "loss" in row]
    broken = sum(row["loss"] is None for row in logged)
    warm = [row["norm"] for row in logged if row.get("norm") and row["items"] > 2 * told.train.warmup]
    spike = max(warm) / float(np.median(warm)) if len(warm) > 3 else 0.0
    signs: list[str] = []
    if share > SKIPPED:
        signs.append(f"{skipped:,} steps ({100 * share:.1f} %) had no finite gradient")
    if broken:
        signs.append(f"{broken} of {len(logged)} records have no finite loss")
    if spike > SPIKE:
        signs.append(f"the gradient's norm rose to {spike:.1f} times its median")
    least = _smoothed(items, loss)
    if told.descends and len(least) > 3 and least[-1] > 1.2 * least.min():
        signs.append(f"the training loss rose from {least.min():.4g} to {least[-1]:.4g}")
    if not signs:
        return None
    change = [f"train.lr={_round(told.train.lr / 3)}", f"train.warmup={_nice(max(2 * told.train.warmup, 20_000))}"]
    if told.train.precision != "float32":
        change.append("train.precision=float32")
    if not told.train.clip:
        change.append("train.clip=1.0")
    figures = {"skipped": skipped, "skipped_share": share, "norm_spike": spike, "broken_records": broken}
    return Finding("unstable", f"Unstable: {_and(signs)}.", figures, tuple(change))


def _overfitting(told: Story) -> Finding | None:
    at, held = told.held
    items, loss = told.loss
    if not len(held) or not len(loss):
        return None
    best = int(held.argmin())
    rise = held[-1] / held[best] - 1 if held[best] > 0 else 0.0
    here = float(loss[items > 0.8 * items[-1]].mean())
    gap = 1 - here / held[-1] if held[-1] > 0 else 0.0
    still = len(held) > 1 and best == len(held) - 1 and held[-2] / held[-1] - 1 > RISE  # falling as fast as ever
    by_heart = gap > GAP and not still and (not told.count or told.epochs > EPOCHS)
    learns = float(np.interp(at[best], items, _smoothed(items, loss))) >= 0.98 * here  # else both rise: no memory does
    if not (rise > RISE and gap > 0 and learns) and not by_heart:
        return None
    figures = {"held_out": held[-1], "least": held[best], "at": at[best], "loss": here, "rise": rise, "gap": gap}
    passes = f" after {told.epochs:,.0f} passes over {told.count:,} items" if told.count else ""
    change: list[str] = []
    if rise > RISE:
        sentence = (
            f"Overfitting: the held-out loss was least, {held[best]:.4g}, at {int(at[best]):,} items and is "
            f"{held[-1]:.4g} now, {100 * rise:.0f} % above; the training loss is {here:.4g}{passes}."
        )
        change.append(f"train.items={_nice(int(at[best]))}")
    else:
        sentence = (
            f"Overfitting: the training loss, {here:.4g}, lies {100 * gap:.0f} % below the held-out one, "
            f"{held[-1]:.4g}{passes}."
        )
        change.append(f"train.items={_nice(max(told.items // 2, told.train.batch))}")
    worst = _worst_level(told)
    if worst is not None:
        level, ratio = worst
        sentence += (
            f" It is worst at log(sigma/alpha) = {level:.1f}, where held-out items cost {ratio:.1f} times as much."
        )
        figures |= {"worst_level": level, "worst_ratio": ratio}
    return Finding("overfitting", sentence, figures, (*change, *_smaller(told), "more data, or --from a larger run"))


def _memorised(told: Story) -> Finding | None:
    copies, two = told.measures.get("near_copies"), told.measures.get("two_sample")
    signs: list[str] = []
    figures: dict[str, float | int] = {}
    if copies is not None and copies["gap"] > CLEAR:
        signs.append(
            f"{100 * copies['value']:.1f} % of samples are near-copies of training items, of held-out items "
            f"{100 * copies['floor']:.1f} %"
        )
        figures |= {"near_copies": copies["value"], "near_copies_floor": copies["floor"]}
    if two is not None and two["value"] < 0.5 and two["gap"] > CLEAR:
        signs.append(f"the two-sample test reads {two['value']:.3f}, below the {two['floor']:.3f} of real items")
        figures |= {"two_sample": two["value"], "two_sample_floor": two["floor"]}
    if not signs:
        return None
    change = (f"train.items={_nice(max(told.items // 2, told.train.batch))}", *_smaller(told), "more data")
    return Finding("memorised", f"Memorised: {_and(signs)}.", figures, change)


def _short(told: Story) -> Finding | None:
    _, loss = told.loss
    steps = -(-told.items // told.train.batch)
    fall, before, what = _last_doubling(told)
    figures = {"steps": steps, "fall": fall, "fall_before": before}
    if steps < STEPS:
        more = _nice(STEPS * 4 * told.train.batch)
        sentence = f"Too short: {steps:,} steps are fewer than the {STEPS} that a network needs to find its feet"
        sentence += f"; the training loss is {loss[-1]:.4g}." if len(loss) else "."
        return Finding("too short", sentence, figures, (f"train.items={more}",))
    if not told.descends or (fall <= FALL and not (fall > STEADY and fall > 0.8 * before)):
        return None
    ratio = float(np.clip(fall / before if before > 0 else 0.5, 0.25, 0.9))  # each doubling gains so much of the last
    doublings = int(np.clip(np.ceil(np.log(STEADY / fall) / np.log(ratio)), 1, 4))
    sentence = (
        f"Too short: the last doubling of items, to {told.items:,}, lowered the {what} loss by {100 * fall:.0f} %; "
        f"another would by about {100 * fall * ratio:.0f} %."
    )
    return Finding("too short", sentence, figures, (f"train.items={_nice(told.train.items << doublings)}",))


def _weak(told: Story) -> Finding | None:
    off = [row for name, row in told.measures.items() if name != "near_copies" and row["gap"] > PLAIN]
    if not off:
        return None
    worst = max(off, key=lambda row: row["gap"])
    figures = {worst["name"]: worst["value"], f"{worst['name']}_floor": worst["floor"], "gap": worst["gap"]}
    name = str(worst["name"]).replace("_", " ")
    sentence = (
        f"Weak: the loss has settled, yet {name} reads {worst['value']:.3g} where real items read "
        f"{worst['floor']:.3g}: the network or the sampler is too small."
    )
    return Finding("weak", sentence, figures, (*_larger(told), "--steps 50, to rule the sampler out"))


def _unfinished(told: Story) -> Finding | None:
    if told.items >= told.train.items:
        return None
    share = told.items / told.train.items
    sentence = f"Unfinished: {told.items:,} of {told.train.items:,} items ({100 * share:.0f} %) were seen."
    return Finding("unfinished", sentence, {"items": told.items, "of": told.train.items}, ("--resume",))


def _fine(told: Story) -> Finding:
    fall, _, what = _last_doubling(told)
    _, held = told.held
    figures: dict[str, float | int] = {"fall": fall}
    sentence = f"Fine: the last doubling of items changed the {what} loss by {100 * fall:.1f} %"
    if not told.descends:
        figures, sentence = {}, "Fine as far as numbers tell: this objective's loss is none to judge the course by"
    if len(held):
        figures |= {"held_out": held[-1], "least": held.min()}
        sentence += f", and the held-out loss stands at {held[-1]:.4g}, its least {held.min():.4g}"
    if not told.measures:
        return Finding("fine", f"{sentence}. Whether it copies its data, an evaluation would tell.", figures)
    worst = max(told.measures.values(), key=lambda row: row["gap"])
    name = str(worst["name"]).replace("_", " ")
    figures |= {"gap": worst["gap"]}
    sentence += f"; of {len(told.measures)} measures {name} is furthest from real, by {worst['gap']:.1f} deviations"
    return Finding("fine", f"{sentence}.", figures)


def _last_doubling(told: Story) -> tuple[float, float, str]:
    """By what share the loss fell from half of the items to all, and from a quarter to half; and which loss."""
    what = "held-out"
    at, loss = told.held
    if not (len(at) > 2 and at[0] <= 0.3 * at[-1]):
        what = "training"
        items, raw = told.loss
        at, loss = items, _smoothed(items, raw)
    if len(at) < 2 or at[0] > 0.6 * at[-1]:
        return 0.0, 0.0, what
    whole, half, quarter = (float(np.interp(share * at[-1], at, loss)) for share in (1.0, 0.5, 0.25))
    before = 1 - half / quarter if at[0] <= 0.3 * at[-1] and quarter > 0 else 0.0
    return 1 - whole / half if half > 0 else 0.0, before, what


def _worst_level(told: Story) -> tuple[float, float] | None:
    """The noise level at which held-out loss exceeds training loss the most, and by what factor."""
    held = next((_first(row["held_out"]) for row in reversed(told.rows) if row.get("held_out")), None)
    last = [row for row in told.rows if row.get("levels") and row["items"] > 0.8 * told.items]
    if held is None or not last:
        return None
    pairs = np.array([pair for row in last for pair in zip(row["levels"], row["losses"], strict=True)])
    levels = np.unique(pairs[:, 0])
    means = np.array([pairs[pairs[:, 0] == level, 1].mean() for level in levels])
    noise, loss = np.array(held["noise"]), np.array(held["loss"])
    inside = (noise >= levels[0]) & (noise <= levels[-1])
    if not inside.any():
        return None
    ratio = loss[inside] / np.maximum(np.interp(noise[inside], levels, means), 1e-12)
    return float(noise[inside][ratio.argmax()]), float(ratio.max())


def _smaller(told: Story) -> list[str]:
    """Flags for a network that can know less by heart."""
    net = told.nodes.get("net") or {}
    flags = [] if net.get("dropout") else ["net.dropout=0.1"]
    data: Any = told.nodes.get("modality") or {}
    if data.get("kind") == "image" and (told.nodes.get("augment") or {}).get("kind", "nothing") == "nothing":
        flags.append("augment=warp")
    if net.get("kind") == "mlp":
        return [*flags, f"net.width={max(16, int(net['width']) // 2)}"]
    if net.get("widths") and min(net["widths"]) >= 16:
        return [*flags, f"net.widths={_list(int(w) // 2 for w in net['widths'])}"]
    return flags


def _larger(told: Story) -> list[str]:
    net = told.nodes.get("net") or {}
    if net.get("kind") == "mlp":
        return [f"net.width={2 * int(net['width'])}"]
    if net.get("widths"):
        return [f"net.widths={_list(3 * int(w) // 2 for w in net['widths'])}"]
    return []


def _smoothed(items: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """At each record the mean of those since 4/5 of its items: a doubling is told apart, a step's noise is not."""
    return np.array([loss[(items > 0.8 * place) & (items <= place)].mean() for place in items])


def _columns(pairs: Sequence[tuple[Any, Any]]) -> tuple[np.ndarray, np.ndarray]:
    kept = np.array([pair for pair in pairs if pair[1] is not None], dtype=np.float64).reshape(-1, 2)
    return kept[:, 0], kept[:, 1]


def _first(held_out: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(iter(held_out.values()))


def _nice(count: int) -> int:
    """A count in two digits."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return max(unit, round(count / unit) * unit)


def _round(value: float) -> str:
    return f"{value:.1g}"


def _count(run: Run) -> int:
    """Items of the training part."""
    return run.recipe.facts().items


def _measures(run: Run) -> dict[str, Row]:
    """The rows of metrics.json by name, if these weights were measured with the recipe's sampler; else none."""
    path: Path = run.folder / "metrics.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        measured = {str(row["name"]): row for row in told["measures"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return measured if told.get("weights") == run.weights else {}


def _list(numbers: Any) -> str:
    return f"[{','.join(map(str, numbers))}]"


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


__all__ = ["Finding", "Story", "advise", "judge", "story"]
