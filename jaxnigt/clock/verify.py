"""Checks of a clock's result against what any clock must satisfy, written apart from the clock."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float64

from jaxnigt.checks import InputError, InvariantError, instance
from jaxnigt.clock.arrivals import Arrivals, accepts
from jaxnigt.clock.batching import asked, double_precision
from jaxnigt.clock.rounds import Rounds
from jaxnigt.clock.rules import Rule
from jaxnigt.profiles import Profile

_REL = 1e-9
_BLOCK_NUMBERS = 2**22  # Profiles x rounds x workers that are looked at together.


def verify(result: Rounds | Arrivals, profile: Profile) -> None:
    """Raise unless a result is one that the profile allows.

    For rounds it checks the shapes, that ends grow, that the rule holds at the stop and not one arrival
    earlier and, where times are not random, that no worker is faster or slower than its times allow. For
    arrivals it checks that times are in order, ties by worker, that staleness is what the order implies,
    and that no worker or link is faster than its times allow.

    Raises:
        InvariantError: names the first broken invariant and where.

    Example:
        >>> from jaxnigt.clock import rennala
        >>> from jaxnigt.profiles import linear
        >>> verify(rennala(linear(3), batch=4, rounds=2), linear(3))
    """
    if not isinstance(result, Rounds | Arrivals):
        raise InputError("result: Rounds or Arrivals are allowed, what the functions of jn.clock give.")
    instance("profile", profile, Profile, "jn.profiles.equal(10)")
    time = result.end if isinstance(result, Rounds) else result.time
    if time.shape[:-1] != profile.shape:
        what = "end for each profile and round" if isinstance(result, Rounds) else "time for each update"
        raise InvariantError(f"one {what}", f"shape {time.shape} for profiles {profile.shape}")
    count = int(np.prod(profile.shape, dtype=int))
    profiles, arrays = profile.reshape(count), _by_profile(result, profile.shape, count)
    size = max(1, _BLOCK_NUMBERS // (profile.n * time.shape[-1]))
    for first in range(0, count, size):
        block = slice(first, first + size)
        some = dataclasses.replace(result, **{name: value[block] for name, value in arrays.items()})
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


def _by_profile(result: Rounds | Arrivals, shape: tuple[int, ...], count: int) -> dict[str, np.ndarray]:
    """The fields that have an entry for each profile, with one axis of profiles in front."""
    rounds = isinstance(result, Rounds)
    own = {"end": 1, "counts": 2} if rounds else {"time": 1, "worker": 1, "staleness": 1}
    found = {}
    for name, axes in own.items():
        value = getattr(result, name)
        if value is not None:
            tail = np.broadcast_shapes(value.shape[-axes:], (1,) * axes)
            found[name] = np.broadcast_to(value, (*shape, *tail)).reshape(count, *tail)
    return found


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
    _verify_rule(rounds, counts, never)
    if profile.noise is None:
        _verify_speed(rounds, counts, duration, profile)


def _verify_rule(rounds: Rounds, counts: np.ndarray, never: np.ndarray) -> None:
    """The rule holds in every round that ends, and did not hold one arrival earlier, by its `done`."""
    name = type(rounds.rule).__name__
    holds, failed = never.copy(), never.copy()
    for size in np.unique(rounds.sizes):
        rule, now = rounds.rule.sized(int(size)), rounds.sizes == size
        if rule.hint_share is not None:
            share = (counts[:, now] <= rule.hint_share) | never[:, now, None]
            _require(f"{name}: no worker delivers more than its share", share, "..., round, worker")
        holds[:, now] |= _done(rule, counts[:, now])
        failed[:, now] |= _fails_earlier(rule, counts[:, now], never[:, now])
    _require(f"{name}: the rule holds at the stop", holds, "..., round")
    _require(f"{name}: the rule does not hold one arrival earlier", failed, "..., round")


def _done(rule: Rule, counts: np.ndarray) -> np.ndarray:
    with double_precision():
        return np.asarray(asked(rule.done, counts.shape[:-1], "b", counts.astype(np.int64)))


def _fails_earlier(rule: Rule, counts: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Whether the rule fails once the last gradient of one of the contributors is dropped."""
    # Who came last is one of them. Workers with the fewest gradients are tried first, as the rules of
    # this package nearly all depend on them most, so that few rounds are left after the first try.
    fails = known.copy()
    order = np.argsort(np.where(counts > 0, counts, np.iinfo(counts.dtype).max), axis=-1, kind="stable")
    for place in range(counts.shape[-1]):
        left = np.nonzero(~fails)
        if not left[0].size:
            break
        some, worker = counts[left].astype(np.int64), order[(*left, place)]
        rows = np.arange(len(some))
        delivered = some[rows, worker] > 0
        some[rows, worker] -= delivered
        fails[left] = delivered & ~_done(rule, some)
    return fails


def _verify_speed(rounds: Rounds, counts: np.ndarray, duration: np.ndarray, profile: Profile) -> None:
    """Counts against the work that fits between the start of a round and the end of its collection."""
    live = np.isfinite(profile.compute)
    comm = np.where(live, profile.comm, 0.0)[..., None, :]
    ended = np.isfinite(duration)
    start = np.where(ended, rounds.end, 0.0) - np.where(ended, duration, 0.0)
    over = np.where(ended, rounds.end, 0.0)[..., None]
    until = over - _pause(rounds, counts, live, comm)
    most = _work(profile, start, until + _REL * over)
    few = (counts <= most * (1 + _REL) + _REL) | ~ended[..., None]
    _require("no worker is faster than its times allow", few, "..., round, worker")
    # A worker with a share of its own stops there, so that its count does not tell how slow it is.
    if rounds.restart == "cancel" and rounds.rule.hint_share is None:
        least = np.floor(_work(profile, start, until - _REL * (until + 1)) - _REL)
        enough = (counts >= least) | ~ended[..., None]
        _require("no worker is slower than its times allow", enough, "..., round, worker")


def _pause(rounds: Rounds, counts: np.ndarray, live: np.ndarray, comm: np.ndarray) -> np.ndarray:
    """Seconds before the end of a round after which a worker's gradient came too late; [..., K, n]."""
    network = rounds.comm_model
    if network.travels or (network.early and rounds.rule.hint_share is not None):
        return np.broadcast_to(comm, counts.shape)
    alive = np.broadcast_to(live[..., None, :], counts.shape)
    with double_precision():
        arguments = np.broadcast_to(comm, counts.shape), alive, counts.astype(np.int64)
        pause = asked(network.pause, counts.shape[:-1], "iuf", *arguments)
    return np.broadcast_to(np.asarray(pause)[..., None], counts.shape)


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
        with np.errstate(over="ignore"):  # more work than float64 holds is enough for any count
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
    if not arrivals.comm_model.one_link:
        ordered = worker[..., 1:] > worker[..., :-1]
        _require("ties are ordered by worker", ordered | ~tied, "..., update")
    previous = _previous(worker)
    implied = np.arange(time.shape[-1]) - (previous + 1)
    if arrivals.rule is None:
        same = arrivals.staleness == implied
    else:
        # A worker whose gradient was refused has started again since, at a model not older than that.
        same = (arrivals.staleness >= 0) & (arrivals.staleness <= implied)
        with double_precision():
            accepted = np.asarray(accepts(arrivals.rule, arrivals.staleness.astype(np.int64)))
        _require("every update is accepted by the rule", accepted | ~happens, "..., update")
    _require("staleness is what the order implies", same | ~happens, "..., update")
    if profile.fixed:
        cycle = np.take_along_axis(profile.compute + profile.comm, worker, axis=-1)
        last = np.take_along_axis(time, np.maximum(previous, 0), axis=-1)
        spent = np.where(previous >= 0, time - np.where(np.isfinite(last), last, 0.0), time)
        enough = spent >= cycle * (1 - _REL) - _REL * time
        _require("no worker is faster than its times allow", enough | ~happens, "..., update")
    if arrivals.comm_model.one_link:
        link = np.take_along_axis(profile.comm, worker, axis=-1)
        free = _steps(time) >= link * (1 - _REL) - _REL * np.where(happens, time, 0.0)
        _require("the link carries one message at a time", free, "..., update")


def _previous(worker: np.ndarray) -> np.ndarray:
    """Index of the same worker's last update before each one, -1 if there is none."""
    order = np.argsort(worker, axis=-1, kind="stable")
    sorted_worker = np.take_along_axis(worker, order, axis=-1)
    earlier = np.concatenate([np.full_like(order[..., :1], -1), order[..., :-1]], axis=-1)
    previous = np.empty_like(order)
    first = np.diff(sorted_worker, axis=-1, prepend=-1) != 0
    np.put_along_axis(previous, order, np.where(first, -1, earlier), axis=-1)
    return previous
