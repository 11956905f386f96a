"""The update rules: normalised momentum with implicit gradient transport, and plain steps."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int
from optax import tree

Params = Any


class NIGTState(NamedTuple):
    """State of `nigt`.

    Attributes:
        count: i32[], updates so far.
        momentum: f32[], eta of the coming update.
        direction: pytree like params, d_{t-1}.
        displacement: pytree like params, theta_t - theta_{t-1}.
    """

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    momentum: Float[Array, ""]
    direction: Params
    displacement: Params


def nigt(
    stepsize: optax.ScalarOrSchedule, momentum: optax.ScalarOrSchedule
) -> optax.GradientTransformationExtraArgs:
    r"""Normalised steps along a momentum whose gradients were taken at an extrapolated point.

    .. math::
        d_t = (1 - \eta) d_{t-1} + \eta g_t, \qquad
        \theta_{t+1} = \theta_t - \alpha d_t / \|d_t\|, \qquad d_0 = g_0,

    where g_t is the gradient at `nigt_eval_params(state, params)`. The norm is over the whole
    pytree, and a zero direction makes a zero step.

    .. warning::
        Like every optax optimiser this descends along what it is given. Algorithm 1 of arXiv
        2509.24305 ascends J; `jaxnigt.train` hands over the gradient of -J, which is the same.

    Args:
        stepsize: alpha > 0, length of a step, a number or a schedule over updates.
        momentum: eta in (0, 1], weight of the new gradient, a number or a schedule. The first
            update takes its gradient whole, whatever eta is.

    Returns:
        An optax transformation whose `update` needs no params. It takes `version`, the update at
        which a stale gradient was started, whose momentum it is then weighted with.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> optimiser = nigt(stepsize=0.05, momentum=0.3)
        >>> params = jnp.array([1.0, -2.0])
        >>> state = optimiser.init(params)
        >>> for _ in range(100):
        ...     gradient = jax.grad(lambda x: (x**2).sum())(nigt_eval_params(state, params))
        ...     updates, state = optimiser.update(gradient, state)
        ...     params = optax.apply_updates(params, updates)
        >>> bool(jnp.abs(params).max() < 0.1)
        True

    References:
        Tyurin, Spiridonov, Rudenko, arXiv 2509.24305, Algorithm 1; Cutkosky and Mehta, 2020.
    """

    def at(value: optax.ScalarOrSchedule, count: Int[Array, ""]) -> Float[Array, ""]:
        return jnp.asarray(value(count) if callable(value) else value)

    def init(params: Params) -> NIGTState:
        count = jnp.zeros((), jnp.int32)
        zeros = tree.zeros_like(params)
        return NIGTState(count, at(momentum, count), zeros, zeros)

    def update(
        updates: Params,
        state: NIGTState,
        params: Params | None = None,
        *,
        version: Int[Array, ""] | None = None,
        **extra: Any,
    ) -> tuple[Params, NIGTState]:
        weight = state.momentum if version is None else at(momentum, version)
        eta = jnp.where(state.count == 0, 1.0, weight)
        direction = jax.tree.map(
            lambda d, g: (1 - eta).astype(g.dtype) * d + eta.astype(g.dtype) * g,
            state.direction,
            updates,
        )
        norm = tree.norm(direction)
        length = -at(stepsize, state.count).astype(norm.dtype) / jnp.where(norm > 0, norm, 1.0)
        displacement = jax.tree.map(lambda d: length.astype(d.dtype) * d, direction)
        count = state.count + 1
        return displacement, NIGTState(count, at(momentum, count), direction, displacement)

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def nigt_eval_params(state: Any, params: Params) -> Params:
    r"""The point at which the next gradient belongs.

    .. math:: \tilde\theta_t = \theta_t + \frac{1 - \eta}{\eta} (\theta_t - \theta_{t-1}),

    which is theta_0 before the first update, for a state of `nigt`, alone or inside a chain of
    transformations, and params theta_t.

    Example:
        >>> params = jnp.array([1.0, -2.0])
        >>> nigt_eval_params(nigt(0.1, 0.3).init(params), params)
        Array([ 1., -2.], dtype=float32)
    """
    eta = tree.get(state, "momentum")
    displacement = tree.get(state, "displacement")
    ahead = (1 - eta) / eta
    return jax.tree.map(lambda p, step: p + ahead.astype(p.dtype) * step, params, displacement)


def decay(value: float | Float[Array, ""], power: float) -> optax.Schedule:
    """The schedule value (2 / (t + 2))^power of update t, which begins at `value`."""

    def at(t: Any) -> Float[Array, ""]:
        first = jnp.asarray(value)
        return first * (2 / (jnp.asarray(t, first.dtype) + 2)) ** power

    return at


def n_pg_igt_update(
    stepsize: float | Float[Array, ""], momentum: float | Float[Array, ""]
) -> optax.GradientTransformation:
    """NIGT with momentum ~ (t + 2)^(-4/5) and stepsize ~ 1 / (t + 2), as in arXiv 2302.01734."""
    return nigt(decay(stepsize, 1.0), decay(momentum, 4 / 5))


def afedpg_decreasing_update(
    stepsize: float | Float[Array, ""], momentum: float | Float[Array, ""]
) -> optax.GradientTransformation:
    """NIGT with momentum ~ (v + 2)^(-4/7) and stepsize ~ (k + 2)^(-5/7), as in arXiv 2404.08003.

    A gradient is computed at version v, and update k applies it. The exponents are those of the rate
    K^(-2/7) to a stationary point.
    """
    return nigt(decay(stepsize, 5 / 7), decay(momentum, 4 / 7))


def pg(stepsize: float | Float[Array, ""]) -> optax.GradientTransformation:
    """Plain gradient steps, theta + stepsize * g."""
    return optax.sgd(stepsize)
