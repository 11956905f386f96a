"""Training: problem x method -> Trace, all seeds and hyperparameters in one program.

One program advances all runs from one evaluation to the next, so that it compiles once whatever the
number of rounds, and so that progress can be shown and a run stopped in between. It is compiled for the
problem, the update rule and the number of slots: methods that differ in nothing else share it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from jaxnigt.checks import (
    InputError,
    TrainingDiverged,
    as_key,
    as_seeds,
    as_sequence,
    flag,
    instance,
    whole,
)
from jaxnigt.clock.batching import make_room
from jaxnigt.clock.communication import Model
from jaxnigt.methods.collection import Asynchronous
from jaxnigt.methods.method import Method
from jaxnigt.problems.base import Evaluation, Params, Problem
from jaxnigt.profiles import Profile
from jaxnigt.training.arrivals import ArrivalProgram
from jaxnigt.training.packed import PackedProgram
from jaxnigt.training.rounds import Program, RoundProgram, Task
from jaxnigt.training.runs import Device, Record, RunKeys, seed_keys
from jaxnigt.training.snapshots import Identity, Snapshots
from jaxnigt.training.trace import Trace

Progress = Callable[[int, int, float], None]
"""Called with rounds done, rounds in all, and the best mean evaluation so far."""

_CLOCK = 2**32 - 1
"""Folded into the key for the clock; no seed is as large."""

_SAFE = 5.0
"""Seconds between safe points, at which a training can be stopped, as far as single rounds allow it."""

_KNOWN = 3
"""Rounds by which a training is known: momentum shows from the second on."""


def train(
    problem: Problem,
    method: Method,
    *,
    iterations: int,
    seeds: int | Sequence[int | np.integer] | np.ndarray = 1,
    key: int | np.integer | Array = 0,
    profile: Profile | None = None,
    draws: int | None = None,
    eval_every: int | None = None,
    eval_batch: int = 64,
    comm_model: Model | None = None,
    progress: Progress | bool | None = None,
    keep_diverged: bool = False,
    snapshots: Snapshots | None = None,
    devices: Sequence[Device] | None = None,
) -> Trace:
    """Train a method on a problem.

    The trajectories of slot s in round k depend on (key, seed, k, s) alone. So methods that are given
    the same key start at the same points. Where the iterates do not depend on the clock, one trace
    serves every profile. Otherwise the clock is run first, and all its schedules are trained at once:
    for Malenia and AFedPG, and for methods that take whatever comes first on a heterogeneous problem.

    Args:
        problem: what to maximise.
        method: collection, update rule and hyperparameters. Arrays of hyperparameters are trained at
            once, and their shape leads the axes of the trace.
        iterations: K, rounds, or updates of an asynchronous method.
        seeds: S, independent runs, or their numbers. A run depends on its own number alone.
        key: a JAX key or an integer; consumed. The clock of random times has a key folded from it.
        profile: times of n workers. Its leading axes come first in the trace where the schedule is part
            of the training. Where it is not, the profile is only checked.
        draws: D, independent realisations of random times, each with trainings of its own where the
            schedule is part of the training. They make an axis behind the profiles. Fixed times are the
            same in all of them and are trained once.
        eval_every: J(theta_t) is evaluated at t = 0, eval_every, 2 eval_every, ... < K; by default every
            10 rounds, or K if that is less.
        eval_batch: trajectories of one evaluation.
        comm_model: of the clock, as in `jaxnigt.clock`; by default "allreduce" for rounds and "parallel"
            for arrivals.
        progress: called after `eval_every` rounds or less; True prints a line.
        keep_diverged: go on where numbers of some runs are not finite, which their trace shows, until no
            run is left.
        snapshots: where to keep what is needed to go on after a stop, and to go on from.
        devices: over which runs are spread or, where they do not come out even, the gradients of a
            batch; by default all of this process.

    Returns:
        A `Trace` whose arrays have axes [profiles, draws, hyperparameters, seeds, evaluations or
        rounds], those of profiles and draws only along schedules.

    Raises:
        InputError: an argument out of range.
        TrainingDiverged: a number that is not finite, with its round, seed and hyperparameters.
        Stopped: `snapshots` was asked to stop.

    Example:
        >>> import jaxnigt as jn
        >>> method = jn.methods.rennala_nigt(8, stepsize=[0.02, 0.05])
        >>> trace = train(jn.problems.tabular(), method, iterations=20, seeds=3, eval_every=5)
        >>> trace.objective.shape, trace.gradient_norm.shape
        ((2, 3, 4), (2, 3, 20))
    """
    instance("problem", problem, Problem, "jn.problems.tabular()")
    instance("method", method, Method, "jn.methods.rennala_nigt()")
    if profile is not None:
        instance("profile", profile, Profile, "jn.profiles.equal(10)")
    if snapshots is not None:
        instance("snapshots", snapshots, Snapshots, 'jn.Snapshots("folder")')
    iterations = whole("iterations", iterations)
    eval_every = min(10, iterations) if eval_every is None else whole("eval_every", eval_every)
    if eval_every > iterations:
        raise InputError(f"eval_every: got {eval_every}, 1 to iterations = {iterations} is allowed.")
    flag("keep_diverged", keep_diverged)
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise InputError(f"progress: got {progress!r}, a function, True or None is allowed.")
    begin = time.perf_counter()
    make_room()
    first = as_key("key", key)
    task = Task(
        problem,
        method,
        iterations,
        eval_every,
        whole("eval_batch", eval_batch),
        as_seeds(seeds),
        profile,
        clock_key(first),
        None if draws is None else whole("draws", draws),
        comm_model,
        _devices(devices),
    )
    program = _program(task)
    keys = seed_keys(first, task.seeds)
    identity = _identity(program, keys, first, snapshots)
    state, done = program.placed(program.initial(keys)), 0
    kept, pace = Kept([], []), Pace(program)
    if snapshots is not None and (found := snapshots.restore(state, identity)) is not None:
        done, state, saved = found
        state, kept = program.placed(jax.tree.map(jnp.asarray, state)), Kept.of(saved)
    while done < iterations:
        if done % eval_every == 0:
            kept.evaluations.append(program.evaluated(state, keys, done))
            if not keep_diverged:
                _check_evaluation(kept.evaluations[-1], done, task)
        until = program.until(done, None if snapshots is None else pace.until(done))
        state, record = program.advance(state, keys, done, until)
        pace.note(done, until)
        _check_finite(record, done, task, keep_diverged)
        kept.records.append(record)
        done = until
        if snapshots is not None:
            snapshots.offer(done, state, kept.saved, identity)
        if progress:
            (_print if progress is True else progress)(done, iterations, kept.best())
    return _trace(program, state.params, kept, time.perf_counter() - begin)


def _devices(devices: Sequence[Device] | None) -> Sequence[Device]:
    """Those over which runs are spread, checked."""
    if devices is None:
        return jax.local_devices()
    each = as_sequence("devices", devices, "JAX's devices")
    if not each or not all(isinstance(one, jax.Device) for one in each):
        raise InputError(f"devices: got {devices!r}, a list of JAX's devices is allowed.")
    return each


def clock_key(key: Key[Array, ""]) -> Key[Array, ""]:
    """The key for the random times of a training's clock."""
    return jax.random.fold_in(key, _CLOCK)


def _print(done: int, iterations: int, best: float) -> None:
    """Progress as a line."""
    print(f"round {done}/{iterations}, best J {best:.3g}", flush=True)


class Pace:
    """How far a training may go until its next safe point, by how fast its gradients were so far."""

    def __init__(self, program: Program):
        self._watch = program.stopwatch
        self._work = np.concatenate([[0], program.samples.sum(axis=0).cumsum()])
        self._seconds, self._rate = 0.0, 0.0

    def until(self, done: int) -> int:
        """The round to which a call after `done` rounds goes: one round further at least."""
        self._seconds = self._watch.seconds
        most = self._work[done] + _SAFE * self._rate
        return max(done + 1, int(np.searchsorted(self._work, most, side="right")) - 1)

    def note(self, done: int, until: int) -> None:
        """Take note that rounds `done` to `until` are over."""
        spent = self._watch.seconds - self._seconds
        self._rate = float(self._work[until] - self._work[done]) / max(spent, 1e-6)


class Kept(NamedTuple):
    """What a training has recorded so far: one entry a call."""

    records: list[Record]
    evaluations: list[Evaluation]

    def best(self) -> float:
        """The best mean over seeds of J so far, NaN where there is none."""
        means = [e.objective.mean(axis=-1) for e in self.evaluations]
        best = float(np.max(means, initial=-np.inf, where=np.isfinite(means)))
        return best if np.isfinite(best) else float("nan")

    def joined(self) -> tuple[Record, Evaluation]:
        """Records with rounds in front, evaluations with theirs in front."""
        record = jax.tree.map(lambda *calls: np.concatenate(calls), *self.records)
        return record, jax.tree.map(lambda *calls: np.stack(calls), *self.evaluations)

    def saved(self) -> dict[str, np.ndarray]:
        """Everything as named arrays."""
        record, evaluation = self.joined()
        names = {f"record_{name}": value for name, value in record._asdict().items()}
        return names | {f"evaluation_{name}": value for name, value in evaluation._asdict().items()}

    @classmethod
    def of(cls, saved: dict[str, np.ndarray]) -> Kept:
        """What `saved` was made from."""
        record = Record(**{name: saved[f"record_{name}"] for name in Record._fields})
        each = [saved[f"evaluation_{name}"] for name in Evaluation._fields]
        rows = range(len(each[0]))
        return cls([record], [Evaluation(*(values[i] for values in each)) for i in rows])


def _identity(
    program: Program, keys: RunKeys, key: Key[Array, ""], snapshots: Snapshots | None
) -> Identity:
    """What tells this training from another: its numbers, and what its first rounds compute.

    The caller's fingerprint stands for both, where there is one.
    """
    nothing = np.zeros(1)
    if snapshots is None or snapshots.fingerprint is not None:
        return Identity("" if snapshots is None else str(snapshots.fingerprint), nothing)
    task = program.task
    words = (
        task.method.name,
        task.method.init_batch,
        sorted((name, leaf.tolist()) for name, leaf in program.leaves.items()),
        (str(jax.random.key_impl(key)), np.asarray(jax.random.key_data(key)).tolist()),
        (task.iterations, task.seeds, task.eval_every, task.eval_batch),
    )
    digest = hashlib.sha256(repr(words).encode())
    for known in (program.samples, program.times):
        if known is not None:
            digest.update(np.ascontiguousarray(known).tobytes())
    return Identity(digest.hexdigest(), _first_rounds(program, keys))


def _first_rounds(program: Program, keys: RunKeys) -> Float[np.ndarray, "N P A S"]:
    """J at the initial points, and what two rounds or more record."""
    state = program.placed(program.initial(keys))
    rows = [program.evaluated(state, keys, 0).objective[None]]
    done = 0
    while done < min(_KNOWN, program.task.iterations):
        until = program.until(done, _KNOWN)
        state, record = program.advance(state, keys, done, until)
        rows += [np.asarray(numbers) for numbers in record]
        done = until
    return np.concatenate(rows)


def _program(task: Task) -> Program:
    """How this method is trained on this problem."""
    collection, needed = task.method.collection, task.problem.workers
    if task.profile is not None and needed not in (None, task.profile.n):
        raise InputError(f"profile: got n = {task.profile.n} workers, the problem has {needed}.")
    if isinstance(collection, Asynchronous):
        return ArrivalProgram(task)
    if needed:
        try:
            collection.rule.check(needed)
        except InputError:
            raise InputError(
                f"batch: got {collection.batch} workers, the problem has {needed}."
            ) from None
    if collection.replayable(needed is not None):
        return RoundProgram(task)
    return PackedProgram(task)


def _check_finite(record: Record, first: int, task: Task, keep: bool) -> None:
    """Raise TrainingDiverged for the first number in [rounds, P, A, S] that is not finite.

    With `keep` it is raised only where no run is left that is finite at its end.
    """
    steps = (record.gradient_norm, record.direction_norm, record.batch_discounted)
    bad = np.asarray(~np.isfinite(np.stack(steps)).all(axis=0))
    if bad.any() and not (keep and not bad[-1].all()):
        raise _diverged(bad, first, task)


def _check_evaluation(evaluation: Evaluation, done: int, task: Task) -> None:
    """Raise TrainingDiverged for the first evaluation [P, A, S] that is not finite."""
    bad = ~np.isfinite(evaluation.objective)
    if bad.any():
        raise _diverged(bad[None], done, task)


def _diverged(bad: Bool[np.ndarray, "K P A S"], first: int, task: Task) -> TrainingDiverged:
    """The exception that names the first of some bad numbers."""
    k, _, run, seed = (int(i[0]) for i in np.nonzero(bad))
    values = {name: float(leaf[run]) for name, leaf in task.method.leaves().items()}
    return TrainingDiverged(first + k, task.seeds[seed], values)


def _trace(program: Program, params: Params, kept: Kept, seconds: float) -> Trace:
    record, evaluation = kept.joined()
    task, times = program.task, program.times
    leading: tuple[int, ...] = () if times is None else times.shape[:-1]
    shape = (*leading, *task.method.leaf_shape, len(task.seeds))

    def drawn(x: np.ndarray) -> np.ndarray:
        """With as many draws as were asked for, of which fixed times have one."""
        if times is None:
            return x
        axis = len(leading) - 1
        return x.squeeze(axis) if task.draws is None else np.repeat(x, task.draws // x.shape[axis], axis)

    def last(x: Any) -> np.ndarray:
        """Rounds or evaluations last, runs with their own axes first."""
        moved = np.moveaxis(x, 0, 3)
        return drawn(moved.reshape(*shape, *moved.shape[3:]))

    return Trace(
        method=task.method,
        seeds=task.seeds,
        eval_rounds=np.arange(0, task.iterations, task.eval_every),
        objective=last(evaluation.objective),
        undiscounted=last(evaluation.undiscounted),
        worker_objective=last(evaluation.per_worker),
        **{name: last(value) for name, value in record._asdict().items()},
        samples=drawn(program.samples.reshape(*leading, -1)),
        params=jax.tree.map(lambda x: drawn(np.asarray(x).reshape(*shape, *x.shape[3:])), params),
        replayable=times is None,
        draws=None if times is None else task.draws,
        times=None if times is None else drawn(times),
        seconds=seconds,
        compiled_seconds=program.stopwatch.seconds,
    )
