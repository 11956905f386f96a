"""What people see of a sweep: its plan, its progress, where it stands, and the tables at its end."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from jaxnigt.checks import InputError
from jaxnigt.sweep import cost, plan, store
from jaxnigt.sweep.dataset import best, leaf_axes
from jaxnigt.sweep.plan import Panel, Unit, short
from jaxnigt.sweep.schema import Definition

LOG = logging.getLogger("jaxnigt.sweep")
_SECONDS_BETWEEN_LINES = 10.0


def _table(title: str, *columns: str, left: tuple[str, ...] = ("method",)) -> Table:
    """An empty table; columns of words stand at the left."""
    table = Table(title=escape(title))
    for column in columns:
        table.add_column(escape(column), justify="left" if column in left else "right")
    return table


def show_plan(definition: Definition, out: Path, console: Console, budget: int | None = None) -> None:
    """Print what a sweep would do; nothing is written.

    Args:
        definition: of the sweep.
        out: its folder, which need not exist.
        console: where to.
        budget: bytes that one unit may take.

    Raises:
        InputError: something in the definition is not allowed.
    """
    budget = budget or store.budget(out) or cost.default_budget()
    panels = plan.panels(definition, budget)
    units = plan.unique_units(panels)
    done = {u.key for u in units if store.is_whole(store.unit_path(out, u.filename, u.key))}
    for panel in panels:
        console.print(_planned(panel, done))
    missing = [unit for unit in units if unit.key not in done]
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
    _show_time(missing, console)


def _planned(panel: Panel, done: set[str]) -> Table:
    name = panel.label or panel.problem.get("environment", panel.problem["kind"])
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
    table = _table(f"{name}, n = {panel.workers}, d = {panel.dimension:,}", *columns)
    for method in panel.methods:
        units = method.units
        trajectories = sum(unit.runs * cost.trajectories(unit) for unit in units)
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
            cost.shown(max(unit.bytes for unit in units)),
            "unknown" if None in times else _duration(sum(t for t in times if t is not None)),
        )
    return table


def _show_time(missing: list[Unit], console: Console) -> None:
    known = [cost.seconds(unit) for unit in missing]
    total = sum(time for time, _ in known if time is not None)
    unknown = sum(time is None for time, _ in known)
    sources = sorted({source for time, source in known if time is not None})
    if not missing:
        console.print("time: nothing is left to train")
        return
    words = f"about {_duration(total)} of training, judged by {' and '.join(sources)}" if sources else ""
    if unknown:
        words += ("; " if words else "") + f"{unknown} units of which nothing is known on this hardware"
    console.print(f"time: {words}, compilation not included", soft_wrap=True)
    spans = [span for unit in missing if (span := cost.accelerator_seconds(unit))]
    if spans:
        least, most = (sum(ends) for ends in zip(*spans, strict=True))
        console.print(
            f"time: {_duration(least)} to {_duration(most)} on {cost.accelerator_words()}, by how well "
            "smaller batches use it",
            soft_wrap=True,
        )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


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
    """Progress of all units: a live table on a terminal, lines elsewhere, and the log.

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
        devices = jax.local_devices()
        here = f"{devices[0].platform} x{len(devices)}" if len(devices) > 1 else devices[0].platform
        self._rows[unit.key] = _Row(unit, device or here)
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
        columns = ("unit", "device", "round", "rounds/s", "best J", "left [s]")
        table = _table(f"{self.done} of {self.total} units done", *columns, left=("unit", "device"))
        for row in list(self._rows.values())[:20]:
            numbers = (f"{x:.3g}" if math.isfinite(x) else "-" for x in (row.rate, row.best, row.left))
            done = f"{row.done}/{row.unit.iterations}"
            table.add_row(escape(row.unit.label), row.device, done, *numbers)
        return table

    def _scalar(self, unit: Unit, done: int, best: float) -> None:
        if self._scalars is None:
            return
        if unit.key not in self._writers:
            from tensorboardX import SummaryWriter

            folder = self._scalars / f"{short(unit.label)}-{unit.key}"
            self._writers[unit.key] = SummaryWriter(str(folder))
        self._writers[unit.key].add_scalar("best J", best, done)


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


def show_status(folder: Path, console: Console) -> None:
    """Print a table of all units: done, how far, failed, damaged or missing.

    Args:
        folder: of a sweep, running or not.
        console: where to.

    Raises:
        InputError: no sweep has been started there.
    """
    try:
        described = json.loads((folder / store.PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            f"folder: {folder / store.PLAN} cannot be read, a folder of `jaxnigt sweep` is needed."
        ) from None
    title = f"{described['definition']['name']} in {folder}"
    table = _table(title, "unit", "runs", "rounds", "state", left=("unit", "state"))
    states = [_state(folder, unit) for unit in described["units"]]
    for unit, state in zip(described["units"], states, strict=True):
        table.add_row(*map(escape, (unit["label"], str(unit["runs"]), str(unit["iterations"]), state)))
    console.print(table)
    running = "a run is under way" if store.in_use(folder) else "no run is under way"
    console.print(f"{states.count('done')} of {len(states)} units done, {running}")


def _state(folder: Path, unit: dict[str, str]) -> str:
    path = store.unit_path(folder, unit["file"], unit["key"])
    if path.exists():
        try:
            store.check(path)
        except store.Damaged as damage:
            return f"damaged: {damage}"
        return "done"
    snapshots = (folder / store.SNAPSHOTS / unit["key"]).glob("*")
    rounds = max((int(p.name) for p in snapshots if p.name.isdecimal()), default=0)
    note = folder / store.FAILURES / f"{unit['key']}.txt"
    if note.exists():
        return f"failed: {note.read_text(encoding='utf-8').splitlines()[0]}"
    return f"round {rounds} in a snapshot" if rounds else "not yet"


def show_results(tree: xr.DataTree, written: list[Path], console: Console) -> None:
    """Print learning, times to the threshold, costs and paths."""
    for label, panel in store.panels(tree).items():
        if label:
            console.rule(escape(label))
        _show_panel(panel, console)
    training, replay = tree.attrs["training_seconds"], tree.attrs["replay_seconds"]
    share = f" = {100 * replay / training:.2f}% of training" if training else ""
    console.print(
        f"training {training:.1f} s; replay of {tree.attrs['replayed_profiles']:,} profiles "
        f"{replay:.2f} s{share}, compilation included"
    )
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True)


def _show_panel(tree: xr.DataTree, console: Console) -> None:
    methods = {str(k): group.to_dataset() for k, group in tree["methods"].children.items()}
    console.print(_learning({label: best(dataset) for label, dataset in methods.items()}))
    for model in next(iter(methods.values()))["comm_model"].values:
        chosen = {label: best(dataset.sel(comm_model=model)) for label, dataset in methods.items()}
        console.print(_times(tree, chosen, str(model)))
    if np.ravel(tree.attrs["thresholds"])[0] <= tree.attrs["start"]:
        console.print(
            f"a method ended no higher than J(theta_0) = {tree.attrs['start']:.3g}: the threshold and "
            "the times to it say nothing"
        )
    if "grid" in tree.children:
        _show_speedups(tree["grid"].to_dataset(), console)


def _learning(methods: dict[str, xr.Dataset]) -> Table:
    names = list(dict.fromkeys(name for dataset in methods.values() for name in leaf_axes(dataset)))
    table = _table(
        "Learning at the best stepsize: mean undiscounted return of a trajectory [1]",
        *("method", *names, "seed", "first tenth", "last tenth", "margin"),
    )
    for label, dataset in methods.items():
        # Along profiles, of which each has its own best stepsize, the mean over them.
        along = [dim for dim in dataset["first_tenth"].dims if dim != "seed"]
        for seed in dataset["seed"].values:
            one = dataset.sel(seed=seed)
            first, last = float(one["first_tenth"].mean(along)), float(one["last_tenth"].mean(along))
            values = (_one(dataset[name]) if name in dataset.coords else "-" for name in names)
            ends = f"{first:.2f}", f"{last:.2f}", f"{last - first:+.2f}"
            table.add_row(escape(label), *values, str(seed), *ends)
    return table


def _one(values: xr.DataArray) -> str:
    """A number, or from where to where it goes."""
    low, high = float(values.min()), float(values.max())
    return f"{low:g}" if low == high else f"{low:g}..{high:g}"


def _times(tree: xr.DataTree, methods: dict[str, xr.Dataset], model: str) -> Table:
    level = float(np.ravel(tree.attrs["thresholds"])[0])
    title = f"Virtual seconds to J >= {level:.3g}, median over seeds, {model} [s]"
    labels = [str(label) for label in tree["profiles"].to_dataset()["profile"].values]
    table = _table(title, "method", *labels)
    for label, dataset in methods.items():
        times = dataset["time_to_threshold"].isel(threshold=0).median("seed").values
        table.add_row(escape(label), *(f"{value:,.0f}" for value in times))
    return table


def _show_speedups(grid: xr.Dataset, console: Console) -> None:
    baseline = grid.attrs["baseline"]
    for model in grid["comm_model"].values:
        for label in grid["method"].values:
            values = grid["speedup"].isel(threshold=0).sel({"method": label, "comm_model": model}).values
            if label == baseline:
                continue
            if not np.isfinite(values).any():
                console.print(
                    f"{label} or the baseline misses the threshold, so there is no map of speed-ups"
                )
                continue
            console.print(
                f"speed-up of {label} over {baseline} on {values.size:,} profiles ({model}): median "
                f"{np.nanmedian(values):.2f}, from {np.nanmin(values):.2f} to {np.nanmax(values):.2f}"
            )
