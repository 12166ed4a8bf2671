"""Denoisers around denoisers: each is one itself, so they stand around one another in any order that makes sense."""

from collections.abc import Callable
from typing import Any

from unnoise.config import Tables, UserError, build
from unnoise.denoise.denoiser import Denoiser
from unnoise.guide.autoguidance import Autoguidance, Models, autoguidance
from unnoise.guide.blend import BLENDS, Blend, Linear, Projected, Rescaled
from unnoise.guide.cfg import CFG, Named, Null, apg, cfg, rescaled
from unnoise.guide.classifier import Classifier, classifier
from unnoise.guide.guide import Asked, Guide, Nobody, Question, evaluations, is_guide
from unnoise.guide.threshold import Dynamic, Static
from unnoise.guide.words import Guidance, Nodes, nodes, plain, several, words
from unnoise.process.gaussian import Gaussian

# What a node of guidance builds; `inner`, `null`, `named` and `models` are the run's, the rest its options.
GUIDES: dict[str, Callable[..., Guide]] = {
    "cfg": cfg,
    "rescaled": rescaled,
    "apg": apg,
    "autoguidance": autoguidance,
    "classifier": classifier,
    "static": Static,
    "dynamic": Dynamic,
}
TABLES: Tables = {Guide: GUIDES, Blend: BLENDS}
CONDITIONED = ("cfg", "rescaled", "apg", "classifier")  # which have nothing to follow where there is no condition


def guided(inner: Denoiser, guides: Guidance, null: Null, named: Named, models: Models) -> Denoiser:
    """A denoiser with guides around it, from the inside out; `inner` itself where there are none.

    null: the value of each condition that means nothing; named: a label's name or number → the value of its condition;
    models: (run, items, ema, of_labels) → the denoiser of another run, its classifier, or the denoiser of the same run
    after fewer items or with another average of its weights.
    """
    made = inner
    for node in nodes(guides):
        if node["kind"] in CONDITIONED and not null:
            raise UserError("it was trained without conditions, so guidance has nothing to follow")
        context: dict[str, Any] = {"inner": made, "null": null, "named": named, "models": models}
        made, _ = build(Guide, node, TABLES, "guidance", context)
    return made


def check(guides: Guidance, null: Null, named: Named, process: Gaussian) -> None:
    """Raises where guides are not to be built: before there is anything to guide."""
    nobody = Nobody(process)
    guided(nobody, guides, null, named, lambda run, items, ema, of_labels: nobody)


__all__ = [
    "BLENDS",
    "CFG",
    "GUIDES",
    "TABLES",
    "Asked",
    "Autoguidance",
    "Blend",
    "Classifier",
    "Dynamic",
    "Guidance",
    "Guide",
    "Linear",
    "Models",
    "Nodes",
    "Projected",
    "Question",
    "Rescaled",
    "Static",
    "check",
    "evaluations",
    "guided",
    "is_guide",
    "nodes",
    "plain",
    "several",
    "words",
]
