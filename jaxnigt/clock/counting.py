"""Rounds at fixed or time-varying speed, by counting arrivals and not by playing them.

How many gradients have arrived by a time is a division. A bracket closes in on the arrival that ends a
collection with counts that need not be exact. The few arrivals that are left are then taken one time at
a time, with exact comparisons.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float64, Int, Int32, Int64, Key

from jaxnigt.clock.batching import paused
from jaxnigt.clock.communication import Communication
from jaxnigt.clock.pace import Pace, Timetable, timetable
from jaxnigt.clock.rules import Additive, Counts, Rule, over, useful

MANY = 1e15  # More gradients than any round asks for.
MOST_COUNT, _MOST_POSITION = 2**31 - 1, 2.0**52
"""What counts hold, and up to where float64 tells one arrival of a worker from the next."""


class Selection(NamedTuple):
    """The arrival that ends a collection.

    Attributes:
        time: f64[], when it happens [s], inf if never, -inf where float64 cannot tell.
        worker: i64[], whose it is.
        position: f64[n], gradients of each worker that arrived up to and including that event, those
            that do not count among them; whole numbers.
        counts: f64[n], those that count.
    """

    time: Float64[Array, ""]
    worker: Int64[Array, ""]
    position: Counts
    counts: Counts


def select(table: Timetable, skip: Counts, rule: Rule) -> Selection:
    """The first arrival at which the rule holds; the first `skip` arrivals of workers do not count."""

    def reached(position: Counts) -> Bool[Array, ""]:
        return over(rule, jnp.maximum(position - skip, 0.0))

    low = rule.hint_low(table, skip)
    position = table.arrived(jnp.where(jnp.isfinite(low), low, 0.0))
    # Where rounding made the time too late, everything is taken from the start.
    position = jnp.where(reached(position), 0.0, position)
    # Workers that stay away after the last change of power deliver no more, the others all that is asked
    # of them. If that is not enough the collection never ends.
    ends = jnp.append(table.pace.breaks, 0.0).max() + table.lead.max()
    gone = (table.pace.power[-1] == 0) | ~jnp.isfinite(table.pace.h)
    possible = reached(jnp.where(gone, table.arrived(jnp.maximum(ends, table.edge.max())), MANY))

    def later(state: tuple[Array, ...]) -> tuple[Array, ...]:
        """Take all arrivals of the next time at which there are any."""
        position, _, _, _ = state
        following = table.arrival(position + 1)
        time = following.min()
        tied = following == time
        after = position + tied.astype(jnp.float64)
        return after, time, tied, reached(after) | ~jnp.isfinite(time)

    nobody = jnp.zeros(skip.shape, bool)
    beyond = possible & (position.max() > _MOST_POSITION)
    state = (position, jnp.where(beyond, -jnp.inf, jnp.inf), nobody, ~possible | beyond)
    position, time, tied, _ = jax.lax.while_loop(lambda state: ~state[3], later, state)
    worker = _decider(rule, jnp.maximum(position - skip, 0.0), tied & (position > skip))
    dropped = tied & (jnp.arange(len(skip)) > worker)
    position = position - dropped.astype(jnp.float64)
    return Selection(time, worker, position, jnp.maximum(position - skip, 0.0))


def _counted(time: Float64[Array, ""], counts: Counts) -> tuple[Float64[Array, ""], Int32[Array, " n"]]:
    """The time of a round and its counts as they are kept; -inf where one is too large for that."""
    most = counts.max() > MOST_COUNT
    kept = jnp.where(most & jnp.isinf(time), 0.0, counts)  # of a round that never ends
    return jnp.where(most & ~jnp.isinf(time), -jnp.inf, time), kept.astype(jnp.int32)


def _decider(rule: Rule, counts: Counts, tied: Bool[Array, " n"]) -> Int64[Array, ""]:
    """Which of the arrivals at one time ends the collection, taken in the order of workers."""
    earlier = counts - tied.astype(jnp.float64)
    if isinstance(rule, Additive):
        before = rule.score(earlier)
        gain = jnp.cumsum(rule.score(counts) - before, axis=0)
        return jnp.argmax(tied & rule.enough(before.sum(axis=0)[None] + gain))
    index = jnp.arange(len(counts))

    def halve(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) // 2
        enough = over(rule, jnp.where(index <= middle, counts, earlier))
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    start = (jnp.zeros((), jnp.int64), jnp.full((), len(counts) - 1))
    return jax.lax.fori_loop(0, len(counts).bit_length(), halve, start)[1]


def first_of(times: Float64[Array, " n"], m: Int[Array, ""]) -> Bool[Array, " n"]:
    """Which m of n times come first, those of lower index before others at the same time."""
    # By bisection on the bits of the numbers, which are in the same order as non-negative numbers.
    bits = jax.lax.bitcast_convert_type(times, jnp.int64)

    def halve(bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = low + (high - low) // 2
        below = bits <= middle
        enough = below.sum() >= m
        # Go on to the next number that there is.
        high = jnp.where(enough, jnp.where(below, bits, -1).max(), high)
        low = jnp.where(enough, low, jnp.where(below, jnp.iinfo(jnp.int64).max, bits).min() - 1)
        return low, high

    # Fewer than m are at most `low`, and at least m at most `high`.
    _, last = jax.lax.while_loop(lambda b: b[0] + 1 < b[1], halve, (bits.min() - 1, bits.max()))
    earlier, tied = bits < last, bits == last
    room = m - earlier.sum()

    def narrow(bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) // 2
        enough = (tied & (jnp.arange(len(times)) <= middle)).sum() >= room
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    # Among those tied for the last places, the lowest indices.
    n = len(times)
    start = jnp.where(tied.sum() > room, 0, n - 1), jnp.full((), n - 1)
    until, _ = jax.lax.while_loop(lambda b: b[0] < b[1], narrow, start)
    return earlier | (tied & (jnp.arange(n) <= until))


def who_contributes(arrival: Float64[Array, " n"], m: Int[Array, ""] | int) -> Bool[Array, " n"]:
    """The m workers whose shares arrive first; all of them where m is known to be n."""
    if isinstance(m, int) and m >= len(arrival):
        return jnp.ones(arrival.shape, bool)
    return first_of(arrival, jnp.asarray(m))


class Round(NamedTuple):
    """End and counts of one round, as in `Rounds`; scans stack it."""

    end: Float64[Array, "..."]
    counts: Int32[Array, "... n"]


@dataclasses.dataclass(frozen=True)
class Cancel:
    """Rounds after which all workers restart; if `alike`, all at 0, so that `end` is a duration."""

    rule: Rule
    comm_model: Communication
    alike: bool

    def __call__(
        self, pace: Pace, comm: Float64[Array, " n"], key: Key[Array, ""], sizes: Int64[Array, " K"]
    ) -> Round:
        """Rounds of these batches."""

        def one_round(
            start: Float64[Array, ""], size: Int64[Array, ""]
        ) -> tuple[Float64[Array, ""], Round]:
            done = self._round(pace, comm, start, self.rule.sized(size))
            # Nothing follows a round that never ends; its start is replaced to keep out NaN.
            end = jnp.where(jnp.isfinite(start), done.end, jnp.inf)
            return (jnp.zeros(()) if self.alike else end), done._replace(end=end)

        if self.alike:
            return jax.vmap(lambda size: one_round(jnp.zeros(()), size)[1])(sizes)
        return jax.lax.scan(one_round, jnp.zeros(()), sizes)[1]

    def _round(
        self, pace: Pace, comm: Float64[Array, " n"], start: Float64[Array, ""], rule: Rule
    ) -> Round:
        start = jnp.where(jnp.isfinite(start), start, 0.0)
        live = jnp.isfinite(pace.h)
        lead = comm if self.comm_model.travels else jnp.zeros_like(comm)
        table = timetable(pace, jnp.broadcast_to(start, comm.shape), lead)
        quota = rule.hint_quota(len(comm))
        if quota is None:
            found = select(table, jnp.zeros_like(comm), rule)
            time, counts = found.time, useful(rule, found.counts)
        else:
            each = jnp.broadcast_to(jnp.asarray(quota[1], jnp.float64), comm.shape)
            arrival = table.arrival(each)
            chosen = who_contributes(arrival, quota[0])
            time, counts = jnp.where(chosen, arrival, 0.0).max(), jnp.where(chosen, each, 0.0)
            if self.comm_model.early:
                return Round(jnp.where(chosen, arrival + comm, 0.0).max(), counts.astype(jnp.int32))
        end = time + paused(self.comm_model.pause, comm, live, counts.astype(jnp.int64))
        return Round(*_counted(end, counts))


@dataclasses.dataclass(frozen=True)
class Finish:
    """Rounds in which a busy worker first finishes its stale gradient."""

    rule: Rule
    comm_model: Communication

    def __call__(
        self, pace: Pace, comm: Float64[Array, " n"], key: Key[Array, ""], sizes: Int64[Array, " K"]
    ) -> Round:
        """Rounds of these batches. Each worker carries when it started and how far it is."""
        live = jnp.isfinite(pace.h)

        def one_round(
            grid: tuple[Array, Array], size: Int64[Array, ""]
        ) -> tuple[tuple[Array, Array], Round]:
            start, skip = grid
            table = timetable(pace, start)
            found = select(table, skip, self.rule.sized(size))
            pause = paused(self.comm_model.pause, comm, live, found.counts.astype(jnp.int64))
            over = found.time + pause
            # Who delivered last is free at once; the others are busy with a gradient that is stale now.
            delivered = jnp.arange(len(comm)) == found.worker
            skip = found.position + jnp.where(delivered, 0.0, 1.0)
            waits = (pause > 0) & (table.arrival(skip) <= over)
            restart = waits & jnp.isfinite(over)
            grid = (jnp.where(restart, over, start), jnp.where(restart, 0.0, skip))
            return grid, Round(*_counted(over, found.counts))

        grid = (jnp.zeros_like(comm), jnp.zeros_like(comm))
        return jax.lax.scan(one_round, grid, sizes)[1]
