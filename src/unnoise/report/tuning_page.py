"""tuning.html: tables of tuned plans beside untuned ones, pictures of the same seeds, and every plan.

The frame, the policy and the care are those of report.html: one file, no script, nothing fetched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from unnoise import files
from unnoise.config import UserError
from unnoise.report import embed
from unnoise.report.page import PAGE, STYLE, note, section

_STYLE = """
td, thead th { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; padding-right: .9rem }
td.words, thead th.words, thead th:first-child { text-align: left }
td.told { color: var(--accent); font-weight: 600 }
tbody th { white-space: nowrap }
"""


@dataclass(frozen=True)
class Table:
    """Rows of cells under names, the first of each its name; told: the column that the reader came for.

    words: columns that hold no numbers; text: how to read it.
    """

    title: str
    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    told: int
    words: Sequence[int] = ()
    text: str = ""


@dataclass(frozen=True)
class Drawn:
    """A picture under a heading, what it shows in words, and a remark. draw: in both themes, or a PNG as it is."""

    title: str
    draw: embed.Draw | bytes
    alt: str
    text: str = ""
    dots: bool = False


@dataclass(frozen=True)
class TuningPage:
    """What the page says: one sentence first, then tables, pictures, and what to type."""

    title: str
    verdict: str
    tables: Sequence[Table]
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    drawn: Sequence[Drawn] = ()
    commands: Sequence[tuple[str, str]] = ()


def save(told: TuningPage, path: str | Path) -> Path:
    """The page at `path`, written beside and renamed."""
    return files.put(path, page(told))


def page(told: TuningPage) -> str:
    """The whole page as text."""
    facts = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in told.facts.items())
    head = f'<h1>{escape(told.title)}</h1>\n<p class="verdict">{escape(told.verdict)}</p>'
    parts = [_table(table) for table in told.tables]
    parts += [section(drawn.title, _picture(drawn), drawn.text and note(drawn.text)) for drawn in told.drawn]
    if told.commands:
        typed = "".join(f"<dt>{escape(name)}</dt><dd><pre>{escape(text)}</pre></dd>" for name, text in told.commands)
        parts.append(section("To go on", f'<dl class="commands">{typed}</dl>'))
    return PAGE.format(
        title=escape(told.title),
        style=STYLE + _STYLE,
        head=head + (f'\n<dl class="facts">{facts}</dl>' if facts else ""),
        body="\n".join(parts),
    )


def _picture(drawn: Drawn) -> str:
    if not isinstance(drawn.draw, bytes):
        return embed.drawing(drawn.draw, drawn.alt, dots=drawn.dots)
    source = embed.data_uri(drawn.draw, "image/png")
    return f'<figure class="drawing"><img src="{source}" alt="{escape(drawn.alt)}"></figure>'


def _table(table: Table) -> str:
    for row in table.rows:
        if len(row) != len(table.names):
            raise UserError(f"a row of '{table.title}' has {len(row)} cells under {len(table.names)} names")
    kinds = {**dict.fromkeys(table.words, ' class="words"'), table.told: ' class="told"'}
    head = "".join(
        f'<th scope="col"{kinds.get(place, "") if place in table.words else ""}>{escape(name)}</th>'
        for place, name in enumerate(table.names)
    )
    rows = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td{kinds.get(place + 1, '')}>{escape(cell)}</td>" for place, cell in enumerate(row[1:]))
        + "</tr>"
        for row in table.rows
    )
    frame = f'class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}"'
    made = f"<div {frame}><table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    return section(table.title, made, table.text and note(table.text))


__all__ = ["Drawn", "Table", "TuningPage", "page", "save"]
