"""The verdict in words: what won, by how much, and whether that is more than noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from unnoise.comparison import judge
from unnoise.comparison.judge import LEAST, Pair
from unnoise.report.words import called, figure_of

FEW = 6  # names listed in a sentence, at most
Rows = Mapping[str, Sequence[float]]  # entry → replicates


@dataclass(frozen=True)
class Judged:
    """What is judged: replicates of the measure by entry (equal counts), which end is better, and the floor."""

    measure: str
    better: str
    values: Rows
    floor: float
    unit: str  # what replicates are: "training seeds" or "draws of samples"
    paired: bool  # whether the k-th replicates of all entries share what is random in them
    trained: bool = True  # whether entries were trained apart; else they are one run's, drawn in different ways

    @property
    def count(self) -> int:
        """Replicates of each entry."""
        return min(map(len, self.values.values()))

    @property
    def losses(self) -> dict[str, list[float]]:
        """Replicates as what is to be small."""
        turn = {"lower": lambda v: v, "higher": lambda v: -v, "half": lambda v: abs(v - 0.5)}[self.better]
        return {name: [float(turn(v)) for v in row] for name, row in self.values.items()}


@dataclass(frozen=True)
class Verdict:
    """The sentence, what it rests on, and further ones."""

    sentence: str
    best: str
    pairs: Sequence[Pair] = ()  # best beside each other entry, in their order; empty where none can be told
    tied: frozenset[str] = frozenset()  # what cannot be told from the best
    advice: Sequence[str] = field(default_factory=list[str])


def verdict(judged: Judged) -> Verdict:
    """What the replicates say. Fewer than three cannot say what is noise, and it is said that they cannot."""
    losses = judged.losses
    order = sorted(losses, key=lambda name: float(np.mean(losses[name])))
    best, others = order[0], order[1:]
    reads = {name: figure_of(float(np.mean(judged.values[name]))) for name in order}
    real = f" where real items read {figure_of(judged.floor)}" if np.isfinite(judged.floor) else ""
    head = f"{best} reads best: {_lower(called(judged.measure))} {reads[best]}{real}"
    if not others:
        return Verdict(f"{best}: {_lower(called(judged.measure))} {reads[best]}{real}.", best)
    if judged.count < LEAST:
        follows = f"{head}; {others[0]} follows at {reads[others[0]]}. "
        seeds = "one seed" if judged.count == 1 else f"{judged.count} seeds"
        noise = f"With {seeds} of each, nothing tells how much of this is the noise of training: {LEAST} seeds would."
        return Verdict(follows + noise, best)
    pairs = judge.compared(losses, judged.paired)
    tied = [pair.other for pair in pairs if not pair.apart]
    noise = f"the noise of {judged.count} {judged.unit}"
    if not tied:
        first = pairs[0]
        sentence = (
            f"{best} won: {_lower(called(judged.measure))} {reads[best]}{real}. {first.other} follows at "
            f"{reads[first.other]}, {_by(first)}: more than {noise}."
        )
    elif len(tied) < len(others):
        beaten = [pair for pair in pairs if pair.apart]
        sentence = (
            f"{head}. {_listed(tied)} cannot be told from it by {judged.count} {judged.unit}; {_worse(beaten)}, "
            "by more than their noise."
        )
    else:
        next_ = f"{pairs[0].other} at {reads[pairs[0].other]} is {_by(pairs[0])}"
        others = f", nor can {_listed(tied[1:])}" if len(tied) > 1 else ""
        sentence = (
            f"{head}, but nothing won: {next_}, and cannot be told from it by {judged.count} {judged.unit}{others}."
        )
    advice = []
    if not judged.trained and judged.unit != "training seeds":
        advice.append("This is said of this training; whether it holds for another one, only other seeds can tell.")
    if tied and judged.trained:
        advice += _more(judged, best, tied[0], len(order))
    return Verdict(sentence, best, pairs, frozenset(tied), advice)


def _more(judged: Judged, best: str, second: str, entries: int) -> list[str]:
    losses = judged.losses
    n = judge.seeds_needed(losses[best], losses[second], entries * (entries - 1) // 2)
    if n is None:
        return [f"Should the means stay where they are, more than {judge.FAR} seeds would be needed to tell "
                f"{best} from {second}: for most purposes they are equally good."]  # fmt: skip
    return [f"Should the means and spreads stay where they are, about {n} seeds would tell {best} from {second}."]


def _worse(beaten: Sequence[Pair]) -> str:
    """a and b are worse, a by 0.031 (0.012 to 0.050)."""
    near = beaten[0]
    by = _by(near).removesuffix(" worse")
    if len(beaten) == 1:
        return f"{near.other} is worse by {by}"
    return f"{_listed([pair.other for pair in beaten])} are worse, {near.other} by {by}"


def _by(pair: Pair) -> str:
    """0.031 (0.012 to 0.050) worse."""
    digits = _digits(pair.high - pair.low)
    low, high = (f"{v:.{digits}f}".replace("-", "−") for v in (pair.low, pair.high))
    return f"{pair.difference:.{digits}f} ({low} to {high}) worse"


def _digits(width: float) -> int:
    """Decimals by which an interval is written: two digits of its width."""
    if not np.isfinite(width) or width <= 0:
        return 3
    return int(np.clip(1 - np.floor(np.log10(width)), 0, 6))


def _listed(names: Sequence[str]) -> str:
    if len(names) > FEW:
        return f"{', '.join(names[: FEW - 1])} and {len(names) - FEW + 1} others"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _lower(name: str) -> str:
    """A measure's name within a sentence: people's names keep their capital."""
    return name if name[:1] in "FW" and name.startswith(("Fréchet", "Wasserstein")) else name[:1].lower() + name[1:]


def on_fronts(
    judged: Judged,
    found: Verdict,
    costs: Mapping[str, float],
    diversity: Judged | None,
) -> tuple[set[str], set[str], list[str]]:
    """Entries on the front of quality and cost, those on the front of quality and diversity, and what they say.

    costs: what a sample costs; diversity: replicates of a measure of it.
    """
    mean = {name: float(np.mean(row)) for name, row in judged.losses.items()}
    cheap = judge.front({name: (mean[name], costs[name]) for name in mean})
    wide = {} if diversity is None else {name: float(np.mean(row)) for name, row in diversity.values.items()}
    diverse = judge.front({name: (mean[name], -value) for name, value in wide.items()})
    told: list[str] = []
    equal = [name for name in (found.best, *found.tied) if np.isfinite(costs[name])]
    least = min(equal, key=lambda name: (costs[name], mean[name]), default=found.best)
    if np.isfinite(costs[found.best]) and costs[least] < 0.95 * costs[found.best]:
        share = costs[least] / costs[found.best]
        told.append(
            f"{least} cannot be told from it at {100 * share:.0f} % of its cost per sample."
            if found.tied
            else f"{least} costs {100 * share:.0f} % of it per sample."
        )
    elif len(cheap) > 1:
        line = sorted(cheap, key=lambda name: costs[name])
        told.append(f"No other is as good for less, from cheapest to best: {_listed(line)}.")
    if diversity is not None and diversity.count >= LEAST:
        first = judge.compared(diversity.losses, diversity.paired)
        if first and first[0].best != found.best and next(p for p in first if p.other == found.best).apart:
            told.append(
                f"{first[0].best} reads a higher {_lower(called(diversity.measure))}: "
                f"{figure_of(wide[first[0].best])}, {found.best} {figure_of(wide[found.best])}."
            )
    return cheap, diverse, told


__all__ = ["Judged", "Verdict", "on_fronts", "verdict"]
