"""Parts around a frozen network on the command line: what is to be trained, and what is put on for sampling."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from unnoise.cli.options import pairs
from unnoise.config import UserError

if TYPE_CHECKING:
    from unnoise.recipe import Recipe
    from unnoise.run import Run

Lora: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="OPTIONS",
        help="With --from: train low-rank products around its frozen network: 'rank=8 alpha=8 targets=*attention* "
        "dropout=0'.",
    ),
]
Prior: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="OPTIONS", help="With --from: learn samples of it again beside: 'count=200 share=0.5'."),
]
Worn: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        "--control",
        "--image",
        metavar="PATH[=WEIGHT]",
        help="Put on a trained part, by its run or file; may recur. A control with its picture: 'runs/outline=0.8 "
        "hint=photo.png interval=0.1,80', an image prompt likewise: 'runs/prompted prompt=photo.png'.",
    ),
]
Control: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HINT",
        help="With --from: train a branch that is shown a hint of each item: outline, mask, depth, edges, grey, low, "
        "hole, or 'data leaf=NAME channels=1'.",
    ),
]
Image: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="OPTIONS", help="With --from: train a branch that is prompted by pictures: 'tokens=8'."),
]


def node(kind: str, words: Sequence[str]) -> dict[str, Any]:
    """The node of a part from "rank=8 targets=a,b"; several such are joined."""
    found: dict[str, Any] = {"kind": kind}
    each = [word for text in words for word in text.split()]
    if kind == "control" and each and "=" not in each[0]:
        each[0] = f"of={each[0]}"
    if kind == "image" and each == ["on"]:
        each = []
    for name, value in pairs(each).items():
        found[name] = [entry.strip() for entry in str(value).split(",")] if name == "targets" else value
    return found


def recipe_of(
    made: "Recipe",
    start_from: Path | None,
    parts: dict[str, list[str] | None],
    prior: list[str] | None,
    overrides: Sequence[str],
) -> "Recipe":
    """The recipe with the part and the prior that flags ask for; as it is, where they ask for nothing."""
    from unnoise import adapting
    from unnoise.recipe import resolve
    from unnoise.run import open as open_run

    asked = [kind for kind, words in parts.items() if words is not None]
    if len(asked) > 1:
        raise UserError(f"one part is trained at a time: --{asked[0]} or --{asked[1]}")
    flags = [f"--{kind}" for kind in asked] + ["--prior"] * (prior is not None)
    if not flags:
        return made
    if start_from is None:
        raise UserError(f"{flags[0]} is for a trained network: say whose, with --from RUN")
    kept = None if prior is None else {k: v for k, v in node("prior", prior).items() if k != "kind"}
    if asked:
        words = parts[asked[0]] or []
        return adapting.recipe_of(made, open_run(start_from), node(asked[0], words), kept, overrides)
    return resolve(made.name, {**made.nodes, "prior": kept}, made.known, made.source)


def worn(run: "Run", words: Sequence[str] | None) -> "Run":
    """The run with the parts on that words name, such as runs/inverted=0.7."""
    parts: dict[str | Path, Any] = {}
    for text in words or ():
        word, *rest = shlex.split(text) or [""]
        path, equals, weight = word.rpartition("=")
        told: dict[str, Any] = {}
        for one in rest:
            name, given, value = one.partition("=")
            if not given:
                raise UserError(f"what a part is told is written name=value, such as hint=photo.png; got '{one}'")
            told[name] = value.split(",") if "," in value else value
        try:
            told["weight"] = float(weight) if equals else 1.0
            if "interval" in told:
                low, high = (float(edge) for edge in told["interval"])
                told["interval"] = (low, high)
        except ValueError:
            raise UserError(
                f"a part is put on as PATH=WEIGHT, and what it is told follows, such as 'runs/outline=0.8 "
                f"hint=photo.png interval=0.1,80'; got '{text}'"
            ) from None
        place = Path(path if equals else word)
        if place in parts:
            raise UserError(f"{place} is put on twice: name each part once, with one weight")
        parts[place] = told
    return run.adapted(parts) if parts else run


def unshown(run: "Run") -> list[str]:
    """A line for each branch around a run's network that is shown no picture, and so adds nothing."""
    from unnoise.adapt import Adapted

    if run.recipe.nodes["adapt"]["kind"] == "nothing":  # what is put on by hand was asked for its picture there
        return []
    net, lines = run.denoiser.net, list[str]()
    for name, part in net.named if isinstance(net, Adapted) else ():
        for leaf in part.shows:
            if f"{leaf}:{name}" not in run.dials:
                flag = f"--{part.kind} '{run.folder} {leaf}=photo.png'"
                lines.append(
                    f"{run.recipe.name} is shown no picture, so its branch rests and the base draws alone; "
                    f"with one: unnoise sample {_base(run)} {flag}"
                )
    return lines


def _base(run: "Run") -> Path:
    """The run that a part was trained around, where it still stands; else a word for it."""
    import json

    from unnoise.folder import ORIGIN

    try:
        return Path(json.loads((run.folder / ORIGIN).read_text())["run"])
    except (OSError, ValueError, KeyError):
        return Path("BASE")


__all__ = ["Control", "Image", "Lora", "Prior", "Worn", "node", "recipe_of", "unshown", "worn"]
