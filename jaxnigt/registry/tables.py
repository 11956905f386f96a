"""Tables of a definition as pydantic models that are made from the signatures of registered makers.

The keys of a table are the arguments of the class or function that it names, with their types and
defaults.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union

import numpy as np
import pydantic
from numpy.typing import ArrayLike
from pydantic import Field, StrictBool, StrictInt, StrictStr

from jaxnigt.registry.names import KEYS, Entry, entries, hints, kind_of

Number = Annotated[float, Field(strict=True, allow_inf_nan=True)]
T = TypeVar("T")

_RANGE = ("start", "stop", "num", "spacing")
_SCALARS = {bool: StrictBool, int: StrictInt, float: Number, str: StrictStr}


def _many(value: Any) -> Any:
    """One value, a list of them or a range, as a list."""
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
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key {key!r}, allowed are {', '.join(cls.model_fields)}")
        return data


def union(
    kind: str,
    *,
    many: bool = False,
    default: str | None = None,
    number: Any = Number,
    leave: Sequence[str] = (),
    extra: Mapping[str, tuple[Any, Any, bool]] | None = None,
) -> Any:
    """The type of a table that names one of the registered things of a kind.

    Args:
        kind: one of `jaxnigt.registry.names.KEYS`. Its key tells the tables apart.
        many: single values may also be lists and ranges, as a sweep goes over them.
        default: the name where the table gives none.
        number: the type of a number.
        leave: arguments that are not keys, because something else fills them in.
        extra: keys that all tables of the kind have besides: type, default, and whether a sweep goes
            over it.

    Returns:
        An annotated type for pydantic. A plain word stands for a table with that name and nothing else.
    """
    key = KEYS[kind]
    models = tuple(_model(entry, many, number, leave, extra or {}) for entry in entries(kind).values())
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


def _model(
    entry: Entry,
    many: bool,
    number: Any,
    leave: Sequence[str],
    extra: Mapping[str, tuple[Any, Any, bool]],
) -> type[Table]:
    # Keys that must be given come first, others that go with all tables last.
    more = {key: (Many[kind] if many else kind, default) for key, (kind, default, many) in extra.items()}
    fields: dict[str, Any] = {key: field for key, field in more.items() if field[1] is ...}
    fields[KEYS[entry.kind]] = (Literal[entry.name], ...)
    swept = {key for key, (_, _, many) in extra.items() if many}
    annotations = hints(entry.maker)
    for name, parameter in inspect.signature(entry.maker).parameters.items():
        if name in leave or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        annotation = annotations.get(name, Any)
        if annotation is Any and parameter.default is not parameter.empty:
            annotation = type(parameter.default)
        found = _field(annotation, number)
        if found is None:
            continue
        key, kind = entry.keys.get(name, name), found
        if many and not _listed(annotation):
            swept.add(key)
            kind = Many[found]
        needed = parameter.default is parameter.empty
        # The maker's own default stands in the description, for people; a key that is left out is not
        # passed.
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


def hyperparameters(entry: Entry) -> dict[str, Any]:
    """The arguments of a method that may be arrays, with their defaults: what is trained at once."""
    annotations, found = hints(entry.maker), {}
    for name, parameter in inspect.signature(entry.maker).parameters.items():
        plain_number = name not in annotations and isinstance(parameter.default, float)
        if annotations.get(name) == ArrayLike or plain_number:
            found[name] = parameter.default
    return found


def _members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union without None, or the annotation itself."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return tuple(arg for arg in typing.get_args(annotation) if arg is not type(None))
    return (annotation,)


def _listed(annotation: Any) -> bool:
    """Whether a value of this type is itself written as a list or a table of values."""
    if annotation == ArrayLike:
        return False
    origins = {typing.get_origin(member) for member in _members(annotation)}
    return any(isinstance(o, type) and issubclass(o, Sequence | Mapping) for o in origins if o)


def _field(annotation: Any, number: Any) -> Any:
    """What TOML holds for an argument of this type, None where it can hold nothing of the kind."""
    if annotation == ArrayLike:
        return number
    members = _members(annotation)
    # An environment is a class of the user's, which has a name of its own in TOML.
    for kind in map(kind_of, members):
        if kind and kind != "environment":
            return union(kind) if entries(kind) else None
    found = [x for member in members if (x := _single(member, number)) is not None]
    return Union[tuple(found)] if found else None  # noqa: UP007  (made at run time)


def _single(annotation: Any, number: Any) -> Any:
    if annotation is float:
        return number
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return annotation
    if isinstance(origin, type) and issubclass(origin, Mapping):
        inner = _field(arguments[1], number)
        return None if inner is None else dict[str, inner]
    if isinstance(origin, type) and issubclass(origin, Sequence):
        inner = _field(arguments[0], number)
        return None if inner is None else tuple[inner, ...]
    return None
