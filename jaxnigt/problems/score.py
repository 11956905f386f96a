"""The score-function estimator: one weighted sum of policy gradients from a batch of trajectories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxnigt.problems.base import Estimate, Params

CHUNK = 512
"""The backward pass of `gradient_of_steps` takes at most so many steps at a time."""


def discounts(discount: float, horizon: int, dtype: jnp.dtype) -> Float[Array, " H"]:
    """gamma^h for h = 0, ..., H - 1."""
    return jnp.asarray(discount, dtype) ** jnp.arange(horizon, dtype=dtype)


def reward_to_go(reward: Float[Array, "B H"], discount: float, per_step: bool) -> Float[Array, "B H"]:
    """The factor of the score of step t: sum_{h>=t} gamma^h r_h, or with gamma^(h-t) if `per_step`."""

    def add(later: Float[Array, " B"], reward: Float[Array, " B"]) -> tuple[Array, Array]:
        now = reward + jnp.asarray(discount, reward.dtype) * later
        return now, now

    _, to_go = jax.lax.scan(add, jnp.zeros_like(reward[:, 0]), reward.T, reverse=True)
    if per_step:
        return to_go.T
    return to_go.T * discounts(discount, reward.shape[1], reward.dtype)[None]


def score_estimate(
    log_density: Callable[[Params], Float[Array, "B H"]],
    params: Params,
    weights: Float[Array, " B"],
    reward: Float[Array, "B H"],
    discount: float,
    per_step: bool = False,
) -> Estimate:
    """sum_b weights_b g_H(tau_b, params), with one backward pass over the batch.

    g_H = sum_t ( sum_{h>=t} gamma^h r_h ) grad log pi(a_t | s_t), eq. (3) of arXiv 2509.24305.

    Args:
        log_density: maps params to log pi of every action taken.
        params: the point.
        weights: of the trajectories.
        reward: of every step, 0 after termination.
        discount: gamma.
        per_step: weigh rewards by gamma^(h-t), which makes g_H biased for the gradient of J.
    """
    to_go = reward_to_go(reward, discount, per_step)

    def surrogate(params: Params) -> Float[Array, ""]:
        weighted = weights.astype(reward.dtype)
        return jnp.einsum("b,bh,bh->", weighted, to_go, log_density(params))

    returns = reward @ discounts(discount, reward.shape[1], reward.dtype)
    return Estimate(jax.grad(surrogate)(params), returns, reward.sum(axis=-1))


def gradient_of_steps(
    log_density: Callable[[Params, Any], Float[Array, " C"]],
    params: Params,
    steps: Any,
    coefficients: Float[Array, "B H"],
    alive: Bool[Array, "B H"],
) -> Params:
    """sum_bh coefficients_bh grad log pi, at the cost of the steps taken instead of all B H steps.

    Steps after termination are not masked but left out: the steps taken are gathered into chunks, and
    the backward pass runs over as many chunks as there are.

    Args:
        log_density: maps params and C steps to log pi. In its steps the axes B and H are one axis C.
        params: the point.
        steps: pytree of [B, H, ...] with what `log_density` needs.
        coefficients: of the scores.
        alive: whether a step was taken.
    """
    size = alive.size
    chunk = min(CHUNK, size)
    taken = jnp.flatnonzero(alive, size=size + (-size % chunk), fill_value=size)
    count = alive.sum(dtype=jnp.int32)
    flat = jax.tree.map(lambda x: x.reshape(size, *x.shape[2:]), steps)

    def add(carry: tuple[Array, Params]) -> tuple[Array, Params]:
        done, total = carry
        at = jax.lax.dynamic_slice_in_dim(taken, done, chunk)
        own = jax.tree.map(lambda x: x[jnp.minimum(at, size - 1)], flat)
        weigh = jnp.where(at < size, coefficients.reshape(-1)[jnp.minimum(at, size - 1)], 0.0)

        def surrogate(params: Params) -> Float[Array, ""]:
            return weigh @ log_density(params, own)

        return done + chunk, jax.tree.map(lambda x, g: x + _wide(g), total, jax.grad(surrogate)(params))

    begin = (jnp.zeros((), jnp.int32), jax.tree.map(lambda x: _wide(jnp.zeros_like(x)), params))
    total = jax.lax.while_loop(lambda carry: carry[0] < count, add, begin)[1]
    return jax.tree.map(lambda x, g: g.T if x.shape != g.shape else g, params, total)


def _wide(x: Array) -> Array:
    """The transpose of a tall matrix; other arrays as they are.

    A weight matrix's gradient is a product over all steps, and a CPU transposes its first factor. It is
    cheaper to have the narrow one there, such as a head's output with a column for each action entry.
    """
    return x.T if x.ndim == 2 and x.shape[0] > x.shape[1] else x
