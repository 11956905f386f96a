"""Families of profiles. Every argument may be an array, whose axes lead those of the result."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError
from jaxnigt.profiles.profile import Profile, numbers


def _worker(n: int) -> Float64[np.ndarray, " n"]:
    if not (isinstance(n, int | np.integer) and n >= 1):
        raise InputError(f"n: got {n!r}, a whole number of workers, at least 1, is allowed.")
    return np.arange(1, n + 1, dtype=np.float64)


def _column(name: str, value: ArrayLike) -> np.ndarray:
    """One number a profile, ready to broadcast against the axis of workers."""
    return numbers(name, value)[..., None]


def equal(n: int, compute: ArrayLike = 1.0, comm: ArrayLike = 0.0) -> Profile:
    """All workers alike: h_i = compute [s], kappa_i = comm [s]."""
    ones = np.ones_like(_worker(n))
    return Profile(_column("compute", compute) * ones, _column("comm", comm) * ones)


def power_law(
    n: int, exponent: ArrayLike, comm_exponent: ArrayLike = 0.0, comm_scale: ArrayLike = 0.0
) -> Profile:
    """h_i = i^exponent [s] and kappa_i = comm_scale * i^comm_exponent [s], for i = 1..n.

    The experiments of arXiv 2509.24305 use exponent = comm_exponent = 1/2 with comm_scale 1 or
    d^(1/4).

    Example:
        >>> power_law(4, 0.5).compute.round(2)
        array([1.  , 1.41, 1.73, 2.  ])
    """
    i = _worker(n)
    kappa = _column("comm_scale", comm_scale) * i ** _column("comm_exponent", comm_exponent)
    return Profile(i ** _column("exponent", exponent), kappa)


def stragglers(
    n: int, count: int = 1, slowdown: ArrayLike = 10.0, compute: ArrayLike = 1.0, comm: ArrayLike = 0.0
) -> Profile:
    """All alike but the last `count` workers, which are `slowdown` times slower.

    A slowdown of `inf` makes them dead.
    """
    i = _worker(n)
    if not 0 <= count <= n:
        raise InputError(f"count: got {count!r}, 0 to n = {n} stragglers are allowed.")
    slow = np.where(i > n - count, _column("slowdown", slowdown), 1.0)
    return Profile(_column("compute", compute) * slow, _column("comm", comm) * np.ones_like(i))


def linear(n: int, comm: ArrayLike = 0.0) -> Profile:
    """h_i = i [s], for i = 1..n, and kappa_i = comm [s]."""
    i = _worker(n)
    return Profile(i + 0.0 * _column("comm", comm), _column("comm", comm) * np.ones_like(i))


def lognormal(n: int, sigma: ArrayLike = 1.0, seed: int = 0, comm: ArrayLike = 0.0) -> Profile:
    """h_i drawn once for each worker from a log-normal of median 1 s and log-deviation sigma.

    The draws come from NumPy's generator with this seed: profiles of a batch of sigmas share them.
    """
    z = np.random.default_rng(seed).standard_normal(len(_worker(n)))
    return Profile(np.exp(_column("sigma", sigma) * z), _column("comm", comm) * np.ones(n))


def decreasing(
    n: int, exponent: ArrayLike = 0.5, factor: float = 2.0, every: float = 100.0, times: int = 4
) -> Profile:
    """h_i = i^exponent [s], and all workers get `factor` times faster `times` times, every so often.

    Args:
        n: workers.
        exponent: of h_i = i^exponent.
        factor: by which the power grows at each break, above 0.
        every: seconds between two breaks.
        times: how many breaks.
    """
    breaks = every * np.arange(1, times + 1)
    values = np.repeat(factor ** np.arange(times + 1.0)[:, None], n, axis=1)
    return power_law(n, exponent).replace(power=(breaks, values))


def outages(
    n: int,
    share: float = 0.2,
    length: float = 10.0,
    until: float = 1000.0,
    seed: int = 0,
    compute: ArrayLike = 1.0,
    comm: ArrayLike = 0.0,
) -> Profile:
    """Workers that are now and then away: power 0 in some pieces of time, 1 in the others.

    Args:
        n: workers.
        share: probability that a worker is away in a piece, in [0, 1).
        length: seconds of a piece.
        until: seconds after which nobody is away any more.
        seed: of NumPy's generator; all profiles of a batch share the outages.
        compute: nominal seconds per gradient.
        comm: seconds of communication.
    """
    if not 0 <= share < 1:
        raise InputError(f"share: got {share!r}, numbers in [0, 1) are allowed.")
    pieces = int(np.ceil(until / length))
    away = np.random.default_rng(seed).random((pieces, n)) < share
    values = np.concatenate([1.0 - away, np.ones((1, n))])
    return equal(n, compute, comm).replace(power=(length * np.arange(1, pieces + 1), values))
