"""What goes wrong while a sweep runs: each gives its message, and nothing that was computed is lost."""

import os
import random
import re
import signal
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

try:
    import resource
except ImportError:  # Windows
    resource = None

import jaxnigt as jn
from jaxnigt.sweep import execute, store, work
from jaxnigt.training.snapshots import Identity
from tests.sweep.running import DEFINITION, here, same, start, sweep, wait_for


@pytest.fixture(scope="module")
def definition(tmp_path_factory):
    path = tmp_path_factory.mktemp("definition") / "small.toml"
    path.write_text(DEFINITION)
    return path


@pytest.fixture(scope="module")
def undisturbed(definition, tmp_path_factory):
    """A sweep that nothing happened to."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    status, output = sweep(definition, out)
    assert status == 0, output
    return out


def units(out):
    """Finished units, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in (out / "units").glob("*.nc")}


@pytest.mark.slow
def test_ten_kills_in_a_row_lose_nothing_and_compute_no_unit_twice(definition, undisturbed, tmp_path):
    out, moments = tmp_path / "out", random.Random(0)
    finished, snapshots = {}, 0
    for kill in range(10):
        process = start(definition, out, "--snapshot-every", 0.0)
        wait_for((out / ".owner.json").exists, process)
        if kill == 0:  # one kill is sure to leave a snapshot, however fast the machine
            wait_for(lambda: list((out / "snapshots").glob("*/round_*")), process)
        else:
            with pytest.raises(subprocess.TimeoutExpired):
                process.communicate(timeout=moments.uniform(0.1, 1.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        (out / ".owner.json").unlink(missing_ok=True)
        now = units(out)
        assert finished.items() <= now.items(), "a finished unit was written again"
        finished = now
        snapshots += len(list((out / "snapshots").glob("*/round_*")))
    assert snapshots, "no kill came in the middle of a training that had a snapshot"
    assert len(finished) < len(units(undisturbed)), "the kills came too late to disturb anything"
    status, output = sweep(definition, out)
    assert status == 0, output
    assert finished.items() <= units(out).items()
    assert output.count("reused") == len(finished)
    assert units(out).keys() == units(undisturbed).keys()
    assert same(undisturbed, out)
    assert not list((out / "snapshots").iterdir())


def test_an_interrupt_stops_at_a_safe_point_and_says_how_to_go_on(definition, undisturbed, tmp_path):
    out = tmp_path / "out"
    process = start(definition, out)
    wait_for(lambda: (out / "plan.json").exists(), process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "stopping at the next safe point; press Ctrl-C again to stop at once" in output
    assert f"units done in {out}, the same command goes on from there" in output.replace("\n", " ")
    status, output = sweep(definition, out)
    assert status == 0, output
    assert same(undisturbed, out)


def test_a_sweep_on_two_devices_goes_on_where_it_stopped(definition, tmp_path, capsys, monkeypatch):
    # Three seeds cannot be shared out evenly, so that batches are.
    changes = ("training.seeds=3", "training.eval_every=20", "methods.*.iterations=400")
    arguments = ("--snapshot-every", 0.0, *(word for change in changes for word in ("--set", change)))
    two = {"JAX_NUM_CPU_DEVICES": "2"}
    status, output = sweep(definition, tmp_path / "whole", *arguments, **two)
    assert status == 0, output
    out = tmp_path / "out"
    process = start(definition, out, *arguments, **two)
    wait_for(lambda: list((out / "snapshots").glob("*/round_*")), process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert re.search(r"round \d+ in a snapshot", here(capsys, monkeypatch, "status", out)[1])
    status, output = sweep(definition, out, *arguments, **two)
    assert status == 0, output
    assert same(tmp_path / "whole", out)
    resumed = [store.read(path).attrs["resumed"] for path in (out / "units").glob("*.nc")]
    assert sum(resumed) == 1


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_is_heeded_as_soon_as_there_is_a_plan(name, definition, tmp_path, capsys, monkeypatch):
    describe = execute._Sweep._describe

    def interrupted(sweep):
        describe(sweep)
        signal.raise_signal(signal.Signals[name])

    monkeypatch.setattr(execute._Sweep, "_describe", interrupted)
    # Under `nohup` SIGHUP is ignored, by this process as well, and a sweep leaves it so.
    before = signal.signal(signal.Signals[name], signal.SIG_DFL)
    try:
        status, output = here(capsys, monkeypatch, "sweep", definition, "--out", tmp_path / "out")
    finally:
        signal.signal(signal.Signals[name], before)
    assert status == 130, output
    assert "units done in" in output


def test_a_second_interrupt_stops_at_once(definition, tmp_path):
    out, screen = tmp_path / "out", tmp_path / "screen.txt"
    # Rounds enough that no safe point comes soon.
    many = ("--set", "training.eval_every=200000", "--set", "methods.*.iterations=200000")
    with screen.open("w") as file:
        process = start(definition, out, *many, screen=file)
        for words in ("training", "stopping at the next safe point"):
            wait_for(lambda words=words: words in screen.read_text(), process)
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 130, screen.read_text()
    assert "stopped at once; finished units and snapshots are in" in screen.read_text()
    assert not store.in_use(out)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: os.truncate(path, path.stat().st_size // 2), "its checksum does not match"),
        (lambda path: _flip(path), "its checksum does not match"),
        (lambda path: path.with_name(path.name + ".sha256").unlink(), "its checksum is missing"),
    ],
    ids=["truncated", "flipped", "unchecked"],
)
def test_a_damaged_unit_is_named_and_computed_again(
    definition, undisturbed, tmp_path, capsys, monkeypatch, damage, words
):
    out = _copy(undisturbed, tmp_path / "out")
    victim = sorted((out / "units").glob("*.nc"))[0]
    damage(victim)
    status, output = here(capsys, monkeypatch, "status", out)
    assert f"damaged: {words}" in " ".join(output.split())
    status, output = here(capsys, monkeypatch, "sweep", definition, "--out", out)
    assert status == 0
    assert f"{victim} is damaged, {words}; it is computed again" in output
    assert output.count("reused") == len(units(out)) - 1
    assert same(undisturbed, out)


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _copy(folder, to):
    subprocess.run(["cp", "-r", "--preserve=timestamps", folder, to], check=True)
    return to


def test_a_disk_that_fills_up_is_reported_for_its_unit_and_the_others_go_on(
    definition, undisturbed, tmp_path, capsys, monkeypatch
):
    out, write, full = tmp_path / "out", store.write, []

    def filling(data, path, **options):
        if path.name.startswith("afedpg"):
            full.append(path)
            raise OSError(28, "No space left on device")
        write(data, path, **options)

    monkeypatch.setattr(store, "write", filling)
    status, output = here(capsys, monkeypatch, "sweep", definition, "--out", out)
    assert status == 1
    assert full
    for path in full:
        assert f"{path} cannot be written (No space left on device)" in output
    assert same(undisturbed, out)  # what could not be stored is in the data set all the same
    monkeypatch.setattr(store, "write", write)
    status, output = here(capsys, monkeypatch, "sweep", definition, "--out", out)
    assert status == 0
    assert output.count("reused") == len(units(undisturbed)) - len(full)
    assert same(undisturbed, out)


@pytest.mark.skipif(resource is None, reason="this system has no limits of files")
def test_a_system_that_writes_half_leaves_no_half_file(tmp_path):
    import xarray as xr

    data = xr.Dataset({"x": ("i", np.arange(100_000.0))})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for write in (
        lambda path: store.write_text(path, "x" * 100_000),
        lambda path: store.write(data, path, checksum=True),
    ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                write(tmp_path / "note.nc")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert not list(tmp_path.iterdir())


def test_a_unit_that_raises_is_named_and_the_others_go_on(
    definition, undisturbed, tmp_path, capsys, monkeypatch
):
    out, compute = tmp_path / "out", work.compute

    def raising(unit, **options):
        if unit.label.startswith("malenia"):
            raise RuntimeError("the cable was pulled")
        return compute(unit, **options)

    monkeypatch.setattr(work, "compute", raising)
    status, output = here(capsys, monkeypatch, "sweep", definition, "--out", out)
    assert status == 1
    assert re.search(r"failed: malenia_nigt[^:]*: RuntimeError: the cable was pulled", output)
    log = next((out / "logs").glob("*.log")).read_text()
    assert "Traceback" in log
    _, output = here(capsys, monkeypatch, "status", out)
    assert "RuntimeError: the cable was pulled" in " ".join(output.split())
    monkeypatch.setattr(work, "compute", compute)
    status, output = here(capsys, monkeypatch, "sweep", definition, "--out", out)
    assert status == 0
    assert same(undisturbed, out)
    assert not list((out / "failures").iterdir())


def test_seeds_of_a_part_that_fails_are_left_out(definition, tmp_path, capsys, monkeypatch):
    compute = work.compute

    def raising(unit, **options):
        if unit.label == "rennala_nigt,batch=4.1of2":
            raise MemoryError("no room")
        return compute(unit, **options)

    monkeypatch.setattr(work, "compute", raising)
    arguments = ("--set", "methods.*.iterations=100", "--memory", "0.7MiB")
    out = tmp_path / "out"
    status, output = here(capsys, monkeypatch, "sweep", definition, "--out", out, *arguments)
    assert status == 1
    assert "failed: rennala_nigt,batch=4.1of2: MemoryError: no room" in output
    methods = jn.load(out)["methods"]
    kept, whole = (methods[f"rennala_nigt,batch={m}"].to_dataset() for m in (4, 8))
    assert (kept["seed"].values.tolist(), whole["seed"].values.tolist()) == ([1], [0, 1])
    assert not kept["objective"].isnull().any()


def test_two_runs_in_one_folder_do_not_meet(definition, undisturbed, tmp_path, capsys, monkeypatch):
    out = _copy(undisturbed, tmp_path / "out")
    before = units(out)
    with store.locked(out):
        status, output = sweep(definition, out)
    assert status == 2
    assert output.startswith(f"error: out: {out} is in use by process {os.getpid()} on ")
    assert output.count("\n") == 1
    assert units(out) == before
    assert here(capsys, monkeypatch, "sweep", definition, "--out", out)[0] == 0


def test_a_read_only_folder_is_refused(definition, tmp_path, capsys, monkeypatch):
    place = tmp_path / "place"
    place.mkdir(mode=0o500)
    if os.access(place, os.W_OK):  # root may write anywhere, but not where there is no disk at all
        place = "/proc"
    status, output = here(capsys, monkeypatch, "sweep", definition, "--out", f"{place}/out")
    assert status == 2
    assert output.startswith(f"error: out: {place}/out cannot be written to (")
    assert output.count("\n") == 1


def test_an_edited_definition_computes_only_what_changed(
    definition, undisturbed, tmp_path, capsys, monkeypatch
):
    out = _copy(undisturbed, tmp_path / "out")
    before = units(out)
    arguments = ("sweep", definition, "--out", out, "--set", "methods.malenia_nigt.iterations=500")
    _, output = here(capsys, monkeypatch, *arguments, "--dry-run")
    changed = [name for name in before if name.startswith("malenia")]
    assert f"{len(before)} units, {len(before) - len(changed)} of them done" in output
    _, output = here(capsys, monkeypatch, *arguments, "--dry-run", "--fresh")
    assert f"{len(before)} units, 0 of them done" in output
    status, output = here(capsys, monkeypatch, *arguments)
    assert status == 0
    assert output.count("reused") == len(before) - len(changed)
    assert before.items() <= units(out).items()
    assert here(capsys, monkeypatch, "sweep", definition, "--out", out)[0] == 0
    assert same(undisturbed, out)


def test_a_renamed_profile_keeps_its_training(definition, undisturbed, tmp_path, capsys, monkeypatch):
    out = _copy(undisturbed, tmp_path / "out")
    path = tmp_path / "renamed.toml"
    path.write_text(DEFINITION.replace('label = "random"', 'label = "chance"'))
    status, output = here(capsys, monkeypatch, "sweep", path, "--out", out)
    assert status == 0, output
    assert output.count("reused") == len(units(out))
    before, after = (jn.load(x)["methods/afedpg"].to_dataset() for x in (undisturbed, out))
    old, new = before.sel(profile="random"), after.sel(profile="chance")
    np.testing.assert_array_equal(old["objective"], new["objective"])


def test_a_grid_that_no_method_replays_is_empty(definition, tmp_path, capsys, monkeypatch):
    path = tmp_path / "grid.toml"
    only = DEFINITION[: DEFINITION.index("[[methods]]")] + DEFINITION[DEFINITION.index("[[profiles]]") :]
    path.write_text(
        only + "[grid]\nexponent = [0.0, 1.0]\ncomm_scale = 1.0\n"
        '[[methods]]\nname = "malenia_nigt"\nbatch = 8\niterations = 100\nstepsize = 0.02\n'
    )
    out = tmp_path / "out"
    status, output = here(capsys, monkeypatch, "sweep", path, "--out", out, "--set", "figure=true")
    assert status == 0, output
    assert jn.load(out)["grid"].to_dataset().sizes["method"] == 0
    trained = ("sweep", path, "--out", out, "--set", "grid.trained=true", "--set", "figure=true")
    status, output = here(capsys, monkeypatch, *trained)
    assert status == 0, output
    grid = jn.load(out)["grid"].to_dataset()
    assert grid["time_to_threshold"].sizes == {
        "method": 1,
        "threshold": 1,
        "comm_model": 2,
        "exponent": 2,
        "comm_scale": 1,
    }
    assert np.isfinite(grid["time_to_threshold"]).all()


def test_snapshots_go_on_from_where_they_were_taken(tmp_path):
    """Bit by bit, for rounds and for arrivals, stopped at the first safe point of every try."""
    problem = jn.problems.tabular(horizon=5, workers=3)
    profile = jn.profiles.power_law(3, [0.0, 1.0])
    for method in (jn.methods.malenia_nigt(6, stepsize=[0.01, 0.1]), jn.methods.afedpg()):
        arguments = {"iterations": 10, "seeds": 2, "profile": profile, "eval_every": 4}
        whole = jn.train(problem, method, **arguments)
        folder = tmp_path / method.name
        for done in range(1, 11):
            kept = jn.Snapshots(folder, stopping=lambda: True)
            with pytest.raises(jn.Stopped) as stopped:
                jn.train(problem, method, **arguments, snapshots=kept)
            assert stopped.value.done == done
        parted = jn.train(problem, method, **arguments, snapshots=jn.Snapshots(folder))
        for name in ("objective", "gradient_norm", "worker_objective", "direction_norm"):
            np.testing.assert_array_equal(getattr(whole, name), getattr(parted, name))
        leaves = zip(*map(jax.tree.leaves, (whole.params, parted.params)), strict=True)
        for one, other in leaves:
            np.testing.assert_array_equal(one, other)


def test_a_snapshot_of_no_use_is_passed_over(tmp_path):
    kept = jn.Snapshots(tmp_path / "s", every=0.0)
    state, identity = {"x": jnp.arange(3.0)}, Identity("this training", np.zeros(1))
    kept.offer(7, state, lambda: {"r": np.ones(2)}, identity)
    assert kept.restore(state, identity)[0] == 7
    assert kept.restore(state, identity._replace(words="another training")) is None
    assert kept.restore({"x": jnp.arange(4.0)}, identity) is None
    (tmp_path / "s" / "round_7.npz").write_bytes(b"")
    assert kept.restore(state, identity) is None
