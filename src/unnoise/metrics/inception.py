"""The Inception network of 2015, as Fréchet and kernel Inception distances and the Inception Score are read on it.

Szegedy et al., Rethinking the Inception architecture (2016), in the graph `classify_image_graph_def` of December 2015:
1008 classes, means that leave the padding out, and a maximum in the last block's pooling branch. Blocks and
convolutions bear the names of the published weights.
"""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from unnoise.metrics.resizing import Levels, as_bytes, bicubic, bilinear, tensorflow
from unnoise.metrics.weights import Published, digest_of
from unnoise.tensor import Float, Tensor

WEIGHTS = Published(
    "pt_inception-2015-12-05-6726825d.pth",
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
SIDE, COLUMNS, CLASSES = 299, 2048, 1008
BATCH = 16  # pictures at once: 88 MB in the largest layer

# A step of a branch: (name, channels, height, width, stride) of a convolution, a pooling by name, or a fork into
# several convolutions whose answers stand side by side.
Conv = tuple[str, int, int, int, int]
Step = str | Conv | list[Conv]


class Cell(nn.Module):
    """Convolution without bias, batch normalisation (eps 0.001), ReLU. Stride 1 keeps the size unless `bare`."""

    def __init__(self, inputs: int, outputs: int, height: int, width: int, stride: int = 1, bare: bool = False) -> None:
        super().__init__()
        around = (0, 0) if bare or stride > 1 else (height // 2, width // 2)
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, around, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D I J"]:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def _pool(kind: str, x: Tensor) -> Tensor:
    """mean and max over 3 × 3 around each pixel; half: the maximum at every other pixel."""
    if kind == "mean":
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    return F.max_pool2d(x, 3, 1, 1) if kind == "max" else F.max_pool2d(x, 3, 2)


class Block(nn.Module):
    """Branches over one input, their answers side by side."""

    def __init__(self, inputs: int, *branches: list[Step]) -> None:
        super().__init__()
        self.branches = branches
        self.outputs = 0
        for branch in branches:
            width = inputs
            for step in branch:
                if isinstance(step, str):
                    continue
                cells = step if isinstance(step, list) else [step]
                for name, outputs, height, wide, stride in cells:
                    self.add_module(f"branch{name}", Cell(width, outputs, height, wide, stride))
                width = sum(cell[1] for cell in cells)
            self.outputs += width

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D I J"]:
        return torch.cat([self._along(branch, x) for branch in self.branches], dim=1)

    def _along(self, branch: list[Step], x: Tensor) -> Tensor:
        for step in branch:
            if isinstance(step, str):
                x = _pool(step, x)
            elif isinstance(step, list):
                x = torch.cat([self.get_submodule(f"branch{cell[0]}")(x) for cell in step], dim=1)
            else:
                x = self.get_submodule(f"branch{step[0]}")(x)
        return x


def _five(inputs: int, pooled: int) -> Block:
    """At 35 × 35: 1 × 1, 5 × 5, two of 3 × 3, a mean."""
    return Block(
        inputs,
        [("1x1", 64, 1, 1, 1)],
        [("5x5_1", 48, 1, 1, 1), ("5x5_2", 64, 5, 5, 1)],
        [("3x3dbl_1", 64, 1, 1, 1), ("3x3dbl_2", 96, 3, 3, 1), ("3x3dbl_3", 96, 3, 3, 1)],
        ["mean", ("_pool", pooled, 1, 1, 1)],
    )


def _seven(inner: int) -> Block:
    """At 17 × 17: 7 × 7 and two of it, each as a row and a column."""
    return Block(
        768,
        [("1x1", 192, 1, 1, 1)],
        [("7x7_1", inner, 1, 1, 1), ("7x7_2", inner, 1, 7, 1), ("7x7_3", 192, 7, 1, 1)],
        [
            ("7x7dbl_1", inner, 1, 1, 1),
            ("7x7dbl_2", inner, 7, 1, 1),
            ("7x7dbl_3", inner, 1, 7, 1),
            ("7x7dbl_4", inner, 7, 1, 1),
            ("7x7dbl_5", 192, 1, 7, 1),
        ],
        ["mean", ("_pool", 192, 1, 1, 1)],
    )


def _eight(inputs: int, pool: str) -> Block:
    """At 8 × 8: 3 × 3 forked into a row and a column."""
    return Block(
        inputs,
        [("1x1", 320, 1, 1, 1)],
        [("3x3_1", 384, 1, 1, 1), [("3x3_2a", 384, 1, 3, 1), ("3x3_2b", 384, 3, 1, 1)]],
        [
            ("3x3dbl_1", 448, 1, 1, 1),
            ("3x3dbl_2", 384, 3, 3, 1),
            [("3x3dbl_3a", 384, 1, 3, 1), ("3x3dbl_3b", 384, 3, 1, 1)],
        ],
        [pool, ("_pool", 192, 1, 1, 1)],
    )


class InceptionNet(nn.Module):
    """(B, 3, 299, 299) in −1 .. 1 → features (B, 2048) and logits without their bias (B, 1008); 23.9 M numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Cell(3, 32, 3, 3, 2)
        self.Conv2d_2a_3x3 = Cell(32, 32, 3, 3, bare=True)
        self.Conv2d_2b_3x3 = Cell(32, 64, 3, 3)
        self.Conv2d_3b_1x1 = Cell(64, 80, 1, 1)
        self.Conv2d_4a_3x3 = Cell(80, 192, 3, 3, bare=True)
        self.Mixed_5b = _five(192, 32)
        self.Mixed_5c = _five(256, 64)
        self.Mixed_5d = _five(288, 64)
        self.Mixed_6a = Block(
            288,
            [("3x3", 384, 3, 3, 2)],
            [("3x3dbl_1", 64, 1, 1, 1), ("3x3dbl_2", 96, 3, 3, 1), ("3x3dbl_3", 96, 3, 3, 2)],
            ["half"],
        )
        self.Mixed_6b = _seven(128)
        self.Mixed_6c = _seven(160)
        self.Mixed_6d = _seven(160)
        self.Mixed_6e = _seven(192)
        self.Mixed_7a = Block(
            768,
            [("3x3_1", 192, 1, 1, 1), ("3x3_2", 320, 3, 3, 2)],
            [
                ("7x7x3_1", 192, 1, 1, 1),
                ("7x7x3_2", 192, 1, 7, 1),
                ("7x7x3_3", 192, 7, 1, 1),
                ("7x7x3_4", 192, 3, 3, 2),
            ],
            ["half"],
        )
        self.Mixed_7b = _eight(1280, "mean")
        self.Mixed_7c = _eight(2048, "max")
        self.fc = nn.Linear(COLUMNS, CLASSES)

    def forward(self, x: Float[Tensor, "B 3 299 299"]) -> tuple[Float[Tensor, "B F"], Float[Tensor, "B K"]]:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(_pool("half", x)))
        x = _pool("half", x)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        features = x.mean(dim=(2, 3))
        return features, features @ self.fc.weight.T


class Inception:
    """Features (N, 2048) and class probabilities (N, 1008) of raw pictures, each resized to 299 × 299 first.

    resizing: "tensorflow", inside the graph, on 0 .. 255, as the first published distances and torch-fidelity have it;
    "torch", on 0 .. 1, as pytorch-fid has it; "clean", Pillow's bicubic (Parmar et al., 2022). Probabilities are of the
    logits without their bias, as the Inception Score has been read since Salimans et al. (2016).
    """

    NAMES: ClassVar[dict[str, str]] = {
        "tensorflow": "inception",
        "torch": "inception-pytorch-fid",
        "clean": "inception-clean",
    }

    def __init__(
        self, net: nn.Module, resizing: str = "tensorflow", levels: Levels = None, device: str = "cpu"
    ) -> None:
        self.name, self.digest = self.NAMES[resizing], digest_of(net)
        self.net = net.to(torch.device(device)).eval().requires_grad_(False)
        self.resizing, self.levels, self.device = resizing, levels, torch.device(device)
        self._last: tuple[Any, npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None

    def features(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """(N, 2048)."""
        return self.both(raw)[0]

    def probabilities(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """(N, 1008), each row of sum 1."""
        logits = self.both(raw)[1].astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def both(self, raw: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Features and logits; those of the last pictures are kept, as both are asked for one after the other."""
        if self._last is None or self._last[0] is not raw:
            pictures = as_bytes(raw, self.levels)
            found = [self._run(pictures[i : i + BATCH]) for i in range(0, len(pictures), BATCH)]
            features = np.concatenate([part[0] for part in found] or [np.empty((0, COLUMNS), np.float32)])
            logits = np.concatenate([part[1] for part in found] or [np.empty((0, CLASSES), np.float32)])
            self._last = raw, features, logits
        return self._last[1:]

    @torch.no_grad()
    def _run(self, pictures: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        # float32 proper: the shorter mantissa that CUDA's convolutions take by themselves moves features by 1e-3.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            features, logits = self.net(self._shown(pictures))
        return features.float().cpu().numpy(), logits.float().cpu().numpy()

    def _shown(self, pictures: npt.NDArray[np.uint8]) -> Float[Tensor, "B 3 299 299"]:
        if self.resizing == "clean":
            x = torch.from_numpy(bicubic(pictures, SIDE, SIDE)).to(self.device)
            return (x - 128) / 128
        x = torch.from_numpy(pictures).to(self.device).float()
        return 2 * bilinear(x / 255, SIDE) - 1 if self.resizing == "torch" else (tensorflow(x, SIDE) - 128) / 128


__all__ = ["WEIGHTS", "Inception", "InceptionNet"]
