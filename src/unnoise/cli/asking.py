"""What a command line asks of a run: where, which samples, by which plan."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unnoise.cli.ask_first import reading
from unnoise.cli.options import pairs, seeds
from unnoise.cli.speak import say
from unnoise.config import UserError, choose, nearest
from unnoise.guide import Guidance
from unnoise.loop import Adaptive
from unnoise.metrics import MEASURES, Features
from unnoise.modality import Image, Points
from unnoise.rng import host
from unnoise.run import Run
from unnoise.samplers import SAMPLERS, Plan


def device(name: str) -> str:
    """The device of a name; auto is the fastest that this machine has."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(kind for kind, stands in there.items() if stands)
    if name.partition(":")[0] not in there:
        raise UserError(f"there is no device '{name}'; {nearest(name, ['auto', *there])}")
    if not there[name.partition(":")[0]]:
        raise UserError(f"this machine has no {name}; it has {', '.join(k for k, stands in there.items() if stands)}")
    return name


def averaged(run: Run, width: float | None) -> Run:
    """The run with the average of its weights that was asked for, if one was."""
    return run if width is None else run.averaged(width)


def asked(
    run: Run, n: int | None, seed_text: str | None, label: str | None
) -> tuple[list[int], list[int | str] | None, list[str]]:
    """What is to be drawn: a seed and a label for each sample (None: no label), and the rows for 'all'."""
    few = 1000 if run.recipe.modality.name == "points" else 16
    given = None if seed_text is None else list(seeds(seed_text))
    if given is not None and n is not None and n != len(given):
        raise UserError(f"--n {n} and --seeds {seed_text} ({len(given)} seeds) differ: give one of the two")
    if label is None:
        own = given or list(range(n or few))
        return own, _by_share(run, own), []
    classes = run.recipe.classes if "label" in run.recipe.telling.told else ()
    if not classes:
        told = ", ".join(run.recipe.telling.told)
        raise UserError(
            f"{run.recipe.name} was trained without labels, so --label {label} means nothing to it"
            + (f"; it is told {told}" if told else "")
        )
    if label == "all" and "all" not in classes:
        row = given or list(range(n or few))
        return row * len(classes), [name for name in classes for _ in row], list(classes)
    wanted: list[int | str] = [
        int(word) if word.isdecimal() and word not in classes else word
        for word in (part.strip() for part in label.split(","))
    ]
    if len(wanted) == 1:
        own = given or list(range(n or few))
        return own, wanted * len(own), []
    return given or list(range(n or len(wanted))), wanted, []


def told(
    run: Run,
    n: int | None,
    seed_text: str | None,
    label: str | None,
    texts: Sequence[str] | None = None,
    tells: Sequence[str] | None = None,
) -> tuple[list[int], dict[str, Any], list[str]]:
    """As `asked`, with prompts and what else is told: seeds, what is given by the name of its condition, and rows."""
    telling = run.recipe.telling
    given: dict[str, Any] = {}
    if texts:
        name = telling.text or "text"
        telling.one(name)
        given[name] = [prompt for text in texts for prompt in _prompts(text)]
    for pair in tells or ():
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UserError(f"--tell is written NAME=VALUE, such as --tell size=0.3; got '{pair}'")
        one = telling.one(name)
        if name in given or (name == "label" and label is not None):
            raise UserError(f"'{name}' is told twice: give it once")
        words: list[Any] = [word.strip() for word in value.split(one.mark)] if one.mark else [value]
        given[name] = [word.split(",") for word in words] if one.mark == ";" and len(words) > 1 else words
    many = max((len(each) for each in given.values()), default=1)
    if n is None and seed_text is None and many > 1 and (label is None or "," not in label):
        n = many
    wanted, labels, rows = asked(run, n, seed_text, label)
    given = {name: each[0] if len(each) == 1 else each for name, each in given.items()}
    return wanted, given if labels is None else {"label": labels, **given}, rows


def _prompts(text: str) -> list[str]:
    """A prompt, or those of the lines of a file."""
    if not text.startswith("@"):
        return [text]
    try:
        lines = Path(text[1:]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UserError(f"there is no file of prompts {text[1:]} in UTF-8: a line each") from None
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise UserError(f"{text[1:]} has no prompt in it: a line each is expected")
    return found


def _by_share(run: Run, wanted: Sequence[int]) -> list[int | str] | None:
    """A class for each row of a table whose classes are known, as often as among its real rows, by the row's seed."""
    modality = run.recipe.modality
    shares = modality.shares if isinstance(modality, Points) and "label" in run.recipe.telling.told else ()
    if not shares:
        return None
    bounds = np.cumsum(shares)[:-1]
    return [run.recipe.classes[int(np.searchsorted(bounds, host("class", seed).random()))] for seed in wanted]


def measures(words: str | None) -> tuple[str, ...] | None:
    """The measures that "kid,mmd" names; None: the standard table."""
    if words is None:
        return None
    names = tuple(word.strip() for word in words.split(",") if word.strip())
    if not names:
        raise UserError(f"--measures names some, or all: {', '.join(MEASURES)}")
    return names


def features(run: Run, spec: str, download: bool = False) -> Features:
    """The features of a name, such as classifier or inception:weights.pth, for a run's own items."""
    from unnoise.metrics.features import features_of
    from unnoise.metrics.judge import Judge

    modality = run.recipe.modality
    levels = (modality.low, modality.high) if isinstance(modality, Image) else None
    with reading():
        made = features_of(spec, run.device, download, run.recipe.source, levels)
    if isinstance(made, Judge):
        say(made.known.told, beside=True)
    return made


def plan_of(
    run: Run, sampler: str | None, steps: int | None, grid: str | None, words: Sequence[str] | None
) -> tuple[Plan, dict[str, Any]]:
    """A run's plan with parts replaced, and what to call it: the settings that make it again."""
    how = run.sampling(sampler, steps, grid, **pairs(words))
    settings = {"sampler": how.sampler, "steps": how.steps, "grid": how.grid, **(how.options or {})}
    return run.recipe.plan(how), {key: value for key, value in settings.items() if value is not None}


def way_of(
    run: Run,
    sampler: str | None,
    steps: int | None,
    grid: str | None,
    words: Sequence[str] | None,
    evaluations: int | None = None,
    guidance: Guidance | None = None,
) -> tuple[Plan | Adaptive, dict[str, Any]]:
    """As `plan_of`; and the adaptive flow, whose settings are its tolerance and what it takes at most.

    evaluations: instead of steps, as many of them as ask no more often; of a tuned plan, which of them.
    """
    if evaluations is not None:
        if steps is not None:
            raise UserError(f"--steps {steps} and --evaluations {evaluations} both say how long: give one of the two")
        if sampler in ("tuned", "adaptive"):
            words = [*(words or ()), f"evaluations={evaluations}"]
        else:
            how = run.sampling(sampler, None, grid, **pairs(words))
            rule: Any = choose("sampler", how.sampler, SAMPLERS)
            steps = rule.steps(evaluations, **(how.options or {}))
    if sampler == "tuned":
        options = pairs(words)
        if "guidance" in options:
            raise UserError("guidance is no option of the sampler: give it as --guidance")
        asked = {} if guidance is None else {"guidance": guidance}
        return run.plan(sampler, steps, grid, **asked, **options), {"sampler": sampler, **options}
    if sampler != "adaptive":
        return plan_of(run, sampler, steps, grid, words)
    how = run.way(sampler, steps, grid, **pairs(words))
    return how, {"sampler": sampler, **pairs(words)}


def called(settings: dict[str, Any]) -> str:
    """The settings of a plan in words: heun, 18 steps, grid karras, eta 0.5."""
    rest = {key: value for key, value in settings.items() if key not in ("sampler", "steps", "evaluations")}
    steps = [f"{settings[unit]} {unit}" for unit in ("steps", "evaluations") if unit in settings]
    return ", ".join([settings["sampler"], *steps, *(f"{k} {v}" for k, v in rest.items())])


def filed(settings: dict[str, Any]) -> str:
    """The settings of a plan as part of a file's name: heun-18-karras-eta-0.5."""
    rest = [f"{key}-{value}" for key, value in settings.items() if key not in ("sampler", "steps")]
    first = [str(settings[key]) for key in ("sampler", "steps") if key in settings]
    return "-".join([*first, *rest]).replace("/", "_").replace(" ", "")


__all__ = ["asked", "averaged", "called", "device", "features", "filed", "measures", "plan_of", "told", "way_of"]
