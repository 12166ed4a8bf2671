"""FEATURES: every view of items that measures can be read on, by its name, and how a person names one.

A name alone, or a name and where its weights lie: classifier, inception:weights.pth, dinov2:FOLDER. None is fetched
from anywhere unless that is asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass

from unnoise.config import UserError, choose
from unnoise.data import Source
from unnoise.metrics import embedders, judge, lpips
from unnoise.metrics.classifier import CLASSIFIERS
from unnoise.metrics.inception import WEIGHTS, Inception, InceptionNet
from unnoise.metrics.lots import Features
from unnoise.metrics.resizing import Levels
from unnoise.metrics.weights import Published, downloaded, fit, read


@dataclass(frozen=True)
class Asked:
    """What is known where features are made: the name, the path given with it, the data they will read.

    source: whose labels a classifier is trained on. levels: black and full in its raw pictures, None where unknown.
    download: whether weights that are not here may be fetched.
    """

    name: str
    path: str | None = None
    device: str = "cpu"
    source: Source | None = None
    levels: Levels = None
    download: bool = False

    def weights(self, *published: Published) -> list[str]:
        """The path given, or those of the published files where they were fetched already or may be now."""
        if self.path is not None:
            return [self.path]
        missing = [one for one in published if not one.kept.exists()]
        if missing and not self.download:
            raise UserError(
                f"{self.name} takes weights: give their path ({self.name}:{missing[0].name}), or ask for them to be "
                "fetched (--download)"
            )
        return [str(downloaded(one)) for one in published]


def _inception(asked: Asked, resizing: str) -> Features:
    (path,) = asked.weights(WEIGHTS)
    net = fit(InceptionNet(), read(path, (WEIGHTS,)), path)
    return Inception(net, resizing, asked.levels, asked.device)


def _embedder(asked: Asked) -> Features:
    where = asked.path or (embedders.KINDS[asked.name].example if asked.download else "")
    return embedders.opened(asked.name, where, asked.levels, asked.device, asked.download)


def _lpips(asked: Asked, trunk: str) -> Features:
    if asked.path is not None:
        return lpips.opened(asked.path, trunk, asked.levels, asked.device)
    published = lpips.PUBLISHED[trunk]
    held = {name: tensor for path in asked.weights(*published) for name, tensor in read(path, published).items()}
    net = lpips.LPIPSNet(trunk)
    fit(net, held, f"lpips-{trunk}")
    return lpips.LPIPS(net, f"lpips-{trunk}", asked.levels, asked.device)


def _classifier(asked: Asked) -> Features:
    if asked.path is not None:
        return judge.opened(asked.path, asked.device)
    if asked.source is None:
        raise UserError("the features 'classifier' belong to labelled data: give the file of one (classifier:PATH)")
    stored = CLASSIFIERS.get(asked.source.name)
    return judge.judge_of(asked.source, asked.device) if stored is None else stored()


Maker = Callable[[Asked], Features]

FEATURES: dict[str, Maker] = {
    "classifier": _classifier,
    "inception": lambda asked: _inception(asked, "tensorflow"),
    "inception-pytorch-fid": lambda asked: _inception(asked, "torch"),
    "inception-clean": lambda asked: _inception(asked, "clean"),
    "dinov2": _embedder,
    "clip": _embedder,
    "lpips": lambda asked: _lpips(asked, "alex"),
    "lpips-vgg": lambda asked: _lpips(asked, "vgg"),
}


def features_of(
    spec: str,
    device: str = "cpu",
    download: bool = False,
    source: Source | None = None,
    levels: Levels = None,
) -> Features:
    """The features of "name" or "name:PATH".

    source: whose labels `classifier` is trained on; levels: what is black and what is full in raw pictures;
    None: nobody knows, so that they are bytes.
    """
    name, colon, path = spec.partition(":")
    choose("kind of features", name, FEATURES)
    if colon and not path:
        raise UserError(f"after the colon of '{spec}' stands where the weights lie")
    return FEATURES[name](Asked(name, path or None, str(device), source, levels, download))


__all__ = ["FEATURES", "Asked", "features_of"]
