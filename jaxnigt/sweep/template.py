"""Every key that a definition may have, as a TOML file to start from."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any

import pydantic

from jaxnigt.registry import KEYS
from jaxnigt.sweep.schema import (
    AnalysisTable,
    ComplexityTable,
    GridTable,
    Table,
    TrainingTable,
    model,
    written,
)


def template() -> str:
    """Every key of a definition as TOML, from the models that check it.

    A key after # has the default that stands there, or is left out. There is a table for each registered
    problem, method and profile; a definition has one problem, and as many of the others as it likes.
    """
    fields = model().model_fields
    parts = {"training": TrainingTable, "grid": GridTable}
    parts |= {"analysis": AnalysisTable, "complexity": ComplexityTable}
    named = {"problem": "problem", "methods": "method", "profiles": "profile"}
    lines = _keys(model(), leave=(*parts, *named))
    for name, table in parts.items():
        lines += ["", f"[{name}]", *_keys(table)]
    for name, kind in named.items():
        heading = f"[{name}]" if name == "problem" else f"[[{name}]]"
        for table in _tables(fields[name].annotation):
            about = (table.__doc__ or "").partition("\n")[0]
            first = f'{KEYS[kind]} = "{table.__name__}"'
            lines += ["", f"{heading} # {about}", first, *_keys(table, leave=(KEYS[kind],))]
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
        if name not in leave:
            default = written(field.default) if field.description is None else field.description
            lines.append(f"{'' if field.is_required() else '# '}{name} = {default}")
    return lines
