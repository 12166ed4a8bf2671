"""Held-out loss on the digits after 42,000 items, under AdamW as in the recipe and under Muon: python optimisers.py."""

import tempfile
from pathlib import Path
from typing import Any

import harness

import unnoise as un

WAYS = {
    "adamw": (),
    "muon": ("train.optimiser=muon", "train.lr=6.0e-3", "train.weight_decay=0.1"),
}


def main() -> None:
    harness.no_options(__doc__)
    figures: dict[str, Any] = {"machine": harness.machine(), "items": 42_000, "runs": []}
    for name, changes in WAYS.items():
        with tempfile.TemporaryDirectory() as place:
            run = un.fit(
                "digits",
                Path(place) / "run",
                *harness.FORMER_UNET,
                "train.items=42000",
                "train.validate_every=42000",
                *changes,
            )
            told = [record["held_out"] for record in run.history if "held_out" in record][-1]
        loss = next(iter(told.values()))["mean"]
        figures["runs"].append({"optimiser": name, "changes": list(changes), "held_out": loss})
        print(f"{name:8} held-out loss {loss:.4f}", flush=True)
        harness.save("optimisers", figures)


if __name__ == "__main__":
    main()
