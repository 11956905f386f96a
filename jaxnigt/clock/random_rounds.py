"""Rounds in turn for one profile whose gradients take random times, event by event.

Each gradient draws its own time with a key folded from (profile, round, worker, draw), the round being
the one in which it was started.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float64, Int32, Int64, Key

from jaxnigt.clock import keys
from jaxnigt.clock.communication import round_communication
from jaxnigt.clock.order import Queue, first_of, queue
from jaxnigt.clock.pace import Pace, finish, timetable
from jaxnigt.clock.rules import Fastest, First, Harmonic
from jaxnigt.profiles import Noise

RULES = {"m_synchronous": Fastest, "rennala": First, "malenia": Harmonic}
_EVENTS_AT_ONCE = 16


class State(NamedTuple):
    """Where a collection stands.

    Attributes:
        arrivals: of the gradient that each worker is computing.
        done: f64[n], their completions, where messages make them differ from arrivals; else empty.
        counts: i32[n], gradients of each worker that entered; -1 while it computes a stale one.
        total: f64[s], the rule's score added up over workers.
        last: i64[], who delivered the deciding gradient.
        time: f64[], when it arrived.
        over: bool[].
    """

    arrivals: Queue
    done: Float64[Array, "..."]
    counts: Int32[Array, " n"]
    total: Float64[Array, " s"]
    last: Int64[Array, ""]
    time: Float64[Array, ""]
    over: Bool[Array, ""]


Carry = tuple[Float64[Array, ""], Float64[Array, " n"], Bool[Array, " n"]]
"""Start of the round, completions of gradients under way, and who is busy with one."""

Ended = tuple[Float64[Array, ""], Int32[Array, " n"]]
"""End of a round and its counts."""


@dataclasses.dataclass(frozen=True)
class RandomRounds:
    """Rounds of any rule under random times.

    Attributes:
        rule: "synchronous", "m_synchronous", "rennala" or "malenia".
        restart: "cancel" or "finish".
        comm_model: as `round_communication` knows it.
        noise: the distribution that multiplies the time of a gradient.
        largest: the largest size of a round.
    """

    rule: str
    restart: str
    comm_model: str
    noise: Noise
    largest: int

    def __call__(
        self, pace: Pace, comm: Float64[Array, " n"], key: Key[Array, ""], sizes: Int64[Array, " K"]
    ) -> tuple[Float64[Array, " K"], Int32[Array, "K n"]]:
        """Ends and counts of rounds of these sizes."""
        live = jnp.isfinite(pace.h)
        comm = jnp.where(live, comm, 0.0)
        one_each = self.rule in ("synchronous", "m_synchronous")

        def one_round(carry: Carry, round_: tuple[Array, Array]) -> tuple[Carry, Ended]:
            key_k, size = keys.fold(keys.words(key), round_[0]), round_[1]
            if one_each:
                end, counts = self._one_each(pace, comm, carry[0], key_k, size)
                return (end, carry[1], carry[2]), (end, counts.astype(jnp.int32))
            state = self._collect(pace, comm, carry, key_k, size)
            counts = jnp.maximum(state.counts, 0)
            pause = round_communication(self.comm_model, comm, live, counts)
            end = state.time + pause
            done = state.arrivals.times(len(comm))
            busy = (jnp.arange(len(comm)) != state.last) & ~((pause > 0) & (done <= end))
            busy = busy & (self.restart == "finish")
            return (end, done, busy), (end, counts)

        carry = (jnp.zeros(()), jnp.zeros_like(comm), jnp.zeros(comm.shape, bool))
        return jax.lax.scan(one_round, carry, (jnp.arange(len(sizes)), sizes))[1]

    def _draw(self, key: keys.Words, worker: Array, draw: Array) -> Float64[Array, ""]:
        return keys.draw(self.noise, keys.fold(key, worker, draw))

    def _all_finish(
        self, pace: Pace, start: Float64[Array, " n"], key: keys.Words, draw: Array
    ) -> Float64[Array, " n"]:
        """When each worker is done with the gradient that it starts at `start`."""
        works = jax.vmap(self._draw, (None, 0, None))(key, jnp.arange(len(pace.h)), draw)
        begin = jnp.where(jnp.isfinite(start), start, 0.0)
        return jnp.where(jnp.isfinite(start), timetable(pace, begin).arrival(works), jnp.inf)

    def _one_each(
        self, pace: Pace, comm: Array, start: Array, key: keys.Words, size: Int64[Array, ""]
    ) -> tuple[Float64[Array, ""], Int64[Array, " n"]]:
        """Synchronous rounds of `size` gradients a worker, or the first gradient of `size` workers."""
        done = jnp.broadcast_to(start, comm.shape)
        if self.rule == "synchronous":

            def again(draw: Array, done: Array) -> Array:
                return jnp.where(draw < size, self._all_finish(pace, done, key, draw), done)

            done = jax.lax.fori_loop(0, self.largest, again, done)
        else:
            done = self._all_finish(pace, done, key, jnp.zeros((), jnp.int64))
        arrival = done + (comm if self.comm_model == "gather" else 0.0)
        counts = jnp.broadcast_to(size, comm.shape)
        if self.rule == "m_synchronous":
            counts = first_of(arrival, size).astype(jnp.int64)
        collected = jnp.where(counts > 0, arrival, 0.0).max()
        if self.comm_model == "server":
            return jnp.where(counts > 0, done + comm, 0.0).max(), counts
        return collected + round_communication(
            self.comm_model, comm, jnp.isfinite(pace.h), counts
        ), counts

    def _collect(
        self, pace: Pace, comm: Array, carry: Carry, key: keys.Words, size: Int64[Array, ""]
    ) -> State:
        """Arrivals in order of (time, worker) until the rule has enough."""
        start, under_way, busy = carry
        rule = RULES[self.rule](size)
        gather = self.comm_model == "gather"
        fresh = self._all_finish(
            pace, jnp.broadcast_to(start, comm.shape), key, jnp.zeros((), jnp.int32)
        )
        done = jnp.where(busy, under_way, fresh)
        state = State(
            arrivals=queue(done + comm if gather else done),
            done=done if gather else jnp.zeros(0),
            counts=jnp.where(busy, -1, 0).astype(jnp.int32),
            total=rule.score(jnp.zeros_like(comm)).sum(axis=0),
            last=jnp.zeros((), jnp.int64),
            time=jnp.full((), jnp.inf),
            over=jnp.array(False),
        )

        def event(_: Array, state: State) -> State:
            time, i = state.arrivals.head()
            going = ~state.over & jnp.isfinite(time)
            before = state.counts[i]
            after = before + going.astype(jnp.int32)
            # A stale gradient moves the count from -1 to 0, which adds no score.
            pair = jnp.maximum(jnp.stack([before, after]), 0).astype(jnp.float64)
            scores = rule.score(pair)
            total = state.total + scores[1] - scores[0]
            decided = going & (after > 0) & rule.enough(total)
            goes_on = going & ~decided
            free = state.done[i] if gather else time
            # Gradients started in this round: one for each that entered, and the one that is next.
            free = finish(pace, i, jnp.where(goes_on, free, 0.0), self._draw(key, i, after))
            following = jnp.where(goes_on, free + comm[i] if gather else free, time)
            done = state.done.at[i].set(free) if gather else state.done
            return State(
                arrivals=state.arrivals.put(i, following),
                done=done,
                counts=state.counts.at[i].set(after),
                total=total,
                last=jnp.where(decided, i, state.last),
                time=jnp.where(decided, time, state.time),
                over=state.over | ~goes_on,
            )

        def events(state: State) -> State:
            """Several, since steps past the end change nothing; and none where they cannot help."""
            if self.rule == "malenia":
                # Workers that deliver nothing more must leave room for the others to reach the sum.
                stays_away = ~jnp.isfinite(state.arrivals.times(len(comm)))
                stuck = jnp.where(stays_away, 1 / state.counts.astype(jnp.float64), 0.0)
                hopeless = stuck.sum() * size.astype(jnp.float64) > len(comm) ** 2 * (1 + 1e-12)
                state = state._replace(over=state.over | hopeless)
            steps = self.largest if self.rule == "rennala" else _EVENTS_AT_ONCE
            return jax.lax.fori_loop(0, steps, event, state)

        return jax.lax.while_loop(lambda state: ~state.over, events, state)
