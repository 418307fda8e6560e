"""What a run cost: processor time of process trees and of the machine, and latencies."""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")  # per second


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    seconds: float


def tree_cpu(roots: Iterable[int]) -> float:
    """Seconds of CPU (user and system) that the trees of some processes have used, ended children included."""
    processes = _processes()
    total = 0.0
    waiting = set(roots)
    while waiting:
        total += sum(processes[pid].seconds for pid in waiting if pid in processes)
        waiting = {pid for pid, process in processes.items() if process.parent in waiting}
    return total


def own_cpu(pids: Iterable[int]) -> float:
    """Seconds of CPU of these processes alone, without their children."""
    return sum(_seconds(fields, ended=False) for pid in pids if (fields := _stat(Path(f"/proc/{pid}"))))


def _processes() -> dict[int, _Process]:
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (fields := _stat(folder)):
            found[int(folder.name)] = _Process(int(fields[1]), _seconds(fields, ended=True))
    return found


def _stat(folder: Path) -> list[str]:
    """Read the fields of /proc/PID/stat from the third (state) on; none when the process is gone. proc(5)."""
    try:
        text = (folder / "stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 1 :].split()


def _seconds(fields: list[str], *, ended: bool) -> float:
    last = 15 if ended else 13  # utime and stime, then cutime and cstime
    return sum(map(int, fields[11:last])) / _TICKS


@dataclass(frozen=True, slots=True)
class Machine:
    """Seconds of CPU of the whole machine; what its host took away counts as busy, since it is lost too."""

    busy: float
    total: float

    @classmethod
    def read(cls) -> "Machine":
        """Read the counters since the machine started. proc(5), /proc/stat."""
        with Path("/proc/stat").open() as file:
            fields = [int(field) / _TICKS for field in file.readline().split()[1:9]]
        idle = fields[3] + fields[4]
        return cls(sum(fields) - idle, sum(fields))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the ordered values does not exceed; NaN of none."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def longest_gap(times: Iterable[float], begin: float, end: float) -> float:
    """Return the longest time between begin, end and any of the times, in seconds."""
    return max(later - earlier for earlier, later in pairwise([begin, *sorted(times), end]))


@dataclass(frozen=True, slots=True)
class Latency:
    """A latency's distribution, in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> "Latency":
        """Return the distribution of some latencies."""
        ordered = sorted(seconds)
        p50, p99, top = (round(quantile(ordered, share) * 1000, 3) for share in (0.5, 0.99, 1))
        return cls(len(ordered), p50, p99, top)
