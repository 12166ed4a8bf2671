"""What a network hears beside x: the noise level as sinusoids, the label as a row of a table, and what else is told."""

from collections.abc import Mapping, Sequence

from torch import nn
from torch.nn import functional as F

from unnoise.nets.heard import Heard
from unnoise.nets.hearing import vectors
from unnoise.nets.waves import FREQUENCIES, Sinusoids
from unnoise.tensor import Cond, Float, Tensor


class Embedding(nn.Module):
    """The conditions that are one vector per item: (noise level, label, augmentation, others) → (B, width).

    e = W_2·silu(W_1·sinusoids(noise level)) + table[label] + W_3·told + Σ others; the table's last row is the null
    label, and an item that was not augmented tells 0, as one without the condition does. heard: the others, of which
    those that are no vector are heard elsewhere.
    """

    def __init__(
        self,
        features: int,
        width: int,
        classes: int,
        frequencies: Sequence[float] = FREQUENCIES,
        augment: int = 0,
        hears: str = "noise",
        heard: Mapping[str, Heard] | None = None,
    ):
        super().__init__()
        self.classes = classes
        self.sinusoids = Sinusoids(features, frequencies, hears)
        self.first = nn.Linear(features, width)
        self.second = nn.Linear(width, width)
        self.labels = nn.Embedding(classes + 1, width) if classes else None
        if self.labels is not None:
            nn.init.normal_(self.labels.weight, std=0.5)
        self.told = nn.Linear(augment, width, bias=False) if augment else None
        self.others = vectors(heard or {}, width)

    def forward(
        self, noise_level: Float[Tensor, "B"], cond: Cond, read: Sequence[Tensor] = ()
    ) -> Float[Tensor, "B width"]:
        """read: what texts say in all, vectors (B, width)."""
        waves = self.sinusoids(noise_level).to(self.first.weight.dtype)
        embedding = self.second(F.silu(self.first(waves)))
        told = cond.get("augment")
        if self.told is not None and told is not None:
            embedding = embedding + self.told(told.to(embedding.dtype))
        for other in (*read, *(() if self.others is None else self.others(cond, len(noise_level)))):
            embedding = embedding + other
        if self.labels is None:
            return embedding
        label = cond.get("label")
        if label is None:
            return embedding + self.labels.weight[self.classes]
        return embedding + self.labels(label)


__all__ = ["FREQUENCIES", "Embedding"]
