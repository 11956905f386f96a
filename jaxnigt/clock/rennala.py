"""Rennala rounds: the first M gradients, whoever computes them."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Int64

from jaxnigt.clock.communication import check_round_model, round_communication
from jaxnigt.clock.selection import completion, mth_completion
from jaxnigt.clock.synchronous import ends
from jaxnigt.clock.types import Rounds, double_precision, per_round, whole
from jaxnigt.errors import InputError
from jaxnigt.profiles import Profile

RESTARTS = ("cancel", "finish")


def rennala(
    profile: Profile,
    batch: int | np.ndarray,
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
            return _to_host(*_finish(profile.compute, profile.comm, batches, comm_model))
        sizes, which = np.unique(batches, return_inverse=True)
        durations, counts = _cancel(profile.compute, profile.comm, sizes, comm_model)
        counts = np.asarray(counts)
    # Under fixed times all rounds of one size are alike, so one of each was enough.
    counts = counts if len(sizes) == 1 else counts[..., which, :]
    return _to_host(ends(np.asarray(durations), which), counts)


def _to_host(end: Array | np.ndarray, counts: Array | np.ndarray) -> Rounds:
    return Rounds(np.asarray(end), np.asarray(counts).astype(np.int32))


@functools.partial(jax.jit, static_argnames="comm_model")
def _cancel(
    compute: Float64[Array, "*profiles n"],
    comm: Float64[Array, "*profiles n"],
    sizes: Int64[Array, " u"],
    comm_model: str,
) -> tuple[Float64[Array, "*profiles u"], Int64[Array, "*profiles u n"]]:
    """Duration and counts of one round of each size, started at time 0."""
    shape = (*compute.shape[:-1], len(sizes), compute.shape[-1])
    h = jnp.broadcast_to(compute[..., None, :], shape)
    zero = jnp.zeros(shape)
    batch = jnp.broadcast_to(sizes, shape[:-1])
    found = mth_completion(zero, zero.astype(jnp.int64), h, batch)
    comm = jnp.broadcast_to(comm[..., None, :], shape)
    return found.time + round_communication(comm_model, comm, jnp.isfinite(h), found.counts), found.counts


@functools.partial(jax.jit, static_argnames="comm_model")
def _finish(
    compute: Float64[Array, "*profiles n"],
    comm: Float64[Array, "*profiles n"],
    batches: Int64[Array, " K"],
    comm_model: str,
) -> tuple[Float64[Array, "*profiles K"], Int64[Array, "*profiles K n"]]:
    """Rounds in turn: each worker carries where its grid of completions starts and is up to."""
    live, worker = jnp.isfinite(compute), jnp.arange(compute.shape[-1])

    def one_round(
        grid: tuple[Array, Array], batch: Int64[Array, ""]
    ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        start, skip = grid
        found = mth_completion(start, skip, compute, jnp.broadcast_to(batch, compute.shape[:-1]))
        pause = round_communication(comm_model, comm, live, found.counts)
        over = (found.time + pause)[..., None]
        # Who delivered last is free at once; the others are busy with a gradient that is now stale.
        delivered = worker == found.worker[..., None]
        free_at = completion(start, found.position + jnp.where(delivered, 0, 1), compute)
        waits = (pause[..., None] > 0) & (free_at <= over)
        skip = jnp.where(waits, 0, found.position + jnp.where(delivered, 0, 1))
        start = jnp.where(waits, over, start)
        return (start, skip), (over[..., 0], found.counts)

    grid = (jnp.zeros_like(compute), jnp.zeros(compute.shape, jnp.int64))
    _, (end, counts) = jax.lax.scan(one_round, grid, batches)
    return jnp.moveaxis(end, 0, -1), jnp.moveaxis(counts, 0, -2)
