"""Draws the pictures of docs/conditioning.md on scenes, in seconds: python docs/scenes.py."""

from pathlib import Path

import numpy as np

from unnoise.data import Scenes
from unnoise.metrics import reader
from unnoise.report import grids
from unnoise.report.captions import captioned

HERE = Path(__file__).parent
WORLD = Scenes()


def images(pictures: np.ndarray) -> list[np.ndarray]:
    return list(np.moveaxis(pictures, 1, -1))


def scenes() -> None:
    """Two rows of the data, and a row of pairs that are held out."""
    shown, novel = WORLD.draw(8, 1), WORLD.novel(4, 3)
    pictures = images(np.concatenate([shown.items, novel.items]))
    said = [*shown.cond["text"], *(f"{text} (held out)" for text in novel.cond["text"])]
    grids.save(captioned(pictures, said), HERE / "scenes.png")


def reading() -> None:
    """What the reader says of noisy pictures, of something drawn by hand and of nothing."""
    clean = WORLD.draw(6, 1).items[[0, 5]]
    noise = np.random.default_rng(0).standard_normal(clean.shape)
    noisy = np.clip(np.rint(clean + 255 * 0.05 * noise), 0, 255).astype(np.uint8)
    bar = np.zeros((1, 3, 32, 32), np.uint8)
    bar[0, :2, 12:16, 4:28] = 255
    bar[0, 0, 20:27, 4:11] = 230
    pictures = np.concatenate([noisy, bar, np.zeros_like(bar)])
    said = [f"read: {caption}" for caption in reader.read(pictures).captions()]
    grids.save(captioned(images(pictures), said), HERE / "reading.png")


if __name__ == "__main__":
    scenes()
    reading()
