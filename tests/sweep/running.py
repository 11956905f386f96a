"""Sweeps as a user runs them: in a process of their own, and what they leave behind."""

import os
import subprocess
import sys
import time

import pytest

import jaxnigt as jn
from jaxnigt import cli

DEFINITION = """
name = "small"
workers = 4
comm_model = ["allreduce", "serial"]
figure = false

[problem]
kind = "tabular"
horizon = 5

[training]
seeds = 2
eval_every = 50

[[methods]]
name = "rennala_nigt"
batch = [4, 8]
iterations = 2000
stepsize = [0.01, 0.02]

[[methods]]
name = "afedpg"
iterations = 4000
stepsize = 0.01

[[methods]]
name = "malenia_nigt"
batch = 8
iterations = 1000
stepsize = 0.02

[[profiles]]
label = "law"
family = "power_law"
exponent = [0.0, 1.0]
comm_scale = 0.5

[[profiles]]
label = "random"
family = "equal"
noise = "exponential"
"""


def start(path, out, *arguments, screen=subprocess.PIPE, **environment):
    """`jaxnigt sweep` in a process of its own."""
    command = [sys.executable, "-m", "jaxnigt", "sweep", path, "--out", out, *arguments]
    return subprocess.Popen(
        [str(word) for word in command],
        stdout=screen,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )


def here(capsys, monkeypatch, *arguments):
    """Exit status and everything printed by `jaxnigt ...` in this process."""
    monkeypatch.setattr(sys, "argv", ["jaxnigt", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    captured = capsys.readouterr()
    return stopped.value.code or 0, captured.out + captured.err


def sweep(path, out, *arguments, **environment):
    """Exit status and everything printed."""
    process = start(path, out, *arguments, **environment)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def wait_for(condition, process, seconds=120):
    """Until a condition holds; fails where the process ends before."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.01)


def same(one, other):
    """Whether two folders hold the same numbers, the times that computing took left aside."""
    return alike(jn.load(one), jn.load(other))


def alike(first, second):
    """The same of two data sets."""
    assert [node.path for node in first.subtree] == [node.path for node in second.subtree]
    for node in first.subtree:
        if not node.to_dataset().identical(_comparable(second[node.path], node)):
            return False
    return True


def _comparable(node, like):
    """The same data set with the attributes of another, where they only tell of the making."""
    data = node.to_dataset()
    told = ("training_seconds", "compiled_seconds", "replay_seconds", "created", "git_commit")
    return data.assign_attrs({k: like.attrs[k] for k in told if k in like.attrs and k in data.attrs})
