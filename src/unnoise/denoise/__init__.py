"""What is believed of clean data, given noisy data."""

from unnoise.denoise import exact
from unnoise.denoise.denoiser import Belief, Denoiser, NetDenoiser, denoiser
from unnoise.denoise.target import TARGETS, Coefficients, Target, convert, from_data, to_data

__all__ = [
    "TARGETS",
    "Belief",
    "Coefficients",
    "Denoiser",
    "NetDenoiser",
    "Target",
    "convert",
    "denoiser",
    "exact",
    "from_data",
    "to_data",
]
