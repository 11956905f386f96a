"""When work is done that starts at some time, at fixed or time-varying speed, for one profile.

Work is counted in gradients. No product here feeds a sum directly: compilers may fuse the two into one
rounding, which would order some ties differently from machine to machine. A division or a selection in
between prevents it; an optimisation barrier, which is gone by the time machine code is made, does not.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float64, Int64

# Relative step back before an arrival, which is more than the rounding of counts that are not exact.
_BACK = 1e-12
# A search for the deciding arrival ends when so few arrivals are left, or after so many steps.
_FEW, _STEPS = 2.5, 40


def before(time: Float64[Array, ""]) -> Float64[Array, ""]:
    """A time a little earlier. What arrives at `time` has surely not arrived then."""
    return time - _BACK * jnp.abs(time)


class Pace(NamedTuple):
    """Speed of n workers.

    Attributes:
        h: f64[n], seconds per gradient at power 1, inf for a dead worker.
        breaks: f64[B], seconds at which powers change; none where times are fixed.
        power: f64[B + 1, n], speed relative to 1 / h in each piece of time.
    """

    h: Float64[Array, " n"]
    breaks: Float64[Array, " B"]
    power: Float64[Array, "B+1 n"]


class Timetable(NamedTuple):
    """Arrivals of workers that each compute one gradient after another from a start of their own.

    Attributes:
        pace: the workers' speed.
        edge: f64[B + 1, n], where each piece of time begins for the worker, not before its start.
        done: f64[B + 1, n], gradients' worth of work done by then.
        lead: f64[n], seconds from a completion to its arrival at the server.
    """

    pace: Pace
    edge: Float64[Array, "B+1 n"]
    done: Float64[Array, "B+1 n"]
    lead: Float64[Array, " n"]

    def arrival(self, k: Float64[Array, " n"]) -> Float64[Array, " n"]:
        """Seconds at which each worker's k-th gradient arrives; inf if never.

        At power 1 that is start + k h + lead, the product formed once in float64.
        """
        h, breaks, power = self.pace
        if not len(breaks):
            return self.edge[0] + jnp.where(h < jnp.inf, k * h, jnp.inf) + self.lead
        work = (k[None] - self.done) * h[None]
        time = self.edge + jnp.where(power > 0, work / jnp.where(power > 0, power, 1.0), jnp.inf)
        inside = time <= jnp.append(breaks, jnp.inf)[:, None]
        found = jnp.take_along_axis(time, jnp.argmax(inside, axis=0)[None], axis=0)[0]
        return jnp.where(h < jnp.inf, found, jnp.inf) + self.lead

    def work(self, time: Float64[Array, " n"]) -> Float64[Array, " n"]:
        """Gradients' worth of work whose arrival is no later than a time, up to rounding."""
        h, breaks, power = self.pace
        time = time - self.lead
        if not len(breaks):
            return jnp.maximum(time - self.edge[0], 0.0) / h
        piece = jnp.sum(breaks[:, None] < time[None], axis=0)[None]
        edge, done, rate = (
            jnp.take_along_axis(x, piece, axis=0)[0] for x in (self.edge, self.done, power / h[None])
        )
        return done + jnp.maximum(time - edge, 0.0) * rate

    def arrived(self, time: Float64[Array, ""]) -> Float64[Array, " n"]:
        """How many gradients have arrived by a time, exactly as float64 compares arrivals."""
        k = jnp.floor(self.work(jnp.broadcast_to(time, self.lead.shape)))
        # The work is off by rounding only, so at most one where an arrival falls on `time`.
        k = jnp.where((k > 0) & (self.arrival(k) > time), k - 1, k)
        return jnp.where(self.arrival(k + 1) <= time, k + 1, k)

    def nearly(self, m: Float64[Array, ""], skip: Float64[Array, " n"]) -> Float64[Array, ""]:
        """A time before the m-th arrival of all workers together, and close to it.

        The work that workers do, without their first `skip` gradients, adds up to m at some time. From
        there on the search goes to where whole gradients nearly do.
        """
        # Whole gradients tell the deciding arrival's own piece of time from the one before. Each piece
        # has a sum of its own, because XLA gives a sum over one axis of three to a library that is slow
        # at it.
        whole_ = [jnp.floor(jnp.maximum(done - skip, 0.0)).sum() for done in self.done[1:]]
        piece = jnp.sum(jnp.asarray(whole_) < m)
        edge, done = self.edge[piece], self.done[piece] - skip
        rate = self.pace.power[piece] / self.pace.h
        # Without the workers that are not useful yet the work is less, so this is late, not early.
        total = rate.sum()
        time = (m - done.sum() + (rate * edge).sum()) / jnp.where(total > 0, total, 1.0)

        def work(time: Float64[Array, ""]) -> Float64[Array, " n"]:
            return jnp.maximum(done + jnp.maximum(time - edge, 0.0) * rate, 0.0)

        for _ in range(3):  # Newton's method on a convex function, from the right
            worked = work(time)
            slope = jnp.where(worked > 0, rate, 0.0).sum()
            time = time - (worked.sum() - m) / jnp.where(slope > 0, slope, 1.0)
        if len(self.done) > 1:  # fractions may have added up to M before the piece begins
            time = jnp.maximum(time, edge.min())
        slope = jnp.where(work(time) > 0, rate, 0.0).sum()

        def lacking(time: Float64[Array, ""]) -> Float64[Array, ""]:
            return m - jnp.floor(work(time)).sum()

        def closer(state: tuple[Array, ...]) -> tuple[Array, ...]:
            """Go where the missing gradients come if they come evenly, and every other time halfway."""
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


def timetable(
    pace: Pace, start: Float64[Array, " n"], lead: Float64[Array, " n"] | None = None
) -> Timetable:
    """The timetable of workers that start at f64[n] seconds."""
    edge = [start]
    done = [jnp.zeros_like(start)]
    # In turn, since a parallel sum would round differently from one that adds piece by piece.
    for j in range(len(pace.breaks)):
        edge.append(jnp.maximum(start, pace.breaks[j]))
        done.append(done[-1] + (edge[j + 1] - edge[j]) * pace.power[j] / pace.h)
    lead = jnp.zeros_like(start) if lead is None else lead
    return Timetable(pace, jnp.stack(edge), jnp.stack(done), lead)


def finish(
    pace: Pace, worker: Int64[Array, ""], start: Float64[Array, ""], work: Float64[Array, ""]
) -> Float64[Array, ""]:
    """Seconds at which one worker is done with some work; inf if never."""
    alone = Pace(pace.h[worker][None], pace.breaks, pace.power[:, worker][:, None])
    return timetable(alone, start[None]).arrival(work[None])[0]
