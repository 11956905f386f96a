"""Hard instances that no method of gradients gets through fast: how long they are, and how noisy.

The chain of Carmon, Duchi, Hinder and Sidford (arXiv 1710.11606) shows one new coordinate at a time,
and its gradient is longer than 1 until the last one is found. With the oracle of Arjevani et al.
(arXiv 1912.02365) it takes a geometric number of gradients to see the next coordinate.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from jaxnigt.bounds.question import Column, Question

CHAIN_SMOOTHNESS = 152.0
"""Lipschitz constant of the chain's gradient (arXiv 1912.02365)."""

CHAIN_HESSIAN = 2070.0
"""Lipschitz constant of the chain's Hessian (derived: 2069.7 from the suprema of its parts)."""

CHAIN_GRADIENT = 23.0
"""Largest entry of the chain's gradient (arXiv 1912.02365)."""

CHAIN_DROP = 12.0
"""How far a chain of T coordinates falls from its start, divided by T (arXiv 1912.02365)."""

SECOND_SMOOTHNESS = 184.0
"""Lipschitz constant of the second instance's gradient for mu <= 1 (derived: 4 + 180 mu)."""

SECOND_HESSIAN = 314.1
"""Lipschitz constant of the second instance's Hessian, divided by mu (derived)."""

SECOND_DROP = 7.35
"""How far the second instance falls for each coordinate, divided by mu (derived)."""


def chain_scale(q: Question, smooth: str) -> tuple[Column, np.ndarray]:
    """Length scale b of f = 2 epsilon b F(x / b), and whether the Hessian decides it (derived).

    b = max(2 epsilon l_1 / L_g, sqrt(2 epsilon l_2 / L_h)) makes f smooth with L_g and L_h, with
    gradients longer than 2 epsilon; with smooth "gradient" the first alone.
    """
    by_gradient = 2 * q.epsilon * CHAIN_SMOOTHNESS / q.constants.L_g
    if smooth == "gradient":
        return by_gradient, np.zeros_like(by_gradient, bool)
    with np.errstate(divide="ignore"):
        by_hessian = np.sqrt(2 * q.epsilon * CHAIN_HESSIAN / q.constants.L_h)
    return np.maximum(by_gradient, by_hessian), by_hessian > by_gradient


def chain_length(q: Question, smooth: str) -> Column:
    """T = floor(delta / (12 * 2 epsilon b)), 0 where the instance is not hard at all (derived)."""
    scale, _ = chain_scale(q, smooth)
    return np.floor(q.constants.delta / (CHAIN_DROP * 2 * q.epsilon * scale))


def attempts(q: Question, factor: np.ndarray | float = 1.0) -> Float64[np.ndarray, "... c"]:
    """1/p = max(1, sigma^2 / (46 epsilon factor)^2), gradients until one shows a new coordinate.

    Args:
        q: the question.
        factor: how many times larger than f a worker's own objective is, one number or f[c].
    """
    return np.maximum(1, q.variance / (2 * CHAIN_GRADIENT * factor) ** 2)


def second_length(q: Question) -> Column:
    """Coordinates of the deterministic instance with a Lipschitz Hessian; 0 where it is not defined.

    The second hard instance of Carmon, Duchi, Hinder and Sidford (arXiv 1711.00841) with r = 1:
    2.6e-4 delta L_g^(3/7) L_h^(2/7) epsilon^(-12/7) for small epsilon. Scaling and constants are
    derived; that its gradient is at least mu^(3/4) / 4 until the last coordinates are found is taken
    from there, and was checked numerically only.
    """
    c = q.constants
    scale = c.L_g / SECOND_SMOOTHNESS
    mu = (4 * q.epsilon * c.L_h / (SECOND_HESSIAN * scale**2)) ** (4 / 7)
    with np.errstate(divide="ignore", invalid="ignore"):
        length = SECOND_HESSIAN * scale * mu / c.L_h
        drop = c.delta / (scale * length**2) - np.sqrt(mu) / 2
        coordinates = np.floor(drop / (SECOND_DROP * mu))
    return np.where((mu > 0) & (mu <= 1) & (coordinates > 0), coordinates, 0.0)
