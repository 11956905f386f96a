"""How a chain is scaled so that J has given constants and is hard for a given accuracy."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int

from jaxnigt.checks import InputError
from jaxnigt.problems.hard_functions import CURVATURE, DROP, SMOOTHNESS, STEEPEST


def positive(name: str, value: float) -> float:
    """Check that an argument is a finite number above 0."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name}: got {value!r}, finite numbers above 0 are allowed.")
    return float(value)


def width(slope: float, L_g: float, L_h: float | None) -> float:
    """The least b for which slope b F_T(x / b) has constants L_g and L_h.

    Its gradient is 152 slope / b and its Hessian 2070 slope / b^2 Lipschitz.

    Args:
        slope: the norm that the gradient is above while a coordinate is undiscovered.
        L_g: Lipschitz constant of the gradient.
        L_h: of the Hessian; None or inf where any will do.
    """
    L_h = math.inf if L_h is None else L_h
    if not L_h > 0:
        raise InputError(f"L_h: got {L_h!r}, numbers above 0 are allowed, inf and None among them.")
    return max(SMOOTHNESS * slope / positive("L_g", L_g), math.sqrt(CURVATURE * slope / L_h))


def curvature(slope: float, width: float, L_h: float | None) -> float:
    """L_h, and where any would do the Lipschitz constant of the Hessian of slope b F_T(x / b)."""
    own = CURVATURE * slope / width**2
    return own if L_h is None or math.isinf(L_h) else L_h


def lengths(
    delta: Float[np.ndarray, " C"], height: Float[np.ndarray, " C"], epsilon: float
) -> Int[np.ndarray, " C"]:
    """How many coordinates chains may have, given how far f may fall along each."""
    found = np.floor(delta / (DROP * height)).astype(int)
    if (found < 1).any():
        raise InputError(
            f"epsilon: got {epsilon!r}, which no coordinate is left for; smaller ones are allowed, or a "
            "larger delta, L_g or L_h."
        )
    return found


def chance(slope: float, sigma: float) -> float:
    """p for which a gradient whose coordinates are at most 23 slope has variance sigma^2 at most.

    That variance is (23 slope)^2 (1 - p) / p, which is below (23 slope)^2 / p.
    """
    if not (math.isfinite(sigma) and sigma >= 0):
        raise InputError(f"sigma: got {sigma!r}, finite numbers of at least 0 are allowed.")
    return 1.0 if sigma == 0 else min(1.0, (STEEPEST * slope / sigma) ** 2)
