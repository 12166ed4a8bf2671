"""Samples of fixed seeds, drawn as a run trains: a picture at each mark, and together a film of the training."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from unnoise import files
from unnoise.cli import pictures
from unnoise.report import films, grids
from unnoise.run import Run

if TYPE_CHECKING:
    from unnoise.train import Tick
    from unnoise.training import Training

POINTS, IMAGES = 1000, 16  # samples of a preview
FRAMES = 60  # of a film
SIDE = 320  # pixels of a frame, about
LARGEST = 4 << 20  # bytes of a film: beyond it, it has fewer frames
SAMPLES, SHOTS = "samples", "frames"  # folders of a run: the pictures, and in it what the film is made of


def draw(training: "Training", tick: "Tick") -> None:
    """The samples as they stand now: RUN/samples/<items>.png, every so often a frame of the film; at the end, it."""
    _rewind(training.folder, tick.items)
    _draw(training)
    if tick.end:
        keep_film(training.run())


def _draw(training: "Training") -> None:
    run, items = training.now(), training.trainer.items
    config = run.recipe.train
    count = POINTS if pictures.of_points(run) else IMAGES
    told = run.some(count)
    x = run.sample(count, label=told, raw=False)
    pictures.picture(run, x, _still(run.folder, items), told["label"].tolist() if "label" in told else None)
    total = config.steps * config.batch
    stride = -(-total // (config.sample_every * (FRAMES - 1)))  # so many frames over the whole, wherever one resumes
    if (items // config.sample_every) % stride and not training.done:
        return
    if pictures.of_points(run):
        found = pictures.real(run)
        if found is None or x.shape[1] < 2:
            return
        truth = found.items[:, :2].astype(float)  # the same in every frame, and so are the axes
        (frame,) = films.point_frames(run.recipe.modality.quantise(x)[None, :, :2].astype(float), SIDE, truth)
    else:
        frame = grids.grid(run.recipe.modality.show(x), factor=1, gap=1)
        frame.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
        frame = grids.enlarge(frame, max(1, SIDE // max(frame.size)))
    frame = films.progress(frame, items / total)
    files.put(run.folder / SAMPLES / SHOTS / f"{items:012d}.png", grids.png(frame))


def _rewind(folder: Path, items: int) -> None:
    """Removes what was drawn after so many items, before a resume that draws it again."""
    for place in (folder / SAMPLES, folder / SAMPLES / SHOTS):
        for path in place.glob("*.png"):
            if path.stem.isdecimal() and len(path.stem) == 12 and int(path.stem) > items:
                path.unlink()


def film(run: Run) -> tuple[bytes, Image.Image, str] | None:
    """The film of a run's training, its last frame, and a sentence on it; None where nothing was drawn."""
    shots = sorted((run.folder / SAMPLES / SHOTS).glob("*.png"), key=lambda path: int(path.stem))
    if len(shots) < 2:
        return None
    most = FRAMES
    while most > 2 and sum(path.stat().st_size for path in _evenly(shots, most)) > LARGEST:
        most //= 2
    frames = [grids.image(path.read_bytes()) for path in _evenly(shots, most)]
    told = f"Samples of the same seeds after {int(shots[0].stem):,} to {int(shots[-1].stem):,} items"
    return films.film(frames, seconds=len(frames) / 8, hold=2.0), frames[-1], told


def keep_film(run: Run) -> Path | None:
    """RUN/film.apng, anew."""
    made = film(run)
    return files.put(run.folder / "film.apng", made[0]) if made is not None else None


def _evenly(shots: list[Path], most: int) -> Iterator[Path]:
    return (shots[i] for i in films.chosen(len(shots), most))


def _still(folder: Path, items: int) -> Path:
    return folder / SAMPLES / f"{items:012d}.png"


__all__ = ["draw", "film", "keep_film"]
