"""Runs that are trained at once: schedules x hyperparameters x seeds, and how devices share them.

Training holds every array of a run with axes [P, A, S] in front: P schedules, A hyperparameters, S
seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key
from optax import tree

from jaxnigt.checks import InputError, asked
from jaxnigt.problems.base import Estimate, Params, Problem, alike, estimated, initial

Leaves = dict[str, Float[Array | np.ndarray, "..."]]
"""Hyperparameters of a method, f32[A] or one entry of them."""

Device = Any
"""A `jax.Device`, a name that type checkers cannot use."""

_NAME = "runs"


class UpdateRule(NamedTuple):
    """What a method does with an aggregate: `Method.update` and `Method.eval_params`. Hashable."""

    make: Callable[..., optax.GradientTransformation]
    eval_params: Callable[[Any, Params], Params]

    def at(self, leaf: Leaves) -> optax.GradientTransformationExtraArgs:
        """The transformation at some hyperparameters, in JAX's default precision."""
        numbers = {name: jnp.asarray(value, jnp.result_type(float)) for name, value in leaf.items()}
        made = asked("update", lambda: self.make(**numbers))
        if not (hasattr(made, "init") and hasattr(made, "update")):
            raise InputError(
                f"update: it makes a {type(made).__name__}, a transformation with init and update is "
                "allowed, as optax has them."
            )
        return optax.with_extra_args_support(made)


class RunKeys(NamedTuple):
    """Keys of one seed: for the initial point, for training and for evaluation."""

    init: Key[Array, "..."]
    train: Key[Array, "..."]
    evaluate: Key[Array, "..."]


class RunState(NamedTuple):
    """Where one run stands.

    Attributes:
        params: theta_t.
        optimiser: state of the update rule.
        points: with axis n in front, where each worker takes its gradient; None for rounds.
    """

    params: Params
    optimiser: Any
    points: Params = None


class Record(NamedTuple):
    """What a round or an update leaves in the trace; on the host with axes [rounds, P, A, S]."""

    batch_discounted: Float[Array | np.ndarray, "..."]
    batch_undiscounted: Float[Array | np.ndarray, "..."]
    gradient_norm: Float[Array | np.ndarray, "..."]
    direction_norm: Float[Array | np.ndarray, "..."]


def step(
    problem: Problem,
    optimiser: optax.GradientTransformationExtraArgs,
    run: RunState,
    estimate: Estimate,
    means: tuple[Array, Array],
    **extra: Array,
) -> tuple[RunState, Record]:
    """One run after a step along its aggregate, its points unchanged, and what to record in float32.

    Args:
        problem: whose `trainable` params the step changes.
        optimiser: its update rule at its hyperparameters.
        run: before the step.
        estimate: holds the aggregate.
        means: mean returns of the trajectories, discounted and not.
        extra: what the update rule may want to know besides.
    """
    descent = jax.tree.map(jnp.negative, problem.trainable(estimate.gradient))
    before = problem.trainable(run.params)
    updates, after = _updated(optimiser, descent, run.optimiser, before, extra)
    params = problem.with_trainable(run.params, optax.apply_updates(before, updates))
    # The direction of a rule without momentum is its update.
    direction = tree.norm(tree.get(after, "direction", updates))
    record = Record(*means, tree.norm(estimate.gradient), direction)
    record = jax.tree.map(lambda x: x.astype(jnp.float32), record)
    return RunState(problem.observe(params, estimate), after, run.points), record


def _updated(
    optimiser: optax.GradientTransformationExtraArgs,
    descent: Params,
    state: Any,
    params: Params,
    extra: dict[str, Array],
) -> tuple[Params, Any]:
    """What an update rule answers, checked for what a step needs."""
    where = "update: update"
    found = asked(where, lambda: optimiser.update(descent, state, params, **extra))
    if not isinstance(found, tuple) or len(found) != 2:
        raise InputError(f"{where} gives a {type(found).__name__}, updates and a state are allowed.")
    alike(f"{where}: updates", found[0], params)
    alike(f"{where}: state", found[1], state)
    return found


def point(problem: Problem, rule: UpdateRule, run: RunState) -> Params:
    """Where a run takes its next gradient."""
    trainable = problem.trainable(run.params)
    at = asked("eval_params", lambda: rule.eval_params(run.optimiser, trainable))
    alike("eval_params", at, trainable)
    return problem.with_trainable(run.params, at)


def seed_keys(key: Key[Array, ""], seeds: Sequence[int]) -> RunKeys:
    """Keys of seeds, each of which depends on its own number alone."""
    split = jax.vmap(lambda seed: RunKeys(*jax.random.split(jax.random.fold_in(key, seed), 3)))
    return split(jnp.asarray(np.asarray(seeds, np.uint32)))


_DRAWS = 2**32 - 2
"""Folded into a key for draws of the clock; no seed and no profile has so large a number."""


def draw_keys(key: Key[Array, ""], draws: int | None) -> list[Key[Array, ""]]:
    """Keys of independent draws of the clock, the first of which is that of a single one."""
    more = jax.random.fold_in(key, _DRAWS)
    return [key, *(jax.random.fold_in(more, draw) for draw in range(1, draws or 1))]


def fold_in_all(key: Key[Array, ""], count: int) -> Key[Array, " count"]:
    """One key for each of 0 .. count - 1, which does not depend on count."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))


def over_runs(one_run: Callable[..., Any]) -> Callable[..., Any]:
    """Map a function of (leaf, key of a seed, schedule, state) over P, A and S."""
    over_seeds = jax.vmap(one_run, (None, 0, None, 0))
    over_leaves = jax.vmap(over_seeds, (0, None, None, 0))
    return jax.vmap(over_leaves, (None, None, 0, 0))


def estimate_runs(
    problem: Problem,
    points: Params,
    keys: Key[Array, "*runs B"],
    workers: Int[Array, "*runs B"],
    weights: Float[Array, "*runs B"],
) -> Estimate:
    """Estimates of all runs at their own points, every axis of runs in front of the results."""
    runs, rest = keys.shape[:-1], len(keys.shape) - 1
    merged = jax.tree.map(lambda x: x.reshape(-1, *x.shape[rest:]), (points, keys, workers, weights))
    return jax.tree.map(lambda x: x.reshape(*runs, *x.shape[1:]), estimated(problem, *merged))


def initial_state(
    problem: Problem,
    rule: UpdateRule,
    leaves: Leaves,
    keys: RunKeys,
    schedules: int,
    workers: int | None,
) -> RunState:
    """Runs at theta_0, the same for all schedules and hyperparameters; axes [P, A, S].

    Args:
        problem: what to maximise.
        rule: update rule.
        leaves: hyperparameters.
        keys: of the seeds.
        schedules: P.
        workers: n, for which to hold points; None for rounds.
    """

    def one_run(leaf: Leaves, key: RunKeys) -> RunState:
        params = initial(problem, key.init)
        optimiser, trainable = rule.at(leaf), problem.trainable(params)
        run = RunState(params, asked("update: init", lambda: optimiser.init(trainable)))
        if workers is None:
            return run
        each = jax.tree.map(
            lambda x: jnp.broadcast_to(x, (workers, *x.shape)), point(problem, rule, run)
        )
        return run._replace(points=each)

    runs = jax.vmap(jax.vmap(one_run, (None, 0)), (0, None))(leaves, keys)
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (schedules, *x.shape)), runs)


class Split(NamedTuple):
    """Which axis of the runs is cut, and where its parts go.

    Attributes:
        axis: 0 for schedules, 1 for hyperparameters, 2 for seeds.
        mesh: as many devices as parts.
    """

    axis: int
    mesh: Mesh


def split(shape: Sequence[int], devices: Sequence[Device]) -> Split | None:
    """The cut into equal parts that uses most devices; seeds before hyperparameters before schedules.

    Args:
        shape: schedules, hyperparameters, seeds.
        devices: that may be used.

    Returns:
        None where no axis can be cut.
    """
    parts = {axis: _parts(shape[axis], len(devices)) for axis in (2, 1, 0)}
    axis = max(parts, key=parts.__getitem__)
    if parts[axis] == 1:
        return None
    return Split(axis, Mesh(np.asarray(devices[: parts[axis]]), (_NAME,)))


def _parts(size: int, most: int) -> int:
    return max(parts for parts in range(1, most + 1) if size % parts == 0)


Places = tuple[int | None, int | None, int | None]
"""At which axis an array has schedules, hyperparameters and seeds; None where it has no such axis."""

ALL, RECORD = (0, 1, 2), (1, 2, 3)
"""Runs with their axes in front, and behind an axis of rounds."""

LEAVES, SEEDS, SCHEDULES = (None, 0, None), (None, None, 0), (0, None, None)
"""Arrays that have one of the axes, in front."""

NONE = (None, None, None)


def over_devices(
    program: Callable[..., Any], cut: Split | None, inputs: Sequence[Places], outputs: Sequence[Places]
) -> Callable[..., Any]:
    """A program that runs on every part of the runs on a device of its own.

    Args:
        program: of some arguments, which gives as many results as `outputs` has entries.
        cut: None leaves the program as it is.
        inputs: for each argument, where it has the axes of runs.
        outputs: likewise for each result.
    """
    if cut is None:
        return program
    return jax.shard_map(
        program,
        mesh=cut.mesh,
        in_specs=tuple(_spec(cut, places) for places in inputs),
        out_specs=tuple(_spec(cut, places) for places in outputs),
        check_vma=False,
    )


def sharding(cut: Split, places: Places) -> NamedSharding:
    """Where the parts of an array are that has the axes of runs at some places."""
    return NamedSharding(cut.mesh, _spec(cut, places))


def _spec(cut: Split, places: Places) -> PartitionSpec:
    place = places[cut.axis]
    return PartitionSpec() if place is None else PartitionSpec(*[None] * place, _NAME)
