"""Policy gradients on Brax and MJX environments: the truncated score-function estimator g_H."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxnigt.checks import (
    InputError,
    answer,
    as_numbers,
    asked,
    choice,
    discount_factor,
    in_range,
    positive,
    whole,
)
from jaxnigt.environments.brax import Backend, Environment, make
from jaxnigt.environments.heterogeneity import Heterogeneity
from jaxnigt.policies import GaussianPolicy
from jaxnigt.problems.base import (
    Estimate,
    Evaluation,
    Keys,
    Params,
    Problem,
    Weights,
    Workers,
    for_each_worker,
)
from jaxnigt.problems.rollout import Simulator, Trajectory
from jaxnigt.problems.score import CHUNK, discounts, gradient_of_steps, reward_to_go
from jaxnigt.registry import declare, register

Discounting = Literal["episode", "step"]

Moments = dict[str, Array]
"""Of a set of observations: count f32[], mean f32[o] and deviation f32[o], the sum of (x - mean)^2."""

_LEAST_STD = 1e-4


class Normalisation(abc.ABC):
    """A map from observations to what the policy sees. This base class learns nothing from samples."""

    def init(self, size: int) -> dict[str, Any]:
        """What params hold for observations of `size` entries, beside the policy's own."""
        return {}

    @abc.abstractmethod
    def apply(self, params: Params, observation: Float[Array, "*batch o"]) -> Float[Array, "*batch o"]:
        """The normalised observation."""

    def observed(self, observation: Float[Array, "B H o"], alive: Bool[Array, "B H"]) -> Any:
        """What is learnt from the steps of trajectories that were alive, or None."""
        del observation, alive

    def merged(self, observed: Any) -> Any:
        """What is learnt from all parts of a round, stacked along a first axis."""
        del observed

    def update(self, params: Params, observed: Any) -> Params:
        """Params after a round that learnt `observed`."""
        return params


declare("normalisation", Normalisation)
register("none", "normalisation")(lambda: None)


@register("fixed")
@dataclasses.dataclass(frozen=True)
class FixedNormalisation(Normalisation):
    """(x - mean) / std with given numbers, one for each entry of an observation or one for all.

    Example:
        >>> print(FixedNormalisation(mean=1.0, std=2.0).apply({}, jnp.array([1.0, 5.0])))
        [0. 2.]
    """

    mean: tuple[float, ...] | float = 0.0
    std: tuple[float, ...] | float = 1.0

    def __post_init__(self) -> None:
        if not np.isfinite(as_numbers("mean", self.mean)).all():
            raise InputError(f"mean: got {self.mean!r}, finite numbers are allowed.")
        in_range("std", self.std, above=True)

    def apply(self, params: Params, observation: Float[Array, "*batch o"]) -> Float[Array, "*batch o"]:
        """The normalised observation."""
        return _normalised(observation, jnp.asarray(self.mean), jnp.asarray(self.std))


@register("running")
@dataclasses.dataclass(frozen=True)
class RunningNormalisation(Normalisation):
    """(x - mean) / std with the moments of all observations of earlier rounds.

    Params hold the moments under "normaliser". Update rules do not see them, and they do not enter the
    norm of a direction.

    Example:
        >>> seen = RunningNormalisation().observed(jnp.array([[[1.0], [3.0]]]), jnp.ones((1, 2), bool))
        >>> print(seen["count"], seen["mean"])
        2.0 [2.]
    """

    def init(self, size: int) -> dict[str, Any]:
        """Moments of no observations, which leave an observation as it is."""
        zero = jnp.zeros(size)
        return {"normaliser": {"count": jnp.zeros(()), "mean": zero, "deviation": zero}}

    def apply(self, params: Params, observation: Float[Array, "*batch o"]) -> Float[Array, "*batch o"]:
        """The normalised observation."""
        seen = jax.lax.stop_gradient(params["normaliser"])
        count, mean = seen["count"], seen["mean"]
        std = jnp.sqrt(seen["deviation"] / jnp.maximum(count, 1.0))
        std = jnp.where(count > 1, jnp.maximum(std, _LEAST_STD), 1.0)
        return _normalised(observation, mean, std)

    def observed(self, observation: Float[Array, "B H o"], alive: Bool[Array, "B H"]) -> Moments:
        """Moments of the observations before termination."""
        weight = alive.astype(observation.dtype)[..., None]
        count = weight.sum()
        mean = (weight * observation).sum(axis=(0, 1)) / jnp.maximum(count, 1.0)
        deviation = (weight * (observation - mean[None, None]) ** 2).sum(axis=(0, 1))
        return {"count": count, "mean": mean, "deviation": deviation}

    def merged(self, observed: Moments) -> Moments:
        """Moments of all parts together."""
        first = jax.tree.map(lambda x: x[0], observed)
        rest = jax.tree.map(lambda x: x[1:], observed)
        return jax.lax.scan(lambda seen, more: (_both(seen, more), None), first, rest)[0]

    def update(self, params: Params, observed: Moments) -> Params:
        """Params whose moments include `observed`."""
        return {**params, "normaliser": _both(params["normaliser"], observed)}


def _normalised(observation: Array, mean: Array, std: Array) -> Array:
    """(x - mean) / std over any axes in front."""
    shape = observation.shape
    return (observation - jnp.broadcast_to(mean, shape)) / jnp.broadcast_to(std, shape)


def _both(old: Moments, new: Moments) -> Moments:
    """Moments of two sets of observations together, by the parallel form of Welford's sums."""
    count = old["count"] + new["count"]
    step = new["mean"] - old["mean"]
    share = new["count"] / jnp.maximum(count, 1.0)
    deviation = old["deviation"] + new["deviation"] + step**2 * old["count"] * share
    return {"count": count, "mean": old["mean"] + step * share, "deviation": deviation}


@register("policy_gradient", keys={"env": "environment"})
class PolicyGradient(Problem):
    """Policy gradients on an environment of Brax or of your own, as in arXiv 2509.24305.

    J(theta) = E[ sum_h gamma^h r(s_h, a_h) ] over H steps.

    Args:
        env: a name of `jaxnigt.environments.names()`, such as "reacher", "hopper" or "humanoid", or an
            environment with a vector of observations, such as a `brax.envs.Env`.
        backend: the engine of a named environment, "mjx", "spring", "positional" or "generalized".
        horizon: H, the steps of a trajectory. Rewards after termination count 0.
        discount: gamma, in (0, 1].
        policy: a Flax module that maps an observation to a distribution of u with the methods of
            `policies.Gaussian`, by default a `GaussianPolicy`.
        discounting: "episode" counts discounts from the start of the episode, gamma^h, as the paper's
            g_H does. "step" uses gamma^(h-t), which is common and biased for the gradient of J.
        action_scale: actions are action_scale * tanh(u).
        normalisation: of observations, `FixedNormalisation(mean, std)` or `RunningNormalisation()`.
            None, as in the paper, leaves them as they are.
        heterogeneity: what differs between workers, such as `environments.flipped()` or
            `environments.Physical(gravity=[0.5, 1.0])`. By default all workers share one environment.
        lanes: how many trajectories are simulated side by side, which changes no result. By default all
            of them; on a CPU at most 256, or 32 to 64 where episodes may end early.

    Raises:
        InputError: an unknown environment or word, or a number out of range.

    Example:
        >>> policy_gradient("reacher", backend="spring", horizon=10)
        PolicyGradient(Reacher, backend=spring, horizon=10, discount=0.99, d=5188)
    """

    def __init__(
        self,
        env: str | Environment = "reacher",
        *,
        backend: Backend = "mjx",
        horizon: int = 50,
        discount: float = 0.99,
        policy: nn.Module | None = None,
        discounting: Discounting = "episode",
        action_scale: float = 1.0,
        normalisation: Normalisation | None = None,
        heterogeneity: Heterogeneity | None = None,
        lanes: int | None = None,
    ):
        self.horizon, self.discount = whole("horizon", horizon), discount_factor(discount)
        choice("discounting", discounting, get_args(Discounting))
        environment = make(env, backend) if isinstance(env, str) else env
        if isinstance(environment, type) or not isinstance(environment, Environment):
            raise InputError(
                f"environment: got {env!r}, a name or an object with reset, step and action_size is "
                "allowed."
            )
        self.env, self.policy = environment, policy or GaussianPolicy(environment.action_size)
        self.discounting, self.action_scale = discounting, positive("action_scale", action_scale)
        self.normalisation, self.heterogeneity = normalisation, heterogeneity or Heterogeneity()
        self.lanes = None if lanes is None else whole("lanes", lanes)
        self.workers = self.heterogeneity.workers
        self._simulator = Simulator(self.env, self.heterogeneity)
        start, worker = self._simulator.start.obs, jnp.zeros((), jnp.int32)
        seen = jax.eval_shape(self.heterogeneity.observation, start, worker)
        self.observation_size: int = seen.shape[0]
        if policy is not None:
            self._check_policy()

    def __repr__(self) -> str:
        name = type(getattr(self.env, "unwrapped", self.env)).__name__
        backend = getattr(self.env, "backend", None)
        return (
            f"PolicyGradient({name}, backend={backend}, horizon={self.horizon}, "
            f"discount={self.discount}, d={self.dimension()})"
        )

    def _check_policy(self) -> None:
        """Raise InputError unless a policy of the user's is a Flax module that gives a density of u."""
        if not isinstance(self.policy, nn.Module):
            raise InputError(
                f"policy: got {self.policy!r}, a flax.linen.Module is allowed, such as "
                "jn.policies.GaussianPolicy(2)."
            )
        size, where = (self.env.action_size,), f"policy: {type(self.policy).__name__}"

        def seen(key: Key[Array, ""]) -> tuple[Array, Array]:
            distribution = self._distribution(self.init(key), jnp.zeros(self.observation_size))
            u = distribution.sample(jnp.zeros(size))
            return u, distribution.log_density(u)

        u, density = asked(where, lambda: jax.eval_shape(seen, jax.random.key(0)))
        answer(f"{where}: sample", u, size, "f")
        answer(f"{where}: log_density", density, (), "f")

    def init(self, key: Key[Array, ""]) -> Params:
        """Initial Flax params of the policy, and what the normalisation keeps beside them."""
        params = self.policy.init(key, jnp.zeros(self.observation_size))
        if self.normalisation is not None:
            params = {**params, **self.normalisation.init(self.observation_size)}
        return params

    def dimension(self) -> int:
        """d, the number of parameters of the policy."""
        shapes = jax.eval_shape(self.init, jax.random.key(0))["params"]
        return sum(leaf.size for leaf in jax.tree.leaves(shapes))

    def trajectory_bytes(self) -> int:
        """Bytes of a trajectory: its steps, the activations of a chunk, and some copies of the state."""
        leaves = jax.tree.leaves(self._simulator.start)
        physics = sum(math.prod(x.shape) * x.dtype.itemsize for x in leaves)
        actions = self.env.action_size
        width = sum(getattr(self.policy, "hidden", GaussianPolicy.hidden)) + 2 * actions
        step = 2 * self.observation_size + 3 * actions + 8
        activations = min(self.horizon, CHUNK) * 4 * width
        return 4 * (self.horizon * step + activations) + 6 * physics

    def estimate(self, params: Params, keys: Keys, workers: Workers, weights: Weights) -> Estimate:
        """sum_b weights_b g_H(tau_b, params), with one backward pass over the steps taken.

        g_H is that of `score_estimate`, unbiased for the gradient of the H-step objective. The physics
        is never differentiated. Without heterogeneity `workers` has no effect.
        """
        return _one_run(self.estimates, params, keys, workers, weights)

    def estimates(self, params: Params, keys: Keys, workers: Workers, weights: Weights) -> Estimate:
        """`estimate` of R runs at their own params. Their trajectories share the lanes."""
        seen = self._samples(params, keys, workers)
        return jax.vmap(self._estimate)(params, seen, weights)

    def _estimate(self, params: Params, seen: Trajectory, weights: Float[Array, " B"]) -> Estimate:
        to_go = reward_to_go(seen.reward, self.discount, self.discounting == "step")

        def log_density(params: Params, step: tuple[Array, Array]) -> Float[Array, " C"]:
            return self._distribution(params, step[0]).log_density(step[1])

        steps = (seen.observation, seen.u)
        coefficients = weights.astype(to_go.dtype)[:, None] * to_go
        gradient = gradient_of_steps(log_density, params, steps, coefficients, seen.alive)
        returns = seen.reward @ discounts(self.discount, self.horizon, seen.reward.dtype)
        estimate = Estimate(gradient, returns, seen.reward.sum(axis=-1))
        if self.normalisation is None:
            return estimate
        # Slots that pad a batch do not count as observed.
        alive = seen.alive & (weights != 0)[:, None]
        return estimate._replace(observed=self.normalisation.observed(seen.observation, alive))

    def evaluate(self, params: Params, keys: Keys) -> Evaluation:
        """Mean returns of the stochastic policy, from trajectories with keys of `for_each_worker`."""
        return _one_run(self.evaluations, params, keys)

    def evaluations(self, params: Params, keys: Keys) -> Evaluation:
        """`evaluate` of R runs at their own params. Their trajectories share the lanes."""
        count = self.workers or 1
        keys, workers = for_each_worker(keys, count)
        reward = self._samples(params, keys, workers).reward
        discounted = reward @ discounts(self.discount, self.horizon, reward.dtype)
        per_worker = discounted.reshape(len(keys), -1, count).mean(axis=1)
        return Evaluation(per_worker.mean(axis=-1), reward.sum(axis=-1).mean(axis=-1), per_worker)

    def trainable(self, params: Params) -> Params:
        """The policy's own params, without what the normalisation keeps beside them."""
        return {"params": params["params"]}

    def with_trainable(self, params: Params, trainable: Params) -> Params:
        """Params with another policy and the same normalisation."""
        return {**params, **trainable}

    def observe(self, params: Params, estimate: Estimate) -> Params:
        """Params whose normalisation has learnt from this round's observations."""
        if self.normalisation is None:
            return params
        return self.normalisation.update(params, estimate.observed)

    def merge_observed(self, observed: Any) -> Any:
        """What the normalisation learns from all parts of a round."""
        assert self.normalisation is not None
        return self.normalisation.merged(observed)

    def sample(self, params: Params, keys: Keys, workers: Workers | None = None) -> Trajectory:
        """B trajectories of the policy at params, by default of worker 0, with an axis B in front."""
        workers = jnp.zeros(len(keys), jnp.int32) if workers is None else workers
        return _one_run(self._samples, params, keys, workers)

    def _samples(self, params: Params, keys: Keys, workers: Workers) -> Trajectory:
        """Trajectories of R runs at their own params. Fields gain the axes R and B in front."""
        runs, batch = keys.shape
        worker = workers.reshape(-1)
        pair = jax.vmap(jax.random.split)(keys.reshape(-1))
        noise = jax.vmap(self._noise)(pair[:, 1])

        def act(
            observation: Float[Array, "L o"], slot: Int[Array, " L"], step: Int[Array, " L"]
        ) -> tuple[Array, Array]:
            if runs == 1:  # All lanes share the params, which need not be repeated for each.
                own, axis = jax.tree.map(lambda x: x[0], params), None
            else:
                own, axis = jax.tree.map(lambda x: x[slot // batch], params), 0
            distribution = jax.vmap(self._distribution, (axis, 0))(own, observation)
            u = jax.vmap(type(distribution).sample)(distribution, noise[slot, step])
            return u, self.action_scale * jnp.tanh(u)

        seen = self._simulator.sample(act, pair[:, 0], worker, self.horizon, self.lanes)
        return jax.tree.map(lambda x: x.reshape(runs, batch, *x.shape[1:]), seen)

    def _distribution(self, params: Params, observation: Float[Array, "*batch o"]) -> Any:
        if self.normalisation is not None:
            observation = self.normalisation.apply(params, observation)
        return self.policy.apply({"params": params["params"]}, observation)

    def _noise(self, key: Key[Array, ""]) -> Float[Array, "H a"]:
        """Standard normal draws of a whole trajectory. Drawing inside the loop of steps is slower."""
        size = (self.env.action_size,)
        return jax.vmap(lambda key: jax.random.normal(key, size))(jax.random.split(key, self.horizon))


policy_gradient = PolicyGradient


def _one_run(function: Callable[..., Any], *arguments: Any) -> Any:
    """A function of R runs, for one."""
    found = function(*jax.tree.map(lambda x: x[None], arguments))
    return jax.tree.map(lambda x: x[0], found)
