"""How long compiled programs run and how long they take to compile, which are told apart."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import jax

_EVENTS = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


class Compilations:
    """What this process has compiled so far.

    Attributes:
        programs: how many, those read from the compilation cache included.
        seconds: spent on tracing, lowering and compiling (or reading) them.
    """

    def __init__(self) -> None:
        self.programs, self.seconds = 0, 0.0

    def listen(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        """Take note of an event of jax.monitoring."""
        if event in _EVENTS:
            self.seconds += duration_secs
            self.programs += event == _EVENTS[-1]


@functools.cache
def compilations() -> Compilations:
    """The counter of this process, which starts when it is first asked for."""
    counter = Compilations()
    jax.monitoring.register_event_duration_secs_listener(counter.listen)
    return counter


class Stopwatch:
    """Adds up the time of calls of compiled programs, without what they took to compile.

    Attributes:
        seconds: so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def run(self, program: Callable[..., Any], *arguments: Any) -> Any:
        """Call a program, wait for its results, and count the time."""
        compiled = compilations()
        begin, before = time.perf_counter(), compiled.seconds
        results = jax.block_until_ready(program(*arguments))
        self.seconds += max(0.0, time.perf_counter() - begin - (compiled.seconds - before))
        return results
