"""Pseudo numerical methods: classical rules for even grids, carried by DDIM's step; of order two where it is not."""

from collections.abc import Callable, Sequence

from unnoise.samplers.forms import RatioForm, noise_answer
from unnoise.samplers.path import BASE, Path, Pen, Point
from unnoise.samplers.plan import Plan

# Adams–Bashforth on an even grid, newest answer first.
EVEN: tuple[tuple[float, ...], ...] = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
TRANSFER = RatioForm()


def _transfer(p: Point, q: Point, answers: Sequence[int], shares: Sequence[float]) -> dict[int, float]:
    """DDIM's step from p to q with a mean of noise predictions  (Liu et al., 2022, Eq. 11)."""
    whole = float(TRANSFER.weights(p, q, [p])[0])
    return {BASE: TRANSFER.carry(p, q), **{key: whole * share for key, share in zip(answers, shares, strict=True)}}


def _several(pen: Pen, i: int, known: list[int], most: int) -> None:
    """One row over interval i by as many answers as there are, `most` at most; known: newest first."""
    p, q = pen.path.interval(i)
    known.insert(0, pen.here)
    del known[most:]
    pen.row(p, q, _transfer(p, q, known, EVEN[len(known) - 1]), keep=noise_answer(p))


def ipndm(order: int) -> Callable[..., Plan]:
    """iPNDM of an order."""

    def rule(path: Path) -> Plan:
        pen, known = Pen(path), list[int]()
        for i in range(path.steps):
            if path.ends(i):
                pen.first_order(i)
                known.clear()
            else:
                _several(pen, i, known, order)
        return pen.plan()

    rule.__doc__ = f"""iPNDM of {order} answer{"s" * (order > 1)}: the weights of an even grid, fewer answers at first
    (Zhang & Chen, 2023, App. H.2).

    x_s = DDIM's step with the mean {" ".join(f"{share:+.4g}·eps" for share in EVEN[order - 1])}, newest first.
    """
    return rule


def plms(path: Path) -> Plan:
    """PNDM's linear multistep of four answers, begun by a pseudo improved Euler step
    (Liu et al., 2022; Rombach et al., 2022).

    The first interval asks at both its ends and takes the mean of the answers; then two, three and four answers.
    """
    pen, known = Pen(path), list[int]()
    for i in range(path.steps):
        if path.ends(i):
            pen.first_order(i)
            known.clear()
        elif not known:
            p, q = path.interval(i)
            known.append(pen.here)
            pen.row(p, q, {BASE: 1.0}, _transfer(p, q, known, (1.0,)), noise_answer(p))
            pen.row(q, q, _transfer(p, q, [known[0], pen.here], (1 / 2, 1 / 2)), keep=noise_answer(q))
        else:
            _several(pen, i, known, 4)
    return pen.plan()


def pndm(path: Path) -> Plan:
    """PNDM: three pseudo Runge–Kutta steps of four questions, then linear multistep of four answers
    (Liu et al., 2022, Alg. 2).

    Runge–Kutta asks at t, twice in the middle of t and s, and at s: (e_1 + 2·e_2 + 2·e_3 + e_4)/6.
    """
    pen, known = Pen(path), list[int]()
    for i in range(path.steps):
        if path.ends(i):
            pen.first_order(i)
            known.clear()
        elif len(known) < 3:
            _runge_kutta(pen, i, known)
        else:
            _several(pen, i, known, 4)
    return pen.plan()


def _runge_kutta(pen: Pen, i: int, known: list[int]) -> None:
    p, q = pen.path.interval(i)
    m = pen.path.when((p.t + q.t) / 2)
    e = range(pen.here, pen.here + 4)
    known.insert(0, e[0])
    for at, to, newest in ((p, m, e[0]), (m, m, e[1]), (m, q, e[2])):
        pen.row(at, to, {BASE: 1.0}, _transfer(p, to, [newest], (1.0,)), noise_answer(at))
    pen.row(q, q, _transfer(p, q, e, (1 / 6, 2 / 6, 2 / 6, 1 / 6)), keep=noise_answer(q))
