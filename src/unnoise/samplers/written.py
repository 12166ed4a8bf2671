"""A row of a plan written out as a function: the fast executor of one plan.

A row is known when its plan is: which columns are zero, which coefficients are 1, which memory is written to. So it is
turned into the few lines of Python that a person would write for it, compiled once for every such pattern, and nothing
is looked up between two questions. A row of DPM-Solver++(2M) reads

    def step(state, x0, draw, v=None):
        x, base, (m0, m1,) = state
        m1 = x0 if x0.dtype is x.dtype else x0.to(x.dtype)
        base = mul(base, B0).add_(m0, alpha=B1).add_(m1, alpha=B2)
        return new(State, (base, base, (m0, m1,)))

and where its coefficients sum to 1, as they do wherever alpha stays 1, each column after the first is one pass:

        base = lerp(base, m0, B0).lerp_(m1, B1)
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch

from unnoise.samplers.mix import mixtures
from unnoise.samplers.step import State, Step
from unnoise.tensor import Array

Line = tuple[tuple[str, bool], ...]  # the columns that are not zero by name, and whether their coefficient is 1


class _Form(NamedTuple):
    """All of a row but its numbers; ask is None where it is the base."""

    memories: int
    slot: int
    plain: bool  # whether x0 itself is remembered
    base: Line
    ask: Line | None
    mixed: tuple[bool, bool]  # whether base, and ask, are mixed by shares
    noisy: bool
    spread: bool


def row_step(keep: Array, slot: int, base: Array, ask: Array, spread: float) -> Step:
    """The function of one row.

    Pure: (state, x0, draw, v) → state, and draw is called only where the noise column is not zero; its deviation is
    multiplied by exp(spread·v) where the row has a spread and the belief a v.
    """
    names = ["base", *(f"m{m}" for m in range(len(base) - 2)), "noise"]
    same, noisy = bool((base == ask).all()), bool(base[-1] or ask[-1])
    lines = tuple(
        tuple((name, value == 1) for name, value in zip(names, row.tolist(), strict=True) if value)
        for row in (base, ask)
    )
    plain = keep.tolist() == [0.0, 1.0]
    given = [[value for value in row.tolist() if value] for row in (base, ask)]
    shares = [_shares(row, line) for row, line in zip((base, ask), given, strict=True)]
    mixed = shares[0] is not None, shares[1] is not None
    form = _Form(len(base) - 2, slot, plain, lines[0], None if same else lines[1], mixed, noisy, bool(spread))
    numbers = [_constants(line) if share is None else share for line, share in zip(given, shares, strict=True)]
    return _maker(form)(*_constants(keep.tolist()), *numbers[0], *numbers[1], spread)


def _shares(row: Array, line: list[float]) -> list[float] | None:
    """The numbers of a line that is mixed by shares, and its noise, which is none of the mix; None of another line."""
    (mixed,), (shares,) = mixtures(row[None, :-1])
    given = [share for share, value in zip(shares.tolist(), row.tolist(), strict=False) if value]
    return given[1:] + line[len(given) :] if mixed and len(given) > 1 else None


def _constants(line: list[float]) -> list[Any]:
    """The first as a tensor without axes, on the host: torch need not wrap it anew at every question."""
    with torch.inference_mode(False):  # what is kept must serve a caller who records gradients, too
        return [torch.tensor(value, dtype=torch.float64, device="cpu") for value in line[:1]] + line[1:]


@cache
def _maker(form: _Form) -> Callable[..., Step]:
    """Compiles a form: its numbers → the function."""
    memory = "".join(f"m{m}, " for m in range(form.memories))
    ask, (mixed, asks_mixed) = form.base if form.ask is None else form.ask, form.mixed
    names = ["K0", "K1", *_names("B", form.base, mixed), *_names("A", ask, asks_mixed), "SPREAD"]
    body = [
        f"x, base, ({memory}) = state",
        f"m{form.slot} = "
        + ("x0 if x0.dtype is x.dtype else x0.to(x.dtype)" if form.plain else "mul(x, K0).add_(x0, alpha=K1)"),
    ]
    if form.noisy:
        body.append("noise = draw()")
        if form.spread:
            body.append("noise = noise if v is None else noise * (SPREAD * v).exp()")
    if form.ask is None:
        body += [f"base = {_sum('B', form.base, mixed)}", f"return new(State, (base, base, ({memory})))"]
    else:
        body += [f"asked = {_sum('A', ask, asks_mixed)}", f"base = {_sum('B', form.base, mixed)}"]
        body.append(f"return new(State, (asked, base, ({memory})))")
    inner = "".join(f"\n        {line}" for line in body)
    text = f"def make({', '.join(names)}):\n    def step(state, x0, draw, v=None):{inner}\n    return step\n"
    room: dict[str, Any] = {
        "State": State,
        "new": tuple.__new__,
        "mul": torch.mul,
        "add": torch.add,
        "lerp": torch.lerp,
        "zeros_like": torch.zeros_like,
    }
    exec(text, room)  # nothing enters the text but the names of columns
    return room["make"]


def _names(letter: str, line: Line, mixed: bool) -> list[str]:
    return [f"{letter}{n}" for n in range(len(line) - mixed)]


def _sum(letter: str, line: Line, mixed: bool) -> str:
    """Columns added one after the other, or mixed; the first is never written to."""
    if not line:
        return "zeros_like(base)"
    if mixed:
        (first, _), (second, _), *more = line
        later = "".join(
            f".add_({name}, alpha={letter}{n})" if name == "noise" else f".lerp_({name}, {letter}{n})"
            for n, (name, _) in enumerate(more, 1)
        )
        return f"lerp({first}, {second}, {letter}0){later}"
    rest = [f"{name}, alpha={letter}{n}" for n, (name, _) in enumerate(line)]
    (first, one), left = line[0], rest[1:]
    if not one:
        total = f"mul({first}, {letter}0)"
    elif left:
        total = f"add({first}, {left.pop(0)})"
    else:
        total = first
    return total + "".join(f".add_({part})" for part in left)


__all__ = ["row_step"]
