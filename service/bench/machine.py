"""The machine of a bench, read from /proc: memory and CPU of processes, and how busy others kept the cores. Linux only."""

from __future__ import annotations

import os
import platform
import re
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("pynetdicom", "pydicom", "highdicom", "sqlalchemy", "onnxruntime")
_TICKS = os.sysconf("SC_CLK_TCK")
_KIB = 1024


def describe_machine() -> dict[str, Any]:
    """Return what a reader needs to judge the figures."""
    return {
        "cpu": _cpu_name(), "cores": len(os.sched_getaffinity(0)), "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}", "load_before": os.getloadavg()[0],
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def family(pid: int) -> list[int]:
    """Return a process and all it started, directly or not, as far as they live."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (fields := _stat(int(folder.name))):
            parents[int(folder.name)] = int(fields[1])
    found = [pid] if pid in parents else []
    for one in found:  # it grows meanwhile
        found += [child for child, parent in parents.items() if parent == one]
    return found


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return int(found[1]) / _KIB if found else 0.0


def command_of(pid: int) -> str:
    """Return what a process of ours is: start, listen, work, deliver, node, decode; else its program."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ""
    if "service.decoding" in words:
        return "decode"
    if "service" in words and (place := words.index("service") + 1) < len(words):
        return words[place]
    return Path(words[0]).name


def cpu_s(pids: list[int]) -> float:
    """Return the CPU seconds that processes and their ended children have used."""
    return sum(sum(map(int, fields[11:15])) for pid in pids if (fields := _stat(pid))) / _TICKS


class Others:
    """How much of the cores programs that are not ours used since the start."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids
        self._started = time.perf_counter()
        self._busy, self._own = _busy_s(), self._own_s()

    def share(self) -> float:
        """Return CPU seconds of others over the seconds all cores had; a floor of 0."""
        passed = (time.perf_counter() - self._started) * (os.cpu_count() or 1)
        return max(0.0, ((_busy_s() - self._busy) - (self._own_s() - self._own)) / passed) if passed > 0 else 0.0

    def _own_s(self) -> float:
        return cpu_s([os.getpid(), *(one for pid in self._pids for one in family(pid))])


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on (state, parent, …): the second may hold spaces."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def _busy_s() -> float:
    """Return user, nice, system, irq, softirq and steal time of all cores."""
    values = [int(value) for value in Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]]
    return (sum(values[:3]) + sum(values[5:8])) / _TICKS


def _cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
