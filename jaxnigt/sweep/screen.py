"""What people see of a sweep: its plan, its progress, and where it stands."""

from __future__ import annotations

import contextlib
import datetime
import logging
import math
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn
from rich.table import Table

from jaxnigt import files
from jaxnigt.checks import InputError
from jaxnigt.sweep import cost, plan, reuse, store
from jaxnigt.sweep.plan import Panel, Unit, short
from jaxnigt.sweep.schema import Definition
from jaxnigt.training.snapshots import Snapshots

LOG = logging.getLogger("jaxnigt.sweep")
_SECONDS_BETWEEN_LINES = 10.0
_KEY = re.compile("[0-9a-f]{16}")


def table_of(title: str, *columns: str, left: tuple[str, ...] = ("method",)) -> Table:
    """An empty table; columns of words stand at the left."""
    table = Table(title=escape(title))
    for column in columns:
        table.add_column(escape(column), justify="left" if column in left else "right")
    return table


def show_plan(
    definition: Definition,
    out: Path,
    console: Console,
    budget: int | None = None,
    fresh: bool = False,
) -> None:
    """Print what a sweep would do, all of it again if `fresh`; nothing is written."""
    budget = budget or store.budget(out) or cost.default_budget()
    panels = plan.panels(definition, budget, {} if fresh else reuse.known(out))
    units = plan.unique_units(panels)
    there = [] if fresh else units
    done = {u.key for u in there if not store.fault(store.unit_path(out, u.filename, u.key))}
    for panel in panels:
        console.print(_planned(panel, done))
    replayed = sum(len(batch.labels) for batch in panels[0].batches)
    console.print(
        f"{len(units)} units, {len(done)} of them done in {out}; replay under {replayed:,} profiles and "
        f"{len(definition.comm_model)} communication model(s) for each method that replays",
        soft_wrap=True,
    )
    largest = max((unit.bytes for unit in units), default=0)
    console.print(
        f"memory: at most {cost.shown(largest)} for one unit of a budget of {cost.shown(budget)}"
    )
    for words in _time_words([unit for unit in units if unit.key not in done]):
        console.print(f"time: {words}", soft_wrap=True)


def _planned(panel: Panel, done: set[str]) -> Table:
    name = panel.label or panel.problem.get("environment", panel.problem["kind"])
    table = table_of(
        f"{name}, n = {panel.workers}, d = {panel.dimension:,}",
        *("method", "units", "done", "runs", "rounds", "trajectories", "schedules", "memory", "time"),
    )
    for method in panel.methods:
        units = method.units
        trajectories = sum(map(cost.trajectories, units))
        schedules = sum(unit.schedules for unit in units)
        seconds = sum(cost.seconds(unit)[0] for unit in units)
        table.add_row(
            escape(method.label),
            str(len(units)),
            str(sum(unit.key in done for unit in units)),
            f"{sum(unit.runs for unit in units):,}",
            f"{units[0].iterations:,}",
            f"{trajectories:,}",
            f"{schedules:,}" if method.scheduled else "replayed",
            cost.shown(max(unit.bytes for unit in units)),
            "unknown" if math.isnan(seconds) else _duration(seconds),
        )
    return table


def _time_words(missing: list[Unit]) -> Iterator[str]:
    """What is known of the time that units take, here and on an accelerator."""
    if not missing:
        yield "nothing is left to train"
        return
    known = [found for found in map(cost.seconds, missing) if not math.isnan(found[0])]
    parts = []
    if known:
        sources = " and ".join(sorted({source for _, source in known}))
        total = _duration(sum(seconds for seconds, _ in known))
        parts.append(f"about {total} of training, judged by {sources}")
    if len(known) < len(missing):
        parts.append(f"{len(missing) - len(known)} units of which nothing is known on this hardware")
    yield f"{'; '.join(parts)}, compilation not included"
    spans = [span for unit in missing if (span := cost.accelerator_seconds(unit))]
    if spans:
        least, most = (_duration(sum(ends)) for ends in zip(*spans, strict=True))
        yield f"{least} to {most} on {cost.ACCELERATOR}, by how well smaller batches use it"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


class Board:
    """Progress of all units, within a with statement: live on a terminal, lines elsewhere, and the log.

    Scalars for TensorBoard go to a folder, or nowhere.
    """

    def __init__(self, console: Console, total: int, done: int, scalars: Path | None = None):
        self.console, self._scalars = console, scalars
        texts = [TextColumn(f"{{task.{x}}}") for x in ("description", "fields[device]", "fields[words]")]
        self._progress = Progress(
            *(*texts[:2], BarColumn(), MofNCompleteColumn(), texts[2]),
            console=console,
            refresh_per_second=2,
            speed_estimate_period=math.inf,
            disable=not console.is_terminal,
        )
        self._all = self._added("units", total=total, completed=done)
        self._tasks: dict[str, Task] = {}
        self._writers: dict[str, Any] = {}

    def _added(self, description: str, device: str = "", **options: Any) -> Task:
        self._progress.add_task(description, device=device, words="", said=-math.inf, **options)
        return self._progress.tasks[-1]

    def __enter__(self) -> Board:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        for writer in self._writers.values():
            writer.close()

    def start(self, unit: Unit, device: str | None = None) -> None:
        """A unit is under way, or waits for a machine of a cluster."""
        devices = jax.local_devices()
        here = f"{devices[0].platform} x{len(devices)}" if len(devices) > 1 else devices[0].platform
        self._tasks[unit.key] = self._added(escape(unit.label), device or here, total=unit.iterations)
        self._say(
            f"{unit.label}: training {unit.runs} runs of {unit.iterations} rounds "
            f"(unit {self._all.completed + len(self._tasks):.0f} of {self._all.total:.0f})"
        )

    def update(self, unit: Unit, done: int, total: int, best: float) -> None:
        """It has done some rounds, of which the first hold compilation and tell nothing of its speed."""
        task, now = self._tasks[unit.key], time.monotonic()
        self._progress.update(task.id, completed=done)
        words, speed = f"best J {best:.3g}", task.speed
        if speed:
            words += f", {(total - done) / speed:.0f} s left"
        self._progress.update(task.id, words=f"{words}, {speed or math.nan:.3g} rounds/s")
        if now - task.fields["said"] >= _SECONDS_BETWEEN_LINES or done == total:
            task.fields["said"] = now
            self._say(f"{unit.label}: round {done}/{total}, {words}")
        if self._scalars is not None:
            try:
                self._scalar(self._scalars / f"{short(unit.label)}-{unit.key}", best, done)
            except OSError as error:  # a training that can go on is worth more than its curve
                self._say(f"no more scalars: {error}", always=True)
                self._scalars = None

    def _scalar(self, folder: Path, best: float, done: int) -> None:
        """A point of a unit's curve for TensorBoard."""
        if folder.name not in self._writers:
            from tensorboardX import SummaryWriter

            self._writers[folder.name] = SummaryWriter(str(folder))
        self._writers[folder.name].add_scalar("best J", best, done)

    def finish(self, unit: Unit, message: str, style: str | None = None) -> None:
        """It is over, for better or worse."""
        self._drop(unit)
        self._progress.advance(self._all.id)
        LOG.info("%s %s", unit.key, message)
        self.console.print(escape(message), style=style, soft_wrap=True)

    def stop(self, unit: Unit, done: int | None) -> None:
        """It was given up, and can be taken up again."""
        self._drop(unit)
        at = "its last snapshot" if done is None else f"round {done}/{unit.iterations}"
        self._say(f"{unit.label}: stopped, it goes on from {at}", always=True)

    def _drop(self, unit: Unit) -> None:
        if task := self._tasks.pop(unit.key, None):
            self._progress.remove_task(task.id)

    def _say(self, message: str, *, always: bool = False) -> None:
        """A line in the log and, where nothing is live, on the console."""
        LOG.info(message)
        if self._progress.disable or always:
            self.console.print(escape(message), soft_wrap=True)


class Log(logging.FileHandler):
    """The log file of a run, which goes on where it cannot be written and says so at its end."""

    trouble = ""

    def __str__(self) -> str:
        return self.baseFilename + self.trouble

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the name is Python's)
        """Remember what is wrong. Python would print a traceback for every line."""
        self.trouble = f" is not whole ({sys.exc_info()[1]})"

    def close(self) -> None:
        """Write what is left and close the file."""
        try:
            super().close()
        except OSError as error:
            self.trouble = f" is not whole ({error})"


@contextlib.contextmanager
def logged(folder: Path) -> Iterator[Log]:
    """Write a log file of this run into a folder.

    Raises:
        InputError: no file can be made there.
    """
    begin = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A new file, as one that is there may be a link to somebody else's.
        handler = Log(folder / f"{begin}-{os.getpid()}.log", mode="x", encoding="utf-8")
    except OSError as error:
        raise store.unwritable(folder, error) from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level, propagate = LOG.level, LOG.propagate
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False  # the root's handlers would print it all on screen as well
    try:
        yield handler
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)
        LOG.propagate = propagate
        handler.close()


def show_status(folder: Path, console: Console) -> None:
    """Print a table of all units of a sweep: done, how far, failed, damaged or missing."""
    try:
        described = files.of_json(files.text(folder / store.PLAN))
        title, units = f"{described['definition']['name']} in {folder}", described["units"]
        names = [[str(unit[key]) for key in ("label", "runs", "iterations")] for unit in units]
        # Nothing outside the folder is looked at, whoever wrote the plan.
        if not all(_KEY.fullmatch(unit["key"]) and Path(unit["file"]).name for unit in units):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"folder: {folder / store.PLAN} cannot be read, a folder of `jaxnigt sweep` is needed."
        ) from None
    table = table_of(title, "unit", "runs", "rounds", "state", left=("unit", "state"))
    states = [_state(folder, unit) for unit in units]
    for words, state in zip(names, states, strict=True):
        table.add_row(*map(escape, (*words, state)))
    console.print(table)
    running = "a run is under way" if store.in_use(folder) else "no run is under way"
    console.print(f"{states.count('done')} of {len(states)} units done, {running}")


def _state(folder: Path, unit: dict[str, str]) -> str:
    path = store.unit_path(folder, Path(unit["file"]).name, unit["key"])
    if path.exists():
        damage = store.fault(path)
        return f"damaged: {damage}" if damage else "done"
    rounds = Snapshots.rounds(folder / store.SNAPSHOTS / unit["key"])
    note = folder / store.FAILURES / f"{unit['key']}.txt"
    if note.exists():
        with contextlib.suppress(OSError, ValueError):
            return f"failed: {files.text(note).partition(chr(10))[0]}"
    return f"round {rounds} in a snapshot" if rounds else "not yet"
