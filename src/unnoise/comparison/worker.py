"""One training in a process of its own: told what to do in a line, tells how far it is in lines, ends when asked to.

`python -m unnoise.comparison.worker` reads one line of JSON; when its input ends, it finishes the step and saves: so
a parent that dies, however it dies, leaves nobody training behind.
"""

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from unnoise.comparison.milestones import drawer
from unnoise.recipe import Recipe, resolve
from unnoise.training import Training

PACE = 0.5  # seconds between two words on how far it is


def train(
    recipe: Recipe,
    folder: Path,
    device: str,
    against: str,
    begun: Callable[[Training], None] = lambda training: None,
) -> bool:
    """Trains a run to its end from wherever it stands, its milestones drawn; whether it got there.

    begun: is given the training, whose `stop` ends it after a step, saved, and whose `trainer.items` tell how far it is.
    """
    training = Training(recipe, folder, resume=True, device=device)
    begun(training)
    draw = None
    if recipe.train.sample_every and not training.done:
        draw = drawer(training, training.run().protocol(against))
    for _ in training.ticks(draw):
        pass
    return training.done


def main() -> int:
    """Does what the line on stdin says; exit status 0 whether it got to the end or was stopped, 1 on an error."""
    asked: dict[str, Any] = json.loads(sys.stdin.readline())
    torch.set_num_threads(asked["threads"])
    ended = threading.Event()

    def tell(**words: Any) -> None:
        print(json.dumps(words), flush=True)

    def begun(training: Training) -> None:
        def listen() -> None:
            sys.stdin.read()  # until whoever started us says stop, or is no more
            training.stop()

        def speak() -> None:
            while not ended.wait(PACE):
                tell(items=training.trainer.items)

        for work in (listen, speak):
            threading.Thread(target=work, daemon=True).start()

    try:
        recipe = resolve(asked["name"], asked["nodes"])
        done = train(recipe, Path(asked["folder"]), asked["device"], asked["against"], begun)
    except (ValueError, OSError, FloatingPointError) as error:
        ended.set()
        tell(error=" ".join(str(error).split()))
        return 1
    ended.set()
    tell(done=done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
