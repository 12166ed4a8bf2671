"""Fewer questions for a trained model: plans tuned to it."""

from unnoise.distill.head import Head, Law
from unnoise.distill.subject import Subject
from unnoise.distill.tune import Told, Tuned, Tuning, tune

__all__ = ["Head", "Law", "Subject", "Told", "Tuned", "Tuning", "tune"]
