import time

import jax
import jax.numpy as jnp
import numpy as np

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


def test_compiling_is_told_apart_from_running():
    @jax.jit
    def program(x):
        return jax.lax.fori_loop(0, 2_000_000, lambda _, x: jnp.sin(x) + 1.0, x)

    before, programs, watch = compilations().seconds, compilations().programs, Stopwatch()
    begin = time.perf_counter()
    first = watch.run(program, jnp.zeros(()))
    whole, compiling = time.perf_counter() - begin, compilations().seconds - before
    assert compilations().programs > programs
    assert watch.seconds > 0
    np.testing.assert_allclose(watch.seconds + compiling, whole, rtol=0.05, atol=0.02)
    np.testing.assert_array_equal(watch.run(program, jnp.zeros(())), first)
