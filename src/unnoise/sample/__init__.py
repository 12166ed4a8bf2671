"""Samplers as tables: how to walk back from noise."""

from unnoise.sample.grid import GRIDS
from unnoise.sample.plan import Plan
from unnoise.sample.samplers import SAMPLERS, Sampler, plan

__all__ = ["GRIDS", "SAMPLERS", "Plan", "Sampler", "plan"]
