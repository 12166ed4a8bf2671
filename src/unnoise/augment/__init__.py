"""What training shows beside the items themselves: augmentation, and what the network is told of it."""

from unnoise.augment.augment import Augment, Nothing
from unnoise.augment.warp import Mirror, Warp

AUGMENTS: dict[str, type[Augment]] = {"nothing": Nothing, "mirror": Mirror, "warp": Warp}

__all__ = ["AUGMENTS", "Augment", "Mirror", "Nothing", "Warp"]
