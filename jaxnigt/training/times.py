"""Times of evaluations, and when values first reach a threshold."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError, as_numbers

SECONDS = {"units": "s"}


def first_reached(values: xr.DataArray, times: xr.DataArray, threshold: float) -> xr.DataArray:
    """Seconds at which values first reach a threshold; inf if never, NaN where there are none."""
    reached = values >= threshold
    first = times.where(reached, np.inf).min("evaluation", skipna=False)
    dims = [d for d in (*times.dims, *values.dims) if d in first.dims]
    attrs = SECONDS | {"long_name": "time at which J first reaches the threshold"}
    there = values.notnull().any("evaluation")
    return first.where(there).transpose(*dict.fromkeys(dims)).assign_attrs(attrs)


def time_to(
    values: ArrayLike | xr.DataArray, times: ArrayLike | xr.DataArray, threshold: ArrayLike
) -> Float[np.ndarray, "..."] | xr.DataArray:
    """Seconds at which values first reach a threshold, inf where they never do.

    `Trace.time_to` does the same with labelled axes, and so does this function where both are labelled.

    Args:
        values: f[..., E], for instance `trace.objective`; or a DataArray with the axis "evaluation".
        times: f[..., E], seconds of the same points, or a DataArray. Leading axes without labels
            broadcast from the right: an axis of length 1 meets every entry of the other's. Where two
            longer ones meet, entry i goes with entry i, and a warning says so.
        threshold: one number, or without labels one for each series of values, f[...].

    Returns:
        f64[...], the leading axes broadcast together; a DataArray for two of them.

    Raises:
        InputError: series of different length, axes that do not fit, or one argument with labels and
            one without.

    Example:
        >>> float(time_to([0.0, 2.0, 1.0, 3.0], [0.0, 0.5, 1.0, 1.5], 1.5))
        0.5
    """
    labelled = [isinstance(x, xr.DataArray) for x in (values, times)]
    if any(labelled):
        return _labelled(values, times, threshold)
    values, times = as_numbers("values", values), as_numbers("times", times)
    threshold = as_numbers("threshold", threshold)
    if not values.ndim or not times.ndim or values.shape[-1] != times.shape[-1]:
        raise InputError(
            f"times: got shape {times.shape} for values {values.shape}, equal lengths are allowed."
        )
    if threshold.shape not in ((), values.shape[:-1]):
        raise InputError(
            f"threshold: got shape {threshold.shape} for values {values.shape}, one number or one for "
            "each series is allowed."
        )
    reached = values >= threshold[..., None]
    first = reached.argmax(axis=-1)[..., None]
    try:
        shape = np.broadcast_shapes(first.shape[:-1], times.shape[:-1])
    except ValueError:
        raise InputError(
            f"times: leading axes {times.shape[:-1]} do not broadcast with {first.shape[:-1]}."
        ) from None
    _warn_of_pairs(values.shape[:-1], times.shape[:-1])
    times = np.broadcast_to(times, (*shape, times.shape[-1]))
    found = np.take_along_axis(times, np.broadcast_to(first, (*shape, 1)), axis=-1)[..., 0]
    return np.where(reached.any(axis=-1), found, np.inf)


def _labelled(values: object, times: object, threshold: ArrayLike) -> xr.DataArray:
    """`time_to` of labelled arrays."""
    for name, array in (("values", values), ("times", times)):
        if not isinstance(array, xr.DataArray) or "evaluation" not in array.dims:
            raise InputError(
                f"{name}: got {type(array).__name__}, a DataArray with the axis evaluation is allowed "
                "beside one with labels."
            )
    assert isinstance(values, xr.DataArray)
    assert isinstance(times, xr.DataArray)
    if any(values.sizes[d] != times.sizes[d] for d in set(values.dims) & set(times.dims)):
        raise InputError(f"times: axes {dict(times.sizes)} do not fit values {dict(values.sizes)}.")
    if np.ndim(threshold):
        raise InputError(f"threshold: got {threshold!r}, one number is allowed for labelled values.")
    return first_reached(values, times, float(np.asarray(threshold)))


def _warn_of_pairs(values: tuple[int, ...], times: tuple[int, ...]) -> None:
    """Say where axes without labels are paired, which may be profiles and seeds by accident."""
    pairs = zip(reversed(values), reversed(times), strict=False)
    if any(one == other > 1 for one, other in pairs):
        warnings.warn(
            f"time_to pairs entry i of values {values} with entry i of times {times}; insert an axis "
            "of length 1, as in times[:, None], where every entry is to meet every other.",
            stacklevel=3,
        )


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
    end, at = as_numbers("end", end), as_numbers("eval_rounds", eval_rounds)
    if not end.ndim:
        raise InputError(f"end: got shape {end.shape}, at least an axis of rounds is needed.")
    if not ((at >= 0) & (at <= end.shape[-1]) & (at == np.floor(at))).all():
        raise InputError(f"eval_rounds: whole numbers from 0 to {end.shape[-1]} are allowed.")
    start = np.concatenate([np.zeros((*end.shape[:-1], 1)), end], axis=-1)
    return start[..., at.astype(int)]
