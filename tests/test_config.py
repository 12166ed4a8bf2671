"""Nodes become objects, resolved nodes say everything, and a mistake is one clear sentence."""

import json
import re
from dataclasses import dataclass, field

import pytest
import yaml

from unnoise.config import UserError, arguments, build, choose, describe, nearest
from unnoise.denoise import TARGETS, Target
from unnoise.process import SCHEDULES, Schedule, schedules


@dataclass(frozen=True)
class Model:
    """Stands for a net: its shape is known by the data, not by the recipe."""

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (32, 64)
    schedule: Schedule = schedules.Cosine()  # noqa: RUF009 (frozen)
    target: Target = field(default_factory=lambda: TARGETS["velocity"]())
    scale: float = 1.0

    def __post_init__(self):
        if self.scale <= 0:
            raise ValueError(f"scale must be positive, got {self.scale}")


class Plain:
    """A class that keeps nothing, with an open end."""

    def __init__(self, *, schedule: Schedule, name: str | None = None, **rest: int):
        self.made = schedule, name, rest


def function(rate: float, schedule: Schedule = schedules.Flow(2.0)):  # noqa: B008 (frozen)
    return rate, schedule


class Part:
    """The key of a table of anything."""


TABLES = {Schedule: SCHEDULES, Target: TARGETS, Part: {"model": Model, "plain": Plain, "function": function}}


def part(node, **context):
    return build(Part, node, TABLES, "part", context)


def test_a_name_alone_is_a_node_of_defaults():
    made, resolved = build(Schedule, "linear", TABLES, "schedule")
    assert made == schedules.Linear()
    assert resolved == {"kind": "linear", "beta_1": 1e-4, "beta_T": 0.02}


def test_nodes_nest_as_deep_as_they_are_written():
    node = {
        "kind": "discrete",
        "T": 50,
        "schedule": {"kind": "zero_terminal", "schedule": {"kind": "cosine", "s": 0.01}},
    }
    made, resolved = build(Schedule, node, TABLES, "schedule")
    assert made == schedules.Discrete(schedules.ZeroTerminal(schedules.Cosine(0.01)), 50)
    assert resolved == {
        "kind": "discrete",
        "schedule": {"kind": "zero_terminal", "schedule": {"kind": "cosine", "s": 0.01, "least": 0.0}},
        "T": 50,
    }
    assert node["schedule"] == {"kind": "zero_terminal", "schedule": {"kind": "cosine", "s": 0.01}}  # untouched


@pytest.mark.parametrize("kind", SCHEDULES)
def test_what_is_resolved_builds_the_same_and_resolves_to_itself(kind):
    node = {"kind": kind, "schedule": "sigmoid"} if kind in ("discrete", "sub_vp", "zero_terminal") else kind
    made, resolved = build(Schedule, node, TABLES, "schedule")
    plain = yaml.safe_load(yaml.safe_dump(resolved))
    assert plain == json.loads(json.dumps(resolved))  # plain data, all the way down
    again, once_more = build(Schedule, plain, TABLES, "schedule")
    assert again == made
    assert once_more == resolved
    assert describe(made, TABLES) == resolved


def test_defaults_that_are_objects_resolve_to_their_nodes():
    made, resolved = part({"kind": "function", "rate": 1}, shape=(3,))
    assert made == (1.0, schedules.Flow(2.0))
    assert resolved == {"kind": "function", "rate": 1.0, "schedule": {"kind": "flow", "shift": 2.0}}
    _, given = part({"kind": "plain", "schedule": schedules.Discrete(schedules.Linear(), 10)})
    assert given["schedule"] == {
        "kind": "discrete",
        "schedule": {"kind": "linear", "beta_1": 1e-4, "beta_T": 0.02},
        "T": 10,
    }


def test_what_the_caller_knows_is_given_and_not_written():
    made, resolved = part({"kind": "model", "widths": [8], "target": "edm"}, shape=(1, 8, 8), unused=3)
    assert made.shape == (1, 8, 8)
    assert made.widths == (8,)
    assert made.target == TARGETS["edm"]()
    assert "shape" not in resolved
    assert resolved["widths"] == [8]
    assert resolved["target"] == {"kind": "edm", "sigma_data": 0.5}
    assert part({"kind": "model", "shape": [2], "target": "data"}, shape=(1, 8, 8))[0].shape == (2,)  # the node wins
    _, said = part({"kind": "model", "shape": [2], "target": "data"}, shape=(1, 8, 8))
    assert said["shape"] == [2]


def test_values_are_validated_and_converted():
    made, _ = part({"kind": "function", "rate": "2.5"})
    assert made[0] == 2.5
    values, resolved = arguments(function, {"rate": 3}, TABLES, "f")
    assert values == {"rate": 3.0, "schedule": schedules.Flow(2.0)}
    assert resolved["rate"] == 3.0


@pytest.mark.parametrize(
    ("node", "says"),
    [
        ({"kind": "modle"}, "part has no kind 'modle'; did you mean 'model'?"),
        ({"kind": "zzz"}, "part has no kind 'zzz'; expected one of: model, plain, function"),
        ({"widths": [1]}, "part has no kind: expected a name or a table with 'kind', got {'widths': [1]}"),
        (None, "part has no kind"),
        ({"kind": 3}, "part has no kind"),
        ({"kind": "model", "width": [1]}, "part has no field 'width'; did you mean 'widths'?"),
        (
            {"kind": "plain", "schedule": "flow", "other": 1},
            "part has no field 'other'; expected one of: name, schedule",
        ),
        ({"kind": "model", "target": "velocty"}, "part.target has no kind 'velocty'; did you mean 'velocity'?"),
        (
            {"kind": "plain", "schedule": {"kind": "flow", "shfit": 1}},
            "part.schedule has no field 'shfit'; did you mean 'shift'?",
        ),
        (
            {"kind": "plain", "schedule": {"kind": "flow", "shift": -1}},
            "part.schedule: shift must be positive, got -1.0",
        ),
        (
            {"kind": "plain", "schedule": {"kind": "flow", "shift": "x"}},
            "part.schedule.shift: input should be a valid number",
        ),
        ({"kind": "plain", "schedule": 3}, "part.schedule: input should be an instance of schedule, got 3"),
        ({"kind": "plain"}, "part.schedule is missing"),
        ({"kind": "function"}, "part.rate is missing"),
        ({"kind": "model", "widths": [1, "two"], "target": "data"}, "part.widths.1: input should be a valid integer"),
        ({"kind": "model", "scale": 0, "target": "data"}, "part: scale must be positive, got 0"),
        (
            {"kind": "plain", "schedule": {"kind": "discrete", "schedule": "geometric"}},
            "part.schedule: geometric has no betas",
        ),
        (
            {"kind": "plain", "schedule": {"kind": "discrete", "schedule": {"kind": "cosin"}}},
            "part.schedule.schedule has no kind 'cosin'; did you mean 'cosine'?",
        ),
    ],
    ids=str,
)
def test_a_mistake_is_one_sentence_that_says_where_and_what(node, says):
    with pytest.raises(UserError, match=re.escape(says)) as caught:
        part(node, shape=(2,))
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_node_without_a_place_speaks_plainly():
    with pytest.raises(UserError, match=r"^a node has no kind 'liner'; did you mean 'linear'"):
        build(Schedule, "liner", TABLES)
    with pytest.raises(UserError, match=r"^shift: input should be"):
        build(Schedule, {"kind": "flow", "shift": "x"}, TABLES)
    with pytest.raises(UserError, match=r"^schedule has no field 'x'"):
        build(Schedule, {"kind": "discrete", "schedule": {"kind": "flow", "x": 1}}, TABLES)


def test_where_there_is_no_choice_no_kind_is_said():
    alone = {**TABLES, Part: {"function": function}}
    made, resolved = build(Part, {"rate": 1}, alone, "part")
    assert made == (1.0, schedules.Flow(2.0))
    assert resolved == {"rate": 1.0, "schedule": {"kind": "flow", "shift": 2.0}}
    assert build(Part, {"kind": "function", "rate": 1}, alone, "part") == (made, resolved)


def test_what_the_caller_knows_is_not_proposed():
    with pytest.raises(UserError, match=r"expected one of: scale, schedule, target, widths$"):
        part({"kind": "model", "zzzzz": 1}, shape=(2,))
    with pytest.raises(UserError, match="nothing"):
        build(Target, {"kind": "velocity", "weight": 1}, TABLES, "target")


def test_the_nearest_name_is_told_or_all():
    assert nearest("eulr", ["euler", "heun"]) == "did you mean 'euler'? (of: euler, heun)"
    assert nearest("zzz", {"euler": 1, "heun": 2}) == "expected one of: euler, heun"
    assert choose("sampler", "heun", {"heun": 2}) == 2
    with pytest.raises(UserError, match=r"^there is no sampler 'huen'; did you mean 'heun'"):
        choose("sampler", "huen", {"euler": 1, "heun": 2})
