"""Which gradients of an asynchronous schedule can be computed together.

A gradient can be computed as soon as the model that it started from is known. A run of updates whose
gradients all started no later than its first update is a wavefront: one batch, after which the updates
are applied in order.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, Int32

_LAUNCH = {"cpu": 6.0}
"""What a batch costs beyond its lanes, in lanes; benchmarks/wavefronts.py shows what it leads to."""

_LAUNCH_ELSEWHERE = 500.0
"""Accelerators hardly notice a lane more."""

Window = tuple[int, int]
"""First update of a wavefront and how many it has."""


def next_blocked(staleness: Int[np.ndarray, " K"]) -> Int[np.ndarray, " K"]:
    """For each update a, the first later one whose gradient starts after a, K if there is none."""
    total = len(staleness)
    starts = np.arange(total) - staleness
    arrives = np.full(total + 1, total)
    # Version 0 starts all workers at once, and no wavefront has to wait for it.
    arrives[starts[starts > 0]] = np.flatnonzero(starts > 0)
    return np.minimum.accumulate(arrives[::-1])[::-1][1:]


def wavefronts(blocked: Int[np.ndarray, " K"], first: int, until: int, lanes: int) -> list[Window]:
    """The fewest wavefronts of at most `lanes` updates that cover updates `first` to `until`."""
    windows, at = [], first
    while at < until:
        end = min(int(blocked[at]), at + lanes, until)
        windows.append((at, end - at))
        at = end
    return windows


def plan(
    staleness: Int[np.ndarray, "P K"], eval_every: int, runs: int, platform: str, lanes: int | None
) -> tuple[int, list[list[list[Window]]]]:
    """Lanes of a wavefront, and the wavefronts between evaluations: [chunk][profile][window].

    Args:
        staleness: of the updates of every profile.
        eval_every: updates between evaluations, which no wavefront may cross.
        runs: hyperparameters x seeds that share a profile's schedule.
        platform: of the device, for what a batch costs beyond its lanes.
        lanes: at most; None chooses what costs least, one at a time included.
    """
    profiles, total = staleness.shape
    blocked = [next_blocked(row) for row in staleness]
    firsts = range(0, total, eval_every)

    def cut(lanes: int) -> list[list[list[Window]]]:
        return [
            [wavefronts(row, first, min(first + eval_every, total), lanes) for row in blocked]
            for first in firsts
        ]

    if lanes is not None:
        windows = cut(lanes)
        return _widest(windows), windows
    launch = _LAUNCH.get(platform, _LAUNCH_ELSEWHERE)
    best: tuple[float, int, list[list[list[Window]]]] | None = None
    for width in _widths(_widest(cut(total))):
        windows = cut(width)
        # Profiles go in step, so that the one with most wavefronts decides.
        steps = sum(max(len(each) for each in chunk) for chunk in windows)
        cost = steps * (launch + width * profiles * runs)
        if best is None or cost < best[0]:
            best = (cost, width, windows)
    assert best is not None
    return best[1], best[2]


def _widths(widest: int) -> list[int]:
    """1, 2, 3, 4, 6, 9, ... and the widest."""
    widths = [1]
    while widths[-1] < widest:
        widths.append(min(max(widths[-1] + 1, widths[-1] * 3 // 2), widest))
    return widths


def _widest(windows: list[list[list[Window]]]) -> int:
    return max(size for chunk in windows for each in chunk for _, size in each)


def table(chunk: list[list[Window]], steps: int, lanes: int) -> Int32[np.ndarray, "P W L"]:
    """Updates in the lanes of each wavefront, -1 where there is none."""
    updates = np.full((len(chunk), steps, lanes), -1, np.int32)
    for profile, windows in enumerate(chunk):
        for step, (first, size) in enumerate(windows):
            updates[profile, step, :size] = np.arange(first, first + size)
    return updates
