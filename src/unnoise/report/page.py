"""The frame of the report: one column, system type, light and dark, no script, nothing from outside."""

from html import escape

from unnoise.report.style import THEMES

LIGHT, DARK = THEMES["light"], THEMES["dark"]

# The policy lets the page show pictures that stand in it and its own style sheet, and nothing else.
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<header>
{head}
</header>
<main>
{body}
</main>
</body>
</html>
"""

_COLOURS = "; ".join(f"--{part}: {getattr(LIGHT, part)}" for part in ("paper", "ink", "muted", "line", "accent"))
_DARK_COLOURS = "; ".join(f"--{part}: {getattr(DARK, part)}" for part in ("paper", "ink", "muted", "line", "accent"))

STYLE = (
    f":root {{ color-scheme: light dark; {_COLOURS} }}\n"
    f"@media (prefers-color-scheme: dark) {{ :root {{ {_DARK_COLOURS} }} }}\n"
    + """
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 62rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  -webkit-text-size-adjust: 100% }
h1 { font-size: 1.15rem; line-height: 1.3; margin: 0 0 .5rem; color: var(--muted); font-weight: 600 }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 0 0 .9rem }
.verdict { font-size: 1.6rem; line-height: 1.3; margin: 0 0 1.25rem; font-weight: 600; max-width: 34em;
  text-wrap: pretty }
.advice { max-width: 44em; margin: 0 0 .6rem }
.advice + .facts { margin-top: 1.25rem }
section { margin-top: 3rem }
.note { color: var(--muted); font-size: .9rem; max-width: 44em; margin: .8rem 0 0 }
.facts { display: flex; flex-wrap: wrap; gap: .6rem 2rem; margin: 0 }
.facts dt { color: var(--muted); font-size: .85rem }
.facts dd { margin: 0; font-variant-numeric: tabular-nums }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: baseline; padding: .55rem 1rem .55rem 0;
  border-bottom: 1px solid var(--line) }
thead th { color: var(--muted); font-weight: 400; font-size: .85rem }
tbody th { font-weight: 600 }
tbody th small { display: block; color: var(--muted); font-weight: 400; font-size: .85rem }
td small { display: block; color: var(--muted); font-size: .85rem; max-width: 34em }
sub { line-height: 0 }
.measures tbody th { min-width: 12em }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
td[data-name="value"] { color: var(--accent); font-weight: 600 }
details { margin-top: 1rem; font-size: .9rem }
summary { cursor: pointer; color: var(--accent) }
details dt { font-weight: 600; margin-top: .7rem }
details dd { margin: 0; max-width: 48em }
img { max-width: 100%; height: auto; vertical-align: top }
img.pixels { image-rendering: pixelated }
figure { margin: 0 }
.classes { display: grid; grid-template-columns: minmax(1.2em, max-content) 1fr; gap: .3rem .8rem; align-items: center }
.class { display: contents }
.class span { max-width: 6em; overflow-wrap: anywhere; text-align: right; color: var(--muted) }
.class img { min-width: 0 }
.drawings { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 1.5rem }
.scroll { overflow-x: auto }
.scroll img { max-width: none }
.beside { display: flex; flex-wrap: wrap; align-items: flex-start; gap: .6rem 2rem; margin-top: 1.5rem }
.beside .note { flex: 1 1 16rem; max-width: 26em; margin: 0 }
figcaption { color: var(--muted); font-size: .85rem; margin-top: .35rem }
.pairs { display: flex; flex-wrap: wrap; gap: 1.1rem 1.6rem }
.pair img + img { margin-left: 2px }
.pair figcaption { font-variant-numeric: tabular-nums }
pre { margin: 0; padding: .8rem 1rem; overflow-x: auto; border: 1px solid var(--line); border-radius: 6px;
  font: .85rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace }
.commands { margin: 0; display: grid; gap: .35rem }
.commands dt { color: var(--muted); font-size: .9rem; margin-top: .5rem }
.commands dd { margin: 0 }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
@media (max-width: 40rem) {
  body { padding-top: 1.5rem }
  .verdict { font-size: 1.3rem }
  section { margin-top: 2.25rem }
  .measures thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
  .measures tr { display: block; padding: .7rem 0; border-bottom: 1px solid var(--line) }
  .measures th, .measures td { display: block; border: 0; padding: 0; text-align: left; white-space: normal }
  .measures td:empty { display: none }
  .measures td[data-name="range"]::before { content: "95 % of the mean: "; color: var(--muted) }
  .measures td[data-name="floor"]::before { content: "real against real: "; color: var(--muted) }
  .measures td[data-name="samples"]::before { content: "samples: "; color: var(--muted) }
}
@media print { section { break-inside: avoid } }
"""
)


def section(title: str, *parts: str) -> str:
    """A part of the page under its heading; parts are HTML, empty ones leave no trace."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(part for part in parts if part) + "\n</section>"


def note(text: str) -> str:
    """A remark in small print; text is no HTML."""
    return f'<p class="note">{escape(text)}</p>'


__all__ = ["PAGE", "STYLE", "note", "section"]
