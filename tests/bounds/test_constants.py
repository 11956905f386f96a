import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.constants import Constants, PolicyConstants, hessian_lipschitz, softmax_policy

ONES = PolicyConstants(M_g=1.0, M_h=1.0, l_2=1.0)


def test_constants_of_a_policy_by_hand():
    c = Constants.from_policy(PolicyConstants(2.0, 3.0, 5.0), R_max=7.0, gamma=0.5)
    assert c.L_g == pytest.approx(7 * (4 + 3) / 0.25)
    assert c.sigma**2 == pytest.approx(4 * 49 / 0.125)
    assert c.delta == pytest.approx(28.0)
    # The forms that the literature prints, with H = 3.
    assert c.truncation_gradient(3) == pytest.approx(2 * 7 / 0.5 * np.sqrt(2 + 3) * 0.5**3)
    assert c.truncation_hessian(3) == pytest.approx(7 * (4 + 3) / 0.5 * (2 + 3) * 0.5**3)
    assert Constants.from_policy(ONES, 1.0, 0.5, delta=0.3).delta == pytest.approx(0.3)


def test_both_forms_of_the_hessian_constant_by_hand():
    derived = 1.5 / 0.125 + 3 * 1.5**0.5 / 0.5**2.5 + 1 / 0.25
    assert hessian_lipschitz(ONES, 1.0, 0.5) == pytest.approx(derived)
    largest = (1.5 + 0.5 * 0.5) / 0.75
    literature = 1 / 0.25 + 1.5 / 0.125 + 2 * largest
    assert hessian_lipschitz(ONES, 1.0, 0.5, form="literature") == pytest.approx(literature)
    assert Constants.from_policy(ONES, 1.0, 0.5, hessian="literature").L_h == pytest.approx(literature)


@pytest.mark.parametrize("actions", [2, 3, 7])
def test_softmax_bounds_hold_and_two_actions_attain_them(actions):
    """Score, Hessian and third derivative of log softmax along random unit directions."""
    rng = np.random.default_rng(actions)
    p = rng.dirichlet(0.5 * np.ones(actions), 20_000)
    u = rng.normal(size=p.shape)
    u /= np.linalg.norm(u, axis=-1, keepdims=True)
    centred = u - (p * u).sum(-1, keepdims=True)
    score = np.linalg.norm(np.eye(actions)[None] - p[:, None], axis=-1)
    found = [
        score.max(),
        (p * centred**2).sum(-1).max(),
        np.abs((p * centred**3).sum(-1)).max(),
    ]
    bound = np.array(softmax_policy())
    assert (found <= bound).all()
    if actions == 2:
        assert (found >= 0.99 * bound).all()
    assert softmax_policy(2.0) == pytest.approx(tuple(bound * [2, 4, 8]))


def test_truncation_covers_the_tail_it_bounds():
    """sum_{h>=H} gamma^h sqrt(h+1) and sum_{h>=H} gamma^h (h+1), with M_g = R_max = 1."""
    h = np.arange(5000)
    for gamma in (0.3, 0.9, 0.99):
        c = Constants.from_policy(PolicyConstants(1.0, 0.0, 0.0), 1.0, gamma)
        for H in (1, 10, 200):
            tail = gamma ** h[H:]
            root, whole = (tail * np.sqrt(h[H:] + 1)).sum(), (tail * (h[H:] + 1)).sum()
            assert root <= c.truncation_gradient(H) <= 1.2 * root
            assert c.truncation_hessian(H) == pytest.approx(whole)


def test_constants_broadcast():
    c = Constants(np.ones((3, 1)), 1.0, np.ones(4), 1.0)
    assert c.shape == (3, 4)
    assert Constants.from_policy(ONES, np.ones(5), 0.9).shape == (5,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"L_g": 0.0}, "L_g: got 0, finite numbers above 0 are allowed."),
        ({"L_h": -1.0}, "L_h: got -1, finite numbers of at least 0 are allowed."),
        ({"sigma": [1.0, np.nan]}, "sigma: got nan"),
        ({"delta": np.inf}, "delta: got inf"),
        ({"gamma": 1.0}, "gamma: got 1, finite numbers of at least 0 and below 1 are allowed."),
        ({"D_g": "much"}, "D_g: got 'much'"),
        ({"L_g": np.ones(2), "L_h": np.ones(3)}, "constants: their shapes do not broadcast"),
    ],
)
def test_wrong_constants_are_one_sentence(changes, message):
    with pytest.raises(jn.InputError, match="^" + message.replace(".", r"\.")):
        Constants(**{"L_g": 1.0, "L_h": 1.0, "sigma": 1.0, "delta": 1.0, **changes})


def test_an_unknown_form_of_the_hessian_constant():
    with pytest.raises(jn.InputError, match="hessian: got 'exact', allowed are derived, literature"):
        hessian_lipschitz(ONES, 1.0, 0.5, form="exact")
