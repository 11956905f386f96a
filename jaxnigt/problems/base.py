"""What a method needs to know of a problem. A problem has never heard of time."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float, Int, Key

from jaxnigt.checks import InputError

Params = Any
"""A pytree of float arrays."""


class Estimate(NamedTuple):
    """One weighted sum of stochastic gradients, and what was seen on the way.

    Attributes:
        gradient: pytree like params, sum_b weights_b g(tau_b, params).
        discounted: f32[B], discounted return of each slot's trajectory.
        undiscounted: f32[B], undiscounted return.
        observed: statistics for `Problem.observe`, or None.
    """

    gradient: Params
    discounted: Float[Array, " B"]
    undiscounted: Float[Array, " B"]
    observed: Any = None


class Evaluation(NamedTuple):
    """J at one point, from trajectories that training never sees.

    Attributes:
        objective: f32[], mean discounted return.
        undiscounted: f32[], mean undiscounted return.
        per_worker: f32[W], J_i of each worker's problem, whose mean is J; W = 1 where all workers
            share one problem.
    """

    objective: Float[Array, ""]
    undiscounted: Float[Array, ""]
    per_worker: Float[Array, " W"]


class Problem(abc.ABC):
    """A maximisation problem over params, seen through stochastic gradients.

    Problems are hashable by identity, so that jitted code can hold them as static arguments.

    Attributes:
        workers: n where worker i has an objective J_i of its own and J is their mean; None where
            all workers share one problem, however many they are.
    """

    workers: int | None = None

    @abc.abstractmethod
    def init(self, key: Key[Array, ""]) -> Params:
        """Draw initial params; the key is consumed."""

    @abc.abstractmethod
    def estimate(
        self,
        params: Params,
        keys: Key[Array, " B"],
        workers: Int[Array, " B"],
        weights: Float[Array, " B"],
    ) -> Estimate:
        """Weighted sum of one stochastic gradient a slot.

        Args:
            params: the point.
            keys: one key a slot; each is consumed.
            workers: whose problem each slot samples.
            weights: weight of each slot; 0 pads.
        """

    def estimates(
        self,
        params: Params,
        keys: Key[Array, "R B"],
        workers: Int[Array, "R B"],
        weights: Float[Array, "R B"],
    ) -> Estimate:
        """`estimate` of R runs, each at its own params; all axes of the arguments and results gain R."""
        return jax.vmap(self.estimate)(params, keys, workers, weights)

    @abc.abstractmethod
    def evaluate(self, params: Params, keys: Key[Array, " B"]) -> Evaluation:
        """J(params), exactly or from one trajectory a key, shared out evenly among workers' problems.

        The keys are consumed.
        """

    def evaluations(self, params: Params, keys: Key[Array, "R B"]) -> Evaluation:
        """`evaluate` of R runs, each at its own params; all axes of the arguments and results gain R."""
        return jax.vmap(self.evaluate)(params, keys)

    def gradient(
        self,
        params: Params,
        keys: Key[Array, " B"],
        workers: Int[Array, " B"],
        weights: Float[Array, " B"],
    ) -> Params:
        """The gradient of `estimate` alone."""
        return self.estimate(params, keys, workers, weights).gradient

    def observe(self, params: Params, estimate: Estimate) -> Params:
        """Params with whatever is learnt by watching, not by gradients; called once a round."""
        return params

    def merge_observed(self, observed: Any) -> Any:
        """One `Estimate.observed` from those of parts of a round, stacked.

        Raises:
            InputError: a problem that watches its samples and does not say how to merge what it saw.
        """
        raise InputError(
            f"problem: {type(self).__name__} has no merge_observed, so its rounds need one device."
        )

    def dimension(self) -> int:
        """d, how many numbers a gradient holds."""
        shapes = jax.eval_shape(self.init, jax.random.key(0))
        return sum(leaf.size for leaf in jax.tree.leaves(shapes))

    def trajectory_bytes(self) -> int:
        """Memory that one trajectory and its part of the gradient take, to plan how many fit at once."""
        return 4096 + 8 * self.dimension()
