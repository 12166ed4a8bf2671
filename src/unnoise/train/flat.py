"""A network's weights as one vector: the optimiser, the averages and the gradient's norm are one call each."""

from collections.abc import Collection, Mapping

import torch
from torch import nn

from unnoise.config import UserError
from unnoise.nets import Net
from unnoise.tensor import Float, Tensor


class Flat:
    """The trained weights of a network, laid into one vector of which its parameters become views.

    Hundreds of small tensors cost a call each, which at small sizes is more than the arithmetic. The order: the
    matrices and kernels inside the network, up to `inner`; those at its ends, the tables of labels and what modulates
    its blocks, up to `decayed`, since weight decay acts on both; then biases, gains and norms.
    """

    def __init__(self, net: nn.Module):
        trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
        if len({(p.device, p.dtype) for p in trained.values()}) != 1:
            raise ValueError("a network is trained on one device and in one precision, and has a weight")
        outer = _outer(net)
        places = {name: 2 if p.ndim < 2 else int(name in outer) for name, p in trained.items()}
        self.parameters = {name: trained[name] for name in sorted(trained, key=places.__getitem__)}  # stable
        self.inside = tuple(name for name, place in places.items() if place == 0)
        self.inner = sum(trained[name].numel() for name in self.inside)
        self.decayed = sum(p.numel() for p in trained.values() if p.ndim >= 2)
        self.vector = torch.cat([p.detach().reshape(-1) for p in self.parameters.values()])
        for name, view in self.named(self.vector).items():
            self.parameters[name].data = view

    def named(self, vector: Float[Tensor, "P"]) -> dict[str, Tensor]:
        """Views of a vector laid out like the weights, by parameter."""
        views: dict[str, Tensor] = {}
        first = 0
        for name, p in self.parameters.items():
            views[name] = vector[first : first + p.numel()].view(p.shape)
            first += p.numel()
        return views

    def gather(self, out: Float[Tensor, "P"]) -> None:
        """The parameters' gradients, written into one vector."""
        grads = [p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in self.parameters.values()]
        torch.cat(grads, out=out)


def _outer(net: nn.Module) -> set[str]:
    """The weights that touch data, tables of which a step sees few rows, and what tells every block its modulation.

    A modulation is dozens of maps in one matrix, of which no singular value means anything.
    """
    ends = net.ends if isinstance(net, Net) else ()
    tables = {f"{name}.weight" for name, part in net.named_modules() if isinstance(part, nn.Embedding)}
    words = {name: name.split(".") for name, _ in net.named_parameters()}
    return tables | {name for name, parts in words.items() if parts[0] in ends or "modulate" in parts}


def fit(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], where: object) -> None:
    """Copies tensors into our own of the same names and shapes; `where` names their origin, for messages."""
    alike(own.keys(), tensors.keys(), where)
    for name, tensor in own.items():
        given, expected = tensors[name], tensor
        if given.shape != expected.shape:
            shapes = f"'{name}' has shape {tuple(given.shape)}, expected {tuple(expected.shape)}"
            raise UserError(f"{where} is of another network: {shapes}")
        if given.is_complex() or given.is_floating_point() != expected.is_floating_point():
            raise UserError(f"{where} is of another network: '{name}' is {given.dtype}, expected {expected.dtype}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def alike(own: Collection[str], names: Collection[str], where: object) -> None:
    """Refuses other names than our own, saying the first that differs."""
    for name in sorted({*own} ^ {*names}):
        what = "has no" if name in own else "has, beyond it,"
        raise UserError(f"{where} is of another network: it {what} '{name}'")


__all__ = ["Flat", "alike", "fit"]
