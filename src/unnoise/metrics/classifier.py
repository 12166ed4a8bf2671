"""The stored classifier of the digits: the features that Fréchet distances are read on, and labels."""

from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import nn

from unnoise.metrics.weights import digest_of
from unnoise.tensor import Array, Float, Tensor

STORED = Path(__file__).with_name("digits.safetensors")


@runtime_checkable
class Classifier(Protocol):
    """What the protocol asks of a classifier: raw items (N, ...) in, host arrays out."""

    def features(self, raw: npt.NDArray[Any]) -> Array:
        """(N, F) numbers on which a normal distribution describes the items well."""
        ...

    def predict(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """(N,) the likeliest label."""
        ...


class DigitNet(nn.Module):
    """Three convolutions, a linear map to 32 features and one to 10 logits; 37 thousand numbers.

    The features are the linear map's answers, divided by one number such that their mean variance over
    the training part is 1: a Fréchet distance is in units of that variance.
    """

    def __init__(self, features: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.SiLU(),
            nn.Conv2d(32, 32, 3, padding=1), nn.SiLU(), nn.AvgPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.SiLU(), nn.AvgPool2d(2),
            nn.Flatten(), nn.Linear(256, features),
        )  # fmt: skip
        self.head = nn.Linear(features, 10)
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: Float[Tensor, "B 1 8 8"]) -> tuple[Float[Tensor, "B F"], Float[Tensor, "B 10"]]:
        """x in [-1, 1] → features and logits."""
        features = self.body(x)
        return features / self.scale, self.head(nn.functional.silu(features))


class DigitClassifier:
    """Features and labels of raw digits (N, 1, 8, 8) or (N, 8, 8) in 0 .. 16.

    Trained once by benchmarks/classifier.py on the 1131 training items alone, so that validation and
    test are new to it alike; the weights stand beside this file.
    """

    name = "stored classifier"

    def __init__(self, net: DigitNet) -> None:
        self.net = net.eval().requires_grad_(False)
        self.digest = digest_of(net)

    def features(self, raw: npt.NDArray[Any]) -> Array:
        """(N, 32) float64."""
        return self._run(raw)[0].double().numpy()

    def predict(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """(N,) the digit 0 .. 9."""
        return self._run(raw)[1].argmax(dim=1).numpy()

    def probabilities(self, raw: npt.NDArray[Any]) -> Array:
        """(N, 10) float64, each row of sum 1."""
        return self._run(raw)[1].double().softmax(dim=1).numpy()

    def _run(self, raw: npt.NDArray[Any]) -> tuple[Tensor, Tensor]:
        x = torch.from_numpy(np.asarray(raw, np.float32).reshape(-1, 1, 8, 8)) / 8 - 1
        parts = [self.net(part) for part in x.split(1024)] or [self.net(x)]
        features, logits = zip(*parts, strict=True)
        return torch.cat(features), torch.cat(logits)


@cache
def digits() -> DigitClassifier:
    """The stored classifier, loaded once."""
    net = DigitNet()
    net.load_state_dict(load_file(STORED))
    return DigitClassifier(net)


# By the name of the source whose items they read.
CLASSIFIERS = {"digits": digits}

__all__ = ["CLASSIFIERS", "Classifier", "DigitClassifier", "DigitNet", "digits"]
