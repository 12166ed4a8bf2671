"""What every sampler here promises, and what it shows: orders over processes by algebra, errors at few evaluations."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unnoise.config import UserError
from unnoise.conformance import judge
from unnoise.process import Gaussian
from unnoise.process.schedule import Schedule
from unnoise.process.schedules import Cosine, Flow, Geometric, Karras, Linear
from unnoise.samplers import SAMPLERS, Plan
from unnoise.samplers import plan as write
from unnoise.tensor import Array

OVER: dict[str, Gaussian] = {
    "cosine": Gaussian(Cosine()),
    "linear": Gaussian(Linear()),
    "flow": Gaussian(Flow()),
    "geometric": Gaussian(Geometric()),
    "karras": Gaussian(Karras()),
}
PROCESSES_TOLD = "Gaussian data over the processes " + ", ".join(OVER)
HOME = "karras"  # whose errors at few evaluations are told
COUNTS = (64, 128, 256, 512)  # steps of the grids that orders are read from
CURVE = (4, 8, 16, 32, 64, 128)  # steps of the picture's
FEW = (5, 10, 20)  # evaluations
BAND = (0.1, 0.35)  # how far below and above its order a deterministic slope may lie


@dataclass(frozen=True, eq=False)
class Proof:
    """One sampler: its promise, the order shown on each process, W2 at few evaluations (nan: it has none so few)."""

    name: str
    stochastic: bool
    promised: int
    orders: dict[str, float]
    few: dict[int, float]
    asked: int  # evaluations of 10 steps
    evaluations: tuple[int, ...]
    errors: tuple[float, ...]

    @property
    def kept(self) -> bool:
        """Whether every order shown is the one promised; stochastic rules may show more. 0 promises nothing."""
        if not self.promised:
            return True
        least, most = self.promised - BAND[0], np.inf if self.stochastic else self.promised + BAND[1]
        return all(least <= order <= most for order in self.orders.values() if np.isfinite(order))

    @property
    def drawn(self) -> bool:
        """Whether it belongs in a picture of orders."""
        return not self.stochastic and bool(np.isfinite(self.errors).all()) and min(self.errors) > 0

    @property
    def cells(self) -> tuple[str, ...]:
        """Its row in words."""
        known = [order for order in self.orders.values() if np.isfinite(order)]
        shown = f"{min(known):.2f} to {max(known):.2f}" if known else "–"
        few = (f"{self.few[n]:.4f}" if np.isfinite(self.few[n]) else "–" for n in FEW)
        return (
            self.name,
            "stochastic" if self.stochastic else "",
            str(self.asked),
            str(self.promised) if self.promised else "none",
            shown + ("" if self.kept else "  out of its band"),
            *few,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "sampler": self.name,
            "stochastic": self.stochastic,
            "evaluations_of_10_steps": self.asked,
            "promised": self.promised,
            "orders": {name: None if np.isnan(order) else order for name, order in self.orders.items()},
            "kept": self.kept,
            "w2": {str(n): None if np.isnan(value) else value for n, value in self.few.items()},
            "evaluations": list(self.evaluations),
            "errors": list(self.errors),
        }


def proofs(names: Sequence[str] | None = None) -> Generator[Proof]:
    """The proof of every sampler of the table, one after the other."""
    for name in names or SAMPLERS:
        yield proof(name)


def proof(name: str, **options: Any) -> Proof:
    """The proof of one sampler with its options."""
    entry, home = SAMPLERS[name], OVER[HOME]
    plans = [write(name, home, grid=open_grid(home.schedule, steps), **options) for steps in CURVE]
    return Proof(
        name=name,
        stochastic=entry.stochastic(**options),
        promised=entry.promised(**options),
        orders={told: shown(name, process, **options) for told, process in OVER.items()},
        few={n: _few(name, home, n, options) for n in FEW},
        asked=write(name, home, 10, **options).rows,
        evaluations=tuple(plan.rows for plan in plans),
        errors=tuple(law_error(plan, home) for plan in plans),
    )


def _few(name: str, process: Gaussian, evaluations: int, options: dict[str, Any]) -> float:
    try:
        steps = SAMPLERS[name].steps(evaluations, **options)
        return judge.distance(
            write(name, process, steps, **options), process.schedule, *judge.spectrum(), from_prior=True
        )
    except UserError:
        return float("nan")


def shown(name: str, process: Gaussian, counts: Sequence[int] = COUNTS, **options: Any) -> float:
    """The order that a sampler shows on a process; nan where errors are rounding, or the process is refused."""
    try:
        plans = [write(name, process, grid=open_grid(process.schedule, steps), **options) for steps in counts]
    except UserError:
        return float("nan")
    return judge.order(counts, [law_error(plan, process) for plan in plans], floor=1e-12, last=True)


def law_error(plan: Plan, process: Gaussian) -> float:
    """How far from the truth a plan ends that starts at it, on the data that tables are judged on."""
    return judge.distance(plan, process.schedule, *judge.spectrum())


def open_grid(schedule: Schedule, steps: int, low: float = 0.05, high: float = 20.0) -> Array:
    """Times of ratios sigma/alpha from high to low, rho 7: an uneven grid that ends before sigma = 0."""
    least, most = schedule.span
    low, high = max(low, least), min(high, most)
    u = np.arange(steps + 1) / steps
    ratios = (high ** (1 / 7) + u * (low ** (1 / 7) - high ** (1 / 7))) ** 7
    return schedule.time(-2 * np.log(ratios))


__all__ = ["OVER", "Proof", "law_error", "open_grid", "proof", "proofs", "shown"]
