"""Training: problem x method -> Trace, all seeds and leaf hyperparameters in one program.

One program advances all runs from one evaluation to the next, so that it compiles once whatever the
number of rounds, and so that progress can be shown and a run stopped in between. It is compiled for
the problem, the update rule and the number of slots: methods that differ in nothing else share it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from jaxnigt.arguments import whole
from jaxnigt.errors import InputError, TrainingDiverged
from jaxnigt.methods.collection import Asynchronous, Synchronous
from jaxnigt.methods.method import Method
from jaxnigt.problems.base import Evaluation, Params, Problem
from jaxnigt.profiles import Profile
from jaxnigt.runs import Record, fold_in_all, seed_keys
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
    seeds: int = 1,
    key: int | Key[Array, ""] = 0,
    profile: Profile | None = None,
    eval_every: int = 10,
    eval_batch: int = 64,
    comm_model: str | None = None,
    progress: Progress | None = None,
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
        seeds: S, independent runs.
        key: a JAX key or an integer; consumed. The clock of random times has a key folded from it.
        profile: times of n workers. Its leading axes come first in the trace where the schedule is
            part of the training, and it is only checked where it is not.
        eval_every: J(theta_t) is evaluated at t = 0, eval_every, 2 eval_every, ... < K.
        eval_batch: trajectories of one evaluation.
        comm_model: of the clock, as in `jaxnigt.clock`; by default "allreduce" for rounds and
            "parallel" for arrivals.
        progress: called after every `eval_every` rounds.

    Returns:
        A `Trace`.

    Raises:
        InputError: an argument out of range.
        TrainingDiverged: a number that is not finite, with its round, seed and hyperparameters.
    """
    iterations, seeds = whole("iterations", iterations), whole("seeds", seeds)
    eval_every, eval_batch = whole("eval_every", eval_every), whole("eval_batch", eval_batch)
    if eval_every > iterations:
        raise InputError(f"eval_every: got {eval_every}, 1 to iterations = {iterations} is allowed.")
    begin = time.perf_counter()
    key = jax.random.key(key) if isinstance(key, int) else key
    keys = seed_keys(key, seeds)
    program = _program(problem, method, iterations, eval_every, profile, key, comm_model, seeds)
    records: list[Record] = []
    evaluations: list[Evaluation] = []
    done = 0
    state = program.initial(keys)
    while done < iterations:
        if done % eval_every == 0:
            evaluation = _evaluate(problem, state.params, keys.evaluate, done, eval_batch)
            evaluations.append(jax.tree.map(np.asarray, evaluation))
        until = program.until(done)
        state, record = program.advance(state, keys, done, until)
        _check_finite(record, done, method)
        records.append(record)
        done = until
        if progress is not None:
            best = max(float(e.objective.mean(axis=-1).max()) for e in evaluations)
            progress(done, iterations, best)
    seconds = time.perf_counter() - begin
    return _trace(method, program, state.params, records, evaluations, eval_every, seconds)


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


@functools.partial(jax.jit, static_argnums=(0, 4))
def _evaluate(
    problem: Problem, params: Params, keys: Key[Array, " S"], k: Int[Array, ""], eval_batch: int
) -> Evaluation:
    """J at params with axes [P, A, S] from fresh trajectories, the same keys for all but seeds."""

    def one_run(params: Params, key: Key[Array, ""]) -> Evaluation:
        return problem.evaluate(params, fold_in_all(jax.random.fold_in(key, k), eval_batch))

    over_leaves = jax.vmap(jax.vmap(one_run), (0, None))
    return jax.vmap(over_leaves, (0, None))(params, keys)


def _check_finite(record: Record, first: int, method: Method) -> None:
    """Raise TrainingDiverged for the first number in [rounds, P, A, S] that is not finite."""
    steps = (record.gradient_norm, record.direction_norm, record.batch_discounted)
    bad = ~np.isfinite(np.stack(steps)).all(axis=0)
    if bad.any():
        k, _, run, seed = (int(i[0]) for i in np.nonzero(bad))
        values = {name: float(leaf[run]) for name, leaf in method.leaves().items()}
        raise TrainingDiverged(first + k, seed, values)


def _trace(
    method: Method,
    program: RoundProgram | ArrivalProgram,
    params: Params,
    records: list[Record],
    evaluations: list[Evaluation],
    eval_every: int,
    seconds: float,
) -> Trace:
    record = jax.tree.map(lambda *calls: np.concatenate(calls), *records)
    evaluation = jax.tree.map(lambda *calls: np.stack(calls), *evaluations)
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
    )
