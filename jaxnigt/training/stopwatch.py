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
        self._spans: list[tuple[float, float]] = []

    def listen(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        """Take note of an event of jax.monitoring."""
        if event not in _EVENTS:
            return
        self.programs += event == _EVENTS[-1]
        start = time.perf_counter() - duration_secs
        # Tracing a program holds the tracing of those that it calls, which was reported before.
        while self._spans and self._spans[-1][0] >= start:
            self.seconds -= self._spans.pop()[1]
        self._spans.append((start, duration_secs))
        self.seconds += duration_secs


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
