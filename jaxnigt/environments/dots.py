"""Products of short vectors, in the arithmetic around them in place of calls of a library."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxnigt.environments.swapped import swapped

_any = jnp.dot

_SHORT = 4
"""Entries: quaternions have the most."""


@contextlib.contextmanager
def by_term() -> Iterator[None]:
    """While physics is traced for a CPU, have its dot products of short vectors written out.

    XLA hands a batch of dot products to a library, whatever their length: a call each, for three
    numbers of a point in space, and what comes before and after cannot be one kernel. Results agree to
    rounding.
    """
    if jax.default_backend() != "cpu":
        yield
        return
    with swapped(jnp, dot=_dot):
        yield


def _dot(a: Any, b: Any, **kwargs: Any) -> Array:
    ranks = jnp.ndim(a), jnp.ndim(b)
    if kwargs or not set(ranks) <= {1, 2} or not a.shape[-1] == b.shape[0] in range(1, _SHORT + 1):
        return _any(a, b, **kwargs)
    # The terms' axis first; that of a's rows and that of b's columns, if both, after it.
    left, right = (a.T[:, :, None], b[:, None]) if ranks == (2, 2) else (a.T, b)
    total = left[0] * right[0]
    for k in range(1, len(left)):
        total = total + left[k] * right[k]
    return total
