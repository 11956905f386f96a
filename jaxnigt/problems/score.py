"""The score-function estimator, and exact problems whose gradients come from trajectories."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxnigt.problems.base import Estimate, Evaluation, ExactProblem, Keys, Params, Weights, Workers

CHUNK = 512
"""The backward pass of `gradient_of_steps` takes at most so many steps at a time."""

Sample = tuple[Params, Float[Array, " H"]]
"""A trajectory, as `EpisodicProblem.log_density` takes it, and its rewards."""


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

    g_H = sum_t ( sum_{h>=t} gamma^h r_h ) grad log pi(a_t | s_t), eq. (3) of arXiv 2509.24305; with
    gamma^(h-t) if `per_step`, which makes it biased for the gradient of J. `log_density` maps params to
    log pi of every action taken, and rewards are 0 after termination.
    """
    to_go = reward_to_go(reward, discount, per_step)

    def surrogate(params: Params) -> Float[Array, ""]:
        weighted = weights.astype(reward.dtype)
        return jnp.einsum("b,bh,bh->", weighted, to_go, log_density(params))

    returns = reward @ discounts(discount, reward.shape[1], reward.dtype)
    return Estimate(jax.grad(surrogate)(params), returns, reward.sum(axis=-1))


class EpisodicProblem(ExactProblem):
    """An exact problem of H steps, whose stochastic gradients come from trajectories.

    Attributes:
        horizon: H, the steps of a trajectory. J counts H steps.
        discount: gamma.
    """

    horizon: int
    discount: float

    @abc.abstractmethod
    def returns(self, params: Params, discount: float) -> Float[Array, " W"]:
        """Expected returns of H steps at any discount, for each worker."""

    @abc.abstractmethod
    def trajectory(self, params: Params, key: Key[Array, ""], worker: Int[Array, ""]) -> Sample:
        """Sample a trajectory and its rewards. The key is consumed."""

    @abc.abstractmethod
    def log_density(self, params: Params, seen: Params) -> Float[Array, " H"]:
        """log pi of the actions of one trajectory."""

    def objectives(self, params: Params) -> Float[Array, " W"]:
        """J_i of each worker: its expected discounted return of H steps."""
        return self.returns(params, self.discount)

    def trajectory_bytes(self) -> int:
        """Bytes of a trajectory with its steps, and of its part of the gradient."""
        return max(4096, 64 * self.horizon) + 8 * self.dimension()

    def estimate(self, params: Params, keys: Keys, workers: Workers, weights: Weights) -> Estimate:
        """sum_b weights_b g_H(tau_b, params), each trajectory from its worker's problem."""
        which = workers if self.workers else jnp.zeros_like(workers)
        seen, reward = jax.vmap(self.trajectory, (None, 0, 0))(params, keys, which)

        def log_density(params: Params) -> Float[Array, "B H"]:
            return jax.vmap(self.log_density, (None, 0))(params, seen)

        return score_estimate(log_density, params, weights, reward, self.discount)

    def evaluate(self, params: Params, keys: Keys) -> Evaluation:
        """J and the undiscounted return exactly. The keys have no effect."""
        each = self.objectives(params)
        return Evaluation(each.mean(), self.returns(params, 1.0).mean(), each)


def gradient_of_steps(
    log_density: Callable[[Params, Any], Float[Array, " C"]],
    params: Params,
    steps: Any,
    coefficients: Float[Array, "B H"],
    alive: Bool[Array, "B H"],
) -> Params:
    """sum_bh coefficients_bh grad log pi, at the cost of the steps taken instead of all B H steps.

    The steps at which `alive` holds are gathered into chunks of C, and the backward pass runs over as
    many chunks as there are. `log_density` maps params and C of the steps, a pytree of [B, H, ...], to
    log pi.
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
    """The transpose of a tall matrix; other arrays as they are."""
    # A weight matrix's gradient is a product over all steps, and a CPU transposes its first factor. It
    # is cheaper to have the narrow one there, such as a head's output.
    return x.T if x.ndim == 2 and x.shape[0] > x.shape[1] else x
