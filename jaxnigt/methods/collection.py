"""Collection rules: which trajectories enter a round, with which weight, and how long that takes."""

from __future__ import annotations

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int32, Key

from jaxnigt import clock
from jaxnigt.checks import InputError, whole
from jaxnigt.profiles import Profile

Slots = tuple[Int32[np.ndarray, " B"], Float32[np.ndarray, " B"]]
"""Worker and weight of each slot of a round."""


@runtime_checkable
class Collection(Protocol):
    """What training and replay ask of a rule that collects rounds. Rules are hashable."""

    @property
    def batch(self) -> int:
        """What a round asks for: gradients in all, or M of Malenia's condition."""
        ...

    def replayable(self, heterogeneous: bool) -> bool:
        """Whether slots do not depend on the clock, so that one training serves every profile.

        Args:
            heterogeneous: whether it matters whose gradients they are.
        """
        ...

    def slots(self, size: int) -> Slots:
        """The slots of a round of `size` gradients; called for replayable rules only."""
        ...

    def weights(self, counts: Int[np.ndarray, "*rounds n"]) -> Float[np.ndarray, "*rounds n"]:
        """Weight of each gradient of a worker, given how many each delivered; for all others."""
        ...

    def rounds(
        self,
        profile: Profile,
        sizes: np.ndarray,
        *,
        key: int | Key[Array, ""] | None = None,
        comm_model: str = "allreduce",
    ) -> clock.Rounds:
        """When rounds of sizes i[K] are over under a batch of profiles."""
        ...


class _Mean:
    """Rules that give every gradient of a round the same weight, 1/B."""

    def weights(self, counts: Int[np.ndarray, "*rounds n"]) -> Float[np.ndarray, "*rounds n"]:
        """1 / sum_i M_i."""
        total = counts.sum(axis=-1, keepdims=True)
        return np.broadcast_to(1 / np.maximum(total, 1), counts.shape)


@dataclasses.dataclass(frozen=True)
class Synchronous(_Mean):
    """The same number of gradients from each worker, all waited for; weight 1/B.

    Attributes:
        workers: n, also the batch.
    """

    workers: int

    def __post_init__(self) -> None:
        whole("batch", self.workers)

    @property
    def batch(self) -> int:
        """n, one gradient a worker."""
        return self.workers

    def replayable(self, heterogeneous: bool) -> bool:
        """Always: every worker delivers the same under every profile."""
        del heterogeneous
        return True

    def slots(self, size: int) -> Slots:
        """Slot s belongs to worker s modulo n."""
        if size % self.workers:
            raise InputError(
                f"init_batch: got {size}, multiples of the {self.workers} workers are allowed."
            )
        return np.arange(size, dtype=np.int32) % self.workers, np.full(size, 1 / size, np.float32)

    def rounds(
        self,
        profile: Profile,
        sizes: np.ndarray,
        *,
        key: int | Key[Array, ""] | None = None,
        comm_model: str = "allreduce",
    ) -> clock.Rounds:
        """Synchronous rounds; the profile has as many workers as the rule."""
        if profile.n != self.workers:
            raise InputError(
                f"profile: got n = {profile.n} workers, the method was trained with {self.workers}."
            )
        per_worker = np.asarray(sizes) // self.workers
        return clock.synchronous(
            profile, len(sizes), per_worker=per_worker, key=key, comm_model=comm_model
        )


class _Anyone(_Mean):
    """Rules that take gradients from whoever has them first, all with the same weight."""

    def replayable(self, heterogeneous: bool) -> bool:
        """Where all workers share one problem it does not matter whose gradients they are."""
        return not heterogeneous

    def slots(self, size: int) -> Slots:
        """All say worker 0."""
        return np.zeros(size, np.int32), np.full(size, 1 / size, np.float32)


@dataclasses.dataclass(frozen=True)
class MSynchronous(_Anyone):
    """One gradient from each of the m first workers, the others' are dropped; weight 1/m.

    Attributes:
        batch: m.
    """

    batch: int

    def __post_init__(self) -> None:
        whole("batch", self.batch)

    def rounds(
        self,
        profile: Profile,
        sizes: np.ndarray,
        *,
        key: int | Key[Array, ""] | None = None,
        comm_model: str = "allreduce",
    ) -> clock.Rounds:
        """m-synchronous rounds, for m workers or more."""
        if self.batch > profile.n:
            raise InputError(
                f"profile: got n = {profile.n} workers, at least m = {self.batch} are needed."
            )
        return clock.m_synchronous(profile, self.batch, len(sizes), key=key, comm_model=comm_model)


@dataclasses.dataclass(frozen=True)
class Rennala(_Anyone):
    """The first `batch` gradients, whoever computes them; weight 1/M.

    Attributes:
        batch: M.
        restart: "cancel" or "finish", what happens to unfinished work.
    """

    batch: int
    restart: str = "cancel"

    def __post_init__(self) -> None:
        whole("batch", self.batch)
        if self.restart not in clock.RESTARTS:
            allowed = ", ".join(clock.RESTARTS)
            raise InputError(f"restart: got {self.restart!r}, allowed are {allowed}.")

    def rounds(
        self,
        profile: Profile,
        sizes: np.ndarray,
        *,
        key: int | Key[Array, ""] | None = None,
        comm_model: str = "allreduce",
    ) -> clock.Rounds:
        """Rennala rounds, for any number of workers."""
        return clock.rennala(
            profile, np.asarray(sizes), len(sizes), key=key, restart=self.restart, comm_model=comm_model
        )


@dataclasses.dataclass(frozen=True)
class Malenia:
    """Gradients until the harmonic mean of the workers' counts M_i is M/n; weight 1/(n M_i).

    Attributes:
        batch: M.
    """

    batch: int

    def __post_init__(self) -> None:
        whole("batch", self.batch)

    def replayable(self, heterogeneous: bool) -> bool:
        """Never: how many gradients there are, and their weights, depend on the clock."""
        del heterogeneous
        return False

    def slots(self, size: int) -> Slots:
        """There are none without a clock."""
        raise InputError("profile: Malenia's rounds depend on the clock, a profile is needed.")

    def weights(self, counts: Int[np.ndarray, "*rounds n"]) -> Float[np.ndarray, "*rounds n"]:
        """1 / (n M_i), so that every worker's mean counts alike."""
        return 1 / (counts.shape[-1] * np.maximum(counts, 1))

    def rounds(
        self,
        profile: Profile,
        sizes: np.ndarray,
        *,
        key: int | Key[Array, ""] | None = None,
        comm_model: str = "allreduce",
    ) -> clock.Rounds:
        """Malenia rounds, for any number of workers."""
        return clock.malenia(profile, np.asarray(sizes), len(sizes), key=key, comm_model=comm_model)


@dataclasses.dataclass(frozen=True)
class Asynchronous:
    """Every gradient updates the server as it arrives, one at a time; see `clock.asynchronous`.

    Attributes:
        lanes: gradients that training computes together at most; by default as many as pay on the
            hardware. It changes how fast a program runs, not what it computes.
    """

    lanes: int | None = None

    def __post_init__(self) -> None:
        if self.lanes is not None:
            whole("lanes", self.lanes)

    @property
    def batch(self) -> int:
        """1."""
        return 1

    def replayable(self, heterogeneous: bool) -> bool:
        """Never: which model a gradient was computed at depends on the clock."""
        del heterogeneous
        return False

    def arrivals(
        self,
        profile: Profile,
        updates: int,
        *,
        key: int | Key[Array, ""] | None = None,
        comm_model: str = "parallel",
    ) -> clock.Arrivals:
        """When gradients arrive, from whom, and how stale they are."""
        return clock.asynchronous(profile, updates, key=key, comm_model=comm_model)
