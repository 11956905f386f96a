"""Files that are whole or not there, that notice damage, and that one run at a time writes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import filelock
import xarray as xr

from jaxnigt.checks import InputError

CHECKSUM = ".sha256"


class Damaged(ValueError):  # noqa: N818  (says what it is)
    """A file that is not what was once written."""


def write(data: xr.Dataset | xr.DataTree, path: Path, *, checksum: bool = False) -> None:
    """Write NetCDF under a temporary name, flush it, and give it its name.

    Args:
        data: what to write.
        path: where; its folder is made.
        checksum: leave the digest beside it, as `sha256sum --check` reads it.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # HDF5 does not survive a full disk, so it writes to memory and the system's own calls to disk.
        content = bytes(data.to_netcdf(engine="h5netcdf"))
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if checksum:
            digest = hashlib.sha256(content).hexdigest()
            # First the digest, so that a file under its name always has one.
            write_text(path.with_name(path.name + CHECKSUM), f"{digest}  {path.name}\n")
        temporary.replace(path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep_up(folder: Path) -> None:
    """Remove what writers that were killed left behind; for whoever holds the lock."""
    for path in folder.rglob(".*"):
        if path.suffix[1:].isdecimal() and path.is_file():
            path.unlink(missing_ok=True)


def _flush(folder: Path) -> None:
    """Make names in a folder last, where the system lets one."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read(path: Path) -> xr.Dataset:
    """A data set that was written with its checksum.

    Raises:
        Damaged: saying what is wrong with it.
    """
    check(path)
    try:
        with xr.open_dataset(path, engine="h5netcdf") as file:
            return file.load()
    except (OSError, ValueError, KeyError) as error:
        raise Damaged(f"it cannot be read ({type(error).__name__})") from None


def check(path: Path) -> None:
    """Raise Damaged unless a file has the checksum that stands beside it."""
    try:
        expected = path.with_name(path.name + CHECKSUM).read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        raise Damaged("its checksum is missing") from None
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Damaged(f"it cannot be read ({error.strerror})") from None
    if found != expected:
        raise Damaged("its checksum does not match")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; the system lifts the lock however the run ends.

    Raises:
        InputError: another run is in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, owner = filelock.FileLock(folder / ".lock"), folder / ".owner.json"
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        who = "another run"
        with contextlib.suppress(OSError, ValueError):
            facts = json.loads(owner.read_text())
            who = f"process {facts['process']} on {facts['host']}"
        raise InputError(
            f"out: {folder} is in use by {who}; wait for it, or give another folder with --out."
        ) from None
    try:
        with contextlib.suppress(OSError):  # it only tells others who is here
            write_text(owner, json.dumps({"process": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def in_use(folder: Path) -> bool:
    """Whether a run is in a folder now."""
    if not (folder / ".lock").exists():
        return False
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    lock.release()
    return False
