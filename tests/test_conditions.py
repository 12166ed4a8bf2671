"""What a model is told: read and encoded there and back, dropped by its own share, and silent where it says nothing."""

import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

import unnoise as un
from unnoise.conditions import Labels, Numbers, Picture
from unnoise.conditions.hints import HINTS
from unnoise.config import UserError
from unnoise.data import Scenes, Shapes
from unnoise.guide import CFG, nodes, words
from unnoise.modality import Image
from unnoise.nets import NETS, heard
from unnoise.recipe import load, resolve
from unnoise.rng import host
from unnoise.train import TrainConfig, Trainer
from unnoise.training import Training, fit

SCENES = Scenes(items=200, held_out=50)
SHAPES = Shapes(items=200, held_out=50, channels=3)
HEARD = {
    "kind": heard.Labels(3),
    "each": heard.Labels(4, many=3),
    "size": heard.Numbers(),
    "place": heard.Numbers(2),
    "beside": heard.Channels(2),
}
NULLS = {
    "label": torch.tensor(5),
    "kind": torch.tensor(3),
    "each": torch.full((3,), 4),
    "size": torch.zeros(1, 2),
    "place": torch.zeros(2, 2),
    "beside": torch.zeros(2, 1, 1),
}
OPTIONS = {
    "mlp": {"width": 32, "depth": 2},
    "unet": {"widths": (8, 16), "blocks": 1},
    "resnet": {"width": 16, "depth": 2},
    "dit": {"width": 32, "depth": 2, "patch": 2},
}
MADE = [(kind, manner) for kind in OPTIONS for manner in (False, True) if not (kind == "mlp" and manner)]
LINE = {  # x, drawn; t and kind, told
    "data": {"kind": "table", "path": "", "tell": ["t"], "labels": ["kind"]},
    "modality": "data",
    "process": {"schedule": {"kind": "karras", "sigma_min": 0.02, "sigma_max": 20}},
    "net": {"kind": "mlp", "width": 64, "depth": 2, "waves": 0},
    "target": {"kind": "edm", "sigma_data": 1.0},
    "train": {"items": 60_000, "batch": 256, "lr": 4e-3, "validate_every": 0, "drop": 0.2},
    "sample": {"sampler": "heun", "steps": 16},
}


def made(kind: str, preserving: bool) -> torch.nn.Module:
    torch.manual_seed(0)
    manner = {} if kind == "mlp" else {"magnitude_preserving": preserving}
    net = NETS[kind]((3, 8, 8), classes=5, heard=HEARD, **OPTIONS[kind], **manner)
    with torch.no_grad():
        for p in net.parameters():  # networks begin at 0: here every weight speaks
            p.copy_(torch.randn(p.shape) / max(1, p[0].numel()) ** 0.5 if p.ndim > 1 else torch.randn(p.shape) / 3)
    return net.eval()


def told(count: int = 6) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    numbers = [torch.stack([torch.randn(count, k, generator=g), torch.ones(count, k)], 2) for k in (1, 2)]
    return {
        "label": torch.arange(count) % 5,
        "kind": torch.arange(count) % 3,
        "each": torch.randint(0, 5, (count, 3), generator=g),
        "size": numbers[0],
        "place": numbers[1],
        "beside": torch.cat([torch.randn(count, 1, 8, 8, generator=g), torch.ones(count, 1, 8, 8)], 1),
    }


@pytest.mark.parametrize(("kind", "preserving"), MADE)
def test_nulls_are_what_is_heard_where_nothing_is_told(kind: str, preserving: bool):
    net, cond = made(kind, preserving), told()
    x, level = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(2)), torch.linspace(-2, 2, 6)
    nulls = {name: null.expand(6, *null.shape) for name, null in NULLS.items()}
    with torch.no_grad():
        silent, said = net(x, level, {}), net(x, level, cond)
        assert torch.equal(net(x, level, nulls), silent)
        assert torch.equal(net(x, level, cond | {"unknown": torch.randn(6)}), said)  # nobody has ears for it
        for name in cond:  # each is heard, and heard for itself
            without = net(x, level, {**cond, name: nulls[name]})
            assert torch.equal(without, net(x, level, {k: leaf for k, leaf in cond.items() if k != name}))
            assert (without - said).flatten(1).abs().amax(1).min() > 1e-4, name


@pytest.mark.parametrize(("kind", "preserving"), MADE)
def test_guidance_of_weight_one_and_zero_is_exact_with_every_kind(kind: str, preserving: bool):
    process = un.Gaussian(un.schedules.Cosine())
    plain = un.denoiser(made(kind, preserving), process)
    cond = told()
    x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    level = process.level(np.full(6, 0.4), x)
    nulls = {k: v.item() if v.ndim == 0 else v for k, v in NULLS.items()}
    with torch.no_grad():
        better, lesser = plain(x, level, cond).x0, plain(x, level, {}).x0
        assert torch.equal(CFG(plain, nulls, 1.0)(x, level, cond).x0, better)
        assert torch.equal(CFG(plain, nulls, 0.0)(x, level, cond).x0, lesser)
        at = CFG(plain, nulls, 3.0)(x, level, cond).x0
        assert (at - (3 * better - 2 * lesser)).abs().max() < 1e-4
        away = CFG(plain, {**nulls, "size": torch.tensor([[1.5, 1.0]])}, 0.0)(x, level, cond).x0
        other = plain(x, level, {"size": torch.tensor([[1.5, 1.0]]).expand(6, 1, 2)}).x0
        assert (away - other).abs().max() < 1e-5


def test_a_network_that_is_told_no_more_than_a_label_has_no_other_weights():
    for kind, options in OPTIONS.items():
        torch.manual_seed(4)
        before = NETS[kind]((3, 8, 8), classes=5, **options).state_dict()
        torch.manual_seed(4)
        after = NETS[kind]((3, 8, 8), classes=5, heard={}, **options).state_dict()
        assert list(before) == list(after)
        assert all(torch.equal(before[k], after[k]) for k in before)
        assert not any("other" in name for name in before)
    silent, said = load("digits"), load("digits", ["conditions={label: labels}"])
    assert silent.nodes == said.nodes
    assert (silent.nulls, silent.drops) == ({"label": 10}, {"label": 0.1})
    assert load("digits", ["conditions={}"]).nulls == {}


class Still:
    """A feed of one batch: everything is told of every item."""

    def __call__(self, first: int, size: int):
        leaf = torch.stack([torch.full((size, 1), 0.7), torch.ones(size, 1)], 2)
        return torch.zeros(size, 2), {"label": torch.zeros(size, dtype=torch.int64), "size": leaf}


@pytest.mark.parametrize("together", [0.0, 0.1])
def test_each_condition_is_dropped_by_its_own_share_and_for_itself_and_all_at_once(together):
    nodes = {
        "data": {"kind": "classes2d", "items": 100, "held_out": 20},
        "modality": "points",
        "net": {"kind": "mlp", "width": 8, "depth": 1},
        "train": {"items": 4000, "batch": 256, "drop": {"label": 0.3}},
    }
    recipe = resolve("drops", nodes)
    nulls = {"label": 3, "size": torch.zeros(1, 2)}
    config = TrainConfig(items=16_384, batch=2048, drop={"label": 0.3, "size": 0.2}, drop_all=together)
    trainer = Trainer(recipe.denoiser(), recipe.objective, Still(), config, nulls)
    lost = []
    ask = recipe.objective.__class__.__call__

    def watch(self, denoiser, x0, cond, draws, *beside):
        lost.append(torch.stack([cond["label"] == 3, (cond["size"] == 0).all((1, 2))]))
        return ask(self, denoiser, x0, {"label": cond["label"]}, draws, *beside)

    object.__setattr__(trainer, "objective", type("Watched", (recipe.objective.__class__,), {"__call__": watch})())
    for _ in range(8):
        trainer.step()
    label, size = torch.cat(lost, 1).double()
    count = len(label)
    for found, alone in ((label, 0.3), (size, 0.2), (label * size, 0.06)):
        share = together + (1 - together) * alone
        assert abs(found.mean() - share) < 4 * (share * (1 - share) / count) ** 0.5, share
    assert resolve("own", {**nodes, "conditions": {"label": {"kind": "labels", "drop": 0.5}}}).drops == {"label": 0.5}
    with pytest.raises(UserError, match="no condition with a null 'lable'"):
        _ = resolve("wrong", {**nodes, "train": {"drop": {"lable": 0.1}}}).drops


def test_labels_are_read_and_encoded_there_and_back():
    named = Labels()
    shape = named.told("shape", named.facts("shape", SCENES), (3, 32, 32))
    values = SCENES.split("train").cond["shape"]
    assert np.array_equal(shape.encode(values), values)
    assert shape.heard == heard.Labels(5, many=3)
    for row in values[:40]:
        assert np.array_equal(shape.read(shape.say(row)) if shape.say(row) else shape.null, row)
    assert shape.read("circle,*,ring").tolist() == [0, 5, 4]
    assert shape.read(["square"]).tolist() == [1, 5, 5]
    assert (shape.single("circle,ring"), shape.single([["circle"], ["ring"]])) == (True, False)
    count = named.told("count", named.facts("count", SCENES), (3, 32, 32))
    assert (count.read("2"), count.read(1), count.read(np.int64(0)), count.read("*")) == (1, 1, 0, 3)
    for given, said in (("circel", "did you mean 'circle'"), (7, "expected 0 to 4"), ("a,b,c,d", "has 3 places")):
        with pytest.raises(UserError, match=said):
            shape.read(given)


def test_numbers_are_standardised_and_missing_ones_say_nothing():
    kind = Numbers()
    facts = json.loads(json.dumps(kind.facts("position", SHAPES)))
    position = kind.told("position", facts, (3, 32, 32))
    values = SHAPES.split("train").cond["position"]
    leaf = position.encode(values)
    assert np.allclose(leaf[..., 0].mean(0), 0, atol=1e-4)
    assert np.allclose(leaf[..., 0].std(0), 1, atol=1e-4)
    assert np.array_equal(position.encode(position.read("0.5,*")[None])[0, 1], [0, 0])
    assert np.array_equal(position.encode(np.full((1, 2), np.nan))[0], position.null)
    back = leaf[..., 0] * position.scale + position.mean
    assert np.abs(back - values).max() < 1e-6
    for given, said in (("a,b", "2 numbers"), (0.3, "2 numbers"), ("0.1,nan", "not finite"), ("0.1,inf", "not finite")):
        with pytest.raises(UserError, match=said):
            position.read(given)
    far = Numbers().told("t", {"count": None, "mean": [1.7e9], "scale": [10.0], "low": [0.0], "high": [2e9]}, (2,))
    assert abs(far.encode(np.array([1.7e9 + 5]))[0, 0, 0] - 0.5) < 1e-6  # far from 0 no digit is lost


@pytest.mark.parametrize("of", HINTS)
def test_pictures_are_made_of_the_item_alike_in_training_and_for_a_person(of: str):
    picture = Picture(of=of).told("beside", {}, (3, 32, 32)).within(Image())
    raw = SHAPES.split("validation").items[:8]
    x0 = Image().encode(raw)
    leaf = picture.made(x0, host("a"))
    assert leaf.shape[1] == picture.heard.count
    assert (leaf[:, -1] == 1).all()
    assert np.array_equal(picture.null, np.zeros_like(picture.null))
    if of == "hole":
        known = leaf[:, -2:-1]
        assert torch.equal(leaf[:, :3], x0 * known)
        assert (known.flatten(1).mean(1) < 1 - 0.2**2).all()
        assert not torch.equal(leaf, picture.made(x0, host("b")))
        levels = np.where(known[0].numpy() > 0, raw[0], np.nan)
        assert np.array_equal(picture.make(levels), leaf[0].numpy())
        rgba = np.concatenate([raw[0], 255 * known[0].numpy().astype(np.uint8)])
        assert np.array_equal(picture.make(PIL.Image.fromarray(np.moveaxis(rgba, 0, -1))), leaf[0].numpy())
    else:
        assert np.array_equal(picture.make(raw[0]), leaf[0].numpy())
        assert np.array_equal(picture.make(PIL.Image.fromarray(np.moveaxis(raw[0], 0, -1))), leaf[0].numpy())
    if of == "low":
        cells = leaf[:, :3].unflatten(3, (8, 4)).unflatten(2, (8, 4))
        assert torch.equal(cells, cells[:, :, :, :1, :, :1].expand_as(cells))
        assert torch.allclose(leaf[:, :3].mean((2, 3)), x0.mean((2, 3)), atol=1e-6)
    with pytest.raises(UserError, match="told by a picture"):
        picture.read("nowhere.png")


def test_a_run_is_told_by_names_and_says_what_it_never_saw(tmp_path: Path):
    net = {"kind": "unet", "widths": [8], "blocks": 1}
    train = {"items": 64, "batch": 32, "validate_every": 64, "snapshots": 0}
    kinds = {"label": "labels", "size": "numbers", "small": {"kind": "picture", "of": "low", "factor": 8}}
    nodes = {"data": {"kind": "shapes", "items": 64, "held_out": 20, "channels": 3}, "modality": "image"}
    run = fit(resolve("told", {**nodes, "conditions": kinds, "net": net, "train": train}), tmp_path / "told")
    cond = run.cond(3, label=["circle", None, 2], tell={"size": 0.3, "small": None})
    assert cond["label"].tolist() == [0, 3, 2]
    assert torch.equal(cond["size"], run.cond(3, tell={"size": [0.3] * 3})["size"])
    assert torch.equal(cond["small"], torch.zeros(3, 4, 1, 1))
    assert run.recipe.known is None
    plan = run.plan("ddim", 2)
    item = run.recipe.source.split("test").items[0]
    given = {"label": 1, "size": [0.3, None, 0.5], "small": [item, item, item]}
    drawn = torch.cat(list(run.batches(range(3), plan, given)))
    for i in range(3):  # whatever company it has, and by either loop
        own = {name: value[i] if isinstance(value, list) else value for name, value in given.items()}
        alone = un.run.collect(run.draw([i], plan, own), 1)
        assert (alone[0] - drawn[i]).abs().max() < 1e-5
    assert torch.equal(
        run.sample(2, "ddim", 2, guidance=0, tell={"size": 0.3}, raw=False), run.sample(2, "ddim", 2, raw=False)
    )
    away = run.sample(2, "ddim", 2, label=0, guidance="cfg weight=2 negative.size=0.5", raw=False)
    assert torch.isfinite(away).all()
    said = {
        "not trained with 'text'": {"text": "a ring"},
        "not trained with 'sise'; did you mean 'size'": {"tell": {"sise": 1}},
        "'label' is told twice": {"label": 1, "tell": {"label": 2}},
        "2 labels for 3 samples": {"label": [0, 1]},
        "2 values of 'size's? for 3 samples|2 value": {"tell": {"size": [0.1, 0.2]}},
    }
    for sentence, asked in said.items():
        with pytest.raises(UserError, match=sentence):
            run.cond(3, **asked)


def table(path: Path, rows: int = 600) -> None:
    """x ~ N(0.5·t ± 2, 0.5²), t ~ N(20, 4²), the sign by kind; one in ten t and one in six kinds are missing."""
    rng = host("line")
    t, kind = rng.normal(20, 4, rows), rng.integers(0, 2, rows)
    x = 0.5 * t + np.where(kind == 1, 2, -2) + rng.normal(0, 0.5, rows)
    y = rng.normal(0, 1, rows)
    lines = ["x,y,t,kind"]
    for i in range(rows):
        known = "" if i % 10 == 0 else f"{t[i]:.3f}", "" if i % 6 == 0 else ("down", "up")[kind[i]]
        lines.append(f"{x[i]:.4f},{y[i]:.4f},{known[0]},{known[1]}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("line")
    table(folder / "line.csv", 6000)
    recipe = resolve("line", {**LINE, "data": {**LINE["data"], "path": str(folder / "line.csv")}})
    fit(recipe, folder / "run")
    return folder


def test_columns_that_are_told_are_not_drawn_and_may_miss_values(line: Path):
    source = un.open(line / "run").recipe.source
    train = source.split("train")
    assert train.items.shape[1] == 2
    assert (np.isnan(train.cond["t"]).mean(), (train.cond["kind"] == 2).mean()) == pytest.approx((0.1, 1 / 6), abs=0.02)
    assert (source.values["kind"], source.tells) == (("down", "up"), {"t": "numbers", "kind": "labels"})


def test_the_mean_follows_the_number_that_is_told(line: Path):
    """Against E[x_0 | x_t, t, kind] of the normal law of which the rows are drawn, and of what is not told."""
    run = un.open(line / "run")
    modality, process = run.recipe.modality, run.recipe.process
    mean, scale = np.asarray(modality.mean)[0], np.asarray(modality.scale)[0]
    cases = [({"t": t, "kind": kind}, 0.5 * t + sign * 2, 0.5)
             for t in (14.0, 20.0, 26.0) for kind, sign in (("down", -1), ("up", 1))]  # fmt: skip
    cases += [({"kind": "up"}, 12.0, (0.5**2 + 2**2) ** 0.5)]  # t unknown: its spread is x's too
    for told_, centre, spread in cases:
        cond = run.cond(64, tell=told_)
        for sigma in (0.3, 1.0, 5.0):
            noise = host("line", "noise", str(sigma)).normal(size=(2, 64))
            x0 = (centre + spread * noise[0] - mean) / scale
            x = torch.tensor(np.stack([x0 + sigma * noise[1], sigma * noise[1]], 1), dtype=torch.float32)
            level = process.level(process.schedule.time(np.full(64, -2 * np.log(sigma))), x)
            alpha = float(level.alpha[0])
            with torch.no_grad():
                found = run.denoiser(alpha * x, level, cond).x0[:, 0].numpy()
            variance = (spread / scale) ** 2
            exact = (centre - mean) / scale + variance / (variance + sigma**2) * (
                x[:, 0].numpy() - (centre - mean) / scale
            )
            error = np.sqrt(np.mean((found - exact) ** 2))
            assert error < 0.25 * min(1.0, 4 * spread / scale), (told_, sigma, error)


def test_a_run_knows_what_it_is_told_without_its_data(line: Path, tmp_path: Path):
    before = un.open(line / "run")
    shutil.copytree(line / "run", tmp_path / "run")
    text = (tmp_path / "run" / "recipe.yaml").read_text(encoding="utf-8")
    (tmp_path / "run" / "recipe.yaml").write_text(text.replace("line.csv", "gone.csv"), encoding="utf-8")
    after = un.open(tmp_path / "run")
    assert after.recipe.known is not None
    assert after.recipe.telling.told == before.recipe.telling.told
    given = {"t": [18.5, None], "kind": ["up", "down"]}
    for one, other in zip(before.cond(2, given).values(), after.cond(2, given).values(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(before.sample(2, label=given, raw=False), after.sample(2, label=given, raw=False))
    with pytest.raises(UserError, match="did you mean 'down'"):
        after.cond(1, {"kind": "donw"})


def test_training_that_is_told_goes_on_bit_by_bit(tmp_path: Path):
    table(tmp_path / "line.csv")
    data = {**LINE["data"], "path": str(tmp_path / "line.csv")}
    nodes = {**LINE, "data": data, "train": {"items": 512, "batch": 64, "checkpoint_every": 256, "validate_every": 256}}
    whole = fit(resolve("line", nodes), tmp_path / "whole")
    half = Training(resolve("line", nodes), tmp_path / "half")
    for tick in half.ticks():
        if tick.items >= 256:
            half.stop()
    parts = fit(resolve("line", nodes), tmp_path / "half", resume=True)
    assert all(torch.equal(whole.tensors[name], leaf) for name, leaf in parts.tensors.items())


def test_guidance_says_a_prompt_of_several_words_in_quotes():
    for said in ('cfg weight=3 negative="a blue square, and a ring + [one"', "cfg weight=2 negative.size=0.3 + static"):
        assert nodes(words(said)) == nodes(said)
    assert nodes('cfg negative="a + b" weight=2 + dynamic')[0]["negative"] == "a + b"
    assert nodes("cfg negative=it's weight=2")[0]["negative"] == "it's"


def test_a_condition_that_the_data_lack_is_told_at_once():
    nodes = {"data": {"kind": "shapes", "items": 20, "held_out": 10}, "modality": "image", "net": "unet"}
    for conditions, said in (
        ({"sice": "numbers"}, "no condition 'sice'; did you mean 'size'"),
        ({"size": "labels"}, "'size' of data 'shapes' is no label"),
        ({"size": "lables"}, "no kind 'lables'; did you mean 'labels'"),
        ({"mask": "numbers"}, "a condition is named without"),
        ("label", "conditions are written"),
        ({"size": {"kind": "numbers", "drop": 2}}, "drop is a share"),
    ):
        with pytest.raises(UserError, match=said):
            resolve("wrong", {**nodes, "conditions": conditions})
