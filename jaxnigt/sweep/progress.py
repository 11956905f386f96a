"""Progress that reads well on a terminal and in a log file."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from jaxnigt.training import Progress as Callback

_SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def training_progress(console: Console, label: str, rounds: int) -> Iterator[Callback]:
    """A callback for `jaxnigt.train`: a live bar on a terminal, a line now and then elsewhere."""
    if not console.is_terminal:
        yield _lines(console, label)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("round {task.completed:.0f}/{task.total:.0f}"),
        TextColumn("best J {task.fields[best]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=rounds, best="-")
        yield lambda done, _, best: bar.update(task, completed=done, best=f"{best:.3g}")


def _lines(console: Console, label: str) -> Callback:
    first: tuple[float, int] | None = None
    last = -_SECONDS_BETWEEN_LINES

    def show(done: int, rounds: int, best: float) -> None:
        nonlocal first, last
        now = time.monotonic()
        if first is None:
            # The first call holds compilation, which says nothing about the rounds to come.
            first = (now, done)
            left = ""
        else:
            rate = (now - first[0]) / max(1, done - first[1])
            left = f", {rate * (rounds - done):.0f} s left"
        if now - last >= _SECONDS_BETWEEN_LINES or done == rounds:
            last = now
            console.print(f"{label}: round {done}/{rounds}, best J {best:.3g}{left}")

    return show
