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


@pytest.mark.parametrize(("slow", "scale"), [(3.0, "linear"), (5.0, "log")])
def test_time_is_on_a_log_axis_where_one_method_takes_far_longer(slow, scale):
    def line(until):
        times = ("evaluation", np.linspace(0.0, until, 5))
        objective = ("seed", "evaluation"), np.arange(10.0).reshape(2, 5)
        return Curve(xr.Dataset({"eval_time": times, "objective": objective}), "k", "-", "a method")

    panel = common.Panel("", {"one": line(1.0), "other": line(slow)}, None)
    assert common.draw_returns([panel]).axes[0].get_xscale() == scale
    assert common.draw_returns([panel], log=True).axes[0].get_xscale() == "log"
