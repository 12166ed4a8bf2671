"""unnoise: diffusion models end to end, from your own data to a trained, measured and sampled model.

Everything here is imported when it is first used: `import unnoise` itself imports nothing heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# name → module, or module:attribute where the two differ
_FACE = {
    "CFG": "unnoise.guide.cfg",
    "Engine": "unnoise.loop.engine",
    "Gaussian": "unnoise.process.gaussian",
    "Job": "unnoise.loop.engine",
    "Plan": "unnoise.samplers.plan",
    "Run": "unnoise.run",
    "Training": "unnoise.training",
    "between": "unnoise.process.between",
    "compare": "unnoise.comparison.compare",
    "denoiser": "unnoise.denoise.denoiser",
    "exact": "unnoise.denoise.exact:",
    "flow": "unnoise.loop.adaptive",
    "generate": "unnoise.loop.generate",
    "guide": "unnoise.guide:",
    "infer": "unnoise.advise.propose",
    "invert": "unnoise.loop.inversion",
    "nets": "unnoise.nets:",
    "fit": "unnoise.training",
    "open": "unnoise.run",
    "plan": "unnoise.samplers.table",
    "sample": "unnoise.loop.generate",
    "schedules": "unnoise.process.schedules:",
    "tune": "unnoise.tuning",
}

if TYPE_CHECKING:
    from unnoise import guide as guide
    from unnoise import nets as nets
    from unnoise.advise.propose import infer as infer
    from unnoise.comparison.compare import compare as compare
    from unnoise.denoise import exact as exact
    from unnoise.denoise.denoiser import denoiser as denoiser
    from unnoise.guide.cfg import CFG as CFG
    from unnoise.loop.adaptive import flow as flow
    from unnoise.loop.engine import Engine as Engine
    from unnoise.loop.engine import Job as Job
    from unnoise.loop.generate import generate as generate
    from unnoise.loop.generate import sample as sample
    from unnoise.loop.inversion import invert as invert
    from unnoise.process import schedules as schedules
    from unnoise.process.between import between as between
    from unnoise.process.gaussian import Gaussian as Gaussian
    from unnoise.run import Run as Run
    from unnoise.run import open as open
    from unnoise.samplers.plan import Plan as Plan
    from unnoise.samplers.table import plan as plan
    from unnoise.training import Training as Training
    from unnoise.training import fit as fit
    from unnoise.tuning import tune as tune


def __getattr__(name: str) -> Any:
    if name not in _FACE:
        raise AttributeError(f"module 'unnoise' has no attribute '{name}'")
    place = _FACE[name]
    value = import_module(place[:-1]) if place.endswith(":") else getattr(import_module(place), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_FACE])
