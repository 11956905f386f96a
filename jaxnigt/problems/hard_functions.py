"""The scalar functions that chains are made of, their derivatives by formula, and their constants.

The zero-chain F_T of Carmon, Duchi, Hinder and Sidford (arXiv 1710.11606) is built from a bump Psi and a
slope Phi, the chain of their second paper (arXiv 1711.00841) from Upsilon. No formula here divides by
what can vanish, so that neither values nor derivatives ever are NaN or infinite at finite points.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

DROP = 12.0
"""(F_T(0) - inf F_T) / T is at most this (arXiv 1912.02365, Lemma 2)."""
SMOOTHNESS = 152.0
"""The gradient of F_T is this Lipschitz (same lemma); Gershgorin's circles give 151.26 (derived)."""
CURVATURE = 2070.0
"""The Hessian of F_T is this Lipschitz (derived).

The third derivative along v with |v| = 1 is sum_i A_i v_i^3 + 3 B_i v_{i-1}^2 v_i + 3 C_i v_{i-1} v_i^2,
whose three sums are at most sup|Psi'''| sup Phi + sup Psi sup|Phi'''|, sup|Psi''| sup Phi' and
sup Psi' sup|Phi''| by Hoelder's inequality.
"""
STEEPEST = 23.0
"""No coordinate of the gradient of F_T is larger (same lemma)."""
FRONTIER = math.exp(1.5)
"""No coordinate beyond the last discovered one has a larger entry, sup Psi sup Phi' (derived).

Psi' is 0 in a coordinate that is undiscovered. With this in place of 23 a chain could be 26 times as
noisy; the literature's constant is kept.
"""
UPSILON_CURVATURE = 180.0
"""sup |Upsilon''| (derived)."""
UPSILON_THIRD = 314.1
"""sup |Upsilon'''|, rounded up (derived)."""
UPSILON_DROP = 7.35
"""Upsilon(0), rounded up (derived); the minimum is 0, at 1."""

_FLAT = 0.03
"""exp(1 - 1/u^2) is 0 in float64 for u up to this, so that nothing is lost by stopping there."""


def psi(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Psi(x) = exp(1 - 1 / (2x - 1)^2) above 1/2, 0 below."""
    u = jnp.maximum(2 * x - 1, _FLAT)
    return jnp.where(u > _FLAT, jnp.exp(1 - 1 / u**2), jnp.zeros_like(x))


def psi_slope(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Psi'(x) = 4 Psi(x) / (2x - 1)^3."""
    u = jnp.maximum(2 * x - 1, _FLAT)
    return psi(x) * 4 / u**3


def phi(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Phi(x) = sqrt(e) times the integral of exp(-t^2 / 2) up to x."""
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
