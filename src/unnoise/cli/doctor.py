"""`unnoise doctor`: what this machine has, which settings are fast on it, and what slows it down."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unnoise.cli.options import Device, Json
from unnoise.cli.speak import say, tell

if TYPE_CHECKING:
    from unnoise.recipe import Recipe

ROUNDS = 3  # in which the settings take turns: a busy moment then strikes all of them
SECONDS = 0.12  # that one setting is measured in each round, a step at least
GAIN = 1.1  # below which a setting is no advice: steps differ by as much from one minute to the next
TIGHT = 2 << 30  # bytes of disk below which checkpoints may not fit
BATCHES = {"U-Net": (16, 64, 128), "perceptron": (256, 1024, 2048)}
SLOW = 1.0  # seconds of a step that is not asked for a second time
NODES: dict[str, dict[str, Any]] = {
    "U-Net": {
        "data": {"kind": "shapes", "side": 16, "items": 512, "held_out": 8},
        "modality": "image",
        "net": {"kind": "unet", "widths": [32, 64], "blocks": 1},
    },
    "perceptron": {
        "data": {"kind": "mixture", "items": 8192, "held_out": 8},
        "modality": "points",
        "net": {"kind": "mlp", "width": 256, "depth": 4},
    },
}


def doctor(
    runs: Annotated[Path, typer.Option(help="Where runs would stand.")] = Path("runs"),
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Say what this machine has and which settings are fast on it, measured in some ten seconds."""
    from dataclasses import asdict

    import torch

    from unnoise.advise import machine
    from unnoise.cli.asking import device as device_of

    here, where = machine.machine(), device_of(device)
    told: dict[str, Any] = {
        **asdict(here),
        "threads": torch.get_num_threads(),
        "omp_num_threads": _environment("OMP_NUM_THREADS"),
        "versions": machine.versions(),
        "workers": machine.workers(),
        "disk": machine.disk(runs),
        "busy": machine.others(),
        "device": where,
    }
    if not json:
        for line in facts(told):
            say(line)
        say("Measuring single training steps ...", beside=True)
    told["measured"] = measured(where, told["threads"])
    told["advice"] = advice(told, machine.unused_gpu())
    if json:
        tell(told)
        return
    say("")
    for line in table(told["measured"]):
        say(line)
    say("")
    for line in told["advice"]:
        say(line)


def facts(told: dict[str, Any]) -> list[str]:
    """What there is, a line each."""
    usable, cores, busy = told["usable"], told["cores"], told["busy"]
    lines = [
        f"processor  {told['processor']}, {cores} core{'s' * (cores > 1)}"
        + (f", {usable:g} of them ours" if usable < cores else "")
        + (", bfloat16 in hardware" if told["bfloat16"] else ""),
        f"threads    {told['threads']}"
        + (f" (OMP_NUM_THREADS={told['omp_num_threads']})" if told["omp_num_threads"] else ""),
        f"memory     {_bytes(told['memory'])}, {_bytes(told['free'])} free",
    ]
    for device in told["devices"]:
        memory = f", {_bytes(device['memory'])}" if device["memory"] else ""
        lines.append(f"{device['name']:<10} {device['called']}{memory}{', bfloat16' * device['bfloat16']}")
    if not told["devices"]:
        lines.append("devices    cpu alone")
    versions = {name: version for name, version in told["versions"].items() if version}
    lines += [
        f"disk       {_bytes(told['disk'])} free where runs go",
        f"workers    {told['workers']}",
        f"versions   {', '.join(f'{name} {version}' for name, version in versions.items())}",
    ]
    if busy is not None and busy >= 0.2:
        lines.append(f"others     keep {busy:.1f} core{'s' * (busy > 1)} busy")
    return lines


def measured(device: str, threads: int) -> list[dict[str, Any]]:
    """Items a second of each setting: precision, threads (on a processor), batch; the medians of rounds in turn."""
    import statistics

    import torch

    from unnoise.advise.cost import Probe

    lot: list[dict[str, Any]] = []
    for net, batches in BATCHES.items():
        middle = batches[1]
        settings = [("float32", middle, 1), ("bfloat16", middle, 1)]
        settings += [("float32", middle, threads)] * (device == "cpu" and threads > 1)
        settings += [("float32", batch, 1) for batch in batches if batch != middle]
        lot += [{"net": net, "precision": p, "batch": batch, "threads": n} for p, batch, n in settings]
    try:
        probes: list[Any] = []
        for setting in lot:
            torch.set_num_threads(setting["threads"])
            probes.append(Probe(_recipe(setting), device, warm=1))
        taken: list[list[float]] = [[] for _ in lot]
        for _ in range(ROUNDS):
            for setting, probe, seconds in zip(lot, probes, taken, strict=True):
                torch.set_num_threads(setting["threads"])
                spent = 0.0
                while spent < SECONDS and not (seconds and seconds[-1] > SLOW):
                    seconds.append(probe())
                    spent += seconds[-1]
    finally:
        torch.set_num_threads(threads)
    return [
        {**setting, "rate": setting["batch"] / statistics.median(seconds)}
        for setting, seconds in zip(lot, taken, strict=True)
    ]


def advice(told: dict[str, Any], unused_gpu: bool = False) -> list[str]:
    """Settings that are faster here than the defaults, and what is in the way; the plainest first."""
    lines: list[str] = []
    rows, busy = told["measured"], told["busy"] or 0.0
    crowded = busy >= max(0.5, 0.25 * told["usable"])
    if unused_gpu:
        lines.append("This machine has an NVIDIA GPU, but this torch was built without CUDA: install one that has it.")
    ratios = {net: _ratio(rows, net, "threads", 1, told["threads"]) for net in BATCHES}
    many = {net: ratio for net, ratio in ratios.items() if ratio}
    if told["device"] == "cpu" and many:
        words = _and([f"{ratio:.2g} for the {net}" for net, ratio in many.items()])
        if max(many.values()) < GAIN or (crowded and min(many.values()) < 1):
            why = f", since other processes keep {busy:.1f} cores busy" if crowded else ""
            lines.append(f"--threads 1: {told['threads']} threads bring a factor of {words}{why}.")
        else:
            lines.append(f"--threads {told['threads']}: a factor of {words} over one thread.")
    if crowded:
        lines.append(
            f"Other processes keep {busy:.1f} of {told['usable']:g} cores busy: times here are too long, and threads "
            "that wait for each other may take many times as long. Train when they are done, or with --threads 1."
        )
    gains = {net: _ratio(rows, net, "precision", "float32", "bfloat16") for net in BATCHES}
    best = {net: gain for net, gain in gains.items() if gain and gain >= GAIN}
    if best:
        words = _and([f"{gain:.2g} times as fast for the {net}" for net, gain in best.items()])
        lines.append(f"train.precision=bfloat16: {words}.")
    else:
        lines.append("train.precision=float32: bfloat16 is no faster here.")
    for net in BATCHES:
        own = [row for row in rows if row["net"] == net and row["precision"] == "float32" and row["threads"] == 1]
        top = max(row["rate"] for row in own)
        row = min((row for row in own if row["rate"] > top / GAIN), key=lambda row: row["batch"])
        lines.append(
            f"train.batch={row['batch']} and more: as many items a second as the {net} reaches ({row['rate']:,.0f})."
        )
    if told["disk"] < TIGHT:
        lines.append(
            f"{_bytes(told['disk'])} of disk are free where runs go: checkpoints may not fit; name another --out."
        )
    return lines


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The measured rates, a line each."""
    lines = [f"{'network':<11}{'precision':<10}{'threads':>8}{'batch':>7}{'items/s':>11}"]
    lines += [
        f"{row['net']:<11}{row['precision']:<10}{row['threads']:>8}{row['batch']:>7}{row['rate']:>11,.0f}"
        for row in rows
    ]
    return lines


def _recipe(setting: dict[str, Any]) -> "Recipe":
    from unnoise.recipe import resolve

    train = {"precision": setting["precision"], "batch": setting["batch"], "validate_every": 0}
    return resolve("doctor", {**NODES[setting["net"]], "train": train})


def _ratio(rows: list[dict[str, Any]], net: str, key: str, before: Any, after: Any) -> float | None:
    """How many times as fast a network is with another value of one setting, the middle batch; None: not measured."""
    base = {"net": net, "precision": "float32", "threads": 1, "batch": BATCHES[net][1]}
    rates = [
        next((r["rate"] for r in rows if all(r[k] == v for k, v in {**base, key: value}.items())), None)
        for value in (before, after)
    ]
    return rates[1] / rates[0] if before != after and rates[0] and rates[1] else None


def _environment(name: str) -> str:
    import os

    return os.environ.get(name, "")


def _bytes(count: int) -> str:
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB")):
        if count >= unit:
            return f"{count / unit:.{0 if count >= 10 * unit else 1}f} {name}"
    return f"{count / 1024:.0f} KiB"


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


__all__ = ["advice", "doctor", "facts", "measured", "table"]
