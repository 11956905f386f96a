"""The hard instance for exact gradients and Lipschitz Hessians."""

from __future__ import annotations

import math

import numpy as np

from jaxnigt.checks import InputError
from jaxnigt.constants import Constants
from jaxnigt.problems.chain import Chain
from jaxnigt.problems.hard_chains import QuadraticChain
from jaxnigt.problems.hard_functions import UPSILON_CURVATURE, UPSILON_DROP, UPSILON_THIRD
from jaxnigt.problems.hard_scaling import positive


def chain_deterministic(
    *, delta: float = 15.0, L_g: float = 184.0, L_h: float = 31.41, epsilon: float = 0.0444
) -> Chain:
    """A chain on which exact gradients find one coordinate at a time and |grad J| stays large.

    J(x) = -l s^2 f(x / s) for the quadratic chain f of `QuadraticChain` on T + 1 coordinates, with
    l = L_g / 184, mu = (4 epsilon L_h / (314.1 l^2))^(4/7), s = 314.1 l mu / L_h and T as large as
    delta allows. While coordinates T and T + 1 are 0, |grad J| >= epsilon, so that at least T gradients
    have to be computed one after another: of the order of delta L_g^(3/7) L_h^(2/7) epsilon^(-12/7). The
    default is f itself, up to rounding, with mu = 0.1.

    Args:
        delta: J* - J(0) is at most this.
        L_g: Lipschitz constant of the gradient.
        L_h: of the Hessian.
        epsilon: accuracy on |grad J|.

    Raises:
        InputError: a number out of range, or an accuracy that is too coarse for the others.

    References:
        Carmon, Duchi, Hinder, Sidford, arXiv 1711.00841, for the function and the bound
        mu^(3/4) / 4 on its gradient; the constants 184, 314.1 and 7.35 are derived.

    Example:
        >>> chain_deterministic().levels
        array([20], dtype=int32)
    """
    positive("L_h", L_h)
    scale = positive("L_g", L_g) / (4 + UPSILON_CURVATURE)
    mu = (4 * positive("epsilon", epsilon) * L_h / (UPSILON_THIRD * scale**2)) ** (4 / 7)
    width = UPSILON_THIRD * scale * mu / L_h
    height = scale * width**2
    room = (positive("delta", delta) / height - math.sqrt(mu) / 2) / (UPSILON_DROP * mu)
    if mu > 1 or room < 1:
        raise InputError(
            f"epsilon: got {epsilon!r}, which no chain is hard for; smaller ones are allowed, or a "
            "larger delta or L_g."
        )
    length = math.floor(room)
    links = np.append(np.ones(length), 0.0)
    scales = (np.array([each]) for each in (height, width, mu))
    function = QuadraticChain(links, *scales)  # pyright: ignore[reportArgumentType]
    constants = Constants(L_g, L_h, 0.0, delta)
    return Chain(function, np.ones(1), np.array([length]), constants, epsilon)
