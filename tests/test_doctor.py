"""What a machine has is told as it is, and advice follows from what was measured."""

import json
import subprocess
import sys

import pytest
import torch

from unnoise.advise import machine
from unnoise.cli import doctor, main

TOLD = {"usable": 2.0, "busy": 0.0, "threads": 2, "device": "cpu", "disk": 1 << 40, "memory": 1 << 34}


def rows(bfloat16=1.0, threads=1.0, large=1.0):
    """Rates at which each setting is so many times as fast."""
    made = []
    for net, (small, middle, big) in doctor.BATCHES.items():
        for precision, count, batch, rate in [
            ("float32", 1, middle, 100),
            ("bfloat16", 1, middle, 100 * bfloat16),
            ("float32", 2, middle, 100 * threads),
            ("float32", 1, small, 50),
            ("float32", 1, big, 100 * large),
        ]:
            made.append({"net": net, "precision": precision, "threads": count, "batch": batch, "rate": rate})
    return made


@pytest.mark.parametrize(
    ("measured", "told", "says"),
    [
        (rows(bfloat16=2.5), {}, "train.precision=bfloat16: 2.5 times as fast for the U-Net and 2.5"),
        (rows(bfloat16=0.9), {}, "train.precision=float32: bfloat16 is no faster here"),
        (rows(threads=1.8), {}, "--threads 2: a factor of 1.8"),
        (rows(threads=0.1), {"busy": 1.0}, "--threads 1: 2 threads bring a factor of 0.1"),
        (rows(threads=0.1), {"busy": 1.0}, "Other processes keep 1.0 of 2 cores busy"),
        (rows(), {}, "train.batch=64 and more: as many items a second as the U-Net reaches"),
        (rows(large=2), {}, "train.batch=128 and more"),
        (rows(), {"disk": 1 << 30}, "1.0 GiB of disk are free"),
    ],
)
def test_advice_follows_from_the_figures(measured, told, says):
    lines = doctor.advice({**TOLD, **told, "measured": measured})
    assert any(line.startswith(says) for line in lines), lines


def test_a_quiet_machine_is_not_called_busy():
    assert not any("Other processes" in line for line in doctor.advice({**TOLD, "measured": rows()}))
    assert doctor.advice({**TOLD, "measured": rows()}, unused_gpu=True)[0].startswith("This machine has an NVIDIA GPU")


def test_the_machine_is_told_as_the_system_tells_it():
    here = machine.machine()
    assert 1 <= here.usable <= here.cores
    assert 0 < here.free <= here.memory
    assert here.memory % 1024 == 0
    assert len(here.devices) >= torch.cuda.device_count()


def test_another_busy_process_is_seen():
    code = "import time\nprint('here', flush=True)\nend = time.time() + 20\nwhile time.time() < end: pass"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        assert machine.others(0.5) > 0.5
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="peaks cannot be forgotten elsewhere")
def test_a_peak_is_seen_and_forgotten():
    machine.forget_peak()
    before = machine.peak()
    held = bytearray(b"x" * (200 << 20))
    assert machine.peak() - before > 150 << 20
    del held
    machine.forget_peak()
    assert machine.peak() - before < 150 << 20


def test_the_command_measures_and_leaves_the_threads_as_they_were(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "BATCHES", {"U-Net": (2, 4, 8), "perceptron": (8, 16, 32)})
    monkeypatch.setattr(doctor, "SECONDS", 0.001)
    before = torch.get_num_threads()
    assert main(["doctor", "--device", "cpu", "--json"]) == 0
    assert torch.get_num_threads() == before
    told = json.loads(capsys.readouterr().out)
    nets = {(row["net"], row["precision"], row["batch"]) for row in told["measured"]}
    assert {("U-Net", "bfloat16", 4), ("perceptron", "float32", 32)} <= nets
    assert all(row["rate"] > 0 for row in told["measured"])
    assert told["advice"]
    assert told["versions"]["torch"] == str(torch.__version__)
    assert main(["doctor", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    for word in ("processor", "memory", "disk", "versions", "workers", "train.batch="):
        assert word in out
