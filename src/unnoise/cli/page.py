"""report.html of a run: what was measured, drawn and written down, put together."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from unnoise.advise import advice
from unnoise.cli import asking, averages, pictures, previews
from unnoise.guide import Guidance, words
from unnoise.metrics import Measure, Protocol, match
from unnoise.metrics.likelihood import Likelihood
from unnoise.report.html import Averages, Cloud, Film, Neighbour, Report
from unnoise.report.words import called, figure_of
from unnoise.run import Run
from unnoise.samplers import Plan
from unnoise.tensor import Tensor

ROW = 12  # samples shown of each class
PROMPTS, EACH = 6, 8  # prompts shown, and samples of each
PAIRS = 12  # samples shown beside their nearest training item
FILM = 24  # images under way in the film
ROWS = 5000  # of a table, drawn and real, in its histograms
FEW = 100  # items in a draw below which measures tell little apart
DOTS = 2000  # points in the film and in a cloud


def verdict(measures: Sequence[Measure]) -> str:
    """The whole table in one sentence: how many measures take the samples for real, and which is furthest off."""
    beliefs = next((f" Of what it believes: it {m.verdict}." for m in measures if m.name == "excess_risk"), "")
    measures = [m for m in measures if not m.of_beliefs]
    told = sorted((m for m in measures if m.gap > 2), key=lambda m: -m.gap)
    least = min((m.count for m in measures), default=FEW)
    caution = f" With {least} items in a draw, only plain differences would show." if least < FEW else ""
    if blind := {m.name for m in measures} <= {"near_copies", "label_accuracy"}:
        caution = " There are too few held-out items to tell how real the samples look."
    if not told and blind:
        return f"Nothing speaks against the samples, and little could.{caution}{beliefs}"
    if not told:
        return f"All {len(measures)} measures take the samples for real.{caution}{beliefs}"
    worst, passed = told[0], len(measures) - len(told)
    start = f"{passed} of {len(measures)} measures take" if passed else "No measure takes"
    return (
        f"{start} the samples for real; furthest off: {called(worst.name)}, {figure_of(worst.value, worst.spread)} "
        f"where real items read {figure_of(worst.floor, worst.floor_spread)}.{caution if blind else ''}{beliefs}"
    )


def advised(run: Run, measures: Sequence[Measure]) -> list[str]:
    """What the training's numbers and these measures say of the run, with the flags that change it."""
    told = replace(advice.story(run), measures={m.name: m.to_json() for m in measures})
    found = advice.judge(told)
    return [" ".join([f.sentence, *([f"To change: {', '.join(f.change)}."] if f.change else [])]) for f in found]


def report(
    run: Run,
    rules: Protocol,
    measures: Sequence[Measure],
    x: Tensor,
    plan: Plan,
    how: Mapping[str, Any],
    seconds: float,
    command: str,
    guidance: Guidance | None = None,
    likelihoods: Sequence[Likelihood] = (),
) -> Report:
    """The report of samples x (draws·count, ...) that were measured by `rules`, drawn by `plan` in `seconds`."""
    recipe, told = run.recipe, run.recipe.telling.told
    labels = rules.labels[0] if rules.labels is not None and "label" in told else None
    first = x[: rules.count]
    where, sampler = shlex.quote(str(run.folder)), f"{asking.called(dict(how))}: {plan.rows} evaluations"
    net = run.denoiser.net
    facts = {
        "trained on": f"{run.checkpoint.items:,} items",
        "parameters": f"{sum(p.numel() for p in net.parameters()):,}",
        "sampler": sampler,
        "guidance": words(recipe.sampling.guidance if guidance is None else guidance),
        "drawn": f"{len(x):,} samples, {len(x) / max(seconds, 1e-9):,.0f} a second ({run.device})",
        "average of the weights": run.average,
        "weights": run.weights[:12],
    }
    if not recipe.nulls:
        del facts["guidance"]
    if skipped := next((row["skipped"] for row in reversed(run.history) if "skipped" in row), 0):
        facts["steps skipped"] = f"{skipped:,}, whose gradient was not finite"
    shown: dict[str, Any] = {}
    if pictures.of_points(run):
        shown["cloud"] = _cloud(run, rules, first, labels) if x.shape[1] == 2 else None
        shown["columns"] = pictures.columns(run, x[:ROWS], _known(run, rules)) if x.shape[1] > 2 else None
        count = DOTS
    else:
        shown |= {
            "samples": _by_prompt(run, rules, plan, guidance) or _by_class(run, first, labels),
            **_nearest(run, rules, measures, first),
        }
        count = FILM
    if x[0].numel() == 2 or not pictures.of_points(run):
        way = run.trajectory(range(count), plan, run.some(count), guidance)
        shown["trajectory"] = pictures.way(run, way, sampler)
    return Report(
        title=f"{recipe.name} · unnoise",
        verdict=verdict(measures),
        measures=measures,
        advice=advised(run, measures),
        facts=facts,
        history=pictures.history(run) if run.history else None,
        levels=pictures.levels(run),
        excess=pictures.excess(run),
        likelihoods=likelihoods,
        averages=_averages(run),
        film=_film(run),
        recipe=recipe.text(),
        commands=[
            ("Train it", f"unnoise train {where}/recipe.yaml --out NEW_FOLDER"),
            ("Measure it as here", command),
            ("Draw from it", f"unnoise sample {where} --n 64"),
        ],
        **shown,
    )


def _averages(run: Run) -> Averages | None:
    told = averages.compared(run)
    if told is None:
        return None
    rows = told["widths"]
    return Averages([row["width"] for row in rows], [row["loss"] for row in rows], averages.asked(run))


def _film(run: Run) -> Film | None:
    made = previews.film(run)
    return None if made is None else Film(*made)


def _known(run: Run, rules: Protocol) -> np.ndarray:
    """Real rows to stand beside drawn ones: all that the samples stand against, and the training's own."""
    rows = [items.items for items in (rules.references[0], run.recipe.source.split("train"))]
    return np.concatenate(rows)[:ROWS]


def _by_class(run: Run, x: Tensor, labels: Any) -> dict[str, Any]:
    """The first samples of each class, or of all where there are none."""
    if labels is None:
        return {run.recipe.name: run.recipe.modality.show(x[:ROW])}
    rows = {name: np.flatnonzero(labels == k)[:ROW] for k, name in enumerate(run.recipe.classes)}
    return {name: run.recipe.modality.show(x[index.tolist()]) for name, index in rows.items() if len(index)}


def _by_prompt(run: Run, rules: Protocol, plan: Plan, guidance: Guidance | None) -> dict[str, Any]:
    """Samples of a few held-out prompts, some of each; none where the model reads no text."""
    name = run.recipe.telling.text
    found = {} if name is None else rules.cond([name])
    if name is None or name not in found:
        return {}
    prompts = list(dict.fromkeys(str(prompt) for prompt in found[name].tolist()))[:PROMPTS]
    told = run.recipe.telling.leaves({name: np.repeat(np.array(prompts), EACH)}, len(prompts) * EACH)
    lots = np.array_split(np.arange(len(prompts) * EACH), max(1, len(prompts)))
    items = run.recipe.modality.show(torch.cat(list(run.batches(range(len(prompts) * EACH), plan, told, guidance))))
    return {prompt: [items[i] for i in lot] for prompt, lot in zip(prompts, lots, strict=True)}


def _nearest(run: Run, rules: Protocol, measures: Sequence[Measure], x: Tensor) -> dict[str, Any]:
    """The samples that come nearest to a training item, each beside it: the worst cases, not chosen ones."""
    modality, train = run.recipe.modality, run.recipe.source.split("train")
    index, distance = match(modality.distances(modality.quantise(x)), train.items, modality.distances)
    worst = np.argsort(distance, kind="stable")[:PAIRS]
    samples = modality.show(x[worst.tolist()])
    items = modality.show(modality.encode(train.items[index[worst]]))
    pairs = [Neighbour(sample, item, float(distance[i])) for i, sample, item in zip(worst, samples, items, strict=True)]
    copies = next((m for m in measures if m.name == "near_copies"), None)
    share = (
        f" Near-copies are {figure_of(100 * copies.value, 100 * copies.spread)} % of the samples; of held-out "
        f"real items {figure_of(100 * copies.floor)} % are as near."
        if copies is not None
        else ""
    )
    near = (
        f"Shown are the {len(pairs)} of {len(x):,} samples that come nearest to any training item; the distance "
        f"is Euclidean, in the data's own units.{share}"
    )
    return {"neighbours": pairs, "near": near}


def _cloud(run: Run, rules: Protocol, x: Tensor, labels: Any) -> Cloud:
    real, drawn = rules.references[0], run.recipe.modality.quantise(x).astype(np.float64)
    kinds: dict[str, Any] = (
        {} if labels is None else {"drawn_labels": labels[:DOTS], "real_labels": real.cond["label"][:DOTS]}
    )
    return Cloud(drawn[:DOTS], real.items[:DOTS].astype(np.float64), classes=run.recipe.classes, **kinds)


__all__ = ["advised", "report", "verdict"]
