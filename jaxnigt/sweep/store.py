"""The folder of a sweep: files that are whole or not there, a lock, and what made a result."""

from __future__ import annotations

import contextlib
import datetime
import errno
import hashlib
import json
import os
import platform
import socket
import subprocess
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import filelock
import jax
import xarray as xr

try:
    import fcntl
except ImportError:  # Windows, whose file systems all have locks
    fcntl = None

from jaxnigt import files
from jaxnigt.checks import InputError, as_path, fits
from jaxnigt.files import Damaged, placing, put
from jaxnigt.sweep.fingerprint import PACKAGES, settings

CHECKSUM = ".sha256"
RESULTS = "results.nc"
PLAN, UNITS, SNAPSHOTS, FAILURES, LOGS = "plan.json", "units", "snapshots", "failures", "logs"
SCALARS = "tensorboard"
_FOLDERS = (UNITS, SNAPSHOTS, FAILURES, LOGS, SCALARS)

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EIO}


def write(data: xr.Dataset | xr.DataTree, path: Path, *, checksum: bool = False) -> None:
    """Write NetCDF, whole or not at all, with its digest beside it as `sha256sum --check` reads it."""
    # HDF5 does not survive a full disk, so it writes to memory and the system's own calls to disk.
    content = bytes(data.to_netcdf(engine="h5netcdf"))
    with placing(content, path):
        if checksum:
            digest = hashlib.sha256(content).hexdigest()
            # First the digest, so that a file under its name always has one.
            write_text(path.with_name(path.name + CHECKSUM), f"{digest}  {path.name}\n")


def write_text(path: Path, text: str) -> None:
    """Write a small file, whole or not at all."""
    put(text.encode(), path)


def sweep_up(folder: Path) -> None:
    """Remove what writers that were killed left in a sweep's own folders; for whoever holds the lock."""
    for place in (folder, folder / UNITS, folder / FAILURES):
        files.sweep_up(place)


def read(path: Path) -> xr.Dataset:
    """A data set that was written with its checksum; raises Damaged, saying what is wrong with it."""
    if words := fault(path):
        raise Damaged(words)
    try:
        files.check_netcdf(path)
        with xr.open_dataset(path, engine="h5netcdf") as file:
            return file.load()
    except Damaged:
        raise
    except Exception as error:  # whatever is wrong with it, it can be computed again
        raise Damaged(f"it cannot be read ({type(error).__name__})") from None


def fault(path: Path) -> str | None:
    """What is wrong with a file that was written with its checksum, None where nothing is."""
    try:
        expected = files.text(path.with_name(path.name + CHECKSUM)).split()[0]
    except (OSError, IndexError, Damaged):
        return "its checksum is missing"
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None if found == expected else "its checksum does not match"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; the system lifts the lock however the run ends.

    Where the file system has no locks a warning says so, and the run goes on.

    Raises:
        InputError: another run is in it, or the lock is not ours to take.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from None
    lock, owner = filelock.FileLock(folder / ".lock"), folder / ".owner.json"
    try:
        if _has_locks(folder):
            lock.acquire(timeout=0)
        else:
            warnings.warn(
                f"the file system of {folder} has no locks: see to it that no other sweep runs there.",
                stacklevel=4,
            )
    except filelock.Timeout:
        who = "another run"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            facts = files.of_json(files.text(owner))
            who = f"process {facts['process']} on {facts['host']}"
        raise InputError(
            f"out: {folder} is in use by {who}; wait for it, or give another folder with --out."
        ) from None
    except OSError as error:
        raise InputError(
            f"out: {folder / '.lock'} cannot be locked ({error.strerror}), give a folder of your own."
        ) from None
    try:
        with contextlib.suppress(OSError):  # it only tells others who is here
            write_text(owner, json.dumps({"process": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        with contextlib.suppress(OSError):
            owner.unlink(missing_ok=True)
        lock.release()


def _has_locks(folder: Path) -> bool:
    """Whether files in a folder can be locked at all."""
    if fcntl is None:
        return True
    with contextlib.suppress(PermissionError), tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in _NO_LOCKS
    return True


def in_use(folder: Path) -> bool:
    """Whether a run is in a folder now. Nothing is opened for writing.

    Where there are no locks it is judged by the note that a run leaves while it is there.
    """
    if fcntl is None or not (folder / ".lock").exists():
        return (folder / ".owner.json").exists()
    try:
        with (folder / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        return error.errno in _NO_LOCKS and (folder / ".owner.json").exists()
    return False


_LEAST_BUDGET = 4096
"""Bytes; `Problem.trajectory_bytes` is no less."""


def budget(folder: Path) -> int | None:
    """Bytes that units of the last run in a folder were cut for, so that they are found again.

    None where that is not known, is more than this machine has, or is less than any unit needs.
    """
    try:
        found = int(files.of_json(files.text(folder / PLAN))["memory"])
        fits("memory", found // 2)
        return found if found >= _LEAST_BUDGET else None
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def node(label: str) -> str:
    """A label as the name of a node, where a slash or dots alone would be a path: it looks the same."""
    name = label.replace("/", "\N{DIVISION SLASH}")
    return name if name.strip(".") else name.replace(".", "\N{ONE DOT LEADER}")


def usual_folder(name: str, size: str | None, above: Path = Path("results")) -> Path:
    """Where the results of a definition go if nothing else is asked for."""
    return above / (name if size is None else f"{name}-{node(size)}")


def unit_path(folder: Path, filename: str, key: str) -> Path:
    """Where a unit is, under whatever label it was once stored, or where it is to be."""
    return next(iter(sorted((folder / UNITS).glob(f"*-{key}.nc"))), folder / UNITS / filename)


def check_writable(folder: Path) -> None:
    """Raise InputError unless files can be written to a folder, which need not exist yet."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        if not place.is_dir():
            raise NotADirectoryError(20, f"{place} is not a folder")
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise unwritable(folder, error) from None


def unwritable(folder: Path, error: OSError) -> InputError:
    """What is said of a folder that cannot be written to."""
    return InputError(
        f"out: {folder} cannot be written to ({error.strerror}), a writable folder is needed."
    )


def check_inside(folder: Path, keys: Iterable[str]) -> None:
    """Raise InputError where a folder inside, to which a sweep writes, is a link that leads out."""
    own = [*(folder / name for name in _FOLDERS), *(folder / SNAPSHOTS / key for key in keys)]
    for path in own:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"out: {path} is a link that leads out of {folder}, folders inside it are allowed."
            )


def provenance(definition: Any) -> dict[str, str]:
    """What made a result: the definition as JSON, versions, device, git commit and date."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    from jaxnigt import __version__

    return {
        "definition": json.dumps(definition.model_dump(mode="json", exclude_none=True)),
        "jaxnigt": __version__,
        "versions": json.dumps({"python": platform.python_version(), **versions}),
        "settings": json.dumps(settings()),
        "device": ", ".join(sorted({f"{d.platform} {d.device_kind}" for d in jax.devices()})),
        "git_commit": _git_commit(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _git_commit() -> str:
    """Commit of the sources where they are a git checkout, with a mark if they were changed."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    with contextlib.suppress(OSError, subprocess.SubprocessError):
        git("ls-files", "--error-unmatch", "store.py")
        dirty = git("status", "--porcelain", "--", "..")
        return git("rev-parse", "HEAD") + ("-modified" if dirty else "")
    return "unknown"


def load(folder: str | Path) -> xr.DataTree:
    """The data set of a sweep.

    Args:
        folder: what `jaxnigt sweep --out` was given.

    Returns:
        A tree with one group a method under `/methods`, the profiles under `/profiles` and, where the
        definition has a grid, `/grid`. Several problems or numbers of workers have such a tree each,
        under `/panels/<label>`; see `jaxnigt.sweep.panels`. Dimensions are named, variables have their
        units in `attrs`, and the root's attrs hold the definition that made it.

    Raises:
        InputError: no readable results in that folder.

    Example:
        >>> load("results/nothing")  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        jaxnigt.checks.InputError: folder: results/nothing/results.nc cannot be read
    """
    path = as_path("folder", folder) / RESULTS
    try:
        files.check_netcdf(path)
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            found = tree.load()
        if not _is_of_a_sweep(found):
            raise Damaged("it is no data set of a sweep")
        return found
    except Exception as error:  # libraries raise anything for what they do not expect in a file
        reason = error if isinstance(error, Damaged) else type(error).__name__
        raise InputError(
            f"folder: {path} cannot be read ({reason}), a folder written by `jaxnigt sweep` is needed."
        ) from None


def _is_of_a_sweep(tree: xr.DataTree) -> bool:
    """Whether a tree has what tables and figures ask for, and is not another tool's."""
    try:
        name = files.of_json(str(tree.attrs["definition"]))["name"]
        each = list(panels(tree).values())
        methods = [method for panel in each for method in panel["methods"].children.values()]
        titled = all("title" in panel["profiles"] and "thresholds" in panel.attrs for panel in each)
        told = all(
            "method" in x.attrs and {"objective", "eval_time"} <= set(x.variables) for x in methods
        )
    except (KeyError, ValueError, TypeError):
        return False
    return isinstance(name, str) and bool(methods) and titled and told


def panels(tree: xr.DataTree) -> dict[str, xr.DataTree]:
    """The trees of a data set that hold one problem with one number of workers each, by label.

    Args:
        tree: as `load` gives it; one without `/panels` is its own only panel, with label "".
    """
    if "panels" not in tree.children:
        return {"": tree}
    return {str(label): panel for label, panel in tree["panels"].children.items()}
