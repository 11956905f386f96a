"""MJX's line search, ended when all of a batch are done with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax

from jaxnigt.environments.swapped import swapped

_NAME = "_while_loop_scan"
"""MJX's loop of a fixed number of turns, private to its solver."""


@contextlib.contextmanager
def ended_early() -> Iterator[None]:
    """While a step of MJX is traced, have its line search end as soon as nobody needs it any more.

    So that it can be differentiated in reverse, MJX searches in a loop of `ls_iterations` turns, 50 if
    a model does not say, of which those after the end change nothing. In a batch they are computed all
    the same. Physics is never differentiated here, so that a loop that ends serves, with the same
    numbers. Does nothing where MJX has no such loop.
    """
    from mujoco.mjx._src import solver

    if not hasattr(solver, _NAME):
        yield
        return
    with swapped(solver, **{_NAME: _ending}):
        yield


def _ending(more: Callable[[Any], Any], turn: Callable[[Any], Any], start: Any, most: int) -> Any:
    del most  # `more` heeds it
    return jax.lax.while_loop(more, turn, start)
