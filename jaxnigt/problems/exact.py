"""Problems whose objective is known exactly, so that tests and constants can be computed from it."""

from __future__ import annotations

import abc

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxnigt.problems.base import Estimate, Evaluation, Keys, Params, Problem, Weights, Workers
from jaxnigt.problems.score import score_estimate

Sample = tuple[Params, Float[Array, " H"]]
"""A trajectory, as `EpisodicProblem.log_density` takes it, and its rewards."""


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
