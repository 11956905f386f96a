"""Runs that are trained at once: schedules x hyperparameters x seeds, and what both kinds share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from jaxnigt.problems.base import Estimate, Params, Problem

Leaves = dict[str, Float[Array | np.ndarray, "..."]]
"""Hyperparameters of a method, f32[A] or one entry of them."""

Rule = tuple[Callable[..., optax.GradientTransformation], Callable[[Any, Params], Params]]
"""What a method does with an aggregate: `Method.update` and `Method.eval_params`."""


class RunKeys(NamedTuple):
    """Keys of one seed: for the initial point, for training and for evaluation."""

    init: Key[Array, "..."]
    train: Key[Array, "..."]
    evaluate: Key[Array, "..."]


class RunState(NamedTuple):
    """Where one run stands; training holds it with axes [P, A, S] in front.

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


def seed_keys(key: Key[Array, ""], seeds: Sequence[int]) -> RunKeys:
    """Keys of seeds, each of which depends on its own number alone."""
    split = jax.vmap(lambda seed: RunKeys(*jax.random.split(jax.random.fold_in(key, seed), 3)))
    return split(jnp.asarray(seeds))


def transformation(rule: Rule, leaf: Leaves) -> optax.GradientTransformationExtraArgs:
    """The update rule at some hyperparameters, in JAX's default precision."""
    numbers = {name: jnp.asarray(value, jnp.result_type(float)) for name, value in leaf.items()}
    return optax.with_extra_args_support(rule[0](**numbers))


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
    return jax.tree.map(lambda x: x.reshape(*runs, *x.shape[1:]), problem.estimates(*merged))


def initial_state(
    problem: Problem, rule: Rule, leaves: Leaves, keys: RunKeys, schedules: int, workers: int | None
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
        params = problem.init(key.init)
        optimiser = transformation(rule, leaf).init(params)
        point = rule[1](optimiser, params)
        points = workers and jax.tree.map(lambda x: jnp.broadcast_to(x, (workers, *x.shape)), point)
        return RunState(params, optimiser, points)

    runs = jax.vmap(jax.vmap(one_run, (None, 0)), (0, None))(leaves, keys)
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (schedules, *x.shape)), runs)
