"""When each collection is over, as additive scores of the workers' counts."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float64, Int64

from jaxnigt.clock.pace import Timetable

_SLACK = 1e-12
"""Relative slack of Malenia's condition: sums of 1/M_i that are equal as fractions count as equal."""


def _nth(table: Timetable, k: Int64[Array, " n"]) -> Float64[Array, " n"]:
    return table.arrival(k.astype(jnp.float64))


class First(NamedTuple):
    """The first M gradients, whoever computes them (Rennala)."""

    m: Int64[Array, ""]

    def score(self, counts: Int64[Array, " n"]) -> Float64[Array, "n 1"]:
        """Every gradient counts."""
        return counts.astype(jnp.float64)[:, None]

    def enough(self, total: Float64[Array, "*any 1"]) -> Bool[Array, "*any"]:
        """M of them."""
        return total[..., 0] >= self.m.astype(jnp.float64)

    def latest(self, table: Timetable, skip: Int64[Array, " n"]) -> Float64[Array, ""]:
        """One worker alone has all M."""
        return _nth(table, skip + self.m).min()


class Fastest(NamedTuple):
    """One gradient from each of the first m workers (m-synchronous; n is synchronous)."""

    m: Int64[Array, ""]

    def score(self, counts: Int64[Array, " n"]) -> Float64[Array, "n 1"]:
        """A worker's first gradient counts."""
        return jnp.minimum(counts, 1).astype(jnp.float64)[:, None]

    def enough(self, total: Float64[Array, "*any 1"]) -> Bool[Array, "*any"]:
        """m workers."""
        return total[..., 0] >= self.m.astype(jnp.float64)

    def latest(self, table: Timetable, skip: Int64[Array, " n"]) -> Float64[Array, ""]:
        """The m-th of their first arrivals."""
        return jnp.sort(_nth(table, skip + 1))[self.m - 1]


class Harmonic(NamedTuple):
    """((1/n) sum 1/M_i)^-1 >= M/n with 1/0 = inf (Malenia)."""

    m: Int64[Array, ""]

    def score(self, counts: Int64[Array, " n"]) -> Float64[Array, "n 3"]:
        """1/M_i where that is finite, whether it is not, and 1 to count the workers."""
        none = counts == 0
        inverse = jnp.where(none, 0.0, 1 / jnp.maximum(counts, 1).astype(jnp.float64))
        return jnp.stack([inverse, none.astype(jnp.float64), jnp.ones_like(inverse)], axis=-1)

    def enough(self, total: Float64[Array, "*any 3"]) -> Bool[Array, "*any"]:
        """No worker without a gradient, and sum 1/M_i <= n^2 / M."""
        inverse, none, n = (total[..., i] for i in range(3))
        return (none == 0) & (inverse * self.m.astype(jnp.float64) <= n**2 * (1 + _SLACK))

    def latest(self, table: Timetable, skip: Int64[Array, " n"]) -> Float64[Array, ""]:
        """Everyone has M/n."""
        return _nth(table, skip + -(-self.m // len(skip))).max()
