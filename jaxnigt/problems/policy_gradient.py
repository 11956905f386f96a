"""Policy gradients on Brax and MJX environments: the truncated estimator g_H."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxnigt.checks import InputError, discount_factor, whole
from jaxnigt.environments.brax import make, quiet
from jaxnigt.environments.dots import by_term
from jaxnigt.environments.factorisation import side_by_side
from jaxnigt.environments.heterogeneity import Alike, Heterogeneity
from jaxnigt.environments.line_search import ended_early
from jaxnigt.policies import GaussianPolicy
from jaxnigt.problems import lanes
from jaxnigt.problems.base import Estimate, Evaluation, Params, Problem
from jaxnigt.problems.normalisation import FixedNormalisation, RunningNormalisation
from jaxnigt.problems.score import CHUNK, discounts, gradient_of_steps, reward_to_go

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
        lanes: int | None,
    ):
        self.env = env
        self.heterogeneity = heterogeneity or Alike()
        self.workers = self.heterogeneity.workers
        with quiet():
            # Once, and not op by op as Brax's own `observation_size` has it, which is slow on mjx.
            self._start = jax.eval_shape(env.reset, jax.random.key(0))
        self.observation_size = self._observation_size()
        self.policy = policy
        self.horizon = horizon
        self.discount = discount
        self.discounting = discounting
        self.action_scale = action_scale
        self.normalisation = normalisation
        self.lanes = lanes
        # Traced once for all the places that they are used in, as physics takes seconds to trace.
        self._reset = jax.jit(lambda worker, key: self._environment(worker).reset(key), inline=True)
        self._step = jax.jit(lambda worker, *at: self._environment(worker).step(*at), inline=True)

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
        """Steps as they are kept, activations of a chunk of them, and some copies of the physics."""
        physics = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(self._start))
        width = sum(self.policy.hidden) + 2 * self.policy.action_size
        step = 2 * self.observation_size + 3 * self.policy.action_size + 8
        activations = min(self.horizon, CHUNK) * 4 * width
        return 4 * (self.horizon * step + activations) + 6 * physics

    def estimate(
        self,
        params: Params,
        keys: Key[Array, " B"],
        workers: Int[Array, " B"],
        weights: Float[Array, " B"],
    ) -> Estimate:
        """sum_b weights_b g_H(tau_b, params) with one backward pass over the steps taken.

        g_H = sum_t ( sum_{h>=t} gamma^h r_h ) grad log pi(a_t | s_t), eq. (3) of arXiv 2509.24305,
        unbiased for the gradient of the H-step objective. The physics is never differentiated.
        Without heterogeneity all workers share one environment, and `workers` changes nothing.
        """
        run = jax.tree.map(lambda x: x[None], (params, keys, workers, weights))
        return jax.tree.map(lambda x: x[0], self.estimates(*run))

    def estimates(
        self,
        params: Params,
        keys: Key[Array, "R B"],
        workers: Int[Array, "R B"],
        weights: Float[Array, "R B"],
    ) -> Estimate:
        """`estimate` of R runs, each at its own params, their trajectories in the same lanes."""
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
        # Slots that pad a round have not been seen.
        alive = seen.alive & (weights != 0)[:, None]
        return estimate._replace(observed=self.normalisation.observed(seen.observation, alive))

    def evaluate(self, params: Params, keys: Key[Array, " B"]) -> Evaluation:
        """Mean returns of the stochastic policy, one trajectory a key, worker by worker in turn.

        Every worker gets the same number of trajectories, one more than its share where they do
        not come out even.
        """
        one_run = jax.tree.map(lambda x: x[None], (params, keys))
        return jax.tree.map(lambda x: x[0], self.evaluations(*one_run))

    def evaluations(self, params: Params, keys: Key[Array, "R B"]) -> Evaluation:
        """`evaluate` of R runs, each at its own params, their trajectories in the same lanes."""
        runs, batch = keys.shape
        count = self.workers or 1
        each = -(-batch // count)
        extra = jax.vmap(lambda key: jax.random.split(key, each * count - batch))(keys[:, 0])
        keys = jnp.concatenate([keys, extra], axis=1)
        workers = jnp.broadcast_to(jnp.arange(each * count, dtype=jnp.int32) % count, keys.shape)
        reward = self._samples(params, keys, workers).reward
        discounted = reward @ discounts(self.discount, self.horizon, reward.dtype)
        per_worker = discounted.reshape(runs, each, count).mean(axis=1)
        return Evaluation(per_worker.mean(axis=-1), reward.sum(axis=-1).mean(axis=-1), per_worker)

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
        run = jax.tree.map(lambda x: x[None], (params, keys, workers))
        return jax.tree.map(lambda x: x[0], self._samples(*run))

    def _distribution(self, params: Params, observation: Float[Array, "*batch o"]) -> Any:
        if self.normalisation is not None:
            observation = self.normalisation.apply(params, observation)
        return self.policy.apply({"params": params["params"]}, observation)

    def _samples(
        self, params: Params, keys: Key[Array, "R B"], workers: Int[Array, "R B"]
    ) -> Trajectory:
        """Trajectories of R runs at their own params; every field gains the axes R and B."""
        runs, batch = keys.shape
        worker = workers.reshape(-1)
        pair = jax.vmap(jax.random.split)(keys.reshape(-1))
        noise = jax.vmap(self._noise)(pair[:, 1])

        def of_run(slot: Int[Array, " L"]) -> tuple[Params, int | None]:
            """Params of each lane and their axis: one run's are not repeated."""
            if runs == 1:
                return jax.tree.map(lambda x: x[0], params), None
            return jax.tree.map(lambda x: x[slot // batch], params), 0

        def advance(
            state: Any, slot: Int[Array, " L"], step: Int[Array, " L"]
        ) -> tuple[Any, Trajectory, Bool[Array, " L"]]:
            observation = jax.vmap(self.heterogeneity.observation)(state.obs, worker[slot])
            own, axis = of_run(slot)
            distribution = jax.vmap(self._distribution, (axis, 0))(own, observation)
            u = jax.vmap(type(distribution).sample)(distribution, noise[slot, step])
            action = self.action_scale * jnp.tanh(u)
            after = jax.vmap(self._step)(worker[slot], state, action)
            alive = jnp.ones(slot.shape, bool)
            return after, Trajectory(observation, u, after.reward, alive), after.done != 0

        with quiet(), ended_early(), side_by_side(), by_term():
            starts = jax.vmap(self._reset)(worker, pair[:, 0])
            endless = self._endless()
            width = lanes.width(runs * batch, self.lanes, endless)
            seen = lanes.run(starts, advance, self.horizon, width, endless)
        return jax.tree.map(lambda x: x.reshape(runs, batch, *x.shape[1:]), seen)

    def _endless(self) -> bool:
        """Whether all episodes go on to the horizon."""
        worker = jax.ShapeDtypeStruct((), jnp.int32)
        action = jax.ShapeDtypeStruct((self.policy.action_size,), jnp.float32)

        def step(state: Any, worker: Any, action: Any) -> tuple[Any, Any]:
            after = self._step(worker, state, action)
            return after, after.done

        return lanes.endless(step, self._start, worker, action)

    def _environment(self, worker: Int[Array, ""]) -> Env:
        return self.heterogeneity.environment(self.env, worker)

    def _noise(self, key: Key[Array, ""]) -> Float[Array, "H a"]:
        """Standard normal draws of a trajectory, all at once: the lanes' loop is no place for them."""
        size = (self.policy.action_size,)
        return jax.vmap(lambda key: jax.random.normal(key, size))(jax.random.split(key, self.horizon))

    def _observation_size(self) -> int:
        """Entries of an observation."""
        observation: Any = self._start.obs
        if getattr(observation, "ndim", None) == 1:
            worker = jnp.zeros((), jnp.int32)
            observation = jax.eval_shape(self.heterogeneity.observation, observation, worker)
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
    lanes: int | None = None,
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
        lanes: trajectories that are simulated side by side. A lane whose episode is over goes on with
            the next trajectory, and results do not depend on their number. By default as many as
            there are trajectories; on CPU at most 256, or 32 to 64 where episodes may end early.

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
        None if lanes is None else whole("lanes", lanes),
    )
