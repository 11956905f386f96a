import numpy as np
import pytest
import xarray as xr

from jaxnigt.sweep import dataset as analysis
from jaxnigt.sweep import selection


def dataset(objective, returns=None):
    objective = np.asarray(objective, float)
    returns = np.zeros((*objective.shape[:-1], 20)) if returns is None else np.asarray(returns, float)
    runs = ("profile", "stepsize", "momentum", "seed")[4 - objective.ndim + 1 :]
    variables = {
        "objective": ((*runs, "evaluation"), objective),
        "batch_undiscounted": ((*runs, "round"), returns),
    }
    return xr.Dataset(variables, attrs={"hyperparameters": ["stepsize", "momentum"]})


def test_the_best_leaf_is_the_highest_at_the_end_over_all_seeds():
    objective = np.zeros((2, 2, 2, 20))
    objective[0, 1, :, -3] = 100.0  # high, but not in the last tenth
    objective[1, 0, :, -2:] = [[1.0, 3.0], [2.0, 2.0]]
    objective[1, 1, 0, -2:] = 3.9  # higher for one seed, lower over both
    found = analysis.best_indices(dataset(objective))
    assert {name: int(index) for name, index in found.items()} == {"stepsize": 1, "momentum": 0}
    chosen = analysis.best(dataset(objective))["objective"]
    np.testing.assert_array_equal(chosen, objective[1, 0])


def test_a_leaf_that_diverged_for_a_seed_is_never_the_best():
    objective = np.zeros((2, 1, 2, 10))
    objective[1] = 5.0
    objective[1, 0, 1, -1] = np.nan
    assert int(analysis.best_indices(dataset(objective))["stepsize"]) == 0


def test_every_profile_that_was_trained_along_has_its_own_best():
    objective = np.zeros((3, 2, 1, 2, 10))
    objective[0, 1] = objective[1, 0] = objective[2, 1] = 1.0
    found = analysis.best_indices(dataset(objective))["stepsize"]
    np.testing.assert_array_equal(found, [1, 0, 1])
    np.testing.assert_array_equal(analysis.best(dataset(objective))["objective"], np.ones((3, 2, 10)))


def test_improvement_compares_tenths_of_rounds():
    returns = np.arange(20.0).reshape(1, 1, 1, 20)
    first, last = analysis.improvement(dataset(np.zeros((1, 1, 1, 5)), returns))
    np.testing.assert_allclose((first.item(), last.item()), (0.5, 18.5))


def test_the_threshold_is_reached_by_all():
    high, low = (dataset(np.reshape([0.0, end], (1, 1, 1, 2))) for end in (4.0, 2.0))
    start, levels = analysis.threshold([high, low], [0.5, 1.0])
    assert start == 0.0
    assert levels == pytest.approx([1.0, 2.0])


def test_j_at_a_time_is_that_of_the_last_point_that_exists():
    data = dataset(np.reshape([0.0, 1.0, 5.0], (1, 1, 1, 3))).assign(
        eval_time=("evaluation", [0.0, 10.0, 30.0])
    )
    for seconds, expected in ((0.0, 0.0), (9.9, 0.0), (10.0, 1.0), (29.0, 1.0), (1e9, 5.0)):
        assert analysis.objective_at(data, seconds).item() == expected


def test_seeds_are_judged_at_what_the_others_choose():
    objective = np.zeros((3, 1, 3, 10))
    # Seed 0 is lucky at the last stepsize, and no other seed would choose it.
    objective[2, 0, 0], objective[1] = 9.0, 1.0
    method = dataset(objective)
    assert float(selection.final(method).max()) == 3.0
    # Seeds 1 and 2 follow seed 0 to where they get nothing, seed 0 is sent where all get 1.
    assert float(selection.final_elsewhere(method)) == pytest.approx((1.0 + 0.0 + 0.0) / 3)
    assert np.isnan(float(selection.final_elsewhere(method.isel(seed=[0]))))


def test_the_best_value_at_an_end_of_those_tried_is_named():
    objective = np.zeros((3, 1, 2, 10))
    objective[2] = 1.0
    tried = dataset(objective).assign_coords(stepsize=[0.1, 0.2, 0.4])
    assert selection.at_edge(tried) == {"stepsize": [0.4]}
    objective[1] = 2.0
    assert selection.at_edge(dataset(objective).assign_coords(stepsize=[0.1, 0.2, 0.4])) == {}
