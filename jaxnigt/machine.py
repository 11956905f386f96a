"""What a process may use of its machine, as containers and queues of clusters cut it."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

try:
    import resource
except ImportError:  # Windows
    resource = None

_CGROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def memory() -> int:
    """Bytes: the least of the machine's memory, the limits of the control groups, and the user's own.

    Example:
        >>> 0 < memory() <= psutil.virtual_memory().total
        True
    """
    limits = [psutil.virtual_memory().total]
    for group in _groups("memory"):
        limits += _numbers(group / "memory.max")[:1] + _numbers(group / "memory.limit_in_bytes")[:1]
    if resource is not None:
        limits += [
            x for x in (resource.getrlimit(resource.RLIMIT_AS)[0],) if x != resource.RLIM_INFINITY
        ]
    return int(min(limit for limit in limits if limit > 0))


def cores() -> int:
    """Cores on which the process may run, and which it may use up, one at least.

    Example:
        >>> 1 <= cores() <= os.cpu_count()
        True
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in _groups("cpu"):
        share = _numbers(group / "cpu.max")
        share = share or _numbers(group / "cpu.cfs_quota_us") + _numbers(group / "cpu.cfs_period_us")
        # A quota is of seconds of all cores together; -1 or "max" is none.
        if len(share) == 2 and min(share) > 0:
            count = min(count, math.ceil(share[0] / share[1]))
    return max(count, 1)


def _groups(controller: str) -> Iterator[Path]:
    """Folders of the control groups of this process, each within the next, of version 2 and of 1.

    Within a container the names are often those outside, and what is there is at the top.
    """
    with contextlib.suppress(OSError):
        for line in _OWN.read_text().splitlines():
            _, names, path = line.split(":", 2)
            if names and controller not in names.split(","):
                continue
            top = _CGROUPS / controller if names else _CGROUPS
            own = Path(path.lstrip("/"))
            yield from (top / part for part in (own, *own.parents))


def _numbers(path: Path) -> list[int]:
    """The numbers in a file, none where it is not there or says "max"."""
    try:
        return [int(word) for word in path.read_text().split()]
    except (OSError, ValueError):
        return []
