"""Options that several commands share, and how their words are read. Nothing heavy."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from unnoise.config import UserError


def weight_or_words(text: str) -> float | str:
    """A number where it is one, else the words."""
    try:
        return float(text)
    except ValueError:
        return text


Folder: TypeAlias = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, such as runs/digits.")]
Pairs: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="[OPTION=VALUE]...", help="The sampler's own options, such as eta=0.5.")
]
Sampler: TypeAlias = Annotated[str | None, typer.Option(help="Sampler, if not the recipe's: ddim, heun, dpmpp_2m ...")]
Steps: TypeAlias = Annotated[int | None, typer.Option(help="Intervals from noise to data.", min=1)]
Evaluations: TypeAlias = Annotated[
    int | None,
    typer.Option(help="Questions to the network for each sample, instead of steps; of --sampler tuned, which.", min=1),
]
Grid: TypeAlias = Annotated[
    str | None, typer.Option(help="Where the steps fall: karras, logsnr, time ..., or times 0.99,0.5,0.")
]
Guidance: TypeAlias = Annotated[
    Any,  # a number or words
    typer.Option(
        metavar="WEIGHT|GUIDES",
        parser=weight_or_words,
        help="Weight of classifier-free guidance, 1: none; or guides with their options, such as "
        "'apg weight=4 + dynamic'.",
    ),
]
Ema: TypeAlias = Annotated[
    float | None,
    typer.Option("--ema", metavar="WIDTH", help="Another average of the weights, such as 0.05; 0: the last weights."),
]
Label: TypeAlias = Annotated[
    str | None, typer.Option(help="A label by name or number, several with commas, or 'all' for a row of each.")
]
Text: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="PROMPT", help="A prompt for all samples; again for one each; @FILE: a prompt a line."),
]
Tell: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="What else is told, by its name: size=0.3; again for another."),
]
Seeds: TypeAlias = Annotated[str | None, typer.Option(help="Seeds, one a sample: 0-63 or 1,5,9-12.")]
Count: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--n", "--count", help="How many samples, of seeds 0, 1, 2 ...; 16 images or 1000 points if silent.", min=1
    ),
]
Device: TypeAlias = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Results as one line of JSON on stdout.")]
Out: TypeAlias = Annotated[Path | None, typer.Option(help="File (.png, .npy; .csv of points) or folder to write.")]


MOST_SEEDS = 10_000_000  # at one asking: a slip of the pen, beyond that
LAST_SEED = 2**64 - 1


def seeds(text: str) -> Sequence[int]:
    """The seeds that "0-63" or "1,5,9-12" names, in that order."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UserError(f"seeds are written 0-63 or 1,5,9-12, got '{text}'")
        if dash and int(last) < int(first):
            raise UserError(f"seeds run upwards: write {last}-{first}, not {part.strip()}")
        start, end = int(first), int(last if dash else first)
        if end > LAST_SEED:
            raise UserError(f"a seed is a number from 0 to {LAST_SEED}, got {part.strip()}")
        if len(found) + end - start >= MOST_SEEDS:
            raise UserError(f"at most {MOST_SEEDS:,} samples are drawn at one asking, got the seeds {text}")
        found.extend(range(start, end + 1))
    return found


POWER = re.compile(r"[+-]?\d+[eE][+-]?\d+")  # 1e-5, which YAML takes for a word


def pairs(words: Sequence[str] | None) -> dict[str, Any]:
    """key=value words, the values in YAML."""
    import yaml

    found: dict[str, Any] = {}
    for word in words or ():
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UserError(f"an option of a sampler is written option=value, such as eta=0.5; got '{word}'")
        if key in ("sampler", "steps", "grid"):
            raise UserError(f"{key} is no option of a sampler: write --{key} {value.strip('[] ')}")
        try:
            found[key] = float(value) if POWER.fullmatch(value) else yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"the value of {key} is a number or a word, got '{value}'") from None
    return found


__all__ = [
    "Count",
    "Device",
    "Ema",
    "Evaluations",
    "Folder",
    "Grid",
    "Guidance",
    "Json",
    "Label",
    "Out",
    "Pairs",
    "Sampler",
    "Seeds",
    "Steps",
    "Tell",
    "Text",
    "pairs",
    "seeds",
]
