import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxnigt as jn

ROOT = Path(__file__).parent.parent


def test_the_command_line_does_not_load_jax():
    code = "import sys, jaxnigt.cli; print([m for m in ('jax', 'brax', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", jn.__all__)
def test_public_names_are_there_and_documented(name):
    assert getattr(jn, name).__doc__


def test_public_functions_are_not_hidden_by_modules():
    """Importing every module must leave jn.train and jn.replay what they are."""
    code = (
        "import jaxnigt, pkgutil, importlib\n"
        "for m in pkgutil.walk_packages(jaxnigt.__path__, 'jaxnigt.'):\n"
        "    m.name.endswith('__main__') or importlib.import_module(m.name)\n"
        "names = ('train', 'replay', 'time_to', 'nigt', 'load')\n"
        "print(all(callable(getattr(jaxnigt, name)) for name in names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_unknown_names_are_errors():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = jn.nothing


def test_importing_and_building_an_environment_prints_nothing():
    code = "import jaxnigt as jn; jn.problems.policy_gradient('reacher').dimension()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == ""


def test_constraints_name_versions_and_nothing_else():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or (line.count("==") == 1 and "/" not in line and "@" not in line)


def test_version_and_module():
    for command in (
        ["-m", "jaxnigt", "--version"],
        ["-c", "import jaxnigt; print(jaxnigt.__version__)"],
    ):
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == jn.__version__


@pytest.mark.parametrize("name", [n for n in jn.methods.__all__ if n.endswith(("_nigt", "pg", "_igt"))])
def test_every_method_can_be_cited(name):
    method = getattr(jn.methods, name)()
    entry = jn.citation(method)
    assert entry == jn.citation(method.name)
    assert entry.count("@") == entry.count("arXiv:") >= 1
    assert entry.count("{") == entry.count("}")
    # The docstring of the method, where it names a paper, names the one that comes first.
    named = re.findall(r"\d{4}\.\d{5}", getattr(jn.methods, name).__doc__) or ["2509.24305"]
    assert entry.partition("arXiv:")[2][:10] in named


def test_a_method_of_ones_own_has_no_citation():
    with pytest.raises(jn.InputError, match="method: got 'fair', allowed are rennala_nigt"):
        jn.citation("fair")


def test_wrong_types_of_public_arguments_are_a_sentence():
    """In a process of its own, as the tests' type checks would speak first."""
    calls = (
        'jn.train(p, "rennala_nigt", iterations=1)',
        'jn.train("tabular", m, iterations=1)',
        "jn.train(p, m, iterations=1, profile=[1.0, 2.0])",
        'jn.train(p, m, iterations=1, snapshots="folder")',
        'jn.train(p, m, iterations="1")',
        'jn.train(p, m, iterations=1, key="0")',
        "jn.train(p, m, iterations=1, seeds=1.5)",
        "jn.clock.rennala([1.0, 2.0], 2, 3)",
        "jn.clock.asynchronous([1.0, 2.0], 3)",
        "jn.replay(None, jn.profiles.equal(2))",
        "jn.replay(jn.train(p, m, iterations=1), [1.0])",
        'jn.bounds.upper("rennala_nigt", [1.0], jn.Constants(1.0, 1.0, 1.0, 1.0), 0.1)',
        'jn.bounds.lower("rennala_nigt", jn.profiles.equal(2), 1.0, 0.1)',
        'jn.methods.rennala_nigt("8")',
        'jn.methods.rennala_nigt(8, stepsize="0.1")',
        "jn.Profile({})",
        'jn.problems.policy_gradient("reacher", action_scale=float("nan"))',
        "jn.problems.FixedNormalisation(std=0.0)",
        'jn.problems.linear_quadratic(cost=float("nan"))',
        "jn.problems.tabular(jn.problems.MDP([[[[1.0], [0.5]]]], [[[1.0, 1.0]]], [[1.0]]))",
    )
    script = (
        "import jaxnigt as jn\np, m = jn.problems.tabular(), jn.methods.rennala_nigt(2)\n"
        + "".join(
            f"try:\n    {call}\nexcept jn.InputError as error:\n    print(error)\n" for call in calls
        )
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(calls), done.stdout
    assert all(" allowed" in line or " must " in line for line in lines), lines
