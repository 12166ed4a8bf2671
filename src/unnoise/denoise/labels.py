"""What noisy data tells of its label: a network that hears the noise, and by how much a label moves the belief."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from unnoise.denoise.target import Coefficients
from unnoise.nets import Net
from unnoise.process.level import Level
from unnoise.tensor import Cond, Float, Int, Tensor


class Labels(Net):
    """A classifier of noisy items, whose answer is shaped like x: the slope of log p(label | x) along what it hears.

    body: a network of as many answers as there are labels, told none. The logit of a label is
    cos·sum(its field of answers)/sqrt(elements), cos = alpha/sqrt(alpha² + sigma²): log p(y | x_t) grows in proportion
    to alpha where noise is all, so the slope, divided by alpha, stays finite at alpha = 0.
    """

    def __init__(self, body: Net):
        super().__init__(body.shape, body.answers)
        self.body = body
        self.kept = [body]

    def logits(self, x: Float[Tensor, "B C *sizes"], noise_level: Float[Tensor, "B"]) -> Float[Tensor, "B K"]:
        """x as it is heard, x_t/sqrt(alpha² + sigma²) → log p(label | x_t), up to one number an item."""
        cos = torch.rsqrt(1 + torch.exp(2 * noise_level))
        return cos[:, None] * self._fields(x, noise_level)

    def forward(
        self, x: Float[Tensor, "B C *sizes"], noise_level: Float[Tensor, "B"], cond: Cond
    ) -> Float[Tensor, "B told *sizes"]:
        """∇ log p(label | x)/cos for the label of each item, and 0 for those whose label is the null."""
        labels = cond.get("label")
        if labels is None:
            return torch.zeros_like(x)
        with torch.enable_grad():
            heard = x.detach().requires_grad_()
            fields = self._fields(heard, noise_level)
            cos = torch.rsqrt(1 + torch.exp(2 * noise_level))
            away = (self._given(labels).to(fields.dtype) - (cos[:, None] * fields).softmax(1)).detach()
            away = away * (labels < self.classes)[:, None]
            (slope,) = torch.autograd.grad((fields * away).sum(), heard)
        return slope.detach()

    def _given(self, labels: Int[Tensor, "B"]) -> Float[Tensor, "B K"]:
        return F.one_hot(labels.clamp(max=self.classes - 1), self.classes).float()

    def _fields(self, x: Float[Tensor, "B C *sizes"], noise_level: Float[Tensor, "B"]) -> Float[Tensor, "B K"]:
        each = self.body(x, noise_level, {}).to(x.dtype).reshape(len(x), self.classes, -1)
        return each.sum(2) / each.shape[2] ** 0.5


@dataclass(frozen=True)
class Shift:
    """F = ∇ log p(label | x)/cos, as Labels answers it; its "belief" is what the label adds to the posterior mean:

    E[x_0 | x_t, y] − E[x_0 | x_t] = (sigma²/alpha)·∇ log p(y | x_t)  (Dhariwal & Nichol, 2021, Eq. 14, by Tweedie).
    """

    def __call__(self, level: Level) -> Coefficients:
        """out = sigma²/(alpha² + sigma²), inp = 1/sqrt(alpha² + sigma²): regular at alpha = 0."""
        power = level.alpha.square() + level.sigma.square()
        zero = torch.zeros_like(power)
        return Coefficients(zero, level.sigma.square() / power, power.rsqrt(), zero, zero)


__all__ = ["Labels", "Shift"]
