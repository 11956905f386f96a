"""Reading definitions: TOML files put together from their parts, changed from outside and checked."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import itertools
import linecache
import math
import re
import reprlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import pydantic

from jaxnigt import files
from jaxnigt.checks import InputError, fits
from jaxnigt.environments.brax import quiet
from jaxnigt.sweep.fingerprint import edited, imported, look
from jaxnigt.sweep.schema import Definition, Plain, model

_MOST = 1_000_000
"""Runs of a method and profiles of a table. Each takes some memory before anything is trained."""
_FILES = re.compile(r"(size\.[^.]+\.)?((problem\.)?module|depends|profiles\.(.+\.)?path)")
"""Keys that name files, as they are or in a size, where profiles are named by their labels."""


def read(path: str | Path, *, size: str | None = None, changes: Sequence[str] = ()) -> Definition:
    """Read and check a definition; arguments and errors as for `merged`."""
    return parse(merged(Path(path), size=size, changes=changes), str(path))


def merged(path: Path, *, size: str | None = None, changes: Sequence[str] = ()) -> Plain:
    """The keys of a definition after everything that it rests on, its size and changes from outside.

    `base = "other.toml"` (or a list of files, later ones first in rank) is looked for beside the file
    that names it. Tables are merged key by key. Anything else is replaced, lists of tables included.
    `[size.NAME]` holds keys that replace those of the definition where that size is asked for. Changes,
    "key.of.table=value" with a TOML value, come last; see `_assign`.

    Raises:
        InputError: one sentence naming the file, the key and what is allowed.
    """
    data = _with_bases(path, ())
    given = data.pop("size", {})
    if size is not None:
        sizes = given if isinstance(given, dict) else {}
        sizes = {name: table for name, table in sizes.items() if isinstance(table, dict)}
        if size not in sizes:
            allowed = ", ".join(sizes) or "none, as it has no [size.NAME]"
            raise InputError(f"size: got {size!r}, {path} allows {allowed}.")
        for key, value in _dotted(sizes[size]):
            _assign(data, key, value, f"size.{size}")
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key.strip():
            raise InputError(f"set: got {change!r}, key.of.table=value is allowed.")
        try:
            value = files.of_toml(f"value = {text.strip()}")["value"]
        except files.Damaged:  # words without quotes are strings
            value = text.strip()
        _assign(data, key.strip(), value, "set")
    return data


def _with_bases(path: Path, above: tuple[Path, ...]) -> Plain:
    """A file over those that it rests on: tables at the top are merged, others replaced."""
    if path.resolve() in above:
        raise InputError(f"{path}: base leads back to the file itself, a chain of files is allowed.")
    data = _toml(path)
    _beside(path.parent, data)
    bases = data.pop("base", [])
    whole: Plain = {}
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str):
            raise InputError(f"{path}: base: got {base!r}, names of files are allowed.")
        _lay(_with_bases(path.parent / base, (*above, path.resolve())), whole)
    return _lay(data, whole)


def _beside(folder: Path, table: Plain, within: str = "") -> None:
    """Look for files beside the definition that names them, in any of its tables, wherever it is run."""
    for key, value in table.items():
        place = f"{within}.{key}".removeprefix(".")
        inner = [value] if isinstance(value, dict) else value if isinstance(value, list) else []
        for one in inner:
            if isinstance(one, dict):
                _beside(folder, one, place)
        if not _FILES.fullmatch(place):
            continue
        if isinstance(value, str):
            table[key] = str(folder / value)
        elif isinstance(value, list) and not place.endswith("path"):
            table[key] = [str(folder / str(one)) for one in value]


def _lay(above: Plain, below: Plain) -> Plain:
    """Lay one definition over another, which is changed."""
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(below.get(key), dict)
        below[key] = {**below[key], **value} if both else value
    return below


def _toml(path: Path) -> Plain:
    try:
        return files.toml(path)
    except files.Damaged as damage:
        raise InputError(f"{path} cannot be read: {damage}.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


def _dotted(table: Plain) -> list[tuple[str, Any]]:
    """Dotted keys of a size and what they hold; ranges and lists stay whole."""
    found = []
    for key, value in table.items():
        if not isinstance(value, dict):
            found.append((key, value))
        elif key in ("methods", "profiles"):  # of lists of tables, one table is named by its label
            for name, one in value.items():
                if not isinstance(one, dict):
                    raise InputError(
                        f"size.{key}.{name}: got {reprlib.repr(one)}, a table with the keys to change "
                        "is allowed."
                    )
                found += [(f"{key}.{name}.{k}", v) for k, v in one.items()]
        else:
            found += [(f"{key}.{k}", v) for k, v in value.items()]
    return found


def _assign(data: Plain, dotted: str, value: Any, source: str) -> None:
    """Change one key in place, such as "methods.0.batch", "methods.LABEL.batch" or "methods.*.batch"."""
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


def parse(data: Plain, source: str = "definition") -> Definition:
    """Check a definition that is already a dictionary; raises as `merged` does."""
    _check_whole(data, source)
    data = {**data, "module": modules(data)}
    if isinstance(data.get("depends"), str):
        data["depends"] = [data["depends"]]
    problem = data.get("problem")
    if isinstance(problem, dict) and "module" in problem:
        data["problem"] = {key: value for key, value in problem.items() if key != "module"}
        sys.stderr.write(
            f"{source}: module now stands at the top, below [problem] it is read as well.\n"
        )
    for module in data["module"]:
        run_module(module, again=True)
    try:
        definition = model().model_validate(data)
    except pydantic.ValidationError as error:
        raise InputError(f"{source}: {_sentence(error, data)}.") from None
    _check_sizes(definition, source)
    return definition


def _check_sizes(definition: Definition, source: str) -> None:
    """Before anything is made of lists and ranges, which multiply."""
    seeds, grid, profiles = definition.training.seeds, definition.grid, 0
    runs = len(definition.workers) * (seeds if isinstance(seeds, int) else len(seeds))
    tables = [("problem", definition.problem, 1)]
    tables += [(f"methods.{i}", table, runs) for i, table in enumerate(definition.methods)]
    tables += [(f"profiles.{i}", table, 1) for i, table in enumerate(definition.profiles)]
    for where, table, each in tables:
        count = each * math.prod(len(getattr(table, key) or [0]) for key in type(table).swept)
        if count > _MOST:
            raise InputError(
                f"{source}: {where}: its lists, with seeds and workers, have {count:,} combinations, at "
                f"most {_MOST:,} are allowed."
            )
        profiles += count if where.startswith("profiles") else 0
    profiles += len(grid.exponent) * len(grid.comm_scale) if grid else 0
    fits(f"{source}: workers", 64 * profiles * sum(definition.workers))


def _check_whole(data: Plain, source: str) -> None:
    """Raise InputError for a whole number of more than the 64 bits that TOML has.

    Neither floats nor NumPy's arrays could hold it.
    """
    waiting: list[tuple[str, Any]] = [("", data)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict | list | tuple):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [(f"{key}.{inner}".removeprefix("."), found) for inner, found in items]
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            given = value if value.bit_length() < 200 else f"one of {value.bit_length()} bits"
            raise InputError(
                f"{source}: {key}: got {given}, whole numbers from -2^63 to 2^63 - 1 are allowed."
            )


def modules(data: Plain) -> list[str]:
    """The files that a definition asks to be run, at its top or, as it was once, below `[problem]`."""
    problem = data.get("problem")
    below = problem.get("module", []) if isinstance(problem, dict) else []
    found = data.get("module", below)
    found = [found] if isinstance(found, str) else found
    if not isinstance(found, list | tuple) or not all(isinstance(file, str) for file in found):
        raise InputError(f"module: got {found!r}, names of files are allowed.")
    return list(found)


def _sentence(error: pydantic.ValidationError, data: Plain) -> str:
    """The first thing wrong: where, what was given, what is allowed."""
    first = error.errors(include_url=False)[0]
    kind, given, context = first["type"], first["input"], first.get("ctx", {})
    keys = _keys(first["loc"], data) + ([first["loc"][-1]] if kind == "missing" else [])
    if kind.startswith("union_tag"):
        key = context["discriminator"].strip("'")
        # A plain word stands for a table with a name and nothing else.
        keys += [] if isinstance(given, dict) and set(given) == {key} else [key]
    # Which entry of a list it is, the value says as well.
    most = 3 if keys[:1] in (["methods"], ["profiles"]) else 1
    if len(keys) > most and isinstance(keys[-1], int):
        keys.pop()
    message = first["msg"].removeprefix("Value error, ")
    match kind:
        case "missing" | "union_tag_not_found":
            words = "this key is missing"
        case "value_error":
            words = message
        case "union_tag_invalid":
            allowed = context["expected_tags"].replace("'", "")
            words = f"got {context['tag']!r}, allowed are {allowed}"
        case "literal_error":
            allowed = context["expected"].replace("'", "").replace(" or ", ", ")
            words = f"got {given!r}, allowed are {allowed}"
        case _:
            words = f"got {given!r}, {message[0].lower()}{message[1:]}"
    return ": ".join([*([".".join(map(str, keys))] if keys else []), words])


def _keys(loc: Sequence[int | str], data: Any) -> list[int | str]:
    """What somebody wrote of pydantic's path, which adds names of tables and types."""
    found: list[int | str] = []
    for part in loc:
        in_list = isinstance(data, list) and isinstance(part, int)
        if in_list or (isinstance(data, dict) and part in data):
            found.append(part)
            data = cast("Any", data)[part]
    return found


def run_module(path: str, *, again: bool = False) -> None:
    """Run a Python file, which registers what it defines: once in a process, or again if it has changed.

    Raises:
        InputError: a file that is not there or that raises.
    """
    whole = Path(path).resolve()
    # A name that no other module has, as two files may be called alike.
    name = f"_{whole.stem}_{hashlib.sha256(str(whole).encode()).hexdigest()[:8]}"
    if name in sys.modules and not (again and whole.is_file() and edited(str(whole))):
        return
    spec = importlib.util.spec_from_file_location(name, whole)
    if spec is None or spec.loader is None or not whole.is_file():
        raise InputError(f"module: got {str(whole)!r}, a Python file is allowed.")
    # The only door by which a definition runs code is never opened in silence.
    sys.stderr.write(f"module: {whole} is run, as the definition asks for.\n")
    linecache.checkcache()
    with quiet():  # or the file's own import of it makes noise
        import brax.envs  # noqa: F401
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        # Python would give it what it had before of the files that it imports.
        for helper in imported(str(whole)):
            if edited(str(helper.__file__)):
                importlib.reload(helper)
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"module: {whole} raises {type(error).__name__}: {error}.") from error
    finally:
        for file in (str(whole), *(str(helper.__file__) for helper in imported(str(whole)))):
            look(file)


class Variant(NamedTuple):
    """One combination of a table's values."""

    label: str  # "key=value,..." for the keys that vary, "" where none does
    table: Plain  # every key that was given, with one value each


def variants(table: pydantic.BaseModel, keep: Sequence[str] = ()) -> list[Variant]:
    """All combinations of a table's lists, the last key varying fastest; lists of `keep` stay lists."""
    given = {key: value for key, value in table if value is not None and key not in ("label", "title")}
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
        parts = plain(value)
        name = next((parts.pop(key) for key in ("kind", "name") if parts.get(key)), None)
        words = [f"{key}:{_word(part)}" for key, part in parts.items()]
        return "-".join([name, *words] if name else words)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "_".join(map(_word, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
