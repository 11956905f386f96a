"""Training: problem x method -> Trace, all seeds and leaf hyperparameters in one program.

One program advances all runs from one evaluation to the next, so that it compiles once whatever the
number of rounds, and so that progress can be shown and a run stopped in between. It is compiled for
the problem, the update rule and the number of slots: methods that differ in nothing else share it.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from jaxnigt import parallel, spread
from jaxnigt.checks import InputError, TrainingDiverged, whole
from jaxnigt.methods.collection import Asynchronous, Synchronous
from jaxnigt.methods.method import Method
from jaxnigt.problems.base import Evaluation, Params, Problem
from jaxnigt.profiles import Profile
from jaxnigt.runs import Record, RunKeys, RunState, fold_in_all, seed_keys
from jaxnigt.snapshots import Snapshots
from jaxnigt.trace import Trace
from jaxnigt.training_arrivals import ArrivalProgram
from jaxnigt.training_rounds import RoundProgram

Progress = Callable[[int, int, float], None]
"""Called with rounds done, rounds in all, and the best mean evaluation so far."""

_CLOCK = 2**32 - 1
"""Folded into the key for the clock; no seed is as large."""


def train(
    problem: Problem,
    method: Method,
    *,
    iterations: int,
    seeds: int | Sequence[int] = 1,
    key: int | Key[Array, ""] = 0,
    profile: Profile | None = None,
    eval_every: int | None = None,
    eval_batch: int = 64,
    comm_model: str | None = None,
    progress: Progress | bool | None = None,
    keep_diverged: bool = False,
    snapshots: Snapshots | None = None,
    devices: Sequence[parallel.Device] | None = None,
) -> Trace:
    """Train a method on a problem.

    The trajectories of slot s in round k depend on (key, seed, k, s) alone: methods given the same
    key start at the same points. Where the iterates do not depend on the clock, one trace serves
    every profile. Otherwise, for Malenia and AFedPG and for methods that take whatever comes first
    on a heterogeneous problem, the clock is run first and all its schedules are trained at once.

    Args:
        problem: what to maximise.
        method: collection rule, update rule and hyperparameters; arrays of hyperparameters are
            trained at once, and their shape leads the axes of the trace.
        iterations: K, rounds, or updates of an asynchronous method.
        seeds: S, independent runs, or their numbers: a run depends on its own number alone.
        key: a JAX key or an integer; consumed. The clock of random times has a key folded from it.
        profile: times of n workers. Its leading axes come first in the trace where the schedule is
            part of the training, and it is only checked where it is not.
        eval_every: J(theta_t) is evaluated at t = 0, eval_every, 2 eval_every, ... < K; by
            default every 10 rounds, or K if that is less.
        eval_batch: trajectories of one evaluation.
        comm_model: of the clock, as in `jaxnigt.clock`; by default "allreduce" for rounds and
            "parallel" for arrivals.
        progress: called after every `eval_every` rounds; True prints a line.
        keep_diverged: go on where numbers of some runs are not finite, which their trace shows, until
            no run is left.
        snapshots: where to keep what is needed to go on after a stop, and to go on from.
        devices: over which runs are spread or, where they do not come out even, the gradients of a
            batch; by default all of this process.

    Returns:
        A `Trace`.

    Raises:
        InputError: an argument out of range.
        TrainingDiverged: a number that is not finite, with its round, seed and hyperparameters.
        Stopped: `snapshots` was asked to stop.
    """
    iterations, seeds = whole("iterations", iterations), _seeds(seeds)
    eval_every = min(10, iterations) if eval_every is None else whole("eval_every", eval_every)
    eval_batch = whole("eval_batch", eval_batch)
    if eval_every > iterations:
        raise InputError(f"eval_every: got {eval_every}, 1 to iterations = {iterations} is allowed.")
    begin = time.perf_counter()
    key = jax.random.key(key) if isinstance(key, int) else key
    keys = seed_keys(key, seeds)
    program = _program(problem, method, iterations, eval_every, profile, key, comm_model, len(seeds))
    _use(program, jax.local_devices() if devices is None else devices, len(seeds))
    state, done = _placed(program, program.initial(keys)), 0
    kept = Kept([], [])
    token = ""
    if snapshots is not None:
        token = _token(program, key, seeds, eval_every, eval_batch)
    if snapshots is not None and (found := snapshots.restore(state, token)) is not None:
        done, state, saved = found
        state, kept = _placed(program, jax.tree.map(jnp.asarray, state)), Kept.of(saved)
    while done < iterations:
        if done % eval_every == 0:
            kept.evaluations.append(_evaluated(program, state, keys, done, eval_batch))
        until = program.until(done)
        state, record = program.advance(state, keys, done, until)
        _check_finite(record, done, method, seeds, keep_diverged)
        kept.records.append(record)
        done = until
        if snapshots is not None:
            snapshots.offer(done, state, kept.saved, token)
        if progress:
            (_print if progress is True else progress)(done, iterations, kept.best())
    seconds = time.perf_counter() - begin
    return _trace(method, program, state.params, kept, eval_every, seconds)


def _print(done: int, iterations: int, best: float) -> None:
    """Progress as a line."""
    print(f"round {done}/{iterations}, best J {best:.3g}", flush=True)


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


def _token(
    program: RoundProgram | ArrivalProgram,
    key: Key[Array, ""],
    seeds: Sequence[int],
    eval_every: int,
    eval_batch: int,
) -> str:
    """A digest of what tells one training from another; the problem by how it prints."""
    method = program.method
    words = (
        repr(program.problem),
        method.name,
        repr(method.collection),
        method.init_batch,
        sorted((name, leaf.tolist()) for name, leaf in method.leaves().items()),
        np.asarray(jax.random.key_data(key)).tolist(),
        (program.iterations, tuple(seeds), eval_every, eval_batch),
    )
    digest = hashlib.sha256(repr(words).encode())
    if program.times is not None:
        digest.update(np.ascontiguousarray(program.times).tobytes())
    return digest.hexdigest()


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, Sequence):
        if not seeds or min(seeds) < 0:
            raise InputError(f"seeds: got {seeds!r}, a number or numbers from 0 on are allowed.")
        return tuple(seeds)
    return tuple(range(whole("seeds", seeds)))


def _use(program: RoundProgram | ArrivalProgram, devices: Sequence[parallel.Device], seeds: int) -> None:
    """Spread runs over devices, or the gradients of a batch where runs cannot be."""
    shape = len(program.samples), len(next(iter(program.leaves.values()))), seeds
    program.split = spread.split(shape, devices)
    if program.split is None and len(devices) > 1:
        program.problem = parallel.over_slots(program.problem, parallel.mesh(devices))


def _placed(program: RoundProgram | ArrivalProgram, state: RunState) -> RunState:
    """A state where the program leaves one, as it would be compiled again for a state elsewhere."""
    if program.split is not None:
        return jax.device_put(state, spread.sharding(program.split, spread.ALL))
    if isinstance(program.problem, parallel.OverSlots):
        return jax.device_put(state, parallel.everywhere(program.problem.over))
    return state


def _program(
    problem: Problem,
    method: Method,
    iterations: int,
    eval_every: int,
    profile: Profile | None,
    key: Key[Array, ""],
    comm_model: str | None,
    seeds: int,
) -> RoundProgram | ArrivalProgram:
    """How this method is trained on this problem."""
    collection, needed = method.collection, problem.workers
    if profile is not None and needed not in (None, profile.n):
        raise InputError(f"profile: got n = {profile.n} workers, the problem has {needed}.")
    if needed and isinstance(collection, Synchronous) and collection.workers != needed:
        raise InputError(f"batch: got {collection.workers} workers, the problem has {needed}.")
    clock_key = jax.random.fold_in(key, _CLOCK)
    if isinstance(collection, Asynchronous):
        model = comm_model or "parallel"
        arguments = (problem, method, iterations, eval_every, profile, clock_key, model, seeds)
        return ArrivalProgram(*arguments)
    model = comm_model or "allreduce"
    return RoundProgram(problem, method, iterations, eval_every, profile, clock_key, model)


def _evaluated(
    program: RoundProgram | ArrivalProgram, state: RunState, keys: RunKeys, k: int, eval_batch: int
) -> Evaluation:
    arguments = (eval_batch, state.params, keys.evaluate, k)
    evaluation = program.stopwatch.run(_evaluate, program.problem, program.split, *arguments)
    return jax.tree.map(np.asarray, evaluation)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _evaluate(
    problem: Problem,
    split: spread.Split | None,
    eval_batch: int,
    params: Params,
    keys: Key[Array, " S"],
    k: Int[Array, ""],
) -> Evaluation:
    """J at params with axes [P, A, S] from fresh trajectories, the same keys for all but seeds."""

    def all_runs(params: Params, keys: Key[Array, " S"], k: Int[Array, ""]) -> tuple[Evaluation]:
        # One axis for all runs: XLA's kernels for CPUs die of arrays with many axes (jax issue 39257).
        runs = jax.tree.leaves(params)[0].shape[:3]
        merged = jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), params)
        own = jax.vmap(lambda key: fold_in_all(jax.random.fold_in(key, k), eval_batch))(keys)
        each = jnp.broadcast_to(own, (*runs, eval_batch)).reshape(-1, eval_batch)
        found = problem.evaluations(merged, each)
        return (jax.tree.map(lambda x: x.reshape(*runs, *x.shape[1:]), found),)

    inputs = (spread.ALL, spread.SEEDS, spread.NONE)
    return spread.over_devices(all_runs, split, inputs, (spread.ALL,))(params, keys, k)[0]


def _check_finite(record: Record, first: int, method: Method, seeds: Sequence[int], keep: bool) -> None:
    """Raise TrainingDiverged for the first number in [rounds, P, A, S] that is not finite.

    With `keep` only where no run is left that is finite at its end.
    """
    steps = (record.gradient_norm, record.direction_norm, record.batch_discounted)
    bad = np.asarray(~np.isfinite(np.stack(steps)).all(axis=0))
    if bad.any() and not (keep and not bad[-1].all()):
        k, _, run, seed = (int(i[0]) for i in np.nonzero(bad))
        values = {name: float(leaf[run]) for name, leaf in method.leaves().items()}
        raise TrainingDiverged(first + k, seeds[seed], values)


def _trace(
    method: Method,
    program: RoundProgram | ArrivalProgram,
    params: Params,
    kept: Kept,
    eval_every: int,
    seconds: float,
) -> Trace:
    record, evaluation = kept.joined()
    rounds, _, _, seeds = record.gradient_norm.shape
    leading = program.leading
    shape = (*leading, *method.leaf_shape, seeds)

    def last(x: Any) -> np.ndarray:
        """Rounds or evaluations last, runs with their own axes first."""
        moved = np.moveaxis(x, 0, 3)
        return moved.reshape(*shape, *moved.shape[3:])

    scheduled = program.times is not None
    return Trace(
        method=method,
        eval_rounds=np.arange(0, rounds, eval_every),
        objective=last(evaluation.objective),
        undiscounted=last(evaluation.undiscounted),
        worker_objective=last(evaluation.per_worker),
        **{name: last(value) for name, value in record._asdict().items()},
        samples=program.samples.reshape(*leading, -1) if scheduled else program.samples[0],
        params=jax.tree.map(lambda x: np.asarray(x).reshape(*shape, *x.shape[3:]), params),
        replayable=not scheduled,
        times=program.times.reshape(*leading, -1) if program.times is not None else None,
        seconds=seconds,
        compiled_seconds=program.stopwatch.seconds,
    )
