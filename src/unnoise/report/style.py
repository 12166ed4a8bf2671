"""One quiet style for every picture: light and dark, one accent, sizes in points, no pyplot state."""

import io
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from unnoise import files
from unnoise.config import choose

Numbers: TypeAlias = np.ndarray | Sequence[float] | Sequence[int]

DPI = 160
HALF = (4.7, 3.3)  # inches: two stand side by side on a page, and one stays legible on a phone
WIDE = (9.6, 3.5)


@dataclass(frozen=True)
class Theme:
    """The colours of one variant."""

    name: str
    paper: str
    ink: str
    muted: str
    line: str
    accent: str
    ramp: tuple[str, ...]  # from paper to the strongest, lightness monotone: it survives greyscale

    @property
    def map(self) -> Colormap:
        """Amounts, from nothing (paper) to the largest."""
        return LinearSegmentedColormap.from_list(f"unnoise-{self.name}", [self.paper, *self.ramp])

    def series(self, count: int) -> list[dict[str, Any]]:
        """Line styles that stay apart in greyscale: lightness and dashes both differ."""
        dashes = ["-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5))]
        if count <= 2:
            colours = [self.accent, self.ink]
        else:
            scale = matplotlib.colormaps["plasma"]
            ends = (0.0, 0.75) if self.name == "light" else (0.95, 0.46)
            colours = [to_hex(scale(place)) for place in np.linspace(*ends, count)]
        return [{"color": colours[i], "linestyle": dashes[i % len(dashes)]} for i in range(count)]

    def over(self, colour: str | tuple[float, ...]) -> str:
        """The colour of text that is read on `colour`: ink or paper, whichever is further away."""

        def luminance(c: Any) -> float:
            return float(np.dot(to_rgb(c), (0.2126, 0.7152, 0.0722)))

        here = luminance(colour)
        return max(self.ink, self.paper, key=lambda text: abs(luminance(text) - here))


THEMES = {
    "light": Theme("light", "#ffffff", "#1d2228", "#69727d", "#e3e6ea", "#1467b8", ("#8fc0ea", "#1467b8", "#0a2f57")),
    "dark": Theme("dark", "#14171b", "#e3e7ec", "#98a2ae", "#2c333b", "#6db3f5", ("#1d4a75", "#6db3f5", "#e4f2ff")),
}

_LOCK = threading.RLock()  # matplotlib's settings are global while a figure is being made


@contextmanager
def themed(name: str) -> Generator[Theme, None, None]:
    """The style, in force while a figure is made; matplotlib's settings are as before afterwards."""
    theme: Theme = choose("theme", name, THEMES)
    with _LOCK, matplotlib.rc_context(_settings(theme)):
        yield theme


def _settings(theme: Theme) -> dict[Any, Any]:
    return {
        "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture everywhere
        "font.size": 9,
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 9,
        "axes.labelsize": 9,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "legend.fontsize": 8.5,
        "legend.frameon": False,
        "legend.handlelength": 2.4,
        "figure.facecolor": theme.paper,
        "savefig.facecolor": theme.paper,
        "axes.facecolor": "none",
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.titlecolor": theme.ink,
        "axes.edgecolor": theme.muted,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "axes.linewidth": 0.7,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": theme.line,
        "grid.linewidth": 0.7,
        "lines.linewidth": 1.6,
        "lines.solid_capstyle": "round",
        "axes.xmargin": 0.02,
        "image.interpolation": "none",
        "image.cmap": "viridis",
    }


def figure(size: tuple[float, float] = HALF) -> Figure:
    """An empty figure of so many inches, on the Agg canvas; made within `themed`."""
    made = Figure(figsize=size, dpi=DPI, layout="constrained")
    FigureCanvasAgg(made)
    return made


def png(fig: Figure) -> bytes:
    """The figure as PNG at DPI dots an inch."""
    return _bytes(fig, "png", {"Software": None})


def svg(fig: Figure) -> bytes:
    """The figure as SVG on no ground; text as outlines, so it looks the same without any font."""
    with _LOCK, matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "unnoise"}):
        return _bytes(
            fig,
            "svg",
            {"Creator": None, "Date": None, "Format": None, "Type": None},
            facecolor="none",
        )


def _bytes(fig: Figure, kind: str, metadata: dict[str, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with _LOCK:
        fig.savefig(buffer, format=kind, dpi=DPI, metadata=metadata, **options)
    return buffer.getvalue()


def save(fig: Figure, path: str | Path) -> Path:
    """The figure at `path`, .png or .svg by its ending; written beside and renamed."""
    kind = Path(path).suffix.lower().lstrip(".")
    made: Callable[[Figure], bytes] = choose("picture format", kind, {"png": png, "svg": svg})
    return files.put(path, made(fig))


def count_axis(axes: Axes, which: str = "x") -> None:
    """Ticks of a count as 20 k, 1.5 M."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def short(value: float) -> str:
    """A count in few letters: 950, 20 k, 1.5 M."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def name_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]], gap: float = 12.0) -> None:
    """Names of curves at their right ends, (x, y, name, colour), pushed apart to `gap` points.

    Call it last, when the limits stand.
    """
    low, high = axes.get_window_extent().y0, axes.get_window_extent().y1
    unit = 72.0 / axes.figure.dpi
    place = axes.transData.transform([(x, y) for x, y, _, _ in ends])[:, 1]
    height = np.clip(place, low, high) * unit
    order = np.argsort(height)
    spread = height[order].astype(float)
    for _ in range(200):  # neighbours push each other until all are apart
        overlap = gap - np.diff(spread)
        if not np.any(overlap > 0.01):
            break
        push = np.clip(overlap, 0, None) / 2
        spread[:-1] -= push
        spread[1:] += push
    right = axes.get_xlim()[1]
    for index, y in zip(order, spread, strict=True):
        _, value, name, colour = ends[index]
        bottom, top = axes.get_ylim()
        axes.annotate(
            name,
            (right, float(np.clip(value, min(bottom, top), max(bottom, top)))),
            xytext=(5, y - height[index]),
            textcoords="offset points",
            color=colour,
            fontsize=8.5,
            va="center",
            annotation_clip=False,
        )


__all__ = [
    "DPI",
    "HALF",
    "THEMES",
    "WIDE",
    "Numbers",
    "Theme",
    "count_axis",
    "figure",
    "name_ends",
    "png",
    "save",
    "short",
    "svg",
    "themed",
]
