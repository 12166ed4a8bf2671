"""Samplers as tables: how to walk back from noise."""

from unnoise.samplers.grid import GRIDS
from unnoise.samplers.plan import Plan
from unnoise.samplers.table import SAMPLERS, Sampler, plan

__all__ = ["GRIDS", "SAMPLERS", "Plan", "Sampler", "plan"]
