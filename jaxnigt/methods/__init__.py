"""Methods: a collection rule times an update rule."""

from jaxnigt.methods.collection import (
    Asynchronous,
    Collection,
    Malenia,
    MSynchronous,
    Rennala,
    Synchronous,
)
from jaxnigt.methods.method import Method
from jaxnigt.methods.named import (
    afedpg,
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

__all__ = [
    "Asynchronous",
    "Collection",
    "MSynchronous",
    "Malenia",
    "Method",
    "NIGTState",
    "Rennala",
    "Synchronous",
    "afedpg",
    "m_synchronous_nigt",
    "malenia_nigt",
    "malenia_pg",
    "n_pg_igt",
    "nigt",
    "nigt_eval_params",
    "rennala_nigt",
    "rennala_pg",
    "synchronous_nigt",
    "synchronous_pg",
]
