"""When time is on a log axis, and from where on."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from figures import common
from jaxnigt.figures import Curve


@pytest.mark.parametrize(
    ("right", "scale", "left"), [(1.0, "linear", 0.0), (2.0, "log", 1.0), (4000.0, "log", 1.0)]
)
def test_a_log_axis_begins_at_the_first_evaluation_after_the_start(right, scale, left):
    data = xr.Dataset({"eval_time": ("evaluation", np.array([0.0, 1.0, right]))})
    figure = Figure()
    axes = figure.subplots()
    axes.set_xlim(0, right)
    common._log_time(axes, common.Panel("", {"one": Curve(data, "k", "-", "one")}, None))
    figure.draw_without_rendering()
    assert axes.get_xscale() == scale
    assert axes.get_xlim() == (left, right)
