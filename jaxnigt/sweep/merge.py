"""Definitions from files: one may rest on another, hold two sizes, and be changed from outside."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxnigt.checks import InputError

Data = dict[str, Any]


def read(path: Path, *, size: str | None = None, changes: Sequence[str] = ()) -> Data:
    """The keys of a definition after everything that it rests on, its size and changes from outside.

    `base = "other.toml"` (or a list of files, later ones first in rank) is looked for beside the file
    that names it. Tables are merged key by key. Anything else is replaced, lists of tables included.
    `[size.NAME]` holds keys that replace those of the definition where that size is asked for. `module =
    "mine.py"` is run first.

    Args:
        path: the TOML file.
        size: which table of `[size]` to apply.
        changes: "key.of.table=value" with a TOML value, applied last; see `assign`.

    Raises:
        InputError: one sentence naming the file, the key and what is allowed.
    """
    data = _with_bases(path, ())
    sizes = data.pop("size", {})
    if size is not None:
        if not isinstance(sizes, dict) or size not in sizes:
            allowed = ", ".join(sizes) or "none, as it has no [size.NAME]"
            raise InputError(f"size: got {size!r}, {path} allows {allowed}.")
        for key, value in _leaves(sizes[size]):
            assign(data, key, value, f"size.{size}")
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key.strip():
            raise InputError(f"set: got {change!r}, key.of.table=value is allowed.")
        assign(data, key.strip(), _value(text.strip()), "set")
    return data


def _with_bases(path: Path, above: tuple[Path, ...]) -> Data:
    if path.resolve() in above:
        raise InputError(f"{path}: base leads back to the file itself, a chain of files is allowed.")
    data = _toml(path)
    # Files are looked for beside the definition that names them, wherever it is run from.
    for table in data.get("profiles", []) if isinstance(data.get("profiles"), list) else []:
        if isinstance(table, dict) and isinstance(table.get("path"), str):
            table["path"] = str(path.parent / table["path"])
    for table in (data, data.get("problem")):
        if isinstance(table, dict) and isinstance(table.get("module"), str):
            table["module"] = str(path.parent / table["module"])
        elif isinstance(table, dict) and isinstance(table.get("module"), list):
            table["module"] = [str(path.parent / str(one)) for one in table["module"]]
    bases = data.pop("base", [])
    merged: Data = {}
    for base in [bases] if isinstance(bases, str) else bases:
        if not isinstance(base, str):
            raise InputError(f"{path}: base: got {base!r}, names of files are allowed.")
        merged = _merged(merged, _with_bases(path.parent / base, (*above, path.resolve())))
    return _merged(merged, data)


def _toml(path: Path) -> Data:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise InputError(f"{path} cannot be read: {reason}.") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}.") from None


def _merged(below: Data, above: Data) -> Data:
    """One definition over another. Tables at the top are merged, a table within a table is one value."""
    merged = copy.deepcopy(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = copy.deepcopy({**merged[key], **value} if both else value)
    return merged


def _leaves(table: Data) -> list[tuple[str, Any]]:
    """Dotted keys of the tables of a size and what they hold; ranges and lists stay whole."""
    found = []
    for key, value in table.items():
        # Of lists of tables, one table is named by its label.
        parts = value.items() if isinstance(value, dict) else ()
        if key in ("methods", "profiles") and isinstance(value, dict):
            parts = [(f"{label}.{k}", v) for label, inner in parts for k, v in inner.items()]
        found += [(f"{key}.{k}", v) for k, v in parts] if isinstance(value, dict) else [(key, value)]
    return found


def assign(data: Data, dotted: str, value: Any, source: str = "set") -> None:
    """Change one key in place.

    Args:
        data: the definition.
        dotted: "problem.backend", "methods.0.batch", "methods.rennala_nigt.batch" (by label or name) or
            "methods.*.batch" for every method.
        value: the new value.
        source: what an error is to name.

    Raises:
        InputError: a table that is not there.
    """
    *path, last = dotted.split(".")
    places: list[Any] = [data]
    for step in path:
        places = [inner for place in places for inner in _down(place, step, f"{source}: {dotted}")]
    for place in places:
        if not isinstance(place, dict):
            raise InputError(f"{source}: {dotted} ends at a list of tables, a key of them is allowed.")
        place[last] = copy.deepcopy(value)


def _down(place: Any, step: str, dotted: str) -> list[Any]:
    """Tables, or one list of tables, that a step of a dotted key leads to."""
    if isinstance(place, dict):
        return [place.setdefault(step, {})]
    if not isinstance(place, list) or not all(isinstance(table, dict) for table in place):
        raise InputError(f"{dotted}: nothing is below {place!r}, keys of tables are allowed.")
    if step == "*":
        return place
    if step.isdecimal() and int(step) < len(place):
        return [place[int(step)]]
    found = [table for table in place if step in (table.get("label"), table.get("name"))]
    if not found:
        names = ["*", *(str(table.get("label") or table.get("name")) for table in place)]
        raise InputError(f"{dotted}: no table {step!r}, allowed are {', '.join(names)}.")
    return found


def _value(text: str) -> Any:
    """A TOML value; words without quotes are strings."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
