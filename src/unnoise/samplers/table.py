"""The table of samplers, and `plan`, which writes one out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np

from unnoise.config import UserError, arguments, choose
from unnoise.process.ladder import Karras
from unnoise.process.schedule import Schedule
from unnoise.samplers import ancestral, churn, consistency, deis, dpm, dpmpp, er_sde, euler, langevin, pndm, sa, unipc
from unnoise.samplers.adams import starts_single
from unnoise.samplers.grid import risen, times
from unnoise.samplers.path import Path
from unnoise.samplers.plan import Plan
from unnoise.tensor import Array


@dataclass(frozen=True)
class Sampler:
    """A rule and what is promised of it.

    order: of the error of the state (of mean and variance, where stochastic) as the longest step falls, on a grid
    that ends before sigma = 0; 0 where the law is not met however fine the grid. evaluations: questions over so
    many steps of a grid that ends at 0, where alpha is not 0 at its start; stochastic: whether it draws noise;
    both given the options; strong: the order along one path of noise, 0 where its noise is on none; grid: taken
    if none is named.
    """

    rule: Callable[..., Plan]
    order: int | Callable[..., int]
    evaluations: Callable[..., int] = lambda steps, **options: steps
    stochastic: Callable[..., bool] = lambda **options: False
    grid: str = "karras"
    strong: int = 0

    def promised(self, **options: Any) -> int:
        """The order, given the rule's options."""
        return self.order if isinstance(self.order, int) else self.order(**options)

    def steps(self, evaluations: int, **options: Any) -> int:
        """The most steps that ask no more than so often; UserError where one step asks more."""
        if self.evaluations(1, **options) > evaluations:
            raise UserError(f"one step asks {self.evaluations(1, **options)} times, more than {evaluations}")
        steps = 1
        while steps < evaluations and self.evaluations(steps + 1, **options) <= evaluations:
            steps += 1
        return steps


def _single(stages: int) -> Callable[..., int]:
    """So many questions an interval, but one in that onto 0."""
    return lambda steps, **options: stages * (steps - 1) + 1


def _started(extra: int) -> Callable[..., int]:
    """So many more in the first interval, where it is not the last and the start is to keep the order."""
    return lambda steps, start="auto", **options: steps + extra * (steps > 1 and starts_single(start, steps))


def _kept(order: int, least: int = 2) -> Callable[..., int]:
    """The order with single steps at the start; with fewer answers there, the order of the first step's sum."""
    return lambda start="auto", **options: min(order, least) if start == "multistep" else order


def _restarted(steps: int, **options: Any) -> int:
    """What is walked again depends on the grid: this is rho 7 over 0.002 to 80."""
    schedule = Karras()
    return churn.restart(Path.over(schedule, times("karras", schedule, steps)), **options).rows


def _noisy(name: str, default: float | int, factor: str = "") -> Callable[..., bool]:
    """Whether the option that scales the noise is above 0, and its factor, if it has one."""
    return lambda **options: options.get(name, default) > 0 and options.get(factor, 1) > 0


def _always(**options: Any) -> bool:
    return True


def _met(s_churn: float = 40.0, s_noise: float = 1.0, **options: Any) -> int:
    """EDM's order: two, but where its noise is not that of the level it is put back to, the law is not met at all."""
    return 2 if s_noise in (0, 1) or not s_churn else 0


SAMPLERS: dict[str, Sampler] = {
    "ddpm": Sampler(euler.ddpm, 1, stochastic=_always, grid="time", strong=1),
    "ddim": Sampler(euler.ddim, 1, stochastic=_noisy("eta", 0.0), grid="time", strong=1),
    "euler": Sampler(euler.euler, 1),
    "heun": Sampler(euler.heun, 2, _single(2)),
    "dpm_2": Sampler(dpm.dpm_2, 2, _single(2)),
    "dpm_3": Sampler(dpm.dpm_3, 3, _single(3)),
    "dpmpp_2s": Sampler(dpmpp.dpmpp_2s, 2, _single(2)),
    "dpmpp_3s": Sampler(dpmpp.dpmpp_3s, 3, _single(3)),
    "dpmpp_2m": Sampler(dpmpp.dpmpp_2m, 2),
    "dpmpp_3m": Sampler(dpmpp.dpmpp_3m, _kept(3), _started(1)),
    "dpmpp_3m_published": Sampler(dpmpp.dpmpp_3m_published, 2),
    "dpmpp_1_sde": Sampler(dpmpp.dpmpp_1_sde, 1, stochastic=_noisy("eta", 1.0), strong=1),
    "dpmpp_sde": Sampler(dpmpp.dpmpp_sde, 2, _single(2), _noisy("eta", 1.0), strong=1),
    "dpmpp_2m_sde": Sampler(dpmpp.dpmpp_2m_sde, 2, stochastic=_noisy("eta", 1.0), strong=1),
    "dpmpp_3m_sde": Sampler(dpmpp.dpmpp_3m_sde, 2, stochastic=_noisy("eta", 1.0), strong=1),
    "unip_1": Sampler(unipc.unip(1), 1),
    "unip_2": Sampler(unipc.unip(2), 2),
    "unip_3": Sampler(unipc.unip(3), _kept(3), _started(1)),
    "unip_4": Sampler(unipc.unip(4), _kept(4), _started(2)),
    "unipc_1": Sampler(unipc.unipc(1), 2),
    "unipc_2": Sampler(unipc.unipc(2), 3),
    "unipc_3": Sampler(unipc.unipc(3), _kept(4, 3), _started(2)),
    "unipc_4": Sampler(unipc.unipc(4), _kept(5, 3), _started(3)),
    "deis_1": Sampler(deis.deis(1), 1, grid="time"),
    "deis_2": Sampler(deis.deis(2), 2, grid="time"),
    "deis_3": Sampler(deis.deis(3), _kept(3), _started(1), grid="time"),
    "pndm": Sampler(pndm.pndm, 2, lambda steps, **options: steps + 3 * min(3, steps - 1), grid="time"),
    "plms": Sampler(pndm.plms, 2, lambda steps, **options: steps + (steps > 1), grid="time"),
    "ipndm_1": Sampler(pndm.ipndm(1), 1, grid="time"),
    "ipndm_2": Sampler(pndm.ipndm(2), 2, grid="time"),
    "ipndm_3": Sampler(pndm.ipndm(3), 2, grid="time"),
    "ipndm_4": Sampler(pndm.ipndm(4), 2, grid="time"),
    "lms_1": Sampler(deis.lms(1), 1),
    "lms_2": Sampler(deis.lms(2), 2),
    "lms_3": Sampler(deis.lms(3), _kept(3), _started(1)),
    "lms_4": Sampler(deis.lms(4), _kept(4), _started(2)),
    "euler_ancestral": Sampler(ancestral.euler_ancestral, 1, stochastic=_noisy("eta", 1.0), strong=1),
    "dpmpp_2s_ancestral": Sampler(ancestral.dpmpp_2s_ancestral, 2, _single(2), _noisy("eta", 1.0), strong=1),
    "edm": Sampler(churn.edm, _met, _single(2), _noisy("s_churn", 40.0, "s_noise")),
    "euler_maruyama": Sampler(euler.euler_maruyama, 1, stochastic=_always, strong=1),
    "sa_solver": Sampler(sa.sa_solver, sa.order, stochastic=_noisy("tau", 1.0), strong=1),
    "er_sde_1": Sampler(er_sde.er_sde(1), 1, stochastic=_always, strong=1),
    "er_sde_2": Sampler(er_sde.er_sde(2), 2, stochastic=_always, strong=1),
    "er_sde_3": Sampler(er_sde.er_sde(3), 2, stochastic=_always, strong=1),
    "restart": Sampler(churn.restart, 2, _restarted, _noisy("repeats", 4.0)),
    "langevin": Sampler(langevin.langevin, 0, langevin.questions, _always),
    "predictor_corrector": Sampler(langevin.predictor_corrector, 0, langevin.corrected_questions, _always),
    "consistency": Sampler(consistency.consistency, 0, stochastic=_always),
}


@runtime_checkable
class HasSchedule(Protocol):
    """A Gaussian process, as far as a plan needs it."""

    @property
    def schedule(self) -> Schedule:
        """alpha and sigma over t."""
        ...


def plan(
    sampler: str,
    process: HasSchedule,
    steps: int | None = None,
    grid: str | Sequence[float] | Array | None = None,
    reverse: bool = False,
    **options: Any,
) -> Plan:
    """The table of a sampler for a process.

    sampler: a name of SAMPLERS; steps: intervals, always; grid: a name of GRIDS, or steps + 1 falling times;
    reverse: the same grid from data to noise, from the span's minimum where it ends at 0 (see `risen`): a plan that
    starts at x = alpha·x_0, for rules that draw no noise; options: the rule's own (ddim: eta; ddpm: variance).
    Raises UserError with the nearest right name.
    """
    entry: Sampler = choose("sampler", sampler, SAMPLERS)
    schedule = getattr(process, "schedule", None)
    if not isinstance(schedule, Schedule):
        raise UserError(f"a plan is for a process with a schedule, such as un.Gaussian(..), got {process!r}")
    grid = entry.grid if grid is None else grid
    rule_options, _ = arguments(entry.rule, options, {}, f"sampler {sampler}", {"path": None})
    rule_options.pop("path")
    fixed = grid if isinstance(grid, str) else tuple(np.asarray(grid, dtype=np.float64).tolist())
    if reverse and entry.stochastic(**rule_options):
        raise UserError(
            f"data are walked back to their noise by a rule that draws none, and {sampler} draws: take ddim, heun, "
            "dpmpp_2m or another that is deterministic"
        )
    return _write(sampler, schedule, steps, fixed, reverse, tuple(sorted(rule_options.items())))


@lru_cache(maxsize=256)
def _write(
    sampler: str,
    schedule: Schedule,
    steps: int | None,
    grid: str | tuple[float, ...],
    reverse: bool,
    options: tuple[tuple[str, Any], ...],
) -> Plan:
    falling = times(grid, schedule, steps)
    path = Path.over(schedule, risen(falling, schedule) if reverse else falling)
    if path.points[0].sigma == 0:
        raise UserError("sampling starts where there is noise: the first time of the grid has sigma = 0")
    return SAMPLERS[sampler].rule(path, **dict(options))
