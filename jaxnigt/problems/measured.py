"""Problems that are evaluated by how far they are from a goal, in place of J."""

from __future__ import annotations

import functools

from optax import tree

from jaxnigt.checks import InputError
from jaxnigt.problems.base import Evaluation, ExactProblem, Keys, Params, Problem, Wrapped


class ByGradient(Wrapped):
    """A problem that is evaluated by minus the norm of the exact gradient of J; see `by_gradient`."""

    problem: ExactProblem

    def __repr__(self) -> str:
        return f"by_gradient({self.problem!r})"

    def evaluate(self, params: Params, keys: Keys) -> Evaluation:
        """Minus the norm of the gradient of J, exactly, and J itself for each worker."""
        norm = tree.norm(self.problem.gradient_exact(params))
        return Evaluation(-norm, -norm, self.problem.objectives(params))


def by_gradient(problem: Problem) -> ByGradient:
    """A problem whose evaluations are -||grad J||, for the accuracy epsilon of the theory's bounds.

    Training is the same bit for bit. A trace then holds -||grad J(theta_t)|| as its `objective`, so that
    a threshold of -epsilon asks for an accuracy, and J_i(theta_t) as its `worker_objective`.

    Raises:
        InputError: a problem whose gradient is not known exactly.

    Example:
        >>> import jaxnigt as jn
        >>> problem = by_gradient(jn.problems.chain())
        >>> trace = jn.train(problem, jn.methods.rennala_nigt(4), iterations=5, eval_every=1)
        >>> bool((trace.objective < 0).all())
        True
    """
    if not isinstance(problem, ExactProblem):
        raise InputError(
            f"problem: {problem!r} does not know its gradient exactly, one of jn.problems.tabular, "
            "linear_quadratic, chain or stochastic(exact=...) is allowed."
        )
    return _by_gradient(problem)


@functools.lru_cache(maxsize=64)
def _by_gradient(problem: ExactProblem) -> ByGradient:
    """One object for each problem, so that compiled programs are found again."""
    return ByGradient(problem)
