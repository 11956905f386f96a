"""Rounds in turn for one profile, at fixed or time-varying speed."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Int32, Int64, Key

from jaxnigt.checks import InputError
from jaxnigt.clock.communication import ROUND_MODELS, check_model, round_communication
from jaxnigt.clock.pace import Pace, timetable
from jaxnigt.clock.random_rounds import RULES, RandomRounds
from jaxnigt.clock.rules import First
from jaxnigt.clock.selection import Selection, select
from jaxnigt.clock.types import Kernel, Rounds, over_profiles
from jaxnigt.profiles import Profile


class Round(NamedTuple):
    """One round; scans stack it.

    Attributes:
        end: f64[], seconds at which it is over.
        counts: i32[n], gradients of each worker that entered it.
    """

    end: Float64[Array, "..."]
    counts: Int32[Array, "... n"]


@dataclasses.dataclass(frozen=True)
class Cancel:
    """Rounds after each of which all workers restart at the new point.

    Attributes:
        rule: "synchronous" or a key of `RULES`.
        comm_model: as `round_communication` knows it.
        alike: whether every round starts at time 0, so that `end` is a duration.
    """

    rule: str
    comm_model: str
    alike: bool

    def __call__(
        self, pace: Pace, comm: Float64[Array, " n"], key: Key[Array, ""], sizes: Int64[Array, " K"]
    ) -> Round:
        """Rounds of these sizes."""

        def one_round(
            start: Float64[Array, ""], size: Int64[Array, ""]
        ) -> tuple[Float64[Array, ""], Round]:
            done = self._round(pace, comm, start, size)
            # A round that never ends is followed by none; its start is replaced to keep out NaN.
            end = jnp.where(jnp.isfinite(start), done.end, jnp.inf)
            return (jnp.zeros(()) if self.alike else end), done._replace(end=end)

        if self.alike:
            return jax.vmap(lambda size: one_round(jnp.zeros(()), size)[1])(sizes)
        return jax.lax.scan(one_round, jnp.zeros(()), sizes)[1]

    def _round(
        self, pace: Pace, comm: Float64[Array, " n"], start: Float64[Array, ""], size: Int64[Array, ""]
    ) -> Round:
        start = jnp.where(jnp.isfinite(start), start, 0.0)
        live = jnp.isfinite(pace.h)
        lead = jnp.where(live, comm, 0.0) if self.comm_model == "gather" else jnp.zeros_like(comm)
        table = timetable(pace, jnp.broadcast_to(start, comm.shape), lead)
        if self.rule == "synchronous":
            each = jnp.broadcast_to(size.astype(jnp.float64), comm.shape)
            completion = table.arrival(each)
            found = Selection(completion.max(), jnp.zeros((), jnp.int64), each, each)
        else:
            found = select(table, jnp.zeros_like(comm), RULES[self.rule](size))
            completion = table.arrival(jnp.ones_like(comm))
        counts = found.counts
        if self.rule == "m_synchronous":
            counts = jnp.minimum(counts, 1.0)
        if self.comm_model == "server" and self.rule in ("synchronous", "m_synchronous"):
            # Each contributor sends as soon as it is done.
            end = jnp.where(counts > 0, completion + jnp.where(live, comm, 0.0), 0.0).max()
            end = jnp.where(jnp.isfinite(found.time), end, jnp.inf)
        else:
            end = found.time + round_communication(self.comm_model, comm, live, counts)
        return Round(end, counts.astype(jnp.int32))


@dataclasses.dataclass(frozen=True)
class Finish:
    """Rennala rounds in which a busy worker first finishes its stale gradient."""

    comm_model: str

    def __call__(
        self, pace: Pace, comm: Float64[Array, " n"], key: Key[Array, ""], sizes: Int64[Array, " K"]
    ) -> Round:
        """Rounds of these sizes: each worker carries when it started and how far it is."""
        live = jnp.isfinite(pace.h)

        def one_round(
            grid: tuple[Array, Array], size: Int64[Array, ""]
        ) -> tuple[tuple[Array, Array], Round]:
            start, skip = grid
            table = timetable(pace, start)
            found = select(table, skip, First(size))
            pause = round_communication(self.comm_model, comm, live, found.counts)
            over = found.time + pause
            # Who delivered last is free at once; the others are busy with a gradient now stale.
            delivered = jnp.arange(len(comm)) == found.worker
            skip = found.position + jnp.where(delivered, 0.0, 1.0)
            waits = (pause > 0) & (table.arrival(skip) <= over)
            restart = waits & jnp.isfinite(over)
            grid = (jnp.where(restart, over, start), jnp.where(restart, 0.0, skip))
            return grid, Round(over, found.counts.astype(jnp.int32))

        grid = (jnp.zeros_like(comm), jnp.zeros_like(comm))
        return jax.lax.scan(one_round, grid, sizes)[1]


@dataclasses.dataclass(frozen=True)
class EndsOnly:
    """Rounds of another kernel without their counts, which are n times as large as their ends."""

    kernel: Kernel

    def __call__(
        self, pace: Pace, comm: Float64[Array, " n"], key: Key[Array, ""], sizes: Int64[Array, " K"]
    ) -> tuple[Float64[Array, " K"], None]:
        """Ends of rounds of these sizes."""
        return self.kernel(pace, comm, key, sizes)[0], None


def run_rounds(
    rule: str,
    profile: Profile,
    sizes: np.ndarray,
    *,
    key: int | Key[Array, ""] | None,
    comm_model: str,
    restart: str = "cancel",
    counts: bool = True,
) -> Rounds:
    """Rounds of a rule for all profiles; see the functions of `jaxnigt.clock` for the arguments."""
    check_model(comm_model, ROUND_MODELS)
    if restart == "finish" and comm_model == "gather":
        raise InputError('comm_model: "gather" is defined for restart = "cancel" only.')
    alike = profile.fixed and restart == "cancel"
    # Under fixed times all rounds of one size are alike, so one of each is enough.
    kinds, which = np.unique(sizes, return_inverse=True) if alike else (sizes, None)
    kernel: Kernel
    if profile.noise is not None:
        kernel = RandomRounds(rule, restart, comm_model, profile.noise, int(sizes.max()))
    elif restart == "finish":
        kernel = Finish(comm_model)
    else:
        kernel = Cancel(rule, comm_model, alike)
    end, count = over_profiles(kernel if counts else EndsOnly(kernel), profile, key, kinds)
    if which is not None:
        end = _ends(end, which)
        if counts and len(kinds) > 1:
            count = count[..., which, :]
    return Rounds(end, count, rule, sizes, restart, comm_model)


def _ends(
    durations: Float64[np.ndarray, "*profiles u"], which: np.ndarray
) -> Float64[np.ndarray, "*profiles K"]:
    """Ends of rounds from the durations of their u kinds.

    Alike rounds end at multiples of one duration, which loses nothing to a running sum.
    """
    if durations.shape[-1] == 1:
        return durations * np.arange(1, len(which) + 1)
    return np.cumsum(durations[..., which], axis=-1)
