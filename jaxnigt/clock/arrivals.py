"""Asynchronous arrivals: every gradient updates the server at once (AFedPG)."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float64, Int32, Int64, Key

from jaxnigt.clock.communication import ARRIVAL_MODELS, check_model
from jaxnigt.clock.pace import Pace, Timetable, finish, timetable
from jaxnigt.clock.rules import First
from jaxnigt.clock.selection import select
from jaxnigt.clock.types import Arrivals, over_profiles, whole
from jaxnigt.profiles import Noise, Profile


class Update(NamedTuple):
    """One update; scans stack it.

    Attributes:
        time: f64[], seconds at which it happens.
        worker: i32[], whose gradient it applies.
        staleness: i32[], updates since that gradient was started.
    """

    time: Float64[Array, "..."]
    worker: Int32[Array, "..."]
    staleness: Int32[Array, "..."]


def asynchronous(
    profile: Profile,
    updates: int,
    *,
    key: int | Key[Array, ""] | None = None,
    comm_model: str = "parallel",
) -> Arrivals:
    """Updates of a server that applies each gradient as it arrives and sends its worker the new model.

    All workers start at version 0 at time 0. Arrivals are ordered by (time, worker index).

    Args:
        profile: times of n workers; leading axes are profiles.
        updates: K, how many updates.
        key: for random times; consumed. Draws are folded from (profile, worker, draw).
        comm_model: "parallel": a worker's cycle is its gradient and kappa_i. "serial": the server's
            link carries one message at a time, kappa_i each, first ready first served.

    Returns:
        Arrivals with time f64[..., K], worker i32[..., K] and staleness i32[..., K].

    Raises:
        InputError: a count below 1, an unknown communication model, or random times without a key.

    Example:
        >>> from jaxnigt.profiles import Profile
        >>> result = asynchronous(Profile([1.0, 2.5]), updates=4)
        >>> result.time, result.worker, result.staleness
        (array([1. , 2. , 2.5, 3. ]), array([0, 0, 1, 0], dtype=int32), array([0, 0, 2, 1], dtype=int32))
    """
    updates = whole("updates", updates)
    check_model(comm_model, ARRIVAL_MODELS)
    if profile.fixed and comm_model == "parallel":
        result = over_profiles(Merge(updates), profile, key)
    else:
        result = over_profiles(Queue(updates, comm_model, profile.noise), profile, key)
    return Arrivals(result.time, result.worker, result.staleness, comm_model)


_COUNT_UP_TO = 32
"""Workers up to which counting is faster than sorting on a CPU."""


@dataclasses.dataclass(frozen=True)
class Merge:
    """Fixed cycles: the first K of n regular sequences, ordered without playing them in turn."""

    updates: int

    def __call__(self, pace: Pace, comm: Float64[Array, " n"], key: Key[Array, ""]) -> Update:
        """Update k is the gradient that k others precede."""
        cycle = jnp.where(jnp.isfinite(pace.h), pace.h + comm, jnp.inf)
        table = timetable(pace._replace(h=cycle), jnp.zeros_like(cycle))
        n = len(cycle)
        counts = select(table, jnp.zeros(n), First(jnp.int64(self.updates))).counts.astype(jnp.int64)
        worker = jnp.repeat(jnp.arange(n), counts, total_repeat_length=self.updates)
        first = jnp.cumsum(counts) - counts
        number = jnp.arange(self.updates) - first[worker] + 1
        time = number.astype(jnp.float64) * cycle[worker]
        place = self._place(table, time, worker, number)
        slot = jnp.zeros(self.updates, jnp.int64).at[place].set(jnp.arange(self.updates))
        before = jnp.where(number > 1, jnp.roll(place, 1), -1)
        staleness = (place - before - 1)[slot]
        return Update(time[slot], worker[slot].astype(jnp.int32), staleness.astype(jnp.int32))

    def _place(
        self,
        table: Timetable,
        time: Float64[Array, " K"],
        worker: Int64[Array, " K"],
        number: Int64[Array, " K"],
    ) -> Int64[Array, " K"]:
        """How many arrivals precede each one in the order of (time, worker)."""
        n = len(table.lead)
        if n > _COUNT_UP_TO:
            slot = jax.lax.sort((time, worker, jnp.arange(self.updates)), num_keys=2, is_stable=False)[2]
            return jnp.zeros(self.updates, jnp.int64).at[slot].set(jnp.arange(self.updates))
        # Among few workers each arrival can count those of every other worker by division.
        place = number - 1
        for j in range(n):
            h = table.pace.h[j]
            k = jnp.floor(time / h)
            k = jnp.where(jnp.where(h < jnp.inf, k * h, jnp.inf) > time, k - 1, k)
            k = jnp.where(jnp.where(h < jnp.inf, (k + 1) * h, jnp.inf) <= time, k + 1, k)
            # Of worker j's arrivals at this very time those of a higher index come later.
            tied = jnp.where(h < jnp.inf, k * h, jnp.inf) == time
            k = k - (tied & (j > worker)).astype(jnp.float64)
            place = place + jnp.where(worker == j, 0.0, jnp.maximum(k, 0.0)).astype(jnp.int64)
        return place


@dataclasses.dataclass(frozen=True)
class Queue:
    """Arrivals one by one: random or varying times, or messages that queue for the server's link."""

    updates: int
    comm_model: str
    noise: Noise | None

    def __call__(self, pace: Pace, comm: Float64[Array, " n"], key: Key[Array, ""]) -> Update:
        """The next to be ready is served next."""
        n = len(comm)

        def work(worker: Array, draw: Array) -> Float64[Array, ""]:
            if self.noise is None:
                return jnp.ones(())
            return self.noise.sample(jax.random.fold_in(jax.random.fold_in(key, worker), draw))

        works = jax.vmap(work, (0, None))(jnp.arange(n), jnp.zeros((), jnp.int64))
        ready = timetable(pace, jnp.zeros_like(comm)).arrival(works)
        comm = jnp.where(jnp.isfinite(pace.h), comm, 0.0)
        ready = ready + comm if self.comm_model == "parallel" else ready

        def one_update(
            carry: tuple[Array, Array, Array, Array], k: Int64[Array, ""]
        ) -> tuple[tuple[Array, Array, Array, Array], Update]:
            ready, drawn, version, free = carry
            i = jnp.argmin(ready)
            time = ready[i]
            if self.comm_model == "serial":
                time = jnp.maximum(time, free) + comm[i]
            done = finish(pace, i, time, work(i, drawn[i]))
            done = done + comm[i] if self.comm_model == "parallel" else done
            done = jnp.where(jnp.isfinite(time), done, jnp.inf)
            update = Update(time, i.astype(jnp.int32), (k - version[i]).astype(jnp.int32))
            after = (ready.at[i].set(done), drawn.at[i].add(1), version.at[i].set(k + 1), time)
            return after, update

        carry = (ready, jnp.ones(n, jnp.int64), jnp.zeros(n, jnp.int64), jnp.zeros(()))
        return jax.lax.scan(one_update, carry, jnp.arange(self.updates))[1]
