"""What every benchmark shares: alternation, medians with spread, and JSON beside the script."""

import argparse
import json
import os
import platform
import statistics
import sys
import time
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
# The digits as they were when most figures of docs/ were taken (docs/recipes.md): all but the network, then all.
FORMER = (
    "data=digits",
    "modality={kind: image, high: 16, dequantise: true}",
    "objective={levels: {kind: log_normal, mean: -1.0, std: 1.2}}",
    "train={items: 128000, batch: 64, lr: 4.0e-3, betas: [0.9, 0.999], warmup: 2000}",
)
FORMER_UNET = (*FORMER, "net={kind: unet, widths: [32, 64], blocks: 1, embed_width: 64}")


def alternate(
    rivals: Mapping[str, Callable[[], Any]],
    repeats: int = 7,
    warm: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each rival, run in turn A, B, A, B ..: {name: [repeats]}.

    clock: `time.process_time` counts the processor's seconds alone, for what runs on one thread of a busy machine.
    """
    for _ in range(warm):
        for run in rivals.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(repeats):
        for name, run in rivals.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return seconds


def ratio(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """theirs/ours, pair by pair: above 1 we are faster. Median, least and largest."""
    pairs = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {"median": statistics.median(pairs), "least": min(pairs), "largest": max(pairs)}


def no_options(told: str | None) -> None:
    """`--help`, and nothing else, for a script that is only run."""
    argparse.ArgumentParser(description=told, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()


class _Stub(types.ModuleType):
    __path__: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        return type(name, (), {})


def stub(*names: str) -> None:
    """Stands in for modules that a rival imports and what is measured of it does not need."""
    for name in names:
        sys.modules.setdefault(name, _Stub(name))


def stub_unused() -> None:
    """What denoising-diffusion-pytorch's network and loss do not need."""
    stub("accelerate", "torchvision", "torchvision.transforms", "torchvision.utils")
    stub("pytorch_fid", "pytorch_fid.fid_score", "pytorch_fid.inception")


def machine() -> dict[str, Any]:
    """What figures depend on beside the code."""
    import torch

    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }


def save(name: str, figures: Any) -> None:
    """Writes results/<name>.json, beside and renamed."""
    RESULTS.mkdir(exist_ok=True)
    beside = RESULTS / f".{name}.new"
    beside.write_text(json.dumps(figures, indent=1) + "\n")
    beside.replace(RESULTS / f"{name}.json")
