"""How often a scene is read right off its picture, clean and with noise, and how fast scenes are drawn and read.

    python benchmarks/reader.py

A reading is right where all objects, and no others, have their shape, colour and size, their centre within 1/32 of
the side, and where every place and relation that the caption tells holds. `chance`: what pictures score,
in every measure, that were drawn for other prompts.
"""

import time

import numpy as np
from harness import machine, no_options, save

from unnoise.data import Scenes
from unnoise.data.grammar import UNTOLD, Told
from unnoise.data.layout import Layout, place_of, relation_of, size_of
from unnoise.data.scenes import draw
from unnoise.metrics.following import following
from unnoise.metrics.reader import read

COUNT, SIDES, NOISES = 4000, (32, 64), (0.0, 0.05, 0.1, 0.15)


def right(scenes: Layout, told: Told, seen: Layout) -> np.ndarray:
    """(N,) whether all is read; each object is matched with the nearest that was."""
    apart = np.linalg.norm(scenes.position[:, :, None] - seen.position[:, None], axis=-1)
    apart = np.where(seen.here[:, None], apart, np.inf)
    match, rows = apart.argmin(axis=2), np.arange(len(scenes))[:, None]
    where = seen.position[rows, match]
    good = (
        (seen.shape[rows, match] == scenes.shape)
        & (seen.colour[rows, match] == scenes.colour)
        & (size_of(seen.size[rows, match]) == size_of(scenes.size))
        & (apart.min(axis=2) < 1 / 32)
        & ((told.place == UNTOLD["place"]) | (place_of(where) == told.place))
    )
    related = (told.relation == UNTOLD["relation"]) | (relation_of(np.diff(where, axis=1)) == told.relation)
    return (seen.count == scenes.count) & (good | ~scenes.here).all(axis=1) & related.all(axis=1)


def main() -> None:
    no_options(__doc__)
    rows = []
    for side in SIDES:
        world = Scenes(side=side)
        scenes, told = world.scenes(COUNT, 1)
        start = time.process_time()
        pictures = draw(scenes, side)
        drawn = COUNT / (time.process_time() - start)
        for noise in NOISES:
            rng = np.random.default_rng(0)
            shown = [
                np.clip(np.rint(part + 255 * noise * rng.standard_normal(part.shape)), 0, 255).astype(np.uint8)
                for part in np.array_split(pictures, 10)
            ]
            start = time.process_time()
            seen = Layout.join(read(part).layout for part in shown)
            speed = COUNT / (time.process_time() - start)
            share = float(right(scenes, told, seen).mean())
            rows.append({"side": side, "noise": noise, "right": share, "read_a_second": round(speed)})
            print(f"{side}  noise {noise:.2f}  right {100 * share:.2f} %  {speed:,.0f} read a second")
        rows[-1]["drawn_a_second"] = round(drawn)
        print(f"{side}  {drawn:,.0f} drawn a second")
    asked = following(Scenes(), prompts=500)
    ours = asked.told.take(slice(0, 1000))  # of the scenes' law
    others = np.concatenate([asked.source.fulfil(ours.take(np.roll(np.arange(1000), 500)), 1), asked.real[1000:]])
    chance = {m.name: m.value for m in asked.measure(others) if not m.name.startswith("unseen") and m.name != "variety"}
    print("chance", {name: round(value, 3) for name, value in chance.items()})
    save("reader", {"machine": machine(), "scenes": COUNT, "seed": 1, "rows": rows, "chance": chance})


if __name__ == "__main__":
    main()
