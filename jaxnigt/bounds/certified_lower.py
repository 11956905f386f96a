"""Certified lower bounds: hard instances with their constants.

On the chain of T coordinates a method goes up one level when one of its workers sees the next
coordinate, which each gradient shows with probability p. Level k takes min_i h_i G_i seconds at
least, G_i geometric. With t(s) = min_m (m + s) / sum_{i<=m} 1/h_i, fewer than s / 4 gradients are
done in t(s) / 5 seconds, so with s = 1/p a level takes longer with probability 3/4; by Markov's
inequality more than half of the levels do with probability 1/2. Until T t(1/p) / 10 the gradient is
then longer than 2 epsilon with probability 1/2, and E||grad J|| > epsilon for whatever is put out.
All of this is derived; the game itself is that of Tyurin and Richtarik, 2024 (Fragile SGD).

Times are those of an output: the mean time in which a method finds all T coordinates is longer still,
as each level takes 3/4 of t(1/p) / 5 on average.
"""

from __future__ import annotations

import math

import numpy as np

from jaxnigt.bounds import hard
from jaxnigt.bounds.question import Column, Question, speeds
from jaxnigt.bounds.result import COMMUNICATION, Bound, Terms, largest, product, smallest

_SOURCE = "derived from the hard instances of arXiv 1912.02365 and 1711.00841"

_SHARE = 1 / 10
"""Of T t(1/p), how much passes with probability 1/2."""


def certified_lower(q: Question, smooth: str, *, free: bool, heterogeneous: bool) -> Bound:
    """The strongest instance.

    Args:
        q: the question.
        smooth: "hessian" or "gradient", the class of problems.
        free: whether workers may take gradients at new points without communicating.
        heterogeneous: whether workers may have problems of their own.
    """
    T = hard.chain_length(q, smooth)
    n = np.array([q.n])
    messages = np.zeros(()) if free else q.kappa
    with np.errstate(divide="ignore"):
        at = speeds("rennala", q.h)
        own = _group(q, T) if heterogeneous else None
    bounds = [_noisy(q, at.m, at.whole + at.share, at.share, T, messages, smooth)]
    if own is not None:
        terms = {regime: _SHARE * product(T, x) for regime, x in own.items()}
        bounds.append(smallest({**terms, COMMUNICATION: messages * T}, n, _SOURCE))
    if smooth == "hessian":
        worker = q.h[..., -1:] if heterogeneous else q.h[..., :1]
        length = hard.second_length(q)
        terms = {"chain": product(worker, length), COMMUNICATION: messages * length}
        bounds.append(smallest(terms, n if heterogeneous else at.m[:1], _SOURCE))
    if free:
        exchanged = _shared_out(q, T) if heterogeneous else _switches(q, T)
        bounds.append(smallest({COMMUNICATION: exchanged}, n, _SOURCE))
    return largest(*bounds)


def _noisy(
    q: Question,
    m: np.ndarray,
    one: np.ndarray,
    share: np.ndarray,
    T: Column,
    messages: np.ndarray,
    smooth: str,
) -> Bound:
    """T kappa + (T / 10) min_m H_m (1 + 1/(p m)), all workers on one chain."""
    curved = hard.chain_scale(q, smooth)[1]
    steps = _SHARE * product(T, one)
    terms: Terms = {
        "smoothness": np.where(curved, 0.0, steps),
        "hessian": np.where(curved, steps, 0.0),
        "noise": _SHARE * product(T, product(share, hard.attempts(q) - 1)),
        COMMUNICATION: messages * T,
    }
    return smallest(terms, m, _SOURCE)


def _group(q: Question, T: Column) -> dict[str, np.ndarray]:
    """Seconds of a level where the k slowest workers hold the chain, for the best k.

    Their objectives are n/k times as large, so their gradients show a coordinate 1/p = max(1,
    sigma^2 / (46 epsilon n/k)^2) at a time. t(1/p) is at least the least of their h and at least
    (1/p) / sum 1/h; the largest over k of k^2 / sum 1/h is at least sum h / (1 + ln n).
    """
    slowest = q.h[..., ::-1]
    k = np.arange(1, q.n + 1)
    tries = hard.attempts(q, q.n / k)
    noisy = tries / np.cumsum(1 / slowest, axis=-1)
    # One gradient that shows the coordinate for sure is a matter of speed, not of noise.
    by_noise = (tries > 1) & (noisy > slowest)
    level = np.maximum(slowest, noisy)
    best = level.argmax(axis=-1, keepdims=True)
    level, by_noise = (np.take_along_axis(x, best, axis=-1) for x in (level, by_noise))
    return {"smoothness": np.where(by_noise, 0.0, level), "noise": np.where(by_noise, level, 0.0)}


def _switches(q: Question, T: Column) -> Column:
    """Seconds for methods that may go on without communication, workers sharing one problem.

    In L = ceil(2 + log2 n) levels either the finder of coordinates changes, which takes a
    communication, or one worker finds L in a row. Within y = h_1 / (2 p) seconds each, that has
    probability n 2^-L <= 1/4 at most. So half of the stretches of L levels take min(kappa, y) with
    probability 1/2.
    """
    stretch = math.ceil(2 + math.log2(q.n))
    alone = q.h[..., :1] * hard.attempts(q) / 2
    return np.floor(T / stretch) / 2 * np.minimum(q.kappa, alone)


def _shared_out(q: Question, T: Column) -> Column:
    """Seconds where two workers hold the odd and the even links of the chain: (T - 1) / 2 messages."""
    return q.kappa * np.maximum(0, np.floor((T - 1) / 2)) * (q.n > 1)
