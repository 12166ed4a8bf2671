"""How data is destroyed."""

from unnoise.process import schedules
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level
from unnoise.process.schedules import SCHEDULES, Schedule

__all__ = ["SCHEDULES", "Gaussian", "Level", "Schedule", "schedules"]
