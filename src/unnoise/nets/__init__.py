"""Networks: (x, noise level, conditions) → an answer shaped like x. One line in NETS adds one."""

from unnoise.nets.attention import Source
from unnoise.nets.cost import Cost, count
from unnoise.nets.dit import DiT
from unnoise.nets.mlp import MLP
from unnoise.nets.net import Net
from unnoise.nets.presets import Presets
from unnoise.nets.resnet import ResNet
from unnoise.nets.unet import UNet

NETS: dict[str, type[Net]] = {
    "mlp": MLP,
    "unet": UNet,
    "resnet": ResNet,
    "dit": DiT,
}
PRESETS: dict[str, Presets] = {kind: made.presets for kind, made in NETS.items()}

__all__ = ["MLP", "NETS", "PRESETS", "Cost", "DiT", "Net", "ResNet", "Source", "UNet", "count"]
