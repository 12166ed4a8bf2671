"""A network that is trained beside the one that is sampled: a critic, an encoder, what to expect of each level."""

from torch import nn

from unnoise.nets import Net
from unnoise.tensor import Bool, Tensor
from unnoise.train.config import TrainConfig
from unnoise.train.flat import Flat, fit
from unnoise.train.optimiser import Optimiser


class Beside:
    """Its weights and its optimiser: stepped with the network's own, saved and taken up with it."""

    def __init__(self, net: nn.Module, config: TrainConfig):
        """net: on the device where it is trained; config: its care, which need not be the network's own."""
        self.net = net
        self._flat = Flat(net)
        self._optimiser = Optimiser(self._flat, config)
        self._nets = [part for part in net.modules() if isinstance(part, Net)]

    def begin(self) -> None:
        """Before the gradients of a step are summed."""
        for p in self._flat.parameters.values():
            p.grad = None

    def step(self, lr: float) -> None:
        """One step; a gradient that is not finite changes nothing, as in the network's own."""
        self._optimiser.step(lr)
        for part in self._nets:
            part.constrain()

    @property
    def finite(self) -> Bool[Tensor, ""]:
        """Whether all its weights are, on the device."""
        return self._flat.vector.isfinite().all()

    def tensors(self) -> dict[str, Tensor]:
        """Its weights and the memory of its optimiser, by name."""
        return {**self.net.state_dict(), **{f"optimiser.{k}": v for k, v in self._optimiser.tensors().items()}}

    def load(self, tensors: dict[str, Tensor], where: object) -> None:
        """Takes up what `tensors` gave."""
        memory = {k.removeprefix("optimiser."): v for k, v in tensors.items() if k.startswith("optimiser.")}
        fit(self.net.state_dict(), {k: v for k, v in tensors.items() if not k.startswith("optimiser.")}, where)
        self._optimiser.load(memory, where)


__all__ = ["Beside"]
