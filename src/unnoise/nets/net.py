"""What a network is here: (x, noise level, conditions) in, an answer shaped like x out, and no state."""

from collections.abc import Sequence

from torch import nn

from unnoise.tensor import Cond, Float, Tensor


class Net(nn.Module):
    """A network of items of one shape.

    shape: of one encoded item, without the batch, such as (1, 8, 8) or (2,). A field may be of another size
    where the network is convolutional; its channels stay. classes: how many labels; label `classes` is the
    null, and stands wherever cond has no "label".

    Every network starts at the answer 0: its last layer is zero. `ends` names the parts that touch the data.
    """

    ends: tuple[str, ...] = ("first", "last")

    def __init__(self, shape: Sequence[int], classes: int = 0):
        super().__init__()
        if not shape or min(shape) < 1:
            raise ValueError(f"a network needs the shape of an item, such as (1, 8, 8), got {tuple(shape)}")
        if classes < 0:
            raise ValueError(f"classes counts the labels: expected 0 or more, got {classes}")
        self.shape = tuple(shape)
        self.classes = classes

    def forward(
        self, x: Float[Tensor, "B C *sizes"], noise_level: Float[Tensor, "B"], cond: Cond
    ) -> Float[Tensor, "B C *sizes"]:
        """The answer to x (B, *shape), heard with its noise level (B,) = log(sigma/alpha) in [−12, 12].

        cond: leaves (B, ...), of which every network knows "label", int64 (B,) in 0..classes, and "augment",
        (B, augment), what training did to the item; left out, nothing was.
        """
        raise NotImplementedError

    def parameter_count(self) -> int:
        """How many numbers training moves."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


__all__ = ["Net"]
