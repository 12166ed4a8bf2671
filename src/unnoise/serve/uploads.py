"""Pictures that are sent: within limits before they are decoded, brought to a model's size, and their masks."""

import base64
import binascii
import hashlib
import io

import numpy as np
import PIL.Image
import torch

from unnoise.reading.decode import Limits, Unreadable, decode, header, opacity
from unnoise.reading.fit import Fit, pixels
from unnoise.run import Run
from unnoise.serve.refusals import wrong
from unnoise.tensor import Tensor

GROUND = (255, 255, 255)  # under what is transparent


def from_base64(text: str, what: str) -> bytes:
    """The bytes of base64, with or without "data:image/png;base64," before it."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise wrong(f"{what} is not base64") from None


def encoded(run: Run, data: bytes, shape: tuple[int, ...], limits: Limits) -> Tensor:
    """A picture as the model sees it, x_0 (1, C, H, W): cut in the middle to the proportions, then resized."""
    channels, height, width = picture_shape(run, shape)
    made = Fit((height, width)).middle(_decoded(data, "image", limits, (height, width)))
    small = pixels(made, channels)
    flat = PIL.Image.fromarray(small[0] if channels == 1 else np.moveaxis(small, 0, -1))
    return run.recipe.modality.encode(run.recipe.modality.batch([flat]))


def known(run: Run, data: bytes, shape: tuple[int, ...], limits: Limits) -> Tensor:
    """A mask as what is known (1, 1, H, W): 0 where it is to be drawn anew, 1 where it is not.

    That is where a mask is clear, if any of it is; of an opaque mask, where it is white.
    """
    _, height, width = picture_shape(run, shape)
    image = _decoded(clear_parts(data, "mask", limits) or data, "mask", limits, None)
    values = pixels(Fit((height, width), filter="box").middle(image), 1).astype(np.float32) / 255
    return torch.from_numpy(1 - values)[None]


def clear_parts(data: bytes, what: str, limits: Limits) -> bytes | None:
    """Where a picture is transparent, white on black as PNG; None where all of it is opaque."""
    _decoded(data, what, limits, None)  # a picture of a kind that is taken
    try:
        alpha = opacity(data, limits)
    except Unreadable as error:
        raise wrong(f"{what} is no picture that can be read: {error}", "unreadable_image") from None
    if alpha is None or alpha.getextrema() == (255, 255):
        return None
    file = io.BytesIO()
    alpha.point([255 - value for value in range(256)]).save(file, "PNG")
    return file.getvalue()


def digest(data: bytes) -> str:
    """What a picture is called in what is written of a sample."""
    return hashlib.sha256(data).hexdigest()[:16]


def picture_shape(run: Run, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(C, H, W) of a model of pictures."""
    if run.recipe.modality.name != "image" or len(shape) != 3:
        raise wrong(f"{run.recipe.name} draws no pictures, so none can be given to it")
    return shape[0], shape[1], shape[2]


def _decoded(data: bytes, what: str, limits: Limits, wanted: tuple[int, int] | None) -> PIL.Image.Image:
    try:
        header(data, limits)
        return decode(data, limits, GROUND, wanted)
    except Unreadable as error:
        raise wrong(f"{what} is no picture that can be read: {error}", "unreadable_image") from None


__all__ = ["clear_parts", "digest", "encoded", "from_base64", "known", "picture_shape"]
