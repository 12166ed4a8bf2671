"""AdamW over one vector of weights, Muon beside it where asked; clipping, and refusal of what is not finite."""

import torch
from torch import nn

from unnoise.tensor import Float, Tensor
from unnoise.train.config import TrainConfig
from unnoise.train.flat import Flat, fit
from unnoise.train.muon import Muon

MOMENTS = ("exp_avg", "exp_avg_sq")  # torch's names of AdamW's memories
PLAIN = ("mps",)  # devices whose fused kernel does not exist (torch 2.4) or reads neither the flag nor the factor


class Optimiser:
    """AdamW (Loshchilov & Hutter, 2019), fused where it can be: one pass over the weights clips, decays and steps.

    config.optimiser "muon": the matrices inside the network take Muon's steps instead, at the same rate.
    """

    def __init__(self, flat: Flat, config: TrainConfig):
        self._flat, self._clip = flat, config.clip
        self._muon: Muon | None = None
        first = 0
        if config.optimiser == "muon" and flat.inside:
            views, first = flat.named(flat.vector), flat.inner
            inside = {name: views[name] for name in flat.inside}
            dtype = getattr(torch, config.precision)
            self._muon = Muon(inside, config.momentum, config.weight_decay, dtype)
        self._grad = torch.zeros_like(flat.vector)
        self._fused = flat.vector.device.type not in PLAIN
        groups: list[dict[str, object]] = []
        for part, decay in ((slice(first, flat.decayed), config.weight_decay), (slice(flat.decayed, None), 0.0)):
            if flat.vector[part].numel():
                weights = nn.Parameter(flat.vector[part])
                weights.grad = self._grad[part]
                groups.append({"params": [weights], "weight_decay": decay})
        self._adamw = torch.optim.AdamW(groups, config.lr, config.betas, config.epsilon, fused=self._fused)
        for weights in self._weights():  # as torch lays them down at the first step, so that they can be loaded
            self._adamw.state[weights] = {
                "step": torch.zeros((), device=weights.device if self._fused else "cpu"),
                **{moment: torch.zeros_like(weights) for moment in MOMENTS},
            }

    @torch.no_grad()
    def step(self, lr: float) -> Float[Tensor, ""]:
        """One step with the parameters' gradients; returns their norm before clipping, on the device.

        A norm that is not finite leaves weights, moments and step count as they are, without a look from the
        host: the fused kernel reads the flag and the factor itself, as it does for torch's gradient scaler. Where
        the step is a plain one, the host looks.
        """
        self._flat.gather(self._grad)
        norm = torch.linalg.vector_norm(self._grad)
        factor = (norm / self._clip).clamp(min=1.0).float() if self._clip else None
        if self._muon is not None:
            self._muon.step(self._flat.named(self._grad), lr, norm.isfinite(), factor)
        if self._fused:
            self._adamw.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
            if factor is not None:
                self._adamw.grad_scale = factor  # type: ignore[attr-defined]
        elif not bool(norm.isfinite()):
            return norm
        elif factor is not None:
            self._grad.div_(factor)
        for group in self._adamw.param_groups:
            group["lr"] = lr
        self._adamw.step()
        return norm

    def tensors(self) -> dict[str, Tensor]:
        """Its memory by name: the step count, and for each parameter both moments, or Muon's momentum."""
        named = {"step": self._state("step")[0], **{f"momentum.{k}": v for k, v in self._momenta().items()}}
        for moment in MOMENTS:
            for name, view in self._named(moment).items():
                named[f"{moment}.{name}"] = view
        return named

    def load(self, tensors: dict[str, Tensor], where: object) -> None:
        """Takes up a memory that `tensors` gave."""
        for count in self._state("step"):
            fit({"step": count}, {k: v for k, v in tensors.items() if k == "step"}, where)
        for moment, views in (("momentum", self._momenta()), *((m, self._named(m)) for m in MOMENTS)):
            fit(
                views,
                {k.removeprefix(f"{moment}."): v for k, v in tensors.items() if k.startswith(f"{moment}.")},
                where,
            )

    def _momenta(self) -> dict[str, Tensor]:
        return self._muon.memory() if self._muon is not None else {}

    def _named(self, moment: str) -> dict[str, Tensor]:
        """Views of AdamW's memory, of each weight that it moves."""
        moved = [(name, p) for name, p in self._flat.parameters.items() if name not in self._momenta()]
        places: dict[str, Tensor] = {}
        for state in self._state(moment):
            first = 0
            while first < len(state):
                name, p = moved.pop(0)
                places[name] = state[first : first + p.numel()].view(p.shape)
                first += p.numel()
        return places

    def _weights(self) -> list[nn.Parameter]:
        return [weights for group in self._adamw.param_groups for weights in group["params"]]

    def _state(self, name: str) -> list[Tensor]:
        return [self._adamw.state[weights][name] for weights in self._weights()]


__all__ = ["Optimiser"]
