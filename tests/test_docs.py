"""The reference names everything that is public."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import jaxnigt as jn

API = Path(__file__).parents[1] / "docs" / "api"
SHOWN = set(re.findall(r"^::: ([\w.]+)", "".join(p.read_text() for p in API.glob("*.md")), re.MULTILINE))


def homes(thing):
    """The full name of something public, and of the module that it is in."""
    return {f"{thing.__module__}.{thing.__qualname__}", thing.__module__}


def public():
    """Functions and classes of the package and of its rooms."""
    rooms = [jn, *(getattr(jn, n) for n in jn.__all__ if inspect.ismodule(getattr(jn, n)))]
    things = [getattr(room, n) for room in rooms for n in getattr(room, "__all__", ())]
    return sorted({t for t in things if inspect.isfunction(t) or inspect.isclass(t)}, key=repr)


@pytest.mark.parametrize("thing", public(), ids=lambda thing: thing.__qualname__)
def test_the_reference_has(thing):
    assert homes(thing) & SHOWN


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_what_the_reference_shows_is_there(name):
    room, _, last = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        assert hasattr(importlib.import_module(room), last)
