"""From a definition to what has to be computed: independent units, panel by panel."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, NamedTuple

import numpy as np

from jaxnigt.checks import InputError
from jaxnigt.clock.communication import ARRIVAL_MODELS, ROUND_MODELS, check_model
from jaxnigt.methods import Asynchronous, Method
from jaxnigt.problems import Problem
from jaxnigt.profiles import Profile
from jaxnigt.sweep import build, memory
from jaxnigt.sweep.build import Plain
from jaxnigt.sweep.expand import variants
from jaxnigt.sweep.spec import Definition
from jaxnigt.sweep.unit import Batch, Unit

GRID = "grid"


class MethodPlan(NamedTuple):
    """One method in one panel.

    Attributes:
        label: unique in its panel.
        table: with all stepsizes and momenta.
        scheduled: whether its iterates depend on the clock.
        units: what is trained for it.
    """

    label: str
    table: Plain
    scheduled: bool
    units: list[Unit]


class Panel(NamedTuple):
    """One problem with one number of workers.

    Attributes:
        label: "key=value,..." of what varies between panels, "" where there is one.
        problem: its table.
        workers: n.
        dimension: d.
        batches: profiles.
        methods: what is trained.
    """

    label: str
    problem: Plain
    workers: int
    dimension: int
    batches: list[Batch]
    methods: list[MethodPlan]


def panels(definition: Definition, budget: int | None = None) -> list[Panel]:
    """Everything that a definition asks for. Nothing is trained, but problems are built.

    Args:
        definition: of the sweep.
        budget: bytes that one unit may take; by default `memory.default_budget()`.

    Raises:
        InputError: for the first thing that cannot be built or that does not fit into memory.
    """
    budget = memory.default_budget() if budget is None else budget
    for model in definition.comm_model:
        check_model(model, ROUND_MODELS)
    if definition.arrival_model is not None and definition.arrival_model not in ARRIVAL_MODELS:
        allowed = ", ".join(ARRIVAL_MODELS)
        raise InputError(f"arrival_model: got {definition.arrival_model!r}, allowed are {allowed}.")
    # What costs nothing to check comes before problems, which take seconds to build.
    for workers in definition.workers:
        _check_baseline(definition, [label for label, _ in _methods(definition, workers)])
        batches(definition, workers, dimension=1)
    return [
        _panel(definition, problem.label, problem.table, workers, budget)
        for problem in variants(definition.problem)
        for workers in definition.workers
    ]


def _check_baseline(definition: Definition, labels: list[str]) -> None:
    if definition.analysis.baseline not in (None, *labels):
        raise InputError(
            f"analysis.baseline: got {definition.analysis.baseline!r}, allowed are {', '.join(labels)}."
        )


def _panel(definition: Definition, label: str, table: Plain, workers: int, budget: int) -> Panel:
    problem = build.problem(table, workers)
    if problem.workers not in (None, workers):
        raise InputError(
            f"problem.heterogeneity: it has {problem.workers} workers, workers = {workers} is needed."
        )
    if len(definition.workers) > 1:
        label = ",".join([*([label] if label else []), f"workers={workers}"])
    dimension = problem.dimension()
    profiles = batches(definition, workers, dimension)
    plans = []
    for name, method_table in _methods(definition, workers):
        method = build.method(method_table, workers)
        collection = method.collection
        scheduled = isinstance(collection, Asynchronous) or not collection.replayable(
            problem.workers is not None
        )
        whole = Unit(
            f"{label}/{name}" if label else name,
            table,
            method_table,
            workers,
            definition.training.seed_list,
            {
                "key": definition.training.key,
                "eval_every": _eval_every(definition, method_table),
                "eval_batch": definition.training.eval_batch,
            },
        )
        along = _schedules(definition, whole, method, profiles) if scheduled else [whole]
        units = [part for unit in along for part in split(unit, problem, method, budget)]
        plans.append(MethodPlan(name, method_table, scheduled, units))
    return Panel(label, table, workers, dimension, profiles, plans)


def _methods(definition: Definition, workers: int) -> list[tuple[str, Plain]]:
    """Labels and tables of all methods; raises InputError for one that cannot be built."""
    found = []
    for index, table in enumerate(definition.methods):
        for variant in variants(table, keep=("stepsize", "momentum")):
            label = f"{table.title},{variant.label}" if variant.label else table.title
            try:
                build.method(variant.table, workers)
                if variant.table.get("restart") == "finish" and "gather" in definition.comm_model:
                    raise InputError("restart: comm_model 'gather' allows 'cancel' only.")
            except InputError as error:
                raise InputError(f"methods.{index}.{error}") from None
            every, most = _eval_every(definition, variant.table), variant.table["iterations"]
            if every > most:
                where = f"methods.{index}" if table.eval_every else "training"
                raise InputError(
                    f"{where}.eval_every: got {every}, at most the iterations = {most} of {label} are "
                    "allowed."
                )
            found.append((label, variant.table))
    return found


def _eval_every(definition: Definition, table: Plain) -> int:
    return table.get("eval_every", definition.training.eval_every)


def _schedules(definition: Definition, whole: Unit, method: Method, profiles: list[Batch]) -> list[Unit]:
    """A unit for every communication model and batch of profiles."""
    units: dict[tuple[Any, ...], Unit] = {}
    for model in definition.comm_model:
        clock_model = model
        if isinstance(method.collection, Asynchronous):
            clock_model = definition.arrival_model or ("serial" if model == "serial" else "parallel")
        for batch in profiles:
            if batch.grid and not (definition.grid and definition.grid.trained):
                continue
            units[model, batch.labels] = dataclasses.replace(
                whole, batch=batch, comm_model=model, clock_model=clock_model
            )
    return list(units.values())


def batches(definition: Definition, workers: int, dimension: int) -> list[Batch]:
    """The named profiles, those alike in noise and power together, and the grid."""
    groups: dict[Any, list[tuple[str, Profile]]] = {}
    for index, table in enumerate(definition.profiles):
        for variant in variants(table):
            label = f"{table.label},{variant.label}" if variant.label else table.label
            try:
                profile = build.profile(variant.table, workers, dimension)
            except InputError as error:
                raise InputError(f"profiles.{index}.{error}") from None
            breaks = () if profile.power is None else tuple(profile.power[0].tolist())
            groups.setdefault((profile.noise, breaks), []).append((label, profile))
    found = [_stack(group) for group in groups.values()]
    grid = grid_profile(definition, workers)
    if grid is not None:
        count = int(np.prod(grid.shape))
        found.append(Batch(tuple(f"{GRID}.{i}" for i in range(count)), grid.reshape(-1), grid=True))
    return found


def profile_titles(definition: Definition) -> dict[str, str]:
    """Title of every named profile by its label, in the definition's order."""
    titles = {}
    for table in definition.profiles:
        for variant in variants(table):
            label = f"{table.label},{variant.label}" if variant.label else table.label
            title = table.title or table.label
            titles[label] = f"{title}, {variant.label}" if variant.label else title
    return titles


def _stack(group: list[tuple[str, Profile]]) -> Batch:
    labels, profiles = zip(*group, strict=True)
    first = profiles[0]
    power = None
    if first.power is not None:
        power = (first.power[0], np.stack([p.power[1] for p in profiles]))
    compute, comm = (np.stack([getattr(p, name) for p in profiles]) for name in ("compute", "comm"))
    return Batch(labels, Profile(compute, comm, first.noise, power))


def grid_profile(definition: Definition, workers: int) -> Profile | None:
    """Profiles of the grid with axes [exponent, comm_scale], None where there is no grid."""
    grid = definition.grid
    if grid is None:
        return None
    table = {
        "family": "power_law",
        "exponent": np.asarray(grid.exponent)[:, None],
        "comm_scale": np.asarray(grid.comm_scale)[None, :],
        "comm_exponent": grid.comm_exponent,
    }
    try:
        return build.profile(table, workers, dimension=1)
    except InputError as error:
        raise InputError(f"grid: {error}") from None


def split(unit: Unit, problem: Problem, method: Method, budget: int) -> list[Unit]:
    """Parts of a unit that fit into memory, all of one shape, so that one program serves them all.

    Profiles are parted first, then seeds, stepsizes and momenta: each into equal shares. Profiles with
    random times stay together, as the clock's draws go by their place among them.

    Raises:
        InputError: a single run is too large.
    """
    counts = [1, 1, 1, 1]
    sizes = (
        len(unit.batch.labels) if unit.batch and unit.batch.profile.noise is None else 1,
        len(unit.seeds),
        len(unit.method["stepsize"]),
        len(unit.method.get("momentum", [0])),
    )
    needed = 0
    for axis, size in enumerate(sizes):
        for parts in (k for k in range(1, size + 1) if size % k == 0):
            counts[axis] = parts
            # All parts are as large as the first.
            needed = memory.unit_bytes(problem, method, _parts(unit, *counts)[0])
            if needed <= budget:
                found = _parts(unit, *counts)
                if len(found) == 1:
                    return [dataclasses.replace(unit, bytes=needed)]
                return [
                    dataclasses.replace(part, bytes=needed, label=f"{unit.label}.{i}of{len(found)}")
                    for i, part in enumerate(found, start=1)
                ]
    raise InputError(
        f"memory: {unit.label} needs {memory.shown(needed)} for a single run, the budget is "
        f"{memory.shown(budget)}."
    )


def _parts(unit: Unit, profiles: int, seeds: int, stepsizes: int, momenta: int) -> list[Unit]:
    along: list[Batch | None] = [None]
    if unit.batch is not None:
        labels = np.array_split(np.arange(len(unit.batch.labels)), profiles)
        along = [
            unit.batch._replace(
                labels=tuple(unit.batch.labels[i] for i in which), profile=unit.batch.profile[which]
            )
            for which in labels
        ]
    seed_parts = [tuple(x.tolist()) for x in np.array_split(unit.seeds, seeds)]
    stepsize_parts = [x.tolist() for x in np.array_split(unit.method["stepsize"], stepsizes)]
    methods = [{**unit.method, "stepsize": stepsize} for stepsize in stepsize_parts]
    if "momentum" in unit.method:
        momentum_parts = [x.tolist() for x in np.array_split(unit.method["momentum"], momenta)]
        methods = [{**m, "momentum": some} for m in methods for some in momentum_parts]
    return [
        dataclasses.replace(unit, batch=batch, seeds=some, method=method)
        for batch, some, method in itertools.product(along, seed_parts, methods)
    ]


def unique_units(plan: list[Panel]) -> list[Unit]:
    """All units without those that several panels share, those of one shape one after another."""
    found: dict[str, Unit] = {}
    for panel in plan:
        for method in panel.methods:
            for unit in method.units:
                found.setdefault(unit.key, unit)
    return list(found.values())
