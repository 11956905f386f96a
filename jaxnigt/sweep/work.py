"""What a unit is for an executor: a training in this process, which can be stopped at safe points."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from jaxnigt.checks import Stopped
from jaxnigt.registry import make
from jaxnigt.sweep import build, cost
from jaxnigt.sweep.definition import run_module
from jaxnigt.sweep.plan import Unit
from jaxnigt.sweep.screen import Board
from jaxnigt.training.loop import Progress, train
from jaxnigt.training.runs import Device
from jaxnigt.training.snapshots import Snapshots

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


def run_here(units: Sequence[Unit], settings: Settings) -> Iterator[Finished]:
    """Train units in this process; ends early where it is to stop."""
    for unit in units:
        if settings.stopping():
            return
        settings.board.start(unit)
        try:
            yield (
                unit,
                compute(
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


def compute(
    unit: Unit,
    *,
    snapshots: Path | None = None,
    every: float = 120.0,
    stopping: Callable[[], bool] = lambda: False,
    progress: Progress | None = None,
    devices: Sequence[Device] | None = None,
) -> xr.Dataset:
    """Train a unit, from plain tables to a data set. It can be done in any process.

    Args:
        unit: of a plan.
        snapshots: folder for snapshots of this unit.
        every: seconds between them.
        stopping: asked after every `eval_every` rounds whether to stop.
        progress: as for `jaxnigt.train`.
        devices: likewise.

    Raises:
        TrainingDiverged: no run is left that is finite.
        Stopped: `stopping` said so; the snapshot is there.
    """
    cost.use_compilation_cache()
    for module in unit.modules:
        run_module(module)
    problem, method = build.problem(unit.problem, unit.workers), build.method(unit.method, unit.workers)
    options = {"every": every, "stopping": stopping, "fingerprint": unit.key}
    kept = snapshots and Snapshots(snapshots, **options)
    batch = unit.batch
    trace = train(
        problem,
        method,
        iterations=unit.iterations,
        seeds=unit.seeds,
        key=unit.training["key"],
        eval_every=unit.training["eval_every"],
        eval_batch=unit.training["eval_batch"],
        profile=batch.profile if batch else None,
        comm_model=make("communication", unit.clock_model) if unit.clock_model else None,
        progress=progress,
        keep_diverged=True,
        snapshots=kept or None,
        devices=devices,
    )
    dataset = trace.to_xarray(batch.labels if batch else None)
    return dataset.assign_attrs(resumed=int(kept.restored) if kept else 0)


_STDERR = 2
_WORDS = b"\nstopping at the next safe point; press Ctrl-C again to stop at once\n"


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """A question whether to stop, which an interrupt or a termination answers."""
    asked = threading.Event()

    def handle(number: int, _: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        # Consoles and logs may be in the middle of something; the system's own write never is.
        with contextlib.suppress(OSError):
            os.write(_STDERR, _WORDS)

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
