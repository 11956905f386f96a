"""Problems made of any JAX function of params, a key and a worker."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxnigt.checks import InputError, answer, asked, flag, whole
from jaxnigt.problems.base import (
    Estimate,
    Evaluation,
    ExactProblem,
    Keys,
    Params,
    Problem,
    Weights,
    Workers,
    for_each_worker,
)

Objective = Callable[[Params, Key[Array, ""], Int[Array, ""]], Float[Array, ""]]
"""Maps params, a key and a worker to one sample of the worker's objective."""

Init = Callable[[Key[Array, ""]], Params]

Exact = Callable[[Params, Int[Array, ""]], Float[Array, ""]]
"""Maps params and a worker to the worker's objective."""


class Stochastic(Problem):
    """J = mean_i E[objective(params, key, i)], or minus that; made by `stochastic`."""

    def __init__(self, objective: Objective, init: Init, workers: int | None, minimise: bool):
        self._objective, self._init = objective, init
        self.workers, self.minimise = workers, minimise

    def __repr__(self) -> str:
        name = getattr(self._objective, "__name__", type(self._objective).__name__)
        return (
            f"{type(self).__name__}({name}, workers={self.workers}, minimise={self.minimise}, "
            f"d={self.dimension()})"
        )

    def init(self, key: Key[Array, ""]) -> Params:
        """Initial params, as arrays."""
        return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), self._init(key))

    def samples(self, params: Params, keys: Keys, workers: Workers) -> Float[Array, " B"]:
        """One sample of J_i for each key and worker i. The keys are consumed."""
        which = workers if self.workers else jnp.zeros_like(workers)
        return self._signed(jax.vmap(self._objective, (None, 0, 0))(params, keys, which))

    def estimate(self, params: Params, keys: Keys, workers: Workers, weights: Weights) -> Estimate:
        """sum_b weights_b grad J_b(params), from one backward pass; the samples are both returns."""

        def weighted(params: Params) -> tuple[Float[Array, ""], Float[Array, " B"]]:
            values = self.samples(params, keys, workers)
            return weights.astype(values.dtype) @ values, values

        (_, values), gradient = jax.value_and_grad(weighted, has_aux=True)(params)
        return Estimate(gradient, values, values)

    def evaluate(self, params: Params, keys: Keys) -> Evaluation:
        """The mean of one sample for each key, the same number for each worker."""
        count = self.workers or 1
        keys, workers = (x[0] for x in for_each_worker(keys[None], count))
        per_worker = self.samples(params, keys, workers).reshape(-1, count).mean(axis=0)
        return Evaluation(per_worker.mean(), per_worker.mean(), per_worker)

    def _signed(self, value: Array) -> Array:
        return -value if self.minimise else value


class ExactStochastic(ExactProblem, Stochastic):
    """A `Stochastic` whose J is known: `evaluate`, `objective` and `gradient_exact` are exact."""

    def __init__(self, exact: Exact, *others: Any):
        super().__init__(*others)
        self._exact = exact

    def objectives(self, params: Params) -> Float[Array, " W"]:
        """J_i of each worker; W = 1 where all share one problem."""
        workers = jnp.arange(self.workers or 1, dtype=jnp.int32)
        return self._signed(jax.vmap(self._exact, (None, 0))(params, workers))


def stochastic(
    objective: Objective,
    init: Init,
    *,
    workers: int | None = None,
    minimise: bool = False,
    exact: Exact | None = None,
) -> Stochastic:
    """A problem of your own: any objective that JAX can differentiate.

        J(params) = (1/n) sum_i E[objective(params, key, i)],    with a minus sign if `minimise`

    Methods maximise J, and traces hold J. For a loss say `minimise=True`: J is then minus the loss.

    Args:
        objective: maps params, a key and a worker i32[] to a scalar sample, unbiased for the objective
            of that worker.
        init: maps a key to params, a pytree of float arrays.
        workers: n, where worker i has an objective of its own. None where all workers, however many,
            share one; `worker` is then 0.
        minimise: whether `objective` is to be made small.
        exact: maps params and a worker to the mean of the samples, if it is known. The result is then an
            `ExactProblem`, which evaluates J exactly.

    Raises:
        InputError: a function that does not return a float scalar, or a number of workers below 1.

    Example:
        >>> def loss(params, key, worker):  # of worker i, whose data lie around i
        ...     return (params - worker - jax.random.normal(key)) ** 2
        >>> problem = stochastic(loss, lambda key: jnp.zeros(()), workers=3, minimise=True)
        >>> keys, slots = jax.random.split(jax.random.key(0), 30_000), jnp.arange(30_000) % 3
        >>> gradient = problem.gradient(jnp.zeros(()), keys, slots, jnp.full(30_000, 1 / 30_000))
        >>> print(gradient.round(1))  # 2 times the workers' mean
        2.0
    """
    workers = None if workers is None else whole("workers", workers)
    minimise = flag("minimise", minimise)
    _check_takes("objective", objective, "params", "key", "worker")
    _check_takes("init", init, "key")
    if exact is not None:
        _check_takes("exact", exact, "params", "worker")
    given = objective, init, workers, minimise
    problem = Stochastic(*given) if exact is None else ExactStochastic(exact, *given)
    key, worker = jax.random.key(0), jnp.zeros((), jnp.int32)
    params = asked("init", lambda: jax.eval_shape(problem.init, key))
    _check("objective", objective, params, key, worker)
    if exact is not None:
        _check("exact", exact, params, worker)
    return problem


def _check_takes(name: str, function: object, *arguments: str) -> None:
    allowed = f"a function of {', '.join(arguments)} is allowed"
    if not callable(function):
        raise InputError(f"{name}: got {function!r}, {allowed}.")
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise InputError(f"{name}: {allowed}, this one says: {error}.") from None
    except ValueError:  # a function of C's, which does not tell
        return


def _check(name: str, function: Callable[..., Any], *arguments: Any) -> None:
    answer(name, asked(name, lambda: jax.eval_shape(function, *arguments)), (), "f")
