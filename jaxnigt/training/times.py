"""Times of evaluations, and when values first reach a threshold."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError

SECONDS = {"units": "s"}


def first_reached(values: xr.DataArray, times: xr.DataArray, threshold: float) -> xr.DataArray:
    """Seconds at which values first reach a threshold; inf if never, NaN where there are none."""
    reached = values >= threshold
    first = times.where(reached, np.inf).min("evaluation", skipna=False)
    dims = [d for d in (*times.dims, *values.dims) if d in first.dims]
    attrs = SECONDS | {"long_name": "time at which J first reaches the threshold"}
    there = values.notnull().any("evaluation")
    return first.where(there).transpose(*dict.fromkeys(dims)).assign_attrs(attrs)


def time_to(values: ArrayLike, times: ArrayLike, threshold: ArrayLike) -> Float[np.ndarray, "..."]:
    """Seconds at which values first reach a threshold, inf where they never do.

    `Trace.time_to` does the same with labelled axes.

    Args:
        values: f[..., E], for instance `trace.objective`.
        times: f[..., E], seconds of the same points; leading axes broadcast with those of values.
        threshold: f[...], one or one for each series.

    Returns:
        f64[...], the leading axes broadcast together.

    Raises:
        InputError: series of different length, or leading axes that do not broadcast.

    Example:
        >>> float(time_to([0.0, 2.0, 1.0, 3.0], [0.0, 0.5, 1.0, 1.5], 1.5))
        0.5
    """
    values, times = np.asarray(values), np.asarray(times, np.float64)
    if not values.ndim or not times.ndim or values.shape[-1] != times.shape[-1]:
        raise InputError(
            f"times: got shape {times.shape} for values {values.shape}, equal lengths are allowed."
        )
    reached = values >= np.asarray(threshold)[..., None]
    first = reached.argmax(axis=-1)[..., None]
    try:
        shape = np.broadcast_shapes(first.shape[:-1], times.shape[:-1])
    except ValueError:
        raise InputError(
            f"times: leading axes {times.shape[:-1]} do not broadcast with {first.shape[:-1]}."
        ) from None
    times = np.broadcast_to(times, (*shape, times.shape[-1]))
    found = np.take_along_axis(times, np.broadcast_to(first, (*shape, 1)), axis=-1)[..., 0]
    return np.where(reached.any(axis=-1), found, np.inf)


def eval_times(
    end: Float[np.ndarray, "*batch K"], eval_rounds: Int[np.ndarray, " E"]
) -> Float[np.ndarray, "*batch E"]:
    """Seconds at which theta_t exists: the end of round t - 1, and 0 for the initial point.

    Args:
        end: f64[..., K], ends of rounds, as `replay` gives them.
        eval_rounds: i[E], of a trace.

    Example:
        >>> eval_times(np.array([1.0, 2.0, 3.0]), np.array([0, 2]))
        array([0., 2.])
    """
    start = np.concatenate([np.zeros((*end.shape[:-1], 1)), end], axis=-1)
    return start[..., eval_rounds]
