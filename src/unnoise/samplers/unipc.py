"""UniP and UniPC: a predictor of any order, and a corrector that asks no further question."""

from collections.abc import Callable

from unnoise.config import UserError
from unnoise.samplers.adams import adams
from unnoise.samplers.forms import DataForm, NoiseForm, check_b
from unnoise.samplers.path import Path
from unnoise.samplers.plan import Plan


def _form(b: str, predicts: str) -> DataForm | NoiseForm:
    check_b(b)
    if predicts not in ("data", "noise"):
        raise UserError(f"predicts must be 'data' or 'noise', got '{predicts}'")
    return DataForm(b=b) if predicts == "data" else NoiseForm(b=b)


def unip(order: int) -> Callable[..., Plan]:
    """UniP of an order."""

    def rule(path: Path, b: str = "bh2", predicts: str = "data", start: str = "auto") -> Plan:
        return adams(path, _form(b, predicts), order, start)

    rule.__doc__ = f"""UniP-{order}: the predictor alone, of {order} answer{"s" * (order > 1)}
    (Zhao et al., 2023, Alg. 2).

    b: 'bh1' or 'bh2', B(h) = h or e^h − 1, which matters only where two answers are weighed by a_1 = 1/2; more are
    weighed exactly, and B(h) falls out. predicts: 'data' or 'noise', what is interpolated; start: see dpmpp_3m.
    """
    return rule


def unipc(order: int) -> Callable[..., Plan]:
    """UniPC of an order."""

    def rule(path: Path, b: str = "bh2", predicts: str = "data", start: str = "auto") -> Plan:
        return adams(path, _form(b, predicts), order, start, corrector=order)

    rule.__doc__ = f"""UniPC-{order}: UniP-{order} corrected with the answer at its own end, of order {order + 1}
    (Zhao et al., 2023, Alg. 1).

    The corrector needs no question of its own: the answer about the predicted state serves the next step too.
    Options as of unip_{order}.
    """
    return rule
