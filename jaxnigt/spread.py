"""Runs that are trained at once, spread over the devices of a machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxnigt.parallel import Device

_NAME = "runs"


class Split(NamedTuple):
    """Which axis of the runs is cut, and where its parts go.

    Attributes:
        axis: 0 for profiles, 1 for hyperparameters, 2 for seeds.
        mesh: as many devices as parts.
    """

    axis: int
    mesh: Mesh


def split(shape: Sequence[int], devices: Sequence[Device]) -> Split | None:
    """The cut into equal parts that uses most devices; seeds before hyperparameters before profiles.

    Args:
        shape: profiles, hyperparameters, seeds.
        devices: that may be used.

    Returns:
        None where no axis can be cut.
    """
    parts = {axis: _parts(shape[axis], len(devices)) for axis in (2, 1, 0)}
    axis = max(parts, key=parts.__getitem__)
    if parts[axis] == 1:
        return None
    return Split(axis, Mesh(np.asarray(devices[: parts[axis]]), (_NAME,)))


def _parts(size: int, most: int) -> int:
    return max(parts for parts in range(1, most + 1) if size % parts == 0)


def over_devices(
    program: Callable[..., Any],
    cut: Split | None,
    inputs: Sequence[Sequence[int | None]],
    outputs: Sequence[Sequence[int | None]],
) -> Callable[..., Any]:
    """A program that runs on every part of the runs on a device of its own.

    Args:
        program: of some arguments, which gives as many results as `outputs` has entries.
        cut: None leaves it as it is.
        inputs: for each argument, where it has the axes of profiles, hyperparameters and seeds.
        outputs: likewise for each result.
    """
    if cut is None:
        return program

    return jax.shard_map(
        program,
        mesh=cut.mesh,
        in_specs=tuple(_spec(cut, places) for places in inputs),
        out_specs=tuple(_spec(cut, places) for places in outputs),
        check_vma=False,
    )


def sharding(cut: Split, places: Sequence[int | None]) -> NamedSharding:
    """Where the parts of an array are that has the axes of runs at some places."""
    return NamedSharding(cut.mesh, _spec(cut, places))


def _spec(cut: Split, places: Sequence[int | None]) -> PartitionSpec:
    place = places[cut.axis]
    return PartitionSpec() if place is None else PartitionSpec(*[None] * place, _NAME)


ALL = (0, 1, 2)
"""Runs with their axes in front."""

RECORD = (1, 2, 3)
"""Runs behind an axis of rounds."""

LEAVES, SEEDS, SCHEDULES = (None, 0, None), (None, None, 0), (0, None, None)
"""Arrays with one of the axes only, in front."""

NONE = (None, None, None)
