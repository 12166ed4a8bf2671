"""What adapters do, measured: a new look from 100 pictures, a subject from eight, outlines and pictures as prompts."""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import RESULTS, machine, save

import unnoise as un
from unnoise.adapting import recipe_of
from unnoise.data import SOURCES
from unnoise.metrics.distances import frechet
from unnoise.recipe import load

EACH = 50  # samples of a label

# A heart of 8×8 pixels: what no digit looks like.
HEART = np.array(
    [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 9, 13, 0, 0, 13, 9, 0],
        [6, 16, 16, 11, 11, 16, 16, 6],
        [6, 16, 16, 16, 16, 16, 16, 6],
        [0, 13, 16, 16, 16, 16, 13, 0],
        [0, 2, 13, 16, 16, 13, 2, 0],
        [0, 0, 2, 13, 13, 2, 0, 0],
        [0, 0, 0, 2, 2, 0, 0, 0],
    ],
    np.uint8,
)


def judge(items: np.ndarray, labels: np.ndarray) -> Any:
    """A support vector machine that reads digits (N, 8, 8)."""
    from sklearn.svm import SVC

    return SVC(gamma=0.001, C=10).fit(items.reshape(len(items), -1).astype(float), labels)


def drawn(run: Any, each: int = EACH, label: Any = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Raw samples (N, 8, 8) of every label, and the labels."""
    labels = np.repeat(np.arange(10), each) if label is None else np.full(each, label)
    seeds = range(seed, seed + len(labels))
    x = [run.recipe.modality.quantise(part) for part in run.batches(seeds, label=labels.tolist())]
    return np.concatenate(x)[:, 0], labels


def fd(x: np.ndarray, y: np.ndarray) -> float:
    """The Fréchet distance of pixels."""
    return float(frechet(*(a.reshape(len(a), -1).astype(np.float64) for a in (x, y))))


def train(
    new: str, base: Any, out: Path, node: Any, prior: Any, changes: list[str], of_base: tuple[str, ...] = ()
) -> Any:
    """The run in a folder, trained where it is not; of_base: changes to what the base's recipe says."""
    if not (out / "recipe.yaml").exists() or not un.open(out).checkpoint:
        recipe = load(new, changes)
        if node is not None:
            recipe = recipe_of(recipe, base, node, prior, of_base)
        else:
            from unnoise.recipe import resolve

            recipe = resolve(recipe.name, {**base.recipe.nodes, **{k: recipe.nodes[k] for k in ("data", "train")},
                                           "prior": prior or {}}, base.recipe.known)  # fmt: skip
        un.fit(recipe, out, start_from=base, resume=True)
    return un.open(out)


def array(path: Path, items: np.ndarray, labels: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, items=items, labels=np.array(labels))
    return f"data={{kind: array, path: {path}, key: items, labels: labels}}"


def bold(items: np.ndarray) -> np.ndarray:
    """(N, 8, 8) digits as a broad pen draws them: each pixel the largest of itself and of two beside it."""
    left, up = np.roll(items, 1, 2), np.roll(items, 1, 1)
    left[:, :, 0], up[:, 0] = 0, 0
    return np.maximum(items, np.maximum(left, up))


def look(base: Any, place: Path) -> dict[str, Any]:
    """Digits of a broad pen, from 100 pictures: 10 of each label, held-out ones included."""
    source = SOURCES["digits"]()
    real, test = source.split("train"), source.split("test")
    label = real.cond["label"]
    rows = np.concatenate([np.flatnonzero(label == k)[:10] for k in range(10)])
    data = array(place / "look.npz", bold(real.items[rows, 0]), [str(k) for k in label[rows]])
    rest = ["modality={kind: image, high: 16}", "train.items=20000", "train.batch=64", "train.lr=0.004",
            "train.warmup=1000", "train.weight_decay=0", "train.validate_every=0",
            "train.checkpoint_every=20000"]  # fmt: skip
    run = train("digits", base, place / "bold", {"kind": "lora", "rank": 2}, None, [data, *rest])
    svc, target, plain = judge(bold(real.items[:, 0]), label), bold(test.items[:, 0]), test.items[:, 0]
    told = []
    for name, one in {"base": base, "half of it": base.adapted({run.folder: 0.5}),
                      "with the LoRA": base.adapted({run.folder: 1.0})}.items():  # fmt: skip
        x, labels = drawn(one)
        told.append({
            "run": name, "mean ink": float(x.mean() / 16),
            "label kept, as bold digits are read": float((svc.predict(x.reshape(len(x), -1)) == labels).mean()),
            "frechet to bold test digits": fd(x, target), "frechet to plain test digits": fd(x, plain)})  # fmt: skip
        print(told[-1], flush=True)
    off = base.adapted({run.folder: 0.0}).sample(16, label=3, raw=False)
    net = base.adapted({run.folder: 1.0}).denoiser.net
    before = {name: tensor.clone() for name, tensor in net.base.state_dict().items()}
    net.merge()
    moved = any(not bool((before[k] == t).all()) for k, t in net.base.state_dict().items())
    net.unmerge()
    same = all(bool((before[k] == t).all()) for k, t in net.base.state_dict().items())
    own = sum(p.numel() for p in run.denoiser.net.parts.parameters())
    return {
        "pictures": 100, "trained on": len(run.recipe.source.split("train")), "rank": 2, "numbers": own,
        "share of the base's": own / sum(p.numel() for p in base.denoiser.net.parameters()),
        "file bytes": (run.folder / "adapter" / "adapter_model.safetensors").stat().st_size, "rows": told,
        "mean ink of bold test digits": float(target.mean() / 16), "of plain ones": float(plain.mean() / 16),
        "frechet of bold training digits to bold test digits": fd(bold(real.items[:, 0])[: 10 * EACH], target),
        "frechet of the 100 pictures to bold test digits": fd(bold(real.items[rows, 0]), target),
        "judge on bold test digits": float((svc.predict(target.reshape(len(target), -1)) == test.cond["label"]).mean()),
        "unmerged equal to the base, bit by bit": bool(moved and same),
        "weight 0 equal to the base, bit by bit": bool((base.sample(16, label=3, raw=False) == off).all()),
        "seconds of training": run.clock[-1][1]}  # fmt: skip


def hearts(count: int, seed: int) -> np.ndarray:
    """Hearts, each moved by a pixel at most and drawn with another pressure."""
    rng = np.random.default_rng(seed)
    moved = [np.roll(HEART, rng.integers(-1, 2, 2), (0, 1)) * rng.uniform(0.75, 1.0) for _ in range(count)]
    return np.clip(np.rint(np.stack(moved) + rng.normal(0, 0.5, (count, 8, 8))), 0, 16).astype(np.uint8)


def subject(base: Any, place: Path) -> dict[str, Any]:
    """A heart under the label 0, from eight pictures; what becomes of the other nine labels."""
    real, many = SOURCES["digits"]().split("train"), hearts(200, 10**6)
    svc = judge(np.concatenate([real.items[:, 0], many]), np.concatenate([real.cond["label"], np.full(200, 10)]))
    test = SOURCES["digits"]().split("test")
    others = test.items[test.cond["label"] > 0, 0]
    for seed in itertools.count():  # two more are held out; which of the ten, their content says
        data = array(place / "subject.npz", hearts(10, seed), ["0"] * 10)
        if len(load("digits", [data, "modality={kind: image, high: 16}"]).source.split("train")) == 8:
            break
    rest = ["modality={kind: image, high: 16}", "train.items=8000", "train.batch=32", "train.warmup=1000",
            "train.weight_decay=0", "train.validate_every=0",
            "train.checkpoint_every=8000"]  # fmt: skip
    prior = {"count": 500, "share": 0.5}
    lora = {"kind": "lora", "rank": 2}
    ways = {"LoRA": (lora, None, "0.002"), "LoRA with the prior": (lora, prior, "0.002")}
    rows = []
    for name, run in {"base": base, **dict.fromkeys(ways)}.items():
        if run is None:
            node, kept, lr = ways[name]
            run = train("digits", base, place / name.replace(" ", "-"), node, kept, [data, *rest, f"train.lr={lr}"])
        x, labels = drawn(run, 20)
        found = svc.predict(x.reshape(len(x), -1))
        rows.append({
            "run": name, "label 0 is a heart": float((found[labels == 0] == 10).mean()),
            "labels 1 to 9 kept": float((found == labels)[labels > 0].mean()),
            "hearts among labels 1 to 9": float((found[labels > 0] == 10).mean()),
            "frechet of labels 1 to 9 to test digits": fd(x[labels > 0], others)})  # fmt: skip
        print(rows[-1], flush=True)
    return {"pictures": 8, "prior": prior, "rows": rows}


def one_object(place: Path, count: int = 20_000) -> str:
    """Scenes of one object, the colour as the label: any shape in any of eight colours, 32×32."""
    source, path = SOURCES["scenes"](objects=1, unseen=0), place / "one.npz"
    if not path.exists():
        told, _ = source.scenes(count, 5)
        items = source.draw(count, 5).items
        place.mkdir(parents=True, exist_ok=True)
        np.savez(path, items=items.transpose(0, 2, 3, 1), labels=np.array(source.values["colour"])[told.colour[:, 0]])
    return f"data={{kind: array, path: {path}, key: items, labels: labels}}"


def scenes(place: Path) -> tuple[Any, str]:
    """The base of both: a U-Net with attention that draws one object in the colour it is told."""
    data = one_object(place)
    changes = [data, "modality={kind: image, dequantise: true}", "process={schedule: cosine}", "target=velocity",
               "net={kind: unet, widths: [24, 48, 64], blocks: 1, attention: [2, 3], embed_width: 96}",
               "objective={levels: logit_normal}", "train.items=64000", "train.batch=64", "train.lr=0.002",
               "train.betas=[0.9,0.99]", "train.warmup=3000", "train.validate_every=0", "train.checkpoint_every=8000",
               "sample={sampler: dpmpp_2m, steps: 20}"]  # fmt: skip
    if not (place / "base" / "recipe.yaml").exists():
        un.fit("shapes", place / "base", *changes)
    return un.open(place / "base"), data


def fresh(count: int, seed: int = 77) -> tuple[np.ndarray, Any]:
    """Pictures (N, 3, 32, 32) that nothing was trained on, and what they show."""
    source = SOURCES["scenes"](objects=1, unseen=0)
    return source.draw(count, seed).items, source.scenes(count, seed)[0]


def seen(run: Any, count: int, label: Any) -> np.ndarray:
    x = [run.recipe.modality.quantise(part) for part in run.batches(range(count), label=label)]
    return np.concatenate(x)


def read_off(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The shape and the colour of the largest object of each picture."""
    from unnoise.metrics.reader import read

    layout = read(x).layout
    return layout.shape[:, 0], layout.colour[:, 0]


def learned(name: str, base: Any, data: str, place: Path, node: Any, mean: float, changes: list[str]) -> Any:
    """mean: of the noise that is learned at; above 0, for what is drawn is settled where there is much of it."""
    rest = ["modality={kind: image, dequantise: true}", "train.batch=16", "train.warmup=640", "train.betas=[0.9,0.99]",
            "train.validate_every=0", "train.checkpoint_every=2400"]  # fmt: skip
    levels = (f"objective.levels.mean={mean}",)
    return train("shapes", base, place / name, node, None, [data, *rest, *changes], levels)


def control(_: Any, place: Path, count: int = 32) -> dict[str, Any]:
    """Outlines of held-out pictures in, and another colour as the label: does the shape fit, does the colour obey?"""
    base, data = scenes(place.parent / "scenes")
    changes = ["train.items=24000", "train.lr=0.0012", "train.drop=0.3"]
    run = learned("outline", base, data, place, {"kind": "control", "of": "outline"}, 0.5, changes)
    pictures, told = fresh(count)
    colours = base.recipe.classes
    names = SOURCES["scenes"](objects=1, unseen=0).values["colour"]
    asked = [names[(k + 1 + i % 7) % 8] for i, k in enumerate(told.colour[:, 0].tolist())]  # never the picture's own
    there = pictures.max(1) > 127
    rows = []
    for name, how in {"base": None, "strength 1": {}, "strength 1.5": {"weight": 1.5}}.items():
        worn = base if how is None else base.adapted({run.folder: {"hint": list(pictures), **how}})
        x = seen(worn, count, asked)
        found = x.max(1) > 127
        iou = (found & there).sum((1, 2)) / np.maximum((found | there).sum((1, 2)), 1)
        shape, colour = read_off(x)
        rows.append({
            "run": name, "mean IoU": float(iou.mean()), "IoU above 0.85": float((iou >= 0.85).mean()),
            "colour as told": float(np.mean([names[c] == a if c < 8 else False
                                             for c, a in zip(colour, asked, strict=True)])),
            "shape of the outline": float((shape == told.shape[:, 0]).mean())})  # fmt: skip
        print(rows[-1], flush=True)
    plain = base.sample(4, label=0, raw=False)
    off = base.adapted({run.folder: {"hint": pictures[0], "weight": 0.0}}).sample(4, label=0, raw=False)
    numbers = sum(p.numel() for p in run.denoiser.net.parts.parameters())
    return {"pictures": count, "labels": list(colours), "numbers": numbers, "items": run.recipe.train.items,
            "of the base's": sum(p.numel() for p in base.denoiser.net.parameters()), "rows": rows,
            "strength 0 equal to the base, bit by bit": bool((plain == off).all())}  # fmt: skip


def coloured(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One large shape a picture, in one of the scenes' eight colours: items (N, 3, 16, 16), shapes and colours (N,)."""
    from unnoise.data.scenes import PALETTE

    world = SOURCES["shapes"](side=16, smallest=0.4, largest=0.6, items=count, seed=seed, held_out=1)
    drawn = world.split("train")
    colour = np.random.default_rng(seed).integers(0, 8, len(drawn))
    items = np.rint(drawn.items * PALETTE[colour][:, :, None, None]).astype(np.uint8)
    return items, drawn.cond["label"], colour


COLOURS, SHAPES = SOURCES["scenes"]().values["colour"], SOURCES["shapes"]().classes


def told_both(place: Path) -> tuple[Any, str]:
    """The base of image prompts: a U-Net with attention that draws a shape in a colour, each told by a label."""
    path = place / "coloured.npz"
    if not path.exists():
        items, shape, colour = coloured(12_000, 5)
        place.mkdir(parents=True, exist_ok=True)
        named = {"shape": np.array(SHAPES)[shape], "colour": np.array(COLOURS)[colour]}
        np.savez(path, items=items.transpose(0, 2, 3, 1), **named)
    data = f"data={{kind: array, path: {path}, key: items, tell: {{shape: shape, colour: colour}}}}"
    changes = [data, "conditions={shape: labels, colour: labels}", "objective.levels.mean=0.5", "train.items=24000",
               "net={kind: unet, widths: [32, 64], blocks: 1, attention: [2], embed_width: 96}", "train.batch=32",
               "train.lr=0.002", "train.betas=[0.9,0.99]", "train.warmup=2000", "train.drop=0.3",
               "train.validate_every=0", "train.checkpoint_every=24000"]  # fmt: skip
    if not (place / "base" / "recipe.yaml").exists():
        un.fit("shapes", place / "base", *changes)
    return un.open(place / "base"), data


class Seen:
    """Reads the shape, by a support vector machine on what is centred, and the colour of one object a picture."""

    def __init__(self) -> None:
        from sklearn.svm import SVC

        items, shape, _ = coloured(3000, 6)
        self.svc = SVC(C=10).fit(self.centred(items), shape)

    def centred(self, x: np.ndarray) -> np.ndarray:
        grey = x.max(1).astype(float)
        i, j = np.indices(grey.shape[1:])
        made = []
        for one in grey:
            weight = max(one.sum(), 1.0)
            by = round(7.5 - (one * i).sum() / weight), round(7.5 - (one * j).sum() / weight)
            made.append(np.roll(one, by, (0, 1)).ravel() / max(one.max(), 1.0))
        return np.array(made)

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shapes and colours (N,): the nearest of eight directions from black, of pixels weighed by their light."""
        from unnoise.data.scenes import PALETTE

        mean = (x * x.max(1, keepdims=True).astype(float)).sum((2, 3))
        ways = PALETTE / np.linalg.norm(PALETTE, axis=1, keepdims=True)
        return self.svc.predict(self.centred(x)), (mean @ ways.T).argmax(1)


def image(_: Any, place: Path, count: int = 200) -> dict[str, Any]:
    """Pictures that nothing was trained on as prompts, no label told: do their colour and shape come back?"""
    base, data = told_both(place)
    changes = [data, "train.items=90000", "train.batch=32", "train.lr=0.003", "train.betas=[0.9,0.99]",
               "train.warmup=1000", "train.drop=1.0", "train.validate_every=0",
               "train.checkpoint_every=15000"]  # fmt: skip
    run = train("shapes", base, place / "prompted", {"kind": "image"}, None, changes, ("objective.levels.mean=0.5",))
    pictures, shapes, colours = coloured(count + 20, 78)
    pictures, shapes, colours = pictures[:count], shapes[:count], colours[:count]
    judge, x0 = Seen(), base.recipe.modality.encode(pictures).unsqueeze(1)
    shape, colour = judge(pictures)
    judged = {"shape": float((shape == shapes).mean()), "colour": float((colour == colours).mean())}
    told = {"shape": [SHAPES[k] for k in shapes], "colour": [COLOURS[k] for k in colours]}
    shape, colour = judge(seen(base, count, told))
    labelled = {"shape": float((shape == shapes).mean()), "colour": float((colour == colours).mean())}
    rows = []
    for weight in (0.0, 0.5, 1.0, 1.5, 2.0):
        shape, colour = judge(seen(base.adapted({run.folder: {"prompt": x0, "weight": weight}}), count, None))
        fits = colour == colours, shape == shapes
        rows.append({"strength": weight, "colour": float(fits[0].mean()), "shape": float(fits[1].mean()),
                     "both": float((fits[0] & fits[1]).mean())})  # fmt: skip
        print(rows[-1], flush=True)
    other = (colours + 3) % 8  # a label that contradicts the picture
    mixed = []
    for weight in (0.3, 0.5, 1.0):
        worn = base.adapted({run.folder: {"prompt": x0, "weight": weight}})
        shape, colour = judge(seen(worn, count, {"colour": [COLOURS[k] for k in other]}))
        mixed.append({"strength": weight, "colour as the label says": float((colour == other).mean()),
                      "colour of the picture": float((colour == colours).mean()),
                      "shape of the picture": float((shape == shapes).mean())})  # fmt: skip
        print(mixed[-1], flush=True)
    both, pairs = x0.roll(1, 0), []
    for first in (0.0, 0.25, 0.5, 0.75, 1.0):  # this picture and the one before it, weights that sum to 1
        weights = np.tile([first, 1 - first], (count, 1)).astype(np.float32)
        dials = {"image:prompted": torch.from_numpy(weights), "prompt:prompted": torch.cat((x0, both), 1)}
        worn = base.adapted({run.folder: {"prompt": x0}})
        shape, colour = judge(seen(worn, count, dials))
        pairs.append({"weight": first, "colour of the first": float((colour == colours).mean()),
                      "shape of the first": float((shape == shapes).mean()),
                      "colour of the second": float((colour == np.roll(colours, 1)).mean()),
                      "shape of the second": float((shape == np.roll(shapes, 1)).mean())})  # fmt: skip
        print(pairs[-1], flush=True)
    plain = base.sample(4, tell={"colour": COLOURS[0]}, raw=False)
    worn = base.adapted({run.folder: {"prompt": x0[:1], "weight": 0.0}})
    off = worn.sample(4, tell={"colour": COLOURS[0]}, raw=False)
    numbers = sum(p.numel() for p in run.denoiser.net.parts.parameters())
    return {"pictures": count, "numbers": numbers, "items": run.recipe.train.items, "judge on the prompts": judged,
            "the base, told both by label": labelled, "rows": rows, "with another colour as the label": mixed,
            "two pictures": pairs, "of the base's": sum(p.numel() for p in base.denoiser.net.parameters()),
            "strength 0 equal to the base, bit by bit": bool((plain == off).all())}  # fmt: skip


PARTS = {"look": look, "subject": subject, "control": control, "image": image}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path, help="a run of the digits recipe")
    parser.add_argument("--keep", type=Path, default=Path("runs/adapting"), help="where what is trained stays")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    given = parser.parse_args()
    path = RESULTS / "adapting.json"
    told = json.loads(path.read_text()) if path.exists() else {}
    for name in given.only:
        told[name] = PARTS[name](un.open(given.base), given.keep / name)
        save("adapting", {**told, "machine": machine()})
