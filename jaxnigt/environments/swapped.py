"""Functions of a module that others serve for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any


@contextlib.contextmanager
def swapped(module: ModuleType, **functions: Callable[..., Any]) -> Iterator[None]:
    """Have functions stand in for those of a module that have their names."""
    before = {name: getattr(module, name) for name in functions}
    try:
        for name, function in functions.items():
            setattr(module, name, function)
        yield
    finally:
        for name, function in before.items():
            setattr(module, name, function)
