"""Plans: units with keys of their content, shared where they can be, and as large as memory allows."""

import dataclasses

import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.sweep import build, cost, fingerprint, plan
from jaxnigt.sweep import definition as spec
from jaxnigt.sweep.plan import short

DATA = {
    "name": "small",
    "workers": 4,
    "problem": {"kind": "tabular", "horizon": 5},
    "training": {"seeds": 4, "eval_every": 10},
    "methods": [
        {"name": "rennala_nigt", "batch": 8, "iterations": 20, "stepsize": [0.01, 0.02, 0.04]},
        {"name": "afedpg", "iterations": 20, "stepsize": [0.01, 0.02]},
    ],
    "profiles": [
        {"label": "law", "family": "power_law", "exponent": [0.0, 0.5, 1.0, 1.5]},
        {"label": "random", "family": "equal", "noise": "exponential"},
    ],
}


def panels(budget=None, **changes):
    return plan.panels(spec.parse({**DATA, **changes}), budget)


def keys(found):
    return {unit.key for unit in plan.unique_units(found)}


def test_one_training_serves_all_profiles_and_one_program_all_schedules_of_a_kind():
    (panel,) = panels()
    replayed, scheduled = panel.methods
    assert [unit.batch for unit in replayed.units] == [None]
    assert [unit.runs for unit in replayed.units] == [3 * 4]
    assert [unit.batch.labels for unit in scheduled.units] == [
        tuple(f"law,exponent={p}" for p in ("0", "0.5", "1", "1.5")),
        ("random",),
    ]


@pytest.mark.parametrize("parts", [2, 4, 8, 10])
def test_units_are_cut_into_equal_parts_that_fit_the_budget(parts):
    (whole,) = panels()
    largest = max(unit.bytes for method in whole.methods for unit in method.units)
    (cut,) = panels(largest // parts)
    for method in cut.methods:
        shapes = {}
        for unit in method.units:
            assert unit.bytes <= largest // parts
            labels = unit.batch.labels if unit.batch else ()
            shape = len(labels), len(unit.seeds), len(unit.method["stepsize"])
            shapes.setdefault(bool(labels) and labels[0].split(",")[0], set()).add(shape)
        assert all(len(shape) == 1 for shape in shapes.values())
    for before, after in zip(whole.methods, cut.methods, strict=True):
        assert sum(unit.runs for unit in before.units) == sum(unit.runs for unit in after.units)
        assert len({unit.key for unit in after.units}) == len(after.units)


def test_random_profiles_stay_together_and_momenta_are_cut():
    law = {"label": "law", "family": "power_law", "exponent": [0.0, 1.0], "noise": "exponential"}
    afedpg = {"name": "afedpg", "iterations": 20, "momentum": [0.1, 0.2, 0.3, 0.4]}
    arguments = {"methods": [afedpg], "profiles": [law], "training": {"seeds": 1, "eval_every": 10}}
    ((whole,),) = (panel.methods for panel in panels(**arguments))
    ((cut,),) = (panel.methods for panel in panels(whole.units[0].bytes // 2, **arguments))
    assert [unit.method["momentum"] for unit in cut.units] == [[0.1, 0.2], [0.3, 0.4]]
    assert all(len(unit.batch.labels) == 2 for unit in cut.units)


def test_a_restart_that_a_communication_model_does_not_know():
    methods = [{"name": "rennala_nigt", "iterations": 20, "restart": ["cancel", "finish"]}]
    with pytest.raises(jn.InputError, match=r"methods\.0\.restart: comm_model 'gather' allows 'cancel'"):
        panels(methods=methods, comm_model=["allreduce", "gather"])


def test_long_labels_make_names_that_a_disk_takes():
    label = "x" * 400
    assert len(short(label)) < 120
    assert short(label) != short(label + "y")
    assert short("a/b") == "a_b"


def test_a_run_that_does_not_fit_is_refused():
    with pytest.raises(
        jn.InputError, match=r"memory: rennala_nigt.* needs .* for a single run, the budget"
    ):
        panels(1000)


def test_keys_are_of_the_content_and_of_nothing_else():
    before = keys(panels())
    assert keys(panels(name="other", description="words", figure=False)) == before
    assert keys(panels(comm_model=["allreduce", "server"])) == before  # both are "parallel" for AFedPG
    renamed = [{**DATA["methods"][0], "label": "mine"}, DATA["methods"][1]]
    assert keys(panels(methods=renamed)) == before
    more = [{**DATA["methods"][0], "batch": [8, 16]}, DATA["methods"][1]]
    assert keys(panels(methods=more)) > before
    for change in (
        {"training": {"seeds": 4, "eval_every": 5}},
        {"training": {"seeds": 4, "eval_every": 10, "key": 1}},
        {"problem": {"kind": "tabular", "horizon": 6}},
    ):
        assert not keys(panels(**change)) & before
    other = {"label": "random", "family": "equal", "compute": 2.0, "noise": "exponential"}
    assert len(keys(panels(profiles=[DATA["profiles"][0], other])) & before) == 2
    assert len(keys(panels(comm_model="serial")) & before) == 1


def test_panels_share_what_does_not_depend_on_the_number_of_workers():
    method = {"iterations": 20, "stepsize": 0.01}
    methods = [{"name": "rennala_nigt", **method}, {"name": "synchronous_nigt", **method}]
    found = panels(workers=[4, 8], methods=methods)
    assert [panel.label for panel in found] == ["workers=4", "workers=8"]
    assert len(plan.unique_units(found)) == 3


def test_the_version_follows_the_code_but_not_its_words(tmp_path, monkeypatch):
    path = tmp_path / "module.py"
    monkeypatch.setattr(fingerprint, "_PACKAGE", tmp_path)
    digests = []
    for text in (
        '"""One."""\nx = 1\nraise ValueError("one")\n',
        '"""Two."""\n\n# why\nx = 1  # because\nraise ValueError(f"two {x}")\n',
        'x = 2\nraise ValueError("one")\n',
        'x = 1\nraise KeyError("one")\n',
    ):
        path.write_text(text)
        digests.append(fingerprint.code_version.__wrapped__())
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_the_version_is_the_same_under_every_python(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("def f(x: T = None, *, y=()) -> T:\n    return f'{x!r}', y\n")
    assert fingerprint._tree(path) == (
        "Module(body=[FunctionDef(name='f', args=arguments(args=[arg(arg='x', annotation=Name(id='T', "
        "ctx=Load()))], kwonlyargs=[arg(arg='y')], kw_defaults=[Tuple(ctx=Load())], "
        "defaults=[Constant(value=None)]), body=[Return(value=Tuple(elts=[JoinedStr(values="
        "[FormattedValue(value=Name(id='x', ctx=Load()), conversion=114)]), Name(id='y', ctx=Load())], "
        "ctx=Load()))], returns=Name(id='T', ctx=Load()))])"
    )


def test_every_profile_family_and_noise_can_be_named():
    tables = [
        {"family": "linear", "comm": 0.5},
        {"family": "lognormal", "sigma": [0.5, 1.0], "seed": 3},
        {"family": "decreasing", "times": 2},
        {"family": "outages", "until": 50.0},
        {"family": "stragglers", "count": [1, 2], "noise": [{"name": "gamma", "shape": 2.0}]},
        {
            "family": "equal",
            "noise": [{"name": "pareto", "alpha": 1.5}, {"name": "lognormal", "sigma": 1.0}],
        },
    ]
    tables = [{"label": f"p{i}", **table} for i, table in enumerate(tables)]
    (panel,) = panels(profiles=tables)
    labels = [label for batch in panel.batches for label in batch.labels]
    assert len(labels) == len(set(labels)) == 9
    noises = {str(batch.profile.noise) for batch in panel.batches}
    assert len(noises) == 4
    for batch in panel.batches:
        assert batch.profile.shape == (len(batch.labels),)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            {"family": "equal", "noise": "gauss"},
            "profiles.0.noise: got 'gauss', allowed are exponential",
        ),
        (
            {"family": "equal", "noise": {"name": "pareto"}},
            "profiles.0.noise.alpha: this key is missing",
        ),
        (
            {"family": "linear", "compute": 1.0},
            "profiles.0: unknown key 'compute', allowed are label, family, comm",
        ),
    ],
)
def test_bad_profiles(table, words):
    with pytest.raises(jn.InputError, match=words):
        panels(profiles=[{"label": "p", **table}])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            {"name": "afedpg", "batch": 4},
            "methods.0: unknown key 'batch', allowed are name, stepsize",
        ),
        (
            {"name": "rennala_pg", "momentum": 0.5},
            "methods.0: unknown key 'momentum', allowed are name, batch",
        ),
        ({"name": "synchronous_nigt", "batch": 5}, "methods.0.batch: got 5, synchronous_nigt takes one"),
        (
            {"name": "m_synchronous_nigt", "batch": 5},
            "methods.0.name: m_synchronous_nigt cannot have workers = 4",
        ),
        ({"name": "n_pg_igt"}, "methods.0.name: n_pg_igt cannot have workers = 4"),
    ],
)
def test_bad_methods(table, words):
    with pytest.raises(jn.InputError, match=words):
        panels(methods=[{"iterations": 20, **table}])


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ({"kind": "tabular", "backend": "mjx"}, "problem: unknown key 'backend', allowed are kind"),
        (
            {"environment": "hopper", "heterogeneity": 0.5},
            "problem.heterogeneity: got 0.5, input should be a valid dict",
        ),
        (
            {"heterogeneity": {"kind": "flipped", "gravity": 1.0}},
            "problem.heterogeneity: unknown key 'gravity', allowed are kind, signs, indicator",
        ),
        (
            {"environment": "line", "heterogeneity": {"kind": "flipped", "signs": [1, -1]}},
            "problem.heterogeneity: it has 2 workers, workers = 4 is needed",
        ),
    ],
)
def test_bad_problems(problem, words):
    with pytest.raises(jn.InputError, match=words):
        panels(problem=problem)


def test_workers_of_their_own_make_rennala_follow_the_clock():
    (panel,) = panels(problem={"kind": "tabular", "own": True, "heterogeneity": 0.5})
    assert all(method.scheduled for method in panel.methods)


def test_environments_with_their_heterogeneity():
    tables = [
        {"kind": "flipped", "signs": [1, -1, 1, -1]},
        {"kind": "physical", "attributes": {"lifetime": [2.0, 2.0, 2.0, 2.0]}},
    ]
    found = panels(problem={"environment": "line", "horizon": 2, "heterogeneity": tables})
    assert len(found) == 2
    for panel in found:
        assert build.problem(panel.problem, 4).workers == 4


def test_memory_sizes_are_read_and_shown():
    assert cost.parse("4GiB") == 4 * 2**30
    assert cost.parse("1.5 m") == int(1.5 * 2**20)
    assert cost.shown(3 * 2**20) == "3 MiB"
    for text in ("lots", "-1GiB", "0", "5 parsecs"):
        with pytest.raises(jn.InputError, match="memory: got"):
            cost.parse(text)


def test_estimates_of_memory_grow_with_what_is_held():
    (panel,) = panels()
    unit = panel.methods[0].units[0]
    problem, method = build.problem(unit.problem, 4), build.method(unit.method, 4)
    one = cost.unit_bytes(problem, method, unit)
    twice = dataclasses.replace(unit, seeds=tuple(range(8)))
    np.testing.assert_allclose(cost.unit_bytes(problem, method, twice), 2 * one)


@pytest.mark.loose
def test_what_a_unit_takes_on_an_accelerator_by_published_speeds():
    reacher = {"environment": "reacher", "backend": "mjx", "horizon": 50}
    training = {"seeds": 4, "eval_every": 10, "eval_batch": 16}
    (panel,) = panels(problem=reacher, training=training)
    least, most = cost.accelerator_seconds(panel.methods[0].units[0])
    # 12 runs of 20 rounds of 8 trajectories and 2 evaluations of 16, 2 physics steps for each step.
    assert least == pytest.approx(12 * (20 * 8 + 2 * 16) * 50 * 2 / 950_000)
    # 20 + 2 batches one after another, each as long as one of 8,192.
    assert most == pytest.approx((20 + 2) * 50 * 2 * 8192 / 950_000)
    assert cost.accelerator_seconds(panels()[0].methods[0].units[0]) is None
