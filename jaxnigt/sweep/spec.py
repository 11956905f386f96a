"""The definition of a sweep: a TOML file, checked key by key before anything runs.

This file knows the shape of a definition and nothing else; whether a batch, an environment or a
profile makes sense is decided by the parts of the library that use them, when the plan is made.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, StrictBool, StrictInt, StrictStr

from jaxnigt.errors import InputError

Number = Annotated[float, Field(strict=True, allow_inf_nan=True)]
Positive = Annotated[StrictInt, Field(ge=1)]


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


class Range(Table):
    """`num` numbers from start to stop, both included, evenly or by constant factors."""

    start: Number
    stop: Number
    num: Positive
    spacing: Literal["linear", "log"] = "linear"


class DimensionPower(Table):
    """d to this power, d being the number of parameters of the policy."""

    dimension_power: Number


class ProblemTable(Table):
    """What is maximised; keys as in `jaxnigt.problems.policy_gradient`."""

    environment: StrictStr = "reacher"
    backend: StrictStr = "mjx"
    horizon: StrictInt = 50
    discount: Number = 0.99
    discounting: StrictStr = "episode"


class TrainingTable(Table):
    """How long and how often; keys as in `jaxnigt.train`."""

    seeds: Positive = 3
    key: StrictInt = 0
    eval_every: Positive = 10
    eval_batch: Positive = 64


class MethodTable(Table):
    """One method; keys as in `jaxnigt.methods`, with lists of stepsizes and momenta to sweep."""

    name: Literal["rennala_nigt", "synchronous_nigt"]
    label: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_.+-]+$")] | None = None
    iterations: Positive
    batch: StrictInt | None = None
    init_batch: StrictInt | None = None
    restart: StrictStr | None = None
    momentum: list[Number] = [0.1]
    stepsize: list[Number] = [2**-6]

    @pydantic.field_validator("momentum", "stepsize", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if value == []:
            raise ValueError("an empty list, at least one number is needed")
        return value if isinstance(value, list) else [value]

    @property
    def title(self) -> str:
        """The label, or the name where there is none."""
        return self.label or self.name


class ProfileTable(Table):
    """One named profile: a family of `jaxnigt.profiles` with its arguments."""

    label: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_.+-]+$")]
    title: StrictStr | None = None
    family: Literal["equal", "power_law", "stragglers", "from_csv"]
    path: StrictStr | None = None
    compute: Number | None = None
    comm: Number | None = None
    exponent: Number | None = None
    comm_exponent: Number | None = None
    comm_scale: Number | DimensionPower | None = None
    count: StrictInt | None = None
    slowdown: Number | None = None


class GridTable(Table):
    """Profiles h_i = i^exponent, kappa_i = comm_scale i^comm_exponent over two ranges."""

    exponent: Range
    comm_scale: Range
    comm_exponent: Number = 0.5


class AnalysisTable(Table):
    """What is read off the replayed curves.

    `threshold` is the share of the way from the initial J to the final J of the method that ends
    lowest, each at its best stepsize; speed-ups are against the method labelled `baseline`.
    """

    threshold: Annotated[Number, Field(gt=0, le=1)] = 0.8
    baseline: StrictStr | None = None


class Definition(Table):
    """A whole sweep."""

    name: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    description: StrictStr = ""
    workers: Positive = 10
    comm_model: StrictStr = "allreduce"
    figure: StrictBool = True
    problem: ProblemTable = ProblemTable()
    training: TrainingTable = TrainingTable()
    methods: Annotated[list[MethodTable], Field(min_length=1)]
    profiles: Annotated[list[ProfileTable], Field(min_length=1)]
    grid: GridTable | None = None
    analysis: AnalysisTable = AnalysisTable()

    @pydantic.model_validator(mode="after")
    def _labels(self) -> Definition:
        for table, labels in (
            ("methods", [m.title for m in self.methods]),
            ("profiles", [p.label for p in self.profiles]),
        ):
            for label in labels:
                if labels.count(label) > 1:
                    raise ValueError(f"{table}: label {label!r} stands twice, labels must differ")
        labels = [m.title for m in self.methods]
        if self.analysis.baseline not in (None, *labels):
            raise ValueError(
                f"analysis.baseline: got {self.analysis.baseline!r}, allowed are {', '.join(labels)}"
            )
        return self


def read(path: str | Path) -> Definition:
    """Read and check a definition.

    Raises:
        InputError: one sentence naming the file, the key and what is allowed.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise InputError(f"{path} cannot be read: {reason}.") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}.") from None
    definition = parse(data, str(path))
    # Files are looked for beside the definition, wherever it is run from.
    profiles = [
        table if table.path is None else table.model_copy(update={"path": str(path.parent / table.path)})
        for table in definition.profiles
    ]
    return definition.model_copy(update={"profiles": profiles})


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
    keys = [str(k) for k in first["loc"] if isinstance(k, int) or k.islower()]
    where = ".".join(k for k in keys if k not in ("float", "int", "str"))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"{where}: this key is missing"
    if first["type"] == "value_error":
        return f"{where}: {message}" if where else message
    return f"{where}: got {first['input']!r}, {message[0].lower()}{message[1:]}"
