"""Update rules whose stepsize and momentum decrease from update to update."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxnigt.methods.nigt import nigt


def decay(value: float | Float[Array, ""], power: float) -> optax.Schedule:
    """The schedule value (2 / (t + 2))^power of update t, which begins at `value`."""

    def at(t: Any) -> Float[Array, ""]:
        first = jnp.asarray(value)
        return first * (2 / (jnp.asarray(t, first.dtype) + 2)) ** power

    return at


def n_pg_igt_update(
    stepsize: float | Float[Array, ""], momentum: float | Float[Array, ""]
) -> optax.GradientTransformation:
    """NIGT with momentum ~ (t + 2)^(-4/5) and stepsize ~ 1 / (t + 2).

    References:
        Fatkhullin, Barakat, Kireeva, He, arXiv 2302.01734; both decay as in the authors' code.
    """
    return nigt(decay(stepsize, 1.0), decay(momentum, 4 / 5))


def afedpg_decreasing_update(
    stepsize: float | Float[Array, ""], momentum: float | Float[Array, ""]
) -> optax.GradientTransformation:
    """NIGT with momentum ~ (v + 2)^(-4/7) and stepsize ~ (k + 2)^(-5/7).

    v is the version that a gradient was computed at and k the update that applies it. The exponents
    are those of the rate K^(-2/7) to a stationary point.

    References:
        Lan, Han, Hashemi, Aggarwal, Brinton, arXiv 2404.08003.
    """
    return nigt(decay(stepsize, 5 / 7), decay(momentum, 4 / 7))


def pg(stepsize: float | Float[Array, ""]) -> optax.GradientTransformation:
    """Plain gradient steps, theta + stepsize * g."""
    return optax.sgd(stepsize)
