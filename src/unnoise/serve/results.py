"""What a finished job leaves: one archive with a picture of each sample that says how it was made, and the numbers."""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from unnoise.modality import Modality
from unnoise.report import grids
from unnoise.tensor import Tensor

EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file in an archive: its bytes depend on what is drawn alone
NUMBERS, TOLD = "samples.npy", "job.json"


def picture(modality: Modality, x: Tensor, settings: Mapping[str, Any] | None = None) -> bytes | None:
    """One sample (*dims) as PNG with its settings inside; None where it is no picture."""
    try:
        shown = modality.show(x[None])[0]
    except NotImplementedError:
        return None
    return grids.png(shown, settings)


def archive(modality: Modality, found: Mapping[int, Tensor], settings: Mapping[int, Mapping[str, Any]]) -> bytes:
    """A zip of NNNN.png for each sample, where they are pictures; the raw numbers of all, in the order of the job;
    and what was asked."""
    order = sorted(found)
    x = torch.stack([found[sample] for sample in order]).cpu()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as whole:
        for sample, item in zip(order, x, strict=True):
            if (made := picture(modality, item, settings[sample])) is not None:
                whole.writestr(zipfile.ZipInfo(name(sample), EPOCH), made)
        numbers = io.BytesIO()
        np.save(numbers, modality.quantise(x), allow_pickle=False)
        whole.writestr(zipfile.ZipInfo(NUMBERS, EPOCH), numbers.getvalue())
        told = {"samples": [dict(settings[sample]) for sample in order]}
        whole.writestr(zipfile.ZipInfo(TOLD, EPOCH), json.dumps(told))
    return file.getvalue()


def name(sample: int) -> str:
    """The file of a sample in an archive."""
    return f"{sample:04d}.png"


def part(data: bytes, name: str) -> bytes | None:
    """One file of an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as whole:
        return whole.read(name) if name in whole.namelist() else None


__all__ = ["NUMBERS", "TOLD", "archive", "name", "part", "picture"]
