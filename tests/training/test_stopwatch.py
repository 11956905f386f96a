import time

import jax
import jax.numpy as jnp

from jaxnigt.training import stopwatch
from jaxnigt.training.stopwatch import _EVENTS, Compilations, Stopwatch, compilations


def test_compilation_within_compilation_counts_once(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    counter = Compilations()
    trace, lower, compile_ = _EVENTS
    for end, event, duration in (
        (2.0, trace, 1.0),
        (3.0, trace, 0.5),
        (4.0, trace, 4.0),  # the two before were parts of it
        (5.0, lower, 1.0),
        (9.0, compile_, 3.0),
    ):
        now[0] = end
        counter.listen(event, duration)
    counter.listen("/jax/other", 100.0)
    assert (counter.programs, counter.seconds) == (1, 8.0)


def test_compiling_is_told_apart_from_running(monkeypatch):
    now, counter = [0.0], Compilations()
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(stopwatch, "compilations", lambda: counter)

    def program(compiles):
        if compiles:
            now[0] += 3.0
            counter.listen(_EVENTS[-1], 3.0)
        now[0] += 2.0
        return jnp.zeros(())

    watch = Stopwatch()
    watch.run(program, True)
    watch.run(program, False)
    assert (watch.seconds, counter.seconds) == (4.0, 3.0)


def test_what_jax_compiles_is_counted():
    before = compilations().programs, compilations().seconds
    jax.jit(lambda x: jnp.sin(x) + 1.25)(jnp.zeros(()))
    assert compilations().programs > before[0]
    assert compilations().seconds > before[1]
