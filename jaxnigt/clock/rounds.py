"""Rounds: each collects gradients until a rule is satisfied, then communicates once."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Array, Float64, Int32
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError, choice, flag, instance, whole
from jaxnigt.clock.batching import Kernel, asked, double_precision, over_profiles, per_round
from jaxnigt.clock.communication import Communication, Model, model
from jaxnigt.clock.counting import MOST_COUNT, Cancel, Finish
from jaxnigt.clock.events import MOST_ARRIVALS, RandomRounds
from jaxnigt.clock.pace import Pace
from jaxnigt.clock.rules import (
    Malenia,
    MSynchronous,
    Rennala,
    RoundSizes,
    Rule,
    Synchronous,
    sizes,
)
from jaxnigt.profiles import Profile
from jaxnigt.registry import make, named

RESTARTS = ("cancel", "finish")


@dataclasses.dataclass(frozen=True, eq=False)
class Rounds:
    """When rounds are over and who contributed to them.

    Attributes:
        end: f64[..., K], seconds at which round k is over, communication included; inf if never.
        counts: i32, broadcastable to [..., K, n]: gradients of each worker that entered round k; None
            where they were not asked for.
        rule: the rule that ended the collections.
        sizes: i64[K], the batch of each round; 0 where the rule names none.
        restart: "cancel" or "finish".
        comm_model: the model of the network.
    """

    end: Float64[np.ndarray, "*profiles K"]
    counts: Int32[np.ndarray, "..."] | None
    rule: Rule
    sizes: RoundSizes
    restart: str
    comm_model: Communication

    def __repr__(self) -> str:
        *profiles, rounds = self.end.shape
        last = np.ravel(self.end[..., -1])
        return (
            f"Rounds({named(self.rule)}, {self.comm_model}, restart={self.restart}, "
            f"profiles={profiles}, rounds={rounds},\n  last round over after {last.min():.6g} to "
            f"{last.max():.6g} s)"
        )


def collect(
    profile: Profile,
    rule: Rule | str,
    rounds: int,
    *,
    init_batch: int | None = None,
    key: int | np.integer | Array | None = None,
    restart: str = "cancel",
    comm_model: Model = "allreduce",
    counts: bool = True,
) -> Rounds:
    """Rounds of any rule. Each ends with the first arrival after which the rule is satisfied.

    Arrivals are ordered by (time, worker index).

    Args:
        profile: times of n workers; leading axes are profiles.
        rule: of `jaxnigt.clock`, of your own, or the registered name of one.
        rounds: K, how many rounds.
        init_batch: the batch of the first round, for rules that have one.
        key: for random times; consumed.
        restart: "cancel" drops unfinished work and restarts all workers at the new point. "finish" lets
            a busy worker complete its stale gradient, which is discarded, before it joins. A worker that
            gets free while the round communicates waits for the new point.
        comm_model: how the round communicates, a `Communication` or its name: "allreduce" adds max_i
            kappa_i over live workers, "server" over contributors, "serial" the sum over contributors;
            "gather" (for "cancel") ends at the first t at which the rule holds for gradients computed by
            t - kappa_i.
        counts: whether to return the counts, which take 4 K n bytes a profile where rounds differ.

    Returns:
        Rounds with end f64[..., K] seconds and counts i32[..., K or 1, n].

    Raises:
        InputError: a number below 1, a profile with the wrong number of workers, an unknown name, or
            random times without a key.

    Example:
        >>> from jaxnigt.profiles import power_law
        >>> collect(power_law(4, 0.5), Rennala(3), 2).end
        array([1.73205081, 3.46410162])
    """
    chosen = make("rule", rule)
    return run(chosen, profile, sizes(chosen, rounds, init_batch), key, comm_model, restart, counts)


def synchronous(
    profile: Profile,
    rounds: int,
    *,
    per_worker: ArrayLike = 1,
    key: int | np.integer | Array | None = None,
    comm_model: Model = "allreduce",
    counts: bool = True,
) -> Rounds:
    """Rounds in which each worker computes `per_worker` gradients and all wait for the slowest.

    `per_worker` is one number or i[K]. A dead worker never delivers, so the rounds of its profile end at
    inf. With "server" and "gather" rounds end at max_i (per_worker h_i + kappa_i). The rest is as for
    `collect`.

    Example:
        >>> from jaxnigt.profiles import power_law
        >>> synchronous(power_law(4, 0.5, comm_scale=1.0), rounds=3).end
        array([3., 6., 9.])
    """
    instance("profile", profile, Profile, "jn.profiles.equal(10)")
    shares = per_round("per_worker", per_worker, whole("rounds", rounds))
    rule = Synchronous(profile.n, int(shares[-1]))
    return run(rule, profile, shares * profile.n, key, comm_model, "cancel", counts)


def m_synchronous(
    profile: Profile,
    m: int,
    rounds: int,
    *,
    key: int | np.integer | Array | None = None,
    comm_model: Model = "allreduce",
    counts: bool = True,
) -> Rounds:
    """Rounds that end with the first gradient of each of the m first workers; the rest is dropped.

    m is in 1 to n. With "server" and "gather" rounds end at max_i (h_i + kappa_i) over contributors. The
    rest is as for `collect`. Source: m-Synchronous SGD (Begunov and Tyurin, arXiv 2602.03802).

    Example:
        >>> from jaxnigt.profiles import power_law
        >>> m_synchronous(power_law(4, 0.5), m=2, rounds=2).counts
        array([[1, 1, 0, 0]], dtype=int32)
    """
    rule = MSynchronous(whole("m", m))
    return run(rule, profile, sizes(rule, rounds), key, comm_model, "cancel", counts)


def rennala(
    profile: Profile,
    batch: ArrayLike,
    rounds: int,
    *,
    key: int | np.integer | Array | None = None,
    restart: str = "cancel",
    comm_model: Model = "allreduce",
    counts: bool = True,
) -> Rounds:
    """Rounds that end with the first `batch` gradients computed at the round's point.

    `batch` is M, one number or i[K]. The rest is as for `collect`. Source: Algorithm 2 of arXiv
    2509.24305, where unfinished work is stopped (`restart="cancel"`).

    Example:
        >>> from jaxnigt.profiles import power_law
        >>> result = rennala(power_law(4, 0.5), batch=3, rounds=2)
        >>> result.end, result.counts
        (array([1.73205081, 3.46410162]), array([[1, 1, 1, 0]], dtype=int32))
    """
    batches = per_round("batch", batch, whole("rounds", rounds))
    return run(Rennala(int(batches[-1])), profile, batches, key, comm_model, restart, counts)


def malenia(
    profile: Profile,
    batch: ArrayLike,
    rounds: int,
    *,
    key: int | np.integer | Array | None = None,
    comm_model: Model = "allreduce",
    counts: bool = True,
) -> Rounds:
    """Rounds that end with the first arrival at which ((1/n) sum_i 1/M_i)^-1 >= M/n.

    `batch` is M, one number or i[K]. Every worker delivers at least one gradient, so a dead worker makes
    rounds end at inf. Sums of 1/M_i that are equal as fractions count as equal. The rest is as for
    `collect`. Source: Algorithm 3 of arXiv 2509.24305.

    Example:
        >>> from jaxnigt.profiles import Profile
        >>> result = malenia(Profile([1.0, 10.0]), batch=3, rounds=1)
        >>> result.end, result.counts
        (array([10.]), array([[10,  1]], dtype=int32))
    """
    batches = per_round("batch", batch, whole("rounds", rounds))
    return run(Malenia(int(batches[-1])), profile, batches, key, comm_model, "cancel", counts)


@dataclasses.dataclass(frozen=True)
class _EndsOnly:
    """Rounds of another kernel without their counts, which are n times as large as their ends."""

    kernel: Kernel

    def __call__(self, pace: Pace, *arguments: Any) -> tuple[Float64[Array, " K"], None]:
        """Ends of the rounds."""
        return self.kernel(pace, *arguments)[0], None


def run(
    rule: Rule,
    profile: Profile,
    batches: RoundSizes,
    key: int | np.integer | Array | None,
    comm_model: Model,
    restart: str = "cancel",
    counts: bool = True,
) -> Rounds:
    """Rounds of a rule with the batch of each round given; see `collect` for the other arguments."""
    instance("profile", profile, Profile, "jn.profiles.equal(10)")
    network, counts = model(comm_model, "rounds"), flag("counts", counts)
    choice("restart", restart, RESTARTS)
    rule.sized(int(batches.max())).check(profile.n)
    with double_precision():  # with an axis in front, as NumPy calls it in `verify`
        rows = 2 if profile.n > 2 else 3
        asked(rule.done, (rows,), "b", np.zeros((rows, profile.n), np.int64))
    finishes = restart == "finish"
    if finishes and network.travels:
        raise InputError(f'comm_model: "{network}" is defined for restart = "cancel" only.')
    if finishes and rule.hint_share is not None:
        raise InputError('restart: "finish" is for rules without a share for each worker.')
    alike = profile.fixed and not finishes
    # Under fixed times all rounds of one batch are alike, so one of each is enough.
    kinds, which = np.unique(batches, return_inverse=True) if alike else (batches, None)
    template = rule.sized(0)  # so that one compiled program serves all batches
    kernel: Kernel
    if profile.noise is not None:
        kernel = RandomRounds(template, finishes, network, profile.noise, max(1, int(batches.max())))
    elif finishes:
        kernel = Finish(template, network)
    else:
        kernel = Cancel(template, network, alike)
    end, count = over_profiles(kernel if counts else _EndsOnly(kernel), profile, key, kinds)
    if np.isneginf(end).any():
        most = MOST_COUNT if profile.noise is None else int(batches.max()) + MOST_ARRIVALS
        raise InputError(
            f"profile: a worker finishes more than {most:,} gradients before a round is over, which is "
            "more than the clock takes; leave out workers that are so much slower than others."
        )
    if np.isnan(end).any():
        raise InputError(f"comm_model: {network} gives no seconds of at least 0 for some round.")
    if which is not None:
        # Alike rounds end at multiples of one duration, which loses nothing to a running sum.
        steps = np.arange(1, len(which) + 1)
        end = end * steps if len(kinds) == 1 else np.cumsum(end[..., which], axis=-1)
        if counts and len(kinds) > 1:
            count = count[..., which, :]
    return Rounds(end, count, rule, batches, restart, network)
