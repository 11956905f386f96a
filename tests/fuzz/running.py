"""How an example is run and what every example must keep to."""

import collections
import contextlib
import hashlib
import io
import os
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import hypothesis

import jaxnigt as jn
from jaxnigt import cli
from jaxnigt.clock.batching import make_room

TOTAL, SEED = int(os.environ.get("FUZZ") or 500), os.environ.get("SEED")
SHARES = {"definitions": 0.32, "sweeps": 0.02, "tables": 0.16, "commands": 0.22, "stored": 0.02}
SHARES |= {"loaded": 0.06, "functions": 0.2}
"""What part of all examples each category has."""

LIMIT = 120
"""Seconds after which an example hangs."""

_LONGEST = 4000
"""Characters of a sentence, with a path or a value of the user's in it."""

COUNTS: collections.Counter[str] = collections.Counter()
"""Examples that were run, by category."""


def fuzzed(category, **strategies):
    """A test of many examples; without a SEED always the same ones."""

    def decorate(test):
        test = hypothesis.given(**strategies)(test)
        test = hypothesis.settings(
            max_examples=max(1, round(TOTAL * SHARES[category])),
            derandomize=SEED is None,
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
            suppress_health_check=list(hypothesis.HealthCheck),
            print_blob=False,
        )(test)
        test.category = category
        return test if SEED is None else hypothesis.seed(int(SEED))(test)

    return decorate


class Outcome(NamedTuple):
    """What a command left on the screen."""

    status: int
    output: str


def command(*words):
    """`jaxnigt ...` in this process, and that it ends as it should."""
    outcome = _run([str(word) for word in words])
    assert outcome.status in (0, 1, 2, 130), outcome
    assert "Traceback" not in outcome.output, outcome.output
    if outcome.status == 2:
        assert outcome.output.strip(), "no word of what is wrong"
        assert len(outcome.output) < _LONGEST, outcome.output[:_LONGEST]
    return outcome


def _run(words):
    """Exit status and output; any exception but that of the exit is one of ours and goes on."""
    # Standard output refuses what it cannot encode, the error stream does not.
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace", write_through=True)
    arguments, sys.argv = sys.argv, ["jaxnigt", *words]
    try:
        with bounded(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
        status = 0
    except SystemExit as stopped:
        status = stopped.code or 0
    finally:
        sys.argv = arguments
    printed = b"".join(stream.buffer.getvalue() for stream in (out, err))
    return Outcome(status, printed.decode("utf-8", "replace"))


@contextlib.contextmanager
def bounded():
    """Whatever is run within ends in time; warnings are no errors, as on a user's machine."""

    def late(number, frame):
        raise TimeoutError(f"it hangs, after {LIMIT} s it is here: {frame}")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def place(**files):
    """A folder to work in, with files of these contents, below a folder with a file of somebody's."""
    with tempfile.TemporaryDirectory() as above:
        work = Path(above) / "mine" / "work"
        work.mkdir(parents=True)
        (work.parent / "thesis.txt").write_text("years of work")
        for name, content in files.items():
            content = content.encode() if isinstance(content, str) else content
            (work / name.replace("_", ".")).write_bytes(content)
        with contextlib.chdir(work):
            yield work


def listing(folder, leave=()):
    """Every file and folder below a folder with a digest; those to leave are left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if any(path == other or other in path.parents for other in leave):
            continue
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path)] = hashlib.sha256(str(content).encode()).hexdigest()
    return found


@contextlib.contextmanager
def untouched(work, *leave):
    """Nothing around a folder of `place` changes but what lies in the folders to leave."""
    before = listing(work.parent, leave)
    yield
    assert listing(work.parent, leave) == before


def count(category):
    """Note an example; thousands of them compile more programs than one process can hold."""
    COUNTS[category] += 1
    if COUNTS[category] % 20 == 0:
        make_room()


@contextlib.contextmanager
def refused_or_done():
    """A call of Python's that may say no, in a sentence of its own."""
    words = "good"
    try:
        with bounded():
            yield
    except jn.InputError as error:
        words = str(error)
    assert 0 < len(words) < _LONGEST, words[:_LONGEST]
