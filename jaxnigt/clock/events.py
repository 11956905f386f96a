"""Rounds whose gradients take random times, arrival by arrival, and the draws of those times.

Each gradient draws its own time with a key folded from (profile, round of its start, worker, draw).
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float64, Int, Int32, Int64, Key, UInt32

from jaxnigt.clock.batching import paused
from jaxnigt.clock.communication import Communication
from jaxnigt.clock.counting import MANY, Round, who_contributes
from jaxnigt.clock.pace import Pace, finish, timetable
from jaxnigt.clock.rules import Additive, Rule, over
from jaxnigt.profiles import Noise

_FLAT = 32  # Workers up to which one look at all of them is fastest on a CPU.
_ROW = 16  # Workers of a row, beyond that.
MOST_ARRIVALS = 10**8
"""That a round may take beyond the gradients it asks for, some seconds of a processor's time."""


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
    """The minimum and where it first is, in two passes, which compilers vectorise, unlike an argmin."""
    time = times.min()
    return time, jnp.where(times == time, jnp.arange(len(times)), len(times) - 1).min()


Words = tuple[UInt32[Array, ""], UInt32[Array, ""]]
"""The two words of a Threefry key."""

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def words(key: Key[Array, ""]) -> Words:
    """The words of a key; of another generator than Threefry, two words that it draws."""
    if jax.random.key_impl(key) == "threefry2x32":
        data = jax.random.key_data(key)
    else:
        data = jax.random.bits(key, (2,), jnp.uint32)
    return data[0], data[1]


def fold(key: Words, *data: Int[Array, ""]) -> Words:
    """`jax.random.fold_in` for each number in turn."""
    # JAX compiles its hash as a loop on CPU and stacks the two words after every fold, which is a dozen
    # launches a draw. Written out, a draw is one fused operation with the same result.
    for number in data:
        key = _hashed(key, number.astype(jnp.uint32))
    return key


def draw(noise: Noise, key: Words) -> Float64[Array, ""]:
    """One draw of a noise, the same as `noise.sample` of this key."""
    if not noise.inverted:
        return jnp.asarray(noise.sample(jax.random.wrap_key_data(jnp.stack(key), impl="threefry2x32")))
    high, low = (word.astype(jnp.uint64) for word in _hashed(key, jnp.uint32(0)))
    # 52 random bits under the exponent of 1.0 are a number in [1, 2).
    mantissa = ((high << jnp.uint64(32)) | low) >> jnp.uint64(12)
    one = jnp.uint64(0x3FF0000000000000)
    return jnp.asarray(noise.quantile(jax.lax.bitcast_convert_type(mantissa | one, jnp.float64) - 1.0))


def _hashed(key: Words, counter: UInt32[Array, ""]) -> Words:
    """Threefry-2x32 with 20 rounds of the counter (0, counter) (Salmon et al., SC 2011)."""
    schedule = (*key, key[0] ^ key[1] ^ jnp.uint32(_PARITY))
    a, b = schedule[0], counter + schedule[1]
    for group in range(5):
        for turn in _ROTATIONS[group % 2]:
            a = a + b
            b = a ^ ((b << jnp.uint32(turn)) | (b >> jnp.uint32(32 - turn)))
        a = a + schedule[(group + 1) % 3]
        b = b + schedule[(group + 2) % 3] + jnp.uint32(group + 1)
    return a, b


class State(NamedTuple):
    """Where a collection stands.

    Attributes:
        arrivals: of the gradient that each worker is computing.
        done: f64[n], their completions, where messages make them differ from arrivals; else empty.
        counts: i32[n], gradients of each worker that entered; -1 while it computes a stale one.
        total: f64[s], the sum over workers of an additive rule's score; empty for other rules.
        last: i64[], who delivered the deciding gradient.
        time: f64[], when it arrived; -inf where that takes too many arrivals.
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


@dataclasses.dataclass(frozen=True)
class RandomRounds:
    """Rounds of any rule under random times, of at most `largest` gradients asked for.

    If `finish`, a busy worker first finishes its stale gradient.
    """

    rule: Rule
    finish: bool
    comm_model: Communication
    noise: Noise
    largest: int

    def __call__(
        self, pace: Pace, comm: Float64[Array, " n"], key: Key[Array, ""], sizes: Int64[Array, " K"]
    ) -> Round:
        """Rounds of these batches."""
        live = jnp.isfinite(pace.h)

        def one_round(carry: Carry, round_: tuple[Array, Array]) -> tuple[Carry, Round]:
            key_k, rule = fold(words(key), round_[0]), self.rule.sized(round_[1])
            quota = rule.hint_quota(len(comm))
            if quota is not None:
                done = self._shares(pace, comm, carry[0], key_k, *quota)
                return (done.end, carry[1], carry[2]), done
            state = self._collect(pace, comm, carry, key_k, rule)
            counts = jnp.maximum(state.counts, 0)
            pause = paused(self.comm_model.pause, comm, live, counts)
            end = state.time + pause
            done = state.arrivals.times(len(comm))
            busy = (jnp.arange(len(comm)) != state.last) & ~((pause > 0) & (done <= end))
            return (end, done, busy & self.finish), Round(end, counts)

        carry = (jnp.zeros(()), jnp.zeros_like(comm), jnp.zeros(comm.shape, bool))
        return jax.lax.scan(one_round, carry, (jnp.arange(len(sizes)), sizes))[1]

    def _draw(self, key: Words, worker: Array, index: Array) -> Float64[Array, ""]:
        return draw(self.noise, fold(key, worker, index))

    def _all_finish(
        self, pace: Pace, start: Float64[Array, " n"], key: Words, index: Array
    ) -> Float64[Array, " n"]:
        """When each worker is done with the gradient that it starts at `start`."""
        works = jax.vmap(self._draw, (None, 0, None))(key, jnp.arange(len(pace.h)), index)
        begin = jnp.where(jnp.isfinite(start), start, 0.0)
        return jnp.where(jnp.isfinite(start), timetable(pace, begin).arrival(works), jnp.inf)

    def _shares(self, pace: Pace, comm: Array, start: Array, key: Words, m: Any, each: Any) -> Round:
        """A round of the shares of m workers, `each` gradients of every one of them."""
        done = jnp.broadcast_to(start, comm.shape)
        if isinstance(each, int):
            for index in range(each):
                done = self._all_finish(pace, done, key, jnp.full((), index))
        else:

            def again(index: Array, done: Array) -> Array:
                return jnp.where(index < each, self._all_finish(pace, done, key, index), done)

            done = jax.lax.fori_loop(0, self.largest // len(comm), again, done)
        arrival = done + (comm if self.comm_model.travels else 0.0)
        chosen = who_contributes(arrival, m)
        counts = jnp.where(chosen, jnp.asarray(each, jnp.int32), 0)
        if self.comm_model.early:
            return Round(jnp.where(chosen, done + comm, 0.0).max(), counts)
        pause = paused(self.comm_model.pause, comm, jnp.isfinite(pace.h), counts)
        return Round(jnp.where(chosen, arrival, 0.0).max() + pause, counts)

    def _collect(self, pace: Pace, comm: Array, carry: Carry, key: Words, rule: Rule) -> State:
        """Take arrivals in order of (time, worker) until the rule has enough."""
        start, under_way, busy = carry
        travels, additive = self.comm_model.travels, rule if isinstance(rule, Additive) else None
        most = rule.hint_share
        fresh = self._all_finish(
            pace, jnp.broadcast_to(start, comm.shape), key, jnp.zeros((), jnp.int32)
        )
        done = jnp.where(busy, under_way, fresh)
        state = State(
            arrivals=queue(done + comm if travels else done),
            done=done if travels else jnp.zeros(0),
            counts=jnp.where(busy, -1, 0).astype(jnp.int32),
            total=additive.score(jnp.zeros_like(comm)).sum(axis=0) if additive else jnp.zeros(0),
            last=jnp.zeros((), jnp.int64),
            time=jnp.full((), jnp.inf),
            over=~jnp.isfinite(start),  # nothing follows a round that never ends
        )
        most_arrivals = self.largest + MOST_ARRIVALS

        def event(_: Array, state: State) -> State:
            time, i = state.arrivals.head()
            going = ~state.over & jnp.isfinite(time)
            before = state.counts[i]
            after = before + going.astype(jnp.int32)
            counts = state.counts.at[i].set(after)
            if additive is not None:
                # A stale gradient moves the count from -1 to 0, which adds no score.
                pair = jnp.maximum(jnp.stack([before, after]), 0).astype(jnp.float64)
                scores = additive.score(pair)
                total = state.total + scores[1] - scores[0]
                enough = additive.enough(total)
            else:
                total = state.total
                enough = over(rule, jnp.maximum(counts, 0).astype(jnp.float64))
            decided = going & (after > 0) & enough
            goes_on = going & ~decided
            free = state.done[i] if travels else time
            # Gradients started in this round: one for each that entered, and the one that is next.
            free = finish(pace, i, jnp.where(goes_on, free, 0.0), self._draw(key, i, after))
            if most is not None:  # a worker that has delivered its share waits
                free = jnp.where(after < most, free, jnp.inf)
            following = jnp.where(goes_on, free + comm[i] if travels else free, time)
            done = state.done.at[i].set(free) if travels else state.done
            return State(
                arrivals=state.arrivals.put(i, following),
                done=done,
                counts=counts,
                total=total,
                last=jnp.where(decided, i, state.last),
                time=jnp.where(decided, time, state.time),
                over=state.over | ~goes_on,
            )

        def events(state: State) -> State:
            """Several, since events past the end change nothing; and none where they cannot help."""
            # Workers that deliver nothing more must leave room for the others to satisfy the rule.
            gone = ~jnp.isfinite(state.arrivals.times(len(comm)))
            best = jnp.where(gone, jnp.maximum(state.counts, 0).astype(jnp.float64), MANY)
            endless = state.counts.sum(dtype=jnp.int64) > most_arrivals
            state = state._replace(
                over=state.over | ~over(rule, best) | endless,
                time=jnp.where(endless, -jnp.inf, state.time),
            )
            return jax.lax.fori_loop(0, rule.hint_events(self.largest), event, state)

        return jax.lax.while_loop(lambda state: ~state.over, events, state)
