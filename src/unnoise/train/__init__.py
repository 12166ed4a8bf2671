"""How a network learns: levels, objective, averages, the loop, and what it leaves on the disk."""

from unnoise.train import checkpoint, history, once, posthoc, stable
from unnoise.train.augmented import Augmented, Shown
from unnoise.train.bound import Bound
from unnoise.train.buckets import Bucketed, feed
from unnoise.train.checkpoint import Checkpoint
from unnoise.train.config import TrainConfig
from unnoise.train.draws import Draws
from unnoise.train.ema import Averages, Power
from unnoise.train.flat import fit
from unnoise.train.gan import GAN
from unnoise.train.held_out import ByLevel, HeldOut
from unnoise.train.labels import Classification
from unnoise.train.levels import LEVELS, Levels
from unnoise.train.loader import Loader
from unnoise.train.lock import lock
from unnoise.train.objective import Loss, Objective, Regression
from unnoise.train.order import Feed, Shuffled
from unnoise.train.stable import Stable
from unnoise.train.trainer import Diverged, Tick, Trainer
from unnoise.train.vae import VAE
from unnoise.train.weights import WEIGHTS, Weight

OBJECTIVES: dict[str, type[Objective]] = {
    "regression": Regression,
    "stable": Stable,
    "bound": Bound,
    "gan": GAN,
    "vae": VAE,
    "classifier": Classification,
}

__all__ = [
    "GAN",
    "LEVELS",
    "OBJECTIVES",
    "VAE",
    "WEIGHTS",
    "Augmented",
    "Averages",
    "Bound",
    "Bucketed",
    "ByLevel",
    "Checkpoint",
    "Classification",
    "Diverged",
    "Draws",
    "Feed",
    "HeldOut",
    "Levels",
    "Loader",
    "Loss",
    "Objective",
    "Power",
    "Regression",
    "Shown",
    "Shuffled",
    "Stable",
    "Tick",
    "TrainConfig",
    "Trainer",
    "Weight",
    "checkpoint",
    "feed",
    "fit",
    "history",
    "lock",
    "once",
    "posthoc",
    "stable",
]
