"""Muon: momentum whose matrices are made orthogonal, so that every direction of a layer learns at one pace."""

from collections.abc import Mapping

import torch

from unnoise.tensor import Float, Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)  # pulls singular values from 0.003 .. 1 to 0.7 .. 1.2 in five rounds
ROUNDS = 5
RMS = 0.2  # of AdamW's steps, about: one learning rate then serves both


def orthogonal(m: Float[Tensor, "K rows columns"], rounds: int = ROUNDS) -> Float[Tensor, "K rows columns"]:
    """U·Vᵀ of each m = U·S·Vᵀ, nearly: S is replaced by numbers near 1, by products alone.

    m is divided by its norm, and (a·X + b·XXᵀX + c·(XXᵀ)²X) taken `rounds` times (Jordan et al., Muon: an optimizer
    for the hidden layers of neural networks, 2024). A matrix of zeros stays one.
    """
    a, b, c = QUINTIC
    tall = m.shape[-2] > m.shape[-1]
    x = m.mT if tall else m
    x = x / (torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True) + 1e-12)
    for _ in range(rounds):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon:
    """M ← μ·M + (1 − μ)·G;  W ← W − lr·(decay·W + 0.2·√max(rows, columns)·orthogonal(μ·M + (1 − μ)·G)).

    (Jordan et al., 2024, with Nesterov's look ahead; the factor is Liu et al.'s, Muon is scalable for LLM training,
    2025, Eq. 4.) A kernel (out, in, ..) is the matrix (out, in·..). Matrices of one shape are one product.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], momentum: float, decay: float, dtype: torch.dtype = torch.float32
    ):
        """weights: views of the weights, by name, each with two axes or more. dtype: of the products, which bfloat16
        serves as well: what it rounds is far below the 0.7 to 1.2 that they leave."""
        self._momentum, self._decay, self._dtype = momentum, decay, dtype
        shaped: dict[tuple[int, int], list[str]] = {}
        for name, weight in weights.items():
            shaped.setdefault((weight.shape[0], weight[0].numel()), []).append(name)
        self._groups = [(names, [weights[n].view(shape) for n in names]) for shape, names in shaped.items()]
        self._memories = [torch.stack(group).zero_() for _, group in self._groups]
        self._shapes = {name: weight.shape for name, weight in weights.items()}

    @torch.no_grad()
    def step(self, grads: Mapping[str, Tensor], lr: float, fine: Tensor, factor: Tensor | None) -> None:
        """One step. fine: where it is False, nothing changes (no look from the host); factor: divides the gradients."""
        for (names, weights), memory in zip(self._groups, self._memories, strict=True):
            g = torch.stack([grads[name].view(weights[0].shape) for name in names])
            g = torch.where(fine, g if factor is None else g / factor, memory)
            memory.lerp_(g, 1 - self._momentum)
            step = orthogonal(torch.lerp(g, memory, self._momentum).to(self._dtype)).to(g.dtype)
            step = step * (lr * RMS * max(weights[0].shape) ** 0.5 * fine)
            for weight, change in zip(weights, step, strict=True):
                if self._decay:
                    weight.sub_(weight * (lr * self._decay * fine))
                weight.sub_(change)

    def memory(self) -> dict[str, Tensor]:
        """The momentum of each weight, in its shape: views, which may be written to."""
        return {
            name: part.view(self._shapes[name])
            for (names, _), memory in zip(self._groups, self._memories, strict=True)
            for name, part in zip(names, memory, strict=True)
        }


__all__ = ["Muon", "orthogonal"]
