"""Where the objects of a scene stand: sizes, places and relations as words, and layouts that obey what is told."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError
from unnoise.data.grammar import NAMES, UNTOLD, Labels, Told
from unnoise.data.outlines import DOWN, UP
from unnoise.rng import host
from unnoise.tensor import Array

Flags = npt.NDArray[np.bool_]

SPANS = np.array([[0.19, 0.23], [0.27, 0.32], [0.38, 0.44]])  # widths that are small, medium, large: shares of a side
BETWEEN = (0.25, 0.35)  # where one word ends and the next begins
MARGIN = 0.02  # from an object to the edge of the picture
GAP = 1 / 16  # between two objects, along an axis at least
CLEAR = 0.08  # a relation is told where |dx| and |dy| differ by so much, a place that is so far inside its ninth: / 2
TRIES, ROUNDS = 8, 24  # layouts of each scene that are looked at in a round of all; rounds
MANY, MOST_ROUNDS = 2048, 400  # the same of one scene alone, before it is said that nothing fits

SHAPES, COLOURS = len(NAMES["shape"]), len(NAMES["colour"])
PAIRS = SHAPES * COLOURS  # a pair of shape and colour is the number colour·SHAPES + shape


@dataclass(frozen=True, eq=False)
class Layout:
    """All of N scenes of at most O objects. Beyond the count: shape and colour UNTOLD, size and position 0.

    count (N,); shape, colour (N, O) as in Told; size (N, O): the width; position (N, O, 2): the centroid (x, y) from
    the upper left corner. Both are shares of the side.
    """

    count: Labels
    shape: Labels
    colour: Labels
    size: Array
    position: Array

    def __len__(self) -> int:
        return len(self.count)

    @property
    def here(self) -> Flags:
        """(N, O): whether there is an object."""
        return np.arange(self.shape.shape[1]) < self.count[:, None]

    def take(self, rows: Any) -> "Layout":
        """The scenes at these places."""
        return Layout(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def join(parts: Iterable["Layout"]) -> "Layout":
        """Several lots, one after the other."""
        rows = list(parts)
        return Layout(*(np.concatenate([getattr(part, field.name) for part in rows]) for field in fields(Layout)))


def size_of(width: Array) -> Labels:
    """small, medium or large: the place of the word in NAMES["size"]."""
    return np.digitize(width, BETWEEN).astype(np.int64)


def place_of(position: Array) -> Labels:
    """The ninth of the picture in which a point (..., 2) lies, as in NAMES["place"]."""
    column, row = np.moveaxis(np.clip(np.floor(3 * position), 0, 2).astype(np.int64), -1, 0)
    return 3 * row + column


def relation_of(way: Array) -> Labels:
    """What an object is to one that stands `way` (..., 2) from it: the larger of |dx| and |dy| says, as in NAMES."""
    dx, dy = way[..., 0], way[..., 1]
    return np.where(np.abs(dx) >= np.abs(dy), np.where(dx > 0, 0, 1), np.where(dy > 0, 2, 3)).astype(np.int64)


def clear_place(position: Array) -> Flags:
    """Whether a point lies so far inside its ninth that nobody would name another."""
    return np.all(np.abs(position[..., None] - np.array([1, 2]) / 3) >= CLEAR / 2, axis=(-2, -1))


def clear_relation(way: Array) -> Flags:
    """Whether nobody would name another relation."""
    return np.abs(np.abs(way[..., 0]) - np.abs(way[..., 1])) >= CLEAR


def nothing(count: Labels, objects: int) -> Told:
    """Nothing but how many objects there are."""
    n = len(count)
    blank = {name: np.full((n, objects - (name == "relation")), value) for name, value in UNTOLD.items()}
    return Told(count, **blank)


def pairs(told: Told, allowed: Flags, *words: int | str) -> Labels:
    """Different pairs of shape and colour for the objects of each scene, as told and else allowed: (N, O).

    allowed (N, O, PAIRS). Each is uniform among those left; where both shape and colour are told, or none that is
    allowed has the one that is, any pair will do.
    """
    n, objects = told.shape.shape
    colour, shape = np.divmod(np.arange(PAIRS), SHAPES)
    keys = host(*words, "pairs").random((n, objects, PAIRS))
    taken, found = np.zeros((n, PAIRS), bool), np.zeros((n, objects), np.int64)
    for o in range(objects):
        asked, hue = told.shape[:, o, None], told.colour[:, o, None]
        fits = ((asked == shape) | (asked == UNTOLD["shape"])) & ((hue == colour) | (hue == UNTOLD["colour"]))
        for more in (~taken, allowed[:, o] & ~taken):  # each holds only where it leaves something
            narrowed = fits & more
            fits = np.where(narrowed.any(axis=1, keepdims=True), narrowed, fits)
        found[:, o] = np.where(fits, keys[:, o], np.inf).argmin(axis=1)
        taken[np.arange(n), found[:, o]] = True
    return found


def arrange(told: Told, pair: Labels, *words: int | str) -> Layout:
    """Layouts that obey what is told; sizes (each word as often) and positions uniform among those that fit.

    Layouts are drawn until one fits, for all scenes alike: what a scene becomes does not depend on its company.
    """
    n, objects = pair.shape
    colour, shape = np.divmod(pair, SHAPES)
    here = np.arange(objects) < told.count[:, None]
    size, position = np.zeros((n, objects)), np.zeros((n, objects, 2))

    def settle(rows: Labels, u: Array) -> Labels:
        """Takes the first layout that fits, of those that u (N, T, O, 4) draws; those of the rows where none does."""
        wide, at, inside = _drawn(u, shape[rows], told.take(rows))
        fits = _fits(wide, at, inside, shape[rows], here[rows], told.relation[rows])
        first = fits.argmax(axis=1)
        done = np.flatnonzero(fits.any(axis=1))
        size[rows[done]], position[rows[done]] = wide[done, first[done]], at[done, first[done]]
        return np.delete(rows, done)

    left = np.arange(n)
    for turn in range(ROUNDS):
        left = settle(left, host(*words, "place", turn).random((n, TRIES, objects, 4))[left])
    for hard in left:  # from now on each by itself, from a stream of its own
        rng = host(*words, "place", "hard", int(hard))
        if all(len(settle(np.array([hard]), rng.random((1, MANY, objects, 4)))) for _ in range(MOST_ROUNDS)):
            raise UserError(f"no layout was found that obeys what is told of scene {hard}: do its objects fit?")
    kept = {"shape": np.where(here, shape, UNTOLD["shape"]), "colour": np.where(here, colour, UNTOLD["colour"])}
    return Layout(told.count, size=size * here, position=position * here[..., None], **kept)


def _drawn(u: Array, shape: Labels, told: Told) -> tuple[Array, Array, Flags]:
    """Widths (N, T, O), centroids (N, T, O, 2), and whether they can be had, from u (N, T, O, 4)."""
    kind = np.where(told.size < UNTOLD["size"], told.size, 0)[:, None]
    kind = np.where((told.size < UNTOLD["size"])[:, None], kind, np.floor(3 * u[..., 0]).astype(np.int64))
    low, high = np.moveaxis(SPANS[kind], -1, 0)
    wide = low + (high - low) * u[..., 1]
    up, down = UP[shape][:, None] * wide, DOWN[shape][:, None] * wide
    least = np.stack([wide / 2, up], axis=-1) + MARGIN
    most = 1 - np.stack([wide / 2, down], axis=-1) - MARGIN
    row, column = np.divmod(told.place, 3)
    named = (told.place < UNTOLD["place"])[:, None, :, None]
    cell = np.stack([column, row], axis=-1)[:, None] / 3
    least = np.where(named, np.maximum(least, cell + CLEAR / 2), least)
    most = np.where(named, np.minimum(most, cell + 1 / 3 - CLEAR / 2), most)
    return wide, least + (most - least) * u[..., 2:], np.all(least <= most, axis=-1)


def _fits(wide: Array, at: Array, inside: Flags, shape: Labels, here: Flags, relation: Labels) -> Flags:
    """(N, T): whether all objects that are there can be, stand apart, and are to each other as told."""
    fits: Flags = np.all(inside | ~here[:, None], axis=-1)
    up, down = UP[shape][:, None] * wide, DOWN[shape][:, None] * wide
    for b in range(1, shape.shape[1]):
        both = here[:, b, None]
        for a in range(b):
            beside = np.abs(at[..., a, 0] - at[..., b, 0]) >= (wide[..., a] + wide[..., b]) / 2 + GAP
            over = at[..., a, 1] + down[..., a] + GAP <= at[..., b, 1] - up[..., b]
            under = at[..., b, 1] + down[..., b] + GAP <= at[..., a, 1] - up[..., a]
            fits &= beside | over | under | ~both
        way, asked = at[..., b, :] - at[..., b - 1, :], relation[:, b - 1, None]
        obeyed = (relation_of(way) == asked) & clear_relation(way)
        fits &= obeyed | (asked == UNTOLD["relation"]) | ~both
    return fits


def tell(layout: Layout, u: Array) -> Told:
    """What is told of a layout; u (N, 5·O) in [0, 1): colour by 0.9, else shape; shape by 0.95; size by 0.5.

    Of several objects, the relation of each to the next by 0.75, where it is clear; where no relation is told, clear
    places by 0.5 of a single object and by 0.25 of each of several.
    """
    n, objects = layout.shape.shape
    u = u.reshape(n, 5, objects)
    here = layout.here
    colour = here & (u[:, 0] < 0.9)
    shape = here & ((u[:, 1] < 0.95) | ~colour)
    size = here & (u[:, 2] < 0.5)
    way = np.diff(layout.position, axis=1)
    relation = here[:, 1:] & clear_relation(way) & (u[:, 3, 1:] < 0.75)
    often = np.where(layout.count == 1, 0.5, 0.25)[:, None]
    place = here & clear_place(layout.position) & (u[:, 4] < often) & ~relation.any(axis=1, keepdims=True)

    def told(name: str, which: Flags, values: Labels) -> Labels:
        return np.where(which, values, UNTOLD[name])

    return Told(
        layout.count,
        told("shape", shape, layout.shape),
        told("colour", colour, layout.colour),
        told("size", size, size_of(layout.size)),
        told("place", place, place_of(layout.position)),
        told("relation", relation, relation_of(way)),
    )


__all__ = [
    "BETWEEN",
    "GAP",
    "PAIRS",
    "SHAPES",
    "SPANS",
    "Layout",
    "arrange",
    "clear_place",
    "clear_relation",
    "nothing",
    "pairs",
    "place_of",
    "relation_of",
    "size_of",
    "tell",
]
