"""Who comes first, in the order of (time, worker index), without sorting."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float64, Int, Int64

_FLAT = 32
"""Workers up to which one look at all of them is fastest on a CPU."""

_ROW = 16
"""Workers of a row, beyond that."""


class Queue(NamedTuple):
    """Who is next among n workers, each with one event ahead: rows of workers and their minima.

    An event costs a look at the minima and at one row, not at all workers.

    Attributes:
        rows: f64[r, w], times of events, inf beyond the n-th.
        least: f64[r], the minimum of each row.
    """

    rows: Float64[Array, "r w"]
    least: Float64[Array, " r"]

    def head(self) -> tuple[Float64[Array, ""], Int64[Array, ""]]:
        """Time and worker of the next event; of those at one time, the lowest index."""
        rows, width = self.rows.shape
        if rows == 1:
            return _first(self.rows[0])
        time, row = _first(self.least)
        return time, row * width + _first(self.rows[row])[1]

    def put(self, worker: Int64[Array, ""], time: Float64[Array, ""]) -> Queue:
        """The queue with a worker's event moved to another time."""
        rows, width = self.rows.shape
        if rows == 1:
            return Queue(self.rows.at[0, worker].set(time), self.least)
        row = worker // width
        changed = jnp.where(jnp.arange(width) == worker % width, time, self.rows[row])
        least = jnp.where(jnp.arange(rows) == row, changed.min(), self.least)
        return Queue(self.rows.at[row].set(changed), least)

    def times(self, n: int) -> Float64[Array, " n"]:
        """When the events of all n workers are."""
        return self.rows.reshape(-1)[:n]


def queue(times: Float64[Array, " n"]) -> Queue:
    """A queue of one event for each worker."""
    n = len(times)
    width = n if n <= _FLAT else _ROW
    rows = jnp.pad(times, (0, -n % width), constant_values=jnp.inf).reshape(-1, width)
    return Queue(rows, rows.min(axis=1))


def _first(times: Float64[Array, " n"]) -> tuple[Float64[Array, ""], Int64[Array, ""]]:
    """The minimum and where it first is: two passes, which compilers vectorise, unlike an argmin."""
    time = times.min()
    return time, jnp.where(times == time, jnp.arange(len(times)), len(times) - 1).min()


def first_of(times: Float64[Array, " n"], m: Int[Array, ""]) -> Bool[Array, " n"]:
    """Which m of n times come first.

    By bisection on the bits of the numbers, which are in the same order as non-negative numbers.
    """
    bits = jax.lax.bitcast_convert_type(times, jnp.int64)

    def apart(bracket: tuple[Array, Array]) -> Bool[Array, ""]:
        return bracket[0] + 1 < bracket[1]

    def halve(bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = low + (high - low) // 2
        below = bits <= middle
        enough = below.sum() >= m
        # On to the next number that there is.
        high = jnp.where(enough, jnp.where(below, bits, -1).max(), high)
        low = jnp.where(enough, low, jnp.where(below, jnp.iinfo(jnp.int64).max, bits).min() - 1)
        return low, high

    # Fewer than m are at most `low`, and at least m at most `high`.
    _, last = jax.lax.while_loop(apart, halve, (bits.min() - 1, bits.max()))
    earlier, tied = bits < last, bits == last
    room = m - earlier.sum()

    def crowded(bracket: tuple[Array, Array]) -> Bool[Array, ""]:
        return bracket[0] < bracket[1]

    def narrow(bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) // 2
        enough = (tied & (jnp.arange(len(times)) <= middle)).sum() >= room
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    # Among those tied for the last places, the lowest indices.
    n = len(times)
    start = jnp.where(tied.sum() > room, 0, n - 1), jnp.full((), n - 1)
    until, _ = jax.lax.while_loop(crowded, narrow, start)
    return earlier | (tied & (jnp.arange(n) <= until))
