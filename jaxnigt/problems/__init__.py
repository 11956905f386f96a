"""Problems: objectives that methods see through stochastic gradients alone."""

from jaxnigt.problems.base import Estimate, Evaluation, ExactProblem, Problem
from jaxnigt.problems.chains.chain import Chain
from jaxnigt.problems.chains.instances import (
    chain,
    chain_blocks,
    chain_deterministic,
    chain_group,
    chain_nested,
    chain_split,
)
from jaxnigt.problems.linear_quadratic import LinearQuadratic, linear_quadratic
from jaxnigt.problems.local_constants import LocalConstants, local_constants
from jaxnigt.problems.measured import by_gradient
from jaxnigt.problems.policy_gradient import (
    FixedNormalisation,
    PolicyGradient,
    RunningNormalisation,
    policy_gradient,
)
from jaxnigt.problems.stochastic import stochastic
from jaxnigt.problems.tabular import MDP, Tabular, garnet, gridworld, tabular
from jaxnigt.problems.winding import winding

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
    "by_gradient",
    "chain",
    "chain_blocks",
    "chain_deterministic",
    "chain_group",
    "chain_nested",
    "chain_split",
    "garnet",
    "gridworld",
    "linear_quadratic",
    "local_constants",
    "policy_gradient",
    "stochastic",
    "tabular",
    "winding",
]


def __dir__() -> list[str]:
    return sorted(__all__)
