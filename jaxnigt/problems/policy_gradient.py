"""Policy gradients on Brax and MJX environments: the truncated estimator g_H."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxnigt.environments.brax import make, quiet
from jaxnigt.errors import InputError
from jaxnigt.policies import GaussianPolicy
from jaxnigt.problems.base import Estimate, Evaluation, Params, Problem
from jaxnigt.problems.normalisation import FixedNormalisation, RunningNormalisation

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
    ):
        self.env = env
        self.observation_size = _observation_size(env)
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
        All workers share one environment, so `workers` changes nothing.
        """
        trajectories = self.sample(params, keys)
        to_go = self.reward_to_go(trajectories.reward)

        def surrogate(params: Params) -> Float[Array, ""]:
            log_density = self._distribution(params, trajectories.observation).log_density(
                trajectories.u
            )
            return jnp.einsum("b,bh,bh->", weights, to_go, log_density)

        observed = None
        if self.normalisation is not None:
            observed = self.normalisation.observed(trajectories.observation, trajectories.alive)
        return Estimate(
            jax.grad(surrogate)(params),
            trajectories.reward @ self._discounts(),
            trajectories.reward.sum(axis=-1),
            observed,
        )

    def evaluate(self, params: Params, keys: Key[Array, " B"]) -> Evaluation:
        """Mean returns of the stochastic policy, one trajectory a key."""
        reward = self.sample(params, keys).reward
        return Evaluation((reward @ self._discounts()).mean(), reward.sum(axis=-1).mean())

    def observe(self, params: Params, estimate: Estimate) -> Params:
        """Params with running statistics that have seen this round's observations."""
        if self.normalisation is None:
            return params
        return self.normalisation.update(params, estimate.observed)

    def sample(self, params: Params, keys: Key[Array, " B"]) -> Trajectory:
        """Trajectories under the policy at params, one a key; every field gains an axis B."""
        with quiet():
            return jax.vmap(lambda key: self._rollout(params, key))(keys)

    def reward_to_go(self, reward: Float[Array, "B H"]) -> Float[Array, "B H"]:
        """The weight of each step's score: sum_{h>=t} gamma^h r_h, or gamma^(h-t) where asked for."""

        def add(later: Float[Array, " B"], reward: Float[Array, " B"]) -> tuple[Array, Array]:
            now = reward + self.discount * later
            return now, now

        _, to_go = jax.lax.scan(add, jnp.zeros_like(reward[:, 0]), reward.T, reverse=True)
        return to_go.T * self._discounts()[None] if self.discounting == "episode" else to_go.T

    def _discounts(self) -> Float[Array, " H"]:
        return jnp.float32(self.discount) ** jnp.arange(self.horizon, dtype=jnp.float32)

    def _distribution(self, params: Params, observation: Float[Array, "*batch o"]) -> Any:
        if self.normalisation is not None:
            observation = self.normalisation.apply(params, observation)
        return self.policy.apply({"params": params["params"]}, observation)

    def _rollout(self, params: Params, key: Key[Array, ""]) -> Trajectory:
        reset_key, action_key = jax.random.split(key)

        def step(
            carry: tuple[Any, Bool[Array, ""]], key: Key[Array, ""]
        ) -> tuple[tuple[Any, Bool[Array, ""]], Trajectory]:
            state, alive = carry
            u = self._distribution(params, state.obs).sample(key)
            after = self.env.step(state, self.action_scale * jnp.tanh(u))
            # Physics past termination may blow up, so what it gives is selected away, not multiplied.
            seen = Trajectory(
                jnp.where(alive, state.obs, 0.0),
                jnp.where(alive, u, 0.0),
                jnp.where(alive, after.reward, 0.0),
                alive,
            )
            return (after, alive & (after.done == 0)), seen

        start = (self.env.reset(reset_key), jnp.array(True))
        return jax.lax.scan(step, start, jax.random.split(action_key, self.horizon))[1]


def _observation_size(env: Env) -> int:
    """Entries of an observation. Brax's own property runs the reset op by op, 20 s on mjx."""
    with quiet():
        observation = jax.eval_shape(env.reset, jax.random.key(0)).obs
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

    Returns:
        A `Problem`.

    Raises:
        InputError: an unknown environment or backend, or a number out of range.
    """
    if isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1:
        raise InputError(f"horizon: got {horizon!r}, a whole number of at least 1 step is allowed.")
    if not 0 < discount <= 1:
        raise InputError(f"discount: got {discount!r}, numbers in (0, 1] are allowed.")
    if discounting not in DISCOUNTING:
        raise InputError(f"discounting: got {discounting!r}, allowed are {', '.join(DISCOUNTING)}.")
    environment = make(env, backend) if isinstance(env, str) else env
    if isinstance(environment, type) or not all(
        hasattr(environment, name) for name in ("reset", "step", "action_size")
    ):
        raise InputError(f"environment: got {env!r}, a name or an instance of brax.envs.Env is allowed.")
    policy = policy or GaussianPolicy(environment.action_size)
    return PolicyGradient(
        environment, policy, horizon, discount, discounting, action_scale, normalisation
    )
