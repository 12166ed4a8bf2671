"""Tuned plans in a run's folder: kept with what they were tuned for and what is known of them; and work in hand."""

import hashlib
import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load, save

from unnoise import files
from unnoise.config import UserError
from unnoise.distill.head import Head, Law
from unnoise.distill.race import Untuned
from unnoise.distill.tune import Tuned
from unnoise.guide import Guidance, nodes
from unnoise.samplers import Plan
from unnoise.tensor import Tensor

FOLDER, WORK = "tuned", "work"


def weight_of(guidance: Guidance) -> float | None:
    """The weight of classifier-free guidance, 1 for none; None where other guides are asked for."""
    made = nodes(guidance)
    if not made:
        return 1.0
    plain = len(made) == 1 and made[0].keys() == {"kind", "weight"} and made[0]["kind"] == "cfg"
    return float(made[0]["weight"]) if plain else None


@dataclass(frozen=True)
class Shelf:
    """The plans of a run's folder. weights: SHA-256 of those that are asked, which a plan is tuned to."""

    run: Path
    weights: str

    def put(self, tuned: Tuned, guides: str | None = None) -> Path:
        """Keeps a plan; UserError where it is no better than its ancestor. guides: where they are no weight alone."""
        if not tuned.better:
            raise UserError(
                f"tuning did not help at {tuned.plan.rows} evaluations: {tuned.distance:.4f} from the fine solution, "
                f"and {tuned.ancestor.name} {tuned.before:.4f}; the plan is not kept"
            )
        plan, ancestor, head = tuned.plan, tuned.ancestor, tuned.plan.head
        told: dict[str, Any] = {
            "evaluations": plan.rows,
            "weights": self.weights,
            "guidance": list(tuned.guidance),
            "guides": guides,
            "distance": tuned.distance,
            "ancestor": {
                "sampler": ancestor.sampler,
                "grid": ancestor.grid,
                "steps": ancestor.steps,
                "distance": tuned.before,
            },
            "judged": tuned.items,
            "budget": list(tuned.budget),
            "plan": replace(plan, head=None).to_dict(),
        }
        if isinstance(head, Head):
            law = self._law(head.law.digest)
            if not law.exists():
                files.put(law, save_arrays(head.law.arrays()))
            told["head"] = {"law": law.name, "here": head.here, "there": head.there}
        return files.put(self._place(plan.rows, tuned.guidance, guides), json.dumps(told, indent=1))

    def get(self, evaluations: int, weight: float = 1.0, guides: str | None = None) -> Tuned:
        """The plan of so many evaluations for a weight of guidance, or for other guides; UserError where none is.

        Of several ranges that hold the weight, the narrowest.
        """
        alike = [entry for entry in self.all() if (entry["guides"] or None) == guides]
        fitting = [e for e in alike if guides is not None or e["guidance"][0] <= weight <= e["guidance"][1]]
        found = [entry for entry in fitting if entry["evaluations"] == evaluations]
        how = f" with guidance {guides or format(weight, 'g')}" if guides or weight != 1 else ""
        asking = f"unnoise tune {self.run} --evaluations {evaluations}"
        if not found:
            others = sorted({entry["evaluations"] for entry in fitting})
            told = f"; there are plans of {', '.join(map(str, others))}" if others else ""
            if not others and (there := list(dict.fromkeys(_guided(entry) for entry in self.all()))):
                told = f", but plans tuned for guidance {', '.join(there)}"
            raise UserError(
                f"{self.run} has no plan tuned to {evaluations} evaluations{how}{told}: {asking}{_say(how)}"
            )
        entry = min(found, key=lambda e: e["guidance"][1] - e["guidance"][0])
        if entry["weights"] != self.weights:
            raise UserError(
                f"the plan of {evaluations} evaluations{how} was tuned to other weights of {self.run}: {asking}"
                f"{_say(how)} again"
            )
        return self.read(entry, weight)

    def has(self, evaluations: int, guidance: tuple[float, float], guides: str | None = None) -> bool:
        """Whether a plan is kept that was tuned for just this, to these weights."""
        place = self._place(evaluations, guidance, guides)
        return place.exists() and _told(place)["weights"] == self.weights

    def all(self) -> list[dict[str, Any]]:
        """What is known of every plan kept, fewest evaluations first."""
        found = [_told(path) for path in (self.run / FOLDER).glob("*.json")]
        return sorted(found, key=lambda entry: (entry["evaluations"], entry["guidance"], str(entry["guides"])))

    def store(self, *settings: Any) -> "Work":
        """Where work in hand of these settings is kept."""
        name = hashlib.sha256(repr((self.weights, *settings)).encode()).hexdigest()[:12]
        return Work(self.run / FOLDER / f"{WORK}-{name}")

    def read(self, entry: dict[str, Any], weight: float | None = None) -> Tuned:
        """A plan of `all`, for a weight of guidance that it was tuned for; that amid the range if None."""
        weight = sum(entry["guidance"]) / 2 if weight is None else weight
        told, ancestor = Plan.from_dict(entry["plan"]), entry["ancestor"]
        if entry.get("head"):
            how, path = entry["head"], self.run / FOLDER / entry["head"]["law"]
            try:
                law = Law.from_arrays(load_arrays(path.read_bytes()))
            except (SafetensorError, KeyError):
                raise UserError(f"{path} is damaged: tune the plan again") from None
            told = replace(told, head=Head(law, tuple(how["here"]), tuple(how["there"]), weight))
        known = Untuned(ancestor["sampler"], ancestor["grid"], ancestor["steps"], told, ancestor["distance"])
        guidance = (entry["guidance"][0], entry["guidance"][1])
        budget = tuple(entry["budget"])
        return Tuned(told, known, entry["distance"], ancestor["distance"], budget, guidance, entry["judged"])

    def _place(self, evaluations: int, guidance: tuple[float, float], guides: str | None) -> Path:
        least, most = guidance
        how = f"-w{least:g}" + (f"-{most:g}" if most != least else "") if guidance != (1.0, 1.0) else ""
        if guides is not None:
            how = f"-{re.sub('[^a-z0-9]+', '-', guides.lower()).strip('-')}"
        return self.run / FOLDER / f"{evaluations}{how}.json"

    def _law(self, digest: str) -> Path:
        return self.run / FOLDER / f"law-{digest[:12]}.safetensors"


@dataclass(frozen=True)
class Work:
    """Tensors of work in hand, a file each; removed when the work is done."""

    folder: Path

    def get(self, name: str) -> dict[str, Tensor] | None:
        """What was kept under a name; nothing where a file is damaged: it is made again."""
        path = self.folder / f"{name}.safetensors"
        try:
            return load(path.read_bytes()) if path.exists() else None
        except SafetensorError:
            return None

    def put(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Keeps tensors under a name."""
        files.put(self.folder / f"{name}.safetensors", save(tensors))

    def done(self) -> None:
        """Nothing of it is needed any more."""
        files.drop(self.folder)


def _told(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_bytes())
        if not all(math.isfinite(float(told[key])) for key in ("evaluations", "distance")):
            raise ValueError
        return {"guides": None, **told}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged: it holds no tuned plan; remove it, and tune again") from None


def _guided(entry: dict[str, Any]) -> str:
    """What a plan was tuned for: 1, or 1 to 4, or guides in words."""
    least, most = entry["guidance"]
    return entry["guides"] or (f"{least:g}" if least == most else f"{least:g} to {most:g}")


def _say(how: str) -> str:
    return f" --guidance {how.removeprefix(' with guidance ')}" if how else ""


__all__ = ["Shelf", "Work", "weight_of"]
