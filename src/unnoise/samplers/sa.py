"""SA-Solver: stochastic Adams, predicting and correcting with one question a step."""

from typing import Any

from unnoise.config import UserError
from unnoise.samplers.adams import adams
from unnoise.samplers.forms import DataForm
from unnoise.samplers.path import Path
from unnoise.samplers.plan import Plan


def sa_solver(path: Path, tau: float = 1.0, predictor: int = 2, corrector: int = 2) -> Plan:
    """Stochastic Adams of the reverse SDE with intensity tau² (Xue et al., 2023, Eqs. 14 to 18).

    x_s = (sigma_s/sigma_t)·e^{−tau²h}·x_t + alpha_s·(1 + tau²)·∫ e^{−(1 + tau²)(h − u)} D(u) du
    + sigma_s·sqrt(1 − e^{−2·tau²h})·z, D through `predictor` answers (1 to 4), then through `corrector` of them
    (0 to 4; 0: none) and the one at s, with the same noise. tau = 0 is deterministic.
    """
    if not 0 <= tau <= 2 or not 1 <= predictor <= 4 or not 0 <= corrector <= 4:
        raise UserError(
            "SA-Solver needs tau in [0, 2], 1 to 4 answers for its predictor and 0 to 4 for its corrector, "
            f"got {tau}, {predictor}, {corrector}"
        )
    return adams(path, DataForm(float(tau) ** 2), predictor, "multistep", corrector)


def order(tau: float = 1.0, predictor: int = 2, corrector: int = 2, **_: Any) -> int:
    """One more than the fewer answers, where it corrects; three at most as it begins with one, and two with noise."""
    fewest = min(predictor, corrector) + 1 if corrector else predictor
    return min(fewest, 2 if tau or not corrector else 3)
