"""Rules that say when the collection of a round is over.

A rule of your own is a frozen dataclass with `done`. That is enough to run the clock, to verify its
results, to train and to sweep:

    >>> @dataclasses.dataclass(frozen=True)
    ... class Distinct(Rule):
    ...     q: int = 3
    ...     def done(self, counts):
    ...         return (counts >= 2).sum(axis=-1) >= self.q

The methods of `Rule` that begin with hint_ make the four rules of this file fast, and change no result.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float64, Int, Int64, Num

from jaxnigt.checks import InputError, room, whole
from jaxnigt.clock.batching import asked
from jaxnigt.clock.pace import Timetable, before
from jaxnigt.registry import declare, named, register

Counts = Float64[Array, " n"]
"""Gradients of each worker as whole numbers in float64, which compilers handle faster than integers."""

_SLACK = 1e-12  # Sums of 1/M_i that are equal as fractions count as equal.

Self = TypeVar("Self", bound="Rule")


@dataclasses.dataclass(frozen=True)
class Rule(abc.ABC):
    """When a round has enough gradients. Arrivals are taken one at a time, in order of (time, worker).

    `done` must stay true as counts grow. It may use jax.numpy, methods of arrays or the array API, as it
    is called with NumPy and with JAX arrays.
    """

    @abc.abstractmethod
    def done(self, counts: Num[Any, "... n"]) -> Bool[Any, "..."]:
        """Whether a round is over when counts i[..., n] of each worker's gradients have arrived."""

    @property
    def batch(self) -> int | None:
        """How many gradients a round asks for, None where the rule does not say."""
        return None

    def check(self, n: int) -> None:  # noqa: B027  (most rules can be satisfied by any number)
        """Raise InputError where a profile of n workers cannot satisfy the rule."""

    # Hints change how fast results come and what of them is known beforehand, and no result. Their names
    # begin with hint_, so that a field of your own does not become one by accident.

    @property
    def hint_share(self) -> Any:
        """How many gradients one worker delivers in a round before it waits; None for no limit."""
        return None

    def sized(self: Self, size: Any) -> Self:
        """The rule with another batch, which may be a traced number; itself where it has none."""
        return self

    def hint_slots(self, size: int, heterogeneous: bool) -> Int[np.ndarray, " B"] | None:
        """The workers of a round's gradients where the clock cannot change them, else None.

        Unless workers are `heterogeneous` it does not matter whose they are, and worker 0 stands for
        all.
        """
        return None

    def hint_quota(self, n: int) -> tuple[Any, Any] | None:
        """(m, each) where m workers end the round by delivering `each`, their share; else None."""
        return None

    def hint_events(self, largest: int) -> int:
        """Arrivals to take between two looks at whether a round under random times is over."""
        return 16

    def hint_low(self, table: Timetable, skip: Counts) -> Float64[Array, ""]:
        """A time before the deciding arrival, and close to it, by doubling and then by bisection.

        `skip` says how many of each worker's first arrivals do not count.
        """
        # The work of workers is rounded down, so that counts may be off by one at an arrival.
        enough = functools.partial(_by_work, self, table, skip)

        def far(state: tuple[Array, Array]) -> Bool[Array, ""]:
            return ~enough(state[0]) & (state[1] < 1000)

        first = table.arrival(skip + 1).min()
        start = jnp.where(jnp.isfinite(first), first, 1.0)
        high, _ = jax.lax.while_loop(far, lambda s: (2 * s[0], s[1] + 1), (start, jnp.zeros((), int)))
        return before(bisected(enough, jnp.zeros(()), high))


declare("rule", Rule)


def bisected(enough: Any, low: Float64[Array, ""], high: Float64[Array, ""]) -> Float64[Array, ""]:
    """The lower end of a bracket that has been halved until it holds the first time that is enough."""

    def halve(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = 0.5 * (low + high)
        reached = enough(middle)
        return jnp.where(reached, low, middle), jnp.where(reached, middle, high)

    return jax.lax.fori_loop(0, 45, halve, (low, high))[0]


def _by_work(rule: Rule, table: Timetable, skip: Counts, time: Float64[Array, ""]) -> Bool[Array, ""]:
    """Whether the rule holds for the work done by a time, rounded down to whole gradients."""
    work = table.work(jnp.broadcast_to(time, skip.shape))
    return over(rule, jnp.maximum(jnp.floor(work) - skip, 0.0))


def useful(rule: Rule, counts: Counts) -> Counts:
    """Counts without what workers deliver beyond their share."""
    return counts if rule.hint_share is None else jnp.minimum(counts, rule.hint_share)


def over(rule: Rule, counts: Float64[Array, "*any n"]) -> Bool[Array, "*any"]:
    """Whether a round is over, asked in the way that is fastest for the rule."""
    if isinstance(rule, Additive):
        return rule.enough(total(rule.score(counts)))
    found = asked(rule.done, counts.shape[:-1], "b", useful(rule, counts).astype(jnp.int64))
    return jnp.asarray(found)


def total(scores: Float64[Array, "*any n s"]) -> Float64[Array, "*any s"]:
    """The sum over workers, one by one along the last axis."""
    # XLA gives a sum over the first axis of a narrow array to a library that is slow at it.
    return jnp.stack([scores[..., i].sum(axis=-1) for i in range(scores.shape[-1])], axis=-1)


def resized(rule: Self, **fields: Any) -> Self:
    """A rule with some fields changed and not checked, as they may be traced numbers."""
    changed = object.__new__(type(rule))
    for field in dataclasses.fields(rule):
        object.__setattr__(changed, field.name, fields.get(field.name, getattr(rule, field.name)))
    return changed


class Additive(Rule):
    """A rule whose condition is a sum over workers, which one more arrival changes in one term only."""

    @abc.abstractmethod
    def score(self, counts: Float64[Array, "*any n"]) -> Float64[Array, "*any n s"]:
        """What each worker's gradients add."""

    @abc.abstractmethod
    def enough(self, total: Float64[Array, "*any s"]) -> Bool[Array, "*any"]:
        """Whether the sum over workers ends the round."""


@dataclasses.dataclass(frozen=True)
class _Batched(Rule):
    """A rule that one number describes, which may change from round to round."""

    batch: int = 20  # pyright: ignore[reportIncompatibleMethodOverride]

    def __post_init__(self) -> None:
        whole("batch", self.batch)

    def sized(self: Self, size: Any) -> Self:
        """The rule with another batch."""
        return resized(self, batch=size)


def _anyone(self: Rule, size: int, heterogeneous: bool) -> Int[np.ndarray, " B"] | None:
    """Slots of rules that take gradients from whoever has them first; worker 0 stands for all."""
    room("batch", size)
    return None if heterogeneous else np.zeros(size, np.int32)


@register("rennala")
@dataclasses.dataclass(frozen=True)
class Rennala(_Batched, Additive):  # pyright: ignore[reportIncompatibleVariableOverride]
    """The first M = `batch` gradients, whoever computes them.

    Source: Algorithm 2 of arXiv 2509.24305.
    """

    def done(self, counts: Num[Any, "... n"]) -> Bool[Any, "..."]:
        """Whether the counts add up to M."""
        return counts.sum(axis=-1) >= self.batch

    hint_slots = _anyone

    def hint_events(self, largest: int) -> int:
        """A round takes M arrivals at least."""
        return largest

    def score(self, counts: Float64[Array, "*any n"]) -> Float64[Array, "*any n 1"]:
        """Every gradient counts."""
        return counts[..., None]

    def enough(self, total: Float64[Array, "*any 1"]) -> Bool[Array, "*any"]:
        """M of them."""
        return total[..., 0] >= jnp.asarray(self.batch).astype(jnp.float64)

    def hint_low(self, table: Timetable, skip: Counts) -> Float64[Array, ""]:
        """Where the work of all adds up to M, moved on to where whole gradients nearly do."""
        return table.nearly(jnp.asarray(self.batch).astype(jnp.float64), skip)


@register("malenia")
@dataclasses.dataclass(frozen=True)
class Malenia(_Batched, Additive):  # pyright: ignore[reportIncompatibleVariableOverride]
    """Until ((1/n) sum_i 1/M_i)^-1 >= M/n for M = `batch`, with 1/0 = inf.

    Source: Algorithm 3 of arXiv 2509.24305.
    """

    def done(self, counts: Num[Any, "... n"]) -> Bool[Any, "..."]:
        """Whether every worker has delivered and sum_i 1/M_i <= n^2 / M."""
        inverse = (1 / counts.clip(1)).sum(axis=-1)
        return (counts > 0).all(axis=-1) & (inverse * self.batch <= counts.shape[-1] ** 2 * (1 + _SLACK))

    def hint_events(self, largest: int) -> int:
        """A round takes M arrivals at least, and often several times as many."""
        return max(16, largest // 4)

    def score(self, counts: Float64[Array, "*any n"]) -> Float64[Array, "*any n 3"]:
        """1/M_i where that is finite, whether it is not, and 1 to count the workers."""
        none = counts == 0
        inverse = jnp.where(none, 0.0, 1 / jnp.maximum(counts, 1.0))
        return jnp.stack([inverse, none.astype(jnp.float64), jnp.ones_like(inverse)], axis=-1)

    def enough(self, total: Float64[Array, "*any 3"]) -> Bool[Array, "*any"]:
        """No worker without a gradient, and sum 1/M_i <= n^2 / M."""
        inverse, none, n = (total[..., i] for i in range(3))
        m = jnp.asarray(self.batch).astype(jnp.float64)
        return (none == 0) & (inverse * m <= n**2 * (1 + _SLACK))

    def hint_low(self, table: Timetable, skip: Counts) -> Float64[Array, ""]:
        """By bisection between where everyone has one gradient and where everyone has M/n."""
        share = jnp.ceil(jnp.asarray(self.batch).astype(jnp.float64) / len(skip))
        first, last = table.arrival(skip + 1).max(), table.arrival(skip + share).max()

        enough = functools.partial(_by_work, self, table, skip)
        return before(bisected(enough, before(first), jnp.where(jnp.isfinite(last), last, first)))


@register("synchronous")
@dataclasses.dataclass(frozen=True)
class Synchronous(Rule):
    """`per_worker` gradients from each of n = `workers` workers. The slowest is waited for."""

    workers: int = 10
    per_worker: int = 1

    def __post_init__(self) -> None:
        whole("batch", whole("workers", self.workers) * whole("per_worker", self.per_worker))

    def done(self, counts: Num[Any, "... n"]) -> Bool[Any, "..."]:
        """Whether every worker has delivered its share."""
        return (counts >= self.per_worker).all(axis=-1)

    @property
    def batch(self) -> int:
        """Gradients of all workers together."""
        return self.workers * self.per_worker

    @property
    def hint_share(self) -> Any:
        """A worker that has delivered its share waits."""
        return self.per_worker

    def check(self, n: int) -> None:
        """Raise InputError unless the profile has as many workers as the rule."""
        if n != self.workers:
            raise InputError(f"profile: got n = {n} workers, the rule waits for {self.workers}.")

    def sized(self, size: Any) -> Synchronous:
        """The rule with equal shares of another batch."""
        return resized(self, per_worker=size // self.workers)

    def hint_slots(self, size: int, heterogeneous: bool) -> Int[np.ndarray, " B"]:
        """Slot s belongs to worker s modulo n, under every profile."""
        if size % self.workers:
            raise InputError(
                f"init_batch: got {size}, multiples of the {self.workers} workers are allowed."
            )
        room("batch", size)
        return np.arange(size, dtype=np.int32) % self.workers

    def hint_quota(self, n: int) -> tuple[Any, Any]:
        """All n workers."""
        return n, self.per_worker


@register("m_synchronous")
@dataclasses.dataclass(frozen=True)
class MSynchronous(_Batched):
    """One gradient from each of the m = `batch` first workers. Source: arXiv 2602.03802."""

    batch: int = 5

    def done(self, counts: Num[Any, "... n"]) -> Bool[Any, "..."]:
        """Whether m workers have delivered."""
        return (counts > 0).sum(axis=-1) >= self.batch

    @property
    def hint_share(self) -> int:
        """One gradient a worker."""
        return 1

    def check(self, n: int) -> None:
        """Raise InputError where there are fewer than m workers."""
        if self.batch > n:
            raise InputError(f"m: got {self.batch}, 1 to n = {n} workers are allowed.")

    hint_slots = _anyone

    def hint_quota(self, n: int) -> tuple[Any, Any]:
        """The m first workers."""
        return self.batch, 1


RoundSizes = Int64[np.ndarray, " K"]
"""The batch of each round; 0 where the rule names none."""


def sizes(rule: Rule, rounds: int, first: int | None = None) -> RoundSizes:
    """The batch of each of K rounds, of which the first may have another."""
    room("rounds", whole("rounds", rounds))
    found = np.full(rounds, rule.batch or 0, np.int64)
    if first is not None and whole("init_batch", first) != rule.batch:
        if rule.batch is None or type(rule).sized is Rule.sized:
            raise InputError(f"init_batch: rounds of {named(rule)} have none, leave it out.")
        rule.hint_slots(first, heterogeneous=False)  # refuses what is no batch
        found[0] = first
    return found
