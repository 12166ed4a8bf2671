"""How a network learns: levels, objective, averages, the loop, and what it leaves on the disk."""

from unnoise.train import aims, checkpoint, history, once, posthoc
from unnoise.train.aims import AIMS, Aim
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
from unnoise.train.objective import AtLevels, Loss, Objective, Regression
from unnoise.train.order import Feed, Shuffled
from unnoise.train.trainer import Diverged, Tick, Trainer
from unnoise.train.vae import VAE
from unnoise.train.weights import WEIGHTS, Weight

OBJECTIVES: dict[str, type[Objective]] = {
    "regression": Regression,
    "bound": Bound,
    "gan": GAN,
    "vae": VAE,
    "classifier": Classification,
}

__all__ = [
    "AIMS",
    "GAN",
    "LEVELS",
    "OBJECTIVES",
    "VAE",
    "WEIGHTS",
    "Aim",
    "AtLevels",
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
    "Tick",
    "TrainConfig",
    "Trainer",
    "Weight",
    "aims",
    "checkpoint",
    "feed",
    "fit",
    "history",
    "lock",
    "once",
    "posthoc",
]
