"""From a definition to what has to be computed: independent units, panel by panel."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
from typing import Any, NamedTuple

import numpy as np

from jaxnigt.checks import InputError
from jaxnigt.clock.communication import Communication
from jaxnigt.methods import Asynchronous, Method
from jaxnigt.problems import Problem
from jaxnigt.profiles import Profile
from jaxnigt.registry import lookup, make, named
from jaxnigt.sweep import build, cost, fingerprint
from jaxnigt.sweep.build import under
from jaxnigt.sweep.definition import plain, variants
from jaxnigt.sweep.schema import Definition, Plain, leaves, title

GRID = "grid"
_LONGEST = 100


class Batch(NamedTuple):
    """Profiles that one call of the clock serves.

    Attributes:
        labels: of the profiles.
        profile: their times, with one leading axis.
        grid: whether they are those of the definition's grid.
    """

    labels: tuple[str, ...]
    profile: Profile
    grid: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Unit:
    """What is trained in one go and stored in one file. Everything in it can be pickled.

    Attributes:
        label: of the method, with what varies between panels in front.
        problem: its table.
        method: its table, with the hyperparameters of this unit.
        workers: n.
        seeds: numbers of the seeds.
        training: key, eval_every and eval_batch.
        modules: files that register what the tables name.
        batch: the profiles along which it trains, None where one trace serves all.
        comm_model: of the definition, along a schedule.
        clock_model: what the clock takes for this method.
        bytes: memory that training is estimated to take.
    """

    label: str
    problem: Plain
    method: Plain
    workers: int
    seeds: tuple[int, ...]
    training: Plain
    modules: tuple[str, ...] = ()
    batch: Batch | None = None
    comm_model: str | None = None
    clock_model: Plain | None = None
    bytes: int = 0

    @functools.cached_property
    def key(self) -> str:
        """A digest of everything that decides the numbers."""
        facts = lookup("method", self.method["name"]).facts
        # What the clock alone feels does not matter where one training serves all profiles.
        no_matter = (
            "eval_every",
            *facts.get("speed", ()),
            *(facts.get("clock", ()) if self.batch is None else ()),
        )
        content: Plain = {
            "code": fingerprint.code_version(),
            "sources": fingerprint.sources(self.problem, self.method, self.clock_model),
            "problem": self.problem,
            "problem_workers": build.problem_workers(self.problem, self.workers),
            "method": {k: v for k, v in self.method.items() if k not in no_matter},
            "training": self.training,
            "seeds": self.seeds,
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        if self.batch is not None:
            digest.update(f"{self.clock_model} {self.batch.profile.noise}".encode())
            power = self.batch.profile.power or ()
            for array in (self.batch.profile.compute, self.batch.profile.comm, *power):
                digest.update(str(array.shape).encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    @property
    def filename(self) -> str:
        """Name of the unit's file."""
        return f"{short(self.label)}-{self.key}.nc"

    @property
    def iterations(self) -> int:
        """Rounds, or updates of an asynchronous method."""
        return self.method["iterations"]

    @property
    def runs(self) -> int:
        """How many runs are trained at once."""
        schedules = len(self.batch.labels) if self.batch else 1
        return schedules * len(self.seeds) * int(np.prod([len(v) for v in leaves(self.method).values()]))


class MethodPlan(NamedTuple):
    """One method in one panel.

    Attributes:
        label: unique in its panel.
        table: with all hyperparameters.
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


def short(label: str) -> str:
    """A label for the name of a file, which must not be too long."""
    name = label.replace("/", "_")
    if len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def panels(definition: Definition, budget: int | None = None) -> list[Panel]:
    """Everything that a definition asks for. Nothing is trained, but problems are built.

    Args:
        definition: of the sweep.
        budget: bytes that one unit may take; by default `cost.default_budget()`.

    Raises:
        InputError: for the first thing that cannot be built or that does not fit into memory.
    """
    budget = cost.default_budget() if budget is None else budget
    networks(definition)
    # What costs nothing to check comes before problems, which take seconds to build.
    for workers in definition.workers:
        labels = [label for label, _ in _methods(definition, workers)]
        if definition.analysis.baseline not in (None, *labels):
            raise InputError(
                f"analysis.baseline: got {definition.analysis.baseline!r}, "
                f"allowed are {', '.join(labels)}."
            )
        batches(definition, workers, dimension=1)
    return [
        _panel(definition, problem.label, problem.table, workers, budget)
        for problem in variants(definition.problem)
        for workers in definition.workers
    ]


def networks(definition: Definition) -> dict[str, Communication]:
    """The communication models of rounds, by the labels that they have in data sets."""
    models = [make("communication", plain(table), "comm_model") for table in definition.comm_model]
    for model in models:
        if not model.rounds:
            raise InputError(f"comm_model: got {str(model)!r}, models of rounds are allowed.")
    if definition.arrival_model is not None:
        arrival = make("communication", plain(definition.arrival_model), "arrival_model")
        if not arrival.arrivals:
            raise InputError(f"arrival_model: got {str(arrival)!r}, models of arrivals are allowed.")
    return {named(model): model for model in models}


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
        scheduled = not method.collection.replayable(problem.workers is not None)
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
            definition.module,
        )
        along = _schedules(definition, whole, method, profiles) if scheduled else [whole]
        units = [part for unit in along for part in split(unit, problem, method, budget)]
        plans.append(MethodPlan(name, method_table, scheduled, units))
    return Panel(label, table, workers, dimension, profiles, plans)


def _methods(definition: Definition, workers: int) -> list[tuple[str, Plain]]:
    """Labels and tables of all methods; raises InputError for one that cannot be built."""
    found = []
    travels = any(model.travels for model in networks(definition).values())
    for index, table in enumerate(definition.methods):
        entry = lookup("method", table.name)
        for variant in variants(table, keep=list(leaves({"name": table.name}))):
            label = f"{title(table)},{variant.label}" if variant.label else title(table)
            plain_table = dict(variant.table)
            if (all_workers := entry.facts.get("workers")) is not None:
                plain_table.setdefault(all_workers, workers)
            method = under(f"methods.{index}.", build.method, plain_table, workers)
            if travels and getattr(method.collection, "restart", "") == "finish":
                raise InputError(f"methods.{index}.restart: comm_model 'gather' allows 'cancel' only.")
            every, most = _eval_every(definition, plain_table), plain_table["iterations"]
            if every > most:
                where = f"methods.{index}" if table.eval_every else "training"
                raise InputError(
                    f"{where}.eval_every: got {every}, at most the iterations = {most} of {label} are "
                    "allowed."
                )
            found.append((label, plain_table))
    return found


def _eval_every(definition: Definition, table: Plain) -> int:
    return table.get("eval_every", definition.training.eval_every)


def _schedules(definition: Definition, whole: Unit, method: Method, profiles: list[Batch]) -> list[Unit]:
    """A unit for every communication model and batch of profiles."""
    units: dict[tuple[Any, ...], Unit] = {}
    tables = [plain(table) for table in definition.comm_model]
    for (label, model), table in zip(networks(definition).items(), tables, strict=True):
        clock_model = table
        if isinstance(method.collection, Asynchronous):
            arrival = definition.arrival_model
            other = {"name": "parallel"} if arrival is None else plain(arrival)
            clock_model = table if arrival is None and model.arrivals else other
        for batch in profiles:
            if batch.grid and not (definition.grid and definition.grid.trained):
                continue
            units[label, batch.labels] = dataclasses.replace(
                whole, batch=batch, comm_model=label, clock_model=clock_model
            )
    return list(units.values())


def _labelled(table: Any) -> list[tuple[str, Plain]]:
    """Label and plain table of every profile that a table stands for."""
    return [(f"{table.label},{v.label}" if v.label else table.label, v.table) for v in variants(table)]


def batches(definition: Definition, workers: int, dimension: int) -> list[Batch]:
    """The named profiles, those alike in noise and power together, and the grid."""
    groups: dict[Any, list[tuple[str, Profile]]] = {}
    for index, table in enumerate(definition.profiles):
        for label, given in _labelled(table):
            profile = under(f"profiles.{index}.", build.profile, given, workers, dimension)
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
        for label, _ in _labelled(table):
            varied = label.removeprefix(table.label).removeprefix(",")
            titles[label] = (table.title or table.label) + (f", {varied}" if varied else "")
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
    axes = np.asarray(grid.exponent)[:, None], np.asarray(grid.comm_scale)[None, :]
    law = lookup("profile", "power_law").maker
    return under("grid: ", law, workers, axes[0], grid.comm_exponent, axes[1])


def split(unit: Unit, problem: Problem, method: Method, budget: int) -> list[Unit]:
    """Parts of a unit that fit into memory, all of one shape, so that one program serves them all.

    Profiles are parted first, then seeds and each hyperparameter: all into equal shares. Profiles with
    random times stay together, as the clock's draws go by their place among them.

    Raises:
        InputError: a single run is too large.
    """
    values = leaves(unit.method)
    fixed = unit.batch is not None and unit.batch.profile.noise is None
    profiles = len(unit.batch.labels) if unit.batch and fixed else 1
    sizes = (profiles, len(unit.seeds), *(len(v) for v in values.values()))
    counts, needed = [1] * len(sizes), 0
    for axis, size in enumerate(sizes):
        for parts in (k for k in range(1, size + 1) if size % k == 0):
            counts[axis] = parts
            # All parts are as large as the first.
            needed = cost.unit_bytes(problem, method, _parts(unit, counts)[0])
            if needed <= budget:
                found = _parts(unit, counts)
                if len(found) == 1:
                    return [dataclasses.replace(unit, bytes=needed)]
                return [
                    dataclasses.replace(part, bytes=needed, label=f"{unit.label}.{i}of{len(found)}")
                    for i, part in enumerate(found, start=1)
                ]
    raise InputError(
        f"memory: {unit.label} needs {cost.shown(needed)} for a single run, the budget is "
        f"{cost.shown(budget)}."
    )


def _parts(unit: Unit, counts: list[int]) -> list[Unit]:
    profiles, seeds, *others = counts
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
    values = leaves(unit.method)
    parts = [np.array_split(v, count) for v, count in zip(values.values(), others, strict=True)]
    methods = [
        {**unit.method, **{name: part.tolist() for name, part in zip(values, chosen, strict=True)}}
        for chosen in itertools.product(*parts)
    ]
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
