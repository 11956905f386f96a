"""Synchronous rounds: every worker delivers, the slowest decides."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64
from numpy.typing import ArrayLike

from jaxnigt.clock.communication import check_round_model
from jaxnigt.clock.types import Rounds, double_precision, over_profiles, per_round, whole
from jaxnigt.profiles import Profile


def synchronous(
    profile: Profile,
    rounds: int,
    *,
    per_worker: ArrayLike = 1,
    comm_model: str = "allreduce",
) -> Rounds:
    """Rounds in which each worker computes `per_worker` gradients and all wait for the slowest.

    A dead worker never delivers, so such a profile's rounds end at `inf`.

    Args:
        profile: times of n workers; leading axes are profiles.
        rounds: K, how many rounds.
        per_worker: gradients of each worker in a round, one number or i[K].
        comm_model: "allreduce" adds max_i kappa_i over live workers; "server" ends at
            max_i (per_worker h_i + kappa_i).

    Returns:
        Rounds with end f64[..., K] and counts i32[..., K or 1, n].

    Raises:
        InputError: a count below 1 or an unknown communication model.

    Example:
        >>> from jaxnigt.profiles import power_law
        >>> synchronous(power_law(4, 0.5, comm_scale=1.0), rounds=3).end
        array([3., 6., 9.])
    """
    rounds = whole("rounds", rounds)
    check_round_model(comm_model)
    sizes, which = np.unique(per_round("per_worker", per_worker, rounds), return_inverse=True)
    with double_precision():
        kernel = functools.partial(_durations, sizes=sizes.astype(np.float64), comm_model=comm_model)
        durations = over_profiles(kernel, profile)
    counts = sizes[which] if len(sizes) > 1 else sizes
    shape = (*profile.shape, len(counts), profile.n)
    counts = np.broadcast_to(counts[:, None].astype(np.int32), shape)
    return Rounds(ends(durations, which), counts)


@functools.partial(jax.jit, static_argnames="comm_model")
def _durations(
    compute: Float64[Array, "P n"],
    comm: Float64[Array, "P n"],
    sizes: Float64[Array, " u"],
    comm_model: str,
) -> Float64[Array, "P u"]:
    """Seconds of one round of each size."""

    def one(h: Float64[Array, " n"], kappa: Float64[Array, " n"], size: Array) -> Float64[Array, ""]:
        if comm_model == "server":
            return (size * h + kappa).max()
        return (size * h).max() + jnp.where(jnp.isfinite(h), kappa, 0.0).max()

    return jax.vmap(jax.vmap(one, (None, None, 0)), (0, 0, None))(compute, comm, sizes)


def ends(
    durations: Float64[np.ndarray, "*profiles u"], which: np.ndarray
) -> Float64[np.ndarray, "*profiles K"]:
    """Ends of rounds that restart everyone, from the durations of their u kinds.

    Alike rounds end at multiples of one duration, which loses nothing to a running sum.
    """
    if durations.shape[-1] == 1:
        return durations * np.arange(1, len(which) + 1)
    return np.cumsum(durations[..., which], axis=-1)
