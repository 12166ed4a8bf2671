"""Who is who in the pictures of a comparison: one colour, one marker, one dash each, the same on every picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox, BboxBase

from unnoise.report.comparison import Comparison, Entry
from unnoise.report.style import Theme

FAMILIES = 8  # as many as can be told apart
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SIZES = {"o": 6.0, "s": 5.5, "^": 6.5, "D": 5.2, "v": 6.5, "P": 7.0, "X": 7.0, "*": 9.0}


@dataclass(frozen=True)
class Marks:
    """Families of entries that share their look: each entry its own where they are few, else the values of an axis.

    names: the families in order; axis: what was varied between them, "" where each entry is a family of its own.
    """

    names: tuple[str, ...]
    axis: str = ""

    @staticmethod
    def of(comparison: Comparison) -> "Marks":
        """Lines of small multiples are families; else each of a few entries is its own, or the best of many."""
        along = running(comparison)
        axis = widest(comparison, along) if along else ""
        if not axis and len(comparison.entries) <= FAMILIES:
            return Marks(tuple(entry.name for entry in comparison.entries))
        axis = axis or widest(comparison)
        if axis and axis != along:
            return Marks(tuple(comparison.axes[axis]), axis)
        best = {entry.name for entry in comparison.ranked[: FAMILIES - 1]}
        return Marks(tuple(entry.name for entry in comparison.entries if entry.name in best))

    def family(self, entry: Entry) -> str:
        """The family of an entry; "" for one of the many that have no colour of their own."""
        name = entry.settings.get(self.axis, "") if self.axis else entry.name
        return name if name in self.names else ""

    def look(self, theme: Theme, family: str) -> dict[str, Any]:
        """color, linestyle, marker and its size; grey and small for those without a family."""
        if family not in self.names:
            return {"color": theme.muted, "linestyle": "-", "marker": "o", "markersize": 3.5}
        place = self.names.index(family)
        marker = MARKERS[place % len(MARKERS)]
        return {**theme.series(len(self.names))[place], "marker": marker, "markersize": SIZES[marker]}


def key(fig: Figure, theme: Theme, marks: Marks, names: Sequence[str], lines: bool = True) -> None:
    """The families' names below a figure, in as many columns as have room; the figure grows by their rows."""
    if len(names) < 2:
        return
    texts = [short_name(name) for name in names]
    width, height = fig.get_size_inches()
    columns = max(1, min(len(names), int((width - 0.3) / (0.55 + 0.071 * max(map(len, texts))))))
    rows = -(-len(names) // columns)
    columns = -(-len(names) // rows)  # no ragged last row where it can be helped
    fig.set_size_inches(width, height + 0.05 + 0.19 * rows)
    handles = [Line2D([], [], **marks.look(theme, name)) for name in names]
    for handle in () if lines else handles:
        handle.set_linestyle("")
    fig.legend(handles, texts, loc="outside lower center", ncols=columns, columnspacing=1.4)


def running(comparison: Comparison) -> str:
    """The axis of numbers that a picture can run along: steps, else the longest of at least three; "" for none."""
    axes = {name: values for name, values in comparison.axes.items() if None not in map(number, values)}
    long = [name for name, values in axes.items() if len(values) >= (2 if name == "steps" else 3)]
    return max(long, key=lambda name: (name == "steps", len(axes[name])), default="")


def widest(comparison: Comparison, *without: str) -> str:
    """The axis with the most values that still can be told apart, others than `without`; words before numbers."""
    axes = {name: values for name, values in comparison.axes.items() if name not in without}
    kept = [name for name, values in axes.items() if 2 <= len(values) <= FAMILIES]
    return max(kept, key=lambda name: (number(axes[name][0]) is None, len(axes[name])), default="")


def number(text: str) -> float | None:
    """The text as a number, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def short_name(name: str, most: int = 22) -> str:
    """The name within `most` letters; a longer one keeps both its ends, which is where names differ."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most - most // 2 - 1) :]}"


def beside(
    axes: Axes, places: Sequence[tuple[float, float, str, str, bool]], bars: Callable[[], list[Bbox]] = list
) -> None:
    """Texts beside points (x, y, text, colour, bold), each where it covers least; call it last.

    bars: boxes in pixels that a text had better not cover, asked for when the layout stands. A text that would
    lie on another is left out, the bold ones being placed first.
    """
    figure = axes.figure
    figure.canvas.draw()  # the limits and the layout stand only now
    unit = figure.dpi / 72
    frame = axes.get_window_extent()
    points = [axes.transData.transform((x, y)) for x, y, *_ in places]
    dots = [Bbox.from_bounds(x - 4 * unit, y - 4 * unit, 8 * unit, 8 * unit) for x, y in points]
    clear, taken = bars(), list[Bbox]()
    for index in sorted(range(len(places)), key=lambda i: not places[i][4]):
        x, y, text, colour, bold = places[index]
        made = axes.annotate(
            text,
            (x, y),
            xytext=_PLACES[0],
            textcoords="offset points",
            fontproperties=FontProperties(size=8.5, weight="bold" if bold else "normal"),
            color=colour,
            annotation_clip=False,
            zorder=5,
        )
        made.set_in_layout(False)
        best = min(
            (_cost(made, place, frame, [*dots[:index], *dots[index + 1 :]], taken, clear), order, place)
            for order, place in enumerate(_PLACES)
        )
        if best[0] >= _TAKEN and not bold:
            made.remove()
            continue
        _put(made, best[2])
        if abs(best[2][1]) >= _FAR:
            line = {"arrowstyle": "-", "color": colour, "lw": 0.7, "alpha": 0.7, "shrinkA": 1, "shrinkB": 4}
            axes.annotate("", (x, y), best[2], textcoords="offset points", arrowprops=line).set_in_layout(False)
        taken.append(made.get_window_extent())


_TAKEN = 1000.0
_FAR = 18  # points from which on a line leads from a text to its point
_PLACES = [
    *((dx, dy) for dy in (0, 7, -7, 11, -11) for dx in (7, -7)),
    *((0, dy) for dy in (9, -9, 18, -18)),
    *((dx, dy) for dy in (20, -20, 30, -30) for dx in (7, -7)),
]  # offsets of a text from its point


def _put(made: Annotation, place: tuple[int, int]) -> None:
    dx, dy = place
    made.set_position((dx, dy))
    made.set_horizontalalignment("left" if dx > 0 else "right" if dx < 0 else "center")
    made.set_verticalalignment("center" if dx else "bottom" if dy > 0 else "top")


def _cost(
    made: Annotation,
    place: tuple[int, int],
    frame: BboxBase,
    dots: Sequence[Bbox],
    taken: Sequence[Bbox],
    clear: Sequence[Bbox],
) -> float:
    _put(made, place)
    box = made.get_window_extent()
    outside = box.x0 < frame.x0 or box.x1 > frame.x1 + 4 or box.y0 < frame.y0 or box.y1 > frame.y1
    return (
        _TAKEN * any(box.overlaps(other) for other in taken)
        + 100 * outside
        + 30 * sum(box.overlaps(dot) for dot in dots)
        + 6 * sum(box.overlaps(other) for other in clear)
    )


__all__ = ["FAMILIES", "MARKERS", "Marks", "beside", "key", "number", "running", "short_name", "widest"]
