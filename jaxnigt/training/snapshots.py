"""Snapshots of a training that is under way, from which it goes on after it was stopped."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnigt.checks import Stopped, as_path
from jaxnigt.files import load_arrays, save_arrays, sweep_up

Tree = Any

_LOG = logging.getLogger(__name__)

_NAME = re.compile(r"round_(\d+)\.npz")
"""Names of snapshots, so that no file of somebody else's is taken for one."""

_STATE, _RECORDS = "state.", "records."
"""Begin the names of arrays in a snapshot."""

_CLOSE, _SMALL = 1e-5, 1e-6
"""Differences by rounding on other devices, relative to a number and to the largest beside it."""


class Identity(NamedTuple):
    """What tells one training from another.

    Attributes:
        words: a digest of its numbers and words.
        computed: what its first rounds compute, f[N, ...]; a problem and a rule are known by that.
    """

    words: str
    computed: np.ndarray

    def same(self, words: np.ndarray, computed: np.ndarray) -> bool:
        """Whether a snapshot with these is of this training."""
        if words.tobytes() != self.saved_words().tobytes() or computed.shape != self.computed.shape:
            return False
        sizes = np.abs(np.nan_to_num(self.computed, posinf=0.0, neginf=0.0)).reshape(len(computed), -1)
        largest = sizes.max(axis=1, initial=0.0).reshape(-1, *[1] * (computed.ndim - 1))
        options = {"rtol": _CLOSE, "atol": _SMALL * largest, "equal_nan": True}
        return bool(np.isclose(computed, self.computed, **options).all())

    def saved_words(self) -> np.ndarray:
        """The words as an array, with something in it even where they are empty."""
        return np.frombuffer(f"token {self.words}".encode(), np.uint8)


class Snapshots:
    """The last snapshot of one training, kept in a folder.

    Training goes on from a snapshot only where it is the same training: the same numbers, and a problem
    and a method that compute the same in their first rounds. Otherwise it says so and begins anew.

    Args:
        folder: of this training alone; made when it is needed.
        every: seconds between snapshots.
        stopping: asked at every safe point. Where it answers True a snapshot is taken and `Stopped` is
            raised.
        fingerprint: of everything that decides the numbers, where the caller has one. By default
            training computes its first rounds once more to know itself.

    Example:
        >>> Snapshots("somewhere", every=60.0).restored
        False
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        every: float = 120.0,
        stopping: Callable[[], bool] = lambda: False,
        fingerprint: str | None = None,
    ):
        self.folder = as_path("folder", folder).absolute()
        self.every, self.stopping = every, stopping
        self.fingerprint = fingerprint
        self.restored = False
        self._last = time.monotonic()

    def __repr__(self) -> str:
        return f"Snapshots({str(self.folder)!r}, every={self.every:g} s)"

    def restore(self, state: Tree, identity: Identity) -> tuple[int, Tree, Tree] | None:
        """Rounds done, the state and what was recorded; None where there is no usable snapshot.

        Args:
            state: one with the structure and shapes of what was saved.
            identity: of the training, which that of the snapshot must equal.
        """
        leaves, structure = jax.tree.flatten(state)
        for done, path in sorted(_found(self.folder).items(), reverse=True):
            try:
                saved = load_arrays(path)
                if not identity.same(saved["token"], saved["computed"]):
                    raise ValueError("it is of another training, so this one begins anew")
                found = [_leaf(saved[f"{_STATE}{i}"], like) for i, like in enumerate(leaves)]
                if f"{_STATE}{len(leaves)}" in saved:
                    raise ValueError("its state has other parts")
                records = {
                    name.removeprefix(_RECORDS): value
                    for name, value in saved.items()
                    if name.startswith(_RECORDS)
                }
            except Exception as error:  # whatever is wrong with it, training can begin anew
                _LOG.warning("the snapshot %s is of no use: %s", path, error)
                continue
            self.restored = True
            return done, jax.tree.unflatten(structure, found), records
        return None

    def offer(
        self,
        done: int,
        state: Tree,
        records: Callable[[], dict[str, np.ndarray]],
        identity: Identity,
    ) -> None:
        """Take a snapshot if it is time. This is a safe point.

        Args:
            done: rounds.
            state: what training goes on from.
            records: called for what it has recorded.
            identity: of the training.

        Raises:
            Stopped: training is to stop. The snapshot is there, if it could be written.
        """
        stop = self.stopping()
        if stop or time.monotonic() - self._last >= self.every:
            leaves = {f"{_STATE}{i}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(state))}
            try:
                known = {"token": identity.saved_words(), "computed": identity.computed}
                recorded = {_RECORDS + name: value for name, value in records().items()}
                path = self.folder / f"round_{done}.npz"
                save_arrays(known | leaves | recorded, path)
                self._remove(all_but=path)
            except Exception as error:  # a full disk must not end a training that can go on
                _LOG.warning("no snapshot at %s: %s", done, error)
            self._last = time.monotonic()
        if stop:
            raise Stopped(done)

    @staticmethod
    def rounds(folder: Path) -> int:
        """After how many rounds the last snapshot in a folder was taken, 0 where there is none."""
        return max(_found(folder), default=0)

    def remove(self) -> None:
        """Delete the snapshots, and the folder where nothing else is in it."""
        self._remove()
        sweep_up(self.folder)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _remove(self, all_but: Path | None = None) -> None:
        for path in _found(self.folder).values():
            if path != all_but:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)


def _found(folder: Path) -> dict[int, Path]:
    """The snapshots in a folder, by how many rounds they were taken after."""
    matches = {path: _NAME.fullmatch(path.name) for path in folder.glob("round_*.npz")}
    return {int(match[1]): path for path, match in matches.items() if match and path.is_file()}


def _leaf(saved: np.ndarray, like: Any) -> np.ndarray:
    """A stored array as one of a state; raises ValueError where it is of another kind."""
    like = np.asarray(like)
    # NumPy's files know no bfloat16 and have its bits instead.
    found = saved.view(like.dtype) if saved.dtype.kind == "V" else saved
    if (found.shape, found.dtype) != (like.shape, like.dtype):
        raise ValueError("its arrays have other shapes")
    return found
