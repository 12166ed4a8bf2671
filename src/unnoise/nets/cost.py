"""What a network costs: parameters, multiply–adds and memory of an item, counted without doing the arithmetic."""

import copy
from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from unnoise.nets.net import Net
from unnoise.tensor import Cond, Tensor


class Cost(NamedTuple):
    """What a network costs at a shape. Of matrix products, convolutions and attention alone; the rest is less."""

    parameters: int  # numbers that training moves
    multiply_adds: int  # of one item in one forward pass; training takes about three times as many
    memory: int  # bytes that training keeps of one item, in float32, from its forward to its backward pass


def count(net: Net, shape: Sequence[int] | None = None) -> Cost:
    """The cost of a network at items of `shape` (its own, if silent), by passes of tensors that have no numbers.

    All of it is what a second item adds to the first: what is done once a batch, such as norming weights, is left
    out. Memory is that of a processor's kernels, whose attention keeps no table of scores.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode  # half a second, which only those who count wait for

    shape = tuple(net.shape if shape is None else shape)
    beside = [t for part in net.modules() for t in vars(part).values() if isinstance(t, Tensor)]  # that no cast moves
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        memo = {id(t): _hollow(t) for t in (*net.parameters(), *net.buffers(), *beside)}
    hollow = copy.deepcopy(net, memo).train()
    with mode:
        (work, kept), (work2, kept2) = (_passed(hollow, shape, items) for items in (1, 2))
    return Cost(net.parameter_count(), work2 - work, kept2 - kept)


def _hollow(t: Tensor) -> Tensor:
    """A tensor like t, but float32 and on the host, for a pass that has no numbers."""
    empty = torch.empty(t.shape, dtype=torch.float32 if t.is_floating_point() else t.dtype)
    return nn.Parameter(empty, t.requires_grad) if isinstance(t, nn.Parameter) else empty


def _passed(net: Net, shape: tuple[int, ...], items: int) -> tuple[int, int]:
    """Multiply–adds of a pass of so many items, and the bytes it keeps."""
    kept: dict[int, Tensor] = {}

    def keep(t: Tensor) -> Tensor:
        kept.setdefault(t.untyped_storage()._cdata, t)  # pyright: ignore[reportPrivateUsage]
        return t

    cond: Cond = {"label": torch.zeros(items, dtype=torch.int64)} if net.classes else {}
    fused: dict[Any, Any] = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}
    with (
        FlopCounterMode(display=False, custom_mapping=fused) as counter,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t),
    ):
        net(torch.empty(items, *shape), torch.empty(items), cond)
    return counter.get_total_flops() // 2, sum(t.untyped_storage().nbytes() for t in kept.values())


def _attention(queries: Sequence[int], keys: Sequence[int], values: Sequence[int], *_: Any, **__: Any) -> int:
    """Two operations for each multiply–add of q·kᵀ and of the scores times v, from the shapes."""
    return 2 * prod(queries[:-1]) * keys[-2] * (queries[-1] + values[-1])


__all__ = ["Cost", "count"]
