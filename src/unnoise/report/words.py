"""How measures are called and how numbers are written."""

import math

NAMES = {
    "classifier_two_sample": "Two-sample test by a classifier",
    "cmmd": "CMMD",
    "energy": "Energy distance",
    "excess_bits": "Excess bits a number",
    "excess_risk": "Excess risk",
    "frechet": "Fréchet distance",
    "inception_score": "Inception Score",
    "kid": "Kernel Inception distance",
    "likelihood_bound": "By the variational bound",
    "likelihood_ode": "By the probability flow",
    "mmd": "MMD²",
    "near_copies": "Near-copies",
    "sliced_wasserstein": "Sliced Wasserstein distance",
    "two_sample": "Two-sample test",
    "vendi": "Vendi Score",
    "wasserstein": "Wasserstein distance",
}
BETTER = {"lower": "lower is better", "higher": "higher is better", "half": "0.5 is best"}
ARROW = {"lower": "↓", "higher": "↑", "half": "½"}  # the same where room is dear


def called(name: str) -> str:
    """The name of a measure in words: label_accuracy is Label accuracy."""
    return NAMES.get(name) or name.replace("_", " ")[:1].upper() + name.replace("_", " ")[1:]


def figure_of(value: float | int | None, spread: float | int | None = None) -> str:
    """value ± spread; three digits where there is no spread; a dash for nothing.

    The spread has one digit, or two where it begins with 1 or 2: more would be noise.
    """
    if value is None or not math.isfinite(value):
        return "–"
    if spread is None or not math.isfinite(spread) or spread <= 0:
        digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
        return _plain(value, min(digits, 6))
    power = math.floor(math.log10(spread))
    leading = spread / 10**power
    digits = min(6, max(0, -power + (1 if leading < 2.95 else 0)))
    return f"{_plain(value, digits)} ± {_plain(spread, digits)}"


def range_of(low: float | None, high: float | None) -> str:
    """low to high, with as many digits as tell the two apart and one more; nothing where there is no interval."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    width = high - low
    digits = min(6, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else 3
    return f"{_plain(low, digits)} to {_plain(high, digits)}"


def count_of(count: int) -> str:
    """A count with thin spaces that do not break: 5 000; nothing for 0."""
    return f"{count:,}".replace(",", "\u202f") if count else ""


def _plain(value: float | int, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return (text if float(text) else text.lstrip("-")).replace("-", "−")


__all__ = ["ARROW", "BETTER", "NAMES", "called", "count_of", "figure_of", "range_of"]
