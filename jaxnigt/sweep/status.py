"""Where a sweep stands, from the files in its folder alone."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxnigt.checks import InputError
from jaxnigt.sweep import files, store


def show(folder: Path, console: Console) -> None:
    """Print a table of all units: done, how far, failed, damaged or missing.

    Args:
        folder: of a sweep, running or not.
        console: where to.

    Raises:
        InputError: no sweep has been started there.
    """
    try:
        plan = json.loads((folder / store.PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            f"folder: {folder / store.PLAN} cannot be read, a folder of `jaxnigt sweep` is needed."
        ) from None
    table = Table(title=escape(f"{plan['definition']['name']} in {folder}"))
    for column in ("unit", "runs", "rounds", "state"):
        table.add_column(column, justify="right" if column in ("runs", "rounds") else "left")
    states = [_state(folder, unit) for unit in plan["units"]]
    for unit, state in zip(plan["units"], states, strict=True):
        cells = unit["label"], str(unit["runs"]), str(unit["iterations"]), state
        table.add_row(*map(escape, cells))
    console.print(table)
    done = states.count("done")
    running = "a run is under way" if files.in_use(folder) else "no run is under way"
    console.print(f"{done} of {len(states)} units done, {running}")


def _state(folder: Path, unit: dict[str, str]) -> str:
    path = store.unit_path(folder, unit["file"], unit["key"])
    if path.exists():
        try:
            files.check(path)
        except files.Damaged as damage:
            return f"damaged: {damage}"
        return "done"
    snapshots = (folder / store.SNAPSHOTS / unit["key"]).glob("*")
    rounds = max((int(p.name) for p in snapshots if p.name.isdecimal()), default=0)
    note = folder / store.FAILURES / f"{unit['key']}.txt"
    if note.exists():
        return f"failed: {note.read_text(encoding='utf-8').splitlines()[0]}"
    return f"round {rounds} in a snapshot" if rounds else "not yet"
