"""What the benchmarks share: alternating medians, and tables that are also written down."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxnigt.cli import facts

OUT = Path("results/bench")


def alternate(*runs: Callable[[], Any], repeats: int = 5, warm: bool = True) -> tuple[float, ...]:
    """Median seconds of each, run in turn; the first call of each warms up and is not counted."""
    for run in runs if warm else ():
        run()
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, spent in zip(runs, seconds, strict=True):
            begin = time.perf_counter()
            run()
            spent.append(time.perf_counter() - begin)
    return tuple(statistics.median(spent) for spent in seconds)


def show(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    """A table of rows with the same keys, numbers to three digits."""
    table = Table(title=title)
    for column, value in rows[0].items():
        table.add_column(escape(column), justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*(f"{v:,.3g}" if isinstance(v, float) else str(v) for v in row.values()))
    console.print(table)


def write(console: Console, name: str, results: dict[str, Any]) -> None:
    """Results as JSON, with the machine that made them."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json"
    path.write_text(json.dumps({"facts": facts(), **results}, indent=1))
    console.print(f"wrote {path}")
