"""Problems: what a stochastic gradient is."""

from jaxnigt.problems.base import Estimate, Evaluation, Problem
from jaxnigt.problems.normalisation import FixedNormalisation, RunningNormalisation
from jaxnigt.problems.policy_gradient import PolicyGradient, policy_gradient

__all__ = [
    "Estimate",
    "Evaluation",
    "FixedNormalisation",
    "PolicyGradient",
    "Problem",
    "RunningNormalisation",
    "policy_gradient",
]
