"""Where the search for Rennala's deciding arrival begins: before it, and a few arrivals away."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxnigt as jn
from jaxnigt.clock.batching import double_precision
from jaxnigt.clock.pace import Pace, timetable


def test_few_arrivals_are_left_also_where_power_changes_before_the_end():
    rng = np.random.default_rng(0)
    n, breaks = 40, np.array([1.0, 2.5, 4.0, 7.0])
    h = rng.uniform(0.5, 3.0, n)
    power = rng.choice([0.0, 0.1, 1.0, 4.0], (len(breaks) + 1, n))
    power[-1] = 1.0
    with double_precision():
        table = timetable(Pace(jnp.asarray(h), jnp.asarray(breaks), jnp.asarray(power)), jnp.zeros(n))
        asked = jnp.arange(1, 400)

        def missing(m):
            return (
                m.astype(float)
                - table.arrived(jn.clock.Rennala().sized(m).hint_low(table, jnp.zeros(n))).sum()
            )

        left = np.asarray(jax.jit(jax.vmap(missing))(asked))
    assert left.min() >= 1
    assert left.max() <= 3
