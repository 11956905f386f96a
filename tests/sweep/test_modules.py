"""Environments of one's own in a sweep."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxnigt as jn
from jaxnigt.sweep import definition as spec
from jaxnigt.sweep import fingerprint, plan
from tests import line
from tests.sweep.running import here, sweep
from tests.test_readme import BLOCKS

POINT = next(block for block in BLOCKS if "class Point" in block)
POINT = (
    POINT[: POINT.index("problem =")]
    + """
from brax.envs import register_environment

register_environment("point", Point)
"""
)
TWO = {"JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
DEFINITION = """
name = "own"
workers = 2
figure = false
problem = { module = "point.py", environment = "point", horizon = 3 }
training = { seeds = 1, eval_batch = 2 }
methods = [{ name = "rennala_nigt", batch = 2, iterations = 10, stepsize = 0.1 }]
profiles = [{ label = "equal", family = "equal" }]
"""


@pytest.fixture
def definition(tmp_path):
    (tmp_path / "point.py").write_text(POINT)
    path = tmp_path / "own.toml"
    path.write_text(DEFINITION)
    return path


def objective(output):
    """J at the start, as the sweep prints it."""
    return float(re.search(r"best J (\S+)", output)[1])


def test_ones_own_environment_may_call_lapack_on_several_devices(definition, tmp_path):
    """XLA's threads, as `jaxnigt.sweep.cost` asks for them, in a process that has not started JAX."""
    point = definition.with_name("point.py")
    point.write_text(POINT + "import os\n\nprint('threads', os.environ.get('NPROC'))\n")
    status, output = sweep(definition, tmp_path / "out", "--dry-run", **TWO)
    assert status == 0, output
    assert "threads 8" in output


def test_what_is_changed_in_the_file_is_trained_again(definition, tmp_path):
    out = tmp_path / "out"
    status, first = sweep(definition, out)
    assert status == 0, first
    status, again = sweep(definition, out)
    assert "reused" in again
    point = definition.with_name("point.py")
    point.write_text(POINT.replace("- 1.0", "- 3.0"))
    status, changed = sweep(definition, out)
    assert status == 0, changed
    assert "reused" not in changed
    # Three steps from 0, discounted: nearly 3^2 times as bad from 3 as from 1.
    assert objective(changed) < 5 * objective(first) < 0


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "module: got '.*point.py', a Python file is allowed"),
        ("1 / 0", "module: .*point.py raises ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_does_not_run_is_one_sentence(definition, capsys, monkeypatch, code, words):
    point = definition.with_name("point.py")
    point.unlink()
    if code:
        point.write_text(code)
    status, output = here(capsys, monkeypatch, "sweep", definition, "--dry-run")
    assert status == 2
    assert re.search(f"error: .*{words}", " ".join(output.split())), output


def test_only_code_of_ones_own_is_part_of_a_key():
    own = hashlib.sha256(Path(line.__file__).read_bytes()).hexdigest()[:16]
    assert fingerprint.sources({"environment": "line"}) == [own]
    assert fingerprint.sources({"environment": "reacher"}) == []
    assert fingerprint.sources({"environment": "fast"}) == []  # made by a partial of a class of brax


def test_an_edit_during_a_run_is_no_part_of_its_keys(definition):
    (unit,) = plan.unique_units(plan.panels(spec.read(definition)))
    key = unit.key
    definition.with_name("point.py").write_text(POINT.replace("- 1.0", "- 3.0"))
    assert unit.key == key


def test_problems_without_environments_do_not_import_brax():
    words = """
import sys
import jaxnigt as jn
from jaxnigt.sweep import definition as spec, plan
tables = {"problem": {"kind": "tabular"}, "methods": [{"name": "rennala_nigt", "iterations": 10}]}
profiles = [{"label": "equal", "family": "equal"}]
(unit,) = plan.unique_units(plan.panels(spec.parse({"name": "x", **tables, "profiles": profiles})))
unit.key
print("brax" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def test_where_the_file_lies_is_no_part_of_a_key(definition, tmp_path):
    keys = []
    for name in ("here", "there"):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("own.toml", "point.py"):
            (folder / file).write_text(definition.with_name(file).read_text())
        (unit,) = plan.unique_units(plan.panels(spec.read(folder / "own.toml")))
        keys.append(unit.key)
    assert keys[0] == keys[1]


NOISE = """
import jaxnigt as jn

@jn.register("shifted")
class Shifted(jn.profiles.Noise):
    def quantile(self, uniform):
        return 0.5 + uniform
"""


def test_a_noise_that_is_edited_is_part_of_the_keys_of_what_is_trained_along_it(tmp_path):
    path, keys = tmp_path / "noise.py", []
    methods = [{"name": name, "iterations": 20} for name in ("rennala_nigt", "afedpg")]
    profiles = [{"label": "random", "family": "equal", "noise": "shifted"}]
    table = {"name": "x", "module": str(path), "problem": {"kind": "tabular"}, "methods": methods}
    for code in (NOISE, NOISE.replace("0.5 + uniform", "2 * uniform")):
        path.write_text(code)
        found = plan.unique_units(plan.panels(spec.parse(table | {"profiles": profiles})))
        keys.append([unit.key for unit in found])
    (replayed, along), (replayed_again, along_again) = keys
    assert replayed == replayed_again
    assert along != along_again


OWN = """
import jax.numpy as jnp
import jaxnigt as jn


@jn.register(NAME, kind="problem")
def bowl(at: float = AT):
    def objective(params, key, worker):
        return ((params - at) ** 2).sum()

    return jn.problems.stochastic(objective, lambda key: jnp.zeros(3), minimise=True)
"""


def _start(out, name, **more):
    """J(theta_0) of a problem of one's own, in this process as in a notebook."""
    training = {"seeds": 1, "eval_batch": 1}
    methods = [{"name": "rennala_nigt", "batch": 2, "iterations": 10, "stepsize": 0.1}]
    profiles = [{"label": "equal", "family": "equal"}]
    problem = {"problem": {"kind": name}, "workers": 2, "figure": False, "name": "own"}
    found = jn.sweep.run(
        {**problem, "training": training, "methods": methods, "profiles": profiles} | more, out=out
    )
    return float(found["methods/rennala_nigt"]["objective"].values.ravel()[0])


@pytest.mark.loose
def test_a_file_that_is_edited_is_run_again_in_the_same_process(tmp_path):
    path = tmp_path / "mine.py"
    for at, expected in ((1, -3.0), (30, -2700.0)):
        path.write_text(OWN.replace("NAME", "'edited'").replace("AT", str(at)))
        assert _start(tmp_path / "out", "edited", module=[str(path)]) == expected


@pytest.mark.loose
def test_what_is_typed_has_no_file_and_is_not_mixed_up(tmp_path):
    for at, expected in ((1, -3.0), (30, -2700.0)):
        code = OWN.replace("NAME", "'typed'").replace("AT", str(at))
        exec(compile(code, "<cell>", "exec"), {"__name__": "__main__"})
        assert _start(tmp_path / "out", "typed") == expected
