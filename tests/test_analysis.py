import numpy as np

from jaxnigt import analysis, methods
from jaxnigt.trace import Trace


def trace(objective, returns):
    objective, returns = np.asarray(objective, np.float32), np.asarray(returns, np.float32)
    rounds = returns.shape[-1]
    fields = dict.fromkeys(("batch_discounted", "gradient_norm", "direction_norm"), returns)
    return Trace(
        method=methods.rennala_nigt(),
        eval_rounds=np.arange(objective.shape[-1]),
        objective=objective,
        undiscounted=objective,
        worker_objective=objective[..., None],
        batch_undiscounted=returns,
        samples=np.ones(rounds, np.int64),
        params={},
        replayable=True,
        **fields,
    )


def test_the_best_leaf_is_the_highest_at_the_end_over_all_seeds():
    objective = np.zeros((2, 2, 2, 20))
    objective[0, 1, :, -3] = 100.0  # high, but not in the last tenth
    objective[1, 0, :, -2:] = [[1.0, 3.0], [2.0, 2.0]]
    objective[1, 1, 0, -2:] = 3.9  # higher for one seed, lower over both
    assert analysis.best_leaf(trace(objective, np.zeros((2, 2, 2, 20)))) == (1, 0)


def test_improvement_compares_tenths_of_rounds():
    returns = np.arange(20.0)[None, :]
    first, last = analysis.improvement(trace(np.zeros((1, 5)), returns))
    np.testing.assert_allclose((first, last), ([0.5], [18.5]))


def test_the_threshold_is_reached_by_all():
    high = trace([[0.0, 4.0]], np.zeros((1, 2)))
    low = trace([[0.0, 2.0]], np.zeros((1, 2)))
    assert analysis.threshold([high, low], 0.5) == (0.0, 1.0)
