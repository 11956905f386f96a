"""Linear dynamics, a quadratic cost and a linear Gaussian policy, for which J has a closed form."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxnigt.checks import InputError, as_numbers, discount_factor, in_range, one_number, positive, whole
from jaxnigt.problems.base import Params
from jaxnigt.problems.score import EpisodicProblem, Sample
from jaxnigt.registry import register

Matrix = Float[np.ndarray, "rows columns"] | Sequence[Sequence[float]]


@register("linear_quadratic")
class LinearQuadratic(EpisodicProblem):
    """A linear-quadratic problem with a linear Gaussian policy.

    x' = A x + B u + noise, reward -|x - goal|^2 - cost |u|^2, u ~ N(K x + b, std^2 I). Params are
    {"gain": f[a, s], "bias": f[a]}, which are K and b. Trajectories begin at x_0 ~ N(0, I).

    Args:
        dynamics: A, f[s, s].
        control: B, f[s, a].
        goals: f[W, s], the state that each worker is paid to reach; one row where all share it.
        cost: the factor of |u|^2.
        noise: standard deviation of the disturbance of x.
        std: standard deviation of the policy.
        discount: gamma, in (0, 1].
        horizon: H, the steps of a trajectory.

    Raises:
        InputError: shapes that do not fit, or a number out of range.

    Example:
        >>> linear_quadratic(goals=((1.0, 0.0), (0.0, -1.0)))
        LinearQuadratic(s=2, a=1, workers=2, discount=0.9, horizon=20)
    """

    def __init__(
        self,
        *,
        dynamics: Matrix = ((0.9, 0.2), (0.0, 0.9)),
        control: Matrix = ((0.0,), (0.5,)),
        goals: Matrix = ((0.5, 0.0),),
        cost: float = 0.1,
        noise: float = 0.1,
        std: float = 0.5,
        discount: float = 0.9,
        horizon: int = 20,
    ):
        named = {"dynamics": dynamics, "control": control, "goals": goals, "cost": cost}
        a, b, g, c = (as_numbers(name, value) for name, value in named.items())
        if not all(np.isfinite(x).all() for x in (a, b, g, c)):
            raise InputError("dynamics: control, goals and cost as well, finite numbers are allowed.")
        if a.ndim != 2 or b.ndim != 2 or g.ndim != 2 or not len(a) == a.shape[1] == len(b) == g.shape[1]:
            raise InputError(
                f"dynamics: shapes {a.shape}, control {b.shape} and goals {g.shape}, allowed are "
                "(s, s), (s, a) and (W, s)."
            )
        in_range("noise", noise)
        cost, noise = one_number("cost", cost), one_number("noise", noise)
        self.dynamics, self.control, self.goals = a, b, g
        self.cost, self.noise, self.std = cost, noise, positive("std", std)
        self.discount, self.horizon = discount_factor(discount), whole("horizon", horizon)
        self.workers = None if len(g) == 1 else len(g)

    def __repr__(self) -> str:
        s, a = self.control.shape
        return (
            f"LinearQuadratic(s={s}, a={a}, workers={self.workers}, discount={self.discount}, "
            f"horizon={self.horizon})"
        )

    def init(self, key: Key[Array, ""]) -> Params:
        """Gains near 0 and no bias, so that the mean action is almost 0."""
        s, a = self.control.shape
        gain = 0.01 * jax.random.normal(key, (a, s), jnp.result_type(float))
        return {"gain": gain, "bias": jnp.zeros(a, gain.dtype)}

    def returns(self, params: Params, discount: float) -> Float[Array, " W"]:
        """Expected returns from mean and covariance of x_t, which are the same for every goal."""
        gain, bias = params["gain"], params["bias"]
        a_, b_, goals = (jnp.asarray(x, gain.dtype) for x in (self.dynamics, self.control, self.goals))
        closed = a_ + b_ @ gain
        spread = self.std**2 * b_ @ b_.T + self.noise**2 * jnp.eye(len(a_), dtype=gain.dtype)

        def step(state: tuple[Array, ...], _: None) -> tuple[tuple[Array, ...], Array]:
            mean, covariance, weight = state
            u = gain @ mean + bias
            effort = (u**2).sum() + jnp.trace(gain @ covariance @ gain.T) + len(bias) * self.std**2
            away = ((mean[None] - goals) ** 2).sum(axis=-1) + jnp.trace(covariance)
            after = (a_ @ mean + b_ @ u, closed @ covariance @ closed.T + spread, weight * discount)
            return after, -weight * (away + self.cost * effort)

        identity = jnp.eye(len(a_), dtype=gain.dtype)
        start = (jnp.zeros(len(a_), gain.dtype), identity, jnp.ones((), gain.dtype))
        return jax.lax.scan(step, start, length=self.horizon)[1].sum(axis=0)

    def trajectory(self, params: Params, key: Key[Array, ""], worker: Int[Array, ""]) -> Sample:
        """States f[H, s] and actions f[H, a], and rewards."""
        gain, bias = params["gain"], params["bias"]
        s, a = self.control.shape
        dynamics, control = (jnp.asarray(x, gain.dtype) for x in (self.dynamics, self.control))
        goal = jnp.asarray(self.goals, gain.dtype)[worker]
        normal = jax.random.normal(key, (self.horizon + 1, s + a), gain.dtype)

        def step(x: Float[Array, " s"], normal: Float[Array, " m"]) -> tuple[Array, tuple[Array, ...]]:
            u = gain @ x + bias + self.std * normal[s:]
            reward = -((x - goal) ** 2).sum() - self.cost * (u**2).sum()
            return dynamics @ x + control @ u + self.noise * normal[:s], (x, u, reward)

        _, (states, actions, rewards) = jax.lax.scan(step, normal[0, :s], normal[1:])
        return (states, actions), rewards

    def log_density(self, params: Params, seen: Params) -> Float[Array, " H"]:
        """log of the density of u_t at x_t, up to a constant."""
        states, actions = seen
        mean = states @ params["gain"].T + params["bias"][None]
        return -0.5 * (((actions - mean) / self.std) ** 2).sum(axis=-1)


linear_quadratic = LinearQuadratic
