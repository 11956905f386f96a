"""The arrival that ends a collection, among n workers that compute one gradient after another.

Arrivals are ordered by (time, worker index), so that ties come out the same everywhere. Nothing is
simulated event by event: arrivals up to a time are counted by division, and the time is found by
bisection down to neighbouring floating-point numbers.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float64, Int64

from jaxnigt.clock.pace import Timetable


@runtime_checkable
class Rule(Protocol):
    """When a collection is over: a score that adds up over workers, and when the sum is enough.

    The sum must become enough and stay so as counts grow.
    """

    def score(self, counts: Int64[Array, " n"]) -> Float64[Array, "n s"]:
        """What each worker's useful gradients add."""
        ...

    def enough(self, total: Float64[Array, "*any s"]) -> Bool[Array, "*any"]:
        """Whether the collection is over."""
        ...

    def latest(self, table: Timetable, skip: Int64[Array, " n"]) -> Float64[Array, ""]:
        """A time by which the collection is over; inf where that is not known."""
        ...


class Selection(NamedTuple):
    """The arrival that ends a collection.

    Attributes:
        time: f64[], when it happens [s], inf if never.
        worker: i64[], whose it is.
        position: i64[n], gradients of each worker that arrived up to and including that event,
            useful or not.
        counts: i64[n], the useful ones among them.
    """

    time: Float64[Array, ""]
    worker: Int64[Array, ""]
    position: Int64[Array, " n"]
    counts: Int64[Array, " n"]


def select(table: Timetable, skip: Int64[Array, " n"], rule: Rule) -> Selection:
    """Find the first arrival at which a collection is over.

    Args:
        table: the workers' arrivals.
        skip: i64[n], how many of each worker's first arrivals are of no use.
        rule: when it is over.
    """

    def over(time: Float64[Array, ""]) -> Bool[Array, ""]:
        return rule.enough(rule.score(jnp.maximum(table.arrived(time) - skip, 0)).sum(axis=0))

    def halve(bracket: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        low, high, _ = bracket
        middle = low + 0.5 * (high - low)
        enough = over(middle)
        moved = (middle > low) & (middle < high)
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high), moved

    latest = rule.latest(table, skip)
    # After the last change of power, workers that are still away stay away.
    last = jnp.max(jnp.append(table.pace.breaks, 0.0)) + table.lead.max()
    latest = jnp.where(latest < jnp.inf, latest, jnp.maximum(last, table.edge[0].max()))
    bracket = (table.edge[0].min(), latest, jnp.array(True))
    time = jax.lax.while_loop(lambda b: b[2], halve, bracket)[1]
    found = _with_ties(time, table, skip, rule)
    return found._replace(time=jnp.where(over(latest), time, jnp.inf))


def _with_ties(
    time: Float64[Array, ""], table: Timetable, skip: Int64[Array, " n"], rule: Rule
) -> Selection:
    """Drop the arrivals at `time` that come after the deciding one in the order of workers."""
    position = table.arrived(time)
    on_time = (position > 0) & (table.arrival(position.astype(jnp.float64)) == time)
    useful = jnp.maximum(position - skip, 0)
    tied = on_time & (useful > 0)
    before = rule.score(useful - tied.astype(jnp.int64))
    gain = jnp.cumsum(rule.score(useful) - before, axis=0)
    worker = jnp.argmax(tied & rule.enough(before.sum(axis=0)[None] + gain))
    after = jnp.arange(len(skip)) > worker
    position = position - (on_time & after).astype(jnp.int64)
    return Selection(time, worker, position, jnp.maximum(position - skip, 0))
