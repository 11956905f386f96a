"""A sweep on a CPU has a device for every core, unless its user has chosen."""

import os
import subprocess
import sys

import pytest

from jaxnigt import machine
from jaxnigt.sweep import cost

CHOICES = ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
FORCED = "--xla_force_host_platform_device_count"


def devices(before="pass", **chosen):
    """How many there are after `use_all`."""
    words = f"import jax; from jaxnigt.sweep.cost import use_all_cores; {before}; use_all_cores()"
    kept = {name: value for name, value in os.environ.items() if name not in CHOICES}
    environment = kept | {"JAX_PLATFORMS": "cpu"} | chosen
    command = [sys.executable, "-c", f"{words}; print(jax.device_count())"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(found.stdout)


def test_every_core_is_a_device():
    assert devices() == min(machine.cores(), cost._MOST_DEVICES)


@pytest.mark.parametrize("chosen", [{"JAX_NUM_CPU_DEVICES": "3"}, {"XLA_FLAGS": f"{FORCED}=3"}])
def test_what_the_user_has_chosen_stays(chosen):
    assert devices(**chosen) == 3


def test_a_jax_that_runs_already_stays_as_it_is():
    assert devices(before="jax.devices()") == 1


def threads(*arguments, **chosen):
    """NPROC, the number of XLA's threads, after `use_all` for two devices."""
    words = (
        f"import os; from jaxnigt.sweep.cost import use_all_cores; use_all_cores({', '.join(arguments)})"
    )
    kept = {name: value for name, value in os.environ.items() if name not in (*CHOICES, "NPROC")}
    environment = kept | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"} | chosen
    command = [sys.executable, "-c", f"{words}; print(os.environ.get('NPROC'))"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return found.stdout.strip()


def test_more_threads_than_devices_where_lapack_may_be_called_alone():
    assert threads() == "8"
    assert threads("lapack=False") == "None"
    assert threads(NPROC="3") == "3"


STUCK = """
from jaxnigt.sweep import cost
cost.use_all_cores()
import jax, jax.numpy as jnp
import jaxnigt as jn
from jax.sharding import PartitionSpec
start = jnp.broadcast_to(jnp.eye(23), (256, 23, 23))
def factor(x):
    return jax.lax.fori_loop(0, 4000, lambda _, y: jnp.linalg.cholesky(x + 1e-3 * jnp.sin(y)), x)
cut = PartitionSpec("slots")
program = jax.shard_map(factor, mesh=jn.parallel.mesh(), in_specs=cut, out_specs=cut, check_vma=False)
print(jax.device_count(), bool(jnp.isfinite(jax.jit(program)(start)).all()))
"""


def test_factorisations_on_two_devices_do_not_wait_for_each_other_for_ever():
    kept = {name: value for name, value in os.environ.items() if name != "NPROC"}
    environment = kept | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"}
    command = [sys.executable, "-c", STUCK]
    found = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=200
    )
    assert found.stdout == "2 True\n"
