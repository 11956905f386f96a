"""Asynchronous arrivals: every gradient that is accepted updates the server at once.

A rule of your own says which gradients are accepted:

    >>> @dataclasses.dataclass(frozen=True)
    ... class Fresh(ArrivalRule):
    ...     most: int = 10
    ...     def accept(self, staleness):
    ...         return staleness <= self.most
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float64, Int, Int32, Key

from jaxnigt.checks import InputError, flag, instance, whole
from jaxnigt.clock.batching import asked, double_precision, over_profiles
from jaxnigt.clock.communication import Communication, Model, model
from jaxnigt.clock.events import Queue, draw, fold, queue, words
from jaxnigt.clock.pace import Pace, finish, timetable
from jaxnigt.profiles import Noise, Profile
from jaxnigt.registry import declare, make, named


@dataclasses.dataclass(frozen=True)
class ArrivalRule(abc.ABC):
    """Which gradients update an asynchronous server.

    A gradient that is not accepted is no update: it changes no version, and its worker starts again at
    the current model. What is too stale once must stay so, and staleness 0 must be accepted.

    Attributes:
        restart: whether a worker starts again as soon as its gradient can no longer be accepted, instead
            of when it arrives.
    """

    restart: ClassVar[bool] = False

    @abc.abstractmethod
    def accept(self, staleness: Int[Any, "..."]) -> Bool[Any, "..."]:
        """Whether a gradient is applied that this many updates have overtaken."""


declare("arrival_rule", ArrivalRule)


def accepts(rule: ArrivalRule, staleness: Int[Any, "*any"]) -> Bool[Array, "*any"]:
    """What a rule says of gradients."""
    return jnp.asarray(asked(rule.accept, staleness.shape, "b", staleness))


@dataclasses.dataclass(frozen=True, eq=False)
class Arrivals:
    """Updates of an asynchronous server, one gradient each.

    Attributes:
        time: f64[..., K], seconds at which update k happens.
        worker: i32[..., K], whose gradient it applies.
        staleness: i32[..., K], updates between that gradient's start and its use.
        comm_model: the model of the network.
        rule: which gradients are accepted; None for all.
    """

    time: Float64[np.ndarray, "*profiles K"]
    worker: Int32[np.ndarray, "*profiles K"]
    staleness: Int32[np.ndarray, "*profiles K"]
    comm_model: Communication
    rule: ArrivalRule | None = None

    def __repr__(self) -> str:
        *profiles, updates = self.time.shape
        last = np.ravel(self.time[..., -1])
        rule = None if self.rule is None else named(self.rule)
        return (
            f"Arrivals({self.comm_model}, rule={rule}, profiles={profiles}, updates={updates},\n"
            f"  last update after {last.min():.6g} to {last.max():.6g} s, "
            f"staleness at most {self.staleness.max()})"
        )


class Update(NamedTuple):
    """One update, as in `Arrivals`; scans stack it."""

    time: Float64[Array, "..."]
    worker: Int32[Array, "..."]
    staleness: Int32[Array, "..."]


def asynchronous(
    profile: Profile,
    updates: int,
    *,
    key: int | Key[Array, ""] | None = None,
    comm_model: Model = "parallel",
    rule: ArrivalRule | str | None = None,
) -> Arrivals:
    """Updates of a server that applies gradients as they arrive and sends their workers the new model.

    All workers start at version 0 at time 0. Arrivals are ordered by (time, worker index).

    Args:
        profile: times of n workers; leading axes are profiles.
        updates: K, how many updates.
        key: for random times; consumed. Draws are folded from (profile, worker, draw).
        comm_model: "parallel": a worker's cycle is its gradient and kappa_i. "serial": the server's link
            carries one message at a time, kappa_i each, first ready first served.
        rule: which gradients are accepted; None accepts all.

    Returns:
        Arrivals with time f64[..., K], worker i32[..., K] and staleness i32[..., K].

    Raises:
        InputError: a number below 1, an unknown communication model, a rule that refuses a fresh
            gradient, or random times without a key.

    Example:
        >>> from jaxnigt.profiles import Profile
        >>> result = asynchronous(Profile([1.0, 2.5]), updates=4)
        >>> result.time, result.worker, result.staleness
        (array([1. , 2. , 2.5, 3. ]), array([0, 0, 1, 0], dtype=int32), array([0, 0, 2, 1], dtype=int32))
    """
    instance("profile", profile, Profile, "jn.profiles.equal(10)")
    network = model(comm_model, "arrivals")
    chosen = None if rule is None else make("arrival_rule", rule)
    if chosen is not None:
        flag("restart", chosen.restart)
        with double_precision():
            if not accepts(chosen, np.zeros(2, np.int64)).all():
                raise InputError(
                    "rule: it refuses a gradient of staleness 0, which must be accepted, or nothing "
                    "would ever update the server."
                )
    kernel = Server(whole("updates", updates), network.one_link, profile.fixed, profile.noise, chosen)
    result = over_profiles(kernel, profile, key)
    return Arrivals(result.time, result.worker, result.staleness, network, chosen)


class State(NamedTuple):
    """Where a server stands between updates.

    Attributes:
        ready: when each worker's gradient arrives, or is ready for the link.
        start: f64[n], when each worker last started anew; empty where none ever does.
        version: i32[n], updates that the model had seen at which each worker computes.
        drawn: i32[n], draws that each worker has used; empty where times are not random.
        free: f64[], when the link is free.
    """

    ready: Queue
    start: Float64[Array, "..."]
    version: Int32[Array, " n"]
    drawn: Int32[Array, "..."]
    free: Float64[Array, ""]


@dataclasses.dataclass(frozen=True)
class Server:
    """K arrivals one by one, and of messages too if there is `one_link`; see `asynchronous`."""

    updates: int
    one_link: bool
    fixed: bool
    noise: Noise | None
    rule: ArrivalRule | None

    def __call__(self, pace: Pace, comm: Float64[Array, " n"], key: Key[Array, ""]) -> Update:
        """The next to be ready is served next."""
        n, cycle = len(comm), pace.h + comm
        restarts = self.rule is not None and self.rule.restart
        by_cycle = self.fixed and not self.one_link

        def work(worker: Int[Array, ""], drawn: Int32[Array, "..."]) -> Float64[Array, ""]:
            if self.noise is None:
                return jnp.ones(())
            return draw(self.noise, fold(words(key), worker, drawn[worker]))

        def next_ready(i: Array, time: Array, state: State) -> Float64[Array, ""]:
            """When the gradient that worker i starts at `time` is ready."""
            if by_cycle:
                # Cycles are alike, so the k-th since a start ends at k times the first, formed once.
                start = state.start[i] if restarts else 0.0
                return start + (jnp.round((time - start) / cycle[i]) + 1) * cycle[i]
            done = finish(pace, i, time, work(i, state.drawn))
            return done if self.one_link else done + comm[i]

        def arrive(state: State, k: Int32[Array, ""]) -> tuple[State, Update]:
            """The next gradient reaches the server, and its worker starts another one."""
            time, i = state.ready.head()
            if self.one_link:
                time = jnp.maximum(time, state.free) + comm[i]
            staleness = k - state.version[i]
            # A refused gradient changes no version; its worker computes at the current one.
            used = 1 if self.rule is None else accepts(self.rule, staleness).astype(jnp.int32)
            following = next_ready(i, time, state)
            following = jnp.where(jnp.isfinite(time), following, jnp.inf)
            drawn = state.drawn.at[i].add(1) if self.noise else state.drawn
            version = state.version.at[i].set(k + used)
            after = State(state.ready.put(i, following), state.start, version, drawn, time)
            return after, Update(time, i.astype(jnp.int32), staleness)

        def start_again(state: State, k: Int32[Array, ""], now: Float64[Array, ""]) -> State:
            """Workers whose gradients are too stale from now on start at the current model."""
            assert self.rule is not None
            late = ~accepts(self.rule, k + 1 - state.version) & jnp.isfinite(now)
            fresh = jnp.where(late, now, 0.0)
            drawn = state.drawn + late.astype(jnp.int32) if self.noise else state.drawn
            works = jax.vmap(work, (0, None))(jnp.arange(n), state.drawn)
            if by_cycle:
                done = fresh + cycle
            else:
                done = timetable(pace, fresh).arrival(works) + (0.0 if self.one_link else comm)
            ready = queue(jnp.where(late, done, state.ready.times(n)))
            start = jnp.where(late, now, state.start)
            return State(ready, start, jnp.where(late, k + 1, state.version), drawn, state.free)

        def one_update(state: State, k: Int32[Array, ""]) -> tuple[State, Update]:
            state, update = arrive(state, k)
            if self.rule is None:
                return state, update

            def refused(carry: tuple[State, Update]) -> Bool[Array, ""]:
                assert self.rule is not None
                return ~accepts(self.rule, carry[1].staleness) & jnp.isfinite(carry[1].time)

            state, update = jax.lax.while_loop(refused, lambda c: arrive(c[0], k), (state, update))
            return (start_again(state, k, update.time) if restarts else state), update

        drawn = jnp.zeros(n if self.noise else 0, jnp.int32)
        works = jax.vmap(work, (0, None))(jnp.arange(n), drawn)
        if by_cycle:
            first = cycle
        else:
            first = timetable(pace, jnp.zeros_like(comm)).arrival(works)
            first = first if self.one_link else first + comm
        start = jnp.zeros(n if restarts else 0)
        state = State(queue(first), start, jnp.zeros(n, jnp.int32), drawn + 1, jnp.zeros(()))
        return jax.lax.scan(one_update, state, jnp.arange(self.updates, dtype=jnp.int32))[1]
