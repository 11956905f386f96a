"""Training: a problem and a method make a trace, which any clock can be applied to."""

from jaxnigt.training import parallel
from jaxnigt.training.complexity import complexity
from jaxnigt.training.loop import train
from jaxnigt.training.snapshots import Snapshots
from jaxnigt.training.times import eval_times, time_to
from jaxnigt.training.trace import Trace, replay

__all__ = [
    "Snapshots",
    "Trace",
    "complexity",
    "eval_times",
    "parallel",
    "replay",
    "time_to",
    "train",
]


def __dir__() -> list[str]:
    return sorted(__all__)
