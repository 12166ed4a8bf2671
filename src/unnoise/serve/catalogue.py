"""What GET /v1/models says of a model: what it draws, what it can be told, what its bits depend on."""

from typing import Any

from unnoise.config import UserError
from unnoise.distill.shelf import Shelf
from unnoise.nets import NETS
from unnoise.samplers import GRIDS, SAMPLERS
from unnoise.serve.conditions import controls
from unnoise.serve.models import Loaded
from unnoise.serve.service import Service


def described(service: Service, name: str) -> dict[str, Any]:
    """A model in the shape of OpenAI's list, with its controls beside."""
    _, run = service.models.entry(name)
    recipe, loaded, limits = run.recipe, service.models.state(name), service.settings
    pictures, way = recipe.modality.name == "image", recipe.sampling
    told: dict[str, Any] = {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "unnoise",
        "draws": recipe.modality.name,
        "shape": list(recipe.shape),
        "any_size": pictures and NETS[recipe.nodes["net"]["kind"]].any_size,
        "controls": {
            **controls(run),
            "sampler": {"kind": "choice", "names": list(SAMPLERS), "default": way.sampler},
            "steps": {"kind": "whole", "least": 1, "most": limits.steps, "default": way.steps},
            "grid": {"kind": "choice", "names": list(GRIDS), "default": way.grid},
            "samples": {"kind": "whole", "least": 1, "most": limits.samples, "default": 1},
            "seeds": {"kind": "seeds"},
            **({"image": {"kind": "picture"}, "mask": {"kind": "mask"}, "strength": {"kind": "share"}}
               if pictures else {}),
        },
        "loaded": loaded is not None,
    }  # fmt: skip
    if loaded is not None and (plans := _tuned(loaded)):
        told["controls"]["tuned"] = {"kind": "plans", "plans": plans}
    if loaded is not None:
        told |= {"weights": loaded.weights, "bits": loaded.bits.told, "bytes": loaded.size}
    if service.models.trouble(name):
        told["trouble"] = service.models.trouble(name)
    return told


def _tuned(loaded: Loaded) -> list[dict[str, Any]]:
    """The plans that were tuned to these weights: how many evaluations, for what guidance, and what they have brought.

    share: their distance from the fine solution over that of the best untuned sampler, which is named.
    """
    try:
        kept = Shelf(loaded.run.folder, loaded.weights).all()
    except UserError:  # one that is damaged is told of when it is asked for
        return []
    return [
        {
            "evaluations": entry["evaluations"],
            "guidance": entry["guides"] or entry["guidance"],
            "share": round(entry["distance"] / entry["ancestor"]["distance"], 4),
            "untuned": entry["ancestor"]["sampler"],
        }
        for entry in kept
        if entry["weights"] == loaded.weights
    ]


__all__ = ["described"]
