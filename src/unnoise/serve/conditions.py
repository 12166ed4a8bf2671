"""The one seam between what a request says in words and what a network is told."""

from typing import Any

from unnoise.config import UserError
from unnoise.guide import Guidance, nodes
from unnoise.run import Label, Run
from unnoise.tensor import Tensor

GUIDES = ("cfg", "rescaled", "apg", "static", "dynamic")  # those that open no other run: a request names no folder


def told(run: Run, label: Label, count: int) -> dict[str, Tensor]:
    """The conditions of `count` samples: leaves (count, ...)."""
    return run.labels(label, count)


def controls(run: Run) -> dict[str, Any]:
    """What a model can be told, so that a client can offer it."""
    found: dict[str, Any] = {}
    if run.recipe.classes:
        found["label"] = {"kind": "choice", "names": list(run.recipe.classes)}
        found["guidance"] = {"kind": "weight", "default": run.recipe.sampling.guidance, "guides": list(GUIDES)}
    return found


def prompted(run: Run, prompt: str) -> Label:
    """What a prompt asks for: a label by its name or number; nothing where it is empty or *."""
    word = prompt.strip()
    if word in ("", "*"):
        return None
    if not run.recipe.classes:
        raise UserError(f"{run.recipe.name} is told nothing: send an empty prompt")
    return int(word) if word.isdecimal() and len(word) < 10 and word not in run.recipe.classes else word


def check_guides(guidance: Guidance) -> None:
    """Raises where guides are named that a request may not name."""
    for node in nodes(guidance):
        if node["kind"] not in GUIDES:
            raise UserError(f"a request is not guided by '{node['kind'][:40]}'; expected {', '.join(GUIDES)}")


__all__ = ["GUIDES", "check_guides", "controls", "prompted", "told"]
