"""Collection rules: which trajectories enter a round, with which weight, and how long that takes."""

from __future__ import annotations

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float32, Int32, Key

from jaxnigt import clock
from jaxnigt.clock.types import whole
from jaxnigt.errors import InputError
from jaxnigt.profiles import Profile


@runtime_checkable
class Collection(Protocol):
    """What training and replay ask of a collection rule. Rules are hashable.

    `batch` is the number of slots of a round. `replayable` says that slots, workers and weights do
    not depend on the clock, so that one training serves every profile.
    """

    @property
    def batch(self) -> int:
        """B, gradients of a round."""
        ...

    @property
    def replayable(self) -> bool:
        """Whether the iterates are the same under every profile."""
        ...

    def slots(self, size: int) -> tuple[Int32[np.ndarray, " B"], Float32[np.ndarray, " B"]]:
        """Worker and weight of each slot of a round of `size` gradients."""
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


@dataclasses.dataclass(frozen=True)
class Synchronous:
    """The same number of gradients from each worker, all waited for; weight 1/B.

    Attributes:
        workers: n, also the batch.
    """

    workers: int
    replayable: bool = dataclasses.field(default=True, init=False)

    def __post_init__(self) -> None:
        whole("batch", self.workers)

    @property
    def batch(self) -> int:
        """n, one gradient a worker."""
        return self.workers

    def slots(self, size: int) -> tuple[Int32[np.ndarray, " B"], Float32[np.ndarray, " B"]]:
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


@dataclasses.dataclass(frozen=True)
class Rennala:
    """The first `batch` gradients, whoever computes them; weight 1/M.

    Attributes:
        batch: M.
        restart: "cancel" or "finish", what happens to unfinished work.
    """

    batch: int
    restart: str = "cancel"
    replayable: bool = dataclasses.field(default=True, init=False)

    def __post_init__(self) -> None:
        whole("batch", self.batch)
        if self.restart not in clock.RESTARTS:
            allowed = ", ".join(clock.RESTARTS)
            raise InputError(f"restart: got {self.restart!r}, allowed are {allowed}.")

    def slots(self, size: int) -> tuple[Int32[np.ndarray, " B"], Float32[np.ndarray, " B"]]:
        """On a homogeneous problem it does not matter whose a slot is: all say worker 0."""
        return np.zeros(size, np.int32), np.full(size, 1 / size, np.float32)

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
