"""Normals as a hash of words: by NumPy's operations on a CPU, by torch's on other devices."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from unnoise.tensor import Tensor, send

_CACHED = 1 << 15  # pairs hashed at once on a CPU: six arrays of them fit in its cache


MIX = ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 0))  # lowbias32's shifts and factors (Wellons, 2018)
APART = 0x3C6EF372  # between the two words of a pair
UNIT, HALF, TURN = 2.0**-24, 0.5, np.pi * 2.0**-31


class NumPy:
    """NumPy's operations, for a CPU: they start in half the time of torch's, and a logarithm takes a fifth.

    Numbers are arrays without axes, which they take soonest.
    """

    right_shift, bitwise_xor = np.right_shift, np.bitwise_xor
    add, subtract, multiply = np.add, np.subtract, np.multiply
    log, sqrt, cos, sin = np.log, np.sqrt, np.cos, np.sin
    unit, half, turn = (np.array(number, np.float32) for number in (UNIT, HALF, TURN))
    apart, eight = np.array(APART, np.uint32), np.array(8, np.uint32)
    rounds = tuple((np.array(shift, np.uint32), np.array(factor, np.uint32)) for shift, factor in MIX)

    @staticmethod
    def mix(x: Any, spare: Any) -> None:
        """An in-place bijection of 32-bit words (uint32) that spreads every bit."""
        for shift, factor in NumPy.rounds:
            np.right_shift(x, shift, out=spare)
            np.bitwise_xor(x, spare, out=x)
            if factor:
                np.multiply(x, factor, out=x)

    @staticmethod
    def high(x: Any, _: Any) -> Any:
        """The upper 24 bits of words, which are overwritten."""
        return np.right_shift(x, NumPy.eight, out=x)

    @staticmethod
    def signed(x: Any) -> Any:
        """Words as numbers from −2³¹ on."""
        return x.view(np.int32)

    @staticmethod
    def take(x: Any, rows: Any) -> Any:
        """The rows of x at these places, or in this slice: a view then."""
        return x[rows] if type(rows) is slice else x.take(rows, 0)

    @staticmethod
    def send(values: npt.NDArray[Any], _: torch.device) -> Any:
        """An array as the operations take it."""
        return values

    @staticmethod
    def tensor(x: Any) -> Tensor:
        """What the operations give, as a tensor; its memory is the same."""
        return torch.from_numpy(x)


class Torch:
    """torch's operations, by the same names, for other devices."""

    bitwise_xor, add = staticmethod(torch.bitwise_xor), staticmethod(torch.add)
    subtract, multiply = staticmethod(torch.subtract), staticmethod(torch.multiply)
    log, sqrt, cos, sin = map(staticmethod, (torch.log, torch.sqrt, torch.cos, torch.sin))
    unit, half, turn, apart = UNIT, HALF, TURN, APART

    @staticmethod
    def mix(x: Tensor, spare: Tensor) -> None:
        """An in-place bijection of 32-bit words (int32) that spreads every bit."""
        for shift, factor in MIX:
            torch.bitwise_right_shift(x, shift, out=spare)
            spare &= (1 << 32 - shift) - 1  # makes the arithmetic shift a logical one
            x ^= spare
            if factor:
                x *= factor - (1 << 32 if factor >> 31 else 0)

    @staticmethod
    def high(x: Tensor, spare: Tensor) -> Tensor:
        """The upper 24 bits of words."""
        return torch.bitwise_right_shift(x, 8, out=spare).bitwise_and_(0xFFFFFF)

    @staticmethod
    def signed(x: Tensor) -> Tensor:
        """Words as numbers from −2³¹ on: so they are."""
        return x

    @staticmethod
    def take(x: Tensor, rows: Tensor | slice) -> Tensor:
        """The rows of x at these places, or in this slice: a view then."""
        return x[rows] if isinstance(rows, slice) else x.index_select(0, rows)

    @staticmethod
    def send(values: npt.NDArray[Any], device: torch.device) -> Tensor:
        """An array as the operations take it."""
        return send(torch.from_numpy(values), device)

    @staticmethod
    def tensor(x: Tensor) -> Tensor:
        """What the operations give, as a tensor: itself."""
        return x


def operations(device: torch.device) -> Any:
    """By what noise is made on a device, and best added up."""
    return NumPy if device.type == "cpu" else Torch


class _Room(threading.local):
    """A thread's room to work in on a CPU, kept from one call to the next: fresh memory costs as much as the hash."""

    parts: tuple[npt.NDArray[Any], ...] = ()
    shape: tuple[int, int] = (0, 0)
    shaped: tuple[npt.NDArray[Any], ...] = ()

    def of(self, rows: int, pairs: int) -> tuple[npt.NDArray[Any], ...]:
        """Three arrays of words and three of floats, (rows, pairs) each; kept if not too large."""
        if self.shape == (rows, pairs):
            return self.shaped
        size, parts = rows * pairs, self.parts
        if not parts or len(parts[0]) < size:
            parts = (*np.empty((3, size), np.uint32), *np.empty((3, size), np.float32))
        shaped = tuple(part[:size].reshape(rows, pairs) for part in parts)
        if size <= _CACHED:
            self.parts, self.shape, self.shaped = parts, (rows, pairs), shaped
        return shaped


_ROOM = _Room()


def normals(
    words: npt.NDArray[np.uint32], factors: npt.NDArray[np.float32], size: int, device: torch.device, more: int = 0
) -> Any:
    """Normals, a function of each row's words (N, 2) and the element alone, as `operations(device)` take them.

    factors: −2·deviation² of each row, (N, 1). Returned: float32 (N + more, size), the last rows not written yet.
    """
    count, pairs, ops = len(words), (size + 1) // 2, operations(device)
    if ops is NumPy:  # in runs of rows that stay in its cache, each written over the last
        found, counter = np.empty((count + more, 2, pairs), np.float32), np.arange(pairs, dtype=np.uint32)
        step = max(1, _CACHED // max(1, pairs))
        for start in range(0, count, step):
            own, part = words[start : start + step], factors[start : start + step]
            _pairs(counter, own, part, _ROOM.of(len(own), pairs), found[start : start + len(own)], NumPy)
    else:
        counter = torch.arange(pairs, dtype=torch.int32, device=device)
        found = torch.empty(count + more, 2, pairs, device=device)
        work = [*counter.new_empty(3, count, pairs), *found.new_empty(3, count, pairs)]
        _pairs(counter, ops.send(words.view(np.int32), device), ops.send(factors, device), work, found[:count], ops)
    return found.reshape(count + more, 2 * pairs)[:, :size]


def _pairs(counter: Any, own: Any, factors: Any, work: Sequence[Any], found: Any, ops: Any) -> None:
    """Pairs of normals (rows, 2, pairs) into `found` (Box & Muller, 1958).

    counter (pairs,): the number of each pair; own (rows, 2): the words of each row; factors (rows, 1): −2 deviation²;
    work: three arrays of words and three of floats, (rows, pairs) each.
    """
    first, second, spare, radius, angle, turned = work
    ops.bitwise_xor(counter, own[:, :1], out=first)
    ops.mix(first, spare)
    ops.add(first, own[:, 1:], out=first)
    ops.mix(first, spare)
    ops.add(first, ops.apart, out=second)
    ops.mix(second, spare)
    # 24 bits in the middle of their interval: log never sees 0, and the tail ends at 5.9 deviations.
    radius[...] = ops.high(first, spare)
    ops.add(radius, ops.half, out=radius)
    ops.log(ops.multiply(radius, ops.unit, out=radius), out=radius)
    ops.sqrt(ops.multiply(radius, factors, out=radius), out=radius)
    angle[...] = ops.signed(second)
    ops.multiply(angle, ops.turn, out=angle)
    # Turned by itself first: where the memory that is written to does not lie in one piece, a rounding may differ.
    ops.multiply(ops.cos(angle, out=turned), radius, out=found[:, 0])
    ops.multiply(ops.sin(angle, out=turned), radius, out=found[:, 1])


__all__ = ["NumPy", "Torch", "normals", "operations"]
