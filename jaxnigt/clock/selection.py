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
        time: f64[], when it happens [s].
        worker: i64[], whose it is.
        position: i64[n], completions of each worker's grid up to and including that event, useful
            or not.
        counts: i64[n], the useful ones among them; they sum to M.
    """

    time: Float64[Array, ""]
    worker: Int64[Array, ""]
    position: Int64[Array, " n"]
    counts: Int64[Array, " n"]


def completion(
    start: Float64[Array, " n"], k: Int64[Array, " n"], h: Float64[Array, " n"]
) -> Float64[Array, " n"]:
    """start + k * h with the product rounded to float64 before the sum.

    Compilers like to fuse a product and a sum into one rounding, which would order some ties
    differently from machine to machine. They do not fuse through a selection; an optimisation
    barrier does not help, as it is gone by the time machine code is made.
    """
    return start + jnp.where(h < jnp.inf, k.astype(h.dtype) * h, jnp.inf)


def completed(
    time: Float64[Array, ""], start: Float64[Array, " n"], h: Float64[Array, " n"]
) -> Int64[Array, " n"]:
    """How many k >= 1 have start + k h <= time, exactly as float64 compares them."""
    k = jnp.maximum(jnp.floor((time - start) / h), 0.0).astype(jnp.int64)
    # The quotient is off by at most one where a completion falls on `time`.
    k = jnp.where((k > 0) & (completion(start, k, h) > time), k - 1, k)
    return jnp.where(completion(start, k + 1, h) <= time, k + 1, k)


def mth_completion(
    start: Float64[Array, " n"], skip: Int64[Array, " n"], h: Float64[Array, " n"], m: Int64[Array, ""]
) -> Selection:
    """Find the m-th useful completion of one profile; `h` is inf for dead workers, one is live."""

    def useful(time: Float64[Array, ""]) -> Int64[Array, ""]:
        return jnp.maximum(completed(time, start, h) - skip, 0).sum()

    def halve(bracket: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        low, high, _ = bracket
        middle = low + 0.5 * (high - low)
        enough = useful(middle) >= m
        moved = (middle > low) & (middle < high)
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high), moved

    # The fastest worker alone has all m by `high`; before `low` nobody has anything.
    bracket = (start.min(), completion(start, skip + m, h).min(), jnp.array(True))
    time = jax.lax.while_loop(lambda b: b[2], halve, bracket)[1]
    return _with_ties(time, start, skip, h, m)


def _with_ties(
    time: Float64[Array, ""],
    start: Float64[Array, " n"],
    skip: Int64[Array, " n"],
    h: Float64[Array, " n"],
    m: Int64[Array, ""],
) -> Selection:
    """Drop the completions at `time` that come after the m-th in the order of workers."""
    position = completed(time, start, h)
    on_time = (position > 0) & (completion(start, position, h) == time)
    tied = on_time & (position > skip)
    excess = jnp.maximum(position - skip, 0).sum() - m
    rank = tied.cumsum(dtype=jnp.int64)
    worker = jnp.argmax(tied & (rank == rank[-1] - excess))
    after = jnp.arange(h.shape[0]) > worker
    position = position - (on_time & after).astype(jnp.int64)
    return Selection(time, worker, position, jnp.maximum(position - skip, 0))
