"""From `jaxnigt sweep` of the quickstart to the end of its first rounds, without and with a cache."""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _timing import show, write
from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
REPEATS, TARGET = 5, 15.0


def first_rounds(cache: Path, out: Path) -> float:
    """Seconds until the sweep says that the first rounds of its first unit are done."""
    command = [sys.executable, "-m", "jaxnigt", "sweep", ROOT / "sweeps/quickstart.toml", "--fresh"]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONUNBUFFERED": "1"}
    begin = time.perf_counter()
    process = subprocess.Popen(
        [*map(str, command), "--out", str(out)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    line = next((line for line in process.stdout if re.search(r": round \d+/", line)), None)
    seconds = time.perf_counter() - begin
    process.send_signal(signal.SIGINT)
    process.communicate()
    if line is None:
        raise RuntimeError("the sweep ended before its first rounds")
    return seconds


def main() -> None:
    """Run, print a table, write JSON."""
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        cache, out = Path(folder) / "cache", Path(folder) / "out"
        cold = first_rounds(cache, out)
        warm = statistics.median(first_rounds(cache, out) for _ in range(REPEATS))
    rows: list[dict[str, Any]] = [
        {"start": "cold", "seconds": cold, "target": "-", "reached": "-"},
        {
            "start": f"with the compilation cache, median of {REPEATS}",
            "seconds": warm,
            "target": f"< {TARGET:g}",
            "reached": "yes" if warm < TARGET else "no",
        },
    ]
    show(console, "Quickstart: from the command to the first rounds", rows)
    write(console, "startup", {"starts": rows})


if __name__ == "__main__":
    main()
