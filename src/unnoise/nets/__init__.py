"""Networks: (x, noise level, conditions) → an answer shaped like x. One line in NETS adds one."""

from unnoise.nets.attention import Source
from unnoise.nets.mlp import MLP
from unnoise.nets.net import Net
from unnoise.nets.unet import PRESETS, UNet

NETS: dict[str, type[Net]] = {
    "mlp": MLP,
    "unet": UNet,
}

__all__ = ["MLP", "NETS", "PRESETS", "Net", "Source", "UNet"]
