"""Reading profiles from a file."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from jaxnigt.checks import InputError
from jaxnigt.profiles.profile import Profile


def from_csv(path: str | Path) -> Profile:
    """Read profiles from a CSV file with a header line.

    Columns `compute` and `comm` (seconds; `inf` in `compute` for a dead worker), one row a worker.
    An optional column `profile` labels rows that belong together: the result then has one leading
    axis with the profiles in their order of appearance, all with the same number of workers.
    Other columns are left alone.

    Raises:
        InputError: a file that cannot be read, a missing column, or a value that is not a number,
            named with its line.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise InputError(f"path: {path} cannot be read as CSV: {reason}.") from None
    missing = [name for name in ("compute", "comm") if name not in columns]
    if missing:
        raise InputError(
            f"{path}: column {missing[0]!r} is missing, the columns compute and comm are needed "
            "(comm is 0 where communication is free)."
        )
    if not rows:
        raise InputError(f"{path}: there are no rows, one row a worker is needed.")
    groups: dict[str, list[tuple[float, float]]] = {}
    for line, row in enumerate(rows, start=2):
        times = (_cell(path, line, row, "compute"), _cell(path, line, row, "comm"))
        groups.setdefault(row.get("profile") or "", []).append(times)
    if len({len(group) for group in groups.values()}) > 1:
        raise InputError(f"{path}: profiles differ in length, each needs the same number of workers.")
    table = np.array(list(groups.values()))
    table = table if "profile" in columns else table[0]
    try:
        return Profile(table[..., 0], table[..., 1])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _cell(path: Path, line: int, row: dict[str, str | None], column: str) -> float:
    try:
        value = float(row[column] or "")
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise InputError(
            f"{path}: line {line}, column {column!r} holds {row[column]!r}, a number of seconds is "
            "allowed."
        )
    return value
