"""How good samples are, each number beside the one that real items reach."""

from unnoise.metrics.classifier import CLASSIFIERS, Classifier
from unnoise.metrics.distances import frechet, frechet_normal, sliced_wasserstein
from unnoise.metrics.measure import Measure
from unnoise.metrics.neighbours import (
    copy_threshold,
    coverage,
    density,
    match,
    near_copies,
    nearest,
    nearest_within,
    precision,
    recall,
    two_sample,
)
from unnoise.metrics.protocol import Protocol, protocol, stratified

__all__ = [
    "CLASSIFIERS",
    "Classifier",
    "Measure",
    "Protocol",
    "copy_threshold",
    "coverage",
    "density",
    "frechet",
    "frechet_normal",
    "match",
    "near_copies",
    "nearest",
    "nearest_within",
    "precision",
    "protocol",
    "recall",
    "sliced_wasserstein",
    "stratified",
    "two_sample",
]
