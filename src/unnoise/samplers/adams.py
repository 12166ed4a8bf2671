"""Rules of several steps, predicting and correcting, in any form; and the single steps that start them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from unnoise.config import UserError
from unnoise.samplers.forms import Form
from unnoise.samplers.path import BASE, NOISE, Path, Pen, Point, gain, mixed, shrink
from unnoise.samplers.plan import Plan

# Single steps of order q: stages (where in lambda, which points they are told from), then what tells the end.
# Order 3 is Heun's third-order rule, whose node 2/3 is that of Radau, order 4 that of Simpson once corrected.
STAGES: dict[int, tuple[tuple[tuple[float, tuple[int, ...]], ...], tuple[int, ...]]] = {
    1: ((), (0,)),
    2: (((1 / 2, (0,)),), (0, 1)),
    3: (((1 / 3, (0,)), (2 / 3, (0, 1))), (0, 2)),
    4: (((1 / 6, (0,)), (1 / 3, (0, 1)), (1 / 2, (0, 2))), (0, 2, 3)),
}

LONG = 32  # steps from which a start of several questions pays

Answer = tuple[int, Point]  # its key, and where it was asked


def tell(form: Form, p: Point, q: Point, answers: Sequence[Answer], exact: bool = False) -> dict[int, float]:
    """What the answers add to x_q on the way from p."""
    weights = form.weights(p, q, [point for _, point in answers], exact).tolist()
    return mixed(*((1.0, {key: weight}) for (key, _), weight in zip(answers, weights, strict=True)))


def stages(
    pen: Pen, form: Form, p: Point, q: Point, order: int, here: dict[int, float] | None = None
) -> tuple[list[Answer], dict[int, float]]:
    """The rows of a single step from p to q but the last: answers at p and at the stages so far, and x_p as a row.

    The next row is the last stage's: its key belongs to the last answer. here: x_p, the base if silent; it is
    in its place after the first row.
    """
    here, answers = here or {BASE: 1.0}, [(pen.here, p)]
    for part, known in STAGES[order][0]:
        point = pen.path.between(p, q, part)
        reached = mixed((form.carry(p, point), here), (1.0, tell(form, p, point, [answers[k] for k in known], True)))
        pen.row(answers[-1][1], point, here, reached, form.keep(answers[-1][1]))
        here = {BASE: 1.0}
        answers.append((pen.here, point))
    return answers, here


def single(path: Path, form: Form, order: int, midpoint: bool = False) -> Plan:
    """A single-step rule of order 2 or 3 over every interval; midpoint: its one stage tells the end alone."""
    pen = Pen(path)
    for i in range(path.steps):
        if path.ends(i):
            pen.first_order(i)
            continue
        p, q = path.interval(i)
        answers, _ = stages(pen, form, p, q, order)
        known = [answers[k] for k in STAGES[order][1]]
        last, at = answers[-1]
        told = {last: float(form.weights(p, q, [p])[0])} if midpoint else tell(form, p, q, known)
        pen.row(at, q, mixed((form.carry(p, q), {BASE: 1.0}), (1.0, told)), keep=form.keep(at))
    return pen.plan()


def starts_single(start: str, steps: int) -> bool:
    """Whether a start asks several questions in its first interval."""
    if start not in ("auto", "single", "multistep"):
        raise UserError(
            f"start must be 'auto', 'single' (keeps the order) or 'multistep' (no further questions), got '{start}'"
        )
    return start == "single" or (start == "auto" and steps >= LONG)


@dataclass
class _Walk:
    """What is known on the way: answers, newest first, and from where a corrector goes over the last interval."""

    answers: list[Answer] = field(default_factory=list[Answer])
    behind: Point | None = None


def adams(path: Path, form: Form, order: int, start: str = "auto", corrector: int = 0) -> Plan:
    """Predictor of `order` answers; corrector over as many as it says and the newest (0: none), asked once a step.

    start: 'single' begins with one step of several questions, so that the order is kept; 'multistep' takes what
    answers there are, of lower order, as published; 'auto' the former from 32 steps on, where the order tells, and
    the latter below, where further questions are better spent elsewhere. What touches alpha = 0 or sigma = 0 is one
    step of order one, and answers at alpha = 0, where lambda is infinite, are not used again.
    """
    several = starts_single(start, path.steps) and order > 2
    first = 1 if not several else order if corrector else order - 1
    pen, walk = Pen(path), _Walk()
    for i in range(path.steps):
        p, q = path.interval(i)
        here = _corrected(form, walk, (pen.here, p), corrector)
        if path.ends(i):
            pen.row(p, q, _end(form, p, q, here, pen.here))
            walk = _Walk()
            continue
        if not walk.answers and first > 1:
            known, here = stages(pen, form, p, q, first, here)
            told = tell(form, p, q, [known[k] for k in STAGES[first][1]], exact=True)
            walk.answers = [known[-1], known[0]]
        else:
            known = [(pen.here, p), *walk.answers]
            walk.answers = known[: max(order, corrector)]
            told = tell(form, p, q, known[:order])
        carry, noise = form.carry(p, q), form.noise(p, q)
        ask = mixed((carry, here), (1.0, told), (noise, {NOISE: 1.0}))
        again = corrector > 0 and i + 1 < path.steps and not path.ends(i + 1)
        base = mixed((1.0, here), (noise / carry, {NOISE: 1.0})) if again else ask
        walk.behind = p if again else None
        at = walk.answers[0][1]
        pen.row(at, q, base, ask, form.keep(at))
    return pen.plan()


def _corrected(form: Form, walk: _Walk, new: Answer, corrector: int) -> dict[int, float]:
    """x at the newest answer: the base, or the base of one step before moved here with that answer known."""
    if walk.behind is None:
        return {BASE: 1.0}
    p, q = walk.behind, new[1]
    # The nodes begin with p's answer, against which a form of two nodes measures the other.
    nodes = [*sorted(walk.answers[:corrector], key=lambda answer: answer[1] is not p), new]
    return mixed((form.carry(p, q), {BASE: 1.0}), (1.0, tell(form, p, q, nodes)))


def _end(form: Form, p: Point, q: Point, here: dict[int, float], key: int) -> dict[int, float]:
    """The step of order one where alpha or sigma is 0, with the form's noise."""
    noise = form.noise(p, q)
    kept = 0.0 if noise else shrink(p, q)
    return mixed((kept, here), (1.0, {key: gain(p, q)}), (noise, {NOISE: 1.0}))
