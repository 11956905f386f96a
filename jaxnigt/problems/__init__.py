"""Problems: what a stochastic gradient is."""

from jaxnigt.problems.base import Estimate, Evaluation, Problem
from jaxnigt.problems.exact import ExactProblem
from jaxnigt.problems.linear_quadratic import LinearQuadratic, linear_quadratic
from jaxnigt.problems.normalisation import FixedNormalisation, RunningNormalisation
from jaxnigt.problems.policy_gradient import PolicyGradient, policy_gradient
from jaxnigt.problems.tabular import MDP, Tabular, garnet, gridworld, tabular

__all__ = [
    "MDP",
    "Estimate",
    "Evaluation",
    "ExactProblem",
    "FixedNormalisation",
    "LinearQuadratic",
    "PolicyGradient",
    "Problem",
    "RunningNormalisation",
    "Tabular",
    "garnet",
    "gridworld",
    "linear_quadratic",
    "policy_gradient",
    "tabular",
]
