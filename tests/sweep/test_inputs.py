"""Definitions and modules as people write them."""

import functools
import json
import os

import numpy as np
import pytest
import xarray as xr

import jaxnigt as jn
from jaxnigt.sweep import fingerprint, schema, store
from jaxnigt.sweep.dataset import diverged
from jaxnigt.sweep.definition import run_module
from jaxnigt.sweep.plan import short
from tests.sweep.running import here

BASE = """name = "base"
workers = 4

[problem]
kind = "tabular"
horizon = 5

[training]
seeds = 2
eval_every = 5

[[methods]]
name = "rennala_nigt"
batch = 4
iterations = 20
stepsize = [0.01, 0.02]

[[profiles]]
label = "equal"
family = "equal"
"""


@pytest.fixture
def swept(tmp_path, capsys, monkeypatch):
    """What a definition's run says, and its exit status."""

    def run(text, *arguments, encoding="utf-8"):
        path = tmp_path / "base.toml"
        path.write_text(text, encoding=encoding)
        status, output = here(
            capsys,
            monkeypatch,
            "sweep",
            path,
            "--out",
            tmp_path / "out",
            "--set",
            "figure=false",
            *arguments,
        )
        return status, " ".join(output.split())

    return run


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            "[0.01, 0.02]",
            "[1, 1.0]",
            "methods.0.stepsize: got [1, 1.0], different entries are",
        ),
        ("[0.01, 0.02]", "[0.1, 0.1000000001]", "different entries are needed, in float32"),
        (
            "[0.01, 0.02]",
            "{start = 0.1, stop = 0.1, num = 3}",
            "different entries are needed, in float32",
        ),
        (
            "[0.01, 0.02]",
            "{start = 1, stop = 2, num = 2000000}",
            "num: got 2000000, a whole number from 1",
        ),
        ("batch = 4", "batch = [4, 4]", "methods.0.batch: got [4, 4], different entries are needed"),
        ("workers = 4", 'workers = 4\ndepends = "none.csv"', "none.csv cannot be read (No such file"),
    ],
)
def test_what_would_be_trained_twice_or_never(swept, before, after, words):
    status, output = swept(BASE.replace(before, after))
    assert (status, words in output) == (2, True), output


def test_whole_numbers_are_told_apart_beyond_float32():
    assert schema._many([16_777_216, 16_777_217]) == [16_777_216, 16_777_217]


def test_a_byte_order_mark_and_a_label_of_a_dot(swept, tmp_path):
    status, output = swept(
        BASE.replace('"rennala_nigt"', '"rennala_nigt"\nlabel = "."'), encoding="utf-8-sig"
    )
    assert status == 0, output
    assert list(jn.load(tmp_path / "out")["methods"].children) == ["\N{ONE DOT LEADER}"]


def test_many_profiles_are_counted_and_none_is_left_out(swept):
    profile = BASE[BASE.index("[[profiles]]") :]
    more = "".join(profile.replace("equal", f"day{i}", 1) for i in range(30))
    other = '[[methods]]\nname = "synchronous_nigt"\niterations = 20\nstepsize = 0.02\n'
    status, output = swept(BASE + more + other)
    assert status == 0, output
    assert "31 profiles" in output
    assert "three quarters" in output
    rows = [line.split() for line in output.replace("│", "|").split("|") if line.strip().isdecimal()]
    assert max(int(row[0]) for row in rows) <= 31


def test_a_grid_is_sorted_as_its_maps_are(swept, tmp_path):
    grid = "[grid]\nexponent = {}\ncomm_scale = {}\n"
    status, output = swept(BASE + grid.format([2.0, 0.0, 1.0], [10.0, 0.1]))
    assert status == 0, output
    unsorted = jn.load(tmp_path / "out")["grid"].to_dataset()
    status, output = swept(BASE + grid.format([0.0, 1.0, 2.0], [0.1, 10.0]))
    assert status == 0, output
    xr.testing.assert_equal(unsorted, jn.load(tmp_path / "out")["grid"].to_dataset())


@pytest.mark.parametrize("label", ["lab/point-v0", ".", "..", "a b", "x" * 300, "ü" * 300, "con", "a:b"])
def test_any_label_is_a_node_and_a_file(label, tmp_path):
    tree = xr.DataTree.from_dict({f"/methods/{store.node(label)}": xr.Dataset({"a": 1.0})})
    store.write(tree, tmp_path / f"{short(label)}-0123456789abcdef.nc")
    (path,) = tmp_path.iterdir()
    with xr.open_datatree(path, engine="h5netcdf") as found:
        assert float(found["methods"].children[store.node(label)]["a"]) == 1.0


POINT = """
import brax.envs
import jax.numpy as jnp
from brax.envs.base import Env, State
from {helper} import reward


class Point(Env):
    observation_size, action_size, backend = 1, 1, "none"

    def reset(self, rng):
        return State(None, jnp.zeros(1), jnp.zeros(()), jnp.zeros(()))

    def step(self, state, action):
        point = state.obs + 0.1 * action
        return state.replace(obs=point, reward=reward(point[0]))


brax.envs.register_environment("{name}", Point)
"""


def test_what_a_module_imports_is_part_of_the_key(swept, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    helper = tmp_path / "rewards_of_a_group.py"
    (tmp_path / "point.py").write_text(POINT.format(helper=helper.stem, name="point_of_a_group"))
    problem = 'kind = "tabular"\nhorizon = 5'
    text = 'module = "point.py"\n' + BASE.replace(
        problem, 'environment = "point_of_a_group"\nbackend = "spring"\nhorizon = 5'
    )
    found = []
    for goal in (1.0, 3.0):
        helper.write_text(f"def reward(position):\n    return -((position - {goal}) ** 2)\n")
        os.utime(helper, (1e9 + goal, 1e9 + goal))  # so that Python does not take it for the old one
        status, output = swept(text)
        assert status == 0, output
        assert "reused" not in output
        found.append(jn.load(tmp_path / "out")["methods/rennala_nigt"]["objective"].values)
    np.testing.assert_allclose(found[0][..., 0], -5 * 1.0, rtol=0.2)
    np.testing.assert_allclose(found[1][..., 0], -5 * 9.0, rtol=0.2)
    status, output = swept(text)
    assert "reused" in output


def test_a_file_that_is_named_is_part_of_the_key(swept, tmp_path):
    data = tmp_path / "data.csv"
    text = 'depends = ["data.csv"]\n' + BASE
    data.write_text("1")
    assert swept(text)[0] == 0
    assert "reused" in swept(text)[1]
    data.write_text("2")
    assert "reused" not in swept(text)[1]


def test_what_is_in_force_in_jax_is_part_of_the_key_and_recorded(swept, tmp_path, monkeypatch):
    assert swept(BASE)[0] == 0
    kept = json.loads(jn.load(tmp_path / "out").attrs["settings"])
    assert kept["jax_default_prng_impl"] == "threefry2x32"
    changed = fingerprint.settings() | {"jax_default_matmul_precision": "highest"}
    monkeypatch.setattr(fingerprint, "settings", lambda: changed)
    assert "reused" not in swept(BASE)[1]
    assert "reused" in swept(BASE)[1]


def test_arguments_of_a_partial_are_part_of_the_key():
    from brax import envs
    from brax.envs.hopper import Hopper

    def sources(**arguments):
        envs.register_environment("hopper_pay", functools.partial(Hopper, **arguments))
        return fingerprint.sources({"environment": "hopper_pay"})

    table = np.arange(5000.0)
    middle = np.where(table == 2500.0, -1.0, table)
    assert sources(weight=1.0) == sources(weight=1.0) != sources(weight=2.0)
    assert sources(table=table) == sources(table=table.copy()) != sources(table=middle)
    assert sources(reward=store.node) == sources(reward=store.node) != sources(reward=store.fault)
    assert sources(thing=object()) != sources(thing=object())


def test_a_module_that_cannot_be_read_is_one_sentence_and_can_be_mended(swept, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    mine, helper = tmp_path / "mine.py", tmp_path / "helper_to_mend.py"
    text = 'module = "mine.py"\n' + BASE
    mine.write_text("def broken(:\n")
    status, output = swept(text, "--dry-run")
    assert (status, "mine.py raises SyntaxError" in output) == (2, True), output
    mine.write_text("import helper_to_mend\nhelper_to_mend.goal + 1\n")
    for number, (content, expected) in enumerate([("goal = 'far'\n", 2), ("goal = 1.5\n", 0)]):
        helper.write_text(content)
        os.utime(helper, (1e9 + number, 1e9 + number))
        assert swept(text, "--dry-run")[0] == expected


def test_modules_of_a_package_are_found_by_their_relative_names(tmp_path, monkeypatch):
    package = tmp_path / "a_group_of_files"
    package.mkdir()
    (package / "__init__.py").write_text("from .first import goal\n")
    (package / "first.py").write_text("from . import second\ngoal = second.goal\n")
    (package / "second.py").write_text("goal = 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text("import a_group_of_files\n")
    run_module(str(tmp_path / "mine.py"))
    names = [module.__name__ for module in fingerprint.imported(str(tmp_path / "mine.py"))]
    assert names == ["a_group_of_files.second", "a_group_of_files.first", "a_group_of_files"]


def test_two_labels_have_two_names_of_files():
    labels = ["lab/a", "lab:a", "lab_a", "ü", "ö", store.node("lab/a"), "x" * 101, "x" * 102]
    assert len({short(label) for label in labels}) == len(labels) - 1  # a slash is a _ as it was


def test_evaluations_that_are_not_finite_are_named():
    numbers = xr.Dataset(
        {
            "gradient_norm": (("seed", "round"), np.array([[1.0, 1.0], [1.0, np.nan], [1.0, 1.0]])),
            "objective": (("seed", "evaluation"), np.array([[0.0, np.nan], [0.0, np.nan], [0.0, 0.0]])),
        },
        {"seed": [4, 5, 6], "eval_round": ("evaluation", [0, 1])},
    )
    assert diverged(numbers) == [
        "training stopped being finite at round 1, seed = 5",
        "an evaluation is not finite, that of round 1, seed = 4",
    ]
