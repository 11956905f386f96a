"""The errors that a user can cause, each one sentence long."""

from __future__ import annotations

from typing import Any


class InputError(ValueError):
    """A value that cannot be used: names the key or argument and what is allowed.

    The command line prints it without a traceback and exits with status 2.
    """


class TrainingDiverged(ArithmeticError):  # noqa: N818  (says what happened)
    """Training produced a number that is not finite.

    Attributes:
        round: index of the first bad round, counted from 0.
        seed: number of the first bad seed in that round.
        hyperparameters: values of the leaf hyperparameters of that run.
    """

    def __init__(self, round: int, seed: int, hyperparameters: dict[str, float]):
        self.round = round
        self.seed = seed
        self.hyperparameters = hyperparameters
        self._arguments = (round, seed, hyperparameters)
        values = ", ".join(f"{k} = {v:g}" for k, v in hyperparameters.items())
        super().__init__(f"training stopped being finite at round {round}, seed {seed} ({values})")

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        """As it was made, so that it comes back whole from another process."""
        return type(self), self._arguments


class Stopped(RuntimeError):  # noqa: N818  (says what happened)
    """Training was asked to stop, and did so at a safe point.

    Attributes:
        done: rounds that its last snapshot holds.
    """

    def __init__(self, done: int):
        self.done = done
        super().__init__(f"training stopped after round {done}, a snapshot was taken")

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        """As it was made."""
        return type(self), (self.done,)


class InvariantError(AssertionError):
    """A clock result that no clock can have produced; names the first broken invariant."""

    def __init__(self, invariant: str, where: str):
        self.invariant = invariant
        self._arguments = (invariant, where)
        super().__init__(f"clock invariant broken: {invariant}, first at {where}")

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        """As it was made."""
        return type(self), self._arguments
