"""Distributions of mean 1 that multiply the time of each gradient."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float64, Key

from jaxnigt.checks import InputError


@dataclasses.dataclass(frozen=True)
class Noise:
    """A distribution of mean 1, by name and parameters; hashable, and the same for all workers.

    Attributes:
        name: "exponential", "lognormal", "gamma", "pareto" or "bernoulli_outage".
        parameters: as the function of that name takes them.
    """

    name: str
    parameters: tuple[float, ...] = ()

    def sample(self, key: Key[Array, ""]) -> Float64[Array, ""]:
        """One draw in float64; the key is consumed."""
        if self.quantile is not None:
            return self.quantile(jax.random.uniform(key, dtype=jnp.float64))
        (shape,) = self.parameters
        return jax.random.gamma(key, jnp.float64(shape), dtype=jnp.float64) / shape

    @property
    def quantile(self) -> Callable[[Float64[Array, ""]], Float64[Array, ""]] | None:
        """A map from a uniform number in [0, 1) to a draw; None for the gamma distribution."""
        quantile = _QUANTILES.get(self.name)
        return quantile and functools.partial(quantile, *self.parameters)


def exponential() -> Noise:
    """The exponential distribution of mean 1."""
    return Noise("exponential")


def lognormal(sigma: float) -> Noise:
    """exp(sigma z - sigma^2 / 2) with z normal."""
    return Noise("lognormal", (_above("sigma", sigma, 0.0),))


def gamma(shape: float) -> Noise:
    """A gamma distribution of this shape, divided by it; variance 1 / shape."""
    return Noise("gamma", (_above("shape", shape, 0.0),))


def pareto(alpha: float) -> Noise:
    """A Pareto distribution with tail exponent alpha > 1, scaled to mean 1."""
    return Noise("pareto", (_above("alpha", alpha, 1.0),))


def bernoulli_outage(probability: float, slowdown: float) -> Noise:
    """With this probability a gradient takes `slowdown` times as long; scaled to mean 1."""
    if not 0 <= probability < 1:
        raise InputError(f"probability: got {probability!r}, numbers in [0, 1) are allowed.")
    return Noise("bernoulli_outage", (float(probability), _above("slowdown", slowdown, 0.0)))


def _above(name: str, value: float, least: float) -> float:
    if not (math.isfinite(value) and value > least):
        raise InputError(f"{name}: got {value!r}, finite numbers above {least:g} are allowed.")
    return float(value)


def _exponential(uniform: Float64[Array, ""]) -> Float64[Array, ""]:
    return -jnp.log1p(-uniform)


def _lognormal(sigma: float, uniform: Float64[Array, ""]) -> Float64[Array, ""]:
    # Half a step of the uniform numbers keeps 0 out and leaves the others symmetric.
    z = math.sqrt(2) * jax.lax.erf_inv(2 * uniform - 1 + 2.0**-52)
    return jnp.exp(sigma * z - sigma**2 / 2)


def _pareto(alpha: float, uniform: Float64[Array, ""]) -> Float64[Array, ""]:
    return (alpha - 1) / alpha * (1 - uniform) ** (-1 / alpha)


def _bernoulli_outage(
    probability: float, slowdown: float, uniform: Float64[Array, ""]
) -> Float64[Array, ""]:
    mean = 1 - probability + probability * slowdown
    return jnp.where(uniform < probability, slowdown, 1.0) / mean


_QUANTILES = {
    "exponential": _exponential,
    "lognormal": _lognormal,
    "pareto": _pareto,
    "bernoulli_outage": _bernoulli_outage,
}
