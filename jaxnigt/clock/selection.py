"""The M-th completion of n workers that each finish work at regular times.

Worker i completes its j-th useful gradient at start_i + (skip_i + j) h_i. The product is formed
once in float64, and completions are ordered by (time, worker index), so that ties come out the same
everywhere. Nothing is simulated event by event: completions up to a time are counted by division,
and the time is found by bisection down to neighbouring floating-point numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float64, Int64


class Selection(NamedTuple):
    """The M-th completion.

    Attributes:
        time: f64[...], when it happens [s].
        worker: i64[...], whose it is.
        position: i64[..., n], completions of each worker's grid up to and including that event,
            useful or not.
        counts: i64[..., n], the useful ones among them; they sum to M.
    """

    time: Float64[Array, "*batch"]
    worker: Int64[Array, "*batch"]
    position: Int64[Array, "*batch n"]
    counts: Int64[Array, "*batch n"]


def completion(
    start: Float64[Array, "..."], k: Int64[Array, "..."], h: Float64[Array, "..."]
) -> Float64[Array, "..."]:
    """start + k * h with the product rounded to float64 before the sum.

    Compilers like to fuse a product and a sum into one rounding, which would order some ties
    differently from machine to machine. They do not fuse through a selection; an optimisation
    barrier does not help, as it is gone by the time machine code is made.
    """
    return start + jnp.where(h < jnp.inf, k * h, jnp.inf)


def completed(
    time: Float64[Array, "*batch"], start: Float64[Array, "*batch n"], h: Float64[Array, "*batch n"]
) -> Int64[Array, "*batch n"]:
    """How many k >= 1 have start + k h <= time, exactly as float64 compares them."""
    time = time[..., None]
    k = jnp.maximum(jnp.floor((time - start) / h), 0.0).astype(jnp.int64)
    # The quotient is off by at most one where a completion falls on `time`.
    k = jnp.where((k > 0) & (completion(start, k, h) > time), k - 1, k)
    return jnp.where(completion(start, k + 1, h) <= time, k + 1, k)


def mth_completion(
    start: Float64[Array, "*batch n"],
    skip: Int64[Array, "*batch n"],
    h: Float64[Array, "*batch n"],
    m: Int64[Array, "*batch"],
) -> Selection:
    """Find the m-th useful completion; `h` is inf for dead workers, at least one is live."""

    def useful(time: Float64[Array, "*batch"]) -> Int64[Array, "*batch"]:
        return jnp.maximum(completed(time, start, h) - skip, 0).sum(axis=-1)

    def halve(bracket: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        low, high, _ = bracket
        middle = low + 0.5 * (high - low)
        enough = useful(middle) >= m
        moved = (middle > low) & (middle < high)
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high), moved.any()

    # The fastest worker alone has all m by `high`; before `low` nobody has anything.
    alone = completion(start, skip + m[..., None], h)
    bracket = (start.min(axis=-1), alone.min(axis=-1), jnp.array(True))
    time = jax.lax.while_loop(lambda b: b[2], halve, bracket)[1]
    return _with_ties(time, start, skip, h, m)


def _with_ties(
    time: Float64[Array, "*batch"],
    start: Float64[Array, "*batch n"],
    skip: Int64[Array, "*batch n"],
    h: Float64[Array, "*batch n"],
    m: Int64[Array, "*batch"],
) -> Selection:
    """Drop the completions at `time` that come after the m-th in the order of workers."""
    position = completed(time, start, h)
    on_time = (position > 0) & (completion(start, position, h) == time[..., None])
    tied = on_time & (position > skip)
    excess = jnp.maximum(position - skip, 0).sum(axis=-1) - m
    rank = tied.cumsum(axis=-1, dtype=jnp.int64)
    last = rank[..., -1:] - excess[..., None]
    worker = jnp.argmax(tied & (rank == last), axis=-1)
    after = jnp.arange(h.shape[-1]) > worker[..., None]
    position = position - (on_time & after)
    return Selection(time, worker, position, jnp.maximum(position - skip, 0))
