"""The verdict that is written down has every claim of the paper in it."""

from collections import Counter
from pathlib import Path

from figures.verdict import CLAIMS

README = Path(__file__).parents[2] / "figures" / "README.md"


def test_every_claim_has_its_row():
    rows = [line for line in README.read_text().splitlines() if line.startswith("| [")]
    found = Counter(tuple(row.split(" | ")[i].strip("| ") for i in (0, -1)) for row in rows)
    for claim in CLAIMS:
        name = f"[{claim.figure}]({claim.figure}.py)"
        wanted = sum((c.figure, c.sweep) == (claim.figure, claim.sweep) for c in CLAIMS)
        assert found[name, f"`make sweep SWEEP={claim.sweep}-small`"] >= wanted
    assert all(row.split(" | ")[-2] in ("agrees", "partly", "does not") for row in rows)
