"""Rennala rounds: the first M gradients, whoever computes them."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Int32, Int64
from numpy.typing import ArrayLike

from jaxnigt.clock.communication import check_round_model, round_communication
from jaxnigt.clock.selection import completion, mth_completion
from jaxnigt.clock.synchronous import ends
from jaxnigt.clock.types import Rounds, double_precision, over_profiles, per_round, whole
from jaxnigt.errors import InputError
from jaxnigt.profiles import Profile

RESTARTS = ("cancel", "finish")


def rennala(
    profile: Profile,
    batch: ArrayLike,
    rounds: int,
    *,
    restart: str = "cancel",
    comm_model: str = "allreduce",
) -> Rounds:
    """Rounds that end with the first `batch` gradients computed at the round's point.

    Ties are ordered by (time, worker index). Source: Algorithm 2 of arXiv 2509.24305, where
    unfinished work is stopped (`restart="cancel"`).

    Args:
        profile: times of n workers; leading axes are profiles.
        batch: M, gradients that enter a round, one number or i[K].
        rounds: K, how many rounds.
        restart: "cancel" drops unfinished work and restarts all workers at the new point.
            "finish" lets a busy worker complete its stale gradient, which is discarded, before it
            joins; one that gets free while the round communicates waits for the new point.
        comm_model: "allreduce" adds max_i kappa_i over live workers, "server" over contributors.

    Returns:
        Rounds with end f64[..., K] and counts i32[..., K or 1, n].

    Raises:
        InputError: a count below 1, an unknown restart rule or communication model.

    Example:
        >>> from jaxnigt.profiles import power_law
        >>> result = rennala(power_law(4, 0.5), batch=3, rounds=2)
        >>> result.end, result.counts
        (array([1.73205081, 3.46410162]), array([[1, 1, 1, 0]], dtype=int32))
    """
    rounds = whole("rounds", rounds)
    batches = per_round("batch", batch, rounds)
    check_round_model(comm_model)
    if restart not in RESTARTS:
        raise InputError(f"restart: got {restart!r}, allowed are {', '.join(RESTARTS)}.")
    with double_precision():
        if restart == "finish":
            kernel = functools.partial(_finish, batches=batches, comm_model=comm_model)
            end, counts = over_profiles(kernel, profile)
            return Rounds(end, counts)
        # Under fixed times all rounds of one size are alike, so one of each is enough.
        sizes, which = np.unique(batches, return_inverse=True)
        kernel = functools.partial(_cancel, sizes=sizes, comm_model=comm_model)
        durations, counts = over_profiles(kernel, profile)
    return Rounds(ends(durations, which), counts if len(sizes) == 1 else counts[..., which, :])


@functools.partial(jax.jit, static_argnames="comm_model")
def _cancel(
    compute: Float64[Array, "P n"],
    comm: Float64[Array, "P n"],
    sizes: Int64[Array, " u"],
    comm_model: str,
) -> tuple[Float64[Array, "P u"], Int32[Array, "P u n"]]:
    """Duration and counts of one round of each size, started at time 0."""

    def one(
        h: Float64[Array, " n"], kappa: Float64[Array, " n"], batch: Int64[Array, ""]
    ) -> tuple[Float64[Array, ""], Int32[Array, " n"]]:
        found = mth_completion(jnp.zeros_like(h), jnp.zeros(h.shape, jnp.int64), h, batch)
        pause = round_communication(comm_model, kappa, jnp.isfinite(h), found.counts)
        return found.time + pause, found.counts.astype(jnp.int32)

    return jax.vmap(jax.vmap(one, (None, None, 0)), (0, 0, None))(compute, comm, sizes)


@functools.partial(jax.jit, static_argnames="comm_model")
def _finish(
    compute: Float64[Array, "P n"],
    comm: Float64[Array, "P n"],
    batches: Int64[Array, " K"],
    comm_model: str,
) -> tuple[Float64[Array, "P K"], Int32[Array, "P K n"]]:
    """Rounds in turn: each worker carries where its grid of completions starts and is up to."""

    def one(
        h: Float64[Array, " n"], kappa: Float64[Array, " n"]
    ) -> tuple[Float64[Array, " K"], Int32[Array, "K n"]]:
        def one_round(
            grid: tuple[Array, Array], batch: Int64[Array, ""]
        ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
            start, skip = grid
            found = mth_completion(start, skip, h, batch)
            pause = round_communication(comm_model, kappa, jnp.isfinite(h), found.counts)
            over = found.time + pause
            # Who delivered last is free at once; the others are busy with a gradient now stale.
            delivered = jnp.arange(h.shape[0]) == found.worker
            skip = found.position + jnp.where(delivered, 0, 1)
            waits = (pause > 0) & (completion(start, skip, h) <= over)
            grid = (jnp.where(waits, over, start), jnp.where(waits, 0, skip))
            return grid, (over, found.counts.astype(jnp.int32))

        grid = (jnp.zeros_like(h), jnp.zeros(h.shape, jnp.int64))
        return jax.lax.scan(one_round, grid, batches)[1]

    return jax.vmap(one)(compute, comm)
