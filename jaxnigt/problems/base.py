"""The interface of a problem: what a method needs to know of it, and more where J is known exactly."""

from __future__ import annotations

import abc
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxnigt.checks import InputError, answer, asked
from jaxnigt.registry import declare

Params = Any
"""A pytree of float arrays."""

# The key of each of B slots, the worker whose problem it samples, and the weight of its gradient.
Keys = Key[Array, "*runs B"]
Workers = Int[Array, "*runs B"]
Weights = Float[Array, "*runs B"]


class Estimate(NamedTuple):
    """A weighted sum of stochastic gradients, and what the samples returned.

    Attributes:
        gradient: pytree like params, sum_b weights_b g(tau_b, params).
        discounted: f32[B], the discounted return of each slot's trajectory.
        undiscounted: f32[B], its undiscounted return.
        observed: statistics that `Problem.observe` takes, or None.
    """

    gradient: Params
    discounted: Float[Array, " B"]
    undiscounted: Float[Array, " B"]
    observed: Any = None


class Evaluation(NamedTuple):
    """J at one point, exactly or from samples that training never sees.

    Attributes:
        objective: f32[], J, the mean discounted return.
        undiscounted: f32[], the mean undiscounted return.
        per_worker: f32[W], J_i of each worker, whose mean is J; W = 1 where all share one problem.
    """

    objective: Float[Array, ""]
    undiscounted: Float[Array, ""]
    per_worker: Float[Array, " W"]


class Problem(abc.ABC):
    """An objective J(params) to be maximised, seen through stochastic gradients.

    A subclass defines `init`, `estimate` and `evaluate`. Problems are hashed by identity, so that
    compiled programs can take them as static arguments. Keys are consumed.

    Attributes:
        workers: n where worker i has an objective J_i of its own and J is their mean; None where all
            workers, however many, share one problem.
    """

    workers: int | None = None

    @abc.abstractmethod
    def init(self, key: Key[Array, ""]) -> Params:
        """Draw initial params."""

    @abc.abstractmethod
    def estimate(self, params: Params, keys: Keys, workers: Workers, weights: Weights) -> Estimate:
        """The weighted sum of one stochastic gradient for each of B slots.

        Args:
            params: the point.
            keys: one for each slot.
            workers: the worker whose problem each slot samples.
            weights: of each slot's gradient; slots of weight 0 pad a batch.
        """

    def estimates(self, params: Params, keys: Keys, workers: Workers, weights: Weights) -> Estimate:
        """`estimate` of R runs at their own params. Arguments and results have the axis R in front."""
        return jax.vmap(self.estimate)(params, keys, workers, weights)

    @abc.abstractmethod
    def evaluate(self, params: Params, keys: Keys) -> Evaluation:
        """J(params), exactly or from one sample for each key, the same number for each worker."""

    def evaluations(self, params: Params, keys: Keys) -> Evaluation:
        """`evaluate` of R runs at their own params. Arguments and results have the axis R in front."""
        return jax.vmap(self.evaluate)(params, keys)

    def gradient(self, params: Params, keys: Keys, workers: Workers, weights: Weights) -> Params:
        """The gradient of `estimate` alone."""
        return self.estimate(params, keys, workers, weights).gradient

    def trainable(self, params: Params) -> Params:
        """The part of params, or of a gradient, that update rules see: all of it by default.

        A problem that keeps statistics among its params leaves them out here, so that no weight decay
        or clipping changes them.
        """
        return params

    def with_trainable(self, params: Params, trainable: Params) -> Params:
        """Params whose `trainable` part is another."""
        del params
        return trainable

    def observe(self, params: Params, estimate: Estimate) -> Params:
        """Params with what a problem learns from samples without gradients. Called once a round."""
        return params

    def merge_observed(self, observed: Any) -> Any:
        """Merge the `Estimate.observed` of the parts of a round, stacked along a first axis, into one.

        Raises:
            InputError: a problem that observes its samples but does not define this method.
        """
        raise InputError(
            f"problem: {type(self).__name__} has no merge_observed, so its rounds need one device."
        )

    def dimension(self) -> int:
        """d, the number of entries of a gradient."""
        shapes = jax.eval_shape(self.init, jax.random.key(0))
        return sum(leaf.size for leaf in jax.tree.leaves(shapes))

    def trajectory_bytes(self) -> int:
        """Bytes that one sample and its part of the gradient take. A sweep plans its memory with it."""
        return 4096 + 8 * self.dimension()


class ExactProblem(Problem):
    """A problem with J, its gradient and its Hessian in closed form.

    Numbers have JAX's default precision, which is float64 inside `jax.enable_x64(True)`.
    """

    @abc.abstractmethod
    def objectives(self, params: Params) -> Float[Array, " W"]:
        """J_i of each worker; W = 1 where all share one problem."""

    def objective(self, params: Params) -> Float[Array, ""]:
        """J, the mean of the J_i."""
        return self.objectives(params).mean()

    def gradient_exact(self, params: Params) -> Params:
        """The gradient of J."""
        return jax.grad(self.objective)(params)

    def hessian_vector(self, params: Params, vector: Params) -> Params:
        """The Hessian of J times a vector."""
        return jax.jvp(self.gradient_exact, (params,), (vector,))[1]

    def evaluate(self, params: Params, keys: Keys) -> Evaluation:
        """J exactly. The keys have no effect."""
        each = self.objectives(params)
        return Evaluation(each.mean(), each.mean(), each)


class Wrapped(Problem):
    """Another problem, of which subclasses replace a part."""

    def __init__(self, problem: Problem):
        self.problem, self.workers = problem, problem.workers

    def __repr__(self) -> str:
        return repr(self.problem)

    def init(self, key: Key[Array, ""]) -> Params:
        """The problem's initial point."""
        return self.problem.init(key)

    def estimate(self, params: Params, keys: Keys, workers: Workers, weights: Weights) -> Estimate:
        """The problem's estimate."""
        return self.problem.estimate(params, keys, workers, weights)

    def estimates(self, params: Params, keys: Keys, workers: Workers, weights: Weights) -> Estimate:
        """The problem's estimates, checked by its own name."""
        return estimated(self.problem, params, keys, workers, weights)

    def evaluate(self, params: Params, keys: Keys) -> Evaluation:
        """The problem's evaluation."""
        return self.problem.evaluate(params, keys)

    def trainable(self, params: Params) -> Params:
        """What update rules see of the problem's params."""
        return self.problem.trainable(params)

    def with_trainable(self, params: Params, trainable: Params) -> Params:
        """The problem's params with another such part."""
        return self.problem.with_trainable(params, trainable)

    def observe(self, params: Params, estimate: Estimate) -> Params:
        """What the problem learns from an estimate."""
        return self.problem.observe(params, estimate)

    def merge_observed(self, observed: Any) -> Any:
        """What the problem merges."""
        return self.problem.merge_observed(observed)

    def trajectory_bytes(self) -> int:
        """The problem's."""
        return self.problem.trajectory_bytes()


declare("problem", Problem)


def estimated(
    problem: Problem, params: Params, keys: Keys, workers: Workers, weights: Weights
) -> Estimate:
    """`Problem.estimates`, checked to have the shapes that training relies on.

    Raises:
        InputError: a problem whose method raises something or answers otherwise.
    """
    where = f"problem: {type(problem).__name__}.estimate"
    found = asked(where, lambda: problem.estimates(params, keys, workers, weights))
    if not isinstance(found, Estimate):
        raise InputError(f"{where} gives a {type(found).__name__}, a jn.problems.Estimate is allowed.")
    alike(f"{where}: gradient", found.gradient, params)
    for name in ("discounted", "undiscounted"):
        answer(f"{where}: {name}", getattr(found, name), weights.shape, "f")
    return found


def evaluated(problem: Problem, params: Params, keys: Key[Array, "R B"]) -> Evaluation:
    """`Problem.evaluations`, checked likewise."""
    where = f"problem: {type(problem).__name__}.evaluate"
    found = asked(where, lambda: problem.evaluations(params, keys))
    if not isinstance(found, Evaluation):
        raise InputError(f"{where} gives a {type(found).__name__}, a jn.problems.Evaluation is allowed.")
    runs = keys.shape[:1]
    for name in ("objective", "undiscounted"):
        answer(f"{where}: {name}", getattr(found, name), runs, "f")
    workers = (*jnp.shape(found.per_worker)[1:2], 1)[0]
    answer(f"{where}: per_worker", found.per_worker, (*runs, workers), "f")
    return found


def alike(where: str, found: Any, like: Any) -> None:
    """Check that a pytree from code of the user's has the arrays of another one, in shape and type."""
    given, allowed = (
        {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (found, like)
    )
    if given.keys() != allowed.keys():
        names = [", ".join(tree) or ("one array" if tree else "nothing") for tree in (given, allowed)]
        raise InputError(f"{where} is made of {names[0]}, {names[1]} is allowed.")
    for path, leaf in allowed.items():
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            answer(f"{where}{path}", given[path], leaf.shape, "f")
        elif (kind := jax.typeof(given[path]).str_short()) != jax.typeof(leaf).str_short():
            raise InputError(f"{where}{path} gives {kind}, {jax.typeof(leaf).str_short()} is allowed.")


def initial(problem: Problem, key: Key[Array, ""]) -> Params:
    """`Problem.init`, checked to give arrays of floats."""
    where = f"problem: {type(problem).__name__}.init"
    found = asked(where, lambda: problem.init(key))
    leaves = jax.tree_util.tree_leaves_with_path(found)
    if not sum(math.prod(jnp.shape(leaf)) for _, leaf in leaves):
        raise InputError(f"{where} gives no numbers, a pytree of arrays of floats is allowed.")
    for path, leaf in leaves:
        answer(f"{where}: params{jax.tree_util.keystr(path)}", leaf, jnp.shape(leaf), "f")
    return found


def for_each_worker(keys: Key[Array, "R B"], count: int) -> tuple[Key[Array, "R C"], Int[Array, "R C"]]:
    """Keys and workers of samples that give each of `count` workers the same number, in turn.

    Where B is no multiple of `count` there are a few more keys, which are split from the first one.
    """
    missing = -keys.shape[1] % count
    extra = jax.vmap(lambda key: jax.random.split(key, missing))(keys[:, 0])
    keys = jnp.concatenate([keys, extra], axis=1)
    return keys, jnp.broadcast_to(jnp.arange(keys.shape[1], dtype=jnp.int32) % count, keys.shape)
