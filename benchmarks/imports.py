"""Start-up: `import unnoise` and the whole face of it, against `import torch` alone."""

import statistics
import subprocess
import sys
from typing import Any

import harness

FACE = "un.plan, un.Gaussian, un.denoiser, un.sample, un.generate, un.open, un.schedules, un.exact, un.Engine"
SCRIPTS = {
    "torch": "import torch",
    "unnoise": "import unnoise",
    "unnoise, every name used": f"import unnoise as un; {FACE}",
    "unnoise --help": "import sys; sys.argv = ['unnoise', '--help']; from unnoise.cli import main; main()",
    "unnoise recipes": "import sys; sys.argv = ['unnoise', 'recipes']; from unnoise.cli import main; main()",
}


def start(script: str) -> None:
    subprocess.run([sys.executable, "-c", script], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    harness.no_options(__doc__)
    seconds = harness.alternate({name: lambda s=script: start(s) for name, script in SCRIPTS.items()}, repeats=9)
    figures: dict[str, Any] = {"machine": harness.machine(), "seconds": {}, "torch over": {}}
    for name, times in seconds.items():
        figures["seconds"][name] = {"median": statistics.median(times), "least": min(times), "largest": max(times)}
        figures["torch over"][name] = harness.ratio(times, seconds["torch"])
        print(f"{name:28} {statistics.median(times):.2f} s  ({min(times):.2f} .. {max(times):.2f})")
    harness.save("imports", figures)


if __name__ == "__main__":
    main()
