"""What a clock returns, and how it runs in double precision."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Float64, Int32
from numpy.typing import ArrayLike

from jaxnigt.errors import InputError
from jaxnigt.profiles import Profile


@dataclasses.dataclass(frozen=True, eq=False)
class Rounds:
    """When rounds are over and who contributed to them.

    Attributes:
        end: f64[..., K], seconds at which round k is over, communication included.
        counts: i32, broadcastable to [..., K, n]: gradients of each worker that entered round k.
    """

    end: Float64[np.ndarray, "*profiles K"]
    counts: Int32[np.ndarray, "..."]


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Compute in float64 inside this context only, on hardware that has it.

    TPUs emulate float64 and lose the exact order of events, so the clock runs on the host there.
    """
    device = jax.devices("cpu")[0] if jax.default_backend() == "tpu" else None
    with jax.enable_x64(True), jax.default_device(device):
        yield


def over_profiles(kernel: Callable[..., Any], profile: Profile) -> Any:
    """Call a kernel of compute and comm f64[P, n] with all profiles; NumPy with their leading axes."""
    compute, comm = (x.reshape(-1, profile.n) for x in (profile.compute, profile.comm))

    def to_host(x: jax.Array) -> np.ndarray:
        return np.asarray(x).reshape(*profile.shape, *x.shape[1:])

    return jax.tree.map(to_host, kernel(compute, comm))


def whole(name: str, value: object, least: int = 1) -> int:
    """Check that an argument is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name}: got {value!r}, a whole number of at least {least} is allowed.")
    return int(value)


def per_round(name: str, value: ArrayLike, rounds: int) -> np.ndarray:
    """Check a whole number that may differ from round to round; i64[K]."""
    if np.ndim(value) == 0:
        return np.full(rounds, whole(name, value))
    values = np.asarray(value)
    if values.shape != (rounds,) or values.dtype.kind not in "iu" or (values < 1).any():
        raise InputError(f"{name}: one whole number of at least 1, or one for each of {rounds} rounds.")
    return values.astype(np.int64)
