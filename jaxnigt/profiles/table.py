"""Profiles from tables that other programs wrote: read strictly, and never guessed at without a word."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from jaxnigt.checks import InputError, as_path
from jaxnigt.profiles.profile import Profile
from jaxnigt.registry import register

_NEEDED, _LABEL = ("compute", "comm"), "profile"
_MOST_BYTES, _MOST_CELLS, _SHOWN = 64 * 2**20, 10_000, 20
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0}
_SECONDS |= {"min": 60.0, "minutes": 60.0, "h": 3600.0, "hours": 3600.0}
_UNIT = re.compile(r"(?P<name>.*?)\s*[\[(]\s*(?P<unit>[^\])]*?)\s*[\])]")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")


def _parts(
    path: str | Path,
    columns: Mapping[str, str] | None = None,
    delimiter: str | None = None,
    comment: str = "#",
) -> dict[str | None, list[list[float]]]:
    """Rows of compute and comm by the label of their profile, None where there is no such column."""
    path = as_path("path", path)
    if columns is not None and not isinstance(columns, Mapping):
        raise InputError(f"columns: got {columns!r}, names of columns by what they hold are allowed.")
    if not isinstance(comment, str):
        raise InputError(f"comment: got {comment!r}, a word is allowed.")
    table = _Table(path, _text(path), delimiter, comment)
    wanted = {name: name for name in (*_NEEDED, _LABEL)} | dict(columns or {})
    if unknown := wanted.keys() - {*_NEEDED, _LABEL}:
        raise InputError(f"columns: got {min(unknown)!r}, allowed are compute, comm, profile.")
    found = {name: table.column(theirs) for name, theirs in wanted.items()}
    for name in (*_NEEDED, *(columns or {})):
        if found[name] is None:
            called = "" if wanted[name] == name else f" (called {wanted[name]!r})"
            table.refuse(
                f"column {name!r}{called} is missing, the columns compute and comm are needed (comm is "
                f"0 where communication is free), found are {', '.join(table.names[:_SHOWN]) or 'none'}"
            )
    label = found[_LABEL]
    groups: dict[str | None, list[list[float]]] = {}
    for row in table.rows():
        compute = table.seconds(row, found["compute"])
        dead = math.isinf(compute)
        comm = 0.0 if dead else table.seconds(row, found["comm"])
        groups.setdefault(None if label is None else row.cells[label.place], []).append([compute, comm])
    if not groups:
        table.refuse("there are no rows, one row a worker is needed")
    if len({len(group) for group in groups.values()}) > 1:
        each = ", ".join(f"{name!r} {len(group)}" for name, group in list(groups.items())[:_SHOWN])
        table.refuse(f"profiles differ in length ({each}), each needs the same number of workers")
    return groups


def labels(*arguments: Any, **options: Any) -> tuple[str, ...] | None:
    """The labels of the profiles in a table, None where they have none; arguments as of `from_csv`."""
    found = _parts(*arguments, **options)
    return None if None in found else tuple(map(str, found))


@register("from_csv", labels=labels)
def from_csv(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    delimiter: str | None = None,
    comment: str = "#",
) -> Profile:
    """Read profiles from a table with a header line and one row a worker.

    Columns `compute` (`inf` for a dead worker) and `comm` hold seconds, or another unit that the header
    names, such as "compute [ms]". Capitals and spaces around names make no difference. A dead worker's
    `comm` may be blank. An optional column `profile` labels rows that belong together: the result then
    has one leading axis with the profiles in their order of appearance, all with the same number of
    workers. A sweep has each of them under its label. Other columns are left alone.

    Args:
        path: of a text file in UTF-8, of at most 67,108,864 characters.
        columns: the names in the file of those that are called otherwise there, such as
            {"compute": "seconds per step"}.
        delimiter: between cells; by default whichever of comma, semicolon and tab divides the header
            line. Where it is no comma, numbers may have a decimal comma, all or none of them.
        comment: lines that begin with it are passed over, as blank ones are.

    Raises:
        InputError: a file that cannot be read, a column that is missing or there twice, a row with more
            or fewer cells than the header, or a value that is no time.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("Compute [ms];comm", "1500,5;0", "inf;", sep=chr(10), file=file)
        ...     file.flush()
        ...     from_csv(file.name).compute
        array([1.5005,    inf])
    """
    parts = _parts(path, columns, delimiter, comment)
    times = np.array(list(parts.values()))
    times = times[0] if None in parts else times
    try:
        return Profile(times[..., 0], times[..., 1])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


class _Column(NamedTuple):
    """Where a column is, what it is called there, and how many seconds its unit has."""

    place: int
    name: str
    unit: float


class _Row(NamedTuple):
    """The cells of a row and the number of its first line."""

    line: int
    cells: list[str]


class _Table:
    """The cells of a file whose rows are as long as its header.

    Attributes:
        names: of the columns, as the file has them.
    """

    def __init__(self, path: Path, text: str, delimiter: str | None, comment: str):
        self.path = path
        if delimiter is not None and not (isinstance(delimiter, str) and len(delimiter) == 1):
            raise InputError(f"delimiter: got {delimiter!r}, one character is allowed.")
        self._lines = _Lines(text, comment)
        self._delimiter = delimiter or _delimiter(self._lines.first())
        if wide := self._lines.wide(self._delimiter):
            self.refuse(wide)
        reader = self._reader()
        self.names = [cell.strip() for cell in next(reader).cells] if self._lines.first() else []
        self._rest, self._marks = reader, set[str]()

    def refuse(self, words: str) -> NoReturn:
        """Raise InputError about the file."""
        raise InputError(f"{self.path}: {words}.")

    def column(self, name: str) -> _Column | None:
        """The column of a name, whatever its capitals, spaces and unit; None where there is none."""
        places = []
        for place, theirs in enumerate(self.names):
            match = _UNIT.fullmatch(theirs)
            bare, unit = (match["name"], match["unit"]) if match else (theirs, "s")
            if name.strip().casefold() in (theirs.casefold(), bare.casefold()):
                places.append(_Column(place, theirs, self._unit(theirs, unit)))
        if len(places) > 1:
            self.refuse(f"column {name!r} is there {len(places)} times, once is allowed")
        return places[0] if places else None

    def rows(self) -> Iterator[_Row]:
        """The rows below the header."""
        for row in self._rest:
            if len(row.cells) != len(self.names):
                hint = (
                    " (a decimal comma needs quotes or another delimiter)"
                    if self._delimiter == ","
                    else ""
                )
                self.refuse(
                    f"line {row.line} has {len(row.cells)} cells and the header {len(self.names)}, "
                    f"equally many are allowed{hint}"
                )
            yield row._replace(cells=[cell.strip() for cell in row.cells])

    def seconds(self, row: _Row, column: _Column | None) -> float:
        """The time in a cell."""
        assert column is not None
        text = row.cells[column.place]
        comma = self._delimiter != "," and _DECIMAL_COMMA.fullmatch(text)
        self._marks |= {"," if comma else "."} if comma or "." in text else set()
        if len(self._marks) > 1:
            self.refuse(
                f"line {row.line}, column {column.name!r} holds {text!r}, where others have another "
                "decimal mark, one for all is allowed"
            )
        try:
            value = float(text.replace(",", ".") if comma else text)
        except ValueError:
            value = math.nan
        written = text.lstrip("+").casefold() in ("inf", "infinity")
        if math.isnan(value) or "_" in text or (math.isinf(value) and not written):
            self.refuse(
                f"line {row.line}, column {column.name!r} holds {text!r}, a number is allowed, or inf "
                "as compute of a dead worker"
            )
        return value * column.unit

    def _unit(self, name: str, unit: str) -> float:
        seconds = _SECONDS.get(unit.lower().replace("\u03bc", "\u00b5"))  # two signs look like micro
        if seconds is None:
            self.refuse(f"column {name!r} has the unit {unit!r}, allowed are {', '.join(_SECONDS)}")
        return seconds

    def _reader(self) -> Iterator[_Row]:
        reader = csv.reader(
            self._lines, delimiter=self._delimiter, strict=True, skipinitialspace=self._delimiter != "\t"
        )
        while True:
            line = self._lines.number + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                self.refuse(f"line {max(line, self._lines.begin)} cannot be read ({error})")
            if any("\n" in cell for cell in cells):
                self.refuse(f"line {self._lines.begin}: a quoted cell goes on over the end of the line")
            yield _Row(self._lines.number, cells)


class _Lines:
    """The lines of a text that are neither blank nor comments, and their numbers.

    Attributes:
        number: of the line that was last read.
        begin: of the first line that was read since the last quote was closed.
    """

    def __init__(self, text: str, comment: str):
        lines = enumerate(io.StringIO(text, newline=None), start=1)
        self._kept = [(i, x) for i, x in lines if x.strip() and not (comment and x.startswith(comment))]
        self._next, self.number, self.begin = 0, 0, 0
        self._open = False

    def first(self) -> str:
        """The header line, "" where there is none."""
        return self._kept[0][1] if self._kept else ""

    def wide(self, delimiter: str) -> str | None:
        """What is said of the first line that has too many cells to be taken apart, if there is one."""
        for number, line in self._kept:
            if (count := line.count(delimiter)) > _MOST_CELLS:
                return f"line {number} has {count:,} delimiters, at most {_MOST_CELLS:,} are allowed"
        return None

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._next == len(self._kept):
            raise StopIteration
        self.number, line = self._kept[self._next]
        self._next += 1
        if not self._open:
            self.begin = self.number
        self._open ^= line.count('"') % 2 == 1
        return line


def _delimiter(header: str) -> str:
    """What divides the header line: a tab or semicolon where there is one outside quotes."""
    bare = re.sub(r'"[^"]*"', "", header)
    return next((mark for mark in "\t;" if mark in bare), ",")


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"path: {path} cannot be read as CSV: it is not a file.")
        with path.open(newline="", encoding="utf-8-sig") as file:
            text = file.read(_MOST_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file in UTF-8"
        raise InputError(f"path: {path} cannot be read as CSV: {reason}.") from None
    if len(text) > _MOST_BYTES:
        raise InputError(f"path: {path} is too long, at most {_MOST_BYTES:,} characters are allowed.")
    if "\0" in text:
        raise InputError(f"path: {path} cannot be read as CSV: it is not a text file in UTF-8.")
    return text
