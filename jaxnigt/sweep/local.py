"""The executor that needs nothing else: units one after another, each on all devices of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from jaxnigt.checks import Stopped
from jaxnigt.sweep import work
from jaxnigt.sweep.progress import Board
from jaxnigt.sweep.unit import Unit

Finished = tuple[Unit, "xr.Dataset | BaseException"]
"""A unit with what came of it."""


class Settings(NamedTuple):
    """How units are run.

    Attributes:
        snapshots: folder of the snapshots of all units.
        every: seconds between snapshots.
        stopping: asked at safe points whether to stop.
        board: where progress is shown.
    """

    snapshots: Path
    every: float
    stopping: Callable[[], bool]
    board: Board


def run(units: Sequence[Unit], settings: Settings) -> Iterator[Finished]:
    """Train units in this process; ends early where it is to stop."""
    for unit in units:
        if settings.stopping():
            return
        settings.board.start(unit)
        try:
            yield (
                unit,
                work.compute(
                    unit,
                    snapshots=settings.snapshots / unit.key,
                    every=settings.every,
                    stopping=settings.stopping,
                    progress=lambda done, _, best, unit=unit: settings.board.update(unit, done, best),
                ),
            )
        except Stopped as stopped:
            settings.board.stop(unit, stopped.done)
            return
        except Exception as error:  # a unit that fails must not take the others along
            yield unit, error
