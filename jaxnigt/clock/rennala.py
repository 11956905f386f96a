"""Rennala rounds: the first M gradients, whoever computes them."""

from __future__ import annotations

from jaxtyping import Array, Key
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError, whole
from jaxnigt.clock.rounds import run_rounds
from jaxnigt.clock.types import Rounds, per_round
from jaxnigt.profiles import Profile

RESTARTS = ("cancel", "finish")


def rennala(
    profile: Profile,
    batch: ArrayLike,
    rounds: int,
    *,
    key: int | Key[Array, ""] | None = None,
    restart: str = "cancel",
    comm_model: str = "allreduce",
    counts: bool = True,
) -> Rounds:
    """Rounds that end with the first `batch` gradients computed at the round's point.

    Ties are ordered by (time, worker index). Source: Algorithm 2 of arXiv 2509.24305, where
    unfinished work is stopped (`restart="cancel"`).

    Args:
        profile: times of n workers; leading axes are profiles.
        batch: M, gradients that enter a round, one number or i[K].
        rounds: K, how many rounds.
        key: for random times; consumed.
        restart: "cancel" drops unfinished work and restarts all workers at the new point.
            "finish" lets a busy worker complete its stale gradient, which is discarded, before it
            joins; one that gets free while the round communicates waits for the new point.
        comm_model: "allreduce" adds max_i kappa_i over live workers, "server" over contributors,
            "serial" the sum over contributors; "gather" (for "cancel") ends at the first t at which
            the rule holds for gradients computed by t - kappa_i.
        counts: whether to return the counts, which take 4 K n bytes a profile where rounds differ.

    Returns:
        Rounds with end f64[..., K] and counts i32[..., K or 1, n].

    Raises:
        InputError: a count below 1, an unknown restart rule or communication model, or random
            times without a key.

    Example:
        >>> from jaxnigt.profiles import power_law
        >>> result = rennala(power_law(4, 0.5), batch=3, rounds=2)
        >>> result.end, result.counts
        (array([1.73205081, 3.46410162]), array([[1, 1, 1, 0]], dtype=int32))
    """
    sizes = per_round("batch", batch, whole("rounds", rounds))
    if restart not in RESTARTS:
        raise InputError(f"restart: got {restart!r}, allowed are {', '.join(RESTARTS)}.")
    return run_rounds(
        "rennala", profile, sizes, key=key, comm_model=comm_model, restart=restart, counts=counts
    )
