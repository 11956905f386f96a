"""The scalar functions that chains are made of, with derivatives by formula.

Psi and Phi make the zero-chain F_T of Carmon, Duchi, Hinder and Sidford (arXiv 1710.11606). Upsilon
makes the quadratic chain of their second paper (arXiv 1711.00841). No formula divides by something that
can vanish, so that values and derivatives are finite at every finite point.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_FLAT = 0.03
"""exp(1 - 1/u^2) is 0 in float64 for all u up to this, so that nothing is lost by clipping u there."""


def psi(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Psi(x) = exp(1 - 1 / (2x - 1)^2) above 1/2, and 0 below."""
    u = jnp.maximum(2 * x - 1, _FLAT)
    return jnp.where(u > _FLAT, jnp.exp(1 - 1 / u**2), jnp.zeros_like(x))


def psi_slope(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Psi'(x) = 4 Psi(x) / (2x - 1)^3."""
    u = jnp.maximum(2 * x - 1, _FLAT)
    return psi(x) * 4 / u**3


def phi(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Phi(x), the integral of sqrt(e) exp(-t^2 / 2) from minus infinity to x."""
    return math.sqrt(math.pi * math.e / 2) * jax.scipy.special.erfc(-x / math.sqrt(2))


def phi_slope(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Phi'(x) = exp((1 - x^2) / 2)."""
    return jnp.exp((1 - x**2) / 2)


def upsilon(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Upsilon(x), the integral of 120 t^2 (t - 1) / (1 + t^2) from 1 to x, in closed form (derived)."""
    return 120 * ((x - 1) ** 2 / 2 - jnp.log((1 + x**2) / 2) / 2 + jnp.arctan(x) - math.pi / 4)


def upsilon_slope(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Upsilon'(x) = 120 x^2 (x - 1) / (1 + x^2)."""
    return 120 * x**2 * (x - 1) / (1 + x**2)
