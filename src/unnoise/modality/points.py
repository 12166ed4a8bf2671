"""Points and rows of tables: as they are, or standardised by a fixed mean and scale."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from unnoise.config import UserError
from unnoise.modality.modality import Modality, Raw, to_host
from unnoise.tensor import Array, Float, Tensor

# Of a scale: finer cells are left alone, as no noise level of a training tells them apart; in coarser ones the values
# stand apart by themselves, a model finds each, and rounding bridges what it misses. Noise would make them touch.
FINE, COARSE = 1e-3, 0.25


@dataclass(frozen=True, kw_only=True)
class Points(Modality):
    """x = (raw − mean)/scale, raw (B, D); mean and scale are one number, or one for each coordinate.

    A table says more: `header`, its columns in the order of its file, among them `label`, the column that holds the
    class and is no coordinate; `shares`, how often each class comes, for samples that name none; and `decimals` of
    each coordinate, to which samples are rounded (null: to none); `low` and `high`, the range of each coordinate in
    the data, into which samples are clipped: no age below 0, and what never varies stays so.
    With `dequantise` and an rng a rounded coordinate becomes raw + u, u uniform over the cell of its last decimal,
    so that a density exists; rounding undoes it exactly. Cells of a quarter of the scale and more are left as they
    are: such values (0 or 1, a count of few) stand apart.
    """

    mean: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    header: tuple[str, ...] = ()
    label: str = ""
    shares: tuple[float, ...] = ()
    decimals: tuple[int | None, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    dequantise: bool = False

    name: ClassVar[str] = "points"

    def __post_init__(self) -> None:
        mean, scale = np.atleast_1d(self.mean), np.atleast_1d(self.scale)
        if not np.isfinite(mean).all():
            raise UserError(f"the mean of points is finite, got {self.mean}")
        if not ((scale > 0) & (scale < np.inf)).all():
            raise UserError(f"the scale of points is above 0 and finite, got {self.scale}")
        if any(places is not None and not 0 <= places <= 22 for places in self.decimals):
            raise UserError(f"decimals are from 0 to 22, or null for any, got {self.decimals}")
        if len(self.low) != len(self.high) or any(a > b for a, b in zip(self.low, self.high, strict=False)):
            raise UserError(f"a range runs from low to high for each coordinate, got {self.low} and {self.high}")
        if self.label and self.label not in self.header:
            raise UserError(f"the label '{self.label}' is a column of the header, got {self.header}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the coordinates; empty where they have none."""
        return tuple(name for name in self.header if name != self.label)

    def encode(self, raw: Raw, rng: np.random.Generator | None = None) -> Float[Tensor, "B D"]:
        """Raw (B, D) → float32 (B, D)."""
        if raw.ndim != 2:
            raise UserError(f"points have the axes (B, D), got the shape {raw.shape}")
        mean, scale = self._numbers(raw.shape[1])
        centred = raw - mean
        if self.dequantise and self.decimals and rng is not None:
            cell = np.where(np.isfinite(self._powers), 1 / self._powers, 0.0)
            # Narrower by the rounding of float32, lest an edge round into its neighbour.
            wanted = (cell > FINE * scale) & (cell < COARSE * scale)
            half = np.maximum(cell / 2 - (np.abs(centred) + cell) * 2.0**-22, 0) * wanted
            centred = centred + half * rng.uniform(-1, 1, raw.shape)
        return torch.from_numpy((centred / scale).astype(np.float32))

    def log_unit(self, shape: tuple[int, ...]) -> float:
        _, scale = self._numbers(shape[0])
        return float(np.broadcast_to(np.log(scale), shape).sum())

    def quantise(self, x: Float[Tensor, "B D"]) -> npt.NDArray[np.floating[Any]]:
        """In the raw units and range: float32; where decimals are known, float64 rounded to them."""
        mean, scale = self._numbers(x.shape[1])
        raw = to_host(x) * scale + mean
        raw = np.clip(raw, self.low, self.high) if self.low else raw
        if not self.decimals:
            return raw.astype(np.float32)
        exact = np.isfinite(self._powers)
        powers = np.where(exact, self._powers, 1.0)
        return np.where(exact, np.rint(raw * powers) / powers, raw) + 0.0  # no −0

    def decode(self, x: Float[Tensor, "B D"]) -> list[npt.NDArray[np.floating[Any]]]:
        """Rows (D,) in the raw units."""
        return list(self.quantise(x))

    def render(self, x: Float[Tensor, "D"]) -> tuple[bytes, str]:
        """One line of CSV; the numbers are long enough to be read back exactly."""
        return (",".join(self.written(self.quantise(x[None])[0])) + "\n").encode(), "text/csv"

    def distances(self, raw: Raw) -> Array:
        """raw/scale: columns of different units count alike, each by its own deviation."""
        _, scale = self._numbers(raw.shape[1])
        return raw / scale

    def written(self, row: npt.NDArray[np.floating[Any]]) -> list[str]:
        """The numbers of a raw row (D,) as they stand in a file: with the column's decimals, or read back exactly."""
        if not self.decimals:
            return [f"{value:.9g}" for value in row]
        pairs = zip(row.tolist(), self.decimals, strict=True)
        return [repr(value) if places is None else f"{value:.{places}f}" for value, places in pairs]

    def table(self, raw: npt.NDArray[np.floating[Any]], labels: Sequence[str] | None = None) -> str:
        """CSV of raw rows (N, D) under the header; without labels their column is left out.

        Reading it back gives the same numbers, and the same labels.
        """
        names = list(self.header) or [f"x{i + 1}" for i in range(raw.shape[1])]
        place = names.index(self.label) if self.label in names else len(names)
        if self.label and labels is None:
            names.remove(self.label)
        buffer = io.StringIO()
        write = csv.writer(buffer, lineterminator="\n").writerow
        write(names)
        known: Iterable[str | None] = labels if self.label and labels is not None else [None] * len(raw)
        for row, label in zip(raw, known, strict=True):
            fields = self.written(row)
            write(fields if label is None else [*fields[:place], label, *fields[place:]])
        return buffer.getvalue()

    @cached_property
    def _powers(self) -> Array:
        """10^decimals of each coordinate, infinite where nothing is rounded."""
        return np.array([np.inf if places is None else 10.0**places for places in self.decimals])

    def _numbers(self, dim: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        mean, scale = np.atleast_1d(self.mean), np.atleast_1d(self.scale)
        told = {"decimals": self.decimals, "low": self.low}
        known = [("mean", mean), ("scale", scale), *((what, values) for what, values in told.items() if values)]
        for what, values in known:
            if len(values) not in (1, dim):
                raise UserError(f"points have {dim} coordinates, but {what} has {len(values)} numbers")
        return mean.astype(np.float64), scale.astype(np.float64)


__all__ = ["Points"]
