"""First passages: when runs first come to a level, between two evaluations, and bands of medians."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float64

_COVERAGE = 0.8
"""The chance with which a band holds the median, at least, where there are runs enough."""


def first_passages(
    values: Float64[np.ndarray, "#P C #D S E"],
    clocks: Float64[np.ndarray, "Q P 1 D 1 E"],
    level: float | np.floating,
) -> tuple[Float64[np.ndarray, "Q P C D S"], Bool[np.ndarray, "P C D S"]]:
    """Where values first reach a level on each of Q clocks, and whether after the second evaluation."""
    reached = values >= level  # False where a value is NaN
    index = reached.argmax(axis=-1)[..., None]
    before = np.maximum(index - 1, 0)
    low, high = (np.take_along_axis(values, i, axis=-1)[..., 0] for i in (before, index))
    rise = np.where(high > low, high - low, 1.0)
    share = np.where(high > low, np.clip((level - low) / rise, 0.0, 1.0), 1.0)
    shape = np.broadcast_shapes(index.shape[:-1], clocks.shape[1:-1])
    wide = np.broadcast_to(clocks, (len(clocks), *shape, clocks.shape[-1]))
    one, other = (
        np.take_along_axis(wide, np.broadcast_to(i, (len(clocks), *shape, 1)), axis=-1)[..., 0]
        for i in (before, index)
    )
    # A product of 0 and inf is NaN, so the end of an endless round is not weighed with 0.
    passed = np.where(share == 1.0, other, one + share * np.where(share > 0, other - one, 0.0))
    found = np.where(reached.any(axis=-1), passed, np.inf)
    return found, np.broadcast_to(index[..., 0] > 1, shape)


def band(count: int) -> tuple[int, float]:
    """k such that the k-th smallest and the k-th largest of `count` hold the median, and the chance.

    The chance is 1 - 2 P(fewer than k of `count` fair coins show heads); k is the largest for which it
    is at least `_COVERAGE`, and 1 where none is.
    """
    below = np.cumsum([math.comb(count, k) for k in range(count // 2 + 1)]) / 2.0**count
    chances = 1 - 2 * below
    rank = max(1, int((chances >= _COVERAGE).sum()))
    return rank, max(0.0, float(chances[rank - 1]))


def around(
    ordered: Float64[np.ndarray, "P R L"], seeds: int, runs: int
) -> tuple[Float64[np.ndarray, "P L"], Float64[np.ndarray, "P L"]]:
    """The order statistics of `band`; draws of one seed count as that seed does."""
    rank = (band(seeds)[0] - 1) * (runs // seeds)
    return ordered[:, rank], ordered[:, runs - 1 - rank]
