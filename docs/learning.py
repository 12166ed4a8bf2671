"""Draws the pictures of docs/training.md from real trainings, some minutes on two cores: python docs/learning.py."""

import tempfile
from functools import partial
from pathlib import Path

import unnoise as un
from unnoise.cli import averages, pictures, previews
from unnoise.recipe import load
from unnoise.report import curves, style
from unnoise.training import Training

HERE = Path(__file__).parent
MIXTURE = (
    "data={kind: mixture, dim: 16, items: 200000}",
    "net={kind: mlp, width: 128, depth: 3}",
    "train={items: 400000, batch: 256, lr: 2.0e-3, warmup: 20000, validate_every: 40000, decay: constant}",
)
SPIRAL = ("net.width=64", "train.items=600000", "train.warmup=50000", "train.sample_every=25000", "sample.steps=20")


def mixture(folder: Path) -> None:
    """Held-out loss over items, by noise level beside its optimum, and by the width of the average."""
    run = un.fit("mixture", folder / "mixture", *MIXTURE)
    sheet = curves.training(pictures.history(run), pictures.levels(run), title="A mixture in 16 dimensions")
    style.save(sheet, HERE / "history.png")
    told = averages.compare(run)
    averages.show(run, told)
    columns = ([row[name] for row in told["widths"]] for name in ("width", "loss"))
    style.save(curves.averages(*columns, averages.asked(run)), HERE / "averages.png")


def spiral(folder: Path) -> None:
    """The film of a training."""
    previews.pictures.picture = lambda *_: None  # the film alone is wanted
    training = Training(load("spiral", SPIRAL), folder / "spiral")
    for _ in training.ticks(partial(previews.draw, training)):
        pass
    made = previews.film(training.run())
    assert made is not None
    (HERE / "film.png").write_bytes(made[0])


def changed() -> None:
    """Pictures of scikit-image, and under each three that training makes of it."""
    import numpy as np
    import torch
    from PIL import Image as Pillow
    from skimage import data

    from unnoise import rng
    from unnoise.augment import Warp
    from unnoise.modality import Image

    items: list[np.ndarray] = []
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        whole = Pillow.fromarray(getattr(data, name)())
        side = min(whole.size)
        left, top = ((length - side) // 2 for length in whole.size)
        cut = whole.crop((left, top, left + side, top + side)).resize((96, 96), Pillow.Resampling.LANCZOS)
        items.append(np.asarray(cut).transpose(2, 0, 1))
    x = Image().encode(np.stack(items))
    rows = [x, *(Warp(share=0.5)(x, rng.host("docs", k))[0] for k in range(3))]
    framed = torch.nn.functional.pad(torch.stack(rows), (2, 2, 2, 2), value=1.0)
    sheet = framed.permute(2, 0, 3, 1, 4).reshape(1, 3, 400, 400)
    Image().decode(sheet)[0].save(HERE / "augment.png")


if __name__ == "__main__":
    changed()
    with tempfile.TemporaryDirectory() as place:
        mixture(Path(place))
        spiral(Path(place))
