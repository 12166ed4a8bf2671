"""Schedules side by side, and what they do to data."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from unnoise.config import UserError
from unnoise.process.schedule import Schedule
from unnoise.report import panels
from unnoise.report.grids import Picture
from unnoise.report.style import Numbers, figure, themed

STEPS = 1000  # the chain that betas are told for
FRAME = 14.0  # logSNR is drawn between −FRAME and FRAME


def chain(schedule: Schedule, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """beta_k, abar_k and logSNR_k for k = 1..T from logSNR alone, so every process can be compared.

    abar = α²/(α² + σ²) = sigmoid(logSNR), beta_k = 1 − abar_k/abar_{k−1}; on variance-preserving schedules
    these are the textbook's, before clipping (Ho et al., 2020, Eq. 4).
    """
    logsnr = np.asarray(schedule.logsnr(np.arange(steps + 1) / steps), dtype=np.float64)
    log_abar = -np.logaddexp(0.0, -logsnr)
    with np.errstate(invalid="ignore"):
        beta = -np.expm1(np.diff(log_abar))
    return beta, np.exp(log_abar[1:]), logsnr[1:]


def schedules(
    named: Mapping[str, Schedule], theme: str = "light", title: str = "Noise schedules", steps: int = STEPS
) -> Figure:
    """beta per step, abar and logSNR of several schedules over t in [0, 1]."""
    if not named:
        raise UserError("there is no schedule to draw: expected at least one")
    with themed(theme) as look:
        fig = figure((11.0, 3.5))
        fig.get_layout_engine().set(w_pad=0.09)  # type: ignore[union-attr]
        noise, signal, ratio = fig.subplots(1, 3)
        t = np.arange(1, steps + 1) / steps
        for (name, schedule), line in zip(named.items(), look.series(len(named)), strict=True):
            beta, abar, logsnr = chain(schedule, steps)
            noise.plot(t, np.where(beta > 0, beta, np.nan), **line)
            signal.plot(t, abar, **line)
            inside = np.abs(logsnr) <= FRAME
            ratio.plot(t[inside], logsnr[inside], label=name, **line)
        noise.set_yscale("log")
        noise.set_ylim(3e-6, 2)
        noise.set(title=f"Noise of a step, T = {steps}", ylabel="β per step")
        signal.set(title="Share of signal", ylabel=r"$\bar{\alpha}$ = α² / (α² + σ²)")
        ratio.set(title="Signal to noise", ylabel="logSNR = log(α² / σ²), nats", ylim=(-FRAME, FRAME))
        for axes in (noise, signal, ratio):
            axes.set(xlabel="time t, clean (0) to noise (1)", xlim=(0, 1))
        fig.suptitle(title, x=0.005, ha="left", fontsize=11.5, fontweight="bold")
        handles, names = ratio.get_legend_handles_labels()
        fig.legend(handles, names, loc="outside right center", handlelength=3)
    return fig


def corrupt(x0: np.ndarray, schedule: Schedule, t: float, seed: int = 0) -> np.ndarray:
    """x_t = α(t)·x_0 + σ(t)·noise, the same noise for a seed at every t."""
    place = np.array([t], dtype=np.float64)
    noise = np.random.default_rng(seed).standard_normal(x0.shape)
    return float(schedule.alpha(place)[0]) * x0 + float(schedule.sigma(place)[0]) * noise


def forward(
    x0: np.ndarray,
    schedule: Schedule,
    times: Numbers = (0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0),
    name: str = "",
    render: Callable[[np.ndarray], Sequence[Picture]] | None = None,
    seed: int = 0,
    theme: str = "light",
) -> Figure:
    """Data x_0 corrupted at several times: points (N, 2) as clouds, images (N, C, H, W) as a strip.

    Images are in the model's range [−1, 1]; render: a batch as pictures (a modality's decode), after the
    state was brought to unit scale by 1/sqrt(α² + σ²), so that growing noise does not leave the range.
    """
    t = np.asarray(times, dtype=np.float64)
    states = [corrupt(x0, schedule, float(at), seed) for at in t]
    scale = np.sqrt(np.asarray(schedule.alpha(t)) ** 2 + np.asarray(schedule.sigma(t)) ** 2)
    title = f"Data on its way to noise{f', {name} schedule' if name else ''}"
    names = [_moment(float(at), float(ratio)) for at, ratio in zip(t, schedule.logsnr(t), strict=True)]
    if x0.ndim == 2:
        if x0.shape[1] != 2:
            raise UserError(f"points are drawn in the plane: expected (N, 2), got {x0.shape}")
        shown = {f"t = {at:g}": state / by for at, state, by in zip(t, states, scale, strict=True)}
        return panels.clouds(shown, title, units="unit scale", theme=theme)
    show = render or pictures
    rows = [show(state / by) for state, by in zip(states, scale, strict=True)]
    return panels.strip(
        [list(row) for row in zip(*rows, strict=True)],
        names,
        [f"item {i + 1}" for i in range(len(x0))],
        title,
        "time t; below it logSNR in nats",
        theme,
    )


def pictures(batch: np.ndarray) -> list[np.ndarray]:
    """(N, C, H, W) in [−1, 1] as images: 1, 3 or 4 channels, the first alone where there are others."""
    if batch.ndim != 4:
        raise UserError(f"images are a batch (N, C, H, W), got {batch.shape}")
    kept = batch if batch.shape[1] in (1, 3, 4) else batch[:, :1]
    return list(np.clip((np.moveaxis(np.asarray(kept, dtype=np.float64), 1, -1) + 1) / 2, 0, 1))


def _moment(t: float, logsnr: float) -> str:
    ratio = "∞" if np.isposinf(logsnr) else "−∞" if np.isneginf(logsnr) else f"{logsnr:.1f}".replace("-", "−")
    return f"{t:g}\n{ratio}"


__all__ = ["STEPS", "chain", "corrupt", "forward", "pictures", "schedules"]
