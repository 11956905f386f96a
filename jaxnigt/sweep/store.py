"""The folder of a sweep: what is in it, and what made it."""

from __future__ import annotations

import contextlib
import datetime
import json
import platform
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path

import jax
import xarray as xr

from jaxnigt.checks import InputError
from jaxnigt.sweep.spec import Definition
from jaxnigt.sweep.version import PACKAGES

RESULTS = "results.nc"
PLAN, UNITS, SNAPSHOTS, FAILURES, LOGS = "plan.json", "units", "snapshots", "failures", "logs"


def budget(folder: Path) -> int | None:
    """Bytes that units of the last run in a folder were cut for, so that they are found again."""
    try:
        return int(json.loads((folder / PLAN).read_text(encoding="utf-8"))["memory"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def unit_path(folder: Path, filename: str, key: str) -> Path:
    """Where a unit is, under whatever label it was once stored, or where it is to be."""
    return next(iter(sorted((folder / UNITS).glob(f"*-{key}.nc"))), folder / UNITS / filename)


def check_writable(folder: Path) -> None:
    """Raise InputError unless files can be written to a folder, which need not exist yet."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        if not place.is_dir():
            raise NotADirectoryError(20, f"{place} is not a folder")
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise InputError(
            f"out: {folder} cannot be written to ({error.strerror}), a writable folder is needed."
        ) from None


def provenance(definition: Definition) -> dict[str, str]:
    """What made a result: the definition as JSON, versions, device, git commit and date."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    from jaxnigt import __version__

    return {
        "definition": json.dumps(definition.model_dump(mode="json")),
        "jaxnigt": __version__,
        "versions": json.dumps({"python": platform.python_version(), **versions}),
        "device": ", ".join(sorted({f"{d.platform} {d.device_kind}" for d in jax.devices()})),
        "git_commit": _git_commit(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _git_commit() -> str:
    """Commit of the sources where they are a git checkout, with a mark if they were changed."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        _git("ls-files", "--error-unmatch", "store.py")
        dirty = _git("status", "--porcelain", "--", "..")
        return _git("rev-parse", "HEAD") + ("-modified" if dirty else "")
    return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def load(folder: str | Path) -> xr.DataTree:
    """The data set of a sweep.

    Args:
        folder: what `jaxnigt sweep --out` was given.

    Returns:
        A tree with one group a method under `/methods`, the profiles under `/profiles` and, where
        the definition has a grid, `/grid`. Where it has several problems or numbers of workers, each
        of them has such a tree under `/panels/<label>`; see `jaxnigt.sweep.panels`. Dimensions are
        named, variables have their units in `attrs`, and the root's attrs hold the definition that
        made it.

    Raises:
        InputError: no readable results in that folder.
    """
    path = Path(folder) / RESULTS
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            return tree.load()
    except (OSError, ValueError) as error:
        raise InputError(
            f"folder: {path} cannot be read ({error.__class__.__name__}), a folder written by "
            "`jaxnigt sweep` is needed."
        ) from None


def panels(tree: xr.DataTree) -> dict[str, xr.DataTree]:
    """The trees of a data set that hold one problem with one number of workers each, by label.

    Args:
        tree: as `load` gives it; one without `/panels` is its own only panel, with label "".
    """
    if "panels" not in tree.children:
        return {"": tree}
    return {str(label): panel for label, panel in tree["panels"].children.items()}
