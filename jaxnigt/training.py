"""Training: problem x method -> Trace, all seeds and leaf hyperparameters in one program.

One program advances all runs from one evaluation to the next, so that it compiles once whatever the
number of rounds, and so that progress can be shown and a run stopped in between. It is compiled for
the problem, the update rule and the number of slots: methods that differ in nothing else share it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key
from optax import tree

from jaxnigt.clock.types import whole
from jaxnigt.errors import InputError, TrainingDiverged
from jaxnigt.methods.method import Method
from jaxnigt.problems.base import Evaluation, Params, Problem
from jaxnigt.profiles import Profile
from jaxnigt.trace import Trace

Progress = Callable[[int, int, float], None]
"""Called with rounds done, rounds in all, and the best mean evaluation so far."""


Leaves = dict[str, Float[Array, "..."]]
"""Hyperparameters of a method, f32[A] or one entry of them."""

Rule = tuple[Callable[..., optax.GradientTransformation], Callable[[Any, Params], Params]]
"""What a method does with an aggregate: `Method.update` and `Method.eval_params`."""


class RunState(NamedTuple):
    """Where one run stands; training holds it with axes [A, S] in front."""

    params: Params
    optimiser: Any


class RoundRecord(NamedTuple):
    """What a round leaves in the trace; on the host with axes [rounds, A, S]."""

    batch_discounted: Float[Array | np.ndarray, "..."]
    batch_undiscounted: Float[Array | np.ndarray, "..."]
    gradient_norm: Float[Array | np.ndarray, "..."]
    direction_norm: Float[Array | np.ndarray, "..."]


class RunKeys(NamedTuple):
    """Keys of one seed: for the initial point, for training and for evaluation."""

    init: Key[Array, ""]
    train: Key[Array, ""]
    evaluate: Key[Array, ""]


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
    progress: Progress | None = None,
) -> Trace:
    """Train a method on a problem.

    The trajectories of slot s in round k depend on (key, seed, k, s) alone: methods given the same
    key start at the same points, and a trace does not depend on the clock.

    Args:
        problem: what to maximise.
        method: collection rule, update rule and hyperparameters; arrays of hyperparameters are
            trained at once, and their shape leads the axes of the trace.
        iterations: K, rounds.
        seeds: S, independent runs.
        key: a JAX key or an integer; consumed.
        profile: only checked here, since the iterates of these methods do not depend on it.
        eval_every: J(theta_t) is evaluated at t = 0, eval_every, 2 eval_every, ... < K.
        eval_batch: trajectories of one evaluation.
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
    if profile is not None:
        method.collection.rounds(profile, method.sizes(1))
    begin = time.perf_counter()
    key = jax.random.key(key) if isinstance(key, int) else key
    keys = jax.vmap(lambda seed: RunKeys(*jax.random.split(jax.random.fold_in(key, seed), 3)))(
        jnp.arange(seeds)
    )
    rule, leaves = (method.update, method.eval_params), method.leaves()
    records: list[RoundRecord] = []
    evaluations: list[Evaluation] = []
    done = 0
    state = _initial(problem, rule, leaves, keys)
    while done < iterations:
        if done % eval_every == 0:
            evaluation = _evaluate(problem, state.params, keys.evaluate, done, eval_batch)
            evaluations.append(jax.tree.map(np.asarray, evaluation))
        size, until = method.init_batch, 1
        if done > 0 or size == method.collection.batch:
            size, until = method.collection.batch, (done // eval_every + 1) * eval_every
        until = min(until, iterations)
        slots = jax.tree.map(jnp.asarray, method.collection.slots(size))
        # A first round of another size is a program of its own, one round long.
        rounds = 1 if until == 1 else eval_every
        state, record = _advance(problem, rule, leaves, state, keys, slots, done, until, rounds)
        record = _to_host(record, until - done)
        _check_finite(record, done, method)
        records.append(record)
        done = until
        if progress is not None:
            best = max(float(e.objective.mean(axis=-1).max()) for e in evaluations)
            progress(done, iterations, best)
    seconds = time.perf_counter() - begin
    return _trace(method, state.params, records, evaluations, eval_every, seconds)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _initial(problem: Problem, rule: Rule, leaves: Leaves, keys: RunKeys) -> RunState:
    def one_run(leaf: Leaves, key: RunKeys) -> RunState:
        params = problem.init(key.init)
        return RunState(params, rule[0](**leaf).init(params))

    return _over_runs(one_run)(leaves, keys)


@functools.partial(jax.jit, static_argnums=(0, 1, 8), donate_argnums=3)
def _advance(
    problem: Problem,
    rule: Rule,
    leaves: Leaves,
    state: RunState,
    keys: RunKeys,
    slots: tuple[Int[Array, " B"], Float[Array, " B"]],
    first: Int[Array, ""],
    until: Int[Array, ""],
    rounds: int,
) -> tuple[RunState, RoundRecord]:
    """Advance all runs by `rounds` rounds from round `first`, or up to `until` if that is less.

    Records are NaN from `until` on.
    """
    workers, weights = slots
    update, eval_params = rule

    def one_round(state: RunState, k: Int[Array, ""]) -> tuple[RunState, RoundRecord]:
        def one_run(leaf: Leaves, key: RunKeys, run: RunState) -> tuple[RunState, RoundRecord]:
            optimiser = update(**leaf)
            point = eval_params(run.optimiser, run.params)
            samples = _fold_in_all(jax.random.fold_in(key.train, k), len(workers))
            estimate = problem.estimate(point, samples, workers, weights)
            descent = jax.tree.map(jnp.negative, estimate.gradient)
            updates, after = optimiser.update(descent, run.optimiser, run.params)
            params = problem.observe(optax.apply_updates(run.params, updates), estimate)
            record = RoundRecord(
                estimate.discounted.mean(),
                estimate.undiscounted.mean(),
                tree.norm(estimate.gradient),
                tree.norm(tree.get(after, "direction", updates)),
            )
            return RunState(params, after), record

        def blank() -> tuple[RunState, RoundRecord]:
            nan = jnp.full(jax.tree.leaves(state)[0].shape[:2], jnp.nan, jnp.float32)
            return state, RoundRecord(nan, nan, nan, nan)

        return jax.lax.cond(k < until, lambda: _over_runs(one_run)(leaves, keys, state), blank)

    return jax.lax.scan(one_round, state, first + jnp.arange(rounds))


@functools.partial(jax.jit, static_argnums=(0, 4))
def _evaluate(
    problem: Problem, params: Params, keys: Key[Array, " S"], k: Int[Array, ""], eval_batch: int
) -> Evaluation:
    """J at params with axes [A, S] from fresh trajectories, the same keys for all hyperparameters."""

    def one_run(params: Params, key: Key[Array, ""]) -> Evaluation:
        return problem.evaluate(params, _fold_in_all(jax.random.fold_in(key, k), eval_batch))

    return jax.vmap(jax.vmap(one_run), (0, None))(params, keys)


def _fold_in_all(key: Key[Array, ""], count: int) -> Key[Array, " count"]:
    """One key for each of 0 .. count - 1, which does not depend on count."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))


def _over_runs(one_run: Callable[..., Any]) -> Callable[..., Any]:
    """Map a function of (leaf, key of a seed, state) over A hyperparameters and S seeds."""

    def mapped(leaves: Leaves, keys: RunKeys, *state: RunState) -> Any:
        over_seeds = jax.vmap(one_run, (None, 0, *[0 for _ in state]))
        return jax.vmap(over_seeds, (0, None, *[0 for _ in state]))(leaves, keys, *state)

    return mapped


def _to_host(record: RoundRecord, rounds: int) -> RoundRecord:
    return jax.tree.map(lambda x: np.asarray(x)[:rounds], record)


def _check_finite(record: RoundRecord, first: int, method: Method) -> None:
    """Raise TrainingDiverged for the first number in [rounds, A, S] that is not finite."""
    steps = (record.gradient_norm, record.direction_norm, record.batch_discounted)
    bad = ~np.isfinite(np.stack(steps)).all(axis=0)
    if bad.any():
        k, run, seed = (int(i[0]) for i in np.nonzero(bad))
        values = {name: float(leaf[run]) for name, leaf in method.leaves().items()}
        raise TrainingDiverged(first + k, seed, values)


def _trace(
    method: Method,
    params: Params,
    records: list[RoundRecord],
    evaluations: list[Evaluation],
    eval_every: int,
    seconds: float,
) -> Trace:
    record = jax.tree.map(lambda *calls: np.concatenate(calls), *records)
    evaluation = jax.tree.map(lambda *calls: np.stack(calls), *evaluations)
    rounds, _, seeds = record.gradient_norm.shape
    shape = (*method.leaf_shape, seeds)

    def leading(x: Any) -> np.ndarray:
        return np.moveaxis(x, 0, -1).reshape(*shape, -1)

    return Trace(
        method=method,
        eval_rounds=np.arange(0, rounds, eval_every),
        objective=leading(evaluation.objective),
        undiscounted=leading(evaluation.undiscounted),
        **{name: leading(value) for name, value in record._asdict().items()},
        samples=method.sizes(rounds),
        params=jax.tree.map(lambda x: np.asarray(x).reshape(*shape, *x.shape[2:]), params),
        replayable=method.collection.replayable,
        seconds=seconds,
    )
