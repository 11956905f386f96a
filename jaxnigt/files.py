"""Files that are written whole or not at all, and of which nothing is read before its size is known.

What is read may have been written by anybody. So no file can run code, and none that claims to hold more
than this machine can is read at all.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from jaxnigt.checks import fits

_TEMPORARY = re.compile(r"\..+\.\d+\.jaxnigt-part")
_MOST_BYTES, _MOST_TOML = 64 * 2**20, 4 * 2**20
"""Of a text that tells what is in a folder, and of one that people write."""
_MOST_LEVELS = 32
"""Of tables in tables and groups in groups; ours have four."""

_PART = r"""(?:[\w-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')[ \t]*\.[ \t]*"""
_DOTTED = re.compile(rf"(?<![\w-])(?:{_PART}){{{_MOST_LEVELS}}}")
"""A dotted key of so many levels: Python's parser takes memory with the square of their number."""


class Damaged(ValueError):  # noqa: N818  (says what it is)
    """A file that is not what was once written."""


def put(content: bytes | memoryview, path: Path) -> None:
    """Write a file, whole or not at all."""
    with placing(content, path):
        pass


@contextlib.contextmanager
def placing(content: bytes | memoryview, path: Path) -> Iterator[None]:
    """Write and flush a file under a temporary name, and give it its own after the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.jaxnigt-part")
    try:
        # Anew, as what has this name may be a link to a file of somebody else's.
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield
        temporary.replace(path)
        with contextlib.suppress(OSError):  # make the name last as well, where the system lets one
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sweep_up(folder: Path) -> None:
    """Remove what writers that were killed left in a folder, as far as it can be removed."""
    with contextlib.suppress(OSError):
        for path in folder.glob(".*.jaxnigt-part"):
            if _TEMPORARY.fullmatch(path.name) and path.is_file():
                path.unlink(missing_ok=True)


def text(path: Path, most: int = _MOST_BYTES) -> str:
    """A text of a usual length in UTF-8; raises Damaged or OSError."""
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise Damaged(f"it is too long, at most {most:,} bytes are allowed")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Damaged("it is not a text file") from None


def toml(path: Path) -> dict[str, Any]:
    """What a file in TOML says; raises Damaged or OSError."""
    return of_toml(text(path, _MOST_TOML))


def of_toml(words: str) -> dict[str, Any]:
    """What a text in TOML says; raises Damaged."""
    many = Damaged(f"it has too many levels, tables in {_MOST_LEVELS} others are allowed")
    if _DOTTED.search(words):
        raise many
    try:
        found = tomllib.loads(words)
    except RecursionError:
        raise many from None
    except ValueError as error:  # a number of thousands of digits is no TOMLDecodeError
        raise Damaged(f"it is not valid TOML: {error}") from None
    return found


def of_json(words: str) -> Any:
    """What a text in JSON says; raises Damaged."""
    try:
        return json.loads(words)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"it is not valid JSON ({type(error).__name__})") from None


def save_arrays(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Write arrays as an uncompressed NPZ file, whole or not at all."""
    content = io.BytesIO()
    np.savez(content, **arrays)  # pyright: ignore[reportArgumentType]
    put(content.getbuffer(), path)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """What `save_arrays` wrote; raises Damaged, for claims to hold more before anything is read."""
    _check_room(path.stat().st_size)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            # Members that lie in one another, or that are compressed, could be larger than the file.
            stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
            if not stored or sum(member.file_size for member in members) > path.stat().st_size:
                raise Damaged("it claims to hold more than it does")
            return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
    except (zipfile.BadZipFile, EOFError, KeyError, RuntimeError) as error:
        raise Damaged(f"it cannot be read ({type(error).__name__})") from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    content = io.BytesIO(archive.read(member))
    if np.lib.format.read_magic(content) != (1, 0):
        raise Damaged("it is of another version")
    shape, _, dtype = np.lib.format.read_array_header_1_0(content)
    # NumPy would make room for what is claimed first.
    if np.prod(shape, dtype=object) * dtype.itemsize != member.file_size - content.tell():
        raise Damaged("it claims to hold more than it does")
    content.seek(0)
    return np.lib.format.read_array(content, allow_pickle=False)


def check_netcdf(path: Path) -> None:
    """Raise Damaged for an HDF5 file that leads out of itself, or that claims more than memory holds."""
    claimed, groups = 0, set()
    with h5py.File(path, "r") as file:
        waiting: list[tuple[h5py.Group, int]] = [(file, 0)]
        while waiting:
            group, depth = waiting.pop()
            if group in groups or depth > _MOST_LEVELS:
                raise Damaged("its groups hold one another, or too many levels of them")
            groups.add(group)
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise Damaged(f"{name} is a link, what is meant has to be in the file")
                found = group[name]
                if isinstance(found, h5py.Group):
                    waiting.append((found, depth + 1))
                elif isinstance(found, h5py.Dataset):
                    if found.is_virtual or found.external:
                        raise Damaged(f"{name} is in another file")
                    count = int(np.prod(found.shape or (), dtype=object))
                    # Each string takes some bytes of the file, if only to say where it is.
                    if found.dtype.hasobject and count > path.stat().st_size:
                        raise Damaged(f"{name} claims to hold more than it does")
                    claimed += count * found.dtype.itemsize
    _check_room(claimed)


def _check_room(size: int) -> None:
    try:
        fits("it", size)
    except ValueError as error:
        raise Damaged(str(error).removeprefix("it: ").removesuffix(".")) from None
