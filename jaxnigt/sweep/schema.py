"""What a definition may hold: pydantic models, most of them made from signatures of what is registered.

The keys of such a table are the arguments of the class or function that it names, with their types and
defaults. So no method, problem or family is known here by name.
"""

from __future__ import annotations

import functools
import inspect
import reprlib
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union

import numpy as np
import pydantic
from numpy.typing import ArrayLike
from pydantic import Field, StrictBool, StrictInt, StrictStr

# Rooms register what they define when they are imported.
import jaxnigt.methods
import jaxnigt.problems
import jaxnigt.profiles  # noqa: F401
from jaxnigt.checks import MOST_KEY, MOST_SEEDS, MOST_WORKERS, InputError, as_seeds
from jaxnigt.registry import KEYS, Entry, entries, hints, kind_of, known

T = TypeVar("T")
Plain = dict[str, Any]
"""A table with one value for each key, ready for JSON."""

Number = Annotated[float, Field(strict=True, allow_inf_nan=True)]
Positive = Annotated[StrictInt, Field(ge=1)]
Label = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_.+-]+$")]
_MOST = 1_000_000
_MOST_LEVELS = 1000
_RANGE = ("start", "stop", "num", "spacing")
Extra = Mapping[str, tuple[Any, Any, bool]]
"""Keys of all tables of a kind: type, default, and whether a sweep goes over it."""


def _check_keys(given: Iterable[str], allowed: Collection[str]) -> None:
    for key in given:
        if key not in allowed:
            raise ValueError(f"unknown key {key!r}, allowed are {', '.join(allowed)}")


def _many(value: Any) -> Any:
    """One value, a list of them or a range, as a list."""
    if isinstance(value, dict) and "start" in value:
        _check_keys(value, _RANGE)
        return _different(_range(**value))
    if not isinstance(value, list | tuple):
        return [value]
    if not value:
        raise ValueError("an empty list, at least one entry is needed")
    return _different(list(value))


def _different(values: list[Any]) -> list[Any]:
    """Values that differ, numbers with a point in the float32 that training has, too."""
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in values)
    single = numbers and any(isinstance(x, float) for x in values)
    with np.errstate(over="ignore"):
        if len({float(np.float32(x)) if single else repr(x) for x in values}) == len(values):
            return values
    words = ", in float32 too" if single else ""
    raise ValueError(f"got {reprlib.repr(values)}, different entries are needed{words}")


def _range(
    start: Any, stop: Any = None, num: Any = None, spacing: Any = "linear"
) -> list[float] | list[int]:
    """The numbers of a range, whole ones where its ends and all between them are whole."""
    for key, value in {"start": start, "stop": stop, "num": num}.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"a range needs {key}, a number")
    if not isinstance(num, int) or not 1 <= num <= _MOST:
        raise ValueError(f"num: got {num!r}, a whole number from 1 to {_MOST} is allowed")
    if spacing not in ("linear", "log"):
        raise ValueError(f"spacing: got {spacing!r}, allowed are linear, log")
    if spacing == "log" and (start <= 0 or stop <= 0):
        raise ValueError("spacing 'log' allows start and stop above 0 only")
    values = (np.linspace if spacing == "linear" else np.geomspace)(start, stop, num).tolist()
    near = all(abs(x - round(x)) <= 1e-9 * max(1.0, abs(x)) for x in values)
    whole = near and isinstance(start, int) and isinstance(stop, int)
    return [round(x) for x in values] if whole else values


Many = Annotated[tuple[T, ...], pydantic.BeforeValidator(_many)]
"""One value, a list or a range {start, stop, num, spacing}: what a sweep may go over."""


class Table(pydantic.BaseModel):
    """A table of a definition. An unknown key is an error that says which keys are known."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)
    swept: ClassVar[frozenset[str]] = frozenset()
    """Keys whose values are lists that a sweep goes over."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            _check_keys(data, cls.model_fields)
        return data


def union(
    kind: str,
    *,
    many: bool = False,
    default: str | None = None,
    number: Any = Number,
    leave: Sequence[str] = (),
    extra: Extra | None = None,
) -> Any:
    """The type, for pydantic, of a table that names one of the registered things of a kind.

    A plain word stands for a table with that name and nothing else, and a table without a name has the
    default. With `many` single values may also be lists and ranges, as a sweep goes over them. Arguments
    to `leave` are not keys, because something else fills them in.
    """
    key = KEYS[kind]
    models = tuple(_table(entry, many, number, leave, extra or {}) for entry in entries(kind).values())
    tagged: Any = models[0]
    if len(models) > 1:
        tagged = Annotated[Union[models], Field(discriminator=key)]  # noqa: UP007  (made at run time)

    def table_of(value: Any) -> Any:
        if isinstance(value, str):
            return {key: value}
        if default is not None and isinstance(value, dict) and key not in value:
            return {key: default, **value}
        return value

    return Annotated[tagged, pydantic.BeforeValidator(table_of)]


def _table(entry: Entry, many: bool, number: Any, leave: Sequence[str], extra: Extra) -> type[Table]:
    """The table of one registered thing: keys that must be given first, those of all tables last."""
    more = {key: (Many[kind] if many else kind, default) for key, (kind, default, many) in extra.items()}
    fields: dict[str, Any] = {key: field for key, field in more.items() if field[1] is ...}
    fields[KEYS[entry.kind]] = (Literal[entry.name], ...)
    swept = {key for key, (_, _, many) in extra.items() if many}
    annotations = hints(entry.maker)
    for name, parameter in inspect.signature(entry.maker).parameters.items():
        if name in leave or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        needed = parameter.default is parameter.empty
        annotation = annotations.get(name, Any)
        if annotation is Any and not needed:
            annotation = type(parameter.default)
        kind = _field(annotation, number)
        if kind is None:
            continue
        key = entry.keys.get(name, name)
        if many and not _listed(annotation):
            swept.add(key)
            kind = Many[kind]
        # A key that is left out is not passed. The description tells people the maker's own default.
        default = Field(default=None, description=written(parameter.default))
        fields[key] = (kind, ...) if needed else (kind | None, default)
    fields |= {key: (kind | None, None) for key, (kind, default) in more.items() if default is None}
    made = pydantic.create_model(entry.name, __base__=Table, **fields)
    made.swept, made.__doc__ = frozenset(swept), inspect.getdoc(entry.maker)
    return made


def written(value: Any) -> str:
    """A value as TOML writes it, "" where TOML has nothing for it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, str):
        return f'"{value}"'
    return repr(value) if isinstance(value, int | float) else ""


ARRAYS = (ArrayLike, ArrayLike | None)  # annotations of hyperparameters


def _members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union without None, or the annotation itself."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return tuple(arg for arg in typing.get_args(annotation) if arg is not type(None))
    return (annotation,)


def _listed(annotation: Any) -> bool:
    """Whether a value of this type is itself written as a list or a table of values."""
    if annotation in ARRAYS:
        return False
    origins = map(typing.get_origin, _members(annotation))
    return any(isinstance(o, type) and issubclass(o, Sequence | Mapping) for o in origins)


def _field(annotation: Any, number: Any) -> Any:
    """What TOML holds for an argument of this type, None where it can hold nothing of the kind."""
    scalars = {
        bool: StrictBool,
        int: StrictInt,
        str: StrictStr,
        **dict.fromkeys((float, *ARRAYS), number),
    }
    if annotation in scalars:
        return scalars[annotation]
    members = _members(annotation)
    for kind in map(kind_of, members):
        if kind not in (None, "environment"):  # which is a class of the user's with a name of its own
            return union(kind) if entries(kind) else None
    if members != (annotation,):
        found = [kind for member in members if (kind := _field(member, number)) is not None]
        return Union[tuple(found)] if found else None  # noqa: UP007  (made at run time)
    if typing.get_origin(annotation) is Literal:
        return annotation
    if _listed(annotation):
        *key, value = (argument for argument in typing.get_args(annotation) if argument is not ...)
        if (inner := _field(value, number)) is not None:
            return dict[str, inner] if key else tuple[inner, ...]
    return None


class DimensionPower(Table):
    """d to this power, d being the number of parameters of the policy."""

    dimension_power: Number


class TrainingTable(Table):
    """What all methods share; keys as in `jaxnigt.train`. Seeds are a number of them or a list."""

    seeds: Annotated[StrictInt, Field(ge=1, le=MOST_SEEDS)] | tuple[StrictInt, ...] = 3
    draws: Positive = 1
    key: Annotated[StrictInt, Field(ge=0, le=MOST_KEY)] = 0
    eval_every: Positive = 10
    eval_batch: Positive = 64

    @property
    def seed_list(self) -> tuple[int, ...]:
        """Numbers of the seeds."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    @pydantic.field_validator("seeds")
    @classmethod
    def _different(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        try:
            return value if isinstance(value, int) else as_seeds(list(value))
        except InputError as error:
            raise ValueError(str(error).removeprefix("seeds: ").removesuffix(".")) from None


class GridTable(Table):
    """Profiles h_i = i^exponent, kappa_i = comm_scale i^comm_exponent over two axes.

    Methods whose iterates depend on the clock are trained once for each of them where `trained` says so.
    Otherwise the grid holds the others alone.
    """

    exponent: Many[Number]
    comm_scale: Many[Number]
    comm_exponent: Number = 0.5
    trained: StrictBool = False


class AnalysisTable(Table):
    """What is read off the replayed curves.

    A `threshold` is the share of the way from the initial J to the final J of the method that ends
    lowest, each at its best hyperparameters. A `level` is a J of its own. Speed-ups are at the first of
    them, against the method labelled `baseline`.
    """

    threshold: Many[Annotated[Number, Field(gt=0, le=1)]] = (0.8,)
    level: tuple[Number, ...] = ()
    baseline: StrictStr | None = None


class ComplexityTable(Table):
    """The least time of each method to many levels, its hyperparameters chosen anew for each of them.

    They are chosen by that time on the first half of the seeds, and the other half is reported. Levels
    are a J, or accuracies epsilon on ||grad J|| where the problem says `measure = "gradient"`; or they
    are shares of the way from the initial J to the highest final J of all methods. Methods without
    `iterations` make `gradients` / batch rounds, evaluated so many times.
    """

    gradients: Positive
    level: Many[Annotated[float, Field(strict=True, allow_inf_nan=False)]] | None = None
    share: Many[Annotated[Number, Field(gt=0, le=1)]] = (0.25, 0.5, 0.75, 0.95)
    evaluations: Positive = 200


class Definition(Table):
    """A whole sweep. `model` adds the tables of what is registered."""

    name: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    description: StrictStr = ""
    module: tuple[StrictStr, ...] = ()
    depends: tuple[StrictStr, ...] = ()
    workers: Many[Annotated[StrictInt, Field(ge=1, le=MOST_WORKERS)]] = (10,)
    comm_model: Many[Any]
    arrival_model: Any = None
    figure: StrictBool = True
    problem: Any
    training: TrainingTable = TrainingTable()
    methods: Any
    profiles: Any
    grid: GridTable | None = None
    analysis: AnalysisTable = AnalysisTable()
    complexity: ComplexityTable | None = None

    @pydantic.model_validator(mode="after")
    def _labels(self) -> Definition:
        labelled = {"methods": map(title, self.methods), "profiles": (p.label for p in self.profiles)}
        for table, labels in labelled.items():
            seen: set[str] = set()
            for label in labels:
                if label.startswith("grid."):
                    raise ValueError(f"{table}: label {label!r}, labels that begin with grid. are taken")
                if label in seen:
                    raise ValueError(f"{table}: label {label!r} stands twice, labels must differ")
                seen.add(label)
        return self

    @pydantic.model_validator(mode="after")
    def _budget(self) -> Definition:
        table = self.complexity
        by_norm = any(measure == "gradient" for measure in self.problem.measure or ())
        if table is None and by_norm:
            raise ValueError("problem.measure: 'gradient' is for definitions with complexity alone")
        for index, method in enumerate(self.methods):
            if table is None and method.iterations is None:
                raise ValueError(f"methods.{index}.iterations: this key is missing")
        if table is None:
            return self
        if len(self.training.seed_list) < 2:
            raise ValueError("training.seeds: got 1, complexity needs 2 at least, half of them to tune")
        if self.grid is not None:
            raise ValueError("grid: a definition with complexity has none, give it one of its own")
        if "eval_every" in self.training.model_fields_set:
            raise ValueError("training.eval_every: complexity.evaluations stands for it, leave it out")
        if len(table.level or table.share) > _MOST_LEVELS:
            raise ValueError(f"complexity.level: at most {_MOST_LEVELS} levels are allowed")
        if by_norm and (table.level is None or min(table.level) <= 0):
            raise ValueError("complexity.level: with measure = 'gradient' numbers above 0 are needed")
        return self


def title(method: Any) -> str:
    """The label of a method's table, or its name where there is none."""
    return method.label or method.name


def model() -> type[Definition]:
    """The model of a definition with everything that is registered now."""
    return _model(known())


@functools.lru_cache(maxsize=8)
def _model(_: tuple[Entry, ...]) -> type[Definition]:
    network: Any = union("communication")
    method: Any = union(
        "method",
        many=True,
        extra={
            "label": (Label, None, False),
            "iterations": (Positive, None, True),
            "eval_every": (Positive, None, False),
        },
    )
    profile: Any = union(
        "profile",
        many=True,
        number=Number | DimensionPower,
        leave=("n",),
        extra={
            "label": (Label, ..., False),
            "title": (StrictStr, None, False),
            "noise": (union("noise"), None, True),
        },
    )
    # Whether each worker has a problem of its own is for the definition to say, their number is known.
    own: Extra = {
        "own": (StrictBool, None, True),
        "measure": (Literal["objective", "gradient"], None, True),
    }
    usual = "policy_gradient"
    problem: Any = union("problem", many=True, default=usual, leave=("workers",), extra=own)
    filled: Any = {
        "comm_model": (Many[network], Field(default=("allreduce",), validate_default=True)),
        "arrival_model": (network | None, None),
        "problem": (problem, Field(default={"kind": usual}, validate_default=True)),
        "methods": (Annotated[tuple[method, ...], Field(min_length=1)], ...),
        "profiles": (Annotated[tuple[profile, ...], Field(min_length=1)], ...),
    }
    return pydantic.create_model("Definition", __base__=Definition, **filled)
