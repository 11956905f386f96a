"""Profiles: how fast each worker computes and communicates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError, as_numbers
from jaxnigt.profiles.noise import Noise, as_noise
from jaxnigt.registry import declare

_ALLOWED = "numbers of seconds"
_LEAST, _MOST = 1e-300, 1e300
"""Seconds that the clock can multiply and add without leaving the range of float64."""

Power = tuple[Float64[np.ndarray, " B"], Float64[np.ndarray, "*profiles B+1 n"]]


@dataclasses.dataclass(frozen=True, eq=False)
class Profile:
    """Computation and communication times of n workers, for a batch of profiles.

    Args:
        compute: f64[..., n], mean seconds per gradient; `inf` is a dead worker.
        comm: f64[..., n] or anything that broadcasts with it, seconds of one whole exchange with
            the server, both ways. The number of a dead worker is never used.
        noise: a distribution of mean 1 that multiplies the time of each gradient: one of
            `jaxnigt.profiles.noise`, its registered name, or None for the same time every time.
        power: (breaks f[B] in seconds, values f[..., B+1, n]), how fast each worker is relative to
            `compute` before, between and after the breaks: 1 is nominal, 0 an outage. Worker i
            finishes floor(integral of power_i / compute_i over [s, t]) gradients in [s, t]
            (the universal computation model, Tyurin, arXiv 2408.04929).

    Raises:
        InputError: a time that is not positive, a profile with no live worker, breaks that do not
            increase, a negative power, or shapes that do not broadcast.

    Example:
        >>> Profile([1.0, 2.0, float("inf")], comm=0.5).comm
        array([0.5, 0.5, 0.5])
    """

    compute: Float64[np.ndarray, "*profiles n"]
    comm: Float64[np.ndarray, "*profiles n"]
    noise: Noise | None
    power: Power | None

    def __init__(
        self,
        compute: ArrayLike,
        comm: ArrayLike = 0.0,
        noise: Noise | str | None = None,
        power: tuple[ArrayLike, ArrayLike] | None = None,
    ):
        compute = as_numbers("compute", compute, _ALLOWED)
        comm = as_numbers("comm", comm, _ALLOWED)
        if compute.ndim == 0 or compute.shape[-1] == 0:
            raise InputError(
                f"compute: got shape {compute.shape}, the last axis must hold at least one worker."
            )
        try:
            compute, comm = np.broadcast_arrays(compute, comm)
        except ValueError:
            raise InputError(
                f"comm: shape {comm.shape} does not broadcast with compute's {compute.shape}."
            ) from None
        _check_times(compute, comm)
        object.__setattr__(self, "compute", compute)
        object.__setattr__(self, "comm", comm)
        object.__setattr__(self, "noise", None if noise is None else as_noise(noise))
        object.__setattr__(self, "power", None if power is None else _power(power, compute))

    @property
    def n(self) -> int:
        """Number of workers."""
        return self.compute.shape[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the batch of profiles, () for a single one."""
        return self.compute.shape[:-1]

    @property
    def fixed(self) -> bool:
        """Whether every gradient of a worker takes the same time."""
        return self.noise is None and self.power is None

    def replace(self, **changes: Any) -> Profile:
        """The same profiles with some of compute, comm, noise and power changed."""
        kept = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return Profile(**kept | changes)

    def reshape(self, *shape: int) -> Profile:
        """The same profiles with other leading axes."""
        return self._changed(lambda x, own: x.reshape(*shape, *x.shape[x.ndim - own :]))

    def __getitem__(self, index: Any) -> Profile:
        """Some of the profiles of a batch, by NumPy's indexing of the leading axes."""
        if self.compute.ndim == 1:
            raise IndexError("a single profile has no leading axes to index.")
        index = index if isinstance(index, tuple) else (index,)
        return self._changed(lambda x, own: x[(*index, ..., *[slice(None)] * own)])

    def _changed(self, change: Callable[[np.ndarray, int], np.ndarray]) -> Profile:
        """Profiles with other leading axes; `change` is told how many axes are not leading."""
        power = None if self.power is None else (self.power[0], change(self.power[1], 2))
        return Profile(change(self.compute, 1), change(self.comm, 1), self.noise, power)

    def __repr__(self) -> str:
        noise = f", noise={self.noise}" if self.noise else ""
        power = f", power with {len(self.power[0])} breaks" if self.power else ""
        return f"Profile(shape={self.shape}, n={self.n}{noise}{power})"


declare("profile", Profile)


def _power(power: tuple[ArrayLike, ArrayLike], compute: np.ndarray) -> Power:
    if not isinstance(power, tuple | list) or len(power) != 2:
        raise InputError("power: two arrays are allowed, its breaks and its values.")
    breaks, values = (as_numbers("power", x, _ALLOWED) for x in power)
    good = breaks.ndim == 1 and np.isfinite(breaks).all() and (np.diff(breaks, prepend=0.0) > 0).all()
    if not good:
        raise InputError("power: breaks must be finite seconds above 0 that increase.")
    if not ((values >= 0) & np.isfinite(values)).all():
        raise InputError("power: values must be finite and at least 0.")
    shape = (*compute.shape[:-1], len(breaks) + 1, compute.shape[-1])
    try:
        return breaks, np.broadcast_to(values, shape)
    except ValueError:
        raise InputError(
            f"power: values of shape {values.shape} do not broadcast to {shape}, one row a piece."
        ) from None


def _check_times(compute: np.ndarray, comm: np.ndarray) -> None:
    if not (compute > 0).all():  # a NaN fails this test too
        raise InputError(
            f"compute: got {compute[~(compute > 0)][0]}, times must be above 0 seconds (inf for a "
            "dead worker)."
        )
    live = np.isfinite(compute)
    for name, times, least in (("compute", compute[live], _LEAST), ("comm", comm[live], 0.0)):
        far = (times < least) | (times > _MOST)
        if far.any() and times[far][0] >= 0 and np.isfinite(times[far][0]):
            raise InputError(
                f"{name}: got {times[far][0]:g}, times from {least:g} to {_MOST:g} seconds are allowed."
            )
    if not live.any(axis=-1).all():
        raise InputError("compute: a profile has no live worker, at least one finite time is needed.")
    if not ((comm[live] >= 0) & np.isfinite(comm[live])).all():
        raise InputError("comm: times of live workers must be finite and at least 0 seconds.")
