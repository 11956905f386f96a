"""The definition of a sweep: a TOML file, checked key by key before anything runs.

This file knows the shape of a definition and nothing else; whether a batch, an environment or a
profile makes sense is decided by the parts of the library that use them, when the plan is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import pydantic
from pydantic import Field, StrictBool, StrictInt, StrictStr

from jaxnigt.checks import InputError
from jaxnigt.sweep import merge

Number = Annotated[float, Field(strict=True, allow_inf_nan=True)]
Positive = Annotated[StrictInt, Field(ge=1)]
Label = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_.+-]+$")]
T = TypeVar("T")

_RANGE = ("start", "stop", "num", "spacing")


def _many(value: Any) -> Any:
    """One value, a list of them, or a range, as a list."""
    if isinstance(value, dict) and "start" in value:
        return _range(value)
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError("an empty list, at least one entry is needed")
        if len({repr(entry) for entry in value}) < len(value):
            raise ValueError(f"got {list(value)!r}, different entries are needed")
        return list(value)
    return [value]


def _range(table: dict[str, Any]) -> list[float] | list[int]:
    for key in table:
        if key not in _RANGE:
            raise ValueError(f"unknown key {key!r}, allowed are {', '.join(_RANGE)}")
    for key in _RANGE[:3]:
        if isinstance(table.get(key), bool) or not isinstance(table.get(key), int | float):
            raise ValueError(f"a range needs {key}, a number")
    start, stop, num = (table[key] for key in _RANGE[:3])
    if not isinstance(num, int) or num < 1:
        raise ValueError(f"num: got {num!r}, a whole number of at least 1 is allowed")
    spacing = table.get("spacing", "linear")
    if spacing not in ("linear", "log"):
        raise ValueError(f"spacing: got {spacing!r}, allowed are linear, log")
    if spacing == "log" and (start <= 0 or stop <= 0):
        raise ValueError("spacing 'log' allows start and stop above 0 only")
    values = (np.linspace if spacing == "linear" else np.geomspace)(start, stop, num).tolist()
    near = all(abs(x - round(x)) <= 1e-9 * max(1.0, abs(x)) for x in values)
    return (
        [round(x) for x in values]
        if near and isinstance(start, int) and isinstance(stop, int)
        else values
    )


Many = Annotated[tuple[T, ...], pydantic.BeforeValidator(_many)]
"""One value, a list or a range {start, stop, num, spacing}: what a sweep may go over."""


class Table(pydantic.BaseModel):
    """A table of the definition: unknown keys are errors that say which are known."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key {key!r}, allowed are {', '.join(cls.model_fields)}")
        return data


class DimensionPower(Table):
    """d to this power, d being the number of parameters of the policy."""

    dimension_power: Number


class HeterogeneityTable(Table):
    """What differs from worker to worker; see `jaxnigt.environments`. Lists hold one entry a worker.

    kind "flipped" takes signs and indicator; "physical" factors of gravity, mass, friction and strength,
    and attributes; "drawn" their log-deviations, with seed.
    """

    kind: Literal["flipped", "physical", "drawn"]
    signs: tuple[Number, ...] | None = None
    indicator: StrictBool | None = None
    seed: StrictInt | None = None
    gravity: tuple[Number, ...] | Number | None = None
    mass: tuple[Number, ...] | Number | None = None
    friction: tuple[Number, ...] | Number | None = None
    strength: tuple[Number, ...] | Number | None = None
    attributes: dict[str, tuple[Number, ...]] | None = None


class ProblemTable(Table):
    """What is maximised; keys as in `jaxnigt.problems.policy_gradient` or `tabular`.

    `module` is a Python file, beside the definition, that registers environments with brax.
    """

    kind: Literal["policy_gradient", "tabular"] = "policy_gradient"
    module: StrictStr | None = None
    environment: Many[StrictStr] | None = None
    backend: Many[StrictStr] | None = None
    horizon: Many[StrictInt] | None = None
    discount: Many[Number] | None = None
    discounting: Many[StrictStr] | None = None
    action_scale: Many[Number] | None = None
    normalisation: Many[Literal["none", "running"]] | None = None
    heterogeneity: Many[HeterogeneityTable | Number] | None = None
    states: Many[StrictInt] | None = None
    actions: Many[StrictInt] | None = None
    branching: Many[StrictInt] | None = None
    own: Many[StrictBool] | None = None
    seed: Many[StrictInt] | None = None


class TrainingTable(Table):
    """What all methods share; keys as in `jaxnigt.train`. Seeds are a number of them or a list."""

    seeds: Positive | tuple[StrictInt, ...] = 3
    key: StrictInt = 0
    eval_every: Positive = 10
    eval_batch: Positive = 64

    @property
    def seed_list(self) -> tuple[int, ...]:
        """Indices of the seeds."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    @pydantic.field_validator("seeds")
    @classmethod
    def _different(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if not isinstance(value, int) and (not value or len(set(value)) < len(value) or min(value) < 0):
            raise ValueError(f"got {list(value)}, different numbers from 0 on are allowed")
        return value


class MethodTable(Table):
    """One method; keys as in `jaxnigt.methods`. Stepsizes and momenta are trained at once.

    `eval_every` takes the place of the one of `training`, as an update of an asynchronous method is one
    trajectory and a round of another is many.
    """

    name: Literal[
        "rennala_nigt",
        "malenia_nigt",
        "synchronous_nigt",
        "m_synchronous_nigt",
        "rennala_pg",
        "malenia_pg",
        "synchronous_pg",
        "n_pg_igt",
        "afedpg",
    ]
    label: Label | None = None
    iterations: Many[Positive]
    eval_every: Positive | None = None
    batch: Many[StrictInt] | None = None
    init_batch: Many[StrictInt] | None = None
    restart: Many[StrictStr] | None = None
    lookahead: Many[StrictBool] | None = None
    schedule: Many[StrictStr] | None = None
    lanes: StrictInt | None = None
    momentum: Many[Number] | None = None
    stepsize: Many[Number] = (2**-6,)

    @property
    def title(self) -> str:
        """The label, or the name where there is none."""
        return self.label or self.name


class NoiseTable(Table):
    """A distribution of `jaxnigt.profiles.noise` that multiplies the time of each gradient."""

    name: Literal["exponential", "lognormal", "gamma", "pareto", "bernoulli_outage"]
    sigma: Number | None = None
    shape: Number | None = None
    alpha: Number | None = None
    probability: Number | None = None
    slowdown: Number | None = None


class ProfileTable(Table):
    """One named profile or, with lists, some: a family of `jaxnigt.profiles` with its arguments."""

    label: Label
    title: StrictStr | None = None
    family: Literal[
        "equal", "power_law", "linear", "stragglers", "lognormal", "decreasing", "outages", "from_csv"
    ]
    path: StrictStr | None = None
    compute: Many[Number] | None = None
    comm: Many[Number] | None = None
    exponent: Many[Number] | None = None
    comm_exponent: Many[Number] | None = None
    comm_scale: Many[Number | DimensionPower] | None = None
    count: Many[StrictInt] | None = None
    slowdown: Many[Number] | None = None
    sigma: Many[Number] | None = None
    seed: Many[StrictInt] | None = None
    factor: Many[Number] | None = None
    every: Many[Number] | None = None
    times: Many[StrictInt] | None = None
    share: Many[Number] | None = None
    length: Many[Number] | None = None
    until: Many[Number] | None = None
    noise: Many[StrictStr | NoiseTable] | None = None


class GridTable(Table):
    """Profiles h_i = i^exponent, kappa_i = comm_scale i^comm_exponent over two axes.

    Methods whose iterates depend on the clock are trained once for each of them where `trained` says so;
    else the grid holds the others alone.
    """

    exponent: Many[Number]
    comm_scale: Many[Number]
    comm_exponent: Number = 0.5
    trained: StrictBool = False


class AnalysisTable(Table):
    """What is read off the replayed curves.

    A `threshold` is the share of the way from the initial J to the final J of the method that ends
    lowest, each at its best stepsize; a `level` is a J of its own. Speed-ups are at the first of them,
    against the method labelled `baseline`.
    """

    threshold: Many[Annotated[Number, Field(gt=0, le=1)]] = (0.8,)
    level: tuple[Number, ...] = ()
    baseline: StrictStr | None = None


class Definition(Table):
    """A whole sweep."""

    name: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    description: StrictStr = ""
    workers: Many[Positive] = (10,)
    comm_model: Many[StrictStr] = ("allreduce",)
    arrival_model: StrictStr | None = None
    figure: StrictBool = True
    problem: ProblemTable = ProblemTable()
    training: TrainingTable = TrainingTable()
    methods: Annotated[tuple[MethodTable, ...], Field(min_length=1)]
    profiles: Annotated[tuple[ProfileTable, ...], Field(min_length=1)]
    grid: GridTable | None = None
    analysis: AnalysisTable = AnalysisTable()

    @pydantic.model_validator(mode="after")
    def _labels(self) -> Definition:
        for table, labels in (
            ("methods", [m.title for m in self.methods]),
            ("profiles", [p.label for p in self.profiles]),
        ):
            for label in labels:
                if label.startswith("grid."):
                    raise ValueError(f"{table}: label {label!r}, labels that begin with grid. are taken")
                if labels.count(label) > 1:
                    raise ValueError(f"{table}: label {label!r} stands twice, labels must differ")
        return self


def read(path: str | Path, *, size: str | None = None, changes: Sequence[str] = ()) -> Definition:
    """Read and check a definition; arguments as for `jaxnigt.sweep.merge.read`.

    Raises:
        InputError: one sentence naming the file, the key and what is allowed.
    """
    return parse(merge.read(Path(path), size=size, changes=changes), str(path))


def parse(data: dict[str, Any], source: str = "definition") -> Definition:
    """Check a definition that is already a dictionary; raises as `read` does."""
    try:
        return Definition.model_validate(data)
    except pydantic.ValidationError as error:
        raise InputError(f"{source}: {_sentence(error)}.") from None


def _sentence(error: pydantic.ValidationError) -> str:
    """The first thing wrong: where, what was given, what is allowed."""
    first = error.errors(include_url=False)[0]
    # A choice between types adds the type's name to the path; only keys and positions are ours.
    keys = [k for k in first["loc"] if isinstance(k, int) or (k.islower() and k.isidentifier())]
    keys = [k for k in keys if k not in ("float", "int", "str", "bool")]
    if len(keys) > 2 and isinstance(keys[-1], int):
        keys = keys[:-1]  # which entry of a list it is, the value says as well
    where = ".".join(str(k) for k in keys)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"{where}: this key is missing"
    if first["type"] == "value_error":
        return f"{where}: {message}" if where else message
    return f"{where}: got {first['input']!r}, {message[0].lower()}{message[1:]}"
