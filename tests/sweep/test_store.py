"""A sweep's folder may hold files of other people, and lie on any file system."""

import errno
import hashlib
import os

import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.sweep import store
from jaxnigt.training.snapshots import Identity, Snapshots
from tests.sweep.running import DEFINITION, here

OTHERS = (
    ".vimrc.1",
    ".results.nc.4711",
    ".env.2",
    "project/.env.2",
    "units/.mine.3",
    ".notes.12.part",
    "snapshots/.keep.1",
    "project/.jaxnigt-part",
    ".notes.jaxnigt-part",
    "units/.mine.3a.jaxnigt-part",
    "units.nc",
)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_files_of_others_stay_as_they_are(tmp_path, capsys, monkeypatch):
    for name in OTHERS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    left = tmp_path / "units" / ".a.nc.99.jaxnigt-part"
    left.write_text("of a writer that was killed")
    (tmp_path / "small.toml").write_text(DEFINITION)
    monkeypatch.chdir(tmp_path)
    before = digests(tmp_path)
    status, output = here(capsys, monkeypatch, "sweep", "small.toml", "--out", ".")
    assert status == 0, output
    after = digests(tmp_path)
    assert not left.exists()
    assert {name: after.get(name) for name in (*OTHERS, "small.toml")} == {
        name: before[name] for name in (*OTHERS, "small.toml")
    }
    assert (tmp_path / "snapshots").is_dir()


def test_snapshots_are_removed_and_nothing_else(tmp_path):
    folder = tmp_path / "mine"
    for name in ("7", "2024", "round"):
        (folder / name).mkdir(parents=True)
        (folder / name / "thesis.txt").write_text("years of work")
    kept, identity = Snapshots(folder, every=0.0), Identity("this", np.zeros(1))
    for done in (1, 2):
        kept.offer(done, {"x": np.zeros(2)}, dict, identity)
    assert kept.restore({"x": np.zeros(2)}, identity)[0] == Snapshots.rounds(folder) == 2
    kept.remove()
    assert Snapshots.rounds(folder) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["2024", "7", "round"]
    assert all((folder / name / "thesis.txt").exists() for name in ("7", "2024", "round"))


@pytest.mark.skipif(store.fcntl is None, reason="this system has no such locks")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks_is_said_and_used(number, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(store.fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="has no locks"), store.locked(tmp_path):
        assert store.in_use(tmp_path)
    assert not store.in_use(tmp_path)


def test_a_lock_that_is_not_ours_is_said(tmp_path):
    (tmp_path / ".lock").mkdir()
    with (
        pytest.raises(jn.InputError, match=r"\.lock cannot be locked .*, give a folder of your own"),
        store.locked(tmp_path),
    ):
        pass


def test_asking_whether_a_folder_is_in_use_writes_nothing(tmp_path):
    assert not store.in_use(tmp_path)
    assert not list(tmp_path.iterdir())
    with store.locked(tmp_path):
        assert store.in_use(tmp_path)
        before = digests(tmp_path)
        assert store.in_use(tmp_path)
        assert digests(tmp_path) == before
        with (
            pytest.raises(jn.InputError, match=f"in use by process {os.getpid()}"),
            store.locked(tmp_path),
        ):
            pass
    assert not store.in_use(tmp_path)
