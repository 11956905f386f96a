"""What of a unit is stored already: adding a stepsize, a seed or a profile trains only what is new.

A unit is a box of runs: its profiles x seeds x hyperparameters. Units of one family differ in their
boxes alone, so that a run which one of them holds need not be trained for another.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from jaxtyping import Bool

from jaxnigt import files
from jaxnigt.profiles import Profile
from jaxnigt.sweep import store
from jaxnigt.sweep.build import leaves

if TYPE_CHECKING:
    from jaxnigt.sweep.plan import Unit

Axes = tuple[list[Any], ...]
"""Profiles by their digests, seeds, and the values of each hyperparameter."""

Known = dict[str, list[Axes]]
"""Boxes of what is stored, by family."""

ATTRIBUTE = "box"


def digest(profile: Profile) -> str:
    """Of everything that decides when workers are ready."""
    found = hashlib.sha256(str(profile.noise).encode())
    for array in (profile.compute, profile.comm, *(profile.power or ())):
        found.update(str(array.shape).encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def axes(unit: Unit) -> Axes:
    """The box of a unit. Profiles with random times are one entry, as draws go by their place."""
    profiles = [""]
    if unit.batch is not None:
        one_by_one = unit.batch.profile.noise is None
        each = unit.batch.profile if one_by_one else [unit.batch.profile]
        found = [digest(each[i]) for i in range(len(unit.batch.labels) if one_by_one else 1)]
        # Equal profiles under several labels are told apart by their order.
        profiles = [f"{one}.{found[:i].count(one)}" for i, one in enumerate(found)]
    return profiles, list(unit.seeds), *leaves(unit.method).values()


def described(unit: Unit) -> str:
    """What a file says of the unit that it holds, as JSON."""
    return json.dumps({"family": unit.family, "axes": axes(unit)})


def known(folder: Path) -> Known:
    """The boxes of all units that are whole in a sweep's folder."""
    found: Known = {}
    for path in sorted((folder / store.UNITS).glob("*.nc")):
        try:
            if store.fault(path) is None:
                files.check_netcdf(path)
                with h5py.File(path) as file:
                    box = files.of_json(str(file.attrs[ATTRIBUTE]))
                found.setdefault(box["family"], []).append(_axes(box["axes"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # what cannot be read is no unit of ours, and is trained
    return found


def _axes(written: Any) -> Axes:
    """The axes of a box as they were written; raises TypeError for anything else."""
    profiles, seeds, *values = written
    for axis, kinds in ((profiles, str), (seeds, int), *((x, int | float) for x in values)):
        if not isinstance(axis, list) or not all(isinstance(x, kinds) for x in axis):
            raise TypeError
    return profiles, seeds, *values


def part(unit: Unit, box: Sequence[Sequence[int]]) -> Unit:
    """Some profiles, seeds and values of each hyperparameter of a unit, by their places."""
    profiles, seeds, *others = (list(places) for places in box)
    batch, totals = unit.batch, unit.totals
    if batch is not None and batch.profile.noise is None:
        labels = tuple(batch.labels[i] for i in profiles)
        batch = batch._replace(labels=labels, profile=batch.profile[profiles])
        totals = None if totals is None else totals[profiles]
    values = leaves(unit.method)
    method = {name: [v[i] for i in own] for (name, v), own in zip(values.items(), others, strict=True)}
    return dataclasses.replace(
        unit,
        batch=batch,
        totals=totals,
        seeds=tuple(unit.seeds[i] for i in seeds),
        method=unit.method | method,
    )


def stored(unit: Unit, known: Known) -> tuple[list[Unit], Bool[np.ndarray, "..."]]:
    """Units that hold runs of a unit, no run twice, and which runs none of them holds.

    The mask has the axes of the unit's box.
    """
    wanted = axes(unit)
    missing = np.ones([len(axis) for axis in wanted], bool)
    found = []
    for box in sorted(known.get(unit.family, []), key=lambda box: -np.prod([len(a) for a in box])):
        if len(box) != len(wanted) or not set(box[0]) <= set(wanted[0]):
            continue
        shared = np.ix_(
            *([i for i, x in enumerate(a) if x in own] for a, own in zip(wanted, box, strict=True))
        )
        if missing[shared].size and missing[shared].all():
            missing[shared] = False
            found.append(_rebuilt(unit, box))
    return found, missing


def _rebuilt(unit: Unit, box: Axes) -> Unit:
    """The unit that a box of the same family is of."""
    profiles, seeds, *values = box
    names = list(leaves(unit.method))
    wanted = axes(unit)
    whole = [[wanted[0].index(profile) for profile in profiles], range(len(unit.seeds))]
    whole += [range(len(v)) for v in wanted[2:]]
    own = part(unit, whole)
    method = unit.method | dict(zip(names, values, strict=True))
    return dataclasses.replace(own, seeds=tuple(seeds), method=method)


def boxes(missing: Bool[np.ndarray, "..."]) -> Iterator[tuple[list[int], ...]]:
    """Boxes that cover a mask, none of them twice: the places along each axis."""
    if missing.ndim == 1:
        if missing.any():
            yield (np.flatnonzero(missing).tolist(),)
        return
    rows: dict[bytes, list[int]] = {}
    for place, row in enumerate(missing):
        rows.setdefault(row.tobytes(), []).append(place)
    for places in rows.values():
        for rest in boxes(missing[places[0]]):
            yield places, *rest
