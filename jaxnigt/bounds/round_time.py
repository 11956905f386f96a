"""Upper bounds on the collection time of one round under fixed times."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from jaxnigt.profiles import Profile


def _sorted(profile: Profile) -> Float64[np.ndarray, "*profiles n"]:
    return np.sort(profile.compute, axis=-1)


def rennala_round(profile: Profile, batch: ArrayLike) -> Float64[np.ndarray, "*profiles"]:
    """Seconds in which a Rennala round of M gradients is collected at the latest (derived).

    min_m (sum_{i<=m} 1/h_i)^-1 (M + m), the h_i sorted: among the m fastest workers each has lost at
    most one unfinished gradient.
    """
    m = np.arange(1, profile.n + 1)
    speed = np.cumsum(1 / _sorted(profile), axis=-1)
    # A dead worker adds no speed, so an m that includes one is never the minimum.
    return np.asarray(((np.asarray(batch, np.float64)[..., None] + m) / speed).min(axis=-1))


def rennala_round_literature(profile: Profile, batch: ArrayLike) -> Float64[np.ndarray, "*profiles"]:
    """Twice `rennala_round`, the form in the proofs of Tyurin's papers on Rennala SGD."""
    return np.asarray(2 * rennala_round(profile, batch))


def malenia_round(profile: Profile, batch: ArrayLike) -> Float64[np.ndarray, "*profiles"]:
    """Seconds in which a Malenia round is collected at the latest: 2 (h_n + mean(h) M / n).

    Source: the proofs of Tyurin and Richtarik, 2024 (Amelie SGD, Theorem 9). inf with a dead worker.
    """
    h = profile.compute
    slowest, mean = h.max(axis=-1), h.mean(axis=-1)
    return np.asarray(2 * (slowest + mean * np.asarray(batch, np.float64) / profile.n))


def m_synchronous_total(profile: Profile, gradients: ArrayLike) -> Float64[np.ndarray, "*profiles"]:
    """min_m h_m (1 + s / m) seconds for s gradients beyond the first round, the h_i sorted.

    At most 1 + ln n times `rennala_round` with M = s (derived, from sum_{i<=m} 1/h_i <= (1 + ln m)
    max_{j<=m} j/h_j; m-Synchronous SGD, arXiv 2602.03802).
    """
    m = np.arange(1, profile.n + 1)
    per_round = 1 + np.asarray(gradients, np.float64)[..., None] / m
    return np.asarray((_sorted(profile) * per_round).min(axis=-1))
