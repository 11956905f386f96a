"""Synchronous and m-synchronous rounds: one gradient from each worker, or from each of the first m."""

from __future__ import annotations

from jaxtyping import Array, Key
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError, whole
from jaxnigt.clock.rounds import run_rounds
from jaxnigt.clock.types import Rounds, per_round
from jaxnigt.profiles import Profile


def synchronous(
    profile: Profile,
    rounds: int,
    *,
    per_worker: ArrayLike = 1,
    key: int | Key[Array, ""] | None = None,
    comm_model: str = "allreduce",
    counts: bool = True,
) -> Rounds:
    """Rounds in which each worker computes `per_worker` gradients and all wait for the slowest.

    A dead worker never delivers, so such a profile's rounds end at `inf`.

    Args:
        profile: times of n workers; leading axes are profiles.
        rounds: K, how many rounds.
        per_worker: gradients of each worker in a round, one number or i[K].
        key: for random times; consumed.
        comm_model: "allreduce" adds max_i kappa_i over live workers; "server" and "gather" end at
            max_i (per_worker h_i + kappa_i); "serial" adds the sum of kappa_i.
        counts: whether to return the counts, which take 4 K n bytes a profile where rounds differ.

    Returns:
        Rounds with end f64[..., K] and counts i32[..., K or 1, n].

    Raises:
        InputError: a count below 1, an unknown communication model, or random times without a key.

    Example:
        >>> from jaxnigt.profiles import power_law
        >>> synchronous(power_law(4, 0.5, comm_scale=1.0), rounds=3).end
        array([3., 6., 9.])
    """
    sizes = per_round("per_worker", per_worker, whole("rounds", rounds))
    return run_rounds("synchronous", profile, sizes, key=key, comm_model=comm_model, counts=counts)


def m_synchronous(
    profile: Profile,
    m: int,
    rounds: int,
    *,
    key: int | Key[Array, ""] | None = None,
    comm_model: str = "allreduce",
    counts: bool = True,
) -> Rounds:
    """Rounds that end with the first gradient of each of the m first workers; the rest is dropped.

    Source: m-Synchronous SGD (Begunov and Tyurin, arXiv 2602.03802).

    Args:
        profile: times of n workers; leading axes are profiles.
        m: workers that a round waits for, 1 to n.
        rounds: K, how many rounds.
        key: for random times; consumed.
        comm_model: as for `synchronous`, with the m contributors in place of all workers.
        counts: whether to return the counts, which take 4 K n bytes a profile where rounds differ.

    Returns:
        Rounds with end f64[..., K] and counts i32[..., K or 1, n] of zeros and ones.

    Raises:
        InputError: m not in 1 to n, an unknown communication model, or random times without a key.

    Example:
        >>> from jaxnigt.profiles import power_law
        >>> m_synchronous(power_law(4, 0.5), m=2, rounds=2).counts
        array([[1, 1, 0, 0]], dtype=int32)
    """
    if whole("m", m) > profile.n:
        raise InputError(f"m: got {m}, 1 to n = {profile.n} workers are allowed.")
    sizes = per_round("m", m, whole("rounds", rounds))
    return run_rounds("m_synchronous", profile, sizes, key=key, comm_model=comm_model, counts=counts)
