"""Samplers of other libraries behind one door: schedulers of diffusers, loops of k-diffusion, callables like them."""

import importlib
import inspect
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from unittest import mock

import numpy as np
import torch

from unnoise.config import UserError, nearest
from unnoise.conformance.probe import Answer, Draw, Foreign
from unnoise.process import Gaussian
from unnoise.process.schedules import Cosine, Discrete, Flow, Karras, Linear, ScaledLinear, ZeroTerminal
from unnoise.samplers import GRIDS
from unnoise.samplers.grid import times
from unnoise.tensor import Tensor

SPAN = (0.002, 80.0)  # sigma of the grids on which loops over sigmas are asked

# Which sampler of ours theirs names. Options of theirs may change it; see `_named`.
RULES: dict[str, str] = {
    "DDPMScheduler": "ddpm",
    "DDIMScheduler": "ddim",
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler_ancestral",
    "HeunDiscreteScheduler": "heun",
    "LMSDiscreteScheduler": "lms_4",
    "PNDMScheduler": "pndm",
    "IPNDMScheduler": "ipndm_4",
    "KDPM2DiscreteScheduler": "dpm_2",
    "DEISMultistepScheduler": "deis_{order}",
    "DPMSolverMultistepScheduler": "dpmpp_{order}m",
    "DPMSolverSinglestepScheduler": "dpmpp_{order}s",
    "UniPCMultistepScheduler": "unipc_{order}",
    "SASolverScheduler": "sa_solver",
    "FlowMatchEulerDiscreteScheduler": "euler",
    "sample_euler": "euler",
    "sample_euler_ancestral": "euler_ancestral",
    "sample_heun": "heun",
    "sample_dpm_2": "dpm_2",
    "sample_lms": "lms_4",
    "sample_dpmpp_2s_ancestral": "dpmpp_2s_ancestral",
    "sample_dpmpp_sde": "dpmpp_sde",
    "sample_dpmpp_2m": "dpmpp_2m",
    "sample_dpmpp_2m_sde": "dpmpp_2m_sde",
    "sample_dpmpp_3m_sde": "dpmpp_3m_sde",
}
ORDER = {"DEISMultistepScheduler": 2, "UniPCMultistepScheduler": 2}  # what they solve at if nothing is asked; else 2


def foreign(spec: str, options: Mapping[str, Any] | None = None) -> Foreign:
    """The sampler that "library:name" names, with its own options.

    diffusers:CLASS: a scheduler; k_diffusion:sample_NAME, or MODULE:FUNCTION: a loop f(model, x, sigmas, **options)
    over falling sigmas that end at 0, where model(x, sigma) predicts the data; `grid`: theirs over sigma, karras if
    silent. Raises UserError where nothing of that name is there.
    """
    library, colon, name = spec.partition(":")
    if not colon or not library or not name:
        raise UserError(
            f"a sampler of another library is named library:name, such as diffusers:DDIMScheduler; got '{spec}'"
        )
    place = {"k_diffusion": "k_diffusion.sampling", "k-diffusion": "k_diffusion.sampling"}.get(library, library)
    try:
        module = importlib.import_module(place)
    except ImportError as error:
        root = (error.name or "").partition(".")[0]
        if root and root != place.partition(".")[0]:  # it is here, and what it needs is not
            raise UserError(f"{library} is here and needs {root}, which is not: install {root} too") from None
        raise UserError(f"{library} cannot be imported here ({error}): install it beside unnoise") from None
    made = getattr(module, name, None)
    if made is None or not callable(made):
        known = [entry for entry in dir(module) if entry.startswith("sample_") or entry.endswith("Scheduler")]
        raise UserError(f"{library} has no sampler '{name}'" + (f"; {nearest(name, known)}" if known else ""))
    chosen = dict(options or {})
    if inspect.isclass(made):
        return Scheduler(spec, made, chosen)
    grid = str(chosen.pop("grid", "karras"))
    try:
        inspect.signature(made).bind(None, None, None, **chosen)
    except TypeError as error:
        raise UserError(f"{spec} is no f(model, x, sigmas) that takes these options: {error}") from None
    if grid not in GRIDS:
        raise UserError(f"there is no grid '{grid}'; {nearest(grid, GRIDS)}")
    return Loop(spec, made, chosen, grid)


@dataclass(frozen=True)
class Loop:
    """f(model, x, sigmas): a whole loop over noise levels at alpha = 1, asked for data."""

    name: str
    made: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    grid: str = "karras"

    @property
    def process(self) -> Gaussian:
        """Noise added to data as it is."""
        return Gaussian(Karras(*SPAN))

    @property
    def rule(self) -> str | None:
        """By its name."""
        return RULES.get(getattr(self.made, "__name__", ""))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The rule as it is."""
        return {}

    def keep(self, alpha: float, sigma: float) -> tuple[float, float]:
        """It is answered the data prediction."""
        return 0.0, 1.0

    def run(self, steps: int, start: Tensor, answer: Answer, draw: Draw) -> Tensor:
        """Its loop over the grid's sigmas."""
        schedule = self.process.schedule
        sigmas = torch.from_numpy(schedule.sigma(times(self.grid, schedule, steps)))

        def model(x: Tensor, sigma: Tensor, **_: Any) -> Tensor:
            level = np.array(float(torch.as_tensor(sigma).flatten()[0]))
            return answer(x, float(schedule.time(-2 * np.log(level))))

        own: dict[str, Any] = dict(self.options)
        known = inspect.signature(self.made).parameters
        if "noise_sampler" in known:
            own["noise_sampler"] = lambda *_: draw(start)
        if "disable" in known:
            own["disable"] = True
        with drawing(draw, self.made.__module__):
            return self.made(model, start, sigmas, **own)


@dataclass(frozen=True)
class Scheduler:
    """A scheduler of diffusers: set_timesteps, scale_model_input, step."""

    name: str
    made: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def _make(self) -> Any:
        """A fresh one: they remember what they were asked."""
        return self._with(self._settled)

    @cached_property
    def _config(self) -> Mapping[str, Any]:
        """All its options, defaults and all."""
        return dict(self._make().config)

    def _with(self, options: Mapping[str, Any]) -> Any:
        try:
            return self.made(**options)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise UserError(f"{self.name} does not take these options: {error}") from None

    @cached_property
    def _settled(self) -> dict[str, Any]:
        """Its options; data predictions where it takes them, so that nothing is lost to a division by alpha."""
        own = dict(self.options)
        known = inspect.signature(self.made).parameters
        if "clip_sample" in known:  # not affine, and meant for pictures
            own.setdefault("clip_sample", False)
        if "prediction_type" not in known or "prediction_type" in own:
            return own
        asked, zeros = {**own, "prediction_type": "sample"}, torch.zeros(1, 1, 1, 8, dtype=torch.float64)
        try:
            trial, sample = self._with(asked), zeros
            trial.set_timesteps(3)
            with drawing(torch.zeros_like, self.made.__module__):
                for stamp in trial.timesteps:
                    sample = trial.step(zeros, stamp, sample).prev_sample
        except (NotImplementedError, ValueError, UserError):
            return own
        return asked

    @property
    def process(self) -> Gaussian:
        """The chain of its betas; rectified flow where it has none."""
        return self._process

    @cached_property
    def _process(self) -> Gaussian:
        known = self._config
        if self._flows:
            return Gaussian(Flow())
        if self._turns:
            return Gaussian(Cosine(0.0))
        T, first, last = (
            known.get(key, default)
            for key, default in (("num_train_timesteps", 1000), ("beta_start", 1e-4), ("beta_end", 0.02))
        )
        named = known.get("beta_schedule", "linear")
        if known.get("trained_betas") is not None or named not in ("linear", "scaled_linear", "squaredcos_cap_v2"):
            raise UserError(
                f"{self.name} has the betas '{named}'; linear, scaled_linear and squaredcos_cap_v2 are read"
            )
        if named == "squaredcos_cap_v2":
            inner: Any = Cosine()
        else:
            inner = (Linear if named == "linear" else ScaledLinear)(first, last)
        if known.get("rescale_betas_zero_snr", False):
            inner = ZeroTerminal(inner)
        return Gaussian(Discrete(inner, int(T)))

    @property
    def _flows(self) -> bool:
        return "FlowMatch" in self.made.__name__

    @property
    def _turns(self) -> bool:
        """Whether its clock is the angle between signal and noise, from 1 to 0."""
        return self.made.__name__ == "IPNDMScheduler"

    @property
    def rule(self) -> str | None:
        """By its name and its order; data prediction is what the + + of its names means."""
        named = RULES.get(self.made.__name__)
        if named is None:
            return None
        known = self._config
        order = known.get("solver_order", ORDER.get(self.made.__name__, 2))
        if order == 1 and named in ("deis_{order}", "dpmpp_{order}m", "dpmpp_{order}s"):
            return "ddim"
        named = named.format(order=order)
        kind = known.get("algorithm_type", "")
        if kind == "sde-dpmsolver++":
            return {"dpmpp_1m": "dpmpp_1_sde", "dpmpp_2m": "dpmpp_2m_sde", "dpmpp_3m": "dpmpp_3m_sde"}.get(named)
        if kind == "dpmsolver":
            return {"dpmpp_2s": "dpm_2", "dpmpp_3s": "dpm_3"}.get(named)
        return "dpmpp_3m_published" if named == "dpmpp_3m" else named

    @property
    def settings(self) -> Mapping[str, Any]:
        """DEIS is made in lambda there, not in t."""
        return {"variable": "lambda"} if (self.rule or "").startswith("deis") else {}

    def keep(self, alpha: float, sigma: float) -> tuple[float, float]:
        """What its prediction_type says; the velocity of a flow is noise − data."""
        if self._flows:
            return 1 / sigma, -(alpha + sigma) / sigma
        kind = "v_prediction" if self._turns else self._config.get("prediction_type", "epsilon")
        if kind == "sample":
            return 0.0, 1.0
        if kind == "v_prediction":  # alpha·noise − sigma·x0
            return alpha / sigma, -(alpha**2 + sigma**2) / sigma
        return 1 / sigma, -alpha / sigma

    def run(self, steps: int, start: Tensor, answer: Answer, draw: Draw) -> Tensor:
        """The loop of its pipelines."""
        made, schedule = self._make(), self.process.schedule
        try:
            made.set_timesteps(steps)
        except (ValueError, IndexError, ZeroDivisionError) as error:
            raise UserError(f"{self.name} has no grid of {steps} steps: {error}") from None
        T = made.config.get("num_train_timesteps", 1000)
        clock = [self._time(float(stamp), T) for stamp in made.timesteps]
        scale = getattr(made, "init_noise_sigma", 1.0)
        sample = start * float(scale) / float(schedule.sigma(np.array(clock[0])))
        with drawing(draw, self.made.__module__):
            for stamp, t in zip(made.timesteps, clock, strict=True):
                asked = made.scale_model_input(sample, stamp) if hasattr(made, "scale_model_input") else sample
                sample = made.step(answer(asked, t), stamp, sample).prev_sample
        return sample

    def _time(self, stamp: float, T: int) -> float:
        """Their timestep k is t = (k + 1)/T of the chain, and t = k/T of a flow."""
        return float(np.clip(stamp if self._turns else stamp / T if self._flows else (stamp + 1) / T, 0.0, 1.0))


@contextmanager
def drawing(draw: Draw, module: str) -> Generator[None]:
    """Every normal number that a library draws comes from `draw` in here."""

    def like(x: Tensor, *_: Any, **__: Any) -> Tensor:
        return draw(x)

    def shaped(*size: Any, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
        sizes = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
        return draw(torch.empty(sizes, dtype=dtype or torch.float64))

    home = importlib.import_module(module)
    patches = [mock.patch.object(torch, "randn_like", like), mock.patch.object(torch, "randn", shaped)]
    if hasattr(home, "randn_tensor"):
        patches.append(mock.patch.object(home, "randn_tensor", shaped))
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in reversed(patches):
            patch.stop()


__all__ = ["RULES", "Loop", "Scheduler", "drawing", "foreign"]
