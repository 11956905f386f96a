"""Files that jaxnigt stored and that something has damaged since: they are named and made again."""

import atexit
import functools
import io
import json
import pickle
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import strategies as st

import jaxnigt as jn
from tests.fuzz.running import bounded, command, count, fuzzed, place, refused_or_done, untouched
from tests.fuzz.test_definitions import FOLDER, TABULAR
from tests.fuzz.values import damaged, document
from tests.sweep.running import same

# h5netcdf stumbles when it closes a file of HDF5 that it could open only half.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SWEPT = TABULAR | {"figure": True, "comm_model": "serial", "methods": TABULAR["methods"][:1]}
SWEPT |= {"profiles": TABULAR["profiles"][:1], "analysis": {}}
PROBLEM, METHOD = jn.problems.tabular(horizon=2, states=3, actions=2), jn.methods.rennala_nigt(2)


@functools.cache
def _kept():
    """A folder with what a sweep, a trace and a training that was stopped left; made once."""
    holder = tempfile.TemporaryDirectory()
    atexit.register(holder.cleanup)
    folder = Path(holder.name)
    with place(**FOLDER, good_toml=document(SWEPT)) as work:
        assert command("sweep", "good.toml", "--out", "out").status == 0
        shutil.copytree(work / "out", folder / "out")
    with bounded():
        jn.train(PROBLEM, METHOD, iterations=4).save(folder / "trace.nc")
        try:
            _trained(folder / "snapshots", stopping=lambda: True)
        except jn.Stopped:
            return folder
    raise AssertionError("the training did not stop")


def _trained(folder, stopping=lambda: False):
    """A training with snapshots."""
    snapshots = jn.Snapshots(folder, every=0.0, stopping=stopping)
    return jn.train(PROBLEM, METHOD, iterations=4, eval_every=2, snapshots=snapshots)


def _foreign():
    """Contents of files that other tools write."""
    buffer = io.BytesIO()
    np.savez(buffer, objective=np.zeros(3))
    other = xr.Dataset({"objective": ("seed", [1.0, 2.0])}, attrs={"definition": "{}", "method": "x"})
    tree = xr.DataTree.from_dict({"/": other, "/methods/x": other, "/profiles": other})
    texts = (
        "",
        "null",
        "[]",
        "{}",
        '{"units": 1, "definition": {}}',
        "units: [1, 2]",
        "name,value\n",
        "\0" * 600,
    )
    texts += (
        json.dumps(
            {"definition": {"name": "x"}, "units": [{"key": "../..", "file": "/"}], "memory": -1}
        ),
    )
    written = [bytes(x.to_netcdf(engine="h5netcdf")) for x in (xr.Dataset(), other, tree)]
    return [*(text.encode() for text in texts), buffer.getvalue(), pickle.dumps({"a": 1}), *written]


FOREIGN = st.sampled_from(_foreign())
WHICH = st.integers(0, 10**6)
DAMAGE = st.sampled_from(["bytes", "bytes", "foreign", "foreign", "folder", "missing", "link"])


def _spoil(folder, which, damage, draw):
    """Damage one of the files in a folder; returns which."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = files[which % len(files)]
    content = path.read_bytes()
    path.unlink()
    match damage:
        case "bytes":
            path.write_bytes(draw(damaged(st.just(content))))
        case "foreign":
            path.write_bytes(draw(FOREIGN))
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(draw(st.sampled_from([path.name, "nowhere", "/dev/null", ".."])))
    return path


@fuzzed("stored", which=WHICH, damage=DAMAGE, data=st.data())
def test_a_damaged_folder_is_named_or_made_whole(which, damage, data):
    count("stored")
    kept = _kept() / "out"
    with place(**FOLDER, good_toml=document(SWEPT)) as work:
        out = work / "out"
        shutil.copytree(kept, out)
        path = _spoil(out, which, damage, data.draw)
        with untouched(work, out):
            command("status", "out")
            with refused_or_done():
                jn.load("out")
            command("figures", "out")
            outcome = command("sweep", "good.toml", "--out", "out")
            assert damage in ("folder", "link") or outcome.status == 0, (path, outcome)
            if outcome.status == 0:
                assert command("status", "out").status == 0
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    assert same(kept, out), path


@fuzzed("loaded", which=WHICH, damage=DAMAGE, data=st.data())
def test_a_damaged_trace_is_refused_and_a_damaged_snapshot_is_left_alone(which, damage, data):
    count("loaded")
    kept = _kept()
    with place() as work, untouched(work, work):
        shutil.copytree(kept / "snapshots", work / "snapshots")
        shutil.copy(kept / "trace.nc", work)
        path = _spoil(work, which, damage, data.draw)
        with refused_or_done():
            trace = jn.Trace.load(work / "trace.nc")
            jn.replay(trace, jn.profiles.equal(2))
        if path.name != "trace.nc":
            with bounded():
                again = _trained(work / "snapshots")
            np.testing.assert_array_equal(again.objective, _whole().objective)
            np.testing.assert_array_equal(again.gradient_norm, _whole().gradient_norm)


@functools.cache
def _whole():
    """The training that was never stopped."""
    with bounded():
        return jn.train(PROBLEM, METHOD, iterations=4, eval_every=2)
