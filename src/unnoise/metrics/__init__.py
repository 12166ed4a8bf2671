"""How good samples are, each number beside the one that real items reach."""

from unnoise.metrics.classifier import CLASSIFIERS, Classifier
from unnoise.metrics.distances import frechet, frechet_normal, sliced_wasserstein
from unnoise.metrics.following import Followed, Following, follow, following
from unnoise.metrics.images import psnr, ssim
from unnoise.metrics.kernels import cmmd, energy, kid, kid_subsets, mmd
from unnoise.metrics.lots import Features, stratified
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
from unnoise.metrics.protocol import Protocol, protocol
from unnoise.metrics.ridge import classifier_two_sample
from unnoise.metrics.rules import MEASURES, Rule
from unnoise.metrics.scores import inception_score, mean_distance, vendi
from unnoise.metrics.statistics import Statistics
from unnoise.metrics.transport import wasserstein

__all__ = [
    "CLASSIFIERS",
    "MEASURES",
    "Classifier",
    "Features",
    "Followed",
    "Following",
    "Measure",
    "Protocol",
    "Rule",
    "Statistics",
    "classifier_two_sample",
    "cmmd",
    "copy_threshold",
    "coverage",
    "density",
    "energy",
    "follow",
    "following",
    "frechet",
    "frechet_normal",
    "inception_score",
    "kid",
    "kid_subsets",
    "match",
    "mean_distance",
    "mmd",
    "near_copies",
    "nearest",
    "nearest_within",
    "precision",
    "protocol",
    "psnr",
    "recall",
    "sliced_wasserstein",
    "ssim",
    "stratified",
    "two_sample",
    "vendi",
    "wasserstein",
]
