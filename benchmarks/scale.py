"""Time and peak memory as workers, profiles, parameters and devices grow, with fitted exponents.

Each point is a process of its own, because a peak of memory is that of a whole process. More memory is
what the point took beyond the imports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from _timing import show, write
from rich.console import Console

AXES = {
    "n": ("clock, M = n, 16 profiles, K = 100", (10, 100, 1_000, 10_000)),
    "profiles": ("clock, n = M = 10, K = 100", (100, 1_000, 10_000, 100_000)),
    "d": ("round of 20, no physics, H = 50", (24, 90, 310, 1_000)),
    "devices": ("round of 256, Reacher (spring), H = 50", (1, 2, 4, 8)),
}
"""What runs, and sizes; those of d are widths of a policy's two layers."""


def point(axis: str, size: int) -> dict[str, Any]:
    """Seconds and memory of one size."""
    count = size if axis == "devices" else 1
    command = [sys.executable, str(Path(__file__).with_name("_point.py")), axis, str(size)]
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(count)}
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return json.loads(out.splitlines()[-1])


def exponent(points: list[dict[str, Any]], of: str) -> float:
    """The slope in logarithms, by least squares."""
    x, y = (np.log([each[name] for each in points]) for name in ("x", of))
    return float(np.polyfit(x, y, 1)[0])


def main() -> None:
    """Run, print tables, write JSON."""
    console = Console(width=110)
    results, fits = {}, []
    for axis, (what, sizes) in AXES.items():
        points = [point(axis, size) for size in sizes]
        results[axis] = points
        rows = [
            {
                axis: each["x"],
                "time [s]": each["seconds"],
                "peak [GiB]": each["GiB"],
                "more [GiB]": each["more"],
            }
            for each in points
        ]
        show(console, f"Scale of {axis}: {what}", rows)
        last = {name: np.log(points[-1][name] / points[-2][name]) for name in ("x", "seconds", "more")}
        fits.append(
            {
                "axis": axis,
                "time ~": exponent(points, "seconds"),
                "time ~, last two": float(last["seconds"] / last["x"]),
                "more memory ~": exponent(points, "more"),
                "more memory ~, last two": float(last["more"] / last["x"]),
            }
        )
    show(console, "Exponents: time and memory grow as the axis to the power of", fits)
    write(console, "scale", {"axes": results, "exponents": fits})


if __name__ == "__main__":
    main()
