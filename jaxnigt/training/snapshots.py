"""Snapshots of a training that is under way, from which it goes on after it was stopped."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnigt.checks import Stopped, as_path

Tree = Any

_LOG = logging.getLogger(__name__)

_PREFIX = "round"
"""Begins the names of snapshots, so that no folder of somebody else's is taken for one."""
_CHECKSUM = "jaxnigt.sha256"


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
        if not self.folder.is_dir():
            return None
        with self._manager() as manager:
            for step in sorted(manager.all_steps(), reverse=True):
                if self._damaged(step):
                    _LOG.warning("snapshot %s in %s is damaged and passed over", step, self.folder)
                    continue
                try:
                    saved = self._read(manager, step)
                    leaves, structure = jax.tree.flatten(state)
                    found = [saved["state"][str(i)] for i in range(len(saved["state"]))]
                    same = identity.same(saved["token"], saved["computed"])
                    if same and [np.shape(x) for x in found] == [np.shape(x) for x in leaves]:
                        self.restored = True
                        return step, jax.tree.unflatten(structure, found), saved["records"]
                    _LOG.warning(
                        "the snapshot in %s is of another training, so this one begins anew", self.folder
                    )
                except Exception as error:  # whatever is wrong with it, training can begin anew
                    _LOG.warning("snapshot %s is of no use: %s", step, error)
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
            leaves = {str(i): np.asarray(x) for i, x in enumerate(jax.tree.leaves(state))}
            try:
                known = {"token": identity.saved_words(), "computed": identity.computed}
                self._write(done, {"state": leaves, "records": records(), **known})
            except Exception as error:  # a full disk must not end a training that can go on
                _LOG.warning("no snapshot at %s: %s", done, error)
            self._last = time.monotonic()
        if stop:
            raise Stopped(done)

    @staticmethod
    def rounds(folder: Path) -> int:
        """After how many rounds the last snapshot in a folder was taken, 0 where there is none."""
        found = (path.name.removeprefix(f"{_PREFIX}_") for path in folder.glob(f"{_PREFIX}_*"))
        return max((int(number) for number in found if number.isdecimal()), default=0)

    def remove(self) -> None:
        """Delete the snapshots, and the folder where nothing else is in it."""
        for path in self.folder.glob(f"{_PREFIX}_*"):
            shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _manager(self) -> Any:
        import orbax.checkpoint as ocp

        # Orbax writes beside a snapshot and renames, so that it is whole or not there, and drops the
        # older.
        options = ocp.CheckpointManagerOptions(
            max_to_keep=1, step_prefix=_PREFIX, enable_async_checkpointing=False
        )
        return ocp.CheckpointManager(
            self.folder, options=options, item_handlers=ocp.PyTreeCheckpointHandler()
        )

    def _write(self, done: int, tree: Tree) -> None:
        import orbax.checkpoint as ocp

        # A training only moves on: what is there of this round or a later one is of no use to it, and
        # would be in its way.
        for path in self.folder.glob(f"{_PREFIX}_*"):
            number = path.name.removeprefix(f"{_PREFIX}_")
            if number.isdecimal() and int(number) >= done:
                shutil.rmtree(path, ignore_errors=True)
        with self._manager() as manager:
            manager.save(done, args=ocp.args.PyTreeSave(tree), force=True)
        written = self._folder(done)
        (written / _CHECKSUM).write_text(_digest(written))

    def _folder(self, step: int) -> Path:
        return self.folder / f"{_PREFIX}_{step}"

    def _damaged(self, step: int) -> bool:
        """Whether a snapshot has changed since it was written, as far as one can tell.

        Orbax prints pages of tracebacks, from threads of its own, when it reads such a snapshot.
        """
        try:
            expected = (self._folder(step) / _CHECKSUM).read_text(encoding="utf-8")
            return expected != _digest(self._folder(step))
        except FileNotFoundError:  # a run was killed just before it was written
            return False
        except (OSError, UnicodeDecodeError):
            return True

    def _read(self, manager: Any, step: int) -> Tree:
        import orbax.checkpoint as ocp

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shapes = manager.item_metadata(step)
            kinds = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes.tree)
            return manager.restore(step, args=ocp.args.PyTreeRestore(restore_args=kinds))


def _digest(folder: Path) -> str:
    """A digest of the names and contents of all files in a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != _CHECKSUM:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found.update(f"{path.relative_to(folder)} {digest}\n".encode())
    return found.hexdigest()
