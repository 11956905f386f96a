"""Running a sweep: train what is not there yet, replay, write, draw, and say what was done."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr
from rich.console import Console
from rich.markup import escape

from jaxnigt.checks import InputError, TrainingDiverged, as_path, choice
from jaxnigt.sweep import cost, plan, report, reuse, screen, store
from jaxnigt.sweep import definition as definitions
from jaxnigt.sweep.dataset import assemble, diverged
from jaxnigt.sweep.plan import Panel, Unit
from jaxnigt.sweep.schema import Definition
from jaxnigt.sweep.work import EXECUTORS, Cluster, Settings, interruptible
from jaxnigt.training.snapshots import Snapshots
from jaxnigt.training.stopwatch import compilations

STOPPED = 130
"""Exit status of a run that was interrupted, as shells have it."""

_SHOWN = 5
"""Runs of a unit that are named where they diverged."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How a sweep is run; nothing here changes its numbers."""

    fresh: bool = False  # compute again what is there
    memory: int | None = None  # bytes of a unit; None: as the last run, or a share of what there is
    snapshot_every: float = 120.0  # seconds
    executor: str = "local"  # or "ray"
    cluster: Cluster = dataclasses.field(default_factory=Cluster)  # for Ray
    tensorboard: bool = False
    draw: Callable[[xr.DataTree, Path], list[Path]] | None = None  # such as `jaxnigt.figures.draw`


def run(
    definition: str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    *,
    size: str | None = None,
    changes: Sequence[str] = (),
    console: Console | None = None,
    **options: Any,
) -> xr.DataTree:
    """Run a sweep from Python: the same as `jaxnigt sweep`.

    Args:
        definition: path of a TOML file, or a dictionary with its keys.
        out: folder for results; results/NAME if not given.
        size: which table of `[size]` to apply, for files.
        changes: "key.of.table=value", for files.
        console: where progress goes; nowhere if not given.
        **options: of `Options`, such as fresh=True or draw=jn.figures.draw.

    Returns:
        What `jaxnigt.load` gives.

    Raises:
        InputError: something in the definition is not allowed, or the folder is in use.
        RuntimeError: a unit failed or the run was stopped; what is done is in the folder.
    """
    if isinstance(definition, Mapping):
        read = definitions.parse(dict(definition))
    else:
        read = definitions.read(definition, size=size, changes=changes)
    folder = as_path("out", out) if out is not None else store.usual_folder(read.name, size)
    status = execute(read, folder, console or Console(quiet=True), Options(**options))
    if status:
        raise RuntimeError(f"the sweep ended with status {status}, see {folder / store.LOGS}")
    return store.load(folder)


def execute(definition: Definition, out: Path, console: Console, options: Options | None = None) -> int:
    """Run a sweep into a folder; units that it holds already, with the same content, are read.

    Returns:
        The exit status: 0; 1 where something failed; 130 where it was stopped.

    Raises:
        InputError: something in the definition is not allowed or the folder is in use; nothing has been
            written then.
    """
    options = options or Options()
    choice("executor", options.executor, EXECUTORS)
    begin, compiled = time.perf_counter(), compilations().seconds
    cost.use_compilation_cache()
    budget = options.memory or store.budget(out) or cost.default_budget()
    known = {} if options.fresh else reuse.known(out)
    panels = plan.panels(definition, budget, known)
    sweep = _Sweep(definition, out, console, options, budget, panels, plan.unique_units(panels))
    store.check_writable(out)
    store.check_inside(out, [unit.key for unit in sweep.units])
    with store.locked(out), screen.logged(out / store.LOGS) as log:
        sweep.run()
        sweep.say_times(time.perf_counter() - begin, compilations().seconds - compiled)
    console.print(escape(f"log {log}"), soft_wrap=True)
    if sweep.stopped:
        return STOPPED
    return 1 if sweep.failures else 0


@dataclasses.dataclass(eq=False)
class _Sweep:
    """One run of a sweep."""

    definition: Definition
    out: Path
    console: Console
    options: Options
    budget: int
    panels: list[Panel]
    units: list[Unit]
    found: dict[str, xr.Dataset] = dataclasses.field(default_factory=dict)
    failures: list[str] = dataclasses.field(default_factory=list)
    stopped: bool = False
    trained: float = 0.0

    def run(self) -> None:
        """Train, then gather."""
        with interruptible() as stopping:
            store.sweep_up(self.out)
            self._describe()
            self._reuse()
            missing = [unit for unit in self.units if unit.key not in self.found]
            scalars = self.out / store.SCALARS if self.options.tensorboard else None
            with screen.Board(self.console, len(self.units), len(self.found), scalars) as board:
                every, cluster = self.options.snapshot_every, self.options.cluster
                settings = Settings(self.out / store.SNAPSHOTS, every, stopping, board, cluster)
                for unit, result in EXECUTORS[self.options.executor](missing, settings):
                    self._keep(unit, result, board)
            self.stopped = stopping()
            if not self.stopped:
                self._finish()
        if self.stopped:
            self._say(
                f"stopped with {len(self.found)} of {len(self.units)} units done in {self.out}, the "
                "same command goes on from there"
            )
        for failure in self.failures:
            self._say(f"failed: {failure}", style="bold red")

    def say_times(self, wall: float, compiling: float) -> None:
        """Say where the time went."""
        if self.trained == 0 or self.options.executor != "local":
            return
        rest = max(0.0, wall - self.trained - compiling)
        self._say(
            f"{wall:.1f} s in all: {100 * self.trained / wall:.1f}% in compiled programs, "
            f"{100 * compiling / wall:.1f}% compiling them, {100 * rest / wall:.1f}% elsewhere"
        )

    def _say(self, message: str, style: str | None = None) -> None:
        screen.LOG.info(message)
        self.console.print(escape(message), style=style, soft_wrap=True)

    def _describe(self) -> None:
        """What there is to be done, for `jaxnigt status`."""
        names = ("key", "label", "iterations", "runs")
        described = {
            "definition": self.definition.model_dump(mode="json", exclude_none=True),
            "memory": self.budget,
            "units": [{k: getattr(u, k) for k in names} | {"file": u.filename} for u in self.units],
        }
        with self._failing("plan"):
            store.write_text(self.out / store.PLAN, json.dumps(described, indent=1) + "\n")

    def _reuse(self) -> None:
        """Read the units that are there, or forget how far they are."""
        for unit in self.units:
            path = store.unit_path(self.out, unit.filename, unit.key)
            if self.options.fresh:
                self._snapshots(unit).remove()
            elif path.exists():
                try:
                    found = store.read(path)
                    _check_holds(found, unit)
                    self.found[unit.key] = found
                except store.Damaged as damage:
                    words = f"{path} is damaged, {damage}; it is computed again"
                    self._say(f"{unit.label}: {words}", "yellow")
                else:
                    self._say(f"{unit.label}: reused {path}")
                    self._clear(unit)
                    self._report_diverged(unit)

    def _snapshots(self, unit: Unit) -> Snapshots:
        return Snapshots(self.out / store.SNAPSHOTS / unit.key)

    def _keep(self, unit: Unit, result: xr.Dataset | BaseException, board: screen.Board) -> None:
        """Store what came of a unit."""
        path = store.unit_path(self.out, unit.filename, unit.key)
        if isinstance(result, BaseException):
            known = isinstance(result, TrainingDiverged | InputError)
            reason = str(result) if known else f"{type(result).__name__}: {result}"
            self._fail(unit, reason, "".join(traceback.format_exception(result)))
            board.finish(unit, f"{unit.label}: failed, the others go on", "bold red")
            return
        self.found[unit.key] = result
        self.trained += result.attrs["compiled_seconds"]
        if self.options.executor == "local" and not result.attrs["resumed"]:
            cost.remember(unit, result)
        try:
            box = {reuse.ATTRIBUTE: reuse.described(unit)}
            store.write(result.assign_attrs(box), path, checksum=True)
        except OSError as error:
            self._fail(unit, f"{path} cannot be written ({_reason(error)})")
            board.finish(unit, f"{unit.label}: not written, the others go on", "bold red")
            return
        self._clear(unit)
        board.finish(unit, f"{unit.label}: wrote {path}")
        self._report_diverged(unit)

    def _clear(self, unit: Unit) -> None:
        """Remove what is of no use once a unit is stored, as far as it can be removed now."""
        with contextlib.suppress(OSError):
            self._note(unit).unlink(missing_ok=True)
        self._snapshots(unit).remove()

    def _note(self, unit: Unit) -> Path:
        """Where it is said why a unit failed."""
        return self.out / store.FAILURES / f"{unit.key}.txt"

    def _report_diverged(self, unit: Unit) -> None:
        lines = diverged(self.found[unit.key])
        self.failures += [f"{unit.label}: {line}" for line in lines[:_SHOWN]]
        if len(lines) > _SHOWN:
            self.failures.append(f"{unit.label}: {len(lines) - _SHOWN} more runs likewise")

    def _fail(self, unit: Unit, reason: str, details: str = "") -> None:
        self.failures.append(f"{unit.label}: {reason}")
        screen.LOG.error("%s\n%s", self.failures[-1], details)
        with contextlib.suppress(OSError):
            store.write_text(self._note(unit), f"{self.failures[-1]}\n{details}")

    @contextlib.contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        """Report what cannot be written, and go on."""
        try:
            yield
        except OSError as error:
            self.failures.append(f"{what}: it cannot be written to {self.out} ({_reason(error)})")

    def _finish(self) -> None:
        """Replay, gather, write, draw and show."""
        tree = assemble(self.definition, self.panels, self.found)
        if tree is None:
            return
        written = []
        with self._failing(store.RESULTS):
            store.write(tree, self.out / store.RESULTS)
            written.append(self.out / store.RESULTS)
        if self.definition.figure and self.options.draw is not None:
            try:
                written += self.options.draw(tree, self.out)
            except Exception as error:  # the data set is there, and its tables are to be shown
                self.failures.append(f"figure: {type(error).__name__}: {error}")
                screen.LOG.exception("figure")
        report.show_results(tree, written, self.console)


def _check_holds(dataset: xr.Dataset, unit: Unit) -> None:
    """Raise Damaged for a data set that is none of a unit, whatever its checksum says."""
    needed = {"objective", "worker_objective", "gradient_norm", "samples", "seed"}
    seconds = {"training_seconds", "compiled_seconds", "hyperparameters", "method"}
    whole = needed <= dataset.variables.keys() and seconds <= dataset.attrs.keys()
    if not whole or dataset.sizes.get("round") != unit.iterations:
        raise store.Damaged("it does not hold what this unit trains")
    if tuple(dataset["seed"].values.tolist()) != unit.seeds:
        raise store.Damaged("it does not hold what this unit trains")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
