"""Profiles: how fast each worker computes and communicates.

A profile says nothing about what is computed. Any leading axes are a batch of profiles, and every
argument of a family may be an array, whose axes then become those leading axes.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from jaxnigt.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Profile:
    """Computation and communication times of n workers, for a batch of profiles.

    Args:
        compute: f64[..., n], mean seconds per gradient; `inf` is a dead worker.
        comm: f64[..., n] or anything that broadcasts with it, seconds of one whole exchange with
            the server, both ways. What a dead worker has here is never used.

    Raises:
        InputError: a time that is not positive, a profile with no live worker, or shapes that do
            not broadcast.

    Example:
        >>> Profile([1.0, 2.0, float("inf")], comm=0.5).comm
        array([0.5, 0.5, 0.5])
    """

    compute: Float64[np.ndarray, "*profiles n"]
    comm: Float64[np.ndarray, "*profiles n"]

    def __init__(self, compute: ArrayLike, comm: ArrayLike = 0.0):
        compute, comm = _numbers("compute", compute), _numbers("comm", comm)
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

    @property
    def n(self) -> int:
        """Number of workers."""
        return self.compute.shape[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the batch of profiles, () for a single one."""
        return self.compute.shape[:-1]

    def reshape(self, *shape: int) -> Profile:
        """The same profiles with other leading axes."""
        return Profile(self.compute.reshape(*shape, self.n), self.comm.reshape(*shape, self.n))

    def __getitem__(self, index: Any) -> Profile:
        """Some of the profiles of a batch, by NumPy's indexing of the leading axes."""
        if self.compute.ndim == 1:
            raise IndexError("a single profile has no leading axes to index.")
        index = index if isinstance(index, tuple) else (index,)
        return Profile(self.compute[(*index, ..., slice(None))], self.comm[(*index, ..., slice(None))])

    def __repr__(self) -> str:
        return f"Profile(shape={self.shape}, n={self.n})"


def _numbers(name: str, value: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}: got {value!r}, numbers of seconds are allowed.") from None


def _check_times(compute: np.ndarray, comm: np.ndarray) -> None:
    if not (compute > 0).all():  # a NaN fails this test too
        raise InputError(
            f"compute: got {compute[~(compute > 0)][0]}, times must be above 0 seconds (inf for a "
            "dead worker)."
        )
    live = np.isfinite(compute)
    if not live.any(axis=-1).all():
        raise InputError("compute: a profile has no live worker, at least one finite time is needed.")
    used = comm[live]
    if not ((used >= 0) & np.isfinite(used)).all():
        raise InputError("comm: times of live workers must be finite and at least 0 seconds.")


def _worker(n: int) -> Float64[np.ndarray, " n"]:
    if not (isinstance(n, int | np.integer) and n >= 1):
        raise InputError(f"n: got {n!r}, a whole number of workers, at least 1, is allowed.")
    return np.arange(1, n + 1, dtype=np.float64)


def _column(name: str, value: ArrayLike) -> np.ndarray:
    """One number a profile, ready to broadcast against the axis of workers."""
    return _numbers(name, value)[..., None]


def equal(n: int, compute: ArrayLike = 1.0, comm: ArrayLike = 0.0) -> Profile:
    """All workers alike: h_i = compute [s], kappa_i = comm [s]."""
    ones = np.ones_like(_worker(n))
    return Profile(_column("compute", compute) * ones, _column("comm", comm) * ones)


def power_law(
    n: int, exponent: ArrayLike, comm_exponent: ArrayLike = 0.0, comm_scale: ArrayLike = 0.0
) -> Profile:
    """h_i = i^exponent [s] and kappa_i = comm_scale * i^comm_exponent [s], for i = 1..n.

    The experiments of arXiv 2509.24305 use exponent = comm_exponent = 1/2 with comm_scale 1 or
    d^(1/4).

    Example:
        >>> power_law(4, 0.5).compute.round(2)
        array([1.  , 1.41, 1.73, 2.  ])
    """
    i = _worker(n)
    kappa = _column("comm_scale", comm_scale) * i ** _column("comm_exponent", comm_exponent)
    return Profile(i ** _column("exponent", exponent), kappa)


def stragglers(
    n: int, count: int = 1, slowdown: ArrayLike = 10.0, compute: ArrayLike = 1.0, comm: ArrayLike = 0.0
) -> Profile:
    """All alike but the last `count` workers, which are `slowdown` times slower.

    A slowdown of `inf` makes them dead.
    """
    i = _worker(n)
    if not 0 <= count <= n:
        raise InputError(f"count: got {count!r}, 0 to n = {n} stragglers are allowed.")
    slow = np.where(i > n - count, _column("slowdown", slowdown), 1.0)
    return Profile(_column("compute", compute) * slow, _column("comm", comm) * np.ones_like(i))


def from_csv(path: str | Path) -> Profile:
    """Read profiles from a CSV file with a header line.

    Columns `compute` and `comm` (seconds; `inf` in `compute` for a dead worker), one row a worker.
    An optional column `profile` labels rows that belong together: the result then has one leading
    axis with the profiles in their order of appearance, all with the same number of workers.
    Other columns are left alone.

    Raises:
        InputError: a file that cannot be read, a missing column, or a value that is not a number,
            named with its line.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise InputError(f"path: {path} cannot be read as CSV: {reason}.") from None
    missing = [name for name in ("compute", "comm") if name not in columns]
    if missing:
        raise InputError(
            f"{path}: column {missing[0]!r} is missing, the columns compute and comm are needed."
        )
    if not rows:
        raise InputError(f"{path}: there are no rows, one row a worker is needed.")
    groups: dict[str, list[tuple[float, float]]] = {}
    for line, row in enumerate(rows, start=2):
        times = (_cell(path, line, row, "compute"), _cell(path, line, row, "comm"))
        groups.setdefault(row.get("profile") or "", []).append(times)
    if len({len(group) for group in groups.values()}) > 1:
        raise InputError(f"{path}: profiles differ in length, each needs the same number of workers.")
    table = np.array(list(groups.values()))
    table = table if "profile" in columns else table[0]
    try:
        return Profile(table[..., 0], table[..., 1])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _cell(path: Path, line: int, row: dict[str, str | None], column: str) -> float:
    try:
        value = float(row[column] or "")
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise InputError(
            f"{path}: line {line}, column {column!r} holds {row[column]!r}, a number of seconds is "
            "allowed."
        )
    return value
