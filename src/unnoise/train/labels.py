"""A classifier of noisy data: what guides another model by its labels."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch.nn import functional as F

from unnoise.denoise import NetDenoiser
from unnoise.denoise.labels import Labels, Shift
from unnoise.denoise.target import Target
from unnoise.denoise.variance import Fixed, Variance
from unnoise.nets import Net
from unnoise.process import Gaussian
from unnoise.tensor import Array, Cond, Float, Tensor, align
from unnoise.train.objective import AtLevels, Loss


@dataclass(frozen=True)
class Classification(AtLevels):
    """−log p(label | x_t, level), in nats an item: the network hears the noise and is told no label.

    Its answers become the logits (see denoise.labels), and what is told as the error is the share of wrong labels.
    Items whose label is the null count for nothing. levels: the law of t.
    (Dhariwal & Nichol, Diffusion models beat GANs on image synthesis, 2021, Sec. 4.)
    """

    of_labels: ClassVar[bool] = True

    def model(self, net: Net, process: Gaussian, target: Target, variance: Variance) -> NetDenoiser:
        return NetDenoiser(Labels(net), process, Shift(), Fixed())

    def at(
        self,
        denoiser: NetDenoiser,
        x0: Float[Tensor, "B *dims"],
        cond: Cond,
        t: Array,
        noise: Float[Tensor, "B *dims"],
        beside: Any = None,
    ) -> Loss:
        process, net = denoiser.process, denoiser.net
        assert isinstance(net, Labels)
        level = process.level(t, x0)
        x = process.corrupt(x0, level, process.constrain(noise, cond))
        logits = net.logits(align(denoiser.target(level).inp, x) * x, level.noise)
        label, known = cond["label"], cond["label"] < net.classes
        nats = F.cross_entropy(logits, label.clamp(max=net.classes - 1), reduction="none") * known
        wrong = (logits.detach().argmax(1) != label) & known
        return Loss(nats.to(x0.dtype), wrong.to(x0.dtype), level.noise)


__all__ = ["Classification"]
