"""Random constants, profiles and accuracies, over many orders of magnitude."""

import numpy as np

import jaxnigt as jn
from jaxnigt.constants import Constants


def powers(rng, low, high, shape):
    return 10 ** rng.uniform(low, high, shape)


def constants(rng, shape, truncated=False):
    """L_g, L_h, sigma, delta over six to eight orders of magnitude; a tenth without noise."""
    sigma = powers(rng, -3, 3, shape) * (rng.random(shape) > 0.1)
    extra = {}
    if truncated:
        extra = {
            "gamma": rng.uniform(0, 0.99, shape),
            "D_g": powers(rng, -2, 3, shape),
            "D_h": powers(rng, -2, 3, shape),
        }
    L_g, L_h, delta = powers(rng, -2, 4, shape), powers(rng, -4, 4, shape), powers(rng, -3, 3, shape)
    return Constants(L_g, L_h, sigma, delta, **extra)


def profiles(rng, count, n, deviation=1.5):
    return jn.Profile(np.exp(rng.normal(0.0, deviation, (count, n))))


def slope(bound, epsilon):
    """Exponents d log time / d log epsilon between neighbouring accuracies."""
    return np.diff(np.log(bound)) / np.diff(np.log(epsilon))
