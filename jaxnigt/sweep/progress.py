"""What is seen of a sweep while it runs: a live table on a terminal, lines elsewhere, and a log file."""

from __future__ import annotations

import contextlib
import datetime
import logging
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from jaxnigt.sweep.unit import Unit, short

LOG = logging.getLogger("jaxnigt.sweep")
_SECONDS_BETWEEN_LINES = 10.0


class _Row:
    """One unit that is under way."""

    def __init__(self, unit: Unit, device: str):
        self.unit, self.device = unit, device
        self.done, self.best = 0, math.nan
        self.first: tuple[float, int] | None = None
        self.line = -math.inf

    def update(self, done: int, best: float) -> None:
        self.done, self.best = done, best
        if self.first is None:
            # The first call holds compilation, which says nothing about the rounds to come.
            self.first = (time.monotonic(), done)

    @property
    def rate(self) -> float:
        """Rounds a second, NaN as long as it is not known."""
        if self.first is None or self.done == self.first[1]:
            return math.nan
        return (self.done - self.first[1]) / max(1e-9, time.monotonic() - self.first[0])

    @property
    def left(self) -> float:
        return (self.unit.iterations - self.done) / self.rate


class Board:
    """Progress of all units.

    Args:
        console: where it is shown.
        total: how many units there are, those that are done already included.
        done: how many are done already.
        scalars: where TensorBoard scalars go; None for nowhere.
    """

    def __init__(self, console: Console, total: int, done: int, scalars: Path | None = None):
        self.console, self.total, self.done = console, total, done
        self._rows: dict[str, _Row] = {}
        self._live: Live | None = None
        self._scalars = scalars
        self._writers: dict[str, Any] = {}

    @contextlib.contextmanager
    def shown(self) -> Iterator[Board]:
        """Show it while the block runs."""
        try:
            if self.console.is_terminal:
                live = Live(get_renderable=self._table, console=self.console, refresh_per_second=2)
                with live:
                    self._live = live
                    yield self
            else:
                yield self
        finally:
            self._live = None
            for writer in self._writers.values():
                writer.close()

    def start(self, unit: Unit, device: str | None = None) -> None:
        """A unit is under way, or waits for a machine of a cluster."""
        self._rows[unit.key] = _Row(unit, device or _devices())
        self._say(
            f"{unit.label}: training {unit.runs} runs of {unit.iterations} rounds "
            f"(unit {self.done + len(self._rows)} of {self.total})"
        )

    def update(self, unit: Unit, done: int, best: float) -> None:
        """It has done some rounds."""
        row = self._rows[unit.key]
        row.update(done, best)
        self._scalar(unit, done, best)
        now = time.monotonic()
        if now - row.line >= _SECONDS_BETWEEN_LINES or done == unit.iterations:
            row.line = now
            left = f", {row.left:.0f} s left" if math.isfinite(row.left) else ""
            self._say(f"{unit.label}: round {done}/{unit.iterations}, best J {best:.3g}{left}")

    def finish(self, unit: Unit, message: str, style: str | None = None) -> None:
        """It is over, for better or worse."""
        self._rows.pop(unit.key, None)
        self.done += 1
        LOG.info("%s %s", unit.key, message)
        self.console.print(escape(message), style=style, soft_wrap=True)

    def stop(self, unit: Unit, done: int | None) -> None:
        """It was given up, and can be taken up again."""
        self._rows.pop(unit.key, None)
        at = "its last snapshot" if done is None else f"round {done}/{unit.iterations}"
        self._say(f"{unit.label}: stopped, it goes on from {at}", always=True)

    def _say(self, message: str, *, always: bool = False) -> None:
        """A line in the log and, where there is no live table, on the console."""
        LOG.info(message)
        if self._live is None or always:
            self.console.print(escape(message), soft_wrap=True)

    def _table(self) -> Table:
        table = Table(title=f"{self.done} of {self.total} units done")
        for column in ("unit", "device", "round", "rounds/s", "best J", "left [s]"):
            table.add_column(escape(column), justify="left" if column in ("unit", "device") else "right")
        for row in list(self._rows.values())[:20]:
            table.add_row(
                row.unit.label,
                row.device,
                f"{row.done}/{row.unit.iterations}",
                _number(row.rate),
                _number(row.best),
                _number(row.left),
            )
        return table

    def _scalar(self, unit: Unit, done: int, best: float) -> None:
        if self._scalars is None:
            return
        if unit.key not in self._writers:
            from tensorboardX import SummaryWriter

            folder = self._scalars / f"{short(unit.label)}-{unit.key}"
            self._writers[unit.key] = SummaryWriter(str(folder))
        self._writers[unit.key].add_scalar("best J", best, done)


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "-"


def _devices() -> str:
    import jax

    devices = jax.local_devices()
    return f"{devices[0].platform} x{len(devices)}" if len(devices) > 1 else devices[0].platform


@contextlib.contextmanager
def logged(folder: Path) -> Iterator[Path]:
    """Write a log file of this run into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    begin = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    path = folder / f"{begin}-{os.getpid()}.log"
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level, propagate = LOG.level, LOG.propagate
    # The root's handlers would print it all on screen as well.
    LOG.propagate = False
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield path
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)
        LOG.propagate = propagate
        handler.close()
