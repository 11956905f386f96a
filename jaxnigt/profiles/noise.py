"""Distributions of mean 1 that multiply the time of each gradient.

A noise of your own is a frozen dataclass with a `quantile`:

    >>> @dataclasses.dataclass(frozen=True)
    ... class Uniform(Noise):
    ...     def quantile(self, uniform):
    ...         return 2 * uniform
"""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float64, Key

from jaxnigt.checks import InputError, answer, asked, positive, within
from jaxnigt.registry import declare, make, named, register


@dataclasses.dataclass(frozen=True)
class Noise:
    """A distribution of mean 1, the same for all workers. It multiplies the seconds of each gradient.

    A subclass is a frozen dataclass with `quantile`, or with `sample` where the distribution has none.
    """

    def quantile(self, uniform: Float64[Array, ""]) -> Float64[Array, ""]:
        """The draw that belongs to a uniform number in [0, 1)."""
        raise InputError(f"noise: {type(self).__name__} has neither `quantile` nor `sample`.")

    def sample(self, key: Key[Array, ""]) -> Float64[Array, ""]:
        """One draw in float64. The key is consumed."""
        return self.quantile(jax.random.uniform(key, dtype=jnp.float64))

    @property
    def inverted(self) -> bool:
        """Whether draws come from `quantile`, which the clock can then call on numbers of its own."""
        return type(self).sample is Noise.sample

    @property
    def name(self) -> str:
        """The registered name with its arguments, for tables."""
        return named(self)


declare("noise", Noise)

_CHECKED = (0.0, 1e-3, 0.1, 0.5, 0.9, 0.999)
"""Uniform numbers at which the quantile function of a distribution is looked at."""


def as_noise(given: Noise | str) -> Noise:
    """A distribution from itself or from its name, checked to draw finite numbers of at least 0."""
    found = make("noise", given)
    _check(found)
    return found


@functools.lru_cache(1024)
def _check(noise: Noise) -> None:
    # The mean is not looked at, as heavy tails would hide it.
    name = type(noise).__name__
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        for index, uniform in enumerate(_CHECKED):
            if noise.inverted:
                where = f"{name}.quantile({uniform:g})"
                found = asked(where, lambda u=uniform: noise.quantile(jnp.float64(u)))
            else:
                where = f"{name}.sample"
                found = asked(where, lambda i=index: noise.sample(jax.random.key(i)))
            number = float(answer(where, found, (), "f"))
            if not (math.isfinite(number) and number >= 0):
                raise InputError(
                    f"noise: {where} gives {number:g}, finite numbers of at least 0 are allowed."
                )


@register("exponential")
@dataclasses.dataclass(frozen=True)
class Exponential(Noise):
    """The exponential distribution of mean 1."""

    def quantile(self, uniform: Float64[Array, ""]) -> Float64[Array, ""]:
        """-log(1 - u)."""
        return -jnp.log1p(-uniform)


@register("lognormal")
@dataclasses.dataclass(frozen=True)
class Lognormal(Noise):
    """exp(sigma z - sigma^2 / 2) with z standard normal and sigma above 0."""

    sigma: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", positive("sigma", self.sigma))

    def quantile(self, uniform: Float64[Array, ""]) -> Float64[Array, ""]:
        """The normal quantile in the exponent."""
        # Half a step of the uniform numbers keeps 0 out and leaves the others symmetric.
        z = math.sqrt(2) * jax.lax.erf_inv(2 * uniform - 1 + 2.0**-52)
        return jnp.exp(self.sigma * z - self.sigma**2 / 2)


@register("gamma")
@dataclasses.dataclass(frozen=True)
class Gamma(Noise):
    """A gamma distribution divided by its shape, which is above 0. Its variance is 1 / shape."""

    shape: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", positive("shape", self.shape))

    def sample(self, key: Key[Array, ""]) -> Float64[Array, ""]:
        """A draw by JAX's own sampler, because the quantile has no formula."""
        return jax.random.gamma(key, jnp.float64(self.shape), dtype=jnp.float64) / self.shape


@register("pareto")
@dataclasses.dataclass(frozen=True)
class Pareto(Noise):
    """A Pareto distribution scaled to mean 1; the exponent alpha of its tail is above 1."""

    alpha: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", positive("alpha", self.alpha, above=1.0))

    def quantile(self, uniform: Float64[Array, ""]) -> Float64[Array, ""]:
        """((alpha - 1) / alpha) (1 - u)^(-1 / alpha)."""
        return (self.alpha - 1) / self.alpha * (1 - uniform) ** (-1 / self.alpha)


@register("bernoulli_outage")
@dataclasses.dataclass(frozen=True)
class BernoulliOutage(Noise):
    """With a probability in [0, 1) a gradient takes `slowdown` > 0 times as long, scaled to mean 1."""

    probability: float
    slowdown: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "probability", within("probability", self.probability, "[0, 1)"))
        object.__setattr__(self, "slowdown", positive("slowdown", self.slowdown))

    def quantile(self, uniform: Float64[Array, ""]) -> Float64[Array, ""]:
        """`slowdown` below the probability and 1 above it, over the mean of the two."""
        mean = 1 - self.probability + self.probability * self.slowdown
        return jnp.where(uniform < self.probability, self.slowdown, 1.0) / mean


# The distributions by their registered names.
exponential, lognormal, gamma, pareto = Exponential, Lognormal, Gamma, Pareto
bernoulli_outage = BernoulliOutage
