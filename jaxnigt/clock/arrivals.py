"""Asynchronous arrivals: every gradient updates the server at once (AFedPG)."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float64, Int, Int32, Key

from jaxnigt.checks import whole
from jaxnigt.clock import keys
from jaxnigt.clock.communication import ARRIVAL_MODELS, check_model
from jaxnigt.clock.order import Queue, queue
from jaxnigt.clock.pace import Pace, finish, timetable
from jaxnigt.clock.types import Arrivals, over_profiles
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
    check_model(comm_model, ARRIVAL_MODELS)
    kernel = Server(whole("updates", updates), comm_model, profile.fixed, profile.noise)
    result = over_profiles(kernel, profile, key)
    return Arrivals(result.time, result.worker, result.staleness, comm_model)


class State(NamedTuple):
    """Where a server stands between updates.

    Attributes:
        ready: when each worker's gradient arrives, or is ready for the link.
        version: i32[n], updates that the model it is computed at has seen.
        drawn: i32[n], draws that each worker has used; empty where times are not random.
        free: f64[], when the link is free.
    """

    ready: Queue
    version: Int32[Array, " n"]
    drawn: Int32[Array, "..."]
    free: Float64[Array, ""]


@dataclasses.dataclass(frozen=True)
class Server:
    """Arrivals one by one.

    Attributes:
        updates: K.
        comm_model: "parallel" or "serial".
        fixed: whether times are neither random nor varying.
        noise: the distribution that multiplies the time of a gradient, or None.
    """

    updates: int
    comm_model: str
    fixed: bool
    noise: Noise | None

    def __call__(self, pace: Pace, comm: Float64[Array, " n"], key: Key[Array, ""]) -> Update:
        """The next to be ready is served next."""
        comm = jnp.where(jnp.isfinite(pace.h), comm, 0.0)
        parallel = self.comm_model == "parallel"
        cycle = pace.h + comm

        def work(worker: Int[Array, ""], drawn: Int32[Array, "..."]) -> Float64[Array, ""]:
            if self.noise is None:
                return jnp.ones(())
            return keys.draw(self.noise, keys.fold(keys.words(key), worker, drawn[worker]))

        def next_ready(i: Array, time: Array, drawn: Array) -> Float64[Array, ""]:
            if self.fixed and parallel:
                # Cycles are alike, so the k-th ends at k times the first, the product formed once.
                return (jnp.round(time / cycle[i]) + 1) * cycle[i]
            done = finish(pace, i, time, work(i, drawn))
            return done + comm[i] if parallel else done

        def one_update(state: State, k: Int32[Array, ""]) -> tuple[State, Update]:
            time, i = state.ready.head()
            if not parallel:
                time = jnp.maximum(time, state.free) + comm[i]
            following = next_ready(i, time, state.drawn)
            following = jnp.where(jnp.isfinite(time), following, jnp.inf)
            update = Update(time, i.astype(jnp.int32), k - state.version[i])
            drawn = state.drawn.at[i].add(1) if self.noise else state.drawn
            version = state.version.at[i].set(k + 1)
            return State(state.ready.put(i, following), version, drawn, time), update

        n = len(comm)
        drawn = jnp.zeros(n if self.noise else 0, jnp.int32)
        works = jax.vmap(work, (0, None))(jnp.arange(n), drawn)
        if self.fixed and parallel:
            first = cycle
        else:
            first = timetable(pace, jnp.zeros_like(comm)).arrival(works)
            first = first + comm if parallel else first
        state = State(queue(first), jnp.zeros(n, jnp.int32), drawn + 1, jnp.zeros(()))
        return jax.lax.scan(one_update, state, jnp.arange(self.updates, dtype=jnp.int32))[1]
