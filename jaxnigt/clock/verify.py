"""Checks of a clock's result against what any clock must satisfy, written apart from the clock."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float64

from jaxnigt.clock.types import Arrivals, Rounds
from jaxnigt.errors import InvariantError
from jaxnigt.profiles import Profile

_REL = 1e-9
_SLACK = 1e-12


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
    if isinstance(result, Rounds):
        _verify_rounds(result, profile)
    else:
        _verify_arrivals(result, profile)


def _require(invariant: str, holds: Bool[np.ndarray, "..."], axes: str) -> None:
    if not holds.all():
        index = tuple(int(i[0]) for i in np.nonzero(~np.atleast_1d(holds)))
        raise InvariantError(invariant, f"[{axes}] = {list(index)}")


def _steps(time: Float64[np.ndarray, "*profiles K"]) -> Float64[np.ndarray, "*profiles K"]:
    """Differences along the last axis from 0 on, inf where a time is inf."""
    before = np.concatenate([np.zeros_like(time[..., :1]), time[..., :-1]], axis=-1)
    return np.where(np.isinf(time), np.inf, time - np.where(np.isinf(before), 0.0, before))


def _verify_rounds(rounds: Rounds, profile: Profile) -> None:
    shape = (*profile.shape, len(rounds.sizes))
    _require("one end for each profile and round", np.array(rounds.end.shape == shape), "")
    _require("no end is NaN", ~np.isnan(rounds.end), "..., round")
    never = np.isinf(rounds.end)
    _require("nothing follows a round that never ends", never[..., 1:] >= never[..., :-1], "..., round")
    duration = _steps(rounds.end)
    _require("every round takes time", duration > 0, "..., round")
    if rounds.counts.shape[-2] == 1:
        # One row of counts speaks for all rounds: they must be alike, and the first is looked at.
        spent, passed = (np.where(never, 0.0, x) for x in (duration, rounds.end))
        same = (np.abs(spent - spent[..., :1]) <= _REL * passed) & (never == never[..., :1])
        _require("alike rounds take the same time", same, "..., round")
        rounds = dataclasses.replace(rounds, end=rounds.end[..., :1], sizes=rounds.sizes[:1])
        never, duration, shape = never[..., :1], duration[..., :1], (*profile.shape, 1)
    counts = np.broadcast_to(rounds.counts, (*shape, profile.n))
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
        fewer = np.maximum(counts[..., None, :] - np.eye(counts.shape[-1], dtype=counts.dtype), 0)
        fails = (~_malenia(fewer, sizes[:, None]) & (counts > 0)).any(axis=-1)
        _require("Malenia's condition fails one arrival earlier", fails | never, "..., round")


def _malenia(counts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    n = counts.shape[-1]
    inverse = np.where(counts > 0, 1 / np.maximum(counts, 1), np.inf).sum(axis=-1)
    return inverse * sizes <= n**2 * (1 + _SLACK)


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
    shape = (*profile.shape, time.shape[-1])
    same = time.shape == worker.shape == arrivals.staleness.shape == shape
    _require("one time, worker and staleness for each profile and update", np.array(same), "")
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
    implied = np.arange(shape[-1]) - (previous + 1)
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
