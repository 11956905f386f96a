"""Methods: a collection times an update rule."""

from jaxnigt.methods.collection import Asynchronous, Collection, mean, worker_mean
from jaxnigt.methods.method import Method
from jaxnigt.methods.named import (
    afedpg,
    collect_nigt,
    m_synchronous_nigt,
    malenia_nigt,
    malenia_pg,
    n_pg_igt,
    rennala_nigt,
    rennala_pg,
    synchronous_nigt,
    synchronous_pg,
)
from jaxnigt.methods.nigt import NIGTState, nigt, nigt_eval_params
from jaxnigt.methods.optimism import (
    double_optimism,
    malenia_double_optimism,
    optimism_eval_params,
    rennala_double_optimism,
)

__all__ = [
    "Asynchronous",
    "Collection",
    "Method",
    "NIGTState",
    "afedpg",
    "collect_nigt",
    "double_optimism",
    "m_synchronous_nigt",
    "malenia_double_optimism",
    "malenia_nigt",
    "malenia_pg",
    "mean",
    "n_pg_igt",
    "nigt",
    "nigt_eval_params",
    "optimism_eval_params",
    "rennala_double_optimism",
    "rennala_nigt",
    "rennala_pg",
    "synchronous_nigt",
    "synchronous_pg",
    "worker_mean",
]


def __dir__() -> list[str]:
    return sorted(__all__)
