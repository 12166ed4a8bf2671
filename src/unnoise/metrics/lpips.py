"""LPIPS: the distance of two pictures in the layers of a classifier, each channel weighed as people judge likeness.

Zhang et al., The unreasonable effectiveness of deep features as a perceptual metric (2018), version 0.1.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from unnoise.config import UserError, choose
from unnoise.metrics.resizing import Levels, as_bytes
from unnoise.metrics.weights import Published, digest_of, fit, read
from unnoise.reading.paths import found
from unnoise.tensor import Float, Tensor

# Convolutions as (place in the published network, channels, kernel, stride, padding), poolings as (kernel, stride),
# "tap" after each layer that is compared.
Layer = tuple[int, int, int, int, int] | tuple[int, int] | str


def _three(place: int, channels: int) -> Layer:
    return (place, channels, 3, 1, 1)


TRUNKS: dict[str, tuple[Layer, ...]] = {
    # Krizhevsky, One weird trick for parallelizing convolutional neural networks (2014)
    "alex": (
        (0, 64, 11, 4, 2), "tap", (3, 2), (3, 192, 5, 1, 2), "tap", (3, 2), _three(6, 384), "tap",
        _three(8, 256), "tap", _three(10, 256), "tap",
    ),
    # Simonyan & Zisserman, Very deep convolutional networks (2015), its 16 layers
    "vgg": (
        _three(0, 64), _three(2, 64), "tap", (2, 2), _three(5, 128), _three(7, 128), "tap", (2, 2),
        _three(10, 256), _three(12, 256), _three(14, 256), "tap", (2, 2),
        _three(17, 512), _three(19, 512), _three(21, 512), "tap", (2, 2),
        _three(24, 512), _three(26, 512), _three(28, 512), "tap",
    ),
}  # fmt: skip
LEAST = {"alex": 31, "vgg": 16}  # pixels a side below which a layer is empty
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # ImageNet's, for −1 .. 1
BATCH = 32

_MODELS = "https://download.pytorch.org/models"
_HEADS = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1"
PUBLISHED = {
    "alex": (
        Published("alexnet-owt-7be5be79.pth", f"{_MODELS}/alexnet-owt-7be5be79.pth", "7be5be79"),
        Published(
            "lpips-alex.pth", f"{_HEADS}/alex.pth", "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"
        ),
    ),
    "vgg": (
        Published("vgg16-397923af.pth", f"{_MODELS}/vgg16-397923af.pth", "397923af"),
        Published(
            "lpips-vgg.pth", f"{_HEADS}/vgg.pth", "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"
        ),
    ),
}


class LPIPSNet(nn.Module):
    """(B, 3, H, W) in −1 .. 1 → (B, F) whose squared Euclidean distances are LPIPS distances.

    d(x, y) = Σ_l mean over places of Σ_c w_lc·(x̂_lc − ŷ_lc)², x̂_l the answers of layer l divided by their norm over
    channels. With every x̂_lc times sqrt(w_lc/places) it is |f(x) − f(y)|²: so everything that takes features takes it.
    The weights bear the published names: features.N of the classifier, linN.model.1 of the heads.
    """

    def __init__(self, trunk: str = "alex") -> None:
        super().__init__()
        self.trunk = choose("network of LPIPS", trunk, TRUNKS)
        self.features, width, taps = nn.ModuleDict(), 3, 0
        for layer in self.trunk:
            if layer == "tap":
                head = nn.Sequential(nn.Identity(), nn.Conv2d(width, 1, 1, bias=False))
                self.add_module(f"lin{taps}", nn.ModuleDict({"model": head}))
                taps += 1
            elif len(layer) == 5:
                place, channels, kernel, stride, padding = layer
                self.features[str(place)] = nn.Conv2d(width, channels, kernel, stride, padding)
                width = channels

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F"]:
        shift, scale = (torch.tensor(values, device=x.device)[:, None, None] for values in (SHIFT, SCALE))
        x, found = (x - shift) / scale, list[Tensor]()
        for layer in self.trunk:
            if layer == "tap":
                found.append(self._weighed(x, len(found)))
            elif len(layer) == 5:
                x = torch.relu(self.features[str(layer[0])](x))
            else:
                x = nn.functional.max_pool2d(x, *layer)
        return torch.cat(found, dim=1)

    def _weighed(self, x: Float[Tensor, "B C H W"], tap: int) -> Float[Tensor, "B F"]:
        unit = x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
        weights = self.get_parameter(f"lin{tap}.model.1.weight").clamp(min=0)  # (1, C, 1, 1)
        return (unit * (weights / (x.shape[2] * x.shape[3])).sqrt()).flatten(1)


class LPIPS:
    """Numbers (N, F) of raw pictures (N, 1 or 3, H, W), at the size they have, whose squared distances are LPIPS."""

    by_place = True

    def __init__(self, net: LPIPSNet, name: str = "lpips", levels: Levels = None, device: str = "cpu") -> None:
        self.name, self.digest, self.levels, self.device = name, digest_of(net), levels, torch.device(device)
        self.least = LEAST[name.removeprefix("lpips-")] if name != "lpips" else LEAST["alex"]
        self.net = net.to(self.device).eval().requires_grad_(False)

    @torch.no_grad()
    def features(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """(N, F), F as large as the pictures have places: some ten thousand at 64 × 64."""
        pictures = as_bytes(raw, self.levels)
        if min(pictures.shape[2:]) < self.least:
            sides = f"{pictures.shape[2]} × {pictures.shape[3]}"
            raise UserError(f"{self.name} reads pictures of {self.least} pixels a side or more, got {sides}")
        parts = list[npt.NDArray[np.float32]]()
        for first in range(0, len(pictures), BATCH):
            x = torch.from_numpy(pictures[first : first + BATCH]).to(self.device).float()
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                parts.append(self.net(x / 127.5 - 1).cpu().numpy())
        return np.concatenate(parts)

    def distance(self, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """LPIPS of pictures pair by pair: (N, C, H, W) and (N, C, H, W) → (N,)."""
        off = self.features(x).astype(np.float64) - self.features(y)
        return (off**2).sum(axis=1)


def opened(path: str | Path, trunk: str = "alex", levels: Levels = None, device: str = "cpu") -> LPIPS:
    """From a .safetensors file with all weights, or a folder with the two published files of classifier and heads."""
    place, published = found(str(path), "weights"), PUBLISHED[trunk]
    if place.is_dir():
        files = [place / one.name for one in published]
        files[1] = files[1] if files[1].exists() else place / f"{trunk}.pth"
        for file in files:
            if not file.exists():
                raise UserError(f"there is no {file.name} in {place}: lpips takes {published[0].name} and {trunk}.pth")
        held = {name: tensor for file in files for name, tensor in read(file, published).items()}
    else:
        held = read(place)
    net = LPIPSNet(trunk)
    fit(net, held, place)
    return LPIPS(net, f"lpips-{trunk}", levels, device)


__all__ = ["LPIPS", "PUBLISHED", "LPIPSNet", "opened"]
