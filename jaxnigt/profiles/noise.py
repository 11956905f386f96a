"""Distributions of mean 1 that multiply the time of each gradient."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float64, Key

from jaxnigt.errors import InputError


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
        return _SAMPLERS[self.name](key, *self.parameters)


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


def _uniform(key: Key[Array, ""]) -> Float64[Array, ""]:
    return jax.random.uniform(key, dtype=jnp.float64)


def _exponential(key: Key[Array, ""]) -> Float64[Array, ""]:
    return -jnp.log1p(-_uniform(key))


def _lognormal(key: Key[Array, ""], sigma: float) -> Float64[Array, ""]:
    return jnp.exp(sigma * jax.random.normal(key, dtype=jnp.float64) - sigma**2 / 2)


def _gamma(key: Key[Array, ""], shape: float) -> Float64[Array, ""]:
    return jax.random.gamma(key, jnp.float64(shape), dtype=jnp.float64) / shape


def _pareto(key: Key[Array, ""], alpha: float) -> Float64[Array, ""]:
    return (alpha - 1) / alpha * (1 - _uniform(key)) ** (-1 / alpha)


def _bernoulli_outage(key: Key[Array, ""], probability: float, slowdown: float) -> Float64[Array, ""]:
    mean = 1 - probability + probability * slowdown
    return jnp.where(_uniform(key) < probability, slowdown, 1.0) / mean


_SAMPLERS = {
    "exponential": _exponential,
    "lognormal": _lognormal,
    "gamma": _gamma,
    "pareto": _pareto,
    "bernoulli_outage": _bernoulli_outage,
}
