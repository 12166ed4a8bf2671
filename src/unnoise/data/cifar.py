"""CIFAR-10 as its authors give it out: 60,000 pictures of ten things, 32 by 32 in colour."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unnoise.config import UserError
from unnoise.data.stated import Stated, Whole, gathered

RECORD = 1 + 3 * 32 * 32  # bytes: the label, then the red, green and blue plane, row by row
TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST = "test_batch.bin"


@dataclass(frozen=True, kw_only=True)
class Cifar10(Stated):
    """CIFAR-10, binary version: the folder of data_batch_1.bin .. 5 and test_batch.bin, or cifar-10-binary.tar.gz.

    Items (N, 3, 32, 32) uint8. Test is the official one of 10,000; validation is taken from the 50,000 for training.
    Krizhevsky, Learning multiple layers of features from tiny images (2009); the format is that of
    https://www.cs.toronto.edu/~kriz/cifar.html.
    """

    name: ClassVar[str] = "cifar10"

    @property
    def classes(self) -> tuple[str, ...]:
        return ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    def _read(self) -> Whole:
        files = gathered(self.path, (*TRAIN, TEST), f"CIFAR-10's binary version has {TRAIN[0]} .. 5 and {TEST}")
        records: list[np.ndarray[tuple[int, int], np.dtype[np.uint8]]] = []
        for name in (*TRAIN, TEST):
            data = np.frombuffer(files[name], np.uint8)
            if len(data) == 0 or len(data) % RECORD:
                raise UserError(f"{name} of {self.path} is cut off: {len(data):,} bytes are no multiple of {RECORD}")
            records.append(data.reshape(-1, RECORD))
            if records[-1][:, 0].max() > 9:
                raise UserError(f"{name} of {self.path} holds the label {records[-1][:, 0].max()}: CIFAR-10 has 0 to 9")
        held = len(records[-1])
        every = np.concatenate(records)
        return Whole(every[:, 1:].reshape(-1, 3, 32, 32), every[:, 0].astype(np.int64), len(every) - held)


__all__ = ["Cifar10"]
