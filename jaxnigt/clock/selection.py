"""The arrival that ends a collection, among n workers that compute one gradient after another.

Arrivals are ordered by (time, worker index), so that ties come out the same everywhere. Nothing is
simulated event by event: arrivals up to a time are counted by division. A bracket closes in on the
deciding arrival with counts that need not be exact; then the few arrivals left are taken one time at a
time, with exact comparisons.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float64, Int64

from jaxnigt.clock.pace import Timetable

_MANY = 1e15
"""More gradients than any round asks for."""


@runtime_checkable
class Rule(Protocol):
    """When a collection is over: a score that adds up over workers, and when the sum is enough.

    The sum must become enough and stay so as counts grow.
    """

    def score(self, counts: Float64[Array, " n"]) -> Float64[Array, "n s"]:
        """What each worker's useful gradients add."""
        ...

    def enough(self, total: Float64[Array, "*any s"]) -> Bool[Array, "*any"]:
        """Whether the collection is over."""
        ...

    def low(self, table: Timetable, skip: Float64[Array, " n"]) -> Float64[Array, ""]:
        """A time before the deciding arrival, and close to it."""
        ...


class Selection(NamedTuple):
    """The arrival that ends a collection.

    Attributes:
        time: f64[], when it happens [s], inf if never.
        worker: i64[], whose it is.
        position: f64[n], gradients of each worker that arrived up to and including that event,
            useful or not; whole numbers.
        counts: f64[n], the useful ones among them.
    """

    time: Float64[Array, ""]
    worker: Int64[Array, ""]
    position: Float64[Array, " n"]
    counts: Float64[Array, " n"]


def select(table: Timetable, skip: Float64[Array, " n"], rule: Rule) -> Selection:
    """Find the first arrival at which a collection is over.

    Args:
        table: the workers' arrivals.
        skip: f64[n], how many of each worker's first arrivals are of no use.
        rule: when it is over.
    """

    def over(position: Float64[Array, " n"]) -> Bool[Array, ""]:
        return rule.enough(rule.score(jnp.maximum(position - skip, 0.0)).sum(axis=0))

    low = rule.low(table, skip)
    position = table.arrived(jnp.where(jnp.isfinite(low), low, 0.0))
    # Where rounding made it too late, everything is taken from the start.
    position = jnp.where(over(position), 0.0, position)
    # Workers that stay away after the last change of power deliver no more; the others all that is
    # asked of them. If that is not enough the collection never ends.
    ends = jnp.append(table.pace.breaks, 0.0).max() + table.lead.max()
    gone = (table.pace.power[-1] == 0) | ~jnp.isfinite(table.pace.h)
    possible = over(jnp.where(gone, table.arrived(jnp.maximum(ends, table.edge.max())), _MANY))

    def later(state: tuple[Array, ...]) -> tuple[Array, ...]:
        """Take all arrivals of the next time at which there are any."""
        position, _, _, _ = state
        following = table.arrival(position + 1)
        time = following.min()
        tied = following == time
        after = position + tied.astype(jnp.float64)
        return after, time, tied, over(after) | ~jnp.isfinite(time)

    nobody = jnp.zeros(skip.shape, bool)
    state = (position, jnp.full((), jnp.inf), nobody, ~possible)
    position, time, tied, _ = jax.lax.while_loop(lambda state: ~state[3], later, state)
    return _with_ties(position, time, tied, skip, rule)


def _with_ties(
    position: Float64[Array, " n"],
    time: Float64[Array, ""],
    tied: Bool[Array, " n"],
    skip: Float64[Array, " n"],
    rule: Rule,
) -> Selection:
    """Drop the arrivals at `time` that come after the deciding one in the order of workers."""
    useful = jnp.maximum(position - skip, 0.0)
    counted = tied & (useful > 0)
    before = rule.score(useful - counted.astype(jnp.float64))
    gain = jnp.cumsum(rule.score(useful) - before, axis=0)
    worker = jnp.argmax(counted & rule.enough(before.sum(axis=0)[None] + gain))
    dropped = tied & (jnp.arange(len(skip)) > worker)
    position = position - dropped.astype(jnp.float64)
    return Selection(time, worker, position, jnp.maximum(position - skip, 0.0))
