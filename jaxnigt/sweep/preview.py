"""What a sweep would do, for `--dry-run`: units, what is done already, time and memory."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxnigt.sweep import build, cost, files, memory, plan, store
from jaxnigt.sweep.plan import Panel
from jaxnigt.sweep.spec import Definition
from jaxnigt.sweep.unit import Unit


def show(definition: Definition, out: Path, console: Console, budget: int | None = None) -> None:
    """Print the plan; nothing is written.

    Args:
        definition: of the sweep.
        out: its folder, which need not exist.
        console: where to.
        budget: bytes that one unit may take.

    Raises:
        InputError: something in the definition is not allowed.
    """
    budget = budget or store.budget(out) or memory.default_budget()
    panels = plan.panels(definition, budget)
    units = plan.unique_units(panels)
    done = {unit.key for unit in units if _done(out, unit)}
    for panel in panels:
        console.print(_table(panel, done))
    missing = [unit for unit in units if unit.key not in done]
    replayed = sum(len(batch.labels) for batch in panels[0].batches)
    console.print(
        f"{len(units)} units, {len(done)} of them done in {out}; replay under {replayed:,} profiles and "
        f"{len(definition.comm_model)} communication model(s) for each method that replays",
        soft_wrap=True,
    )
    largest = max((unit.bytes for unit in units), default=0)
    console.print(
        f"memory: at most {memory.shown(largest)} for one unit of a budget of {memory.shown(budget)}"
    )
    _time(missing, console)


def _done(out: Path, unit: Unit) -> bool:
    path = store.unit_path(out, unit.filename, unit.key)
    try:
        files.check(path)
    except (files.Damaged, OSError):
        return False
    return True


def _table(panel: Panel, done: set[str]) -> Table:
    name = panel.label or panel.problem.get("environment", panel.problem["kind"])
    table = Table(title=escape(f"{name}, n = {panel.workers}, d = {panel.dimension:,}"))
    columns = (
        "method",
        "units",
        "done",
        "runs",
        "rounds",
        "trajectories",
        "schedules",
        "memory",
        "time",
    )
    for column in columns:
        table.add_column(column, justify="left" if column == "method" else "right")
    for method in panel.methods:
        units = method.units
        trajectories = sum(
            unit.runs * int(build.method(unit.method, unit.workers).sizes(unit.iterations).sum())
            for unit in units
        )
        schedules = sum(len(unit.batch.labels) for unit in units if unit.batch)
        times = [cost.seconds(unit)[0] for unit in units]
        table.add_row(
            escape(method.label),
            str(len(units)),
            str(sum(unit.key in done for unit in units)),
            f"{sum(unit.runs for unit in units):,}",
            f"{units[0].iterations:,}",
            f"{trajectories:,}",
            f"{schedules:,}" if method.scheduled else "replayed",
            memory.shown(max(unit.bytes for unit in units)),
            "unknown" if None in times else _shown(sum(t for t in times if t is not None)),
        )
    return table


def _time(missing: list[Unit], console: Console) -> None:
    known = [cost.seconds(unit) for unit in missing]
    total = sum(time for time, _ in known if time is not None)
    unknown = sum(time is None for time, _ in known)
    sources = sorted({source for time, source in known if time is not None})
    if not missing:
        console.print("time: nothing is left to train")
        return
    words = f"about {_shown(total)} of training, judged by {' and '.join(sources)}" if sources else ""
    if unknown:
        words += ("; " if words else "") + f"{unknown} units of which nothing is known on this hardware"
    console.print(f"time: {words}, compilation not included", soft_wrap=True)
    spans = [span for unit in missing if (span := cost.accelerator_seconds(unit))]
    if spans:
        least, most = (sum(ends) for ends in zip(*spans, strict=True))
        console.print(
            f"time: {_shown(least)} to {_shown(most)} on {cost.accelerator_words()}, by how well "
            "smaller batches use it",
            soft_wrap=True,
        )


def _shown(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
