"""DINOv2 and CLIP as features of pictures, through `transformers`, from a folder or by a hub's name when asked.

Trained without labels (or on captions), they follow what people call realistic more closely than Inception does:
Stein et al., Exposing flaws of generative model evaluation metrics (2023), for DINOv2; Jayasumana et al., Rethinking
FID (2024), for CLIP.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from unnoise.config import UserError
from unnoise.metrics.resizing import Levels, as_bytes, bicubic
from unnoise.metrics.weights import digest_of

BATCH = 32


@dataclass(frozen=True)
class Kind:
    """How a network of `transformers` is read: its class, what of its answer, at what size, by which colours.

    side 0: the size it was trained at, as its configuration says. mean, deviation: of each channel in 0 .. 1.
    """

    model: str
    answer: str
    side: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    example: str


KINDS = {
    # The class token after the last normalisation; 224 × 224, as the Fréchet distance on DINOv2 was published.
    "dinov2": Kind(
        "Dinov2Model", "pooler_output", 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "facebook/dinov2-large"
    ),
    # The embedding that captions are compared with, 336 × 336 where CMMD was published.
    "clip": Kind(
        "CLIPVisionModelWithProjection",
        "image_embeds",
        0,
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
        "openai/clip-vit-large-patch14-336",
    ),
}


class Embedder:
    """Numbers (N, F) of raw pictures (N, 1 or 3, H, W): resized as a whole by a cubic that does not alias."""

    def __init__(self, net: torch.nn.Module, kind: str, levels: Levels = None, device: str = "cpu") -> None:
        self.name, self.digest, self.kind = kind, digest_of(net), KINDS[kind]
        self.net = net.to(torch.device(device)).eval().requires_grad_(False)
        self.levels, self.device = levels, torch.device(device)
        configuration: Any = net.config
        self.side = self.kind.side or int(configuration.image_size)

    @torch.no_grad()
    def features(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """(N, F)."""
        pictures, parts = as_bytes(raw, self.levels), list[npt.NDArray[np.float32]]()
        mean, deviation = (
            np.array(values, np.float32)[:, None, None] for values in (self.kind.mean, self.kind.deviation)
        )
        for first in range(0, len(pictures), BATCH):
            x = (bicubic(pictures[first : first + BATCH], self.side, self.side) / 255 - mean) / deviation
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                told: Any = self.net(pixel_values=torch.from_numpy(x).to(self.device))
            parts.append(getattr(told, self.kind.answer).float().cpu().numpy())
        return np.concatenate(parts)


def opened(kind: str, where: str, levels: Levels = None, device: str = "cpu", download: bool = False) -> Embedder:
    """From a folder with config.json and safetensors weights, or, where `download` asks for it, by a hub's name."""
    try:
        import transformers  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(
            f"{kind} is read with transformers, which is not here: pip install 'unnoise[transformers]'"
        ) from None
    if not Path(where).is_dir() and not download:
        example = KINDS[kind].example
        raise UserError(f"there is no folder '{where}' with {kind}: save {example} there, or name it with --download")
    model: Any = getattr(transformers, KINDS[kind].model)
    try:
        # Safetensors alone: the other format of the hub is a pickle.
        net = model.from_pretrained(where, local_files_only=not download, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{where} holds no {kind} that can be read: {str(error).splitlines()[0]}") from None
    return Embedder(net, kind, levels, device)


__all__ = ["KINDS", "Embedder", "opened"]
