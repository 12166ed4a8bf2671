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


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        mixture(Path(place))
        spiral(Path(place))
