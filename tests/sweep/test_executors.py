"""Where units run, how often programs are compiled, and how much memory they take."""

import io
import re
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from rich.console import Console

import jaxnigt as jn
from jaxnigt.sweep.plan import Unit
from jaxnigt.sweep.screen import Board
from jaxnigt.training import arrivals as training_arrivals
from jaxnigt.training import rounds as training_rounds
from jaxnigt.training.stopwatch import compilations
from tests.compiled import cleared
from tests.sweep.running import DEFINITION, here, same, sweep


@pytest.fixture(scope="module")
def definition(tmp_path_factory):
    path = tmp_path_factory.mktemp("definition") / "small.toml"
    path.write_text(DEFINITION)
    return path


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_worker_ends_with_the_same_data(definition, tmp_path):
    killed = []

    def kill_one(out):
        """The first process of Ray that is training, once it has left a snapshot."""
        end = time.monotonic() + 240
        while not killed and time.monotonic() < end:
            time.sleep(0.05)
            if not any((out / "snapshots").glob("*/round_*")):
                continue
            for process in psutil.process_iter(["cmdline"]):
                if "ray::_compute" in " ".join(process.info["cmdline"] or []):
                    process.send_signal(signal.SIGKILL)
                    killed.append(process.pid)
                    return

    status, output = sweep(definition, tmp_path / "local")
    assert status == 0, output
    out = tmp_path / "ray"
    killer = threading.Thread(target=kill_one, args=(out,))
    killer.start()
    arguments = ("--executor", "ray", "--unit-cpus", 1, "--snapshot-every", 0.05)
    status, output = sweep(definition, out, *arguments, RAY_USAGE_STATS_ENABLED="0")
    killer.join()
    assert status == 0, output
    assert killed, "no worker was there to be killed"
    assert same(tmp_path / "local", out)


def test_a_cluster_that_is_not_there_is_one_sentence(definition, tmp_path):
    arguments = ("--executor", "ray", "--ray-address", "127.0.0.1:1")
    status, output = sweep(definition, tmp_path / "out", *arguments)
    assert status == 2, output
    assert re.search("error: ray-address: got '127.0.0.1:1', nobody answers there", output), output


def test_an_unknown_executor(definition, tmp_path, capsys, monkeypatch):
    arguments = ("sweep", definition, "--out", tmp_path / "out", "--executor", "slurm")
    status, output = here(capsys, monkeypatch, *arguments)
    assert (status, output) == (2, "error: executor: got 'slurm', allowed are local, ray.\n")


def test_64_units_of_two_shapes_compile_two_programs(tmp_path, capsys, monkeypatch):
    path = tmp_path / "many.toml"
    path.write_text("""
name = "many"
workers = 4
figure = false
problem = { kind = "tabular", horizon = 3 }
training = { seeds = 32, eval_every = 5 }
methods = [
  { name = "rennala_nigt", batch = 8, iterations = 10, stepsize = 0.01 },
  { name = "rennala_nigt", label = "half", batch = 4, iterations = 20, stepsize = 0.02 },
]
profiles = [{ label = "equal", family = "equal" }]
""")
    added = cleared(training_rounds.advance, training_arrivals.advance)
    before = compilations().programs
    arguments = ("sweep", path, "--out", tmp_path / "out", "--memory", "0.3MiB")
    status, output = here(capsys, monkeypatch, *arguments, "--dry-run")
    assert "64 units, 0 of them done" in output, output
    status, output = here(capsys, monkeypatch, *arguments)
    assert status == 0, output
    assert output.count(": wrote ") == 64
    assert added() == (2, 0)
    # Programs, initial points and evaluations of two shapes, the clock's, and small change.
    assert compilations().programs - before < 64
    assert re.search(r"in compiled programs, \S+ compiling them, \S+ elsewhere", output)
    data = jn.load(tmp_path / "out")["methods/half"].to_dataset()
    assert data.sizes["seed"] == 32
    assert not data["objective"].isnull().any()


def test_units_cut_for_memory_give_the_same_data(definition, tmp_path, capsys, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    arguments = ("sweep", definition, "--set", "methods.*.iterations=100")
    assert here(capsys, monkeypatch, *arguments, "--out", whole)[0] == 0
    status, output = here(capsys, monkeypatch, *arguments, "--out", cut, "--memory", "1MiB")
    assert status == 0, output
    # The budget is kept, so that going on without naming it computes nothing again.
    status, output = here(capsys, monkeypatch, *arguments, "--out", cut)
    assert (status, output.count(": wrote ")) == (0, 0)
    one, other = jn.load(whole), jn.load(cut)
    for label, group in one["methods"].children.items():
        for name in ("objective", "time"):
            parts = other[f"methods/{label}"][name]
            assert abs(group[name] - parts).max() < 1e-3 * abs(group[name]).max(), (label, name)


def peak(path, out, *arguments):
    """Largest memory of a sweep in a process of its own, bytes, its programs compiled beforehand.

    Compiling one takes hundreds of MiB itself, which has nothing to do with how many run at once.
    """
    # Not ru_maxrss, which begins at what the process held that started this one.
    code = (
        "import pathlib, re; from jaxnigt import cli\n"
        "try: cli.main()\n"
        "except SystemExit as stopped: assert not stopped.code, stopped.code\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print('PEAK', 1024 * int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]))"
    )
    command = [sys.executable, "-c", code, "sweep", path, "--out", out, "--fresh", *arguments]
    for _ in range(2):
        done = subprocess.run([str(x) for x in command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return int(re.search(r"PEAK (\d+)", done.stdout)[1])


@pytest.mark.slow
def test_peak_memory_stays_within_its_budget(tmp_path):
    """Humanoids fall early, but what they might have seen in all their steps has room kept for it."""
    path = tmp_path / "wide.toml"
    path.write_text("""
name = "wide"
workers = 4
figure = false
problem = { environment = "humanoid", backend = "spring", horizon = 1000 }
training = { seeds = SEEDS, eval_every = 1, eval_batch = 32 }
methods = [{ name = "rennala_nigt", batch = 32, iterations = 1, stepsize = 0.01 }]
profiles = [{ label = "equal", family = "equal" }]
""")
    wide = tmp_path / "all.toml"
    wide.write_text(path.read_text().replace("SEEDS", "24"))
    path.write_text(path.read_text().replace("SEEDS", "1"))
    bare = peak(path, tmp_path / "one")
    budget = 512 * 2**20
    unbounded = peak(wide, tmp_path / "unbounded") - bare
    bounded = peak(wide, tmp_path / "bounded", "--memory", "512MiB") - bare
    print(f"\nbeyond one run [MiB]: {unbounded / 2**20:.0f} without, {bounded / 2**20:.0f} of 512")
    assert unbounded > budget
    assert bounded <= budget


def test_scalars_for_tensorboard(definition, tmp_path, capsys, monkeypatch):
    arguments = ("sweep", definition, "--out", tmp_path / "out", "--set", "methods.*.iterations=100")
    status, _ = here(capsys, monkeypatch, *arguments, "--tensorboard")
    assert status == 0
    written = list((tmp_path / "out" / "tensorboard").glob("*/events.out*"))
    assert len(written) == len(list((tmp_path / "out" / "units").glob("*.nc")))


def test_a_terminal_shows_bars_and_a_file_shows_lines():
    method, training = {"name": "rennala_nigt", "iterations": 40}, {"key": 0, "eval_every": 10}
    unit = Unit("rennala_nigt", {"kind": "tabular"}, method, 4, tuple(range(6)), training)
    shown = {}
    for terminal in (True, False):
        screen = io.StringIO()
        with Board(Console(file=screen, force_terminal=terminal, width=120), 3, 1) as board:
            board.start(unit)
            for done in (10, 20):
                board.update(unit, done, 40, 1.5)
            board._progress.refresh()
            board.finish(unit, "rennala_nigt: wrote it")
        shown[terminal] = screen.getvalue()
        assert "rennala_nigt: wrote it" in shown[terminal]
    assert re.search(r"20/40.*best J 1\.5, \d+ s left, \S+ rounds/s", shown[True])
    assert "2/3" in shown[True]
    assert "training 6 runs of 40 rounds (unit 2 of 3)" in shown[False]
    assert "round 10/40, best J 1.5" in shown[False]
    assert "rounds/s" not in shown[False]
