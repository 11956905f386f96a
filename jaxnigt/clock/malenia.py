"""Malenia rounds: until the harmonic mean of the workers' counts is large enough."""

from __future__ import annotations

from jaxtyping import Array, Key
from numpy.typing import ArrayLike

from jaxnigt.checks import whole
from jaxnigt.clock.rounds import run_rounds
from jaxnigt.clock.types import Rounds, per_round
from jaxnigt.profiles import Profile


def malenia(
    profile: Profile,
    batch: ArrayLike,
    rounds: int,
    *,
    key: int | Key[Array, ""] | None = None,
    comm_model: str = "allreduce",
    counts: bool = True,
) -> Rounds:
    """Rounds that end with the first arrival at which ((1/n) sum_i 1/M_i)^-1 >= M/n.

    Every worker delivers at least one gradient, so a dead worker makes rounds end at `inf`. Sums of
    1/M_i that are equal as fractions count as equal. Source: Algorithm 3 of arXiv 2509.24305.

    Args:
        profile: times of n workers; leading axes are profiles.
        batch: M, one number or i[K].
        rounds: K, how many rounds.
        key: for random times; consumed.
        comm_model: as for `rennala` with restart="cancel".
        counts: whether to return the counts, which take 4 K n bytes a profile where rounds differ.

    Returns:
        Rounds with end f64[..., K] and counts i32[..., K or 1, n].

    Raises:
        InputError: a count below 1, an unknown communication model, or random times without a key.

    Example:
        >>> from jaxnigt.profiles import Profile
        >>> result = malenia(Profile([1.0, 10.0]), batch=3, rounds=1)
        >>> result.end, result.counts
        (array([10.]), array([[10,  1]], dtype=int32))
    """
    sizes = per_round("batch", batch, whole("rounds", rounds))
    return run_rounds("malenia", profile, sizes, key=key, comm_model=comm_model, counts=counts)
