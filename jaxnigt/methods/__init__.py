"""Methods: a collection rule times an update rule."""

from jaxnigt.methods.collection import Collection, Rennala, Synchronous
from jaxnigt.methods.method import Method
from jaxnigt.methods.named import rennala_nigt, synchronous_nigt
from jaxnigt.methods.nigt import NIGTState, nigt, nigt_eval_params

__all__ = [
    "Collection",
    "Method",
    "NIGTState",
    "Rennala",
    "Synchronous",
    "nigt",
    "nigt_eval_params",
    "rennala_nigt",
    "synchronous_nigt",
]
