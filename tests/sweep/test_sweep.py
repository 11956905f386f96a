"""Sweeps from the command line, in this process, on the small environment `line`."""

import json
import re
import sys
import tomllib

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

import jaxnigt as jn
from jaxnigt import cli, figures
from jaxnigt.sweep import build, plan, store
from jaxnigt.sweep import definition as spec
from jaxnigt.training import rounds as training_rounds
from tests.test_package import ROOT

DEFINITION = """
name = "small"
workers = 4

[problem]
environment = "line"
horizon = 2
discount = 0.9

[training]
seeds = 2
eval_every = 5
eval_batch = 64

[[methods]]
name = "synchronous_nigt"
iterations = 40
stepsize = [0.01, 0.03]
momentum = 0.5

[[methods]]
name = "rennala_nigt"
batch = 8
iterations = 30
stepsize = [0.01, 0.03]
momentum = 0.5

[[profiles]]
label = "equal"
family = "equal"

[[profiles]]
label = "slow"
title = "h = κ = √i"
family = "power_law"
exponent = 0.5
comm_exponent = 0.5
comm_scale = { dimension_power = 0.25 }

[grid]
exponent = { start = 0.0, stop = 2.0, num = 5 }
comm_scale = { start = 0.01, stop = 10.0, num = 4, spacing = "log" }

[analysis]
threshold = 0.5
baseline = "synchronous_nigt"
"""


def run(capsys, monkeypatch, *arguments):
    """Exit status, output and errors of `jaxnigt ...`."""
    monkeypatch.setattr(sys, "argv", ["jaxnigt", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    captured = capsys.readouterr()
    return stopped.value.code or 0, captured.out, captured.err


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A finished sweep: its folder and definition file."""
    folder = tmp_path_factory.mktemp("swept")
    path = folder / "small.toml"
    path.write_text(DEFINITION)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["jaxnigt", "sweep", str(path), "--out", str(folder / "out")])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    assert not stopped.value.code
    return folder / "out", path


def test_the_data_set_is_labelled_and_knows_its_definition(swept):
    tree = jn.load(swept[0])
    assert spec.parse(json.loads(tree.attrs["definition"])) == spec.read(swept[1])
    for name in ("versions", "device", "git_commit", "created", "jaxnigt", "threshold_rule"):
        assert tree.attrs[name]
    rennala = tree["methods/rennala_nigt"].to_dataset()
    assert rennala["objective"].dims == ("stepsize", "momentum", "seed", "evaluation")
    assert rennala["eval_time"].dims == ("comm_model", "profile", "evaluation")
    assert rennala["gradient_norm"].sizes == {"stepsize": 2, "momentum": 1, "seed": 2, "round": 30}
    assert rennala["time"].attrs["units"] == "s"
    assert all("units" in rennala[name].attrs for name in rennala.data_vars)
    assert (rennala["last_tenth"] > rennala["first_tenth"]).all()
    grid = tree["grid"].to_dataset()
    assert grid["speedup"].dims == ("method", "threshold", "comm_model", "exponent", "comm_scale")
    np.testing.assert_array_equal(grid["speedup"].sel({"method": "synchronous_nigt"}), 1.0)


def test_stored_times_are_those_of_the_clock(swept):
    definition = spec.read(swept[1])
    tree = jn.load(swept[0])
    (named, _) = plan.batches(definition, 4, int(tree.attrs["parameters"]))
    stored = tree["methods/rennala_nigt"].to_dataset()
    np.testing.assert_array_equal(stored["time"][0], jn.clock.rennala(named.profile, 8, 30).end)
    profiles = tree["profiles"].to_dataset()
    dimension = float(tree.attrs["parameters"])
    np.testing.assert_allclose(
        profiles["comm"].sel(profile="slow"), np.sqrt(np.arange(1, 5)) * dimension**0.25
    )


def test_a_trace_survives_its_file(swept):
    (unit, *_) = plan.unique_units(plan.panels(spec.read(swept[1])))
    dataset = store.read(swept[0] / "units" / unit.filename)
    trace = jn.Trace.from_xarray(dataset, build.method(unit.method, unit.workers))
    again = trace.to_xarray().assign_attrs(resumed=0, box=dataset.attrs["box"])
    xr.testing.assert_identical(again, dataset)


def test_running_again_reuses_everything_and_trains_nothing(swept, capsys, monkeypatch):
    monkeypatch.setattr(training_rounds, "advance", None)
    status, out, _ = run(capsys, monkeypatch, "sweep", swept[1], "--out", swept[0])
    assert status == 0
    assert out.count("reused") == 2
    assert "results.nc" in out


def test_a_changed_definition_trains_only_what_changed(swept, capsys, monkeypatch, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(DEFINITION.replace("iterations = 30", "iterations = 35"))
    status, out, _ = run(capsys, monkeypatch, "sweep", path, "--out", swept[0])
    assert status == 0
    assert "synchronous_nigt: reused" in out
    assert "rennala_nigt: training" in out
    assert "round 35/35" in out


def test_the_figure_is_drawn_and_follows_the_data(swept, tmp_path):
    from jaxnigt.figures import draw

    tree = jn.load(swept[0])
    png, pdf = draw(tree, tmp_path)
    image = matplotlib.image.imread(png)
    assert image.std() > 0.05
    assert pdf.read_bytes().startswith(b"%PDF")
    tree["methods/rennala_nigt"]["objective"] = tree["methods/rennala_nigt"]["objective"] - 1.0
    changed = matplotlib.image.imread(draw(tree, tmp_path)[0])
    assert image.shape != changed.shape or (image != changed).any()


def test_a_method_has_one_colour_and_its_variants_lines_of_their_own():
    labels = {
        "rennala_nigt,batch=4": "rennala_nigt",
        "rennala_nigt,batch=8": "rennala_nigt",
        "mine": "rennala_nigt",
        "afedpg": "afedpg",
        "other": "other",
    }
    looks = figures.styles(labels)
    colours = {
        method: {looks[k][0] for k, m in labels.items() if m == method} for method in labels.values()
    }
    assert all(len(colour) == 1 for colour in colours.values())
    assert len({str(look[1]) for label, look in looks.items() if labels[label] == "rennala_nigt"}) == 3
    assert [look[2] for look in looks.values()] == [
        "Rennala NIGT, batch=4",
        "Rennala NIGT, batch=8",
        "mine",
        "AFedPG",
        "other",
    ]


def test_a_method_that_never_ends_a_round_is_named_above_its_panel(swept):
    tree = jn.load(swept[0])
    times = tree["methods/rennala_nigt"]["eval_time"]
    assert figures.stuck(figures.curves(tree, "equal")) == []
    tree["methods/rennala_nigt"]["eval_time"] = times.where(times == 0, np.inf)
    shown = figures.curves(tree, "equal")
    assert figures.stuck(shown) == ["Rennala NIGT: no round ends"]
    once = {k: line._replace(data=line.data.isel(evaluation=[0])) for k, line in shown.items()}
    assert figures.stuck(once) == []
    tree["methods/rennala_nigt"]["eval_time"] = times * np.nan  # not trained under this model
    assert figures.stuck(figures.curves(tree, "equal")) == []


def test_figures_command(swept, capsys, monkeypatch):
    status, out, _ = run(capsys, monkeypatch, "figures", swept[0])
    assert status == 0
    assert out.count("wrote") == 2


def test_a_run_that_diverges_is_named_and_the_others_go_on(capsys, monkeypatch, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(DEFINITION.replace("stepsize = [0.01, 0.03]", "stepsize = [0.01, 3e38]", 1))
    for how in ("synchronous_nigt: wrote", "synchronous_nigt: reused"):
        status, out, _ = run(capsys, monkeypatch, "sweep", path, "--out", tmp_path / "out")
        assert status == 1
        assert how in out
        assert "failed: synchronous_nigt: training stopped being finite at round" in out
        assert "stepsize = 3e+38, momentum = 0.5, seed = 0" in out
        assert out.count("failed:") == 2
    methods = jn.load(tmp_path / "out")["methods"]
    kept = methods["synchronous_nigt"].to_dataset()
    assert kept["best_stepsize_index"] == 0
    assert np.isfinite(kept["objective"][0]).all()
    assert np.isnan(kept["gradient_norm"][1, ..., -1]).all()


def test_a_unit_whose_runs_all_diverge_fails_and_the_others_go_on(capsys, monkeypatch, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(DEFINITION.replace("stepsize = [0.01, 0.03]", "stepsize = 3e38", 1))
    status, out, _ = run(capsys, monkeypatch, "sweep", path, "--out", tmp_path / "out")
    assert status == 1
    assert "failed: synchronous_nigt: training stopped being finite at round" in out
    assert "seed 0 (stepsize = 3e+38" in out
    assert list(jn.load(tmp_path / "out")["methods"].children) == ["rennala_nigt"]
    assert len(list((tmp_path / "out" / "units").glob("*.nc"))) == 1


CSV = 'label = "equal"\nfamily = "from_csv"\npath = "workers.csv"'
BAD = [
    (
        "workers = 4",
        "wrokers = 4",
        "unknown key 'wrokers', allowed are name, description, module, depends",
    ),
    (
        "horizon = 2",
        "horizn = 2",
        "problem: unknown key 'horizn', allowed are kind, environment",
    ),
    ("batch = 8", "batch = -8", "methods.1.batch: got -8, a whole number of at least 1"),
    ("batch = 8", 'batch = "all"', "methods.1.batch: got 'all', input should be a valid integer"),
    ("momentum = 0.5", "momentum = 0.0", "methods.0.momentum: got .* numbers in \\(0, 1\\] are allowed"),
    ("momentum = 0.5", "momentum = 1.5", "methods.0.momentum: got .* numbers in \\(0, 1\\] are allowed"),
    ("stepsize = [0.01, 0.03]", "stepsize = []", "methods.0.stepsize: an empty list"),
    (
        'name = "rennala_nigt"',
        'name = "renala"',
        "methods.1.name: got 'renala', allowed are rennala_nigt",
    ),
    ('"line"', '"lime"', "problem.environment: got 'lime', allowed are ant, fast"),
    ('"line"', '"reacher"\nbackend = "bullet"', "problem.backend: got 'bullet', allowed are mjx"),
    ("horizon = 2", "horizon = 0", "problem.horizon: got 0"),
    ("discount = 0.9", "discount = 2.0", "problem.discount: got 2.0, numbers in \\(0, 1\\]"),
    ('family = "equal"', 'family = "equal"\ncompute = inf', "profiles.0.compute: .*no live worker"),
    (
        'family = "equal"',
        'family = "equal"\nexponent = 1.0',
        "profiles.0: unknown key 'exponent', allowed are label, family, compute",
    ),
    ("exponent = 0.5\ncomm_exp", "comm_exp", "profiles.1.exponent: this key is missing"),
    ('baseline = "synchronous_nigt"', 'baseline = "none"', "analysis.baseline: got 'none', allowed are"),
    ("start = 0.01", "start = 0.0", "grid.comm_scale: spacing 'log' allows start and stop above 0"),
    (
        "threshold = 0.5",
        "threshold = 0.0",
        "analysis.threshold: got 0.0, input should be greater than 0",
    ),
    ("eval_every = 5", "eval_every = 31", "training.eval_every: got 31, at most the iterations = 30"),
    ("workers = 4", 'workers = 4\ncomm_model = "ring"', "comm_model: got 'ring', allowed are allreduce"),
    ('label = "slow"', 'label = "equal"', "profiles: label 'equal' stands twice"),
    ('name = "small"', "name = ", "is not valid TOML"),
    ('label = "equal"\nfamily = "equal"', CSV, "column 'comm' is missing"),
]


@pytest.mark.parametrize(("old", "new", "words"), BAD)
def test_bad_input_is_one_sentence_and_writes_nothing(capsys, monkeypatch, tmp_path, old, new, words):
    (tmp_path / "workers.csv").write_text("compute\n1\n1\n1\n1\n")
    path = tmp_path / "small.toml"
    assert old in DEFINITION
    path.write_text(
        DEFINITION.replace(old, new.format(path=tmp_path / "workers.csv") if new is CSV else new, 1)
    )
    status, out, err = run(capsys, monkeypatch, "sweep", path, "--out", tmp_path / "out")
    assert status == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert re.search(words, err), err
    assert not (tmp_path / "out").exists()


def test_a_csv_is_looked_for_beside_the_definition(tmp_path):
    (tmp_path / "workers.csv").write_text("compute,comm\n1,0\n2,0\n3,0\n4,0\n")
    path = tmp_path / "small.toml"
    path.write_text(DEFINITION.replace('label = "equal"\nfamily = "equal"', CSV))
    (named, _) = plan.batches(spec.read(path), 4, dimension=1)
    np.testing.assert_array_equal(named.profile.compute[0], [1, 2, 3, 4])


def test_files_of_a_size_and_of_a_base_are_looked_for_beside_them(tmp_path):
    below = tmp_path / "below"
    below.mkdir()
    for name, slowest in (("few", 4), ("more", 8)):
        (below / f"{name}.csv").write_text(f"compute,comm\n1,0\n2,0\n3,0\n{slowest},0\n")
    text = DEFINITION.replace('label = "equal"\nfamily = "equal"', CSV.replace("workers.csv", "few.csv"))
    for i, words in enumerate(
        (
            '[size.more.profiles.equal]\npath = "more.csv"',
            '[size.more]\n"profiles.equal.path" = "more.csv"',
        )
    ):
        (below / f"base{i}.toml").write_text(f"{text}\n{words}\n")
        (tmp_path / "top.toml").write_text(f'base = "below/base{i}.toml"\n')
        for size, slowest in ((None, 4), ("more", 8)):
            read = spec.read(tmp_path / "top.toml", size=size)
            assert plan.batches(read, 4, dimension=1)[0].profile.compute[0, -1] == slowest


def test_an_unwritable_folder(capsys, monkeypatch, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(DEFINITION)
    status, out, err = run(capsys, monkeypatch, "sweep", path, "--out", path / "out")
    assert (status, out) == (2, "")
    assert err.startswith(f"error: out: {path / 'out'} cannot be written to ({path} is not a folder)")


def test_a_missing_definition(capsys, monkeypatch, tmp_path):
    status, out, err = run(capsys, monkeypatch, "sweep", tmp_path / "none.toml")
    assert (status, out) == (2, "")
    assert "none.toml cannot be read: No such file or directory." in err


def test_results_that_are_not_there(tmp_path):
    with pytest.raises(jn.InputError, match=r"results\.nc cannot be read"):
        jn.load(tmp_path)


@pytest.mark.loose
@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.toml")), ids=lambda p: p.stem)
def test_every_definition_has_a_plan_in_every_size(capsys, monkeypatch, path):
    assert spec.read(path).name == path.stem
    few = {"quickstart": (), "tiny": (), "complexity": ("small",)}
    sizes = few.get(path.stem, ("small", "paper"))
    for size in sizes or (None,):
        arguments = ("--size", size) if size else ()
        status, out, err = run(capsys, monkeypatch, "sweep", path, "--dry-run", *arguments)
        assert (status, err) == (0, "")
        words = " ".join(out.split())
        assert f"done in results/{path.stem}{f'-{size}' if size else ''}" in words
        assert "memory: at most" in words
        assert "time: " in words
        if size == "paper":  # all of which are for an accelerator
            assert "on one NVIDIA A100, by MuJoCo's published" in words


TWO_CLOCKS = """
name = "clocks"
[problem]
kind = "tabular"
[training]
eval_every = 5
[[methods]]
name = "rennala_nigt"
restart = ["cancel", "finish"]
iterations = 20
[[methods]]
name = "afedpg"
iterations = 200
eval_every = 50
[[profiles]]
label = "law"
family = "power_law"
exponent = 0.5
"""


def test_what_is_a_matter_of_the_clock_alone_is_trained_once():
    (panel,) = plan.panels(spec.parse(tomllib.loads(TWO_CLOCKS)))
    cancel, finish, afedpg = panel.methods
    assert (cancel.table["restart"], finish.table["restart"]) == ("cancel", "finish")
    assert cancel.units[0].key == finish.units[0].key != afedpg.units[0].key
    assert [m.units[0].training["eval_every"] for m in panel.methods] == [5, 5, 50]
    wrong = TWO_CLOCKS.replace("eval_every = 50", "eval_every = 500")
    with pytest.raises(jn.InputError, match=r"^methods\.1\.eval_every: got 500, at most the iterations"):
        plan.panels(spec.parse(tomllib.loads(wrong)))


@pytest.mark.loose
def test_several_definitions_run_one_after_another(capsys, monkeypatch, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(DEFINITION.replace('name = "small"', f'name = "{name}"'))
    paths = [tmp_path / f"{name}.toml" for name in ("one", "two")]
    status, _, _ = run(capsys, monkeypatch, "sweep", *paths, "--out", tmp_path / "out")
    assert status == 0
    for name in ("one", "two"):
        assert json.loads(jn.load(tmp_path / "out" / name).attrs["definition"])["name"] == name
    status, _, err = run(capsys, monkeypatch, "sweep", paths[0], paths[0])
    assert status == 2
    assert err == "error: FILE: got the names one, one, different names are allowed.\n"


def test_doctor(capsys, monkeypatch):
    status, out, _ = run(capsys, monkeypatch, "doctor")
    assert status == 0
    assert "clock precision         float64" in out
    assert "rollout precision       float32" in out


def test_profiles_of_one_table_keep_their_labels(tmp_path):
    rows = "".join(
        f"{day},{hour},{worker}\n" for day in ("mon day", "tue/1") for hour, worker in ((1, 0), (2, 0.5))
    )
    (tmp_path / "days.csv").write_text(f"profile,compute,comm\n{rows}".replace("tue/1,2", "tue/1,7"))
    path = tmp_path / "days.toml"
    path.write_text("""
name = "days"
workers = 2
problem = { kind = "tabular", horizon = 3, own = true }
training = { seeds = 2, eval_every = 5 }
methods = [
  { name = "malenia_nigt", batch = 4, iterations = 10, stepsize = 0.1 },
  { name = "synchronous_nigt", iterations = 10, stepsize = 0.1 },
]
profiles = [
  { label = "log", title = "measured", family = "from_csv", path = "days.csv" },
  { label = "equal", family = "equal" },
]
""")
    tree = jn.sweep.run(path, tmp_path / "out", draw=jn.figures.draw)
    labels = ["log,mon day", "log,tue/1", "equal"]
    profiles = tree["profiles"].to_dataset()
    assert profiles["profile"].values.tolist() == labels
    assert profiles["title"].values.tolist() == ["measured, mon day", "measured, tue/1", "equal"]
    np.testing.assert_array_equal(profiles["compute"], [[1, 2], [1, 7], [1, 1]])
    for method in ("malenia_nigt", "synchronous_nigt"):
        time = tree[f"methods/{method}"]["time"]
        assert time["profile"].values.tolist() == labels
        assert (time.sel(profile="log,tue/1").values > time.sel(profile="equal").values).all()
