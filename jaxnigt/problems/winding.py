"""A winding valley that falls ever more slowly: the plainest place where momentum saves gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxnigt.checks import in_range, one_number, positive, room, whole
from jaxnigt.problems.base import Estimate, ExactProblem, Keys, Params, Weights, Workers
from jaxnigt.registry import register


@register("winding")
class Winding(ExactProblem):
    """A valley that winds, with Gaussian noise on its gradients.

        J(y, z) = log(1 + y) - (curvature / 2) |z - c(y)|^2,    y - y^2 / 2 in place of the log if y < 0
        c_j(y) = width (sin(bend y + phase_j) - sin(phase_j)) / sqrt(walls),    phase_j = 2 pi j / walls

    On the floor of the valley the gradient is 1 / (1 + y), so that a point with |grad J| = epsilon is
    about 1 / epsilon away and only log(1 / epsilon) better than the start: every accuracy costs a way of
    about 1 / epsilon along a slope of epsilon. The walls forbid long steps, and the noise has to be
    averaged until it is below the slope. Params are {"x": f[1 + walls]}, y and then z; runs begin at 0.

    Args:
        sigma: E|noise|^2 = sigma^2 for one gradient, shared equally by the coordinates.
        curvature: of the walls.
        width: how far the floor swings to the side.
        bend: how fast it swings, in radians for a unit of y. At 0 the valley is straight; its Hessian
            is then constant across, and implicit gradient transport has no error there.
        walls: the dimensions of z. With many the norm of the noise hardly varies.

    Raises:
        InputError: a number out of range.

    Example:
        >>> problem = winding(sigma=0.0)
        >>> print(problem.gradient_exact({"x": jnp.zeros(9)})["x"][0])  # 1 down the valley, 0 across
        1.0

    Source: derived.
    """

    def __init__(
        self,
        *,
        sigma: float = 1.0,
        curvature: float = 1.0,
        width: float = 1.0,
        bend: float = 1.0,
        walls: int = 8,
    ):
        for name, value in {"sigma": sigma, "width": width, "bend": bend}.items():
            in_range(name, value)
        self.sigma, self.curvature = one_number("sigma", sigma), positive("curvature", curvature)
        self.width, self.bend = one_number("width", width), one_number("bend", bend)
        self.walls = whole("walls", walls)
        room("walls", self.walls)

    def __repr__(self) -> str:
        return (
            f"Winding(sigma={self.sigma}, curvature={self.curvature}, width={self.width}, "
            f"bend={self.bend}, walls={self.walls})"
        )

    def init(self, key: Key[Array, ""]) -> Params:
        """The origin, which is on the floor."""
        return {"x": jnp.zeros(1 + self.walls)}

    def objectives(self, params: Params) -> Float[Array, "1"]:
        """J."""
        y, z = params["x"][:1], params["x"][1:]
        phase = 2 * jnp.pi * jnp.arange(self.walls, dtype=y.dtype) / self.walls
        floor = self.width / self.walls**0.5 * (jnp.sin(self.bend * y + phase) - jnp.sin(phase))
        slope = jnp.where(y < 0, y - y**2 / 2, jnp.log1p(jnp.where(y < 0, 0.0, y)))
        return slope - self.curvature / 2 * ((z - floor) ** 2).sum(keepdims=True)

    def estimate(self, params: Params, keys: Keys, workers: Workers, weights: Weights) -> Estimate:
        """The weighted sum of the slots' gradients; both returns are J itself.

        A weighted sum of Gaussian noises is Gaussian, and one draw with the first key stands for all.
        """
        value, slope = jax.value_and_grad(self.objective)(params)
        x = slope["x"]
        spread = self.sigma * jnp.linalg.norm(weights) / x.size**0.5
        noise = jax.random.normal(keys[0], x.shape, x.dtype)
        gradient = {"x": weights.sum().astype(x.dtype) * x + spread.astype(x.dtype) * noise}
        values = jnp.full(weights.shape, value)
        return Estimate(gradient, values, values)


winding = Winding
