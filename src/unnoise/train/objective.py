"""What training minimises: the weighted squared error of the network's own answer."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

from torch import nn

from unnoise.data import Items
from unnoise.denoise import Coefficients, NetDenoiser
from unnoise.denoise.target import Target
from unnoise.denoise.variance import Learned as LearnedVariance
from unnoise.denoise.variance import Variance
from unnoise.nets import Net
from unnoise.process import Gaussian, Level
from unnoise.tensor import Array, Cond, Float, Tensor, align
from unnoise.train.aims import Aim, Item, Origin
from unnoise.train.config import TrainConfig
from unnoise.train.draws import Draws
from unnoise.train.levels import Levels, Uniform
from unnoise.train.order import Encode, Feed
from unnoise.train.uncertainty import Uncertainty
from unnoise.train.weights import Learned, Simple, Weight


class Loss(NamedTuple):
    """Of each item: value (B,), what is told; error (B,), the mean squared error of x_0, without gradient; noise
    (B,), the noise level log(sigma/alpha) that it was drawn at; minimised (B,), what is minimised where that is
    not the value."""

    value: Tensor
    error: Tensor
    noise: Tensor
    minimised: Tensor | None = None


class Objective(ABC):
    """What the trainer minimises the mean of. It knows no more of diffusion than this.

    beside_called: the name of the network that is trained beside, if one is, and of its file in a checkpoint.
    descends: whether the loss is positive and the lower the better, so that its course is told by shares of it.
    once: whether the network learns one answer alone, at t = 1, which is the sample (see train.once).
    of_labels: whether it learns what noisy data tells of its label, and draws nothing (see train.labels).
    """

    beside_called: ClassVar[str] = "beside"
    descends: ClassVar[bool] = True
    once: ClassVar[bool] = False
    of_labels: ClassVar[bool] = False

    def model(self, net: Net, process: Gaussian, target: Target, variance: Variance) -> NetDenoiser:
        """What a network is trained as."""
        return NetDenoiser(net, process, target, variance)

    def beside(self, net: Net) -> nn.Module | None:
        """A fresh network to be trained beside `net`, which it may be shaped after; none by default."""
        return None

    def knowing(self, process: Gaussian, items: Items, encode: Encode, feed: Feed) -> "Objective":
        """The objective that knows the training part, which it sees as `feed` gives it: itself, where it need not."""
        return self

    def care(self, config: TrainConfig) -> TrainConfig:
        """How the network beside is trained: as the network itself, unless an objective says otherwise."""
        return config

    @abstractmethod
    def __call__(
        self,
        denoiser: NetDenoiser,
        x0: Float[Tensor, "B *dims"],
        cond: Cond,
        draws: Draws,
        beside: Any = None,
    ) -> Loss:
        """The loss of each item of x0 (B, ...) under its conditions, with the random numbers of this step.

        beside: the network trained beside, where there is one: what is minimised holds the losses of both.
        """


@dataclass(frozen=True)
class AtLevels(Objective):
    """An item's loss is asked at one level, drawn from a law.

    levels: the law of t.
    """

    levels: Levels = Uniform()  # noqa: RUF009 (frozen)

    def __call__(
        self,
        denoiser: NetDenoiser,
        x0: Float[Tensor, "B *dims"],
        cond: Cond,
        draws: Draws,
        beside: Any = None,
    ) -> Loss:
        law = self.levels.at(draws.items)
        t = law.quantile(draws.uniform("level", law.stratify), denoiser.process.schedule)
        return self.at(denoiser, x0, cond, t, draws.normal("noise", x0), beside)

    def times(self, denoiser: NetDenoiser, u: Array) -> Array:
        """Quantiles (B,) of the levels that are trained in the end, as times."""
        return self.levels.quantile(u, denoiser.process.schedule)

    @abstractmethod
    def at(
        self,
        denoiser: NetDenoiser,
        x0: Float[Tensor, "B *dims"],
        cond: Cond,
        t: Array,
        noise: Float[Tensor, "B *dims"],
        beside: Any = None,
    ) -> Loss:
        """The loss of each item at the given times t (B,) and noise (B, ...)."""


@dataclass(frozen=True)
class Regression(AtLevels):
    """weight(t)·|F_theta(x_t) − F*|² averaged over the item's valid elements, F* = data·x_0 + noise·eps.

    levels: the law of t; weight: the factor at each level; aim: of which x_0 and eps F* is made. Where cond has a
    "mask" (B, ..), the elements where it is 0 are not the item's. Of a denoiser that learns its variance the hybrid
    loss is minimised, L + share·L_vlb  (Nichol & Dhariwal, 2021, Eq. 16): the bound's step back from the same t, with
    the mean as it is.
    """

    weight: Weight = Simple()  # noqa: RUF009 (frozen)
    aim: Aim = Item()  # noqa: RUF009 (frozen)

    beside_called: ClassVar[str] = "uncertainty"

    def beside(self, net: Net) -> Uncertainty | None:
        return Uncertainty(self.weight.features) if isinstance(self.weight, Learned) else None

    def knowing(self, process: Gaussian, items: Items, encode: Encode, feed: Feed) -> "Regression":
        return replace(self, aim=self.aim.knowing(process, items, encode, feed))

    def care(self, config: TrainConfig) -> TrainConfig:
        return replace(config, weight_decay=0.0, clip=0.0)

    def at(
        self,
        denoiser: NetDenoiser,
        x0: Float[Tensor, "B *dims"],
        cond: Cond,
        t: Array,
        noise: Float[Tensor, "B *dims"],
        beside: Uncertainty | None = None,
    ) -> Loss:
        level = denoiser.process.level(t, x0)
        noise = denoiser.process.constrain(noise, cond)
        x = denoiser.process.corrupt(x0, level, noise)
        answer, v, c = denoiser.told(x, level, cond)
        loss, variance = self.judge(answer, c, x0, noise, level, cond), denoiser.variance
        other = self.aim(x, Origin(x0, noise), level, cond)
        aimed = loss.value if other is None else self.judge(answer, c, other.x0, other.noise, level, cond).value
        if beside is not None:
            aimed = beside.balance(aimed, loss.noise, None if other is None else loss.value)
        if v is not None and isinstance(variance, LearnedVariance):
            belief = align(c.skip, x) * x + align(c.out, x) * answer.detach().to(x.dtype)
            nats = variance.loss(denoiser.process.schedule, t, x0, belief, v)
            aimed = aimed + average(nats, cond.get("mask"))
        return loss if aimed is loss.value else loss._replace(minimised=aimed)

    def judge(
        self,
        answer: Float[Tensor, "B *dims"],
        c: Coefficients,
        x0: Float[Tensor, "B *dims"],
        noise: Float[Tensor, "B *dims"],
        level: Level,
        cond: Cond,
    ) -> Loss:
        """The loss of an answer F given to x_t = alpha·x_0 + sigma·noise."""
        wanted = align(c.data, x0) * x0 + align(c.noise, x0) * noise
        error = average((answer.to(x0.dtype) - wanted).square(), cond.get("mask"))
        return Loss(self.weight(level, c.out) * error, c.out.square() * error.detach(), level.noise)


def average(field: Float[Tensor, "B *dims"], mask: Tensor | None = None) -> Float[Tensor, "B"]:
    """The mean over each item's elements, or over those where mask (B, ..) is not 0.

    A mask has as many axes as the field, each as long or of length 1, or lacks the last ones.
    """
    if mask is None:
        return field.flatten(1).mean(1)
    valid = mask.reshape(*mask.shape, *(1,) * (field.ndim - mask.ndim)).to(field.dtype).expand_as(field)
    return (field * valid).flatten(1).sum(1) / valid.flatten(1).sum(1).clamp(min=1)


__all__ = ["AtLevels", "Loss", "Objective", "Regression", "average"]
