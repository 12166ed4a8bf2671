"""A run: a folder that is enough to sample, invert, evaluate and look at a trained model."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from unnoise import rng
from unnoise.adapting import around, unprompted
from unnoise.config import UserError, choose, nearest
from unnoise.data import Scenes, World
from unnoise.denoise import Denoiser, NetDenoiser
from unnoise.denoise.variance import Learned, chain_of
from unnoise.distill import Tuned
from unnoise.distill.shelf import Shelf, weight_of
from unnoise.folder import RECIPE, SNAPSHOTS, Folder, read
from unnoise.guide import Guidance, guided, nodes, plain, words
from unnoise.loop import Adaptive, Done, Engine, Event, Failed, Job, Sampling, adaptive, generate, sample
from unnoise.loop.inversion import begin
from unnoise.metrics import Features, Following, Measure, Protocol, following, protocol
from unnoise.metrics.bound import bound
from unnoise.metrics.excess import Excess, excess
from unnoise.metrics.likelihood import EXACT, Likelihood, by_flow
from unnoise.metrics.likelihood import held_out as held_out_items
from unnoise.samplers import SAMPLERS, Plan
from unnoise.tensor import Array, Tensor, align
from unnoise.train import fit
from unnoise.train.earlier import earlier

PART = 4096  # samples that become raw items at a time
WAYS = {"ode": "ode", "bound": "bound"}  # to a likelihood
ASKED = 100  # steps of a chain that an item is asked about for the bound, at most

Label: TypeAlias = int | str | Sequence[int | str | None] | None
Text: TypeAlias = str | Sequence[str | None] | None
Given: TypeAlias = Label | Mapping[str, Any]  # labels, or by the name of each condition what is told of it


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The way of N samples from noise to data: one moment for each question of the plan, and the end."""

    times: Array  # (R + 1,)
    states: Tensor  # (R + 1, N, ...) what was asked about; the sample itself at the end
    beliefs: Tensor  # (R + 1, N, ...) E[x_0 | x_t]
    scale: Array  # (R + 1,) sqrt(alpha² + sigma²): states / scale have the scale of data at every moment

    @property
    def shown(self) -> Tensor:
        """The states at the scale of data, so that all moments fit one picture."""
        scale = torch.from_numpy(self.scale).to(self.states.dtype)
        return self.states / align(scale, self.states)


@dataclass(frozen=True)
class Run(Folder):
    """A folder that holds a trained model: drawn from, walked back to noise, measured.

    dials: what the parts around its network are told of each sample, (1,), or (n,) for n of them (see `adapting`).
    """

    dials: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    def sampling(
        self, sampler: str | None = None, steps: int | None = None, grid: str | None = None, **options: Any
    ) -> Sampling:
        """The recipe's way of sampling, or with parts replaced; another sampler comes with its own grid and options."""
        own = self.recipe.sampling
        if sampler is not None and sampler != own.sampler:
            own = replace(own, sampler=sampler, grid=None, options=None)
        return replace(
            own,
            steps=own.steps if steps is None else steps,
            grid=own.grid if grid is None else grid,
            options={**(own.options or {}), **options} or None,
        )

    def plan(
        self, sampler: str | None = None, steps: int | None = None, grid: str | None = None, **options: Any
    ) -> Plan:
        """The recipe's plan, or with parts replaced as in `sampling`; "tuned": that of `tuned`, with its options."""
        if sampler == "tuned":
            if steps is not None or grid is not None:
                raise UserError("a tuned plan has its own steps and grid: instead of them give evaluations=6")
            for name in options:
                if name not in (known := ("evaluations", "guidance")):
                    raise UserError(f"sampler 'tuned' has no option '{name}'; {nearest(name, known)}")
            return self.tuned(**options).plan
        return self.recipe.plan(self.sampling(sampler, steps, grid, **options))

    def tuned(self, evaluations: int | None = None, guidance: Guidance | None = None) -> Tuned:
        """The plan of so many evaluations that `unnoise tune` has left in the folder, and what is known of it.

        guidance: a weight, or other guides: plans are tuned for them; the recipe's if None.
        """
        if self.recipe.objective.once:
            raise UserError(f"{self.recipe.name} is asked once: it has no plan to tune, and samples are drawn without")
        shelf, asked = Shelf(self.folder, self.weights), self.recipe.sampling.guidance if guidance is None else guidance
        if not isinstance(evaluations, int) or isinstance(evaluations, bool):
            kept = sorted({entry["evaluations"] for entry in shelf.all()})
            there = f"it has plans of {', '.join(map(str, kept))}" if kept else f"first: unnoise tune {self.folder}"
            raise UserError(f"a tuned plan is named by its evaluations, a whole number such as 6; {there}")
        weight = weight_of(asked)
        return shelf.get(evaluations, guides=words(asked)) if weight is None else shelf.get(evaluations, weight)

    def still(self, sampler: str | None = None, **options: Any) -> str:
        """The sampler named, or the recipe's; heun where none is named and the recipe's draws noise on its way."""
        if sampler is not None:
            return sampler
        how = self.sampling(None, **options)
        return "heun" if SAMPLERS[how.sampler].stochastic(**(how.options or {})) else how.sampler

    def rising(
        self, sampler: str | None = None, steps: int | None = None, grid: str | None = None, **options: Any
    ) -> Plan | Adaptive:
        """As `way`, from data to noise: the same grid from its last time to its first, by a sampler that is `still`."""
        sampler = self.still(sampler, **options)
        if sampler != "adaptive":
            return self.recipe.plan(self.sampling(sampler, steps, grid, **options), reverse=True)
        made = self.way(sampler, steps, grid, **options)
        assert isinstance(made, Adaptive)
        return replace(made, start=adaptive.least_time(self.recipe.process), end=1.0)

    def invert(
        self,
        raw: Any,
        sampler: str | None = None,
        steps: int | None = None,
        grid: str | None = None,
        label: Given = None,
        guidance: Guidance | None = None,
        seeds: Sequence[int] | None = None,
        **options: Any,
    ) -> Tensor:
        """The noise of real items: x (n, ...) where sampling by the same settings starts, `sample(.., start=x)`.

        raw: a list of raw things as `sample` gives them, or a raw batch; label: what each is, as in `sample`;
        seeds: one each, for noise within rounded levels as in training and for the least noise of the start, so that
        what comes out has the law of noise (see `loop.inversion`); silent: the items as they are.
        """
        plan = self.rising(sampler, steps, grid, **options)
        x = self.begin(raw, plan.start, seeds)
        return collect(self.draw(range(len(x)), plan, label, guidance, x), len(x))

    def begin(self, raw: Any, t: float, seeds: Sequence[int] | None = None) -> Tensor:
        """Where the way of raw things to noise begins, at a time t of little noise."""
        return begin(self.recipe.process, self.encode(raw, seeds), t, seeds)

    def encode(self, raw: Any, seeds: Sequence[int] | None = None) -> Tensor:
        """Raw things, or a raw batch, as the model sees them, x_0 (n, ...); seeds: dequantised, as in training."""
        modality = self.recipe.modality
        items = raw if isinstance(raw, np.ndarray) else modality.batch(raw)
        if len(items) == 0 or (seeds is not None and len(seeds) != len(items)):
            raise UserError(f"an item is needed for each seed, got {len(items)} items and {len(seeds or ())} seeds")
        if seeds is None:
            x0 = modality.encode(items)
        else:
            each = (modality.encode(items[i : i + 1], rng.host("encode", seed)) for i, seed in enumerate(seeds))
            x0 = torch.cat(list(each))
        if tuple(x0.shape[1:]) != self.recipe.shape:
            raise UserError(f"{self.recipe.name} knows items of shape {self.recipe.shape}, got {tuple(x0.shape[1:])}")
        return x0

    def way(
        self, sampler: str | None = None, steps: int | None = None, grid: str | None = None, **options: Any
    ) -> Plan | Adaptive:
        """As `plan`; and the adaptive flow, which is no table, where the sampler is "adaptive"."""
        if sampler != "adaptive":
            return self.plan(sampler, steps, grid, **options)
        if steps is not None or grid is not None:
            raise UserError("adaptive finds its steps by itself: instead of steps and a grid give tolerance=1e-5")
        if self.recipe.objective.once:
            raise UserError(f"{self.recipe.name} is asked once, and there is no flow to follow")
        for name, value in options.items():
            if name not in (known := ("tolerance", "evaluations")):
                raise UserError(f"sampler 'adaptive' has no option '{name}'; {nearest(name, known)}")
            if not isinstance(value, (int, float)):
                raise UserError(f"{name} of sampler 'adaptive' is a number, got '{value}'")
        return Adaptive(**options)

    def cond(
        self, count: int, label: Given = None, text: Text = None, tell: Mapping[str, Any] | None = None
    ) -> dict[str, Tensor]:
        """What `count` samples are told: leaves (count, ...) of every condition, on the host; nulls where silent.

        label, text: of the label and of the prompt; tell: by the name of a condition, such as {"size": 0.3}. Each is
        one value for all samples, or a sequence of one each, in which None says nothing. label: such a mapping too.
        """
        given = dict(label) if isinstance(label, Mapping) else {} if label is None else {"label": label}
        prompt = {} if text is None else {self.recipe.telling.text or "text": text}
        for name in given.keys() & (tell or {}).keys() | prompt.keys() & (given | dict(tell or {})).keys():
            raise UserError(f"'{name}' is told twice: give it once")
        told: dict[str, Any] = {**given, **prompt, **(tell or {})}
        dials = {name: told.pop(name) for name in list(told) if ":" in name}  # leaves of parts around the network
        return {**self.recipe.telling.cond(count, told), **self._dialled(count), **dials}

    def _dialled(self, count: int) -> dict[str, Tensor]:
        """The dials of the parts around the network, (count, ...)."""
        for name, leaf in self.dials.items():
            if leaf.ndim and len(leaf) not in (1, count):
                what = name.partition(":")[2]
                raise UserError(f"{what} has {len(leaf)} weights for {count} samples: give one for all, or one each")
        return {k: leaf.expand(count, *leaf.shape[1:]).contiguous() for k, leaf in self.dials.items()}

    def adapted(self, parts: Mapping[str | Path, Any]) -> "Run":
        """The run with trained parts around its network, by their paths: see `adapting.around`.

        {"runs/inverted": 0.7}; {"runs/inverted": [0, 0.5, 1]}, one each; {"runs/outline": {"weight": 1, "hint":
        picture, "interval": (0.1, 80)}}; {"runs/prompted": {"prompt": picture}}.
        """
        given, dials = around(self, parts)
        return replace(self, given=given, dials={**self.dials, **dials})

    def labels(self, label: Label, count: int) -> dict[str, Tensor]:
        """As `cond`, of a label alone."""
        return self.cond(count, label)

    def guided(self, guidance: Guidance | None = None) -> Denoiser:
        """The denoiser with the guides given around it, or the recipe's: a weight, or words (see `guide.words`)."""
        guidance = self.recipe.sampling.guidance if guidance is None else guidance
        null = {**self.recipe.nulls, **unprompted(self.dials)}
        try:
            return guided(self.denoiser, guidance, null, self.recipe.telling.named, self._model)
        except UserError as error:
            raise UserError(f"{self.recipe.name}: {error}") from None

    def guidance_key(self, guidance: Guidance | None) -> float | str:
        """What guides are, to tell results apart: a weight, or words and what other runs they ask."""
        asked = self.recipe.sampling.guidance if guidance is None else guidance
        others = sorted({str(node["run"]) for node in nodes(asked) if node.get("run") is not None})
        return plain(" ".join([words(asked), *(f"{other}={open(other).weights[:12]}" for other in others)]))

    def _model(self, folder: str | None, items: int | None, ema: float | None, of_labels: bool = False) -> NetDenoiser:
        """Another run's denoiser, or this one's after fewer items or with another average of its weights."""
        other = self if folder is None else open(folder, self.device)
        mine, theirs = (run.recipe for run in (self, other))
        for what in ("shape", "classes"):
            if getattr(mine, what) != getattr(theirs, what):
                raise UserError(f"{folder} knows the {what} {getattr(theirs, what)}, expected {getattr(mine, what)}")
        for name in mine.conditions.keys() & theirs.conditions.keys():
            if mine.telling.told[name] != theirs.telling.told[name]:
                raise UserError(f"{folder} is told '{name}' in another way than {mine.name}")
        if theirs.objective.of_labels != of_labels:
            what = "a classifier" if of_labels else "a model that draws"
            raise UserError(f"{folder} is no run of {what}")
        if mine.nodes["process"] != theirs.nodes["process"]:
            raise UserError(f"{folder} is of another process, so it hears other noise than {mine.name}")
        return (other if ema is None else other.averaged(ema)).denoiser if items is None else other._earlier(items, ema)

    def _earlier(self, items: int, width: float | None) -> NetDenoiser:
        """The denoiser as it was after so many items."""
        made = self.fresh()
        then = earlier(self.checkpoint, self.folder / SNAPSHOTS, items, width)
        fit(made.net.state_dict(), then, self.folder)
        return replace(made, net=made.net.to(self.device).eval().requires_grad_(False))

    def draw(
        self,
        seeds: Sequence[int],
        plan: Plan | Adaptive | None = None,
        label: Given = None,
        guidance: Guidance | None = None,
        start: Tensor | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> Generator[Event]:
        """Events of the engine, step by step, until a sample of every seed is done."""
        if isinstance(plan, Adaptive):
            denoiser, cond, places = self.guided(guidance), self.cond(len(seeds), label), self.batch
            yield from adaptive.draw(
                denoiser, plan, shape or self.recipe.shape, seeds, cond, start, self.device, places
            )
            return
        sizes = tuple(2**k for k in range(2, self.batch.bit_length()))
        engine = Engine(self.guided(guidance), self.batch, sizes, self.device)
        cond = self.cond(len(seeds), label)
        engine.submit(Job(plan or self.plan(), shape or self.recipe.shape, seeds, cond, start))
        while engine.busy:
            yield from engine.tick()

    def sample(
        self,
        n: int | None = None,
        sampler: str | None = None,
        steps: int | None = None,
        grid: str | None = None,
        label: Given = None,
        guidance: Guidance | None = None,
        seeds: Sequence[int] | None = None,
        start: Tensor | None = None,
        raw: bool = True,
        text: Text = None,
        tell: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Samples: a list of raw things (pictures, rows in the data's units), or with raw=False the tensor (n, ...).

        n: how many, 16 if seeds is silent too; seeds: one each, range(n) if silent; label, text, tell: what each is
        told, see `cond`; guidance: the weight, 1 for none, or guides in words (see `guide.words`); start: x at the
        plan's start; options: the sampler's own.
        """
        if seeds is None:
            seeds = range((16 if start is None else len(start)) if n is None else n)
        elif n is not None and n != len(seeds):
            raise UserError(f"{n} samples of {len(seeds)} seeds: give n or seeds, or as many seeds as samples")
        if sampler == "tuned" and guidance is not None:
            options = {"guidance": guidance, **options}  # such plans are tuned for it
        told = self.cond(len(seeds), label, text, tell)
        events = self.draw(seeds, self.way(sampler, steps, grid, **options), told, guidance, start)
        x = collect(events, len(seeds))
        return self.recipe.modality.decode(x) if raw else x

    def trajectory(
        self, seeds: Sequence[int], plan: Plan | None = None, label: Given = None, guidance: Guidance | None = None
    ) -> Trajectory:
        """Every question of a plan and the belief that answered it, for each seed; on the host."""
        plan, denoiser = plan or self.plan(), self.guided(guidance)
        cond, like = self.cond(len(seeds), label), torch.zeros(0, device=self.device)
        x = denoiser.process.prior(self.recipe.shape, seeds, like, plan.start, cond)
        states, beliefs = [x if plan.head is None else plan.head(x, cond)], []
        for state, belief in generate(denoiser, plan, self.recipe.shape, seeds, cond, start=x):
            states.append(state.x)
            beliefs.append(belief.x0)
        beliefs.append(states[-1])  # at the end nothing is left to believe
        times, schedule = np.append(plan.t, plan.end), self.recipe.process.schedule
        scale = np.sqrt(schedule.alpha(times) ** 2 + schedule.sigma(times) ** 2)
        return Trajectory(times, torch.stack(states).cpu(), torch.stack(beliefs).cpu(), scale)

    def batches(
        self, seeds: Sequence[int], plan: Plan | None = None, label: Given = None, guidance: Guidance | None = None
    ) -> Generator[Tensor]:
        """Samples of many seeds, in order, a batch as soon as it is done: the closed loop, for thousands of them."""
        plan, denoiser, cond = plan or self.plan(), self.guided(guidance), self.cond(len(seeds), label)
        for first in range(0, len(seeds), self.batch):
            rows = slice(first, first + self.batch)
            part = {name: leaf[rows] for name, leaf in cond.items()}
            yield sample(denoiser, plan, self.recipe.shape, seeds[rows], part, device=self.device)

    def protocol(
        self,
        against: str = "test",
        features: Features | None = None,
        measures: Sequence[str] | None = None,
        draws: int | None = None,
        count: int | None = None,
    ) -> Protocol:
        """How this run's data is judged: so many draws of so many samples, against that part of the data.

        features: read with these too; measures: names of metrics.MEASURES, or "all"; silent: the standard table.
        """
        asked = None if measures is None else tuple(measures)
        rules = protocol(self.recipe.source, against, self.recipe.modality, features, asked)
        return replace(rules, draws=draws or rules.draws, count=count or rules.count)

    def like(self, rules: Protocol) -> dict[str, Tensor]:
        """What the samples of a protocol are told, leaves (draws·count, ...): as the items they stand against are."""
        telling = self.recipe.telling
        leaves = telling.leaves(rules.cond(telling.told), rules.draws * rules.count)
        if telling.makes:
            shown = np.concatenate(
                [np.resize(lot.items, (rules.count, *lot.items.shape[1:])) for lot in rules.references]
            )
            leaves |= telling.made(self.recipe.modality.encode(shown), rng.host("like"))
        return leaves

    def some(self, count: int) -> dict[str, Tensor]:
        """What samples are told that show what a run can do: its labels in turn, or what held-out items are told."""
        telling = self.recipe.telling
        if list(telling.told) == ["label"] and self.recipe.classes:
            return {"label": torch.arange(count) % len(self.recipe.classes)}
        try:
            held_out = self.recipe.source.split("validation") if telling else None
        except UserError:  # sampled without its data
            held_out = None
        if held_out is None:
            return self.cond(count)
        raw, values = held_out.take(np.resize(np.arange(len(held_out)), count))
        made = telling.made(self.recipe.modality.encode(raw), rng.host("some")) if telling.makes else {}
        return telling.leaves(values, count) | made

    def following(self, prompts: int = 250, each: int = 2) -> Following | None:
        """How it is seen whether samples follow what they are told; None where that cannot be read off a picture."""
        told, source = self.recipe.telling.told, self.recipe.source
        if not isinstance(source, Scenes) or not told.keys() & {"text", *source.values}:
            return None
        return following(source, prompts, each)

    def measure(self, rules: Protocol, x: Tensor) -> list[Measure]:
        """The table for samples (draws·count, ...), told as `like` has it."""
        # A part at a time: the way to raw units leads through numbers of eight bytes.
        raw = np.concatenate([self.recipe.modality.quantise(part) for part in x.split(PART)])
        labels = rules.labels if "label" in self.recipe.telling.told else None
        found = rules.measure(raw.reshape(rules.draws, rules.count, *raw.shape[1:]), labels)
        return found + (self.excess.measures() if self.excess is not None else [])

    @cached_property
    def excess(self) -> Excess | None:
        """By how much its beliefs err more than the least possible; None where no truth is known, or one step is all.

        Asked of the network without guidance, on fresh items: no plan, and no sample, has a part in it.
        """
        recipe = self.recipe
        if recipe.truth is None or recipe.objective.once or not isinstance(recipe.source, World):
            return None
        return excess(self.denoiser, recipe.truth, recipe.source, recipe.modality, device=self.device)

    def likelihood(
        self,
        way: str = "ode",
        raw: Any = None,
        *,
        how: Adaptive | None = None,
        exact: int = EXACT,
        arrived: Callable[[], None] | None = None,
    ) -> Likelihood:
        """−log p of a raw batch, none of whose conditions are told: by the flow ("ode"), or by the bound of its chain.

        raw: the test part if silent, at most 1000 items; how, exact, arrived: of the flow, see `metrics.likelihood`.
        """
        recipe = self.recipe
        if recipe.objective.once:
            raise UserError(
                f"{recipe.name} is asked once: a generator has no density that a flow or a bound would tell"
            )
        raw = held_out_items(recipe.source, "test").items if raw is None else raw
        cond = {name: leaf.to(self.device) for name, leaf in self.cond(len(raw)).items()}
        given = (self.denoiser, recipe.modality, raw, cond)
        if choose("way to a likelihood", way, WAYS) == "bound":
            variance = "learned" if isinstance(self.denoiser.variance, Learned) else "beta"
            steps = chain_of(recipe.variance, recipe.process.schedule)
            asked = min(steps, ASKED)
            return bound(*given, steps=steps, asked=asked, variance=variance, device=self.device).likelihood
        return by_flow(*given, how=how, exact=exact, truth=recipe.truth, device=self.device, arrived=arrived)

    def evaluate(self, against: str = "test") -> list[Measure]:
        """The table of the standard protocol of this run's data, each measure beside its floor."""
        rules = self.protocol(against)
        drawn = self.batches(range(rules.draws * rules.count), label=self.like(rules))
        return self.measure(rules, torch.cat(list(drawn)))


def collect(events: Iterable[Event], count: int) -> Tensor:
    """The samples (count, ...) among the events of one job, in the order of its seeds."""
    found: dict[int, Tensor] = {}
    for event in events:
        if isinstance(event, Failed):
            raise FloatingPointError(f"sample {event.index}: {event.reason}")
        if isinstance(event, Done):
            found[event.index] = event.x
    return torch.stack([found[index] for index in range(count)])


def open(folder: str | Path, device: str = "cpu") -> Run:
    """The run in a folder."""
    path = Path(folder)
    if not (path / RECIPE).exists():
        there = sorted({str(p.parent) for place in (path.parent, Path("runs")) for p in place.glob(f"*/{RECIPE}")})
        raise UserError(f"{path} is no run: it has no {RECIPE}" + (f"; {nearest(path, there)}" if there else ""))
    return Run(path, read(path), device)


__all__ = ["Run", "Trajectory", "collect", "open"]
