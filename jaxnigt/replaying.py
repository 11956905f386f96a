"""Replay: Trace x Profile -> when each round is over, without training anything again."""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Float, Float64, Key
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError
from jaxnigt.clock import verify
from jaxnigt.methods.collection import Collection
from jaxnigt.profiles import Profile
from jaxnigt.trace import Trace


def replay(
    trace: Trace,
    profile: Profile,
    *,
    key: int | Key[Array, ""] | None = None,
    comm_model: str = "allreduce",
) -> Float64[np.ndarray, "*profiles K"]:
    """Seconds at which each round of a trace is over under each profile.

    Args:
        trace: of a method whose iterates do not depend on the clock.
        profile: times of n workers; leading axes are profiles.
        key: for random times; consumed.
        comm_model: model of the network, as in `jaxnigt.clock`.

    Returns:
        f64[..., K] with the profile's leading axes.

    Raises:
        InputError: a trace whose schedule was part of its training, a profile with the wrong
            number of workers, an unknown communication model, or random times without a key.
        InvariantError: the clock contradicts itself; every result is verified.
    """
    collection = trace.method.collection
    if not trace.replayable or not isinstance(collection, Collection):
        raise InputError(
            f"trace: {trace.method.name} was trained with one schedule and cannot be replayed under "
            "another, only traces with replayable = True can."
        )
    sizes = trace.method.sizes(trace.rounds)
    rounds = collection.rounds(profile, sizes, key=key, comm_model=comm_model)
    verify(rounds, profile)
    return rounds.end


def time_to(values: ArrayLike, times: ArrayLike, threshold: ArrayLike) -> Float[np.ndarray, "..."]:
    """Seconds at which values first reach a threshold, inf where they never do.

    Args:
        values: f[..., E], for instance `trace.objective`.
        times: f[..., E], seconds of the same points; leading axes broadcast with those of values.
        threshold: f[...], one or one for each series.

    Returns:
        f64[...], the leading axes broadcast together.

    Example:
        >>> float(time_to([0.0, 2.0, 1.0, 3.0], [0.0, 0.5, 1.0, 1.5], 1.5))
        0.5
    """
    values, times = np.asarray(values), np.asarray(times, np.float64)
    reached = values >= np.asarray(threshold)[..., None]
    first = reached.argmax(axis=-1)[..., None]
    shape = np.broadcast_shapes(first.shape[:-1], times.shape[:-1])
    times = np.broadcast_to(times, (*shape, times.shape[-1]))
    found = np.take_along_axis(times, np.broadcast_to(first, (*shape, 1)), axis=-1)[..., 0]
    return np.where(reached.any(axis=-1), found, np.inf)
