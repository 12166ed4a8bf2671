"""A measure is never a bare number: value, spread, floor, count, direction, words, protocol."""

import math
from dataclasses import dataclass

from unnoise.config import UserError, nearest

BETTER = {"lower": "lower is better", "higher": "higher is better", "": ""}


@dataclass(frozen=True)
class Measure:
    """One line of the table."""

    name: str
    value: float | int
    spread: float | int | None = None  # standard deviation over draws
    floor: float | int | None = None  # the same measure of real data against real data
    floor_spread: float | int | None = None
    count: int = 0  # samples in a draw
    better: str | float | int = ""  # "lower", "higher", or the value that is best
    verdict: str = ""  # in words
    protocol: str = ""  # what was compared with what, on which features, how often
    unit: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.better, str) and self.better not in BETTER:
            raise UserError(
                f"better is 'lower', 'higher' or the best value, got '{self.better}'; "
                f"{nearest(self.better, ['lower', 'higher'])}"
            )

    @property
    def better_words(self) -> str:
        """What is better, in words."""
        return BETTER[self.better] if isinstance(self.better, str) else f"{self.better:g} is best"


def figure_of(value: float | int | None, spread: float | int | None = None, unit: str = "") -> str:
    """value ± spread; three digits where there is no spread; a dash for nothing.

    The spread has one digit, or two where it begins with 1 or 2: more would be noise.
    """
    if value is None or not math.isfinite(value):
        return "–"
    unit = f" {unit}" if unit else ""
    if spread is None or not math.isfinite(spread) or spread <= 0:
        digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
        return _plain(value, min(digits, 6)) + unit
    power = math.floor(math.log10(spread))
    leading = spread / 10**power
    digits = min(6, max(0, -power + (1 if leading < 2.95 else 0)))
    return f"{_plain(value, digits)} ± {_plain(spread, digits)}{unit}"


def _plain(value: float | int, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−")


__all__ = ["BETTER", "Measure", "figure_of"]
