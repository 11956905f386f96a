"""When each collection is over, as additive scores of the workers' counts, and where to look for it.

Counts are whole numbers in float64, which compilers handle faster than integers.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float64, Int64

from jaxnigt.clock.pace import Timetable

_SLACK = 1e-12
"""Relative slack of Malenia's condition: sums of 1/M_i that are equal as fractions count as equal."""

_BACK = 1e-12
"""Relative step back before an arrival, beyond the rounding of counts that are not exact."""

_FEW, _STEPS = 2.5, 40
"""Arrivals that are left to be taken one by one, and how often to try for that."""

Counts = Float64[Array, " n"]


def before(time: Float64[Array, ""]) -> Float64[Array, ""]:
    """A time a little earlier, so that what arrives at `time` has surely not arrived."""
    return time - _BACK * jnp.abs(time)


class First(NamedTuple):
    """The first M gradients, whoever computes them (Rennala)."""

    m: Int64[Array, ""]

    def score(self, counts: Counts) -> Float64[Array, "n 1"]:
        """Every gradient counts."""
        return counts[:, None]

    def enough(self, total: Float64[Array, "*any 1"]) -> Bool[Array, "*any"]:
        """M of them."""
        return total[..., 0] >= self.m.astype(jnp.float64)

    def low(self, table: Timetable, skip: Counts) -> Float64[Array, ""]:
        """Where the work done adds up to M, then on to where whole gradients nearly do."""
        m = self.m.astype(jnp.float64)
        # Whole gradients, so that it is the deciding arrival's own piece and not the one before. Each
        # piece alone, as XLA would give a sum over one axis of three to a library that is slow at it.
        whole = [jnp.floor(jnp.maximum(done - skip, 0.0)).sum() for done in table.done[1:]]
        piece = jnp.sum(jnp.asarray(whole) < m)
        edge, done = table.edge[piece], table.done[piece] - skip
        rate = table.pace.power[piece] / table.pace.h
        # Without the workers that are not useful yet the work is less, so this is late, not early.
        total = rate.sum()
        time = (m - done.sum() + (rate * edge).sum()) / jnp.where(total > 0, total, 1.0)

        def work(time: Float64[Array, ""]) -> Counts:
            return jnp.maximum(done + jnp.maximum(time - edge, 0.0) * rate, 0.0)

        for _ in range(3):  # Newton's method on a convex function, from the right
            useful = work(time)
            slope = jnp.where(useful > 0, rate, 0.0).sum()
            time = time - (useful.sum() - m) / jnp.where(slope > 0, slope, 1.0)
        if len(table.done) > 1:  # fractions may have added up to M before the piece begins
            time = jnp.maximum(time, edge.min())
        slope = jnp.where(work(time) > 0, rate, 0.0).sum()

        def lacking(time: Float64[Array, ""]) -> Float64[Array, ""]:
            return m - jnp.floor(work(time)).sum()

        def closer(state: tuple[Array, ...]) -> tuple[Array, ...]:
            """Where the missing gradients come if they come evenly, and every other time the middle."""
            low, high, missing, beyond, steps = state
            share = jnp.clip((missing - 0.5) / (missing + beyond), 0.02, 0.98)
            guess = low + jnp.where(steps % 2 == 0, share, 0.5) * (high - low)
            left = lacking(guess)
            early = left > 0
            low, high = jnp.where(early, guess, low), jnp.where(early, high, guess)
            return low, high, jnp.where(early, left, missing), jnp.where(early, beyond, -left), steps + 1

        def far(state: tuple[Array, ...]) -> Bool[Array, ""]:
            low, high, missing, _, steps = state
            return (missing > _FEW) & (high - low > _BACK * high) & (steps < _STEPS)

        # Each worker lacks less than one gradient, so n more at the rate of all are surely enough.
        low = before(time)
        high = low + len(skip) / jnp.where(slope > 0, slope, 1.0)
        state = (low, high, lacking(low), -lacking(high), jnp.zeros((), jnp.int64))
        low = jax.lax.while_loop(far, closer, state)[0]
        return before(jnp.where(total > 0, low, 0.0))


class Fastest(NamedTuple):
    """One gradient from each of the first m workers (m-synchronous)."""

    m: Int64[Array, ""]

    def score(self, counts: Counts) -> Float64[Array, "n 1"]:
        """A worker's first gradient counts."""
        return jnp.minimum(counts, 1.0)[:, None]

    def enough(self, total: Float64[Array, "*any 1"]) -> Bool[Array, "*any"]:
        """m workers."""
        return total[..., 0] >= self.m.astype(jnp.float64)

    def low(self, table: Timetable, skip: Counts) -> Float64[Array, ""]:
        """The m-th of their first arrivals."""
        return before(jnp.sort(table.arrival(skip + 1))[self.m - 1])


class Harmonic(NamedTuple):
    """((1/n) sum 1/M_i)^-1 >= M/n with 1/0 = inf (Malenia)."""

    m: Int64[Array, ""]

    def score(self, counts: Counts) -> Float64[Array, "n 3"]:
        """1/M_i where that is finite, whether it is not, and 1 to count the workers."""
        none = counts == 0
        inverse = jnp.where(none, 0.0, 1 / jnp.maximum(counts, 1.0))
        return jnp.stack([inverse, none.astype(jnp.float64), jnp.ones_like(inverse)], axis=-1)

    def enough(self, total: Float64[Array, "*any 3"]) -> Bool[Array, "*any"]:
        """No worker without a gradient, and sum 1/M_i <= n^2 / M."""
        inverse, none, n = (total[..., i] for i in range(3))
        return (none == 0) & (inverse * self.m.astype(jnp.float64) <= n**2 * (1 + _SLACK))

    def low(self, table: Timetable, skip: Counts) -> Float64[Array, ""]:
        """By bisection between where everyone has one and where everyone has M/n."""
        share = jnp.ceil(self.m.astype(jnp.float64) / len(skip))
        first, last = table.arrival(skip + 1).max(), table.arrival(skip + share).max()
        bounded = jnp.isfinite(last)

        def halve(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bracket
            middle = 0.5 * (low + high)
            work = table.work(jnp.broadcast_to(middle, skip.shape))
            enough = self.enough(self.score(jnp.maximum(jnp.floor(work) - skip, 0.0)).sum(axis=0))
            return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

        start = (before(first), jnp.where(bounded, last, first))
        return before(jax.lax.fori_loop(0, 45, halve, start)[0])
