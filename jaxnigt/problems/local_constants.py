"""Measures smoothness and noise of a problem at points, to be compared with worst-case constants."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Float64, Key

from jaxnigt.checks import InputError, as_key, as_numbers, flag, instance, whole
from jaxnigt.problems.base import ExactProblem, Params


class LocalConstants(NamedTuple):
    """Constants at K points. Those of single workers have another axis W at the end.

    Attributes:
        L_g: f64[K] or f64[K, W], the largest absolute eigenvalue of the Hessian.
        L_h: likewise, the norm of the third derivative. The search for it may only find less.
        sigma: likewise, the standard deviation of a stochastic gradient; of J, that of the worst worker.
        sigma_error: likewise, the standard error of sigma, which is estimated from samples.
    """

    L_g: Float64[np.ndarray, "..."]
    L_h: Float64[np.ndarray, "..."]
    sigma: Float64[np.ndarray, "..."]
    sigma_error: Float64[np.ndarray, "..."]


def local_constants(
    problem: ExactProblem,
    params: Params,
    *,
    key: int | np.integer | Array = 0,
    samples: int = 1000,
    each: bool = False,
) -> LocalConstants:
    """The smoothness and the noise of an exact problem at points, for instance along a run.

    The Hessian's Lipschitz constant at a point is the largest |D^3 J[u, w, w]| over unit vectors u and
    w. A search from random starts takes the best w for u and the best u for w in turn (derived).

    Args:
        problem: a problem with exact objectives.
        params: K points, a pytree like the problem's params with an axis K in front.
        key: a JAX key or an integer; consumed.
        samples: how many gradients of each worker sigma is estimated from, at each point.
        each: whether to measure each worker's J_i by itself instead of J.

    Raises:
        InputError: fewer than two samples.

    Example:
        >>> from jaxnigt.problems import stochastic
        >>> def cubic(x, key, worker):  # with a gradient noise of variance 1
        ...     return (x**3).sum() / 6 + x @ jax.random.normal(key, x.shape) / jnp.sqrt(2.0)
        >>> mean = lambda x, worker: (x**3).sum() / 6
        >>> problem = stochastic(cubic, lambda key: jnp.zeros(2), exact=mean)
        >>> found = local_constants(problem, jnp.array([[1.0, 3.0]]))
        >>> print(found.L_g, found.L_h.round(3), found.sigma.round(1))
        [3.] [1.] [1.]
    """
    whole("samples", samples, 2)
    instance("problem", problem, ExactProblem, "jn.problems.tabular()")
    key, each = as_key("key", key), flag("each", each)
    with jax.enable_x64(True):
        points = jax.tree.map(lambda x: jnp.asarray(as_numbers("params", x)), params)
        _check(points, jax.eval_shape(problem.init, key))
        found = LocalConstants(*map(np.asarray, _all_points(problem, samples, each, points, key)))
    return found if each else LocalConstants(*(value[:, 0] for value in found))


def _check(points: Params, one: Params) -> None:
    """Raise InputError unless points are like one point with an axis in front."""
    given, expected = jax.tree.leaves(points), jax.tree.leaves(one)
    alike = jax.tree.structure(points) == jax.tree.structure(one)
    if not alike or any(
        x.shape[1:] != y.shape or not x.ndim or len(x) != len(given[0])
        for x, y in zip(given, expected, strict=True)
    ):
        raise InputError("params: points like the problem's params, with an axis in front, are allowed.")


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _all_points(
    problem: ExactProblem, samples: int, each: bool, points: Params, key: Key[Array, ""]
) -> tuple[Array, ...]:
    workers = problem.workers or 1
    # Each row holds the weights of the workers' objectives in one function to be measured.
    rows = jnp.eye(workers) if each else jnp.full((1, workers), 1 / workers)

    def at(index: Array, point: Params) -> tuple[Array, ...]:
        mine, noise = jax.random.split(jax.random.fold_in(key, index))
        flat, unravel = ravel_pytree(point)

        def smoothness(row: Array, key: Key[Array, ""]) -> tuple[Array, Array]:
            return _smoothness(lambda v: row @ problem.objectives(unravel(v)), flat, key)

        smooth = jax.lax.map(lambda a: smoothness(*a), (rows, jax.random.split(mine, len(rows))))
        sigma, error = _noise(problem, point, noise, samples)
        if not each:
            worst = sigma.argmax()
            sigma, error = sigma[worst][None], error[worst][None]
        return *smooth, sigma, error

    count = len(jax.tree.leaves(points)[0])
    return jax.lax.map(lambda a: at(*a), (jnp.arange(count), points))


def _smoothness(
    J: Callable[[Array], Array],
    flat: Float[Array, " d"],
    key: Key[Array, ""],
    starts: int = 4,
    turns: int = 16,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The norms of the second and of the third derivative of J at a point."""

    def hessian(v: Float[Array, " d"]) -> Float[Array, "d d"]:
        return jax.vmap(lambda u: jax.jvp(jax.grad(J), (v,), (u,))[1])(jnp.eye(len(flat)))

    def bend(u: Float[Array, " d"]) -> Float[Array, "d d"]:
        """D^3 J[u, ., .]."""
        return jax.jvp(hessian, (flat,), (u,))[1]

    def twice(v: Float[Array, " d"], w: Float[Array, " d"]) -> Float[Array, ""]:
        """D^2 J[w, w], whose gradient is D^3 J[., w, w]."""
        return w @ jax.jvp(jax.grad(J), (v,), (w,))[1]

    def turn(_: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        values, vectors = jnp.linalg.eigh(bend(state[0]))
        w = vectors[:, jnp.abs(values).argmax()]
        along = jax.grad(lambda v: twice(v, w))(flat)
        length = jnp.linalg.norm(along)
        return along / jnp.where(length > 0, length, 1.0), length

    def climb(u: Float[Array, " d"]) -> Float[Array, ""]:
        return jax.lax.fori_loop(0, turns, turn, (u / jnp.linalg.norm(u), jnp.zeros(())))[1]

    climbed = jax.vmap(climb)(jax.random.normal(key, (starts, len(flat))))
    return jnp.abs(jnp.linalg.eigvalsh(hessian(flat))).max(), climbed.max()


def _noise(
    problem: ExactProblem, point: Params, key: Key[Array, ""], samples: int
) -> tuple[Float[Array, " W"], Float[Array, " W"]]:
    """sigma of each worker's stochastic gradient, and its standard error."""
    workers = problem.workers or 1
    exact = jax.jacrev(problem.objectives)(point)

    def of_worker(worker: Array, exact: Params, key: Key[Array, ""]) -> tuple[Array, Array]:
        def squared(key: Key[Array, ""]) -> Float[Array, ""]:
            sample = problem.gradient(point, key[None], worker[None], jnp.ones(1))
            gaps = jax.tree.map(lambda g, mean: ((g - mean) ** 2).sum(), sample, exact)
            return sum(jax.tree.leaves(gaps), start=jnp.zeros(()))

        found = jax.lax.map(squared, jax.random.split(key, samples), batch_size=256)
        sigma = jnp.sqrt(found.mean())
        return sigma, found.std(ddof=1) / samples**0.5 / (2 * sigma)

    arguments = (jnp.arange(workers), exact, jax.random.split(key, workers))
    return jax.lax.map(lambda a: of_worker(*a), arguments)
