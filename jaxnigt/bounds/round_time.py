"""Upper bounds on the time in which one round is collected, for fixed times h_1 <= ... <= h_n."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from jaxnigt.profiles import Profile


def rennala_round(profile: Profile, batch: ArrayLike) -> Float64[np.ndarray, "*profiles"]:
    """Seconds after which a Rennala round of M gradients is certainly collected.

    min_m (sum_{i<=m} 1/h_i)^-1 (M + m), because each of the m fastest workers has lost at most one
    unfinished gradient. The source is: derived.

    Example:
        >>> rennala_round(Profile([1.0, 2.0, float("inf")]), 4)
        array(4.)
    """
    m = np.arange(1, profile.n + 1)
    # A dead worker adds no speed, so the minimum never counts on one.
    speed = np.cumsum(1 / np.sort(profile.compute, axis=-1), axis=-1)
    return np.asarray(((np.asarray(batch, np.float64)[..., None] + m) / speed).min(axis=-1))


def rennala_round_literature(profile: Profile, batch: ArrayLike) -> Float64[np.ndarray, "*profiles"]:
    """Twice `rennala_round` in seconds, the form in the proofs of Tyurin's papers on Rennala SGD.

    Example:
        >>> rennala_round_literature(Profile([1.0, 2.0]), 4)
        array(8.)
    """
    return np.asarray(2 * rennala_round(profile, batch))


def malenia_round(profile: Profile, batch: ArrayLike) -> Float64[np.ndarray, "*profiles"]:
    """Seconds after which a Malenia round is certainly collected: 2 (h_n + mean(h) M / n).

    It is inf with a dead worker. The source is the proof of Theorem 9 of Tyurin and Richtarik, 2024
    (Amelie SGD).

    Example:
        >>> malenia_round(Profile([1.0, 2.0]), 4)
        array(10.)
    """
    h = profile.compute
    slowest, mean = h.max(axis=-1), h.mean(axis=-1)
    return np.asarray(2 * (slowest + mean * np.asarray(batch, np.float64) / profile.n))


def m_synchronous_total(profile: Profile, gradients: ArrayLike) -> Float64[np.ndarray, "*profiles"]:
    """min_m h_m (1 + s / m) seconds for s gradients after the first round of m-synchronous SGD.

    It is at most 1 + ln n times `rennala_round` with M = s. The source is m-Synchronous SGD, arXiv
    2602.03802; the factor is derived from sum_{i<=m} 1/h_i <= (1 + ln m) max_{j<=m} j/h_j.

    Example:
        >>> m_synchronous_total(Profile([1.0, 2.0]), 4)
        array(5.)
    """
    rounds = 1 + np.asarray(gradients, np.float64)[..., None] / np.arange(1, profile.n + 1)
    return np.asarray((np.sort(profile.compute, axis=-1) * rounds).min(axis=-1))
