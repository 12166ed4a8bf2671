"""Drawn scenes of one to three objects, and captions that tell of them: data whose prompts can be checked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError
from unnoise.data.grammar import CHOICES, MOST, NAMES, Labels, Told, say
from unnoise.data.layout import PAIRS, SHAPES, Layout, arrange, nothing, pairs, tell
from unnoise.data.outlines import KINDS, breadth, cover, windows
from unnoise.data.source import Items, Raw, World
from unnoise.rng import host

# Red to white, in the order of NAMES["colour"], on black. No two are nearer than 19° as directions from black, so a
# pixel at an edge still tells its colour.
PALETTE = np.array(
    [
        [0.90, 0.10, 0.10], [1.00, 0.45, 0.00], [1.00, 0.95, 0.10], [0.10, 0.75, 0.20],
        [0.10, 0.85, 0.90], [0.15, 0.30, 1.00], [0.60, 0.15, 0.85], [0.95, 0.95, 0.95],
    ]
)  # fmt: skip
_CHUNK = 1024  # scenes whose random numbers are drawn at once
_PART = 128  # pictures drawn at once: a processor's caches take them


@dataclass(frozen=True, kw_only=True)
class Scenes(World):
    """Circles, squares, triangles, stars and rings in eight colours, items (N, 3, side, side) uint8, with captions.

    One to `objects` objects, each number as often, on black; they stand apart, upright, and no two are of one shape
    and colour. cond["text"] holds captions, (N,) str ("a large red circle left of a small blue square"); what they
    tell stands beside as labels, places in `values`, len(values) where it is not told: count (N,); shape, colour,
    size and place (N, objects); relation of each object to the next (N, objects − 1).
    Of the 40 pairs of shape and colour, `unseen` never occur; `novel` draws scenes that have one.
    """

    side: int = 32  # pixels
    objects: int = 3
    unseen: int = 6
    items: int = 50_000
    held_out: int = 2_000

    name: ClassVar[str] = "scenes"

    @property
    def raw(self) -> str:
        return "image"

    @property
    def values(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the values of each label condition, in their order."""
        named = {"count": tuple(map(str, range(1, self.objects + 1))), **NAMES}
        return named if self.objects > 1 else {name: leaf for name, leaf in named.items() if name != "relation"}

    @property
    def strange(self) -> tuple[tuple[str, str], ...]:
        """The pairs (colour, shape) that never occur: no colour twice, no shape three times."""
        return tuple((NAMES["colour"][(3 * i + 1) % 8], KINDS[i % SHAPES]) for i in range(self.unseen))

    def is_strange(self, shape: Labels, colour: Labels) -> npt.NDArray[np.bool_]:
        """Whether shapes and colours, arrays of one shape, are pairs that never occur."""
        pairs = [(KINDS.index(shape), NAMES["colour"].index(colour)) for colour, shape in self.strange]
        return np.any([(shape == k) & (colour == c) for k, c in pairs] or [np.zeros(shape.shape, bool)], axis=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side < 32:  # or the smallest stars and rings are a few pixels that could be anything
            raise UserError(f"a scene has at least 32 pixels a side, got {self.side}")
        if not 1 <= self.objects <= MOST:
            raise UserError(f"a scene has 1 to {MOST} objects, got {self.objects}")
        if not 0 <= self.unseen <= len(PALETTE):
            raise UserError(f"0 to {len(PALETTE)} pairs of shape and colour are held out, got {self.unseen}")

    def scenes(self, n: int, seed: int, novel: bool = False) -> tuple[Layout, Told]:
        """What the items of draw(n, seed) are made of, or of novel(n, seed)."""
        lots = list(self._lots(n, self.name, "novel" if novel else "draw", seed))
        return Layout.join(layout for layout, _, _ in lots), Told.join(told for _, told, _ in lots)

    def novel(self, n: int, seed: int) -> Items:
        """n items of which each has one object of a pair that is held out of all parts and draws."""
        return self._make(n, self.name, "novel", seed)

    def fulfil(self, told: Told, seed: int) -> npt.NDArray[np.uint8]:
        """Real pictures (N, 3, side, side) of what is told; what is not is drawn from the law of the scenes."""
        made = [self.picture(layout) for layout in self._obeying(told, self.name, "fulfil", seed)]
        return np.concatenate(made)

    def picture(self, layout: Layout) -> npt.NDArray[np.uint8]:
        """Layouts as pictures; the colour of a pixel is its object's times the share of the pixel that it covers."""
        return draw(layout, self.side)

    def _split(self, name: str) -> Items:
        if name not in self._parts:
            self._parts[name] = super()._split(name)
        return self._parts[name]

    @cached_property
    def _parts(self) -> dict[str, Items]:
        """The parts that were asked for: all who ask share one drawing, which takes seconds."""
        return {}

    def _make(self, n: int, *words: int | str) -> Items:
        lots = list(self._lots(n, *words))
        made = [self.picture(layout) for layout, _, _ in lots]
        text = [caption for _, _, captions in lots for caption in captions]
        told = Told.join(part for _, part, _ in lots)
        cond: dict[str, Raw] = {"text": np.array(text, dtype=np.str_), **told.cond()}
        return Items(np.concatenate(made), cond)

    def _lots(self, n: int, *words: int | str) -> Iterator[tuple[Layout, Told, list[str]]]:
        """Scenes, what is told of them, and how, a chunk at a time; a longer draw begins with the shorter."""
        for chunk, size in _chunks(n):
            known = (*words, chunk)
            count = host(*known, "count").integers(1, self.objects + 1, size)
            (layout,) = self._obeying(nothing(count, self.objects), *known, novel=words[1] == "novel")
            told = tell(layout, host(*known, "tell").random((size, 5 * self.objects)))
            yield layout, told, say(told, host(*known, "say").random((size, CHOICES)))

    def _obeying(self, told: Told, *words: int | str, novel: bool = False) -> Iterator[Layout]:
        """Layouts that obey what is told, a chunk at a time; novel: one object of each is of a strange pair."""
        colour, shape = np.divmod(np.arange(PAIRS), SHAPES)
        strange = self.is_strange(shape, colour)
        if novel and not strange.any():
            raise UserError("no pair of shape and colour is held out of these scenes: unseen is 0")
        for chunk, size in _chunks(len(told)):
            part, known = told.take(slice(chunk * _CHUNK, chunk * _CHUNK + size)), (*words, chunk)
            allowed = np.broadcast_to(~strange, (size, self.objects, PAIRS)).copy()
            if novel:
                which = np.floor(host(*known, "strange").random(size) * part.count).astype(np.int64)
                allowed[np.arange(size), which] = strange
            yield arrange(part, pairs(part, allowed, *known), *known)


def _chunks(n: int) -> Iterator[tuple[int, int]]:
    """(number, size) of each chunk of n scenes; of none, one empty chunk."""
    for chunk in range(max(1, -(-n // _CHUNK))):
        yield chunk, min(_CHUNK, n - chunk * _CHUNK)


def draw(layout: Layout, side: int) -> npt.NDArray[np.uint8]:
    """Layouts as pictures (N, 3, side, side) in 0..255, on black."""
    made = np.empty((len(layout), 3, side, side), np.uint8)
    for first in range(0, len(layout), _PART):
        rows = slice(first, first + _PART)
        made[rows] = _draw(layout.take(rows), side)
    return made


def _draw(layout: Layout, side: int) -> npt.NDArray[np.uint8]:
    n, objects = layout.shape.shape
    wide = breadth(layout.size * side)
    canvas = np.zeros((n, side + 2 * wide, side + 2 * wide, 3), np.float32)  # with room for windows over the edge
    for o in range(objects):  # no window of one number writes where another does: each is in a picture of its own
        for kind in range(SHAPES):
            which = np.flatnonzero(layout.shape[:, o] == kind)
            size, centre = layout.size[which, o] * side, layout.position[which, o] * side
            corner = windows(centre, wide)
            covered = cover(kind, size, centre, corner, wide)
            y = (corner[:, 1] + wide)[:, None, None] + np.arange(wide)[:, None]
            x = (corner[:, 0] + wide)[:, None, None] + np.arange(wide)
            colour = PALETTE[layout.colour[which, o]].astype(np.float32)
            canvas[which[:, None, None], y, x] += covered[..., None] * colour[:, None, None]
    inner = canvas[:, wide:-wide, wide:-wide]
    return np.moveaxis(np.rint(255 * np.clip(inner, 0, 1)), -1, 1).astype(np.uint8)


__all__ = ["PALETTE", "Scenes", "draw"]
