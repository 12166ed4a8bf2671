"""report.html: one file that says how good a run is, shows why, and how to do it again.

Nothing is fetched and nothing is executed: a policy in the head forbids both. Pictures stand inside as data,
in a light and a dark variant; the reader's system chooses. Every text that comes from outside is escaped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from unnoise import files
from unnoise.config import UserError
from unnoise.metrics.likelihood import Likelihood
from unnoise.metrics.measure import Measure
from unnoise.report import beliefs, curves, embed, films, grids, panels, style, tables, trajectories
from unnoise.report.beliefs import Excess
from unnoise.report.curves import History, Levels
from unnoise.report.grids import Picture
from unnoise.report.page import PAGE, STYLE, note, section
from unnoise.report.tables import Columns
from unnoise.report.words import BETTER, called, count_of, figure_of, range_of


@dataclass(frozen=True)
class Trajectory:
    """One way back: rows of the plan, in order; images states[row][item] or points (R, N, 2)."""

    times: style.Numbers
    states: Sequence[Sequence[Picture]] | np.ndarray
    beliefs: Sequence[Sequence[Picture]] | np.ndarray | None = None
    truth: np.ndarray | None = None  # points (M, 2) of the data, drawn faintly behind
    sampler: str = ""  # as one would say it: "dpmpp_2m, 20 steps"
    strip: int = 3  # items that the strip shows; the film shows all

    @property
    def of_points(self) -> bool:
        return isinstance(self.states, np.ndarray) and self.states.ndim == 3


@dataclass(frozen=True)
class Cloud:
    """Drawn and real points in the plane, (N, 2) and (M, 2); labels are class numbers, where there are any."""

    drawn: np.ndarray
    real: np.ndarray
    drawn_labels: np.ndarray | None = None
    real_labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    units: str = "data units"


@dataclass(frozen=True)
class Neighbour:
    """A sample, the training item nearest to it, and how far they are apart."""

    sample: Picture
    item: Picture
    distance: float | int
    name: str = ""  # such as the class


@dataclass(frozen=True)
class Averages:
    """Held-out loss by the width of the weights' average, and the width that the run samples from."""

    widths: style.Numbers
    loss: style.Numbers
    asked: float


@dataclass(frozen=True)
class Film:
    """A training filmed: an animated PNG, its last frame, and what it shows."""

    moving: bytes
    still: Picture
    told: str


@dataclass(frozen=True)
class Report:
    """What a report tells; a section without content leaves no trace."""

    title: str
    verdict: str  # one sentence, said first
    measures: Sequence[Measure] = ()  # what the evaluation says
    advice: Sequence[str] = ()  # what the training's own numbers say, a sentence each, below the verdict
    facts: Mapping[str, str] | None = None  # items, seconds, parameters, device: small print under the verdict
    samples: Mapping[str, Sequence[Picture]] | None = None  # class → images
    cloud: Cloud | None = None
    columns: Columns | None = None  # rows of more than two numbers, drawn and real
    trajectory: Trajectory | None = None
    neighbours: Sequence[Neighbour] = ()
    near: str = ""  # a sentence on near-copies: the unit of the distance, the threshold, the share
    history: History | None = None
    levels: Levels | None = None
    excess: Excess | None = None
    likelihoods: Sequence[Likelihood] = ()  # of held-out items, by the flow and by the bound
    averages: Averages | None = None
    film: Film | None = None
    recipe: str = ""  # YAML, resolved
    commands: Sequence[tuple[str, str]] = ()  # (what it does, the command)


def save(report: Report, path: str | Path) -> Path:
    """The page at `path`, written beside and renamed."""
    return files.put(path, page(report))


def page(report: Report) -> str:
    """The whole page as text."""
    if not report.title or not report.verdict:
        raise UserError("a report needs a title and a verdict: one sentence that says how good the run is")
    sections = [
        _measures(report),
        _excess(report),
        _likelihoods(report),
        _samples(report),
        _cloud(report),
        _columns_of(report),
        _trajectory(report),
        _neighbours(report),
        _training(report),
        _recipe(report),
        _commands(report),
    ]
    return PAGE.format(
        title=escape(report.title),
        style=STYLE,
        head=_head(report),
        body="\n".join(section for section in sections if section),
    )


def _head(report: Report) -> str:
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in (report.facts or {}).items()
    )
    advice = "".join(f'\n<p class="advice">{escape(sentence)}</p>' for sentence in report.advice)
    return f'<h1>{escape(report.title)}</h1>\n<p class="verdict">{escape(report.verdict)}</p>{advice}' + (
        f'\n<dl class="facts">{facts}</dl>' if facts else ""
    )


def _measures(report: Report) -> str:
    if not report.measures:
        return ""
    rows = "\n".join(
        "<tr>"
        f'<th scope="row">{escape(called(m.name))}<small>{BETTER[m.better]}{_read_on(m)}</small></th>'
        f'<td class="number" data-name="value">{escape(figure_of(m.value, m.spread))}</td>'
        f'<td class="number" data-name="range">{escape(range_of(m.low, m.high))}</td>'
        f'<td class="number" data-name="floor">{escape(figure_of(m.floor, m.floor_spread))}</td>'
        f'<td class="number" data-name="samples">{m.draws} × {count_of(m.count)}</td>'
        f'<td data-name="verdict">{escape(m.verdict)}{_warned(m)}</td>'
        "</tr>"
        for m in report.measures
    )
    protocols = "".join(
        f"<dt>{escape(called(m.name))}</dt><dd>{escape(_protocol(m))}</dd>" for m in report.measures if m.protocol
    )
    return section(
        "How good it is",
        '<table class="measures"><thead><tr><th scope="col">measure</th><th scope="col" class="number">this run</th>'
        '<th scope="col" class="number">95 % of the mean</th><th scope="col" class="number">real against real</th>'
        '<th scope="col" class="number">samples</th>'
        f'<th scope="col">in words</th></tr></thead>\n<tbody>\n{rows}\n</tbody></table>',
        note(
            "± is the standard deviation of one draw of that many samples; beside it stands the 95 % interval of the "
            "mean of all draws. Real against real is what the measure reads when real data take the place of the "
            "samples: no model can be expected to do better."
        ),
        f"<details><summary>How each was measured</summary><dl>{protocols}</dl></details>" if protocols else "",
    )


def _read_on(m: Measure) -> str:
    """The numbers that a measure was read on, where these are no raw items."""
    return "" if m.features == "raw" else f"; on {escape(m.features)}"


def _warned(m: Measure) -> str:
    return f'<small class="warning">{escape(m.warning)}</small>' if m.warning else ""


def _protocol(m: Measure) -> str:
    return f"{m.protocol}; interval over {m.interval}" if m.interval else m.protocol


def _excess(report: Report) -> str:
    found = report.excess
    if found is None:
        return ""
    return section(
        "What it believes",
        embed.drawing(
            lambda theme: beliefs.excess(found, theme), "Excess risk over the noise level, and what it costs", wide=True
        ),
        note(
            f"The law of these data is known, and with it the best belief there can be. {found.told} An excess of 0 is "
            "perfect: it falls with every improvement, and no copying of training items lowers it."
        ),
    )


def _likelihoods(report: Report) -> str:
    if not report.likelihoods:
        return ""
    told = [(called(one.record()["name"]), one) for one in report.likelihoods]
    known = any(one.gap for _, one in told)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(name)}<small>lower is better</small></th>'
        f'<td class="number" data-name="mean">{escape(figure_of(one.value, one.error))}</td>'
        f'<td data-name="unit">{escape(one.unit)}</td>'
        + (f'<td class="number" data-name="above the least">{escape(figure_of(*one.gap))}</td>' if one.gap else "")
        + "</tr>"
        for name, one in told
    )
    protocols = "".join(f"<dt>{escape(name)}</dt><dd>{escape(one.text)}</dd>" for name, one in told)
    return section(
        "How likely it finds real items",
        '<table class="measures"><thead><tr><th scope="col">−log p of held-out items</th>'
        '<th scope="col" class="number">mean</th><th scope="col">unit</th>'
        + ('<th scope="col" class="number">above the least possible</th>' if known else "")
        + f"</tr></thead>\n<tbody>\n{rows}\n</tbody></table>",
        note("± is the standard error of the mean over items. No samples had a part in these numbers."),
        f"<details><summary>How each was measured</summary><dl>{protocols}</dl></details>",
    )


def _samples(report: Report) -> str:
    rows = {name: list(images) for name, images in (report.samples or {}).items() if len(images)}
    if not rows:
        return ""
    longest = max(map(len, rows.values()))
    factor = grids.whole_factor([item for row in rows.values() for item in row], max(32, min(64, 840 // longest)))
    lines = "\n".join(
        f'<div class="class"><span>{escape(name)}</span>'
        f"{embed.pixels(grids.rows_of([row], 1, 1), f'{len(row)} samples of class {name}', factor)}</div>"
        for name, row in rows.items()
    )
    named = "Samples by class" if len(rows) > 1 else "Samples"
    return section(named, f'<div class="classes">\n{lines}\n</div>', note("Not chosen: the first of each class."))


def _cloud(report: Report) -> str:
    cloud = report.cloud
    if cloud is None:
        return ""
    labels = None
    if cloud.drawn_labels is not None and cloud.real_labels is not None:
        labels = {"drawn": cloud.drawn_labels, "real": cloud.real_labels}
    named = {"drawn": cloud.drawn, "real": cloud.real}
    return section(
        "Samples",
        embed.drawing(
            lambda theme: panels.clouds(named, "", labels, cloud.classes, units=cloud.units, theme=theme),
            f"{len(cloud.drawn)} drawn points beside {len(cloud.real)} real ones, on one scale",
            dots=True,
        ),
    )


def _columns_of(report: Report) -> str:
    rows = report.columns
    if rows is None:
        return ""
    pictures = [
        embed.drawing(
            lambda theme: tables.histograms(rows, theme),
            f"Histograms of {len(rows.shown)} columns, drawn rows over real ones",
            wide=True,
        )
    ]
    if len(rows.names) > 1:
        pictures.append(
            embed.drawing(
                lambda theme: tables.matrices(rows, theme), "Correlations of the columns, real rows beside drawn ones"
            )
        )
    return section("Columns", *pictures, note(rows.note))


def _trajectory(report: Report) -> str:
    way = report.trajectory
    if way is None:
        return ""
    if way.of_points:
        states = np.asarray(way.states)
        beliefs = None if way.beliefs is None else np.asarray(way.beliefs)
        shown = films.chosen(len(states), 25)
        frames = films.point_frames(states[shown], 320, ghost=way.truth)
        drawing = embed.drawing(
            lambda theme: trajectories.point_panels(states, beliefs, way.times, way.truth, theme=theme, title=""),
            "Clouds of points at four moments: the states above, the beliefs below",
            wide=True,
            dots=True,
        )
        factor = 1
    else:
        shown = films.chosen(len(way.states), 36)
        frames = films.image_frames([list(way.states[row]) for row in shown], _columns(len(way.states[0])))
        few = [list(row)[: way.strip] for row in way.states]
        believed = None if way.beliefs is None else [list(row)[: way.strip] for row in way.beliefs]
        drawing = embed.drawing(
            lambda theme: trajectories.image_strip(few, believed, way.times, theme=theme, title=""),
            f"{len(few[0])} items on their way from noise to data, state above belief",
            wide=True,
        )
        factor = max(1, 460 // max(frames[0].size))
    film, still = films.film(frames), grids.png(frames[-1])
    return section(
        "From noise to data",
        drawing,
        '<div class="beside"><figure><picture><source media="(prefers-reduced-motion: reduce)" '
        f'srcset="{embed.data_uri(still, "image/png")}">'
        f"{embed.img(film, 'A film of all items turning from noise into data', frames[0].size, factor)}</picture>"
        f"<figcaption>{escape(way.sampler)}</figcaption></figure>"
        '<p class="note">The state x<sub>t</sub> is what the sampler holds; the belief is the expectation of the '
        "end x<sub>0</sub>, given that state. Time t runs from noise (1) to data (0).</p></div>",
    )


def _columns(count: int) -> int:
    """A grid rather wider than high, without a ragged last row where the count allows."""
    about = max(1, round((1.6 * count) ** 0.5))
    return next((c for c in range(about, min(count, 2 * about) + 1) if count % c == 0), about)


def _neighbours(report: Report) -> str:
    if not report.neighbours:
        return ""
    factor = grids.whole_factor([n.sample for n in report.neighbours], 52)
    pairs = "\n".join(
        f'<figure class="pair">{embed.pixels(n.sample, f"sample {n.name}".strip(), factor)}'
        f"{embed.pixels(n.item, 'its nearest training item', factor)}"
        f"<figcaption>{escape(f'{n.name}: ' if n.name else '')}{figure_of(n.distance)}</figcaption></figure>"
        for n in report.neighbours
    )
    return section(
        "Nearest training items",
        f'<div class="pairs">\n{pairs}\n</div>',
        note(f"Left the sample, right the training item nearest to it; below, their distance. {report.near}".strip()),
    )


def _training(report: Report) -> str:
    drawings: list[str] = []  # two stand side by side; the rate only where it fills the row
    if report.history is not None:
        history = report.history
        drawings.append(
            embed.drawing(lambda theme: curves.history(history, theme), "Training and held-out loss over items seen")
        )
    if report.levels is not None:
        levels = report.levels
        drawings.append(embed.drawing(lambda theme: curves.levels(levels, theme), "Loss over the noise level"))
    if len(drawings) < 2 and report.history is not None and len(report.history.seconds):
        history = report.history
        drawings.append(embed.drawing(lambda theme: curves.rate(history, theme), "Items per second over items seen"))
    if report.averages is not None:
        told = report.averages
        drawings.append(
            embed.drawing(
                lambda theme: curves.averages(told.widths, told.loss, told.asked, theme),
                "Held-out loss over the width of the weights' average",
            )
        )
    if not drawings and report.film is None:
        return ""
    shown = '<div class="drawings">\n' + "\n".join(drawings) + "\n</div>" if drawings else ""
    return section("Training", shown, _film(report.film))


def _film(film: Film | None) -> str:
    if film is None:
        return ""
    last = grids.image(film.still)
    return (
        '<figure><picture><source media="(prefers-reduced-motion: reduce)" '
        f'srcset="{embed.data_uri(grids.png(last), "image/png")}">'
        f"{embed.img(film.moving, film.told, last.size, 1)}</picture>"
        f"<figcaption>{escape(film.told)}; the line below is how far the training is.</figcaption></figure>"
    )


def _recipe(report: Report) -> str:
    if not report.recipe.strip():
        return ""
    return section("Recipe", f'<pre tabindex="0"><code>{escape(report.recipe.strip())}</code></pre>')


def _commands(report: Report) -> str:
    if not report.commands:
        return ""
    lines = "\n".join(
        f'<dt>{escape(what)}</dt><dd><pre tabindex="0"><code>{escape(command)}</code></pre></dd>'
        for what, command in report.commands
    )
    return section("Do it again", f'<dl class="commands">\n{lines}\n</dl>')


__all__ = ["Averages", "Cloud", "Film", "Neighbour", "Report", "Trajectory", "page", "save"]
