"""Strict settings for our own code, and a small environment with a known answer."""

import os

import jax
import matplotlib as mpl
import pytest

from jaxnigt.clock.batching import make_room
from jaxnigt.sweep.cost import use_compilation_cache

# The sweeps that tests start have one device, as tests have themselves, so that bits can be compared.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "1")
mpl.use("Agg")
# Compiled programs, small ones too, are shared between tests, what they start, and runs.
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
use_compilation_cache()


@pytest.fixture(autouse=True)
def _strict(request):
    """No silent promotion of ranks or dtypes, except around physics that does it itself."""
    if "loose" in request.keywords:
        yield
        return
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(scope="module", autouse=True)
def _room():
    """Thousands of tests compile more programs than one process can hold."""
    make_room()


@pytest.fixture(scope="session", autouse=True)
def _line_environment():
    """The environment `line` of tests.line, by name, as a user would register one."""
    from jaxnigt.environments.brax import quiet

    with quiet():
        from brax import envs
    from tests.line import Line

    envs.register_environment("line", Line)
    yield
    del envs._envs["line"]
