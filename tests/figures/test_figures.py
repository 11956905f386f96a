"""Every script of figures/ on small but real results, and what it says where there are none."""

import importlib
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

import jaxnigt as jn
from figures import __main__ as command
from figures import verdict
from figures.common import Drawn, MissingResultsError, Panel, Results, quantiles
from jaxnigt.figures import Curve, style
from jaxnigt.registry import entries
from jaxnigt.sweep import store as files
from tests.figures.tiny import make

ROOT = Path(__file__).parents[2]
NAMES = command.names()
PICTURES = [name for name in NAMES if name not in ("tables", "verdict")]
SWEEPS = sorted({sweep for name in NAMES for sweep in importlib.import_module(f"figures.{name}").SWEEPS})

pytestmark = pytest.mark.loose


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for sweep in SWEEPS:
        make(sweep, folder)
    return Results(folder)


@pytest.fixture(scope="module")
def others(results, tmp_path_factory):
    """The same results with other numbers in them."""
    folder = tmp_path_factory.mktemp("others")
    rng = np.random.default_rng(0)
    for sweep in SWEEPS:
        tree = jn.load(results.folder / f"{sweep}-small")
        for node in tree.subtree:
            data = node.to_dataset(inherit=False)
            for name in {"objective", "worker_objective", "time_to_threshold", "eval_time"} & set(data):
                data[name] = data[name] * rng.uniform(1.0, 3.0, data[name].shape)
            node.dataset = data
        (folder / f"{sweep}-small").mkdir()
        files.write(tree, folder / f"{sweep}-small" / "results.nc")
    return Results(folder)


def test_what_is_drawn_is_made_by_one_command():
    makefile = (ROOT / "Makefile").read_text()
    (line,) = (line for line in makefile.splitlines() if line.startswith("ALL :="))
    assert set(SWEEPS) <= set(line.removeprefix("ALL :=").split())


@pytest.mark.parametrize("name", NAMES)
def test_a_script_writes_what_it_says(name, results, others, tmp_path):
    paths = command.draw(name, results, tmp_path / "out")
    assert {path.stem for path in paths} == {name}
    assert all(path.stat().st_size > 200 for path in paths)
    caption = (tmp_path / "out" / f"{name}.md").read_text()
    if name == "tables":  # which read no results
        return
    changed = command.draw(name, others, tmp_path / "changed")
    assert [path.name for path in changed] == [path.name for path in paths]
    if name == "verdict":
        assert caption != (tmp_path / "changed" / "verdict.md").read_text()
        return
    pictures = [
        matplotlib.image.imread(tmp_path / d / f"{name}.png")[..., :3] for d in ("out", "changed")
    ]
    for picture in pictures:
        assert min(picture.shape[:2]) > 300
        assert (picture < 0.9).any(axis=-1).mean() > 0.01, "blank"
    same = pictures[0].shape == pictures[1].shape and np.allclose(*pictures, atol=0.02)
    assert not same, "other data, same picture"
    assert (tmp_path / "out" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    for sweep in importlib.import_module(f"figures.{name}").SWEEPS:
        assert f"{sweep}-small" in caption  # from which data


def test_the_same_data_give_the_same_picture(results, tmp_path):
    for folder in ("one", "other"):
        command.draw("humanoid", results, tmp_path / folder)
    for suffix in ("png", "pdf", "md"):
        one, other = (
            (tmp_path / folder / f"humanoid.{suffix}").read_bytes() for folder in ("one", "other")
        )
        assert one == other


@pytest.mark.parametrize("name", PICTURES)
def test_a_method_has_its_colour_everywhere(name, results):
    drawn: Drawn = importlib.import_module(f"figures.{name}").draw(results)
    colours = {look.title: look.colour for name in entries("method") if (look := style(name))}
    for axes in drawn.figure.axes:
        for line in axes.get_lines():
            method = next((t for t in colours if str(line.get_label()).startswith(t)), None)
            if method is not None:
                assert line.get_color() == colours[method]


def test_missing_results_name_the_sweep_that_makes_them(results, tmp_path):
    with pytest.raises(MissingResultsError, match="`make sweep SWEEP=hopper-paper` makes them"):
        Results(tmp_path, "paper").load("hopper")
    answer = _run("humanoid", "--results", tmp_path)
    assert answer.returncode == 1
    assert "`make sweep SWEEP=humanoid-small` makes them" in answer.stderr
    answer = _run("humanoid", "--results", results.folder, "--out", tmp_path / "out")
    assert answer.returncode == 0
    assert f"wrote {tmp_path / 'out' / 'humanoid.png'}" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing",), "figure: got 'nothing', allowed are "),
        (("--size", "big"), "size: got 'big', allowed"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, words):
    answer = _run(*arguments)
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"error: {words}")
    assert answer.stderr.count("\n") == 1


def _run(*arguments):
    command = [sys.executable, "-m", "figures", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def _panel(times, ends):
    """Methods that come to their level at some times [method, seed] and end at some J, from 0."""
    import xarray as xr

    lines = {}
    for label in times:
        data = xr.Dataset(
            {
                "objective": (("seed", "evaluation"), [[0.0, x] for x in ends[label]]),
                "eval_time": ("evaluation", [0.0, 1.0]),
                "time_to_threshold": (("threshold", "seed"), [times[label]]),
            },
            attrs={"method": label},
        )
        lines[label] = Curve(data, "k", "-", label)
    return Panel("", lines, 1.0)


ONES = [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0, 1.0, 2.0], [1.4, 2.0, 2.6]),
        ([1.0, 2.0, np.inf], [1.4, 2.0, np.inf]),
        ([1.0, np.inf, np.inf], [np.inf] * 3),
        ([1.0, np.nan], [1.0] * 3),
        ([np.nan], [np.nan] * 3),
    ],
)
def test_bands_know_of_runs_that_never_arrive(values, expected):
    np.testing.assert_allclose(quantiles(np.array(values)), expected)


@pytest.mark.parametrize(
    ("says", "first", "other", "expected"),
    [
        ("first", [1.0, 1.1, 1.2], [2.0, 2.1, 2.2], "agrees"),
        ("first", [1.0, 1.1, 3.5], [2.0, 2.1, 2.2], "partly"),
        ("first", [1.0, 1.1, 1.2], [0.5, 0.6, 0.7], "does not"),
        ("first", [1.0, 1.1, 1.2], [np.inf] * 3, "agrees"),
        ("first", [np.inf] * 3, [np.inf] * 3, "does not"),
        ("first, by little", [1.0, 1.0, 1.0], [1.2, 1.2, 1.2], "agrees"),
        ("first, by little", [1.0, 1.0, 1.0], [3.0, 3.0, 3.0], "partly"),
        ("first, by little", [1.0, 1.0, 1.0], [0.9, 0.9, 0.9], "partly"),
        ("first, by little", [1.0, 1.0, 1.0], [0.5, 0.5, 0.5], "does not"),
        ("equal", [1.0, 1.0, 1.0], [0.9, 0.9, 0.9], "agrees"),
        ("equal", [1.0, 1.0, 1.0], [1.8, 1.8, 1.8], "partly"),
        ("equal", [1.0, 1.0, 1.0], [0.4, 0.4, 0.4], "does not"),
    ],
)
def test_words_of_the_verdict_are_by_rule(says, first, other, expected):
    claim = verdict.Claim("", "", "", says, "a")
    panel = _panel({"a": first, "b": other}, {"a": ONES, "b": ONES})
    assert verdict.judge(claim, panel)[0] == expected


@pytest.mark.parametrize(
    ("first", "other", "expected"),
    [
        ([4.0, 4.1, 4.2], [1.0, 1.1, 1.2], "agrees"),
        ([4.0, 4.1, 4.2], [3.0, 3.1, 3.2], "partly"),
        ([4.0, 4.1, 4.2], [5.0, 5.1, 5.2], "does not"),
        ([-4.0, -4.1, -4.2], [-5.0, -5.1, -5.2], "partly"),
    ],
)
def test_far_above_is_of_gains(first, other, expected):
    claim = verdict.Claim("", "", "", "far above", "a")
    panel = _panel({"a": ONES, "b": ONES}, {"a": first, "b": other})
    assert verdict.judge(claim, panel)[0] == expected


def test_of_variants_the_fastest_stands_for_a_method():
    lines = _panel({"a": [2.0] * 3, "b": [1.0] * 3}, {"a": ONES, "b": ONES}).lines
    lines["a,batch=2"] = lines["a"]._replace(
        data=lines["a"].data.assign(time_to_threshold=lines["a"].data["time_to_threshold"] / 4)
    )
    assert float(verdict.fastest(lines)["a"].data["time_to_threshold"][0, 0]) == 0.5
    assert list(verdict.fastest(lines)) == ["a", "b"]


def test_tuned_complexity_is_drawn_with_what_is_not_sure(tmp_path):
    methods = {
        "Rennala": jn.methods.rennala_nigt(4, stepsize=[0.02, 0.05, 0.1]),
        "mine": jn.methods.synchronous_nigt(2, stepsize=0.05),
    }
    problem, profile = jn.problems.linear_quadratic(horizon=5), jn.profiles.equal(2)
    levels = [-7.5, -6.5, 0.0]  # the last is never reached
    found = jn.complexity(problem, methods, profile, levels, gradients=400, seeds=6, extend=0)
    with jn.figures.drawing():
        figure = Figure(layout="constrained")
        axes = figure.subplots()
        jn.figures.complexity(axes, found)
        axes.legend()
        (png, _) = jn.figures.save(figure, tmp_path / "complexity")
    assert png.stat().st_size > 5000
    drawn = [line for line in axes.lines if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in drawn) == 6
    faces = {line.get_markerfacecolor() for line in drawn if len(line.get_xdata())}
    assert "white" in faces  # one stepsize alone is an end of its grid
    text = [x.get_text() for x in axes.get_legend().get_texts()]
    assert text == ["Rennala", "mine"]
