"""What theory knows of the methods by their names: which rule, which update, which network."""

from __future__ import annotations

from typing import NamedTuple

from jaxnigt.checks import InputError


class Kind(NamedTuple):
    """A method as theory sees it.

    Attributes:
        rule: the collection rule, as in `jaxnigt.clock`.
        update: "nigt" or "pg".
        heterogeneous: whether it stays unbiased where workers have problems of their own.
        allreduce: whether its aggregation is one sum over all workers.
    """

    rule: str
    update: str
    heterogeneous: bool
    allreduce: bool = True


KINDS = {
    "synchronous_pg": Kind("synchronous", "pg", True),
    "synchronous_nigt": Kind("synchronous", "nigt", True),
    "m_synchronous_nigt": Kind("m_synchronous", "nigt", False),
    "rennala_pg": Kind("rennala", "pg", False),
    "malenia_pg": Kind("malenia", "pg", True),
    "afedpg": Kind("asynchronous", "nigt", False, allreduce=False),
    "rennala_nigt": Kind("rennala", "nigt", False),
    "malenia_nigt": Kind("malenia", "nigt", True),
}
"""The methods that bounds are known for, by their names in `jaxnigt.methods`."""


def kind(name: str) -> Kind:
    """Look a method up.

    Raises:
        InputError: a name that no bound is known for.
    """
    if name not in KINDS:
        raise InputError(f"name: got {name!r}, allowed are {', '.join(KINDS)}.")
    return KINDS[name]


def supports_allreduce(name: str) -> bool:
    """Whether a method's aggregation is one sum over all workers (Table 1 of arXiv 2509.24305).

    AFedPG's is not: its server takes one gradient at a time.

    Raises:
        InputError: a name that no bound is known for.
    """
    return kind(name).allreduce


def choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Check an argument that is one of a few words."""
    if value not in allowed:
        raise InputError(f"{name}: got {value!r}, allowed are {', '.join(allowed)}.")
