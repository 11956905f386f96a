"""From a definition to what has to be computed: independent units, panel by panel."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnigt.checks import InputError
from jaxnigt.methods import Asynchronous, Method
from jaxnigt.problems import Problem
from jaxnigt.profiles import Profile
from jaxnigt.registry import lookup
from jaxnigt.sweep import build, cost, fingerprint, reuse
from jaxnigt.sweep.build import leaves, networks, under
from jaxnigt.sweep.definition import plain, variants
from jaxnigt.sweep.schema import Definition, Plain, title

GRID = "grid"
_LONGEST = 100
_MOST_PARTS = 10_000
"""Units of a method, which are planned one by one."""


class Batch(NamedTuple):
    """Profiles that one call of the clock serves."""

    labels: tuple[str, ...]
    profile: Profile  # of all of them, with one leading axis
    grid: bool = False  # whether they are those of the definition's grid


@dataclasses.dataclass(frozen=True, eq=False)
class Unit:
    """What is trained in one go and stored in one file. Everything in it can be pickled."""

    label: str  # of the method, with what varies between panels in front
    problem: Plain
    method: Plain  # with the hyperparameters of this unit
    workers: int
    seeds: tuple[int, ...]
    training: Plain  # key, eval_every, eval_batch and, along random times, draws
    modules: tuple[str, ...] = ()  # files that register what the tables name
    depends: tuple[str, ...] = ()  # files that these read
    batch: Batch | None = None  # profiles along which it trains, None where one trace serves all
    comm_model: str | None = None  # of the definition, along a schedule
    clock_model: Plain | None = None  # what the clock takes for this method
    totals: np.ndarray | None = None  # i[profile, draw, round], gradients by the clock
    bytes: int = 0  # memory that training is estimated to take

    @functools.cached_property
    def family(self) -> str:
        """A digest of what decides the numbers, but for which profiles, seeds and values there are."""
        facts = lookup("method", self.method["name"]).facts
        # What the clock alone feels does not matter where one training serves all profiles.
        clock = facts.get("clock", ()) if self.batch is None else ()
        noise = type(self.batch.profile.noise) if self.batch else None
        no_matter = ("eval_every", *facts.get("speed", ()), *clock, *leaves(self.method))
        content: Plain = {
            "code": fingerprint.code_version(),
            "settings": fingerprint.settings(),
            "depends": fingerprint.contents(self.depends),
            "sources": fingerprint.sources(self.problem, self.method, self.clock_model, noise),
            "problem": self.problem,
            "problem_workers": build.problem_workers(self.problem, self.workers),
            "method": {k: v for k, v in self.method.items() if k not in no_matter},
            "training": self.training,
            "clock": None if self.batch is None else self.clock_model,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @functools.cached_property
    def key(self) -> str:
        """A digest of everything that decides the numbers."""
        return hashlib.sha256(reuse.described(self).encode()).hexdigest()[:16]

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
        return self.schedules * self.together

    @property
    def schedules(self) -> int:
        """Along how many schedules it trains: one for each profile and draw."""
        return len(self.batch.labels) * self.training.get("draws", 1) if self.batch else 1

    @property
    def together(self) -> int:
        """Runs that share a schedule: hyperparameters and seeds."""
        return len(self.seeds) * int(np.prod([len(v) for v in leaves(self.method).values()]))


class MethodPlan(NamedTuple):
    """One method in one panel."""

    label: str  # unique in its panel
    title: str  # of the definition's table, which may stand for several methods
    table: Plain  # with all hyperparameters
    scheduled: bool  # whether its iterates depend on the clock
    units: list[Unit]


class Panel(NamedTuple):
    """One problem with one number of workers."""

    label: str  # "key=value,..." of what varies between panels, "" where there is one
    problem: Plain
    workers: int
    dimension: int
    batches: list[Batch]
    methods: list[MethodPlan]


def short(label: str) -> str:
    """A label for the name of a file: short, of characters that every system has, and of it alone."""
    name = label.replace("/", "_")
    plain_name = re.sub(r"[^A-Za-z0-9_.=,+ -]", "_", name)
    if plain_name == name and len(name) <= _LONGEST:
        return name
    return f"{plain_name[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def panels(
    definition: Definition, budget: int | None = None, known: reuse.Known | None = None
) -> list[Panel]:
    """Everything that a definition asks for but what is `known`, in units of at most `budget` bytes.

    Nothing is trained, but problems are built and the clock is run where it decides what is trained.

    Raises:
        InputError: for the first thing that cannot be built or that does not fit into the budget.
    """
    budget = cost.default_budget() if budget is None else budget
    # What costs nothing to check comes before problems, which take seconds to build.
    networks(definition)
    baseline = definition.analysis.baseline
    for workers in definition.workers:
        labels = [label for label, *_ in _methods(definition, workers)]
        if baseline not in (None, *labels):
            raise InputError(f"analysis.baseline: got {baseline!r}, allowed are {', '.join(labels)}.")
        batches(definition, workers, dimension=1)
    return [
        _panel(definition, problem.label, problem.table, workers, budget, known or {})
        for problem in variants(definition.problem)
        for workers in definition.workers
    ]


def _panel(
    definition: Definition, label: str, table: Plain, workers: int, budget: int, known: reuse.Known
) -> Panel:
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
    for name, own, method_table in _methods(definition, workers):
        method = build.method(method_table, workers)
        whole = Unit(
            label=f"{label}/{name}" if label else name,
            problem=table,
            method=method_table,
            workers=workers,
            seeds=definition.training.seed_list,
            training={
                "key": definition.training.key,
                "eval_every": method_table["eval_every"],
                "eval_batch": definition.training.eval_batch,
            },
            modules=tuple(str(Path(file).absolute()) for file in definition.module),
            depends=tuple(str(Path(file).absolute()) for file in definition.depends),
        )
        scheduled = not method.collection.replayable(problem.workers is not None)
        along = _schedules(definition, whole, method, profiles) if scheduled else [whole]
        units = [
            part for unit in along for part in _new(unit, split(unit, problem, method, budget), known)
        ]
        plans.append(MethodPlan(name, own, method_table, scheduled, units))
    return Panel(label, table, workers, dimension, profiles, plans)


def _methods(definition: Definition, workers: int) -> list[tuple[str, str, Plain]]:
    """Labels, titles and tables of all methods; raises InputError for one that cannot be built."""
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
            every, most = _rounds(definition, method, plain_table)
            if every > most:
                where = f"methods.{index}" if table.eval_every else "training"
                raise InputError(
                    f"{where}.eval_every: got {every}, at most the iterations = {most} of {label} are "
                    "allowed."
                )
            found.append((label, title(table), plain_table))
    return found


def _rounds(definition: Definition, method: Method, table: Plain) -> tuple[int, int]:
    """Fill in `eval_every` and `iterations`, and return them."""
    every, study = definition.training.eval_every, definition.complexity
    if study is not None:
        rounds = max(1, study.gradients // (method.collection.batch or 1))
        every = max(1, table.setdefault("iterations", rounds) // study.evaluations)
    return table.setdefault("eval_every", every), table["iterations"]


def _schedules(definition: Definition, whole: Unit, method: Method, profiles: list[Batch]) -> list[Unit]:
    """A unit for every communication model and batch of profiles."""
    units = []
    on_grid = definition.grid is not None and definition.grid.trained
    served = [batch for batch in profiles if on_grid or not batch.grid]
    models = networks(definition).items()
    for (label, model), table in zip(models, map(plain, definition.comm_model), strict=True):
        clock_model = table
        if isinstance(method.collection, Asynchronous):
            if definition.arrival_model is not None:
                clock_model = plain(definition.arrival_model)
            elif not model.arrivals:
                clock_model = {"name": "parallel"}
        for batch in served:
            about = [whole.label]
            about += [str(clock_model["name"])] * (len(models) > 1)
            about += [_some(batch.labels)] * (len(served) > 1)
            training = whole.training
            if definition.training.draws > 1 and batch.profile.noise:
                training = training | {"draws": definition.training.draws}
            unit = dataclasses.replace(
                whole,
                label=", ".join(about),
                batch=batch,
                comm_model=label,
                clock_model=clock_model,
                training=training,
            )
            units.append(dataclasses.replace(unit, totals=cost.totals(unit, method)))
    return units


def _some(labels: Sequence[str]) -> str:
    """A few labels in words."""
    return labels[0] if len(labels) == 1 else f"{labels[0]} and {len(labels) - 1} more"


def _profiles(definition: Definition) -> Iterator[tuple[int, Any, list[str], Plain]]:
    """Number, table, labels and plain table of all named profiles, in the definition's order."""
    for index, table in enumerate(definition.profiles):
        for variant in variants(table):
            label = f"{table.label},{variant.label}" if variant.label else table.label
            own = under(f"profiles.{index}.", build.profile_labels, variant.table)
            labels = [label] if own is None else [f"{label},{name}" for name in own]
            yield index, table, labels, variant.table


def profile_titles(definition: Definition) -> dict[str, str]:
    """Title of every named profile by its label, in the definition's order."""
    titles = {}
    for _, table, labels, _ in _profiles(definition):
        for label in labels:
            varied = label.removeprefix(table.label).removeprefix(",")
            titles[label] = (table.title or table.label) + (f", {varied}" if varied else "")
    return titles


def batches(definition: Definition, workers: int, dimension: int) -> list[Batch]:
    """The named profiles, those alike in noise and power together, and the grid."""
    groups: dict[Any, dict[str, Profile]] = {}
    for index, _, labels, given in _profiles(definition):
        profile = under(f"profiles.{index}.", build.profile, given, workers, dimension)
        breaks = () if profile.power is None else tuple(profile.power[0].tolist())
        each = profile.reshape(-1)
        group = groups.setdefault((profile.noise, breaks), {})
        group |= {label: each[i] for i, label in enumerate(labels)}
    found = [_stack(group) for group in groups.values()]
    if grid := definition.grid:
        exponent, scale = np.asarray(grid.exponent)[:, None], np.asarray(grid.comm_scale)[None, :]
        law = lookup("profile", "power_law").maker
        profiles = under("grid: ", law, workers, exponent, grid.comm_exponent, scale).reshape(-1)
        labels = tuple(f"{GRID}.{i}" for i in range(len(profiles.compute)))
        found.append(Batch(labels, profiles, grid=True))
    return found


def _stack(group: dict[str, Profile]) -> Batch:
    first, *_ = profiles = list(group.values())
    power = None
    if first.power is not None:
        power = (first.power[0], np.stack([p.power[1] for p in profiles if p.power]))
    compute, comm = (np.stack([getattr(p, name) for p in profiles]) for name in ("compute", "comm"))
    return Batch(tuple(group), Profile(compute, comm, first.noise, power))


def split(unit: Unit, problem: Problem, method: Method, budget: int) -> list[Unit]:
    """Parts of a unit that fit into memory, all of one shape, so that one program serves them all.

    Profiles are parted first, then seeds and each hyperparameter: all into equal shares. Profiles with
    random times stay together, as the clock's draws go by their place among them.

    Raises:
        InputError: a single run is too large.
    """
    fixed = unit.batch is not None and unit.batch.profile.noise is None
    profiles = len(unit.batch.labels) if unit.batch and fixed else 1
    sizes = (profiles, len(unit.seeds), *map(len, leaves(unit.method).values()))
    counts, needed = [1] * len(sizes), 0
    for axis, size in enumerate(sizes):
        for count in (k for k in range(1, size + 1) if size % k == 0):
            counts[axis] = count
            if math.prod(counts) > _MOST_PARTS:
                raise InputError(
                    f"memory: {unit.label} would be cut into more than {_MOST_PARTS:,} units, more "
                    "memory or fewer values are needed."
                )
            # All parts are as large as the first.
            first = [range(size // n) for size, n in zip(sizes, counts, strict=True)]
            needed = cost.unit_bytes(problem, method, reuse.part(unit, first))
            if needed <= budget:
                parts = _parts(unit, counts)
                of = [f".{i}of{len(parts)}" if len(parts) > 1 else "" for i in range(1, len(parts) + 1)]
                return [
                    dataclasses.replace(part, bytes=needed, label=unit.label + number)
                    for part, number in zip(parts, of, strict=True)
                ]
    raise InputError(
        f"memory: {unit.label} needs {cost.shown(needed)} for a single run, the budget is "
        f"{cost.shown(budget)}."
    )


def _parts(unit: Unit, counts: list[int]) -> list[Unit]:
    """Equal shares of a unit: as many as `counts` says of its profiles, seeds and hyperparameters."""
    shares = [
        np.array_split(np.arange(len(axis)), count)
        for axis, count in zip(reuse.axes(unit), counts, strict=True)
    ]
    return [reuse.part(unit, [own.tolist() for own in box]) for box in itertools.product(*shares)]


def _new(unit: Unit, parts: list[Unit], known: reuse.Known) -> list[Unit]:
    """Units that are stored and hold some of a unit, and of its parts what is still to be trained."""
    stored, missing = reuse.stored(unit, known)
    if not stored:
        return parts
    found, wanted = stored, reuse.axes(unit)
    for part in parts:
        places = [
            [axis.index(x) for x in own] for axis, own in zip(wanted, reuse.axes(part), strict=True)
        ]
        found += [reuse.part(part, box) for box in reuse.boxes(missing[np.ix_(*places)])]
    return found


def unique_units(plan: list[Panel]) -> list[Unit]:
    """All units without those that several panels share, those of one shape one after another."""
    found: dict[str, Unit] = {}
    for panel in plan:
        for method in panel.methods:
            for unit in method.units:
                found.setdefault(unit.key, unit)
    return list(found.values())
