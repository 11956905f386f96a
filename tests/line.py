"""A point on a line: small enough that J can be integrated numerically.

From s_0 = 0.5 an action moves the point, s' = s + a / 2, and is paid -(s' - 1)^2. The episode ends
after two steps, and whatever is asked of it later answers NaN.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnigt.environments.brax import quiet

with quiet():
    from brax.envs.base import Env, State

LIFETIME = 2


class Line(Env):
    def __init__(self, backend: str = "none", lifetime: int = LIFETIME):
        self._backend = backend
        self.lifetime = lifetime

    def reset(self, rng: jax.Array) -> State:
        zero = jnp.zeros(())
        return State(None, jnp.array([0.5, 0.0]), zero, zero)

    def step(self, state: State, action: jax.Array) -> State:
        point, step = state.obs[0] + 0.5 * action[0], state.obs[1] + 1.0
        over = step > self.lifetime
        obs = jnp.where(over, jnp.nan, jnp.stack([point, step]))
        reward = jnp.where(over, jnp.nan, -((point - 1.0) ** 2))
        done = (step >= self.lifetime).astype(jnp.float32)
        return state.replace(obs=obs, reward=reward, done=done)

    @property
    def observation_size(self) -> int:
        return 2

    @property
    def action_size(self) -> int:
        return 1

    @property
    def backend(self) -> str:
        return self._backend


def objective(policy: Any, params: Any, discount: float, nodes: int = 40) -> jax.Array:
    """J over two steps by Gauss-Hermite quadrature over both actions; no sampling anywhere."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    x, w = jnp.asarray(x, jnp.float32), jnp.asarray(w / w.sum(), jnp.float32)

    def act(point: jax.Array, step: float) -> jax.Array:
        distribution = policy.apply(params, jnp.stack([point, jnp.asarray(step)]))
        return jnp.tanh(distribution.mean[0] + distribution.std[0] * x)

    first = 0.5 + 0.5 * act(jnp.asarray(0.5), 0.0)
    second = first[:, None] + 0.5 * jax.vmap(lambda s: act(s, 1.0))(first)
    later = (-((second - 1.0) ** 2) * w[None, :]).sum(axis=1)
    return (w * (-((first - 1.0) ** 2) + discount * later)).sum()
