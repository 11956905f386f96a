"""What to cite for a method."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from jaxnigt.checks import InputError

if TYPE_CHECKING:
    from jaxnigt.methods import Method


class Work(NamedTuple):
    """A paper.

    Attributes:
        key: of the BibTeX entry.
        title: of the paper.
        authors: as BibTeX wants them.
        venue: where it appeared; empty where only on arXiv.
        year: of that.
        arxiv: its number there.
    """

    key: str
    title: str
    authors: str
    venue: str
    year: int
    arxiv: str

    def bibtex(self) -> str:
        """The entry."""
        fields = {
            "title": f"{{{self.title}}}",
            "author": self.authors,
            "booktitle": self.venue,
            "year": self.year,
            "note": f"arXiv:{self.arxiv}",
        }
        lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items() if value)
        return f"@{'inproceedings' if self.venue else 'misc'}{{{self.key},\n{lines}\n}}"


_AGGREGATION = Work(
    "tyurin2026asynchronous",
    "Asynchronous Policy Gradient Aggregation for Efficient Distributed Reinforcement Learning",
    "Tyurin, Alexander and Spiridonov, Andrei and Rudenko, Varvara",
    "International Conference on Learning Representations",
    2026,
    "2509.24305",
)
_NIGT = Work(
    "cutkosky2020momentum",
    "Momentum Improves Normalized {SGD}",
    "Cutkosky, Ashok and Mehta, Harsh",
    "International Conference on Machine Learning",
    2020,
    "2002.03305",
)
_OPTIMAL = Work(
    "tyurin2023optimal",
    "Optimal Time Complexities of Parallel Stochastic Optimization Methods "
    "Under a Fixed Computation Model",
    "Tyurin, Alexander and Richt{\\'a}rik, Peter",
    "Advances in Neural Information Processing Systems",
    2023,
    "2305.12387",
)
_FASTEST = Work(
    "begunov2026asynchronous",
    "Do We Need Asynchronous {SGD}? On the Near-Optimality of Synchronous Methods",
    "Begunov, Grigory and Tyurin, Alexander",
    "",
    2026,
    "2602.03802",
)
_AFEDPG = Work(
    "lan2025asynchronous",
    "Asynchronous Federated Reinforcement Learning with Policy Gradient Updates: "
    "Algorithm Design and Convergence Analysis",
    "Lan, Guangchen and Han, Dong-Jun and Hashemi, Abolfazl and Aggarwal, Vaneet and "
    "Brinton, Christopher G.",
    "International Conference on Learning Representations",
    2025,
    "2404.08003",
)
_N_PG_IGT = Work(
    "fatkhullin2023stochastic",
    "Stochastic Policy Gradient Methods: Improved Sample Complexity for Fisher-non-degenerate Policies",
    "Fatkhullin, Ilyas and Barakat, Anas and Kireeva, Anastasia and He, Niao",
    "International Conference on Machine Learning",
    2023,
    "2302.01734",
)

_WORKS = {
    "rennala_nigt": (_AGGREGATION, _NIGT),
    "malenia_nigt": (_AGGREGATION, _NIGT),
    "synchronous_nigt": (_AGGREGATION, _NIGT),
    "m_synchronous_nigt": (_FASTEST, _AGGREGATION, _NIGT),
    "rennala_pg": (_OPTIMAL, _AGGREGATION),
    "malenia_pg": (_OPTIMAL, _AGGREGATION),
    "synchronous_pg": (_AGGREGATION,),
    "n_pg_igt": (_N_PG_IGT, _NIGT),
    "afedpg": (_AFEDPG,),
    "afedpg_without_lookahead": (_AFEDPG,),
}


def citation(method: str | Method) -> str:
    """BibTeX entries of what a method comes from, its own paper first.

    Args:
        method: one of `jn.methods`, or its name.

    Raises:
        InputError: a method that is not of this package.

    Example:
        >>> print(citation("n_pg_igt").splitlines()[0])
        @inproceedings{fatkhullin2023stochastic,
    """
    name = method if isinstance(method, str) else method.name
    if name not in _WORKS:
        raise InputError(f"method: got {name!r}, allowed are {', '.join(_WORKS)}.")
    return "\n\n".join(work.bibtex() for work in _WORKS[name])
