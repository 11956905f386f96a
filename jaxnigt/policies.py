"""Stochastic policies as flax modules."""

from __future__ import annotations

import math
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Gaussian(NamedTuple):
    """A diagonal normal distribution over the pre-squashed action u.

    Attributes:
        mean: f32[..., a].
        std: f32[..., a], positive.
    """

    mean: Float[Array, "*batch a"]
    std: Float[Array, "*batch a"]

    def sample(self, noise: Float[Array, "*batch a"]) -> Float[Array, "*batch a"]:
        """The u that standard normal draws make."""
        return self.mean + self.std * noise

    def log_density(self, u: Float[Array, "*batch a"]) -> Float[Array, "*batch"]:
        """log of the density of u, summed over its entries."""
        z = (u - self.mean) / self.std
        return (-0.5 * z**2 - jnp.log(self.std) - 0.5 * math.log(2 * math.pi)).sum(axis=-1)


class GaussianPolicy(nn.Module):
    """Tanh layers with a head for the mean and one for the softplus standard deviation.

    The experiments of arXiv 2509.24305 use two layers of 64 and act with scale * tanh(u).

    Attributes:
        action_size: a, entries of an action.
        hidden: width of each hidden layer.
        min_std: added to the standard deviation, so that the log-density stays finite in float32
            when a policy becomes nearly deterministic.
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
