"""Results of the definitions that figures read, on a small finite problem instead of the environment."""

from pathlib import Path

from rich.console import Console

from jaxnigt.sweep import definition as spec
from jaxnigt.sweep.execute import Options
from jaxnigt.sweep.execute import execute as run

SWEEPS = Path(__file__).parents[2] / "sweeps"
UPDATES = {"afedpg": 160}


def make(name, results, **training):
    """Run sweeps/NAME.toml at size small into RESULTS/NAME-small, in seconds.

    Methods, profiles and what is analysed are the definition's; the problem is a random Garnet MDP, for
    each worker its own where the definition has workers that differ, and runs are short.
    """
    data = spec.merged(SWEEPS / f"{name}.toml", size="small")
    differ = data["problem"].get("heterogeneity")
    data["problem"] = {"kind": "tabular", "horizon": 5, "own": differ is not None}
    if isinstance(differ, list):
        data["problem"]["heterogeneity"] = [1.0, 0.5][: len(differ)]
    data["training"] |= {"seeds": 2, "eval_batch": 1, **training}
    for table in data["methods"]:
        table["iterations"] = UPDATES.get(table["name"], 40)
        table["eval_every"] = table["iterations"] // 4
        table["stepsize"] = [0.01, 0.05]
    out = results / f"{name}-small"
    status = run(spec.parse(data, name), out, Console(quiet=True), Options())
    assert status == 0
    return out
