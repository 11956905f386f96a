"""Stochastic policies as flax modules."""

from __future__ import annotations

import math
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Gaussian(NamedTuple):
    """A diagonal normal distribution over u, of which the action is tanh.

    Attributes:
        mean: f32[..., a].
        std: f32[..., a], positive.

    Example:
        >>> print(Gaussian(jnp.zeros(2), jnp.ones(2)).log_density(jnp.zeros(2)).round(3))
        -1.838
    """

    mean: Float[Array, "*batch a"]
    std: Float[Array, "*batch a"]

    def sample(self, noise: Float[Array, "*batch a"]) -> Float[Array, "*batch a"]:
        """A sample of u from standard normal noise."""
        return self.mean + self.std * noise

    def log_density(self, u: Float[Array, "*batch a"]) -> Float[Array, "*batch"]:
        """The logarithm of the density of u."""
        z = (u - self.mean) / self.std
        return (-0.5 * z**2 - jnp.log(self.std) - 0.5 * math.log(2 * math.pi)).sum(axis=-1)


class GaussianPolicy(nn.Module):
    """Tanh layers with a head for the mean and one for a softplus standard deviation.

    The experiments of arXiv 2509.24305 use two layers of 64 and act with scale * tanh(u).

    Attributes:
        action_size: a, the number of entries of an action.
        hidden: the width of each hidden layer.
        min_std: added to the standard deviation. It keeps the log-density finite in float32 when a
            policy becomes nearly deterministic.
    """

    action_size: int
    hidden: tuple[int, ...] = (64, 64)
    min_std: float = 1e-3

    @nn.compact
    def __call__(self, observation: Float[Array, "*batch o"]) -> Gaussian:
        """The distribution of u at an observation."""
        x = observation
        for i, width in enumerate(self.hidden):
            x = nn.tanh(nn.Dense(width, name=f"hidden_{i}")(x))
        mean = nn.Dense(self.action_size, name="mean")(x)
        std = nn.softplus(nn.Dense(self.action_size, name="std")(x)) + self.min_std
        return Gaussian(mean, std)
