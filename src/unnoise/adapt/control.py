"""Control: a trained copy of a frozen network's way down, which sees a picture and adds to the original's joints."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from unnoise.adapt.part import Brought, Part, Shows
from unnoise.conditions import Picture
from unnoise.conditions.hints import HINTS
from unnoise.config import UserError, nearest
from unnoise.nets import DiT, Net, UNet
from unnoise.nets.cells import cells
from unnoise.nets.layers import convolution, zero
from unnoise.tensor import Cond, Float, Tensor, align

FIRST, LAST = -12.0, 12.0  # noise levels that a network hears


class Control(Part):
    """base + strength·(what the branch adds), a residual at every joint  (Zhang et al., ControlNet, 2023, Eq. 2 to 4).

    The branch is the base's embedding, way down and middle (of a transformer, its first `depth` blocks), which begin
    with its weights. It hears what the base hears and sees a hint at its entrance; every joint is a pointwise layer of
    zeros, so that at the start nothing changes. of, factor: how the hint is made of an item (see
    `conditions.Picture`); "data": cond[leaf], `channels` of them, as the data give it.

    cond["hint:<name>"] (B, count + 1, *sizes), the last channel 1 where a hint is given; without it the branch rests.
    cond["control:<name>"] (B,): strengths; cond["levels:<name>"] (B, 2): from which to which noise level
    log(sigma/alpha) it acts on an item.
    """

    kind: ClassVar[str] = "control"

    def __init__(
        self,
        base: Net,
        of: str = "outline",
        factor: int = 4,
        leaf: str = "hint",
        channels: int = 1,
        width: int = 16,
        depth: int | None = None,
    ):
        super().__init__()
        if not isinstance(base, (UNet, DiT)):
            raise UserError(f"a control branch is for a U-Net or a transformer, got a network {type(base).__name__}")
        if of not in (known := [*HINTS, "data"]):
            raise UserError(f"no hint is called '{of}'; {nearest(of, known)}")
        if min(width, channels) < 1 or (depth is not None and depth < 1):
            raise UserError(
                f"width, channels and depth of a control branch are 1 or more, got {width}, {channels}, {depth}"
            )
        self.of, self.factor, self.leaf, self.channels, self.width, self.depth = (
            of,
            factor,
            leaf,
            channels,
            width,
            depth,
        )
        self.told = Picture(of=of, factor=factor).told("hint", {"channels": channels}, base.shape)  # pyright: ignore
        dims, count = len(base.shape) - 1, self.told.count + 1
        self.branch = _branch(base, depth)
        widths, tokens = _widths(self.branch), isinstance(base, DiT)
        self.eye = nn.Sequential(convolution(dims, count, width), nn.SiLU(), convolution(dims, width, width), nn.SiLU())
        self.enter = (
            zero(nn.Linear(width * base.patch**dims, widths[0]))
            if isinstance(base, DiT)
            else zero(convolution(dims, width, widths[0]))
        )
        joints = [zero(nn.Linear(w, w) if tokens else convolution(dims, w, w, kernel=1)) for w in widths]
        self.joints = nn.ModuleList(joints)

    @property
    def settings(self) -> Mapping[str, Any]:
        names = ("of", "factor", "leaf", "channels", "width", "depth")
        return {name: getattr(self, name) for name in names}

    @property
    def shows(self) -> Mapping[str, Shows]:
        return {} if self.of == "data" else {"hint": self.told}

    def read(self, given: Any, modality: Any) -> Tensor:
        told = self.told.within(modality)
        each = [given] if told.single(given) else list(given)
        return torch.from_numpy(np.stack([told.make(one) for one in each]))

    def check(self, leaf: Tensor, sizes: Sequence[int], name: str) -> None:
        if leaf.shape[1:] != (self.told.count + 1, *sizes):
            raise UserError(
                f"'{name}' is controlled by {self.told.count + 1} channels of {tuple(sizes)} (the last one says "
                f"where they are given), got the shape {tuple(leaf.shape[1:])}"
            )

    def begin(self, base: Net) -> None:
        own, given = self.branch.state_dict(), base.state_dict()
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(given[name])

    def bring(
        self, base: Net, x: Float[Tensor, "B C *sizes"], noise_level: Float[Tensor, "B"], cond: Cond, name: str
    ) -> Brought:
        hint = cond.get(f"hint:{name}")
        if hint is None and self.of == "data" and self.leaf in cond:
            given = cond[self.leaf]
            given = given if given.is_floating_point() else given / 127.5 - 1.0
            hint = torch.cat((given, torch.ones_like(given[:, :1])), dim=1)
        if hint is None:
            return Brought()
        self.check(hint, x.shape[2:], name)
        strength = cond[f"{self.kind}:{name}"].to(x.dtype).expand(len(x))
        levels = cond.get(f"levels:{name}")
        if levels is not None:
            acts = (levels[:, 0] <= noise_level) & (noise_level <= levels[:, 1])
            strength = strength * acts.to(x.dtype)
        plain = {key: leaf for key, leaf in cond.items() if ":" not in key}
        answers = self._walk(x, noise_level, plain, self.eye(hint.to(x.dtype)))
        added = [joint(answer) for joint, answer in zip(self.joints, answers, strict=True)]
        return Brought(residuals=[answer * align(strength, answer).to(answer.dtype) for answer in added])

    def _walk(self, x: Tensor, noise_level: Tensor, cond: Cond, eye: Tensor) -> list[Tensor]:
        """What stands at every joint of the branch."""
        branch = self.branch
        if isinstance(branch, UNet):
            context = branch.embed(noise_level, cond)
            h = branch.joined(x, cond).to(next(branch.first.parameters()).dtype)
            skips = branch.down(h, context, self.enter(eye))
            return [*skips, branch.mid(skips[-1], context)]
        assert isinstance(branch, DiT)
        h, pass_ = branch.enter(x, noise_level, cond)
        h = h + self.enter(cells(eye, branch.patch).flatten(2).transpose(1, 2))
        answers: list[Tensor] = []
        for i in range(len(branch.blocks)):
            h = branch.step(i, h, pass_)
            answers.append(h)
        return answers


def _branch(base: Net, depth: int | None) -> Net:
    """A copy of what goes down, to be trained."""
    made = deepcopy(base)
    for part in made.modules():
        part.__dict__["_forward_hooks"].clear()
    if isinstance(made, UNet):
        made.decoder, made.norm, made.last = nn.ModuleList(), None, nn.Identity()
    elif isinstance(made, DiT):
        count = len(made.blocks)
        kept = count // 2 or 1 if depth is None else depth
        if kept > count:
            raise UserError(f"the base has {count} blocks, and the control branch was to copy {kept}")
        made.blocks = made.blocks[:kept]
    return made.requires_grad_(True)


def _widths(branch: Net) -> list[int]:
    """The channels at each joint."""
    if isinstance(branch, DiT):
        return [branch.attention_widths[0]] * len(branch.blocks)
    assert isinstance(branch, UNet)
    was = branch.training
    field = torch.zeros(1, *branch.shape)
    with torch.no_grad():
        branch.eval()
        context = branch.embed(torch.zeros(1), {})
        skips = branch.down(branch.joined(field, {}).to(next(branch.first.parameters()).dtype), context)
    branch.train(was)
    return [skip.shape[1] for skip in (*skips, skips[-1])]


__all__ = ["Control"]
