"""A winding valley that falls ever more slowly: the plainest place where momentum saves gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxnigt.checks import in_range, one_number, positive, room, whole
from jaxnigt.problems.base import Params
from jaxnigt.problems.stochastic import Stochastic, stochastic
from jaxnigt.registry import register


@register("winding")
def winding(
    *,
    sigma: float = 1.0,
    curvature: float = 1.0,
    width: float = 1.0,
    bend: float = 1.0,
    walls: int = 8,
) -> Stochastic:
    """A valley that winds, with Gaussian noise on its gradients; J is known exactly.

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
    given = {"sigma": sigma, "width": width, "bend": bend}
    sigma, width, bend = (float(in_range(name, one_number(name, x))) for name, x in given.items())
    curvature, walls = positive("curvature", curvature), whole("walls", walls)
    room("walls", walls)

    def exact(params: Params, worker: Int[Array, ""]) -> Float[Array, ""]:
        y, z = params["x"][0], params["x"][1:]
        phase = 2 * jnp.pi * jnp.arange(walls, dtype=z.dtype) / walls
        floor = width / walls**0.5 * (jnp.sin(bend * y + phase) - jnp.sin(phase))
        # The logarithm of a negative number is NaN, also in a gradient that is multiplied with 0.
        down = jnp.where(y < 0, y - y**2 / 2, jnp.log1p(jnp.where(y < 0, 0.0, y)))
        return down - curvature / 2 * ((z - floor) ** 2).sum()

    def winding(params: Params, key: Key[Array, ""], worker: Int[Array, ""]) -> Float[Array, ""]:
        x = params["x"]
        return exact(params, worker) + sigma / x.size**0.5 * (
            jax.random.normal(key, x.shape, x.dtype) @ x
        )

    return stochastic(winding, lambda key: {"x": jnp.zeros(1 + walls)}, exact=exact)
