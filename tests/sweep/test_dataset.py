"""Traces as data sets: parts put together are the whole, and what is missing is seen."""

import numpy as np
import pytest
import xarray as xr

import jaxnigt as jn
from jaxnigt.sweep import dataset as traces

STEPSIZES, MOMENTA, SEEDS, PROFILES = [0.01, 0.02, 0.04], [0.1, 0.5], (0, 1, 2, 3), ("a", "b")


def trained(stepsizes, seeds, profiles):
    """A data set of some of the runs; what it holds depends on which they are alone."""
    problem = jn.problems.tabular(horizon=3)
    which = [PROFILES.index(label) for label in profiles]
    profile = jn.profiles.power_law(3, np.array([0.0, 1.0])[which])
    method = jn.methods.malenia_nigt(
        4, stepsize=np.array(stepsizes)[:, None], momentum=np.array(MOMENTA)[None, :]
    )
    trace = jn.train(problem, method, iterations=6, eval_every=3, seeds=seeds, profile=profile)
    return trace.to_xarray(profiles)


@pytest.fixture(scope="module")
def whole():
    return trained(STEPSIZES, SEEDS, PROFILES)


@pytest.fixture(scope="module")
def parts():
    return [
        trained(some, seeds, (profile,))
        for profile in PROFILES
        for seeds in (SEEDS[2:], SEEDS[:2])
        for some in (STEPSIZES[:1], STEPSIZES[1:])
    ]


LABELS = {"profile": PROFILES, "stepsize": STEPSIZES, "seed": SEEDS}


def test_parts_in_any_order_are_the_whole(whole, parts):
    found = traces.joined(parts[::-1], LABELS)
    assert found.sizes == whole.sizes
    for name in whole.data_vars:
        assert found[name].dims == whole[name].dims
        np.testing.assert_allclose(found[name], whole[name], rtol=1e-5, err_msg=name)
    xr.testing.assert_equal(found.coords.to_dataset(), whole.coords.to_dataset())
    seconds = sum(part.attrs["training_seconds"] for part in parts)
    assert found.attrs["training_seconds"] == pytest.approx(seconds)


def test_what_is_missing_is_nan(parts):
    found = traces.joined(parts[1:], LABELS)
    gap = {"profile": "a", "seed": list(SEEDS[2:]), "stepsize": STEPSIZES[0]}
    assert found["objective"].sel(gap).isnull().all()
    assert int(found["objective"].isnull().sum()) == found["objective"].sel(gap).size
    assert not traces.diverged(parts[0])
