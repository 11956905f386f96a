"""The definition of a sweep: a TOML file, put together from its parts and checked key by key.

The tables of methods, problems and profiles are made from the signatures of what is registered. So this
file knows the shape of a definition and no method, problem or family by name.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import itertools
import linecache
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pydantic
from pydantic import Field, StrictBool, StrictInt, StrictStr

# Rooms register what they define when they are imported.
import jaxnigt.methods
import jaxnigt.problems
import jaxnigt.profiles  # noqa: F401
from jaxnigt.checks import InputError
from jaxnigt.environments.brax import quiet
from jaxnigt.registry import Many, Number, Table, entries, hyperparameters, lookup, union
from jaxnigt.registry.names import KEYS, Entry, known
from jaxnigt.registry.tables import written
from jaxnigt.sweep import merge
from jaxnigt.sweep.fingerprint import renew

Plain = dict[str, Any]
"""A table with one value for each key, ready for JSON."""

Positive = Annotated[StrictInt, Field(ge=1)]
Label = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_.+-]+$")]


class DimensionPower(Table):
    """d to this power, d being the number of parameters of the policy."""

    dimension_power: Number


class TrainingTable(Table):
    """What all methods share; keys as in `jaxnigt.train`. Seeds are a number of them or a list."""

    seeds: Positive | tuple[StrictInt, ...] = 3
    key: StrictInt = 0
    eval_every: Positive = 10
    eval_batch: Positive = 64

    @property
    def seed_list(self) -> tuple[int, ...]:
        """Numbers of the seeds."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    @pydantic.field_validator("seeds")
    @classmethod
    def _different(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if not isinstance(value, int) and (not value or len(set(value)) < len(value) or min(value) < 0):
            raise ValueError(f"got {list(value)}, different numbers from 0 on are allowed")
        return value


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


class Definition(Table):
    """A whole sweep. `model` adds the tables of what is registered."""

    name: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    description: StrictStr = ""
    module: tuple[StrictStr, ...] = ()
    workers: Many[Positive] = (10,)
    comm_model: Many[Any]
    arrival_model: Any = None
    figure: StrictBool = True
    problem: Any
    training: TrainingTable = TrainingTable()
    methods: Any
    profiles: Any
    grid: GridTable | None = None
    analysis: AnalysisTable = AnalysisTable()

    @pydantic.model_validator(mode="after")
    def _labels(self) -> Definition:
        for table, labels in (
            ("methods", [title(m) for m in self.methods]),
            ("profiles", [p.label for p in self.profiles]),
        ):
            for label in labels:
                if label.startswith("grid."):
                    raise ValueError(f"{table}: label {label!r}, labels that begin with grid. are taken")
                if labels.count(label) > 1:
                    raise ValueError(f"{table}: label {label!r} stands twice, labels must differ")
        return self


def title(method: Any) -> str:
    """The label of a method's table, or its name where there is none."""
    return method.label or method.name


def model() -> type[Definition]:
    """The model of a definition with everything that is registered now."""
    return _model(known())


@functools.lru_cache(maxsize=8)
def _model(_: tuple[Entry, ...]) -> type[Definition]:
    method: Any = union(
        "method",
        many=True,
        extra={
            "label": (Label, None, False),
            "iterations": (Positive, ..., True),
            "eval_every": (Positive, None, False),
        },
    )
    noise = union("noise")
    profile: Any = union(
        "profile",
        many=True,
        number=Number | DimensionPower,
        leave=("n",),
        extra={
            "label": (Label, ..., False),
            "title": (StrictStr, None, False),
            "noise": (noise, None, True),
        },
    )
    # Whether each worker has a problem of its own is for the definition to say, their number is known.
    problem: Any = union(
        "problem",
        many=True,
        default="policy_gradient",
        leave=("workers",),
        extra={"own": (StrictBool, None, True)},
    )
    network: Any = union("communication")
    filled: Any = {
        "comm_model": (Many[network], Field(default=("allreduce",), validate_default=True)),
        "arrival_model": (network | None, None),
        "problem": (problem, Field(default={"kind": "policy_gradient"}, validate_default=True)),
        "methods": (Annotated[tuple[method, ...], Field(min_length=1)], ...),
        "profiles": (Annotated[tuple[profile, ...], Field(min_length=1)], ...),
    }
    return pydantic.create_model("Definition", __base__=Definition, **filled)


def read(path: str | Path, *, size: str | None = None, changes: Sequence[str] = ()) -> Definition:
    """Read and check a definition; arguments as for `jaxnigt.sweep.merge.read`.

    Raises:
        InputError: one sentence naming the file, the key and what is allowed.
    """
    return parse(merge.read(Path(path), size=size, changes=changes), str(path))


def parse(data: dict[str, Any], source: str = "definition") -> Definition:
    """Check a definition that is already a dictionary; raises as `read` does."""
    data, found = dict(data), modules(data)
    problem = data.get("problem")
    if isinstance(problem, dict) and "module" in problem:
        data["problem"] = {key: value for key, value in problem.items() if key != "module"}
        sys.stderr.write(
            f"{source}: module now stands at the top, below [problem] it is read as well.\n"
        )
    data["module"] = found
    for module in found:
        run_module(module, again=True)
    try:
        return model().model_validate(data)
    except pydantic.ValidationError as error:
        raise InputError(f"{source}: {_sentence(error, data)}.") from None


def modules(data: dict[str, Any]) -> list[str]:
    """The files that a definition asks to be run, at its top or, as it was once, below `[problem]`."""
    problem = data.get("problem")
    below = problem.get("module", []) if isinstance(problem, dict) else []
    found = data.get("module", below)
    return [found] if isinstance(found, str) else list(found)


def _position(loc: Sequence[int | str], data: Any) -> tuple[int | str, ...]:
    """A path without the positions that nobody wrote, as one value stands for a list of one."""
    if not loc:
        return ()
    part, *rest = loc
    if isinstance(part, int):
        return (part, *_position(rest, data[part])) if isinstance(data, list) else _position(rest, data)
    # What is no key is the name of a table that pydantic chose.
    inner = data[part] if isinstance(data, dict) and part in data else data
    return (part, *_position(rest, inner))


def _sentence(error: pydantic.ValidationError, data: dict[str, Any]) -> str:
    """The first thing wrong: where, what was given, what is allowed."""
    first = error.errors(include_url=False)[0]
    # A choice between tables adds the table's name to the path; only keys and positions are ours.
    names = {name for kind in KEYS for name in entries(kind)}
    names |= {"float", "int", "str", "bool"}
    path = _position(first["loc"], data)
    keys = [k for k in path if isinstance(k, int) or (k.isidentifier() and k not in names)]
    keys = [k for k in keys if isinstance(k, int) or k.islower()]
    context, given = first.get("ctx", {}), first["input"]
    if first["type"].startswith("union_tag"):
        key = context["discriminator"].strip("'")
        # A plain word stands for a table with a name and nothing else.
        keys += [] if isinstance(given, dict) and set(given) == {key} else [key]
    if len(keys) > 1 and isinstance(keys[-1], int) and keys[0] not in ("methods", "profiles"):
        keys = keys[:-1]  # which entry of a list it is, the value says as well
    elif len(keys) > 3 and isinstance(keys[-1], int):
        keys = keys[:-1]
    where = ".".join(str(k) for k in keys)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] in ("missing", "union_tag_not_found"):
        return f"{where}: this key is missing"
    if first["type"] == "value_error":
        return f"{where}: {message}" if where else message
    if first["type"] == "union_tag_invalid":
        allowed = context["expected_tags"].replace("'", "")
        return f"{where}: got {context['tag']!r}, allowed are {allowed}"
    if first["type"] == "literal_error":
        allowed = context["expected"].replace("'", "").replace(" or ", ", ")
        return f"{where}: got {first['input']!r}, allowed are {allowed}"
    return f"{where}: got {first['input']!r}, {message[0].lower()}{message[1:]}"


def run_module(path: str, *, again: bool = False) -> None:
    """Run a Python file, which registers what it defines, once in a process.

    Args:
        path: of the file.
        again: run it once more where it has changed since.

    Raises:
        InputError: a file that is not there or that raises.
    """
    whole = str(Path(path).resolve())
    # A name that no other module has, as two files may be called alike.
    name = f"_{Path(whole).stem}_{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
    if name in sys.modules and not (again and Path(whole).is_file() and renew(whole)):
        return
    spec = importlib.util.spec_from_file_location(name, whole)
    if spec is None or spec.loader is None or not Path(whole).is_file():
        raise InputError(f"module: got {whole!r}, a Python file is allowed.")
    renew(whole)
    linecache.checkcache(whole)
    with quiet():  # or the file's own import of it makes noise
        import brax.envs  # noqa: F401
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"module: {whole} raises {type(error).__name__}: {error}.") from error


class Variant(NamedTuple):
    """One combination of a table's values.

    Attributes:
        label: "key=value,..." for the keys that vary, "" where none does.
        table: every key that was given, with one value each, ready for JSON.
    """

    label: str
    table: Plain


def variants(table: pydantic.BaseModel, keep: Sequence[str] = ()) -> list[Variant]:
    """All combinations of a table's lists, the last key varying fastest.

    Args:
        table: of a definition.
        keep: keys whose lists stay lists.
    """
    given = {
        key: value
        for key in type(table).model_fields
        if (value := getattr(table, key)) is not None and key not in ("label", "title")
    }
    axes = [key for key in given if key in getattr(type(table), "swept", ()) and key not in keep]
    varying = [key for key in axes if len(given[key]) > 1]
    # Six digits tell most numbers apart; where they do not, all of them are written out.
    short = all(len({_word(x) for x in given[key]}) == len(given[key]) for key in varying)
    word = _word if short else repr
    found = []
    for values in itertools.product(*(given[key] for key in axes)):
        chosen = {**given, **dict(zip(axes, values, strict=True))}
        label = ",".join(f"{key}={word(chosen[key])}" for key in varying)
        found.append(Variant(label, {key: plain(value) for key, value in chosen.items()}))
    return found


def plain(value: Any) -> Any:
    """A value as JSON holds it."""
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    return [plain(x) for x in value] if isinstance(value, tuple) else value


def _word(value: Any) -> str:
    """A value in a label."""
    if isinstance(value, pydantic.BaseModel):
        parts = value.model_dump(mode="json", exclude_none=True)
        name = parts.pop("kind", None) or parts.pop("name", None)
        words = [f"{k}:{_word(v)}" for k, v in parts.items()]
        return "-".join([*([name] if name else []), *words])
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "_".join(_word(x) for x in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def leaves(table: Plain) -> dict[str, list[float]]:
    """Hyperparameters of a method's table, those that it does not give at their default."""
    defaults = hyperparameters(lookup("method", table["name"]))
    given = {name: table.get(name, default) for name, default in defaults.items()}
    return {name: list(v) if isinstance(v, list | tuple) else [v] for name, v in given.items()}


def template() -> str:
    """Every key of a definition as TOML, from the models that check it.

    A key after # has the default that stands there, or is left out. Of the tables that say what is
    trained on what, there is one for each registered name; a definition has one problem, and as many
    methods and profiles as it likes.
    """
    found = model()
    lines = _keys(found, leave=("problem", "training", "methods", "profiles", "grid", "analysis"))
    for name, table in (("training", TrainingTable), ("grid", GridTable), ("analysis", AnalysisTable)):
        lines += ["", f"[{name}]", *_keys(table)]
    for name, kind in (("problem", "problem"), ("methods", "method"), ("profiles", "profile")):
        heading = f"[{name}]" if name == "problem" else f"[[{name}]]"
        for table in _tables(found.model_fields[name].annotation):
            about = (table.__doc__ or "").partition("\n")[0]
            named = f'{KEYS[kind]} = "{table.__name__}"'
            lines += ["", f"{heading} # {about}", named, *_keys(table, leave=(KEYS[kind],))]
    return "\n".join(lines)


def _tables(annotation: Any) -> list[type[Table]]:
    """The tables that a type allows, those of its own level."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return [annotation]
    return [table for part in typing.get_args(annotation) for table in _tables(part)]


def _keys(table: type[pydantic.BaseModel], leave: Sequence[str] = ()) -> list[str]:
    """A line for each key of a table."""
    lines = []
    for name, field in table.model_fields.items():
        default = field.description if field.description is not None else written(field.default)
        mark = "" if field.is_required() else "# "
        lines += [] if name in leave else [f"{mark}{name} = {default}"]
    return lines
