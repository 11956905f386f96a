"""The verdict that is written down has every claim of the paper in it, and the rules it goes by."""

from pathlib import Path

import pytest

from figures import verdict

README = (Path(__file__).parents[2] / "figures" / "README.md").read_text()


@pytest.mark.parametrize("sweep", verdict.SWEEPS)
def test_every_claim_has_its_row(sweep):
    rows = [line.strip("| ").split(" | ") for line in README.splitlines() if line.startswith("| [")]
    rows = [row for row in rows if row[-1] == f"`make sweep SWEEP={sweep}-small`"]
    claims = [claim for claim in verdict.CLAIMS if claim.sweep == sweep]
    assert {row[0] for row in rows} == {f"[{claim.figure}]({claim.figure}.py)" for claim in claims}
    # Rows that differ in how AFedPG communicates alone are about the same claim.
    found = dict.fromkeys((times, said) for _, _, times, said, *_ in rows)
    for (_, said), claim in zip(found, claims, strict=True):
        assert said.endswith(claim.says)
    assert {row[-2] for row in rows} <= {"agrees", "partly", "does not"}


def test_the_rules_are_those_in_use():
    assert verdict._RULES in README
