"""Checks of arguments that many functions share."""

from __future__ import annotations

import numpy as np

from jaxnigt.errors import InputError


def whole(name: str, value: object, least: int = 1) -> int:
    """Check that an argument is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name}: got {value!r}, a whole number of at least {least} is allowed.")
    return int(value)


def discount_factor(value: float) -> float:
    """Check gamma."""
    if not 0 < value <= 1:
        raise InputError(f"discount: got {value!r}, numbers in (0, 1] are allowed.")
    return float(value)
