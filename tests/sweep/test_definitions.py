"""Definitions: one on another, in sizes, with lists and ranges, changed from outside."""

import json

import pytest

import jaxnigt as jn
from jaxnigt.sweep import definition as spec
from jaxnigt.sweep.schema import GridTable

BASE = """
name = "base"
workers = 4

[problem]
kind = "tabular"
horizon = 5

[[methods]]
name = "rennala_nigt"
iterations = 20
batch = 8

[[methods]]
name = "afedpg"
label = "asynchronous"
iterations = 40

[[profiles]]
label = "equal"
family = "equal"

[size.small]
"methods.*.iterations" = 10
training = { seeds = 1 }
problem.horizon = { start = 2, stop = 4, num = 3 }
"""


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base.toml"
    path.write_text(BASE)
    return path


def test_a_definition_rests_on_another_and_replaces_what_it_names(base, tmp_path):
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "child.toml"
    path.write_text(
        'base = "../base.toml"\nname = "child"\n[problem]\nhorizon = 7\n[training]\nseeds = 9\n'
    )
    child, parent = spec.read(path), spec.read(base)
    assert (child.name, child.problem.horizon, child.training.seeds) == ("child", (7,), 9)
    assert child.methods == parent.methods
    assert parent.problem.horizon == (5,)


def test_a_range_or_a_heterogeneity_is_replaced_as_a_whole(base, tmp_path):
    for name, rest in (("first", "base"), ("second", "first")):
        horizon = (
            "{ start = 2, stop = 8, num = 3, spacing = 'log' }"
            if name == "first"
            else ("{ start = 1, stop = 3, num = 3 }")
        )
        text = f'base = "{rest}.toml"\nproblem.horizon = {horizon}\n'
        (tmp_path / f"{name}.toml").write_text(text)
    assert spec.read(tmp_path / "first.toml").problem.horizon == (2, 4, 8)
    assert spec.read(tmp_path / "second.toml").problem.horizon == (1, 2, 3)


def test_later_bases_come_before_earlier_ones(base, tmp_path):
    (tmp_path / "second.toml").write_text("[problem]\nhorizon = 3\ndiscount = 0.5\n")
    path = tmp_path / "child.toml"
    path.write_text('base = ["base.toml", "second.toml"]\nname = "child"\n[problem]\ndiscount = 0.7\n')
    problem = spec.read(path).problem
    assert (problem.horizon, problem.discount) == ((3,), (0.7,))


@pytest.mark.parametrize("size", ["methods.rennala_nigt = -1", "profiles = { equal = [1] }"])
def test_a_size_of_a_method_is_a_table(base, size):
    base.write_text(BASE + size + "\n")
    with pytest.raises(
        jn.InputError, match=r"size\.(methods|profiles)\.\w+: got .*, a table with the keys"
    ):
        spec.read(base, size="small")


def test_a_size_changes_what_it_names_in_every_table(base):
    small = spec.read(base, size="small")
    assert [method.iterations for method in small.methods] == [(10,), (10,)]
    assert small.problem.horizon == (2, 3, 4)
    assert small.training.seeds == 1


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("problem.horizon=9", lambda d: d.problem.horizon == (9,)),
        ("methods.0.batch=[2, 4]", lambda d: d.methods[0].batch == (2, 4)),
        ("methods.asynchronous.stepsize=0.5", lambda d: d.methods[1].stepsize == (0.5,)),
        ("methods.rennala_nigt.restart=finish", lambda d: d.methods[0].restart == ("finish",)),
        ("methods.*.iterations=30", lambda d: [m.iterations for m in d.methods] == [(30,), (30,)]),
        ("name=other", lambda d: d.name == "other"),
        ("analysis.threshold=[0.5, 0.9]", lambda d: d.analysis.threshold == (0.5, 0.9)),
    ],
)
def test_any_key_can_be_changed_from_outside(base, change, found):
    assert found(spec.read(base, changes=[change]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": "huge"}, "size: got 'huge', .* allows small"),
        ({"changes": ["workers"]}, "set: got 'workers', key.of.table=value is allowed"),
        (
            {"changes": ["methods.sarsa.batch=1"]},
            "no table 'sarsa', allowed are \\*, rennala_nigt, async",
        ),
        ({"changes": ["workers.x=1"]}, "set: workers.x ends at|nothing is below|keys of tables"),
        ({"changes": ["methods=1"]}, "methods"),
        ({"changes": ["problem.horizon={start=1, stop=2}"]}, "problem.horizon: a range needs num"),
        ({"changes": ["workers=[]"]}, "workers: an empty list"),
        (
            {"changes": ["training.seeds=[1, 1]"]},
            "training.seeds: got \\[1, 1\\], how many or different",
        ),
        ({"changes": ["training.seeds=[0, 4294967296]"]}, "training.seeds: got .* from 0 to 4294967294"),
        (
            {"changes": ["training.key=4294967296"]},
            "training.key: got 4294967296, input should be less",
        ),
        ({"changes": ["training.key=1180591620717411303424"]}, "training.key: got 11805"),
        ({"changes": ["training.key=-1"]}, "training.key: got -1"),
        ({"changes": ["methods.0.stepsize=[0.1, 0.1]"]}, "methods.0.stepsize: got .* different entries"),
        ({"changes": ["profiles.0.label=grid.1"]}, "labels that begin with grid. are taken"),
        ({"changes": ["training.seeds=0"]}, "training.seeds: got 0, input should be greater than"),
        ({"changes": ["module=3"]}, "module: got 3, names of files are allowed"),
        (
            {"changes": ['problem={kind="chain", L_g="x"}']},
            "problem.L_g: got 'x', input should be a valid",
        ),
    ],
)
def test_what_cannot_be_changed_is_one_sentence(base, arguments, words):
    with pytest.raises(jn.InputError, match=words) as caught:
        spec.read(base, **arguments)
    assert "\n" not in str(caught.value)


def test_a_circle_of_definitions_is_refused(tmp_path):
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{one}.toml").write_text(f'base = "{other}.toml"\n')
    with pytest.raises(jn.InputError, match="base leads back to the file itself"):
        spec.merged(tmp_path / "a.toml")


def test_lists_and_ranges_make_every_combination():
    law = {
        "label": "law",
        "family": "power_law",
        "exponent": {"start": 0.0, "stop": 1.0, "num": 3},
        "comm_scale": [0.5, {"dimension_power": 0.25}],
    }
    methods = [{"name": "afedpg", "iterations": 10}]
    (table,) = spec.parse({"name": "x", "methods": methods, "profiles": [law]}).profiles
    found = spec.variants(table)
    assert [variant.label for variant in found] == [
        f"exponent={e},comm_scale={c}"
        for e in ("0", "0.5", "1")
        for c in ("0.5", "dimension_power:0.25")
    ]
    assert found[-1].table == {
        "family": "power_law",
        "exponent": 1.0,
        "comm_scale": {"dimension_power": 0.25},
    }


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"start": 1, "stop": 9, "num": 5}, (1, 3, 5, 7, 9)),
        ({"start": 2, "stop": 32, "num": 5, "spacing": "log"}, (2, 4, 8, 16, 32)),
        ({"start": 1.0, "stop": 100.0, "num": 3, "spacing": "log"}, (1.0, 10.0, 100.0)),
        (7, (7,)),
        ([3, 1], (3, 1)),
    ],
)
def test_a_range_holds_both_ends(given, values):
    grid = {"exponent": given, "comm_scale": 1.0}
    assert GridTable.model_validate(grid).exponent == pytest.approx(values)


def test_a_definition_survives_json(base):
    definition = spec.read(base)
    assert spec.parse(json.loads(definition.model_dump_json(exclude_none=True))) == definition
