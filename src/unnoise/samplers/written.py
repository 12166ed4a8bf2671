"""A row of a plan written out as a function: the fast executor of one plan.

A row is known when its plan is: which columns are zero, which coefficients are 1, which memory is written to. So it is
turned into the few lines of Python that a person would write for it, compiled once for every such pattern, and nothing
is looked up between two questions. A row of DPM-Solver++(2M) reads

    def step(state, x0, draw, v=None):
        x, base, (m0, m1,) = state
        m1 = x0
        base = mul(base, B0).add_(m0, alpha=B1).add_(m1, alpha=B2)
        return new(State, (base, base, (m0, m1,)))
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch

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
    form = _Form(len(base) - 2, slot, plain, lines[0], None if same else lines[1], noisy, bool(spread))
    numbers = [_constants([value for value in row.tolist() if value]) for row in (base, ask)]
    return _maker(form)(*_constants(keep.tolist()), *numbers[0], *numbers[1], spread)


def _constants(line: list[float]) -> list[Any]:
    """The first as a tensor without axes, on the host: torch need not wrap it anew at every question."""
    with torch.inference_mode(False):  # what is kept must serve a caller who records gradients, too
        return [torch.tensor(value, dtype=torch.float64, device="cpu") for value in line[:1]] + line[1:]


@cache
def _maker(form: _Form) -> Callable[..., Step]:
    """Compiles a form: its numbers → the function."""
    memory = "".join(f"m{m}, " for m in range(form.memories))
    names = ["K0", "K1", *_names("B", form.base), *_names("A", form.base if form.ask is None else form.ask), "SPREAD"]
    body = [
        f"x, base, ({memory}) = state",
        f"m{form.slot} = " + ("x0" if form.plain else "mul(x, K0).add_(x0, alpha=K1)"),
    ]
    if form.noisy:
        body.append("noise = draw()")
        if form.spread:
            body.append("noise = noise if v is None else noise * (SPREAD * v).exp()")
    if form.ask is None:
        body += [f"base = {_sum('B', form.base)}", f"return new(State, (base, base, ({memory})))"]
    else:
        body += [f"asked = {_sum('A', form.ask)}", f"base = {_sum('B', form.base)}"]
        body.append(f"return new(State, (asked, base, ({memory})))")
    inner = "".join(f"\n        {line}" for line in body)
    text = f"def make({', '.join(names)}):\n    def step(state, x0, draw, v=None):{inner}\n    return step\n"
    room: dict[str, Any] = {
        "State": State,
        "new": tuple.__new__,
        "mul": torch.mul,
        "add": torch.add,
        "zeros_like": torch.zeros_like,
    }
    exec(text, room)  # nothing enters the text but the names of columns
    return room["make"]


def _names(letter: str, line: Line) -> list[str]:
    return [f"{letter}{n}" for n in range(len(line))]


def _sum(letter: str, line: Line) -> str:
    """Columns added one after the other; the first is never written to."""
    if not line:
        return "zeros_like(base)"
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
