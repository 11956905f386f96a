"""The house: arrows point down, kernels know no names, and what is public is documented."""

import ast
import inspect
from pathlib import Path

import pytest

import jaxnigt as jn
from jaxnigt import registry as names

ROOT = Path(jn.__file__).parent
BELOW = {
    "machine": set(),
    "checks": {"machine"},
    "constants": {"checks"},
    "registry": {"checks"},
    "files": {"checks"},
}
BELOW["policies"] = {"checks", "registry"}
BELOW["profiles"] = {"checks", "registry"}
BELOW["bounds"] = {"checks", "constants", "registry", "profiles"}
BELOW["environments"] = {"checks", "registry"}
BELOW["problems"] = {"checks", "constants", "registry", "environments", "policies"}
BELOW["clock"] = {"checks", "registry", "profiles"}
BELOW["methods"] = {"checks", "registry", "profiles", "clock", "problems"}
BELOW["training"] = BELOW["methods"] | {"methods", "bounds", "files"}
BELOW["sweep"] = BELOW["training"] | {"training", "environments", "machine"}
BELOW["figures"] = {"checks", "files", "registry", "sweep"}
"""Rooms, and those that each may import. The command line and the package itself may import all."""

FILES = sorted(ROOT.rglob("*.py"))


def imported(tree):
    """Modules of jaxnigt that a file imports anywhere, as words after the package's name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "jaxnigt")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "jaxnigt":
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from whole if node.module == "jaxnigt" else [node.module]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_point_down(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if room in ("__init__", "__main__", "cli"):
        return
    for module in imported(ast.parse(path.read_text(encoding="utf-8"))):
        above = module.split(".")[1] if "." in module else ""
        if above == "__version__":  # which is no import of the package's rooms
            continue
        assert above in BELOW[room] | {room}, f"{path} imports {module}"


def test_no_file_lies_loose_and_none_is_long():
    loose = {path.name for path in ROOT.glob("*.py")}
    assert loose == {
        *(
            "__init__.py",
            "__main__.py",
            "checks.py",
            "cli.py",
            "constants.py",
            "figures.py",
            "files.py",
            "machine.py",
        ),
        *("policies.py", "registry.py"),
    }
    long = {str(p.relative_to(ROOT)): n for p in FILES if (n := len(p.read_text().splitlines())) > 400}
    assert not long


KERNELS = ("batching", "counting", "events", "arrivals", "pace", "verify")
WORDS = {name for kind in ("rule", "communication", "arrival_rule") for name in names.entries(kind)}
WORDS |= {"cancel", "finish"}


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_compare_no_names(kernel):
    """No rule or model of communication is known by its name or its class where events are played."""
    tree = ast.parse((ROOT / "clock" / f"{kernel}.py").read_text(encoding="utf-8"))
    documented = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
    }
    allowed = {"comm_model", "cancel", "parallel"}  # an argument's name and defaults of public functions
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documented:
            assert node.value not in WORDS - allowed, node.value
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            classes = {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
            assert not classes & {"Rennala", "Malenia", "Synchronous", "MSynchronous", "Serial"}


ROOMS = ("bounds", "clock", "environments", "methods", "problems", "profiles")
PUBLIC = [
    f"{room}.{name}" if room else name
    for room in ("", *ROOMS)
    for name in (getattr(jn, room).__all__ if room else jn.__all__)
]


@pytest.mark.parametrize("room", ["", *ROOMS, "sweep", "training"])
def test_dir_shows_what_is_public_and_no_modules_that_are_not(room):
    module = __import__(f"jaxnigt.{room}" if room else "jaxnigt", fromlist=["x"])
    assert dir(module) == sorted(module.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_function_has_an_example(name):
    found = jn
    for part in name.split("."):
        found = getattr(found, part)
    if inspect.ismodule(found):
        assert found.__doc__
        return
    assert found.__doc__, name
    if inspect.isfunction(found):
        assert ">>>" in found.__doc__, f"{name} has no example"


def test_representations_are_short():
    profile = jn.profiles.equal(3)
    trace = jn.train(jn.problems.tabular(horizon=2), jn.methods.rennala_nigt(2), iterations=2)
    bound = jn.bounds.upper("rennala_nigt", profile, jn.Constants(1.0, 1.0, 1.0, 1.0), 0.1)
    things = (
        *(jn.clock.rennala(profile, 2, 3), jn.clock.asynchronous(profile, 3), bound, trace),
        *(jn.methods.afedpg(), jn.Constants(1.0, 1.0, 1.0, 1.0), jn.Snapshots("x"), profile),
    )
    for thing in things:
        lines = repr(thing).splitlines()
        assert 1 <= len(lines) <= 5
        assert max(map(len, lines)) <= 200
