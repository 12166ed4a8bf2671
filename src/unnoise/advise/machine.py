"""What this machine has: processors, memory, devices, disk, and who else is busy on it."""

import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # what a group without a limit says is larger


@dataclass(frozen=True)
class Device:
    """An accelerator: how torch calls it, its name, its memory in bytes (0: unknown), and whether it has bfloat16."""

    name: str
    called: str
    memory: int
    bfloat16: bool


@dataclass(frozen=True)
class Machine:
    """What can be known without measuring. Memory and disk in bytes."""

    system: str
    processor: str
    cores: int  # of the machine
    usable: float  # by this process: its affinity, and its group's quota
    bfloat16: bool  # whether the processor multiplies it in hardware
    memory: int  # in all, or the group's limit
    free: int  # of it
    devices: tuple[Device, ...]


def machine() -> Machine:
    """This one."""
    flags = _cpuinfo("flags").split() + _cpuinfo("Features").split()
    memory, free = _memory()
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=_cpuinfo("model name") or platform.processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        usable=_usable(),
        bfloat16=bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags)),
        memory=memory,
        free=free,
        devices=tuple(devices()),
    )


def devices() -> list[Device]:
    """The accelerators that torch can use, the fastest kind first."""
    found: list[Device] = []
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            told = torch.cuda.get_device_properties(i)
            found.append(Device(f"cuda:{i}", told.name, told.total_memory, told.major >= 8))
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU", 0, False))
    return found


def unused_gpu() -> bool:
    """Whether an NVIDIA GPU stands there that this torch was not built for."""
    return Path("/dev/nvidia0").exists() and not torch.cuda.is_available()


def versions() -> dict[str, str]:
    """Of what the speed and the bits depend on."""
    import numpy

    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "cuda": str(torch.version.cuda or ""),
    }


def workers() -> str:
    """How processes that read ahead are started here: fork, forkserver or spawn."""
    import multiprocessing

    return multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]


def disk(folder: Path) -> int:
    """Bytes free where a folder stands, or would stand."""
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def others(seconds: float = 0.4) -> float | None:
    """How many cores other processes keep busy, looked at for so long; None where the system does not tell.

    From /proc/stat while this process sleeps; elsewhere from the load of the last minute, this process included.
    """
    before = _ticks()
    if before is None:
        return max(0.0, os.getloadavg()[0] - 1) if hasattr(os, "getloadavg") else None
    own = time.process_time()
    time.sleep(seconds)
    after = _ticks()
    assert after is not None
    spent = max(after[1] - before[1], 1)
    busy = (after[0] - before[0]) / spent * (os.cpu_count() or 1)
    return max(0.0, busy - (time.process_time() - own) / seconds)


def peak() -> int:
    """Bytes that this process held at most since `forget_peak`, or since its start where that cannot be told."""
    for line in _lines(Path("/proc/self/status")):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def forget_peak() -> None:
    """From here on `peak` counts anew, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _ticks() -> tuple[int, int] | None:
    """(busy, all) ticks of all cores since the start of the machine."""
    for line in _lines(Path("/proc/stat")):
        if line.startswith("cpu "):
            numbers = [int(word) for word in line.split()[1:9]]
            return sum(numbers) - numbers[3] - numbers[4], sum(numbers)
    return None


def _usable() -> float:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota, period = _number(_CGROUPS / "cpu/cpu.cfs_quota_us"), _number(_CGROUPS / "cpu/cpu.cfs_period_us")
    words = next(iter(_lines(_CGROUPS / "cpu.max")), "").split()
    if len(words) == 2 and words[0].isdecimal():
        quota, period = int(words[0]), int(words[1])
    return min(float(cores), quota / period) if quota > 0 and period > 0 else float(cores)


def _memory() -> tuple[int, int]:
    """(in all, free) bytes, within the group's limit."""
    told = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in _lines(Path("/proc/meminfo")) if "kB" in line}
    whole = told.get("MemTotal", 0) or _pages("SC_PHYS_PAGES")
    free = told.get("MemAvailable", 0) or _pages("SC_AVPHYS_PAGES")
    limits = ("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")
    for most, used in limits:
        limit = _number(_CGROUPS / most)
        if 0 < limit < min(_UNLIMITED, whole):
            whole, free = limit, min(free, max(0, limit - max(0, _number(_CGROUPS / used))))
    return whole, free


def _pages(name: str) -> int:
    names: Any = getattr(os, "sysconf_names", {})
    return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE") if name in names else 0


def _number(path: Path) -> int:
    text = next(iter(_lines(path)), "")
    return int(text) if text.lstrip("-").isdecimal() else -1


def _cpuinfo(field: str) -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


__all__ = ["Device", "Machine", "devices", "disk", "forget_peak", "machine", "others", "peak", "unused_gpu",
           "versions", "workers"]  # fmt: skip
