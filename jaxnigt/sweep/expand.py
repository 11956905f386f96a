"""Tables with lists, as one plain table for each combination of their values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import pydantic


class Variant(NamedTuple):
    """One combination.

    Attributes:
        label: "key=value,..." for the keys that vary, "" where none does.
        table: every key that was given, with one value each, ready for JSON.
    """

    label: str
    table: dict[str, Any]


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
    axes = [key for key, value in given.items() if isinstance(value, tuple) and key not in keep]
    varying = [key for key in axes if len(given[key]) > 1]
    # Six digits tell most numbers apart; where they do not, all of them are written out.
    short = all(len({_word(x) for x in given[key]}) == len(given[key]) for key in varying)
    word = _word if short else repr
    found = []
    for values in itertools.product(*(given[key] for key in axes)):
        chosen = {**given, **dict(zip(axes, values, strict=True))}
        label = ",".join(f"{key}={word(chosen[key])}" for key in varying)
        found.append(Variant(label, {key: _plain(value) for key, value in chosen.items()}))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    return [_plain(x) for x in value] if isinstance(value, tuple) else value


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
