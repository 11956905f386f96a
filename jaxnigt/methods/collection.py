"""Collection: which gradients enter an aggregate, and with which weight."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int32, Key

from jaxnigt import clock
from jaxnigt.checks import InputError, answer, asked, choice, whole
from jaxnigt.clock.communication import Model
from jaxnigt.clock.rounds import RESTARTS, run
from jaxnigt.profiles import Profile
from jaxnigt.registry import make, named

Slots = tuple[Int32[np.ndarray, " B"], Float32[np.ndarray, " B"]]
"""Worker and weight of each slot of a round."""

Weights = Callable[[Int[np.ndarray, "*rounds n"]], Float[np.ndarray, "*rounds n"]]
"""From how many gradients each worker delivered to the weight of each gradient of a worker."""


def mean(counts: Int[np.ndarray, "*rounds n"]) -> Float[np.ndarray, "*rounds n"]:
    """The same weight 1 / sum_i M_i for every gradient of a round with M_i gradients of worker i.

    Example:
        >>> mean(np.array([3, 1]))
        array([0.25, 0.25])
    """
    total = counts.sum(axis=-1, keepdims=True)
    return np.broadcast_to(1 / np.maximum(total, 1), counts.shape)


def worker_mean(counts: Int[np.ndarray, "*rounds n"]) -> Float[np.ndarray, "*rounds n"]:
    """The same weight for every worker's mean, 1 / (n M_i). Source: Algorithm 3 of arXiv 2509.24305.

    Example:
        >>> worker_mean(np.array([2, 1]))
        array([0.25, 0.5 ])
    """
    return 1 / (counts.shape[-1] * np.maximum(counts, 1))


@dataclasses.dataclass(frozen=True)
class Collection:
    """Rounds of a rule, with a weight for each gradient.

    Attributes:
        rule: says when a round is over, one of `jaxnigt.clock` or your own.
        weights: `mean`, `worker_mean` or a function of your own.
        restart: "cancel" or "finish", what happens to unfinished work; see `jaxnigt.clock.collect`.

    Raises:
        InputError: an unknown word.

    Example:
        >>> Collection(clock.Malenia(20), worker_mean).replayable(heterogeneous=False)
        False
    """

    rule: clock.Rule
    weights: Weights = mean
    restart: str = "cancel"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rule", make("rule", self.rule))
        choice("restart", self.restart, RESTARTS)
        if not callable(self.weights):
            raise InputError(f"weights: got {self.weights!r}, a function of the counts is allowed.")

    @property
    def batch(self) -> int | None:
        """What a round asks for, None where the rule does not say."""
        return self.rule.batch

    def replayable(self, heterogeneous: bool) -> bool:
        """Whether one training serves every profile, if it matters whose gradients they are or not."""
        size = self.batch or 0
        return self.weights is mean and self.rule.hint_slots(size, heterogeneous) is not None

    def weigh(self, counts: Int[np.ndarray, "*rounds n"]) -> Float[np.ndarray, "*rounds n"]:
        """`weights` of counts.

        Raises:
            InputError: a function that raises something, weights of another shape than the counts, or
                that are not finite, below 0, or 0 for all gradients of a round.
        """
        where = f"weights: {getattr(self.weights, '__name__', type(self.weights).__name__)}"
        found = answer(where, asked(where, lambda: self.weights(counts)), counts.shape, "iuf")
        found = np.asarray(found, np.float64)
        used = np.where(counts > 0, found, 0.0)
        if not (np.isfinite(used) & (used >= 0)).all():
            bad = used[~(np.isfinite(used) & (used >= 0))][0]
            raise InputError(
                f"{where} gives {bad:g} where counts are above 0, finite numbers of at least 0 are "
                "allowed."
            )
        if not used.any(axis=-1).all():
            raise InputError(f"{where} gives 0 to all gradients of a round, one above 0 is needed.")
        return found

    def slots(self, size: int, heterogeneous: bool = False) -> Slots:
        """Worker and weight of each of the `size` slots of a round, where they do not need the clock.

        Raises:
            InputError: slots that depend on the clock, or a size that the rule cannot have.
        """
        workers = self.rule.hint_slots(size, heterogeneous)
        if workers is None or self.weights is not mean:
            raise InputError(
                f"profile: rounds of {named(self.rule)} depend on the clock, a profile is needed."
            )
        return workers, np.full(size, 1 / size, np.float32)

    def rounds(
        self,
        profile: Profile,
        sizes: np.ndarray,
        *,
        key: int | Key[Array, ""] | None = None,
        comm_model: Model = "allreduce",
    ) -> clock.Rounds:
        """When rounds of batches i[K] are over under profiles; see `jaxnigt.clock.collect`."""
        return run(self.rule, profile, np.asarray(sizes), key, comm_model, self.restart)


@dataclasses.dataclass(frozen=True)
class Asynchronous:
    """Gradients that update the server one at a time as they arrive; see `jaxnigt.clock.asynchronous`.

    Attributes:
        rule: which gradients are accepted; None for all.
        lanes: gradients that training computes together at most, which changes no result; by default as
            many as pay on the hardware.

    Example:
        >>> Asynchronous().batch
        1
    """

    rule: clock.ArrivalRule | None = None
    lanes: int | None = None

    def __post_init__(self) -> None:
        if self.rule is not None:
            object.__setattr__(self, "rule", make("arrival_rule", self.rule, "rule"))
        if self.lanes is not None:
            whole("lanes", self.lanes)

    @property
    def batch(self) -> int:
        """1."""
        return 1

    def replayable(self, heterogeneous: bool) -> bool:
        """Never, because the clock decides at which model a gradient is computed."""
        return False

    def arrivals(
        self,
        profile: Profile,
        updates: int,
        *,
        key: int | Key[Array, ""] | None = None,
        comm_model: Model = "parallel",
    ) -> clock.Arrivals:
        """When gradients arrive, from whom, and how stale they are."""
        return clock.asynchronous(profile, updates, key=key, comm_model=comm_model, rule=self.rule)
