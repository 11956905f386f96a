"""Policy gradients on Brax and MJX environments: the truncated estimator g_H."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxnigt.arguments import discount_factor, whole
from jaxnigt.environments.brax import make, quiet
from jaxnigt.environments.heterogeneity import Alike, Heterogeneity
from jaxnigt.errors import InputError
from jaxnigt.policies import GaussianPolicy
from jaxnigt.problems.base import Estimate, Evaluation, Params, Problem
from jaxnigt.problems.normalisation import FixedNormalisation, RunningNormalisation
from jaxnigt.problems.score import discounts, score_estimate

if TYPE_CHECKING:
    from brax.envs import Env

DISCOUNTING = ("episode", "step")


class Trajectory(NamedTuple):
    """What H steps in the environment leave for the estimator.

    Attributes:
        observation: f32[H, o] as the environment gives them, 0 after termination.
        u: f32[H, a], pre-squashed actions, 0 after termination.
        reward: f32[H], 0 after termination.
        alive: bool[H], whether the episode was still going on when the step was taken.
    """

    observation: Float[Array, "H o"]
    u: Float[Array, "H a"]
    reward: Float[Array, " H"]
    alive: Bool[Array, " H"]


class PolicyGradient(Problem):
    """J(theta) = E[ sum_h gamma^h r(s_h, a_h) ] over H steps; see `policy_gradient`."""

    def __init__(
        self,
        env: Env,
        policy: GaussianPolicy,
        horizon: int,
        discount: float,
        discounting: str,
        action_scale: float,
        normalisation: FixedNormalisation | RunningNormalisation | None,
        heterogeneity: Heterogeneity | None,
    ):
        self.env = env
        self.heterogeneity = heterogeneity or Alike()
        self.workers = self.heterogeneity.workers
        self.observation_size = self._observation_size()
        self.policy = policy
        self.horizon = horizon
        self.discount = discount
        self.discounting = discounting
        self.action_scale = action_scale
        self.normalisation = normalisation

    def __repr__(self) -> str:
        name = type(self.env.unwrapped).__name__
        return (
            f"PolicyGradient({name}, backend={self.env.backend}, horizon={self.horizon}, "
            f"discount={self.discount}, d={self.dimension()})"
        )

    def init(self, key: Key[Array, ""]) -> Params:
        """Flax params of the policy, with running statistics beside them where they are asked for."""
        params = self.policy.init(key, jnp.zeros(self.observation_size))
        if self.normalisation is not None:
            params = {**params, **self.normalisation.init(self.observation_size)}
        return params

    def dimension(self) -> int:
        """d, the parameters of the policy."""
        shapes = jax.eval_shape(self.init, jax.random.key(0))["params"]
        return sum(leaf.size for leaf in jax.tree.leaves(shapes))

    def trajectory_bytes(self) -> int:
        """Steps as they are kept, activations for the backward pass, and some copies of the physics."""
        with quiet():
            state = jax.eval_shape(self.env.reset, jax.random.key(0))
        physics = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state))
        width = sum(self.policy.hidden) + 2 * self.policy.action_size
        step = 2 * self.observation_size + 2 * self.policy.action_size + 4 * width + 4
        return 4 * self.horizon * step + 6 * physics

    def estimate(
        self,
        params: Params,
        keys: Key[Array, " B"],
        workers: Int[Array, " B"],
        weights: Float[Array, " B"],
    ) -> Estimate:
        """sum_b weights_b g_H(tau_b, params) with one backward pass over the batch.

        g_H = sum_t ( sum_{h>=t} gamma^h r_h ) grad log pi(a_t | s_t), eq. (3) of arXiv 2509.24305,
        unbiased for the gradient of the H-step objective. The physics is never differentiated.
        Without heterogeneity all workers share one environment, and `workers` changes nothing.
        """
        return self._estimate(params, self.sample(params, keys, workers), weights)

    def estimates(
        self,
        params: Params,
        keys: Key[Array, "R B"],
        workers: Int[Array, "R B"],
        weights: Float[Array, "R B"],
    ) -> Estimate:
        """`estimate` of R runs, each at its own params, with all trajectories in one long batch.

        On CPU, XLA compiles physics of a batch [R, B] to slower code than that of [R B]. Params are
        repeated for it, so accelerators, where that costs memory for nothing, map over the runs.
        """
        runs, batch = keys.shape
        if runs == 1:
            run = jax.tree.map(lambda x: x[0], (params, keys, workers, weights))
            return jax.tree.map(lambda x: x[None], self.estimate(*run))
        if jax.default_backend() != "cpu":
            return super().estimates(params, keys, workers, weights)
        own = jax.tree.map(lambda x: jnp.repeat(x, batch, axis=0), params)
        with quiet():
            seen = jax.vmap(self._rollout)(own, keys.reshape(-1), workers.reshape(-1))
        parted = jax.tree.map(lambda x: x.reshape(runs, batch, *x.shape[1:]), seen)
        return jax.vmap(self._estimate)(params, parted, weights)

    def _estimate(self, params: Params, seen: Trajectory, weights: Float[Array, " B"]) -> Estimate:
        def log_density(params: Params) -> Float[Array, "B H"]:
            return self._distribution(params, seen.observation).log_density(seen.u)

        per_step = self.discounting == "step"
        estimate = score_estimate(log_density, params, weights, seen.reward, self.discount, per_step)
        if self.normalisation is None:
            return estimate
        # Slots that pad a round have not been seen.
        alive = seen.alive & (weights != 0)[:, None]
        return estimate._replace(observed=self.normalisation.observed(seen.observation, alive))

    def evaluate(self, params: Params, keys: Key[Array, " B"]) -> Evaluation:
        """Mean returns of the stochastic policy, one trajectory a key, worker by worker in turn.

        Every worker gets the same number of trajectories, one more than its share where they do
        not come out even.
        """
        count = self.workers or 1
        each = -(-len(keys) // count)
        keys = jnp.concatenate([keys, jax.random.split(keys[0], each * count - len(keys))])
        reward = self.sample(params, keys, jnp.arange(each * count) % count).reward
        returns = (reward @ discounts(self.discount, self.horizon, reward.dtype)).reshape(each, count)
        per_worker = returns.mean(axis=0)
        return Evaluation(per_worker.mean(), reward.sum(axis=-1).mean(), per_worker)

    def observe(self, params: Params, estimate: Estimate) -> Params:
        """Params with running statistics that have seen this round's observations."""
        if self.normalisation is None:
            return params
        return self.normalisation.update(params, estimate.observed)

    def merge_observed(self, observed: Any) -> Any:
        """Statistics of all parts of a round."""
        assert self.normalisation is not None
        return self.normalisation.merged(observed)

    def sample(
        self, params: Params, keys: Key[Array, " B"], workers: Int[Array, " B"] | None = None
    ) -> Trajectory:
        """Trajectories under the policy at params, one a key; every field gains an axis B.

        Args:
            params: the point.
            keys: one a trajectory; consumed.
            workers: whose environment each is sampled in; worker 0's by default.
        """
        workers = jnp.zeros(len(keys), jnp.int32) if workers is None else workers
        with quiet():
            return jax.vmap(lambda key, worker: self._rollout(params, key, worker))(keys, workers)

    def _distribution(self, params: Params, observation: Float[Array, "*batch o"]) -> Any:
        if self.normalisation is not None:
            observation = self.normalisation.apply(params, observation)
        return self.policy.apply({"params": params["params"]}, observation)

    def _rollout(self, params: Params, key: Key[Array, ""], worker: Int[Array, ""]) -> Trajectory:
        env = self.heterogeneity.environment(self.env, worker)
        reset_key, action_key = jax.random.split(key)

        def step(
            carry: tuple[Any, Bool[Array, ""]], key: Key[Array, ""]
        ) -> tuple[tuple[Any, Bool[Array, ""]], Trajectory]:
            state, alive = carry
            observation = self.heterogeneity.observation(state.obs, worker)
            u = self._distribution(params, observation).sample(key)
            after = env.step(state, self.action_scale * jnp.tanh(u))
            # Physics past termination may blow up, so what it gives is selected away, not multiplied.
            seen = Trajectory(
                jnp.where(alive, observation, 0.0),
                jnp.where(alive, u, 0.0),
                jnp.where(alive, after.reward, 0.0),
                alive,
            )
            return (after, alive & (after.done == 0)), seen

        start = (env.reset(reset_key), jnp.array(True))
        return jax.lax.scan(step, start, jax.random.split(action_key, self.horizon))[1]

    def _observation_size(self) -> int:
        """Entries of an observation. Brax's own property runs the reset op by op, 20 s on mjx."""

        def observe(key: Key[Array, ""]) -> Any:
            observation: Any = self.env.reset(key).obs
            if getattr(observation, "ndim", None) != 1:
                return observation
            return self.heterogeneity.observation(observation, jnp.zeros((), jnp.int32))

        with quiet():
            observation = jax.eval_shape(observe, jax.random.key(0))
        if getattr(observation, "ndim", None) != 1:
            raise InputError("environment: it gives a dict, one vector of observations is allowed.")
        return observation.shape[0]


def policy_gradient(
    env: str | Env = "reacher",
    *,
    backend: str = "mjx",
    horizon: int = 50,
    discount: float = 0.99,
    policy: GaussianPolicy | None = None,
    discounting: str = "episode",
    action_scale: float = 1.0,
    normalisation: FixedNormalisation | RunningNormalisation | None = None,
    heterogeneity: Heterogeneity | None = None,
) -> PolicyGradient:
    """Policy gradients on a Brax environment.

    Args:
        env: a name registered with brax, such as "reacher", "hopper" or "humanoid", or a
            `brax.envs.Env` of your own with a vector of observations and actions in [-1, 1].
        backend: "mjx", "spring", "positional" or "generalized", for names.
        horizon: H, steps of a trajectory; rewards after termination count 0.
        discount: gamma, in (0, 1].
        policy: a module that maps observations to a Gaussian over u; by default two tanh layers
            of 64 with mean and softplus standard deviation, as in arXiv 2509.24305.
        discounting: "episode" counts discounts from the episode's start, gamma^h, as in the
            paper's g_H; "step" is the usual gamma^(h-t), which is biased for J.
        action_scale: actions are action_scale * tanh(u).
        normalisation: of observations, `FixedNormalisation(mean, std)` or
            `RunningNormalisation()`; None, as in the paper, leaves them as they are.
        heterogeneity: what differs from worker to worker, such as `environments.flipped()` or
            `environments.Physical(gravity=[0.5, 1.0])`; by default all share one environment.

    Returns:
        A `Problem`.

    Raises:
        InputError: an unknown environment or backend, or a number out of range.
    """
    horizon, discount = whole("horizon", horizon), discount_factor(discount)
    if discounting not in DISCOUNTING:
        raise InputError(f"discounting: got {discounting!r}, allowed are {', '.join(DISCOUNTING)}.")
    environment = make(env, backend) if isinstance(env, str) else env
    if isinstance(environment, type) or not all(
        hasattr(environment, name) for name in ("reset", "step", "action_size")
    ):
        raise InputError(f"environment: got {env!r}, a name or an instance of brax.envs.Env is allowed.")
    policy = policy or GaussianPolicy(environment.action_size)
    return PolicyGradient(
        environment,
        policy,
        horizon,
        discount,
        discounting,
        action_scale,
        normalisation,
        heterogeneity,
    )
