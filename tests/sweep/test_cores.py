"""A sweep on a CPU has a device for every core, unless its user has chosen."""

import os
import subprocess
import sys

import pytest

from jaxnigt.sweep import cores

CHOICES = ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
FORCED = "--xla_force_host_platform_device_count"


def devices(before="pass", **chosen):
    """How many there are after `use_all`."""
    words = f"import jax; from jaxnigt.sweep.cores import use_all; {before}; use_all()"
    kept = {name: value for name, value in os.environ.items() if name not in CHOICES}
    environment = kept | {"JAX_PLATFORMS": "cpu"} | chosen
    command = [sys.executable, "-c", f"{words}; print(jax.device_count())"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(found.stdout)


def test_every_core_is_a_device():
    assert devices() == min(len(os.sched_getaffinity(0)), cores._MOST)


@pytest.mark.parametrize("chosen", [{"JAX_NUM_CPU_DEVICES": "3"}, {"XLA_FLAGS": f"{FORCED}=3"}])
def test_what_the_user_has_chosen_stays(chosen):
    assert devices(**chosen) == 3


def test_a_jax_that_runs_already_stays_as_it_is():
    assert devices(before="jax.devices()") == 1
