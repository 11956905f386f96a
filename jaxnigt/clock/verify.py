"""Checks of a clock's result against what any clock must satisfy, written apart from the clock."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float64

from jaxnigt.checks import InvariantError
from jaxnigt.clock.types import Arrivals, Rounds
from jaxnigt.profiles import Profile

_REL = 1e-9
_SLACK = 1e-12
_BLOCK_NUMBERS = 2**22
"""Profiles x rounds x workers that are looked at together, each as a few float64."""


def verify(result: Rounds | Arrivals, profile: Profile) -> None:
    """Raise unless a result is one that the profile allows.

    For rounds: shapes; ends that grow by positive durations; counts that sum to what the rule asks
    for; Malenia's condition true at the stop and false one arrival earlier; and, where times are not
    random, no worker faster or slower than its times allow. For arrivals: times in order, ties by
    worker; staleness as the order implies; no worker or link faster than its times allow.

    Args:
        result: of a function of `jaxnigt.clock`.
        profile: what that function was given.

    Raises:
        InvariantError: names the first broken invariant and where.
    """
    time = result.end if isinstance(result, Rounds) else result.time
    if time.shape[:-1] != profile.shape:
        what = "end for each profile and round" if isinstance(result, Rounds) else "time for each update"
        raise InvariantError(f"one {what}", f"shape {time.shape} for profiles {profile.shape}")
    count = int(np.prod(profile.shape, dtype=int))
    profiles, result = profile.reshape(count), _flat(result, count)
    size = max(1, _BLOCK_NUMBERS // (profile.n * time.shape[-1]))
    for first in range(0, count, size):
        block = slice(first, first + size)
        part = {name: value[block] for name, value in _arrays(result).items()}
        some = dataclasses.replace(result, **part)
        try:
            if isinstance(some, Rounds):
                _verify_rounds(some, profiles[block])
            else:
                _verify_arrivals(some, profiles[block])
        except _BrokenError as broken:
            index = np.unravel_index(first + broken.index[0], profile.shape) if profile.shape else ()
            where = [*(int(i) for i in index), *broken.index[1:]]
            raise InvariantError(broken.invariant, f"[{broken.axes}] = {where}") from None


class _BrokenError(Exception):
    """An invariant that does not hold in a block of profiles, and where."""

    def __init__(self, invariant: str, axes: str, index: tuple[int, ...]):
        self.invariant, self.axes, self.index = invariant, axes, index


def _require(invariant: str, holds: Bool[np.ndarray, "P ..."], axes: str) -> None:
    if not holds.all():
        raise _BrokenError(invariant, axes, tuple(int(i[0]) for i in np.nonzero(~holds)))


def _arrays(result: Rounds | Arrivals) -> dict[str, np.ndarray]:
    """The fields that have an entry for each profile."""
    names = ("end", "counts") if isinstance(result, Rounds) else ("time", "worker", "staleness")
    fields = {name: getattr(result, name) for name in names}
    return {name: value for name, value in fields.items() if value is not None}


def _flat(result: Rounds | Arrivals, count: int) -> Rounds | Arrivals:
    """The result with one axis of profiles."""
    arrays = _arrays(result)
    shape = (result.end if isinstance(result, Rounds) else result.time).shape[:-1]
    for name, value in arrays.items():
        own = 2 if name == "counts" else 1
        tail = np.broadcast_shapes(value.shape[-own:], (1,) * own)
        arrays[name] = np.broadcast_to(value, (*shape, *tail)).reshape(count, *tail)
    return dataclasses.replace(result, **arrays)


def _steps(time: Float64[np.ndarray, "*profiles K"]) -> Float64[np.ndarray, "*profiles K"]:
    """Differences along the last axis from 0 on, inf where a time is inf."""
    before = np.concatenate([np.zeros_like(time[..., :1]), time[..., :-1]], axis=-1)
    return np.where(np.isinf(time), np.inf, time - np.where(np.isinf(before), 0.0, before))


def _verify_rounds(rounds: Rounds, profile: Profile) -> None:
    _require("no end is NaN", ~np.isnan(rounds.end), "..., round")
    never = np.isinf(rounds.end)
    _require("nothing follows a round that never ends", never[..., 1:] >= never[..., :-1], "..., round")
    duration = _steps(rounds.end)
    _require("every round takes time", duration > 0, "..., round")
    counts = rounds.counts
    if counts is None:
        return
    if counts.shape[-2] == 1:
        # One row of counts speaks for all rounds: they must be alike, and the first is looked at.
        spent, passed = (np.where(never, 0.0, x) for x in (duration, rounds.end))
        same = (np.abs(spent - spent[..., :1]) <= _REL * passed) & (never == never[..., :1])
        _require("alike rounds take the same time", same, "..., round")
        rounds = dataclasses.replace(rounds, end=rounds.end[..., :1], sizes=rounds.sizes[:1])
        never, duration = never[..., :1], duration[..., :1]
    counts = np.broadcast_to(counts, (*rounds.end.shape, profile.n))
    _require("no negative counts", counts >= 0, "..., round, worker")
    _verify_counts(rounds, counts, never)
    if profile.noise is None:
        _verify_speed(rounds, counts, duration, profile)


def _verify_counts(rounds: Rounds, counts: np.ndarray, never: np.ndarray) -> None:
    """What the rule asks for, in every round that ends."""
    sizes = rounds.sizes
    total = counts.sum(axis=-1)
    if rounds.rule == "synchronous":
        _require(
            "every worker delivers its share", (counts == sizes[:, None]).all(-1) | never, "..., round"
        )
    elif rounds.rule == "m_synchronous":
        _require("one gradient a worker at most", counts <= 1, "..., round, worker")
        _require("m workers deliver", (total == sizes) | never, "..., round")
    elif rounds.rule == "rennala":
        _require("counts sum to M", (total == sizes) | never, "..., round")
    else:
        _require("Malenia's condition holds at the stop", _malenia(counts, sizes) | never, "..., round")
        # Dropping the last arrival must break it; who came last is one of those who delivered.
        fails = (~_malenia(counts, sizes, drop=True) & (counts > 0)).any(axis=-1)
        _require("Malenia's condition fails one arrival earlier", fails | never, "..., round")


def _malenia(counts: np.ndarray, sizes: np.ndarray, drop: bool = False) -> np.ndarray:
    """The condition [P, K], or [P, K, n] with one gradient of each worker in turn dropped."""
    n = counts.shape[-1]
    inverse = _inverse(counts)
    total = inverse.sum(axis=-1)
    if drop:
        others = total[..., None] - np.where(counts == 0, 0.0, inverse)
        total, sizes = others + _inverse(np.maximum(counts - 1, 0)), sizes[:, None]
    return total * sizes <= n**2 * (1 + _SLACK)


def _inverse(counts: np.ndarray) -> np.ndarray:
    return np.where(counts > 0, 1 / np.maximum(counts, 1), np.inf)


def _verify_speed(rounds: Rounds, counts: np.ndarray, duration: np.ndarray, profile: Profile) -> None:
    """Counts against the work that fits between the start of a round and the end of its collection."""
    live = np.isfinite(profile.compute)
    comm = np.where(live, profile.comm, 0.0)[..., None, :]
    ended = np.isfinite(duration)
    start = np.where(ended, rounds.end, 0.0) - np.where(ended, duration, 0.0)
    until = np.where(ended, rounds.end, 0.0)[..., None] - _pause(rounds, counts, live, comm)
    most = _work(profile, start, until * (1 + _REL))
    _require(
        "no worker is faster than its times allow",
        (counts <= most * (1 + _REL) + _REL) | ~ended[..., None],
        "..., round, worker",
    )
    # Where contributors of a synchronous round send at once, its end does not tell who came late.
    if rounds.restart == "cancel" and rounds.rule in ("rennala", "malenia"):
        least = np.floor(_work(profile, start, until - _REL * (until + 1)) - _REL)
        enough = (counts >= least) | ~ended[..., None]
        _require("no worker is slower than its times allow", enough, "..., round, worker")


def _pause(rounds: Rounds, counts: np.ndarray, live: np.ndarray, comm: np.ndarray) -> np.ndarray:
    """Seconds before the end of a round after which a worker's gradient came too late; [..., K, n]."""
    model = rounds.comm_model
    sends_at_once = model == "server" and rounds.rule in ("synchronous", "m_synchronous")
    if model == "gather" or sends_at_once:
        return np.broadcast_to(comm, counts.shape)
    takes_part = live[..., None, :] if model == "allreduce" else counts > 0
    costs = np.where(takes_part, comm, 0.0)
    pause = costs.sum(axis=-1) if model == "serial" else costs.max(axis=-1)
    return np.broadcast_to(pause[..., None], counts.shape)


def _work(profile: Profile, start: np.ndarray, until: np.ndarray) -> np.ndarray:
    """Integral of power / compute from start [..., K] to until [..., K, n], in gradients."""
    compute = profile.compute[..., None, :]
    begin = np.minimum(np.broadcast_to(start[..., None], until.shape), until)
    breaks, power = profile.power or (np.zeros(0), np.ones((1, profile.n)))
    power = np.broadcast_to(power, (*profile.shape, *power.shape[-2:]))
    edges = np.concatenate([[0.0], breaks, [np.inf]])
    work = np.zeros(until.shape)
    for j in range(len(edges) - 1):
        piece = np.clip(until, edges[j], edges[j + 1]) - np.clip(begin, edges[j], edges[j + 1])
        work += piece * power[..., j, :][..., None, :] / compute
    return work


def _verify_arrivals(arrivals: Arrivals, profile: Profile) -> None:
    time, worker = arrivals.time, arrivals.worker
    _require("no time is NaN", ~np.isnan(time), "..., update")
    _require("no update at time 0 or before", time > 0, "..., update")
    _require("times do not fall", time[..., 1:] >= time[..., :-1], "..., update")
    happens = np.isfinite(time)
    live = np.take_along_axis(np.isfinite(profile.compute), worker, axis=-1)
    _require("only live workers deliver", live | ~happens, "..., update")
    tied = (time[..., 1:] == time[..., :-1]) & happens[..., 1:]
    if arrivals.comm_model == "parallel":
        ordered = worker[..., 1:] > worker[..., :-1]
        _require("ties are ordered by worker", ordered | ~tied, "..., update")
    previous = _previous(worker)
    implied = np.arange(time.shape[-1]) - (previous + 1)
    _require(
        "staleness is what the order implies", (arrivals.staleness == implied) | ~happens, "..., update"
    )
    if profile.fixed:
        cycle = np.take_along_axis(profile.compute + profile.comm, worker, axis=-1)
        last = np.take_along_axis(time, np.maximum(previous, 0), axis=-1)
        spent = np.where(previous >= 0, time - np.where(np.isfinite(last), last, 0.0), time)
        enough = spent >= cycle * (1 - _REL) - _REL * time
        _require("no worker is faster than its times allow", enough | ~happens, "..., update")
    if arrivals.comm_model == "serial":
        link = np.take_along_axis(profile.comm, worker, axis=-1)
        free = _steps(time) >= link * (1 - _REL) - _REL * np.where(happens, time, 0.0)
        _require("the link carries one message at a time", free, "..., update")


def _previous(worker: np.ndarray) -> np.ndarray:
    """Index of the same worker's last update before each one, -1 if there is none."""
    order = np.argsort(worker, axis=-1, kind="stable")
    sorted_worker = np.take_along_axis(worker, order, axis=-1)
    earlier = np.concatenate([np.full_like(order[..., :1], -1), order[..., :-1]], axis=-1)
    first = np.concatenate(
        [np.ones_like(order[..., :1], bool), sorted_worker[..., 1:] != sorted_worker[..., :-1]], axis=-1
    )
    previous = np.empty_like(order)
    np.put_along_axis(previous, order, np.where(first, -1, earlier), axis=-1)
    return previous
