"""Sweeps above the file layer of `faults.c`, which fails, in a process of its own."""

import argparse
import contextlib
import ctypes
import errno
import io
import itertools
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import jax
from rich.console import Console

from jaxnigt.checks import InputError
from jaxnigt.sweep import definition, execute, store, work
from tests.sweep.running import alike

TINY = {
    "name": "tiny",
    "workers": 2,
    "figure": False,
    "problem": {"kind": "tabular", "horizon": 2},
    "training": {"seeds": 1, "eval_batch": 2},
    "methods": [
        {"name": "rennala_nigt", "batch": 2, "iterations": 4, "eval_every": 2, "stepsize": 0.1},
        {"name": "afedpg", "iterations": 2, "eval_every": 2, "stepsize": 0.1},
    ],
    "profiles": [{"label": "equal", "family": "equal"}],
}
ONCE, ONWARDS, ROOM, KILL = range(4)  # as faults.c has them
FAULTS = {
    "ENOSPC": (errno.ENOSPC, ROOM),  # a full disk stays full, though what is there can be removed
    "EIO": (errno.EIO, ONCE),
    "EACCES": (errno.EACCES, ONCE),
    "freeze": (errno.EIO, ONWARDS),  # the disk is what a kill leaves, in a process that need not die
    "kill": (errno.EIO, KILL),
}


def layer():
    """The functions of faults.c, which is loaded already."""
    found = ctypes.CDLL(None)
    found.faults_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int]
    found.faults_count.restype = ctypes.c_long
    return found


@contextlib.contextmanager
def failing(folder, k, fault):
    """Fail below a folder at the k-th operation, 0 for none."""
    layer().faults_arm(str(folder).encode(), k, *FAULTS[fault])
    try:
        yield
    finally:
        layer().faults_rest()


def run(out):
    """Status of a sweep as the command has it, everything printed, and the units that were computed."""
    computed, compute, said = [], work.compute, io.StringIO()

    def counted(unit, **options):
        computed.append(unit.key)
        return compute(unit, **options)

    work.compute = counted
    options = execute.Options(snapshot_every=0.0)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            status = execute.execute(definition.parse(TINY), out, Console(file=said), options)
    except InputError as error:
        status = 2
        said.write(f"error: {error}")
    except Exception:
        status = -1
        said.write(traceback.format_exc())
    finally:
        work.compute = compute
    return status, said.getvalue(), computed


def whole(out):
    """Units that are whole, by key, and when they were written."""
    paths = (out / store.UNITS).glob("*.nc")
    return {path.stem[-16:]: path.stat().st_mtime_ns for path in paths if store.fault(path) is None}


def wrong(out, undisturbed, status, said):
    """What is wrong with a sweep after a fault, and after it goes on without; None where nothing is."""
    if status not in (0, 1, 2) or "Traceback" in said:
        return f"status {status}: {said}"
    if status == 0 and not alike(undisturbed, store.load(out)):
        return f"status 0 and another data set: {said}"
    before = whole(out)
    status, said, computed = run(out)
    if status != 0:
        return f"status {status} when it went on: {said}"
    if set(computed) & set(before) or not before.items() <= whole(out).items():
        return "a unit that was whole was computed or written again"
    if said.count("reused") != len(before):
        return f"{len(before)} units were whole: {said}"
    if not alike(undisturbed, store.load(out)):
        return "another data set when it went on"
    left = [*out.rglob("*.jaxnigt-part"), *out.glob("snapshots/*/*"), *out.glob("failures/*")]
    return f"left: {left}" if left else None


def killed(out, k):
    """A sweep in a process of its own, what it said, and whether it was killed at the k-th operation."""
    command = [sys.executable, "-m", "tests.sweep.faulty", out, "--die", k]
    done = subprocess.run(map(str, command), capture_output=True, text=True)
    return 1, done.stderr, done.returncode == -signal.SIGKILL


def broken(out, k, fault):
    """A sweep with a fault at the k-th operation: status, what it said, and whether it came to that."""
    if fault == "kill":
        return killed(out, k)
    with failing(out, k, fault):
        status, said, _ = run(out)
        return status, said, layer().faults_count() >= k


def every(folder, undisturbed, fault, operations):
    """Fail at each of some operations, and print at how many of them nothing was wrong."""
    tried, good = 0, 0
    for k in operations:
        out = Path(tempfile.mkdtemp(dir=folder)) / "out"
        status, said, reached = broken(out, k, fault)
        if not reached:
            break
        words, tried = wrong(out, undisturbed, status, said), tried + 1
        good += words is None
        if words:
            print(f"{fault} at operation {k}: {words}", flush=True)
        shutil.rmtree(out.parent)
    print(f"{fault}: {good} of {tried}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--die", type=int, help="only run a sweep into the folder and die at an operation"
    )
    parser.add_argument("--step", type=int, default=1, help="between operations that fail")
    parser.add_argument("--kills", type=int, default=20, help="likewise of processes that are killed")
    given = parser.parse_args()
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if given.die:
        with failing(given.folder, given.die, "kill"):
            run(given.folder)
        return
    undisturbed = given.folder / "undisturbed"
    with failing(undisturbed, 0, "EIO"):
        status, said, _ = run(undisturbed)
        print(f"operations: {layer().faults_count()}", flush=True)
    assert status == 0, said
    whole_one = store.load(undisturbed)
    for first, fault in enumerate(FAULTS):
        # Each fault begins elsewhere, so that together they meet more operations.
        step = given.kills if fault == "kill" else given.step
        every(given.folder, whole_one, fault, itertools.count(1 + first * step // len(FAULTS), step))


if __name__ == "__main__":
    main()
