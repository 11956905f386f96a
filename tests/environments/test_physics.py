"""Physics of MJX runs in JAX, whatever hardware there is and whatever MJX prefers on it."""

import os

import pytest

from jaxnigt.environments.brax import make, quiet


@pytest.mark.loose
@pytest.mark.parametrize("name", ["reacher", "swimmer"])
def test_mjx_takes_its_implementation_in_jax(monkeypatch, name):
    with quiet():
        from mujoco.mjx._src import io
    monkeypatch.setenv("MJX_GPU_DEFAULT_WARP", "true")
    # A machine with a GPU and Warp, as far as MJX's choice goes.
    monkeypatch.setattr(io, "_is_cuda_gpu_device", lambda device: True)
    monkeypatch.setattr(io.mjxw, "WARP_INSTALLED", True)
    assert make(name).sys.impl == io.types.Impl.JAX
    assert os.environ["MJX_GPU_DEFAULT_WARP"] == "true"


@pytest.mark.loose
def test_what_mjx_prefers_is_left_unset(monkeypatch):
    monkeypatch.delenv("MJX_GPU_DEFAULT_WARP", raising=False)
    make("reacher")
    assert "MJX_GPU_DEFAULT_WARP" not in os.environ
