"""How training went: loss over items, loss by noise level, rate."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from unnoise.config import UserError
from unnoise.report.style import HALF, WIDE, Numbers, Theme, count_axis, figure, themed

AVERAGES = "Held-out loss by the width of the average"
WINDOW = 0.05  # of the items seen so far: the width of the smoothing


@dataclass(frozen=True)
class History:
    """What the trainer wrote down, in order of items."""

    items: Numbers  # items seen at each record
    loss: Numbers  # mean training loss since the record before
    held_items: Numbers = ()
    held: Numbers = ()  # held-out loss
    seconds: Numbers = ()  # spent in training at each of `items`
    others: Mapping[str, Numbers] = field(default_factory=dict[str, Numbers])  # held-out loss of further averages
    name: str = ""  # of the average that `held` is of, where there are others

    @staticmethod
    def of(rows: Iterable[Mapping[str, Any]], loss: str = "loss", held: str = "held_loss") -> "History":
        """From records as they stand in metrics.jsonl; a record has the fields it has."""
        kept = list(rows)
        items, losses = columns(kept, "items", loss)
        held_items, helds = columns(kept, "items", held)
        _, seconds = columns([row for row in kept if loss in row], "items", "seconds")
        return History(items, losses, held_items, helds, seconds if len(seconds) == len(items) else ())


@dataclass(frozen=True)
class Levels:
    """Loss by noise level."""

    noise_level: Numbers  # (K,) log(sigma/alpha)
    loss: Numbers  # (K,)
    spread: Numbers = ()  # (K,) standard error
    optimum: Numbers = ()  # (K,) the least possible loss, where it is known
    of: str = "x₀"  # what the loss is the error of


def columns(rows: Iterable[Mapping[str, Any]], *names: str) -> tuple[np.ndarray, ...]:
    """The named fields of those records that have them all, as float64 arrays."""
    kept = [[float(row[name]) for name in names] for row in rows if all(row.get(n) is not None for n in names)]
    return tuple(np.array(kept, dtype=np.float64).reshape(len(kept), len(names)).T)


def smooth(items: Numbers, values: Numbers, at: Numbers, window: float = WINDOW) -> np.ndarray:
    """Mean of `values` about each place in `at`, under a Gaussian of deviation window·(place).

    The width grows with the items, so the first fall keeps its shape and the long tail is calm; it is at
    least 1 % of all items.
    """
    place, found = np.asarray(at, dtype=np.float64), np.asarray(values, dtype=np.float64)
    where = np.asarray(items, dtype=np.float64)
    nearest = np.min(np.abs(place[:, None] - where[None]), axis=1)
    least = 0.01 * float(np.max(np.abs(where), initial=0.0))
    width = np.maximum(np.maximum(window * np.abs(place), least), nearest / 2 + 1e-12)
    exponent = -0.5 * ((place[:, None] - where[None]) / width[:, None]) ** 2
    weight = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    return weight @ found / weight.sum(axis=1)


def history(h: History, theme: str = "light", title: str = "Training and held-out loss") -> Figure:
    """Loss against items seen: the records as a pale band, their smoothed mean, the held-out loss."""
    with themed(theme) as look:
        fig = figure(HALF)
        _history(fig.add_subplot(), look, h, title)
    return fig


def training(h: History, loss: Levels | None, theme: str = "light", title: str = "") -> Figure:
    """How a training went on one sheet: loss over items, and beside it the last held-out error by noise level."""
    with themed(theme) as look:
        fig = figure(HALF if loss is None else WIDE)
        left = fig.add_subplot() if loss is None else fig.add_subplot(1, 2, 1)
        _history(left, look, h, "Training and held-out loss" if title and loss is not None else title)
        if loss is not None:
            _levels(fig.add_subplot(1, 2, 2), look, loss, "Held-out error by noise level")
            fig.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return fig


def _history(axes: Axes, look: Theme, h: History, title: str) -> None:
    items, loss = _pair(h.items, h.loss, "items", "loss")
    held_items, held = _pair(h.held_items, h.held, "held_items", "held")
    if len(items):
        _band(axes, items, loss, look.accent)
        at = np.linspace(items[0], items[-1], 300)
        mean = smooth(items, loss, at)
        axes.plot(at, mean, color=look.accent, label="training, smoothed")
    if len(held):
        name = f"held out, average {h.name}" if h.others and h.name else "held out"
        axes.plot(held_items, held, "o--", color=look.ink, ms=3.5, lw=1.2, label=name)
    for (name, values), line in zip(h.others.items(), look.series(len(h.others) + 3)[3:], strict=False):
        axes.plot(held_items, values, marker=".", ms=4, lw=1, **line, label=f"average {name}")
    shown = np.concatenate([smooth(items, loss, items[-(-len(items) // 100) :]) if len(items) else [], held])
    lowest = np.quantile(loss[len(loss) // 2 :], 0.05, keepdims=True) if len(loss) else []
    shown = np.concatenate([shown, lowest])
    _loss_axis(axes, shown[np.isfinite(shown)])
    axes.set(title=title, xlabel="items seen", ylabel="loss (weighted squared error)")
    axes.set_xlim(left=0)
    count_axis(axes)
    axes.legend(loc="upper right")


def _band(axes: Axes, items: np.ndarray, loss: np.ndarray, colour: str) -> None:
    """Single records where they are few; else where 80 % of them fall, so the file stays small."""
    if len(items) <= 150:
        axes.plot(items, loss, ".", color=colour, alpha=0.3, ms=4, mew=0)
        return
    parts = np.array_split(np.arange(len(items)), 120)
    middle = [items[part].mean() for part in parts]
    low, high = np.transpose([np.quantile(loss[part], (0.1, 0.9)) for part in parts])
    axes.fill_between(middle, low, high, color=colour, alpha=0.2, linewidth=0)


def _loss_axis(axes: Axes, values: np.ndarray) -> None:
    """Logarithmic where the loss falls far, and framed so that one early spike does not flatten the rest."""
    if not len(values):
        return
    low, high = float(values.min()), float(np.quantile(values, 0.995))
    if low > 0 and high > 3 * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.25, high * 1.35)
        plain_log(axes)
    else:
        room = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
        axes.set_ylim(low - room, high + 2 * room)


def plain_log(axes: Axes, which: str = "y") -> None:
    """Ticks at 1, 2, 5 (or more) times powers of ten, as plain numbers, where the axis spans at most two decades."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    low, high = axes.get_ylim() if which == "y" else axes.get_xlim()
    if high < 150 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 8 * low else (1, 1.5, 2, 3, 4, 5, 7), numticks=12))
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def levels(loss: Levels, theme: str = "light", title: str = "Loss by noise level") -> Figure:
    """Loss against log(sigma/alpha), and the optimum where it is known."""
    with themed(theme) as look:
        fig = figure(HALF)
        _levels(fig.add_subplot(), look, loss, title)
    return fig


def _levels(axes: Axes, look: Theme, loss: Levels, title: str) -> None:
    x, y = _pair(loss.noise_level, loss.loss, "noise_level", "loss")
    if len(loss.spread):
        _, spread = _pair(x, loss.spread, "noise_level", "spread")
        axes.fill_between(x, y - spread, y + spread, color=look.accent, alpha=0.2, linewidth=0)
    many = len(x) > 40
    axes.plot(x, y, "-" if many else "o-", color=look.accent, ms=3.5, label="network")
    if len(loss.optimum):
        _, best = _pair(x, loss.optimum, "noise_level", "optimum")
        axes.plot(x, best, "--", color=look.ink, lw=1.2, label="best possible")
        axes.legend(loc="best")
    positive = y[y > 0]
    if len(positive) == len(y) and y.max() > 10 * y.min():
        axes.set_yscale("log")
        plain_log(axes)
    axes.set(
        title=title,
        xlabel="noise level log(σ/α), clean to noisy →",
        ylabel=f"mean squared error of {loss.of}",
    )


def averages(widths: Numbers, loss: Numbers, asked: float, theme: str = "light", title: str = AVERAGES) -> Figure:
    """Held-out loss against the width of the weights' average; 0 is the last weights. `asked`: the one sampled from.

    The same questions are put to all, so far smaller differences count than the loss's own spread.
    """
    x, y = _pair(widths, loss, "widths", "loss")
    with themed(theme) as look:
        fig = figure(HALF)
        axes = fig.add_subplot()
        axes.plot(x, y, "o-", color=look.accent, ms=4)
        best = int(np.argmin(y))
        for place, marker, name in ((best, "v", "the least"), (int(np.argmin(np.abs(x - asked))), "o", "sampled from")):
            axes.plot(
                x[place], y[place], marker, ms=9, mfc="none", mec=look.ink, ls="", label=f"{name}: width {x[place]:g}"
            )
        low, high = float(y.min()), float(np.quantile(y, 0.8))
        room = high - low or 0.01 * abs(low) or 1.0
        axes.set_ylim(low - 0.25 * room, min(float(y.max()), high + 2 * room) + 0.25 * room)
        axes.set(title=title, xlabel="width of the average, share of the items seen", ylabel="held-out loss")
        axes.legend(loc="best")
    return fig


def rate(h: History, theme: str = "light", title: str = "Rate of training") -> Figure:
    """Items per second against items seen: the median of neighbouring intervals."""
    items, seconds = _pair(h.items, h.seconds, "items", "seconds")
    with themed(theme) as look:
        fig = figure(HALF)
        axes = fig.add_subplot()
        spent = np.diff(seconds)
        speed = np.divide(np.diff(items), spent, out=np.full(len(spent), np.nan), where=spent > 0)
        middle = (items[1:] + items[:-1]) / 2
        parts = [part for part in np.array_split(np.arange(len(speed)), 80) if len(part)]
        axes.plot(
            [middle[part].mean() for part in parts],
            [np.nanmedian(speed[part]) if np.isfinite(speed[part]).any() else np.nan for part in parts],
            color=look.accent,
        )
        axes.set(title=title, xlabel="items seen", ylabel="items per second")
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        count_axis(axes)
        count_axis(axes, "y")
    return fig


def _pair(x: Numbers, y: Numbers, name_x: str, name_y: str) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise UserError(f"{name_x} and {name_y} are two lists of one length, got {a.shape} and {b.shape}")
    return a, b


__all__ = [
    "AVERAGES",
    "WINDOW",
    "History",
    "Levels",
    "averages",
    "columns",
    "history",
    "levels",
    "plain_log",
    "rate",
    "smooth",
    "training",
]
