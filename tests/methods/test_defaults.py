"""Every method with its defaults on the default problem: a thousand updates do good."""

import pytest

import jaxnigt as jn
from jaxnigt.registry import entries

pytestmark = [pytest.mark.slow, pytest.mark.loose]


@pytest.fixture(scope="module")
def problem():
    return jn.problems.policy_gradient(backend="spring")  # whose physics is the fastest


# `collect_nigt` collects by Rennala's rule by default.
@pytest.mark.parametrize("name", [x for x in entries("method") if x != "collect_nigt"])
def test_a_thousand_updates_improve(problem, name):
    method = entries("method")[name].maker()
    workers = 1 if name == "n_pg_igt" else 10
    profile = jn.profiles.power_law(workers, 0.5)
    trace = jn.train(problem, method, iterations=1000, profile=profile, eval_every=333, eval_batch=64)
    start, *_, end = trace.objective.reshape(-1)
    print(f"{name}: J {trace.objective.reshape(-1).round(1).tolist()}")
    assert end > start + 1.0
