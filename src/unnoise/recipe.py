"""A recipe: named nodes of YAML, and the objects that they describe."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from unnoise import guide, recipes
from unnoise.adapt import ADAPTERS, Adapted, Part, Prior, Shows
from unnoise.augment import AUGMENTS, Augment, Nothing
from unnoise.conditions import CONDITIONS, Condition, Telling
from unnoise.config import Tables, UserError, build, choose, describe, nearest
from unnoise.data import SOURCES, Items, Source, settled
from unnoise.data.patches import BUNDLED
from unnoise.data.renumbered import Renumbered
from unnoise.denoise import NetDenoiser
from unnoise.denoise.closed import Components
from unnoise.denoise.target import TARGETS, Target
from unnoise.denoise.truth import truth
from unnoise.denoise.variance import VARIANCES, Fixed, Variance
from unnoise.guide import Guidance
from unnoise.loop.sampling import Sampling
from unnoise.modality import MODALITIES, Array, Modality, Points
from unnoise.nets import NETS, Net
from unnoise.nets.heard import Labels
from unnoise.process.gaussian import PROCESSES, Gaussian
from unnoise.process.schedules import SCHEDULES, Schedule
from unnoise.samplers import Plan
from unnoise.tensor import Tensor
from unnoise.train import AIMS, LEVELS, OBJECTIVES, WEIGHTS, Aim, Levels, Objective, TrainConfig, Weight, once

TABLES: Tables = {
    Source: SOURCES,
    Modality: MODALITIES,
    Condition: CONDITIONS,
    Augment: AUGMENTS,
    Gaussian: PROCESSES,
    Schedule: SCHEDULES,
    Net: NETS,
    Part: ADAPTERS,
    Prior: {"prior": Prior},
    Target: TARGETS,
    Variance: VARIANCES,
    Objective: OBJECTIVES,
    Levels: LEVELS,
    Weight: WEIGHTS,
    Aim: AIMS,
    TrainConfig: {"train": TrainConfig},
    Sampling: {"sample": Sampling},
}

# The nodes of a recipe, in the order in which a reader meets them, and what stands where one is silent.
NODES: dict[str, tuple[Any, Any]] = {
    "data": (Source, None),
    "modality": (Modality, None),
    "conditions": (Condition, "data"),
    "augment": (Augment, "nothing"),
    "process": (Gaussian, {"schedule": "cosine"}),
    "net": (Net, None),
    "adapt": (Part, "nothing"),
    "target": (Target, "velocity"),
    "variance": (Variance, "fixed"),
    "objective": (Objective, {}),
    "prior": (Prior, {}),
    "train": (TrainConfig, {}),
    "sample": (Sampling, {}),
}


OWN = "own"  # what the part that a run trains is called among others
RESERVED = ("augment", "mask", "guidance")  # leaves of cond that are told by others
SMALL = 1024  # numbers of a null that is written down; a larger one is all zeros or made again of its facts
DEFAULT = {"objective": "regression"}  # what a node is that does not say its kind, though there are several


@dataclass(frozen=True)
class Facts:
    """What a run knows of its data, so that it can be sampled where these are gone."""

    shape: tuple[int, ...]  # of one encoded item
    classes: tuple[str, ...]
    nulls: Mapping[str, Any]  # of each condition: a number, or lists of them
    items: int  # in the training part
    digest: str  # SHA-256 of what the data are; "" where a source tells none
    conditions: Mapping[str, Any] = field(default_factory=dict[str, Any])  # what each condition must know of the data


class Gone(Source):
    """Stands in for data that cannot be had: whoever asks is told why, in one line."""

    name = "gone"

    def __init__(self, of: str, why: Exception):
        self._told = f"the data of {of} is not there: sampling needs none, evaluation does ({why})"

    @property
    def raw(self) -> str:
        raise UserError(self._told)

    @property
    def classes(self) -> tuple[str, ...]:
        raise UserError(self._told)

    @property
    def digest(self) -> str:
        raise UserError(self._told)

    def _split(self, name: str) -> Items:
        raise UserError(self._told)


@dataclass(frozen=True)
class Recipe:
    """What a recipe describes. `nodes` is the recipe with every default written out: it makes the same again."""

    name: str
    nodes: Mapping[str, Any]
    source: Source
    modality: Modality
    conditions: Mapping[str, Condition]
    augment: Augment
    process: Gaussian
    target: Target
    variance: Variance
    objective: Objective
    prior: Prior
    train: TrainConfig
    sampling: Sampling
    shows: Mapping[str, Shows] = field(default_factory=dict[str, Shows])  # leaves that the part is shown of items
    known: Facts | None = None  # what a run wrote down of its data; else they are asked

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of one encoded item."""
        if self.known is not None:
            return self.known.shape
        raw, _ = self.source.split("validation").take([0])
        return tuple(self.modality.encode(raw).shape[1:])

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the labels, in the order of their numbers; empty where there are none."""
        return self.source.classes if self.known is None else self.known.classes

    @cached_property
    def telling(self) -> Telling:
        """What the model is told, by the name of each condition, with what is known of the data."""
        kept = {} if self.known is None else self.known.nulls
        told = {
            name: one.told(name, self._facts(name), self.shape).within(self.modality)
            for name, one in self.conditions.items()
        }
        return Telling(self.name, told, kept)

    def _facts(self, name: str) -> Any:
        """What a condition must know of the data: as a run wrote it down, or asked of them."""
        if self.known is None:
            return self.conditions[name].facts(name, self.source)
        older = {"label": {"names": list(self.known.classes), "many": None}}  # than conditions: a run with a label
        return {**older, **self.known.conditions}[name]

    @property
    def nulls(self) -> dict[str, float | int | Tensor]:
        """The leaf of one item of each condition that means "not given": a number where one is all."""
        return self.telling.nulls

    @property
    def drops(self) -> dict[str, float]:
        """How often training replaces each condition by its null."""
        general = self.train.drops(tuple(self.conditions))
        for name in general:
            choose("condition with a null", name, self.conditions)
        own = {name: one.drop for name, one in self.conditions.items() if one.drop is not None}
        return {**general, **own}

    def facts(self) -> Facts:
        """What a run writes down of its data: all of it is read once for the digest."""
        items, digest = len(self.source.split("train")), self.source.digest
        told = self.telling.told
        nulls = {name: one.null.tolist() for name, one in told.items() if one.null.size <= SMALL}
        known = {name: self._facts(name) for name in told}
        return Facts(self.shape, self.classes, nulls, items, digest, known)

    @property
    def adapts(self) -> bool:
        """Whether a part is trained around a network that stays as it is."""
        return _adapts(self.nodes)

    @property
    def truth(self) -> Components | None:
        """The exact denoiser, where the law of the data is known in closed form and encoded as it is."""
        plain = isinstance(self.modality, (Points, Array)) and self.modality.mean == 0 and self.modality.scale == 1
        return truth(self.source, self.process) if plain else None

    def plan(self, sampling: Sampling, reverse: bool = False) -> Plan:
        """The table of a way of sampling, or of the same from data to noise.

        UserError where what was trained has no answer to its questions.
        """
        if self.objective.of_labels:
            raise UserError(
                f"{self.name} tells labels apart and draws nothing: guide the sampling of another run by it, with "
                '--guidance "classifier run=FOLDER"'
            )
        if self.objective.once and reverse:
            raise UserError(f"{self.name} is a generator: it has learned one answer, and no way from data to noise")
        made = sampling.plan(self.process, reverse)
        if self.objective.once:
            once.check(made)
        if made.heeds_variance and isinstance(self.variance, Fixed):
            raise UserError(
                f"sampler {sampling.sampler} heeds a learned variance, and {self.name} has a fixed one: train it with "
                "variance=learned, or take variance=posterior or beta"
            )
        return made

    def check_guidance(self, guides: Guidance) -> None:
        """Raises where guides do not fit what is trained."""
        guide.check(guides, self.nulls, self.telling.named, self.process)

    @property
    def made(self) -> "Making | None":
        """What of an item training shows to the model that is to draw it; None where nothing is."""
        made = Making(self.telling, dict(self.shows))
        return made if made.makes else None

    def denoiser(self) -> NetDenoiser:
        """A fresh network around which all else is as the recipe says; its first weights depend on the seed."""
        import torch

        from unnoise import rng

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rng.key(self.train.seed, "weights") >> 1)
            net, _ = build(Net, self.nodes["net"], TABLES, f"{self.name}: net", _around(self))
            net, _ = _adapted(self.name, net, self.nodes["adapt"])
        return self.objective.model(net, self.process, self.target, self.variance)

    def text(self) -> str:
        """The resolved recipe as YAML, a line a node where it fits."""
        nodes = yaml.safe_dump(dict(self.nodes), sort_keys=False, default_flow_style=None, width=100)
        return f"name: {self.name}\n{nodes}"


@dataclass(frozen=True)
class Making:
    """What is made of items in training: the conditions that are, and what a part around the network is shown."""

    telling: Telling
    shows: Mapping[str, Shows]

    @property
    def makes(self) -> bool:
        return self.telling.makes or bool(self.shows)

    def __call__(self, x0: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
        """x0 (B, ...) as the model sees items → leaves (B, ...) of cond."""
        own = {name: one.made(x0, rng) for name, one in self.shows.items()}
        return {**self.telling.made(x0, rng), **own}


def load(recipe: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a name or a file, with overrides such as "train.items=200000"."""
    path = Path(recipe)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"there is no recipe file {path}")
        try:
            name, text = path.stem, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise UserError(f"{path} is no recipe: it is not text in UTF-8") from None
    else:
        name = str(recipe)
        text = recipes.text(name)
    try:
        nodes = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {_where(error)}") from None
    if not isinstance(nodes, dict):
        raise UserError(f"{path} is no recipe: expected named nodes, such as 'data' and 'net'")
    nodes = override(nodes, overrides)
    nodes["data"] = _absolute(nodes.get("data"))
    return resolve(str(nodes.get("name", name)), nodes)


def _where(error: yaml.YAMLError) -> str:
    """Where YAML breaks off, and why."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())


def override(nodes: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Nodes with changes written as node.key=value, the value in YAML; a new kind or preset drops the old fields."""
    result: dict[str, Any] = _copy(nodes)
    for change in changes:
        path, equals, value = change.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise UserError(f"an override is written node.key=value, got '{change}'")
        if keys[0] not in NODES:
            raise UserError(f"no recipe has a node '{keys[0]}'; {nearest(keys[0], list(NODES))}")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(
                f"the value of an override is YAML, such as 0.5, cosine or [32, 64]; got '{value}'"
            ) from None
        place = result
        for key in keys[:-1]:
            inner = place.get(key)
            inner = {"kind": inner} if isinstance(inner, str) else inner
            place[key] = inner if isinstance(inner, dict) else {}
            place = place[key]
        if keys[-1] == "kind" and place.get("kind") != parsed:
            place.clear()
        if keys[-1] == "preset":
            for field in [field for field in place if field != "kind"]:
                del place[field]
        place[keys[-1]] = parsed
    return result


def resolve(name: str, nodes: Mapping[str, Any], known: Facts | None = None, given: Source | None = None) -> Recipe:
    """Objects from nodes, each validated; raises UserError with the path of what is wrong.

    known: what was written down of the data, which then need not be there; given: the data, where they are read
    already (the node `data` is not looked at then).
    """
    nodes = {key: node for key, node in nodes.items() if key != "name"}
    for key in nodes:
        if key not in NODES:
            raise UserError(f"{name} has a node '{key}' that no recipe has; {nearest(key, list(NODES))}")
    made: dict[str, Any] = {}
    resolved: dict[str, Any] = {}
    for key, (base, default) in NODES.items():
        node = nodes.get(key, default)
        if node is None:
            raise UserError(f"{name} has no node '{key}'; a recipe names at least data, modality and net")
        if key == "modality":  # `data` stands for what the data say, and is written out once
            node = settled(node, made["data"])
        if key in ("net", "adapt"):  # made when weights are needed; their fields are checked by making them then
            resolved[key] = {"kind": node} if isinstance(node, str) else dict(node)
            continue
        if key == "data" and given is not None:
            made[key], resolved[key] = given, describe(given, TABLES)
            continue
        if key == "conditions":
            made[key], resolved[key] = _conditions(name, node, made["data"], known)
            continue
        context: dict[str, Any] = {"cell": made["modality"].cell} if key in ("variance", "objective") else {}
        if key == "objective":  # networks that are trained beside are made as the network itself, unless they say
            context |= {"critic": resolved["net"], "encoder": resolved["net"], "augment": made["augment"].width}
            node = {"kind": DEFAULT[key], **node} if isinstance(node, Mapping) else node
        try:
            made[key], resolved[key] = build(base, node, TABLES, f"{name}: {key}", context)
        except UserError as error:
            if key != "data" or known is None:
                raise
            made[key], resolved[key] = Gone(name, error), node
        if key == "data" and known is not None and known.classes and _adapts(nodes):
            made[key] = Renumbered(made[key], known.classes)
    source, modality = made["data"], made["modality"]
    if known is None and source.raw != modality.name:
        raise UserError(f"{name}: data '{source.name}' is of the modality '{source.raw}', got '{modality.name}'")
    recipe = Recipe(
        name=name,
        nodes=resolved,
        source=source,
        modality=modality,
        conditions=made["conditions"],
        augment=made["augment"],
        process=made["process"],
        target=made["target"],
        variance=made["variance"],
        objective=made["objective"],
        prior=made["prior"],
        train=made["train"],
        sampling=made["sample"],
        known=known,
    )
    if not isinstance(recipe.augment, Nothing) and len(recipe.shape) != 3:
        raise UserError(f"{name}: augment: only pictures are augmented, got items of shape {recipe.shape}")
    if recipe.objective.of_labels and len(recipe.classes) < 2:
        raise UserError(f"{name}: a classifier tells labels apart, and its data have {len(recipe.classes)} of them")
    try:  # a sampler that cannot be written out is told of now, not after the training; nor guides that fit nothing
        if not recipe.objective.of_labels:
            recipe.plan(recipe.sampling)
        recipe.check_guidance(recipe.sampling.guidance)
    except UserError as error:
        raise UserError(f"{name}: sample: {error}") from None
    net, resolved["net"] = build(Net, resolved["net"], TABLES, f"{name}: net", _around(recipe))
    try:  # nor what is to be trained beside
        recipe.objective.beside(net)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    around, resolved["adapt"] = _adapted(name, net, resolved["adapt"])
    if isinstance(around, Adapted):
        shows = {f"{leaf}:{own}": one for own, part in around.named for leaf, one in part.shows.items()}
        recipe = replace(recipe, shows=shows)
    return recipe


def _conditions(
    name: str, node: Any, source: Source, known: Facts | None
) -> tuple[dict[str, Condition], dict[str, Any]]:
    """The conditions of a recipe by name, and their nodes; `data`: what the data tell, an older run's label."""
    if node == "data":
        node = source.tells if known is None else {"label": "labels"} if known.classes else {}
    if not isinstance(node, Mapping):
        raise UserError(f"{name}: conditions are written {{label: labels, size: numbers}}, got {node!r}")
    made: dict[str, Condition] = {}
    nodes: dict[str, Any] = {}
    for key, value in node.items():
        if not isinstance(key, str) or re.search("[:=]|^negative ", key) or key in RESERVED:
            raise UserError(f"{name}: a condition is named without : and =, and not {', '.join(RESERVED)}; got '{key}'")
        made[key], nodes[key] = build(Condition, value, TABLES, f"{name}: conditions.{key}")
    return made, nodes


def _around(recipe: Recipe) -> dict[str, Any]:
    """What a network is given by the nodes around it: the plain label as `classes`, all other conditions as `heard`."""
    answers = 1 if isinstance(recipe.variance, Fixed) else 2
    known: dict[str, Any] = {"shape": recipe.shape, "classes": 0, "heard": {}, "augment": recipe.augment.width}
    if recipe.objective.of_labels:  # it is told nothing, and answers for each label
        return {**known, "answers": len(recipe.classes)}
    heard = {name: one.heard for name, one in recipe.telling.told.items()}
    if isinstance(label := heard.get("label"), Labels) and label.many == 1:
        known["classes"] = label.count
        del heard["label"]
    return {**known, "heard": heard, "answers": answers}


def _adapts(nodes: Mapping[str, Any]) -> bool:
    """Whether a part is trained around a frozen network."""
    node = nodes.get("adapt", "nothing")
    return (node.get("kind") if isinstance(node, Mapping) else node) != "nothing"


def _adapted(name: str, net: Net, node: Any) -> tuple[Net, dict[str, Any]]:
    """The network with the part around it that the node `adapt` describes, and that node with its defaults."""
    part, resolved = build(Part, node, TABLES, f"{name}: adapt", {"base": net})
    return (net if part is None else Adapted(net, {OWN: part})), resolved


def _absolute(node: Any) -> Any:
    """A data node whose paths no longer depend on the working folder; patches are `of` a library or of a path."""

    def places(key: str, value: Any) -> bool:
        return isinstance(value, str) and (key in ("path", "cache") or (key == "of" and value not in BUNDLED))

    if isinstance(node, Mapping):
        return {
            key: os.path.abspath(os.path.expanduser(value)) if places(key, value) else value
            for key, value in ((key, _absolute(value)) for key, value in node.items())
        }
    return node


def _copy(nodes: Any) -> Any:
    if isinstance(nodes, Mapping):
        return {key: _copy(value) for key, value in nodes.items()}
    return nodes


__all__ = ["NODES", "TABLES", "Facts", "Recipe", "load", "override", "resolve"]
