"""Problems: what a stochastic gradient is."""

from jaxnigt.problems.base import Estimate, Evaluation, Problem
from jaxnigt.problems.chain import Chain, chain
from jaxnigt.problems.exact import ExactProblem
from jaxnigt.problems.hard_deterministic import chain_deterministic
from jaxnigt.problems.hard_heterogeneous import chain_blocks, chain_group, chain_split
from jaxnigt.problems.linear_quadratic import LinearQuadratic, linear_quadratic
from jaxnigt.problems.local_constants import LocalConstants, local_constants
from jaxnigt.problems.normalisation import FixedNormalisation, RunningNormalisation
from jaxnigt.problems.policy_gradient import PolicyGradient, policy_gradient
from jaxnigt.problems.tabular import MDP, Tabular, garnet, gridworld, tabular

__all__ = [
    "MDP",
    "Chain",
    "Estimate",
    "Evaluation",
    "ExactProblem",
    "FixedNormalisation",
    "LinearQuadratic",
    "LocalConstants",
    "PolicyGradient",
    "Problem",
    "RunningNormalisation",
    "Tabular",
    "chain",
    "chain_blocks",
    "chain_deterministic",
    "chain_group",
    "chain_split",
    "garnet",
    "gridworld",
    "linear_quadratic",
    "local_constants",
    "policy_gradient",
    "tabular",
]
