"""The one seam between what a request says in words and what a network is told."""

from typing import Any

from unnoise.conditions import Told, ToldLabels, ToldNumbers
from unnoise.config import UserError, nearest
from unnoise.guide import Guidance, nodes
from unnoise.run import Run
from unnoise.serve.schema import JobRequest
from unnoise.tensor import Tensor

GUIDES = ("cfg", "rescaled", "apg", "static", "dynamic")  # those that open no other run: a request names no folder


def told(run: Run, asked: JobRequest, count: int) -> dict[str, Tensor]:
    """The conditions of `count` samples: leaves (count, ...)."""
    telling = run.recipe.telling
    for name in asked.tell:
        if not _of_words(telling.one(name)):
            raise UserError(f"'{name}' is not told in words, so a request cannot tell it")
    return run.cond(count, asked.label, asked.text, asked.tell)


def each(run: Run, asked: JobRequest, count: int) -> list[dict[str, Any]]:
    """What each sample is told, as a request for that sample alone would say it; what is not told is left out."""
    telling, found = run.recipe.telling, [dict[str, Any]() for _ in range(count)]

    def share(name: str | None, value: Any) -> list[Any]:
        if value is None or name is None or telling.one(name).single(value):
            return [value] * count
        return list(value)

    for i, (label, text) in enumerate(zip(share("label", asked.label), share(telling.text, asked.text), strict=True)):
        found[i] |= {name: one for name, one in (("label", label), ("text", text)) if one is not None}
    for name, value in asked.tell.items():
        for i, one in enumerate(share(name, value)):
            found[i].setdefault("tell", {})[name] = one
    return found


def controls(run: Run) -> dict[str, Any]:
    """What a model can be told, so that a client can offer it."""
    found: dict[str, Any] = {}
    for name, one in run.recipe.telling.told.items():
        if not _of_words(one):
            continue
        control: dict[str, Any] = {"kind": "text" if one.of_text else "numbers", "expects": one.expects}
        if isinstance(one, ToldLabels):
            control |= {"kind": "choice", "names": list(one.names), "many": one.many}
        if isinstance(one, ToldNumbers):
            control |= {"count": one.count, "ends": [list(ends) for ends in one.ends]}
        if name == "label" or one.of_text:
            found["text" if one.of_text else "label"] = control
        else:
            found.setdefault("tell", {})[name] = control
    if run.recipe.nulls:
        found["guidance"] = {"kind": "weight", "default": run.recipe.sampling.guidance, "guides": list(GUIDES)}
    return found


def prompted(run: Run, prompt: str) -> dict[str, Any]:
    """What a prompt asks for, as fields of a job: a text, or a label; nothing where it is empty or *."""
    word = prompt.strip()
    if word in ("", "*"):
        return {}
    if run.recipe.telling.text is not None:
        return {"text": prompt}
    if "label" not in run.recipe.telling.told:
        raise UserError(f"{run.recipe.name} is told nothing in words: send an empty prompt")
    return {"label": word}


def check_guides(guidance: Guidance) -> None:
    """Raises where guides are named that a request may not name."""
    for node in nodes(guidance):
        if node["kind"] not in GUIDES:
            raise UserError(f"a request is not guided by '{node['kind'][:40]}'; {nearest(node['kind'][:40], GUIDES)}")


def _of_words(one: Told) -> bool:
    """Whether a condition is told by numbers and words alone: what reads files is not for requests."""
    return one.of_text or isinstance(one, (ToldLabels, ToldNumbers))


__all__ = ["GUIDES", "check_guides", "controls", "each", "prompted", "told"]
